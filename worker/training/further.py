"""A further round for a bundle that is there: its networks learn on where they stopped, over what is newly drawn."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from worker.errors import ModelError, UsageError
from worker.recognition.bundle import Bundle, add_transcriber, replace_bundle
from worker.recognition.card import TrainingRun
from worker.recognition.quiet import quiet_tensorflow
from worker.training.corpus import LABELS
from worker.training.datasets import Examples, Mnist, load_mnist, split_validation
from worker.training.recipe import (
    BATCH_TILES,
    LONE_PAGES,
    PAGES_OF_NUMBERS,
    Round,
    calibrate_tiles,
    draw,
    learn_lines,
    weigh,
)
from worker.training.trainer import KEPT, PlainTiles, train
from worker.vision.normalization import NormalizerSettings

TILES = Round(300_000, 2.5, 7e-4)
LINES = Round(80_000, 2.0, 8e-4)
ROUNDS_APART = 100  # how many rounds a bundle may see before two seeds could draw the same
FRESH = 10  # between the seeds of one round and those of the next: each draws from several near to its own
DIGEST = re.compile(r"images sha256 ([0-9a-f]+)")
SEED = re.compile(r"--seed (\d+)")


@dataclass(frozen=True, slots=True)
class _School:
    """What the networks learn from: MNIST and its two parts, split as when the bundle was made."""

    data: Path | None
    source: str
    learn: Examples
    held_out: Examples
    seed: int  # of that split
    given_seed: int  # by the user
    fresh_seed: int  # that no round of this bundle drew from
    processes: int


def train_further(
    data: Path | None,
    folder: Path,
    *,
    seed: int = 1,
    epochs: float | None = None,
    tiles: Round = TILES,
    lines: Round = LINES,
    processes: int = 2,
) -> Bundle:
    """Let the networks of the bundle in `folder` learn on, fit anew what to make of both; the bundle that came of it.

    Over so many newly drawn `tiles`, and `lines` where it has a transcriber; `epochs` through both, if given. The
    networks end between their old weights and what they learned (`trainer.KEPT`).
    `data` is MNIST's file, None for Keras' download. `seed`, 0 or more, says what is drawn to learn from; what is held
    out stays so. The bundle stays as it is until the new one is complete. ModelError where it cannot be opened,
    UsageError where it was not made by the presets `digits` and `transcriber` from this data, or where these have
    changed since, or where another took its place meanwhile; OSError where nothing can be written beside it.
    """
    if seed < 0:
        raise UsageError(f"the seed {seed} is negative: name 0 or more.")
    bundle = Bundle.open(folder)
    folder = bundle.path.resolve()
    with quiet_tensorflow(hide_gpus=False):
        mnist = load_mnist(data)
    split_seed = _checked(bundle, mnist)
    learn, held_out = split_validation(mnist.train, split_seed)
    rounds = bundle.card.training.command.count("--further") if bundle.card.training else 0
    fresh_seed = split_seed + FRESH * (1 + rounds + ROUNDS_APART * (seed + 1))
    school = _School(data, mnist.source, learn, held_out, split_seed, seed, fresh_seed, processes)
    tiles, lines = (replace(one, epochs=epochs or one.epochs) for one in (tiles, lines))
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        made = _learn_tiles(bundle, Path(beside) / bundle.card.name, school, tiles)
        if bundle.transcriber is not None:
            made = _learn_lines(bundle, made, school, lines)
            pages, lone_pages = min(PAGES_OF_NUMBERS, lines.count), min(LONE_PAGES, lines.count)
            made = weigh(made, held_out, split_seed, pages, lone_pages)
        return _take_place(bundle, folder, made)


def _checked(bundle: Bundle, mnist: Mnist) -> int:
    """The seed that split the data when `bundle` was made; UsageError where that is not known to be the same split."""
    card = bundle.card
    if card.labels != LABELS or card.seed is None or card.training is None:
        raise UsageError(
            f"{bundle.path} was not made by train --preset digits: it cannot learn on. Train it anew."
        )
    part = card.transcriber
    runs = [card.training, *([part.training] if part is not None and part.training is not None else [])]
    for run in runs:
        before, now = run.data, mnist.source
        if not DIGEST.search(before):
            raise UsageError(
                f"{bundle.path}: its card does not say which images {run.preset} was trained with (only {before}): some"
                " of what would be held out now may have been learned. Train it anew."
            )
        if DIGEST.findall(before) != DIGEST.findall(now):
            raise UsageError(
                f"{bundle.path} was made from {before}, this is {now}: what was held out then would be learned now."
                " Name the same data, or train anew."
            )
        seeds = SEED.findall(run.command)[:1]
        if seeds != [str(card.seed)]:
            raise UsageError(
                f"{bundle.path}: the split of the data had the seed {card.seed}, {run.preset} was trained with"
                f" {'/'.join(seeds) or 'an unknown one'}: it may have learned what would be held out now."
                " Train both with one seed."
            )
    _check_networks(bundle)
    return card.seed


def _check_networks(bundle: Bundle) -> None:
    """UsageError where a network of the bundle is not built as it would be now: its weights have no place."""
    from worker.training.architectures import digits, transcriber

    pairs = [(bundle.load(), digits(len(LABELS)))]
    if bundle.transcriber is not None:
        pairs.append((bundle.transcriber.load(), transcriber()))
    for there, now in pairs:
        if [each.shape for each in there.get_weights()] != [each.shape for each in now.get_weights()]:
            raise UsageError(f"{bundle.path}: {now.name} is built otherwise by now. Train it anew.")


def _take_place(before: Bundle, folder: Path, made: Bundle) -> Bundle:
    """`made` in `folder` in the place of `before`; UsageError, with `made` kept beside it, where another is there."""
    try:
        is_there = Bundle.open(folder).card == before.card
    except ModelError:
        is_there = False
    if is_there:
        return replace_bundle(folder, made)
    kept = Path(tempfile.mkdtemp(prefix=f"{folder.name}.further-", dir=folder.parent))
    made.path.rename(kept)
    kept.chmod(0o755)  # mkdtemp's is its owner's alone
    raise UsageError(
        f"{folder} was changed while its networks learned on, and stays as it is: what they learned is in {kept}."
    )


def _learn_tiles(bundle: Bundle, folder: Path, school: _School, one: Round) -> Bundle:
    """A bundle in `folder` whose classifier began as the one of `bundle`, without a transcriber."""
    corpus = draw(school.learn, school.fresh_seed, one.count, school.processes, "tiles")
    before = bundle.card.training
    train(
        "digits",
        school.data,
        folder,
        seed=school.seed,
        epochs=one.epochs,
        batches=PlainTiles(corpus, school.fresh_seed, min(BATCH_TILES, len(corpus))),
        labels=LABELS,
        normaliser=NormalizerSettings().as_dict(),
        command=_command(before, school),
        start=bundle.load(),
        peak_learning_rate=one.peak_learning_rate,
    )
    return calibrate_tiles(folder, school.held_out, school.seed, one.count, school.processes)


def _learn_lines(bundle: Bundle, made: Bundle, school: _School, one: Round) -> Bundle:
    """`made` with a transcriber that began as the one of `bundle`."""
    assert bundle.transcriber is not None  # noqa: S101 - the caller has looked
    assert bundle.card.transcriber is not None  # noqa: S101 - as a bundle that has one was opened
    model, duration_s = learn_lines(
        (school.learn, school.held_out), school.seed, [(school.fresh_seed, one)], school.processes,
        start=bundle.transcriber.load(), kept=KEPT,
    )  # fmt: skip
    run = TrainingRun(
        command=_command(bundle.card.transcriber.training, school),
        preset="transcriber",
        data=school.source,
        epochs=one.epochs,
        duration_s=round(duration_s, 1),
    )
    return add_transcriber(made.path, model, run)


def _command(before: TrainingRun | None, school: _School) -> str:
    """All the commands that a network came of; what else a run says is of the last."""
    further = f"train --further --seed {school.given_seed}"
    return f"{before.command}; {further}" if before is not None else further

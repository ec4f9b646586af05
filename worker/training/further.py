"""A further round for a bundle that is there: its networks learn on where they stopped, over what is newly drawn."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from worker.errors import UsageError
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
from worker.training.trainer import PlainTiles, train
from worker.vision.normalization import NormalizerSettings

TILES = Round(300_000, 2.5, 7e-4)
LINES = Round(80_000, 2.0, 8e-4)
FRESH = 10  # added to the seed: the first training drew from seeds near to its own


@dataclass(frozen=True, slots=True)
class _School:
    """What the networks learn from: MNIST and its two parts, split as when the bundle was made."""

    data: Path | None
    source: str
    learn: Examples
    held_out: Examples
    seed: int  # of that split
    fresh_seed: int
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
    """Let the networks of the bundle in `folder` learn on, calibrate and weigh them anew; what came of it.

    `seed` says what is drawn to learn from; what is held out stays so. `epochs` through the drawn tiles and lines, if
    given. The bundle stays as it is until the new one is complete. UsageError where it was not made by the preset
    `digits`, or from other data.
    """
    bundle = Bundle.open(folder)
    with quiet_tensorflow(hide_gpus=False):
        mnist = load_mnist(data)
    split_seed = _checked(bundle, mnist)
    learn, held_out = split_validation(mnist.train, split_seed)
    school = _School(data, mnist.source, learn, held_out, split_seed, seed + FRESH, processes)
    tiles, lines = (replace(one, epochs=epochs or one.epochs) for one in (tiles, lines))
    folder = folder.absolute()
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        made = _learn_tiles(bundle, Path(beside) / folder.name, school, tiles)
        if bundle.transcriber is not None:
            made = _learn_lines(bundle, made, school, lines)
            pages, lone_pages = min(PAGES_OF_NUMBERS, lines.count), min(LONE_PAGES, lines.count)
            made = weigh(made, held_out, split_seed, pages, lone_pages)
        return replace_bundle(folder, made)


def _checked(bundle: Bundle, mnist: Mnist) -> int:
    """The seed that split the data when `bundle` was made; UsageError where that is not known to be the same split."""
    card = bundle.card
    if card.labels != LABELS or card.seed is None or card.training is None:
        raise UsageError(
            f"{bundle.path} was not made by train --preset digits: it cannot learn on. Train it anew."
        )
    before, now = card.training.data, mnist.source
    if "sha256" in before and "sha256" in now and before.split("sha256")[1] != now.split("sha256")[1]:
        raise UsageError(
            f"{bundle.path} was made from {before}, this is {now}: what was held out then would be learned now."
            " Name the same file, or train anew."
        )
    return card.seed


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
        start=bundle.transcriber.load(),
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
    further = f"train --further --seed {school.fresh_seed - FRESH}"
    return f"{before.command}; {further}" if before is not None else further

"""How the bundle that ships is made, tiles and lines: corpus, training, calibration; `make model` and nothing else."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from worker.recognition.bundle import Bundle, add_transcriber
from worker.recognition.card import ChosenThresholds, TrainingRun, write_card
from worker.recognition.classifier import Classifier
from worker.recognition.decision import Thresholds
from worker.recognition.knowledge import Knowledge
from worker.recognition.quiet import quiet_tensorflow
from worker.training.architectures import cost
from worker.training.calibration import fit
from worker.training.corpus import BLOCK, LABELS, Recipe, draw_blocks
from worker.training.datasets import Examples, load_mnist, split_validation
from worker.training.lone_digits import draw_lone_pages, fit_lone_part
from worker.training.second_opinion import draw_pages, fit_opinion
from worker.training.trainer import PlainTiles, Summary, train
from worker.training.transcription import train_transcriber, write_lines
from worker.vision.normalization import NormalizerSettings

CORPUS_TILES = 700_000
EPOCHS = 9.0  # through the corpus
HARD_TILES = 40_000  # held out, for calibration
BATCH_TILES = 128
HELD_OUT_LINES = 8_000
PAGES_OF_NUMBERS = 10_800  # held out, to rank texts and calibrate lines by: a hundred err unnoticed
LONE_PAGES = 48_000  # held out, with one sign each: one in fifteen is looked at by both networks


@dataclass(frozen=True, slots=True)
class Round:
    """So many new lines (or tiles), seen so many times; the learning rate rises to its peak and falls to nothing."""

    count: int
    epochs: float
    peak_learning_rate: float


# Twice from a high rate down to nothing: what the first round settled on, the second shakes once more, over new lines.
ROUNDS = (Round(360_000, 4.4, 2.5e-3), Round(200_000, 3.5, 1.2e-3))


def train_digits(
    data: Path | None,
    output: Path,
    *,
    seed: int,
    epochs: float | None = None,
    tiles: int = CORPUS_TILES,
    processes: int = 2,
) -> Summary:
    """Make the bundle `output` of the preset `digits`: draw the corpus, train, calibrate, write the card."""
    mnist = load_mnist(data)
    learn, held_out = split_validation(mnist.train, seed)
    corpus = draw(learn, seed, tiles, processes, "corpus")
    summary = train(
        "digits",
        data,
        output,
        seed=seed,
        epochs=epochs or EPOCHS,
        batches=PlainTiles(corpus, seed, BATCH_TILES),
        labels=LABELS,
        normaliser=NormalizerSettings().as_dict(),
        command=f"train --preset digits --seed {seed}",
    )
    calibrate_tiles(output, held_out, seed, tiles, processes)
    return summary


def calibrate_tiles(folder: Path, held_out: Examples, seed: int, most: int, processes: int) -> Bundle:
    """Calibrate the classifier in `folder` on tiles drawn of `held_out`, at most so many; the bundle then."""
    # Confidence is about whole signs: candidates of cuts are compared with one another, not accepted.
    signs = Recipe(from_numbers=0.0)
    calibrate_bundle(folder, draw(held_out, seed + 1, min(HARD_TILES, most), processes, "calibration", signs))
    return Bundle.open(folder)


@dataclass(frozen=True, slots=True)
class LineSummary:
    """What came of training a transcriber: its size for one window, how long it took, and the card's `chosen_on`."""

    bundle: Bundle
    parameters: int
    multiply_adds: int
    duration_s: float
    chosen_on: str


def train_lines(
    data: Path | None,
    folder: Path,
    *,
    seed: int,
    epochs: float | None = None,
    rounds: Sequence[Round] = ROUNDS,
    processes: int = 2,
) -> LineSummary:
    """Train a transcriber and put it into the bundle in `folder`, in the place of one that may be there.

    `epochs` through the lines of every round, if given.
    """
    Bundle.open(folder)  # what cannot be opened is not worth an hour
    with quiet_tensorflow(hide_gpus=False):
        mnist = load_mnist(data)
    learn, held_out = split_validation(mnist.train, seed)
    rounds = [replace(one, epochs=epochs or one.epochs) for one in rounds]
    lines = sum(one.count for one in rounds)
    seeded = [(seed + 6 + 2 * number, one) for number, one in enumerate(rounds)]
    model, duration_s = learn_lines((learn, held_out), seed, seeded, processes)
    run = TrainingRun(
        command=f"train --preset transcriber --seed {seed}",
        preset="transcriber",
        data=mnist.source,
        epochs=round(sum(one.count * one.epochs for one in rounds) / lines, 2),
        duration_s=round(duration_s, 1),
    )
    bundle = add_transcriber(folder, model, run)
    bundle = weigh(bundle, held_out, seed, min(PAGES_OF_NUMBERS, lines), min(LONE_PAGES, lines))
    found = cost(model)
    part = bundle.card.transcriber
    assert part is not None  # noqa: S101 - it was added
    return LineSummary(bundle, found.parameters, found.multiply_adds, duration_s, part.chosen_on)


def learn_lines(
    examples: tuple[Examples, Examples],
    seed: int,
    rounds: Sequence[tuple[int, Round]],
    processes: int,
    *,
    start: Any = None,
    kept: float = 0.0,
) -> tuple[Any, float]:
    """A transcriber trained in rounds, each over lines drawn from the seed beside it, and the seconds that it took.

    `examples` to learn from, and held out. `start` is a transcriber to begin with, of which each round keeps so
    many parts in one.
    """
    learn, held_out = examples
    started_s = time.monotonic()
    most = min(HELD_OUT_LINES, sum(one.count for _, one in rounds))
    unseen = write_lines(held_out, seed + 3, most, processes, "held-out lines")
    model = start
    for number, (drawn_from, one) in enumerate(rounds):
        written = write_lines(learn, drawn_from, one.count, processes, f"round {number + 1}")
        model = train_transcriber(
            written, unseen, seed=seed + number, epochs=one.epochs, start=model, kept=kept,
            peak_learning_rate=one.peak_learning_rate,
        )  # fmt: skip
    return model, time.monotonic() - started_s


def weigh(bundle: Bundle, held_out: Examples, seed: int, pages: int, lone_pages: int) -> Bundle:
    """Fit what to make of two opinions, about lines and about lone digits, and put it into the card of a bundle."""
    part = bundle.card.transcriber
    model = Classifier.load(bundle)
    if part is None or model.transcriber is None:
        raise ValueError("the bundle has one network alone")
    card = bundle.card
    own = card.thresholds
    thresholds = Thresholds(own.accept, own.digit, outlier_weight=own.outlier_weight)
    known = Knowledge(NormalizerSettings(), card.temperature, thresholds)
    drawn = draw_pages(held_out, seed + 4, pages)
    found = fit_opinion(drawn, model, model.transcriber, known)
    alone = fit_lone_part(
        draw_lone_pages(held_out, seed + 5, lone_pages),
        model,
        model.transcriber,
        replace(known, weights=found.weights),
    )
    chosen = (found.weights.classifier, found.weights.transcriber, found.weights.cut)
    chosen_part = part.model_copy(
        update={
            "weights": chosen,
            "ranking": (found.ranking.looked, found.ranking.heard),
            "stranger_weight": found.stranger,
            "calibration": found.calibration.as_tuple(),
            "accept": found.accept,
            "chosen_on": found.why,
            "lone": alone,
        }
    )
    write_card(bundle.path, card.model_copy(update={"transcriber": chosen_part}))
    print(f"weights {chosen}: {found.why}\nlone digits: {alone.chosen_on}", file=sys.stderr)
    return Bundle.open(bundle.path)


def draw(
    examples: Examples, seed: int, tiles: int, processes: int, what: str, recipe: Recipe | None = None
) -> Examples:
    """So many tiles of the corpus, made from `examples` and the pen; progress on stderr."""
    blocks = max(1, tiles // BLOCK)
    pixels = np.empty((blocks * BLOCK, 28, 28), np.uint8)
    labels = np.empty(blocks * BLOCK, np.int32)
    started_s = time.monotonic()
    seeds = range(seed * 1_000_000, seed * 1_000_000 + blocks)
    drawn = draw_blocks(
        examples.pixels, examples.labels.astype(np.uint8), recipe or Recipe(), seeds, processes
    )
    for index, (some, their_labels) in enumerate(drawn):
        part = slice(index * BLOCK, (index + 1) * BLOCK)
        pixels[part], labels[part] = some, their_labels
        if sys.stderr.isatty() or (index + 1) % 25 == 0 or index + 1 == blocks:
            end = "\r" if sys.stderr.isatty() and index + 1 < blocks else "\n"
            elapsed_s = time.monotonic() - started_s
            print(
                f"{what}: {(index + 1) * BLOCK:,} tiles drawn, {elapsed_s:.0f} s",
                end=end,
                file=sys.stderr,
                flush=True,
            )
    return Examples(pixels, labels)


def calibrate_bundle(folder: Path, hard: Examples) -> None:
    """Fit temperature and thresholds on `hard` and put them into the card of `folder`."""
    bundle = Bundle.open(folder)
    logits = Classifier.load(bundle).logits(hard.tiles())
    found = fit(logits, hard.labels)
    card = bundle.card.model_copy(
        update={
            "temperature": found.temperature,
            "thresholds": ChosenThresholds(
                accept=found.accept,
                digit=found.digit,
                outlier_weight=found.outlier_weight,
                chosen_on=found.sentence(len(hard)),
            ),
        }
    )
    write_card(folder, card)
    print(
        f"temperature {found.temperature}, accept from {found.accept}: {card.thresholds.chosen_on}",
        file=sys.stderr,
    )

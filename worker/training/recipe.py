"""How the bundle that ships is made: corpus, training, calibration; `make model` and nothing else."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from worker.recognition.card import ChosenThresholds, write_card
from worker.recognition.classifier import Classifier
from worker.training.calibration import fit
from worker.training.corpus import BLOCK, LABELS, Recipe, draw_blocks
from worker.training.datasets import Examples, load_mnist, split_validation
from worker.training.trainer import PlainTiles, Summary, train
from worker.vision.normalization import NormalizerSettings

CORPUS_TILES = 700_000
EPOCHS = 9.0  # through the corpus
HARD_TILES = 40_000  # held out, for calibration
BATCH_TILES = 128


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
    # Confidence is about whole signs: candidates of cuts are compared with one another, not accepted.
    signs = Recipe(from_numbers=0.0)
    hard = draw(held_out, seed + 1, min(HARD_TILES, tiles), processes, "calibration", signs)
    calibrate_bundle(output, hard)
    return summary


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
    from worker.recognition.bundle import Bundle

    bundle = Bundle.open(folder)
    logits = Classifier.load(bundle).logits(hard.tiles())
    found = fit(logits, hard.labels)
    card = bundle.card.model_copy(
        update={
            "temperature": found.temperature,
            "thresholds": ChosenThresholds(
                accept=found.accept, digit=found.digit, chosen_on=found.sentence(len(hard))
            ),
        }
    )
    write_card(folder, card)
    print(
        f"temperature {found.temperature}, accept from {found.accept}: {card.thresholds.chosen_on}",
        file=sys.stderr,
    )

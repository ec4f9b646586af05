"""Training the transcriber: lines that the project composes, told by where their digits stand and by their text.

Needs Keras on TensorFlow, whose CTC loss it takes. Everything else follows from the seed.
"""

from __future__ import annotations

import itertools
import math
import queue
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from worker.recognition.frames import BLANK, FRAME_PX, WINDOW_PX
from worker.training.architectures import transcriber
from worker.training.datasets import Examples
from worker.training.line_strips import WrittenLine
from worker.training.trainer import arithmetic, between
from worker.training.written_lines import BLOCK, write_blocks
from worker.vision.strips import STRIP_PX

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int32]
Rng = np.random.Generator

BATCH_COLUMNS_PX = 8192  # strips of one batch, side by side: about seventy lines
CHUNK_LINES = 8192  # sorted by width at a time, so that batches are of one width and yet new each time
WIDTH_STEP_PX = 32
PEAK_LEARNING_RATE = 2.5e-3
WARM_UP_STEPS = 300
WEIGHT_DECAY = 0.02
CTC_SHARE = 0.5  # of the loss; the rest tells each frame what it shows
STATISTICS_BATCHES = 150
REPORT_EVERY_S = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Strips of one width and what they say.

    `strips` float32 (n, 32, w, 1); `frames` int32 and `weights` float32 (n, w / 2) say what each frame shows and
    how much that counts; `places` int64 (k, 2) and `digits` int32 (k,) are the texts as a sparse matrix, of no
    matter where `has_text` float32 (n,) is 0.
    """

    strips: Floats
    frames: Ints
    weights: Floats
    places: npt.NDArray[np.int64]
    digits: Ints
    has_text: Floats


def write_lines(examples: Examples, seed: int, count: int, processes: int, what: str) -> list[WrittenLine]:
    """So many lines composed of `examples` and of the pen's digits; progress on stderr."""
    blocks = max(1, count // BLOCK)
    seeds = range(seed * 1_000_000, seed * 1_000_000 + blocks)
    started_s = time.monotonic()
    lines: list[WrittenLine] = []
    drawn = write_blocks(examples.pixels, examples.labels.astype(np.uint8), seeds, processes)
    for index, block in enumerate(drawn):
        lines += block
        if (index + 1) % 100 == 0 or index + 1 == blocks:
            elapsed_s = time.monotonic() - started_s
            print(f"{what}: {len(lines):,} lines drawn, {elapsed_s:.0f} s", file=sys.stderr, flush=True)
    return lines


def train_transcriber(
    lines: Sequence[WrittenLine],
    held_out: Sequence[WrittenLine],
    *,
    seed: int,
    epochs: float,
    progress: TextIO | None = None,
    start: Any = None,
    kept: float = 0.0,
    peak_learning_rate: float = PEAK_LEARNING_RATE,
) -> Any:
    """A transcriber that has seen `lines` so many times, for windows of `WINDOW_PX` columns.

    `start` is a transcriber to begin with, as this function gave it, of whose weights so many parts in one are `kept`;
    without one, weights are drawn at random.
    """
    import keras
    import tensorflow as tf

    stream = progress or sys.stderr
    keras.utils.set_random_seed(seed)
    with arithmetic():
        model = transcriber(None)
    if start is not None:
        model.set_weights(start.get_weights())
    total = max(1, round(epochs * len(lines)))
    steps = max(
        1, math.ceil(total * float(np.mean([one.pixels.shape[1] for one in lines])) / BATCH_COLUMNS_PX)
    )
    optimizer = keras.optimizers.AdamW(
        peak_learning_rate,
        weight_decay=WEIGHT_DECAY,
        global_clipnorm=1.0,
        use_ema=True,
        ema_momentum=1 - max(1e-3, min(0.1, 10 / steps)),
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    step = _step(tf, model, optimizer)
    started_s = reported_s = time.monotonic()
    seen, sums, count, index = 0, np.zeros(2), 0, 0
    for batch in _prefetched(_batches(lines, seed), total):
        share = seen / total
        rate = peak_learning_rate * min(1.0, (index + 1) / WARM_UP_STEPS)
        optimizer.learning_rate.assign(rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, share))) / 2))
        sums += [float(loss) for loss in step(batch)]
        seen, count, index = seen + len(batch.strips), count + 1, index + 1
        if time.monotonic() - reported_s > REPORT_EVERY_S or seen >= total:
            reported_s = time.monotonic()
            print(
                f"transcriber: {seen:,} of {total:,} lines, {reported_s - started_s:.0f} s:"
                f" frames {sums[0] / count:.3f} ctc {sums[1] / count:.3f}"
                f" held-out lines exact {exact_share(model, held_out[:500]):.4f}",
                file=stream,
                flush=True,
            )
            sums, count = np.zeros(2), 0
    optimizer.finalize_variable_values(model.trainable_variables)
    whole = transcriber(WINDOW_PX)  # the same weights in float32 throughout, which is what ships
    wide = transcriber(None)
    wide.set_weights(between(start, model, kept))
    _settle_statistics(wide, lines, seed)
    whole.set_weights(wide.get_weights())
    print(f"transcriber: held-out lines exact {exact_share(wide, held_out):.4f}", file=stream, flush=True)
    return whole


def _step(tf: Any, model: Any, optimizer: Any) -> Any:
    """One step of the optimizer on a batch, as a function of it; gives both losses."""

    def run(strips: Any, frames: Any, weights: Any, places: Any, digits: Any, has_text: Any) -> Any:
        count, length = tf.shape(frames)[0], tf.shape(frames)[1]
        with tf.GradientTape() as tape:
            logits = tf.reshape(model(strips, training=True), (count, length, BLANK + 1))
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(frames, logits)
            by_frame = tf.reduce_sum(each * weights) / tf.cast(count, tf.float32)
            texts = tf.sparse.SparseTensor(places, digits, tf.cast(tf.stack([count, length]), tf.int64))
            ctc = tf.compat.v1.nn.ctc_loss(
                texts,
                tf.transpose(logits, (1, 0, 2)),
                tf.fill((count,), length),
                ignore_longer_outputs_than_inputs=True,
            )
            by_text = tf.reduce_mean(ctc * has_text)
            loss = (1 - CTC_SHARE) * by_frame + CTC_SHARE * by_text
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return by_frame, by_text

    signature = [
        tf.TensorSpec((None, STRIP_PX, None, 1)),
        tf.TensorSpec((None, None), tf.int32),
        tf.TensorSpec((None, None)),
        tf.TensorSpec((None, 2), tf.int64),
        tf.TensorSpec((None,), tf.int32),
        tf.TensorSpec((None,)),
    ]
    traced = tf.function(run, input_signature=signature)
    return lambda batch: traced(
        batch.strips, batch.frames, batch.weights, batch.places, batch.digits, batch.has_text
    )


def _settle_statistics(model: Any, lines: Sequence[WrittenLine], seed: int) -> None:
    """Give the normalising layers the statistics of the averaged weights."""
    import keras

    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = [layer.momentum for layer in layers]
    for index, batch in zip(range(STATISTICS_BATCHES), _batches(lines, seed + 1), strict=False):
        for layer in layers:
            layer.momentum = index / (index + 1)  # the plain mean over the batches
        model(batch.strips, training=True)
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum


def exact_share(model: Any, lines: Sequence[WrittenLine]) -> float:
    """Which share of the lines a transcriber for any width spells without an error, in [0, 1]."""
    right = 0
    by_width: dict[int, list[WrittenLine]] = {}
    for line in lines:
        by_width.setdefault(-(-line.pixels.shape[1] // 64) * 64, []).append(line)
    for width, group in by_width.items():
        for start in range(0, len(group), 64):
            part = group[start : start + 64]
            outputs = np.asarray(model(batch_of(part, width).strips, training=False), np.float32)
            best = outputs.reshape(len(part), -1, BLANK + 1).argmax(axis=2)
            right += sum(spelled(row) == line.digits for row, line in zip(best, part, strict=True))
    return right / max(1, len(lines))


def spelled(best: npt.NDArray[np.int64]) -> tuple[int, ...]:
    """The digits that a row of frames spells: repeats count once, blanks not at all."""
    changes = np.flatnonzero(np.diff(best, prepend=-1))
    return tuple(int(best[place]) for place in changes if best[place] != BLANK)


# --- batches ------------------------------------------------------------------------------------------


def _batches(lines: Sequence[WrittenLine], seed: int) -> Iterator[Batch]:
    """Batches without end, the same for a seed: lines of about one width together, batches in any order."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(lines))
        for start in range(0, len(order), CHUNK_LINES):
            chunk = order[start : start + CHUNK_LINES]
            widths = np.array([lines[int(i)].pixels.shape[1] for i in chunk])
            groups: list[tuple[list[WrittenLine], int]] = []
            group: list[WrittenLine] = []
            widest = 0
            for place in np.argsort(widths + rng.uniform(0, 24, len(widths))):
                width = -(-int(widths[place]) // WIDTH_STEP_PX) * WIDTH_STEP_PX
                if group and max(widest, width) * (len(group) + 1) > BATCH_COLUMNS_PX:
                    groups.append((group, widest))
                    group, widest = [], 0
                group.append(lines[int(chunk[place])])
                widest = max(widest, width)
            groups.append((group, widest))
            for index in rng.permutation(len(groups)):
                yield batch_of(groups[index][0], groups[index][1], rng)


def _prefetched(batches: Iterator[Batch], total: int) -> Iterator[Batch]:
    """`batches` until they hold `total` lines, made by another thread a few ahead."""
    ready: queue.Queue[Batch | None] = queue.Queue(8)

    def make() -> None:
        seen = 0
        for batch in batches:
            ready.put(batch)
            seen += len(batch.strips)
            if seen >= total:
                break
        ready.put(None)

    threading.Thread(target=make, daemon=True).start()
    while (batch := ready.get()) is not None:
        yield batch


def batch_of(lines: Sequence[WrittenLine], width_px: int, rng: Rng | None = None) -> Batch:
    """A batch of `lines`, filled up with paper to `width_px`; varied a little where `rng` is given."""
    count, length = len(lines), width_px // FRAME_PX
    strips = np.zeros((count, STRIP_PX, width_px, 1), np.float32)
    frames = np.full((count, length), BLANK, np.int32)
    weights = np.ones((count, length), np.float32)
    places: list[tuple[int, int]] = []
    digits: list[int] = []
    for index, line in enumerate(lines):
        pixels = line.pixels.astype(np.float32) * np.float32(1 / 255)
        strips[index, :, : pixels.shape[1], 0] = pixels if rng is None else _varied(pixels, rng)
        _tell(line, frames[index], weights[index])
        text = line.digits or (0,)  # TensorFlow's CTC takes no empty text; the frames tell that there is none
        places += [(index, place) for place in range(len(text))]
        digits += text
    return Batch(
        strips,
        frames,
        weights,
        np.array(places, np.int64).reshape(-1, 2),
        np.array(digits, np.int32),
        np.array([bool(line.digits) for line in lines], np.float32),
    )


def _tell(line: WrittenLine, frames: Ints, weights: Floats) -> None:
    """Say in place what each frame shows: a digit about its middle, nothing elsewhere; what is between counts less."""
    length = len(frames)
    middles = [round(x / FRAME_PX - 0.5) for x in line.middles]
    for middle in middles:
        for frame in (middle - 2, middle + 2):
            if 0 <= frame < length:
                weights[frame] = 0.0
    for digit, middle in zip(line.digits, middles, strict=True):
        for frame in (middle - 1, middle, middle + 1):
            if 0 <= frame < length:
                frames[frame] = digit
                weights[frame] = 1.0 if frame == middle else 0.5
    for middle, after in itertools.pairwise(middles):
        if after - middle <= 3:  # close together: each its own frame, and no digit between
            frames[max(0, middle + 1) : max(0, after)] = BLANK
            weights[max(0, middle + 1) : max(0, after)] = 0.5


def _varied(pixels: Floats, rng: Rng) -> Floats:
    """Another ink and another level of the line, now and then."""
    if rng.random() < 0.3:
        pixels = pixels ** np.float32(math.exp(rng.normal(0, 0.35)))
    if rng.random() < 0.15:
        noise = rng.standard_normal(pixels.shape, np.float32) * np.float32(0.06 * rng.random())
        pixels = np.clip(pixels + noise, 0, 1)
    if rng.random() < 0.3:
        shift = int(rng.integers(-2, 3))
        pixels = np.roll(pixels, shift, axis=0)
        if shift > 0:
            pixels[:shift] = 0
        elif shift < 0:
            pixels[shift:] = 0
    return pixels

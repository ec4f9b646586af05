"""From examples to a model bundle: presets, the learning schedule, progress, curves, test accuracy.

Keras is imported inside functions alone.
Runs on any Keras backend (KERAS_BACKEND=jax uses another machine's accelerator).
"""

from __future__ import annotations

import itertools
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np

from worker.errors import UsageError
from worker.recognition.bundle import Bundle, write_bundle
from worker.recognition.card import DIGIT_LABELS, Tiles, TrainingRun
from worker.recognition.quiet import quiet_tensorflow
from worker.training.architectures import cost, digits, mlp, mlp_dropout
from worker.training.datasets import Examples, Labels, Mnist, load_mnist, split_validation
from worker.training.plots import Curve, draw_curves

OUTLIER_LABELS = ("other", "fragment", "several")
CURVES_FILE = "curves.png"

# One round is what lies between two looks at the learning rate; the digits preset trains in rounds.
ROUND_STEPS = 100
ROUNDS_PER_VALIDATION = 10
# Found in short runs on MNIST; longer ones are not sensitive to them within a factor of two.
PEAK_LEARNING_RATE = 3e-3
FINAL_SHARE = 0.01  # of the peak
WARM_UP_SHARE = 0.05
WEIGHT_DECAY = 0.02
LABEL_SMOOTHING = 0.02
GRADIENT_NORM = 1.0
STATISTICS_BATCHES = 150
KEPT = 0.3  # of the weights that a network began a further round with

Batch = tuple[Tiles, Labels]


class TileSource(Protocol):
    """Where training tiles come from."""

    @property
    def batches_per_epoch(self) -> int:
        """How many batches `epoch` gives; at least 1."""
        ...

    def epoch(self, index: int) -> Iterator[Batch]:
        """Equal batches: tiles float32 (n, 28, 28) in [0, 1], labels int32 (n,); the same for an index."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class PlainTiles:
    """The examples as they are, shuffled anew in every epoch; a source for comparisons."""

    examples: Examples
    seed: int
    batch_tiles: int = 128

    @property
    def batches_per_epoch(self) -> int:
        """How many whole batches there are; the rest waits for another epoch."""
        return len(self.examples) // self.batch_tiles

    def epoch(self, index: int) -> Iterator[Batch]:
        """All whole batches in the order of this epoch."""
        order = np.random.default_rng((self.seed, index)).permutation(len(self.examples))
        for number in range(self.batches_per_epoch):
            part = self.examples.at(order[number * self.batch_tiles : (number + 1) * self.batch_tiles])
            yield part.tiles(), part.labels


@dataclass(frozen=True, slots=True)
class Summary:
    """What came of a training; accuracies are shares of the plain MNIST parts, in [0, 1]."""

    bundle: Bundle
    preset: str
    epochs: float
    duration_s: float
    validation_accuracy: float
    test_accuracy: float
    test_errors: int
    test_tiles: int
    parameters: int
    multiply_adds: int


def train(
    preset: str,
    data: Path | None,
    output: Path,
    *,
    seed: int = 0,
    epochs: float | None = None,
    batches: TileSource | None = None,
    labels: tuple[str, ...] = DIGIT_LABELS,
    normaliser: Mapping[str, bool | int | float | str] | None = None,
    command: str = "",
    progress: TextIO | None = None,
    start: Any = None,
    peak_learning_rate: float = PEAK_LEARNING_RATE,
) -> Summary:
    """Train a preset (`mlp`, `mlp-dropout` or `digits`) and write it as a bundle into `output`.

    `data` is an mnist.npz, or None for Keras' download. `digits` learns from `batches`, whose labels index
    `labels`, and begins with the weights of the model `start` where there is one; the others learn from MNIST
    alone. Progress goes to `progress` (stderr). Raises UsageError for unknown presets, missing data and folders
    that hold something else.
    """
    if preset not in _PRESETS:
        raise UsageError(f"There is no preset {preset!r}. There are: {', '.join(_PRESETS)}, transcriber.")
    if preset == "digits" and batches is None:
        raise ValueError("the digits preset needs a source of batches")
    with quiet_tensorflow(hide_gpus=False):
        import keras

        keras.utils.set_random_seed(seed)
        mnist = load_mnist(data)
    task = _Task(
        mnist, *split_validation(mnist.train, seed, min(5_000, len(mnist.train) // 6)), seed, labels,
        epochs, batches, progress or sys.stderr, start, peak_learning_rate,
    )  # fmt: skip
    started_s = time.monotonic()
    model, history = _PRESETS[preset](task)
    duration_s = time.monotonic() - started_s
    test = _figures(model, mnist.test)
    validation = _figures(model, task.validation)
    curves = _curves(history)
    done = TrainingRun(
        command=command or f"train --preset {preset}",
        preset=preset,
        data=mnist.source,
        epochs=round(history.epochs_done, 2),
        duration_s=round(duration_s, 1),
    )
    bundle = write_bundle(
        output,
        model,
        labels=labels if preset == "digits" else DIGIT_LABELS,
        normaliser=normaliser,
        metrics={
            f"MNIST test ({len(mnist.test):,} tiles)": test,
            f"MNIST validation ({len(task.validation):,} tiles of the training part)": validation,
        },
        seed=seed,
        training=done,
        beside={CURVES_FILE: draw_curves(curves, f"{preset}: {test['accuracy']:.2%} of MNIST's test tiles")},
        with_litert_form=True,
    )
    found = cost(model)
    return Summary(
        bundle=bundle,
        preset=preset,
        epochs=done.epochs,
        duration_s=duration_s,
        validation_accuracy=validation["accuracy"],
        test_accuracy=test["accuracy"],
        test_errors=int(test["errors"]),
        test_tiles=len(mnist.test),
        parameters=found.parameters,
        multiply_adds=found.multiply_adds,
    )


@dataclass(frozen=True, slots=True)
class _Task:
    """Everything that a preset is given."""

    mnist: Mnist
    examples: Examples
    validation: Examples
    seed: int
    labels: tuple[str, ...]
    epochs: float | None
    batches: TileSource | None
    progress: TextIO
    start: Any
    peak_learning_rate: float


@dataclass(frozen=True, slots=True)
class _History:
    """Keras' history, with how many epochs of the data each of its entries stands for."""

    values: Mapping[str, list[float]]
    epochs_per_entry: float
    entries_per_validation: int
    epochs_done: float


def _train_mlp(task: _Task) -> tuple[Any, _History]:
    return _fit_plain(mlp(), task, epochs=3, batch_tiles=32, patience_epochs=None)


def _train_mlp_dropout(task: _Task) -> tuple[Any, _History]:
    return _fit_plain(mlp_dropout(), task, epochs=60, batch_tiles=128, patience_epochs=6)


def _fit_plain(
    model: Any, task: _Task, epochs: int, batch_tiles: int, patience_epochs: int | None
) -> tuple[Any, _History]:
    """Adam on MNIST as it is; with patience, until the validation loss no longer falls."""
    import keras

    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    rounds = math.ceil(task.epochs or epochs)
    callbacks = []
    if patience_epochs is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping("val_loss", patience=patience_epochs, restore_best_weights=True)
        )
    with _progress(task.progress, rounds, entry_epochs=1.0) as report:
        history = model.fit(
            task.examples.tiles(),
            task.examples.labels,
            batch_size=batch_tiles,
            epochs=rounds,
            validation_data=(task.validation.tiles(), task.validation.labels),
            validation_batch_size=500,
            callbacks=[*callbacks, keras.callbacks.LambdaCallback(on_epoch_end=report)],
            verbose=0,
        )
    return model, _History(history.history, 1.0, 1, len(history.epoch))


def _train_digits(task: _Task) -> tuple[Any, _History]:
    """AdamW with a warm-up and a cosine, smoothed labels, clipped gradients, averaged weights."""
    import keras

    source = task.batches
    assert source is not None  # noqa: S101 - train() has looked
    steps = max(1, round((task.epochs or 20) * source.batches_per_epoch))
    rounds = math.ceil(steps / ROUND_STEPS)
    steps_per_round = math.ceil(steps / rounds)
    with arithmetic():
        model = digits(len(task.labels))
    if task.start is not None:
        model.set_weights(task.start.get_weights())
    peak = task.peak_learning_rate
    model.compile(_optimizer(steps, peak), _smoothed_loss(len(task.labels)), metrics=["accuracy"])
    entry_epochs = steps_per_round / source.batches_per_epoch

    batches = (batch for index in itertools.count() for batch in source.epoch(index))
    with _progress(task.progress, rounds, entry_epochs) as report:
        history = model.fit(
            ((tiles[..., None], labels) for tiles, labels in batches),
            steps_per_epoch=steps_per_round,
            shuffle=False,  # the source has done it
            epochs=rounds,
            validation_data=(task.validation.tiles()[..., None], task.validation.labels),
            validation_batch_size=500,
            validation_freq=ROUNDS_PER_VALIDATION,
            callbacks=[
                keras.callbacks.LearningRateScheduler(
                    lambda index, _rate: peak * learning_rate(index / rounds)
                ),
                keras.callbacks.LambdaCallback(on_epoch_end=report),
            ],
            verbose=0,
        )
    done = len(history.epoch) * entry_epochs
    whole = digits(len(task.labels))  # the same weights in float32 throughout, which is what ships
    whole.set_weights(between(task.start, model, KEPT))
    _settle_statistics(whole, source)
    return whole, _History(history.history, entry_epochs, ROUNDS_PER_VALIDATION, done)


def between(start: Any, model: Any, kept: float) -> list[Any]:
    """The weights of `model`, or where it began with those of `start`, so many parts in one `kept` of them.

    What was learned on is right more often than either end is (Wortsman et al., 2022: robust fine-tuning).
    """
    learned = model.get_weights()
    if start is None:
        return list(learned)
    return [
        kept * before + (1 - kept) * after for before, after in zip(start.get_weights(), learned, strict=True)
    ]


def _settle_statistics(model: Any, source: TileSource) -> None:
    """Give the normalising layers the statistics of the averaged weights; theirs lag behind, far in short runs."""
    import keras

    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    before = [layer.momentum for layer in layers]
    for index, (tiles, _) in zip(range(STATISTICS_BATCHES), source.epoch(0), strict=False):
        for layer in layers:
            layer.momentum = index / (index + 1)  # the plain mean over the batches
        model(tiles[..., None], training=True)
    for layer, momentum in zip(layers, before, strict=True):
        layer.momentum = momentum


@contextmanager
def arithmetic() -> Iterator[None]:
    """Layers made here compute in bfloat16 where the processor has it: training takes 0.6 of the time.

    Weights and their averages are float32 either way; without it training is the same, only slower.
    """
    import keras

    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    is_quick = keras.backend.backend() != "tensorflow" or "avx512_bf16" in flags or "amx_bf16" in flags
    before = keras.mixed_precision.dtype_policy()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if is_quick else "float32")
    try:
        yield
    finally:
        keras.mixed_precision.set_dtype_policy(before)


_PRESETS: dict[str, Callable[[_Task], tuple[Any, _History]]] = {
    "mlp": _train_mlp,
    "mlp-dropout": _train_mlp_dropout,
    "digits": _train_digits,
}
PRESETS = tuple(_PRESETS)


def learning_rate(share: float) -> float:
    """The rate, of its peak, when this share of the training is done, both in [0, 1]: a warm-up, then a cosine."""
    if share < WARM_UP_SHARE:
        # Half a round is already done at the start, so that the first steps move, too.
        return max(share, WARM_UP_SHARE / 10) / WARM_UP_SHARE
    along = min(1.0, (share - WARM_UP_SHARE) / (1 - WARM_UP_SHARE))
    height = (1 + math.cos(math.pi * along)) / 2
    return FINAL_SHARE + (1 - FINAL_SHARE) * height


def _optimizer(steps: int, peak_learning_rate: float) -> Any:
    import keras

    optimizer = keras.optimizers.AdamW(
        learning_rate=peak_learning_rate,
        weight_decay=WEIGHT_DECAY,
        global_clipnorm=GRADIENT_NORM,
        use_ema=True,
        # The average begins at the random start and must forget it also in a short run.
        ema_momentum=1 - max(1e-3, min(0.1, 10 / steps)),
    )
    optimizer.exclude_from_weight_decay(var_names=["bias", "beta", "gamma"])
    return optimizer


def _smoothed_loss(labels: int) -> Callable[[Any, Any], Any]:
    """Cross-entropy of logits against labels that keep a little doubt (Szegedy et al., arXiv 1512.00567)."""
    import keras

    smoothed = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=LABEL_SMOOTHING)

    def loss(truth: Any, logits: Any) -> Any:
        flat = keras.ops.reshape(keras.ops.cast(truth, "int32"), (-1,))
        return smoothed(keras.ops.one_hot(flat, labels), logits)

    return loss


def _figures(model: Any, examples: Examples) -> dict[str, float]:
    """Accuracy over the ten digits; where there are other classes, also the share taken for no digit."""
    inputs = examples.tiles().reshape(-1, *model.input_shape[1:])
    outputs = np.asarray(model.predict(inputs, batch_size=500, verbose=0))
    errors = int((outputs[:, :10].argmax(axis=1) != examples.labels).sum())
    figures = {"accuracy": 1 - errors / len(examples), "errors": float(errors)}
    if outputs.shape[1] > 10:
        figures["taken_for_no_digit"] = float((outputs.argmax(axis=1) >= 10).mean())
    return figures


def _curves(history: _History) -> list[Curve]:
    curves = []
    for measure in ("loss", "accuracy"):
        for part, key, every in (
            ("training", measure, 1),
            ("validation", f"val_{measure}", history.entries_per_validation),
        ):
            values = history.values.get(key, [])
            epochs = [(place + 1) * every * history.epochs_per_entry for place in range(len(values))]
            if values:
                curves.append(Curve(measure, part, epochs, values))
    return curves


# --- Progress ---------------------------------------------------------------------------------------

_Report = Callable[[int, Mapping[str, float] | None], None]


@contextmanager
def _progress(stream: TextIO, rounds: int, entry_epochs: float) -> Iterator[_Report]:
    """A callback for Keras: a bar on a terminal, elsewhere one line an epoch."""

    def describe(index: int, logs: Mapping[str, float] | None) -> str:
        figures = " ".join(
            f"{name} {value:.4f}" for name, value in (logs or {}).items() if name != "learning_rate"
        )
        return f"epoch {(index + 1) * entry_epochs:.2f} of {rounds * entry_epochs:.2f}: {figures}"

    if not stream.isatty():
        every = max(1, round(1 / entry_epochs))

        def print_line(index: int, logs: Mapping[str, float] | None) -> None:
            if (index + 1) % every == 0 or index + 1 == rounds:
                print(describe(index, logs), file=stream, flush=True)

        yield print_line
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream)) as bar:
        work = bar.add_task("starting", total=rounds)

        def move_bar(index: int, logs: Mapping[str, float] | None) -> None:
            bar.update(work, completed=index + 1, description=describe(index, logs))

        yield move_bar

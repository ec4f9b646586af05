"""Figures, drawn into bytes; no window, no display."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Curve:
    """One measure over a training: `values` at `epochs` (fractions are fine), in training or validation."""

    measure: str
    part: str
    epochs: Sequence[float]
    values: Sequence[float]


def draw_curves(curves: Sequence[Curve], title: str) -> bytes:
    """A PNG with one panel a measure; in it, one line for training and one for validation."""
    from matplotlib.figure import Figure

    measures = list(dict.fromkeys(curve.measure for curve in curves))
    figure = Figure(figsize=(5.0 * max(len(measures), 1), 3.6), layout="constrained")
    figure.suptitle(title)
    for number, measure in enumerate(measures, start=1):
        axes = figure.add_subplot(1, len(measures), number)
        for curve in curves:
            if curve.measure == measure:
                # A single point makes no line.
                axes.plot(
                    curve.epochs, curve.values, label=curve.part, marker="." if len(curve.values) < 30 else ""
                )
        axes.set(xlabel="epoch", ylabel=measure)
        axes.grid(visible=True, alpha=0.3)
        axes.legend()
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()


# --- Evaluation -------------------------------------------------------------------------------------

_BLUE, _VERMILION, _GREY = "#0072b2", "#d55e00", "#777777"  # Okabe and Ito, Color Universal Design


def draw_confusion(matrix: Sequence[Sequence[int]]) -> bytes:
    """A PNG of counts: a row for each true digit, a column for each guess, a last one for no single guess.

    Shades show mistakes alone, so that few mistakes do not vanish beside the many right
    answers on the diagonal.
    """
    figure, axes = _sheet(6.2, 5.2)
    wrong = [[0 if row == column else n for column, n in enumerate(own)] for row, own in enumerate(matrix)]
    axes.imshow(wrong, cmap="Oranges", vmin=0, vmax=1.6 * max(1, *map(max, wrong)))  # text stays legible
    for row, own in enumerate(matrix):
        for column, count in enumerate(own):
            if count:
                weight = "bold" if row == column else "normal"
                axes.text(column, row, str(count), ha="center", va="center", fontsize=8, fontweight=weight)
    columns = [*(str(digit) for digit in range(len(matrix))), "none,\nseveral"]
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(matrix)), columns[:-1])
    axes.set(xlabel="guess", ylabel="written", title="Confusion")
    return _png(figure)


def draw_reliability(bins: Sequence[Mapping[str, float]], ece: float) -> bytes:
    """A PNG with the accuracy of the answers in each bin of confidence over how many there are.

    A bin has `low`, `high`, `n`, `mean_confidence` and `accuracy`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = [each for each in bins if each["n"]]
    above.plot((0, 1), (0, 1), color=_GREY, linestyle="--", label="to be believed")
    above.plot(
        [each["mean_confidence"] for each in filled],
        [each["accuracy"] for each in filled],
        color=_BLUE,
        marker="o",
        label="measured",
    )
    above.set(ylabel="share right", ylim=(-0.02, 1.02), title=f"Reliability, ECE {ece:.4f}")
    above.grid(visible=True, alpha=0.3)
    above.legend()
    below.bar(
        [each["low"] for each in bins],
        [each["n"] for each in bins],
        width=[each["high"] - each["low"] for each in bins],
        align="edge",
        color=_BLUE,
        edgecolor="white",
    )
    below.set_yscale("symlog", linthresh=1)
    below.set(xlabel="confidence", ylabel="answers", xlim=(0, 1))
    return _png(figure)


def draw_risk_coverage(
    coverage: Sequence[float], risk: Sequence[float], accepted: float, accepted_wrong: float | None
) -> bytes:
    """A PNG of the share wrong among the most confident, and a point where the worker stands.

    `accepted` is the share that is accepted, `accepted_wrong` the share wrong among it, None where
    nothing is.
    """
    figure, axes = _sheet(6.2, 4.2)
    axes.plot([100 * each for each in coverage], [100 * each for each in risk], color=_BLUE)
    if accepted_wrong is not None:
        axes.plot(
            100 * accepted, 100 * accepted_wrong, color=_VERMILION, marker="o", label="as shipped", ls=""
        )
        axes.legend()
    axes.set(xlabel="accepted / %", ylabel="of these wrong / %", title="Risk and coverage", xlim=(0, 101))
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, alpha=0.3)
    return _png(figure)


def draw_confidences(kinds: Mapping[str, Sequence[float]], threshold: float) -> bytes:
    """A PNG with a histogram of confidences for each kind of picture, and the threshold of acceptance."""
    figure, axes = _sheet(6.2, 4.2)
    if kinds:
        colours = {"digits, right": _BLUE, "digits, wrong": _VERMILION}
        axes.hist(
            list(kinds.values()),
            bins=[each / 25 for each in range(26)],
            label=list(kinds),
            color=[colours.get(name, _GREY) for name in kinds],
        )
        axes.set_yscale("symlog", linthresh=1)
    axes.axvline(threshold, color="black", linestyle="--", label=f"accepted from {threshold:g}")
    axes.set(xlabel="confidence", ylabel="pictures", title="Confidence", xlim=(0, 1))
    axes.legend()
    return _png(figure)


def _sheet(width_in: float, height_in: float) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width_in, height_in), layout="constrained")
    return figure, figure.add_subplot()


def _png(figure: Figure) -> bytes:
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    return picture.getvalue()

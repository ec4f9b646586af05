"""`evaluate`: how well a model reads what it has never seen, how well it knows that, what it refuses.

A digit counts as right when exactly one entry stands in `digits` and its guess is the label, accepted or
not. Whatever else became of its picture (failed, empty, several entries) is wrong.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from worker import __version__
from worker.delivery.names import printable
from worker.errors import ExitCode, UsageError
from worker.recognition.decision import DIGITS
from worker.recognition.fitting import best_guesses
from worker.settings import Settings
from worker.training.measures import (
    Bools,
    Floats,
    auroc,
    brier_score,
    calibration_bins,
    confusion,
    expected_calibration_error,
    negative_log_likelihood,
    risk_coverage,
    wilson_interval,
)
from worker.training.specimens import Answer, Bench, Measured, SpecimenSet, TruthKind, open_set
from worker.training.strings import cause, is_string, string_figures

BATCH = 64
MAX_GROUPS = 60  # a column with more values tells pictures apart, not kinds of them
CURVE_POINTS = 200  # of the risk-coverage curve, in the JSON and the plot

Figures = dict[str, Any]


# --- the figures, pure ------------------------------------------------------------------------------


def share(count: int, n: int) -> Figures:
    """A count as a share of `n` with its 95 % Wilson interval; the share is None where `n` is 0."""
    low, high = wilson_interval(count, n)
    return {"count": count, "of": n, "share": count / n if n else None, "low": low, "high": high}


def figures_of(measured: Sequence[Measured], against: Sequence[Measured] = ()) -> Figures:
    """All figures of a measured set, as JSON holds them; outliers stand against digits of `against`, too."""
    kinds = {kind: [each for each in measured if each.specimen.truth.kind is kind] for kind in TruthKind}
    digits, outliers = kinds[TruthKind.DIGIT], kinds[TruthKind.OUTLIER]
    counterparts = digits + [each for each in against if each.specimen.truth.kind is TruthKind.DIGIT]
    return {
        "n": len(measured),
        "digits": digit_figures(digits) if digits else None,
        "ambiguous": _apart(kinds[TruthKind.AMBIGUOUS]),
        "several": _apart(kinds[TruthKind.SEVERAL]),
        "strings": string_figures(kinds[TruthKind.SEVERAL]) if kinds[TruthKind.SEVERAL] else None,
        "outliers": outlier_figures(outliers, counterparts) if outliers else None,
    }


def digit_figures(digits: Sequence[Measured]) -> Figures:
    """The figures of one or more single digits."""
    confidences, right = _scores(digits)
    curve = risk_coverage(confidences, right)
    points = np.unique(np.linspace(0, len(digits) - 1, CURVE_POINTS).round().astype(int))
    truths = [each.specimen.truth.digit for each in digits]
    return {
        **_outline(digits),
        "per_digit": {
            str(digit): _outline(own)
            for digit in range(DIGITS)
            if (own := [each for each in digits if each.specimen.truth.digit == digit])
        },
        "columns": {name: _by(digits, name) for name in _columns(digits)},
        "reasons": _reasons(digits),
        "confusion": confusion(truths, [each.guess for each in digits]).tolist(),
        "calibration": calibration_figures([each for each in digits if each.guess is not None]),
        "risk_coverage": {
            "aurc": curve.area,
            "coverage": curve.coverage[points].tolist(),
            "risk": curve.risk[points].tolist(),
        },
    }


def calibration_figures(guessed: Sequence[Measured]) -> Figures | None:
    """How far the confidences of single guesses can be believed; None where there is none."""
    if not guessed:
        return None
    confidences, right = _scores(guessed)
    bins = calibration_bins(confidences, right)
    truths = [each.specimen.truth.digit for each in guessed]
    chances = np.array([each.chances for each in guessed])
    return {
        "n": len(guessed),
        "ece": expected_calibration_error(bins),
        "brier": brier_score(chances, truths),
        "nll": negative_log_likelihood(chances, truths),
        "bins": [each._asdict() for each in bins],
    }


def outlier_figures(outliers: Sequence[Measured], digits: Sequence[Measured]) -> Figures:
    """What became of what is no digit, and how well confidence tells it from `digits` (AUROC)."""
    groups = sorted({each.specimen.truth.group for each in outliers})
    return {
        **_apart(outliers),
        "groups": {
            group: _apart([each for each in outliers if each.specimen.truth.group == group])
            for group in groups[:MAX_GROUPS]
        },
        "auroc": auroc(_confidences(digits), _confidences(outliers)) if digits else None,
        "auroc_digits": len(digits),
        "digits_read": share(sum(each.is_read for each in digits), len(digits)),
    }


def mistakes_of(measured: Sequence[Measured]) -> list[Figures]:
    """What a person may want to look at: digits and strings that are wrong, and anything that was misread."""
    return [
        {
            "name": printable(each.specimen.name),
            "label": each.specimen.truth.label,
            "status": each.answer.status.value,
            "guesses": best_guesses(each.answer.text, each.answer.digits),
            "confidence": each.answer.confidence if is_string(each) else each.confidence,
            "reason": each.answer.reason,
            "cause": str(found) if is_string(each) and (found := cause(each)) else None,
        }
        for each in measured
        if _is_mistaken(each)
    ]


def _is_mistaken(each: Measured) -> bool:
    if is_string(each):
        return cause(each) is not None
    return each.is_misread or (each.specimen.truth.kind is TruthKind.DIGIT and not each.is_right)


def _outline(digits: Sequence[Measured]) -> Figures:
    accepted = [each for each in digits if each.is_read]
    return {
        "right": share(sum(each.is_right for each in digits), len(digits)),
        "accepted": share(len(accepted), len(digits)),
        "accepted_wrong": share(sum(not each.is_right for each in accepted), len(accepted)),
    }


def _apart(others: Sequence[Measured]) -> Figures:
    """What became of pictures that are no single digits."""
    return {
        "n": len(others),
        "read": share(sum(each.is_read for each in others), len(others)),
        "misread": share(sum(each.is_read and _is_misread(each) for each in others), len(others)),
        "reasons": _reasons(others),
    }


def _is_misread(each: Measured) -> bool:
    return cause(each) is not None if is_string(each) else each.is_misread


def _columns(digits: Sequence[Measured]) -> list[str]:
    """The columns that sort the digits into a few groups, in the order of the table."""
    names = dict.fromkeys(name for each in digits for name in each.specimen.columns)
    return [
        name for name in names if 1 < len({each.specimen.columns.get(name) for each in digits}) <= MAX_GROUPS
    ]


def _by(digits: Sequence[Measured], column: str) -> Figures:
    groups: dict[str, list[Measured]] = {}
    for each in digits:
        groups.setdefault(each.specimen.columns.get(column, ""), []).append(each)
    return {group: _outline(groups[group]) for group in sorted(groups)}


def _reasons(measured: Sequence[Measured]) -> dict[str, int]:
    """How often each reason was given, the most frequent first."""
    counts = Counter(str(each.answer.reason) for each in measured if each.answer.reason is not None)
    return dict(counts.most_common())


def _scores(digits: Sequence[Measured]) -> tuple[Floats, Bools]:
    return _confidences(digits), np.array([each.is_right for each in digits], np.bool_)


def _confidences(measured: Sequence[Measured]) -> Floats:
    return np.array([each.confidence for each in measured], np.float64)


# --- the command ------------------------------------------------------------------------------------


def evaluate(
    data: Path,
    settings: Settings,
    *,
    way: str | None = None,
    against: Path | None = None,
    output: Path | None = None,
    as_json: bool = False,
    command: str = "digit-worker evaluate",
) -> ExitCode:
    """Measure the model of `settings` on `data`; figures on stdout, and with `output` as a folder of plots.

    `way` is one of `specimens.WAYS`; `against` names a set whose digits are held against the outliers of
    `data`. Raises UsageError for data that cannot be read, ModelError for the model.
    """
    from worker.assembly import limits_of, load_model, normalizer_of, reader_for, thresholds_of, weights_of
    from worker.recognition.bundle import versions
    from worker.training.report import as_text, to_json, write_report

    limits = limits_of(settings)
    specimens = open_set(data, way, limits)
    counterparts = open_set(against, None, limits) if against is not None else None
    if output is not None:
        _make_folder(output)
    model = load_model(settings)
    reader = reader_for(settings, model, root="", with_pictures=False)
    thresholds = thresholds_of(settings, model.card)
    bench = Bench(
        reader,
        model,
        model.card.temperature,
        thresholds,
        normalizer_of(model.card),
        limits,
        model.transcriber,
        weights_of(model.card),
    )
    try:
        started_s = time.perf_counter()
        measured = measure(specimens, bench, sys.stderr)
        duration_s = time.perf_counter() - started_s
        others = measure(counterparts, bench, sys.stderr) if counterparts is not None else []
        figures: Figures = {
            "command": command,
            "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "worker_version": __version__,
            "versions": versions(),
            "model": {
                "name": model.card.name,
                "sha256": model.card.sha256,
                "temperature": model.card.temperature,
                "accept": thresholds.of_lone,
                "digit": thresholds.digit,
                "outlier_weight": thresholds.outlier_weight,
            },
            "data": {"path": printable(str(data)), "sha256": specimens.digest, "through": specimens.way},
            "against": printable(str(against)) if against is not None else None,
            "duration_s": round(duration_s, 3),
            **figures_of(measured, others),
            "mistakes": mistakes_of(measured),
        }
        sys.stdout.write(to_json(figures) if as_json else as_text(figures))
        if output is not None:
            write_report(output, figures, measured, specimens, bench)
    finally:
        reader.close()
    return ExitCode.FINE


def measure(specimens: SpecimenSet, bench: Bench, progress: TextIO) -> list[Measured]:
    """Every specimen with its answer, in order; a bar on `progress` where that is a terminal."""
    count = len(specimens.specimens)
    answers: list[Answer] = []
    with _bar(progress, count) as advance:
        for start in range(0, count, BATCH):
            answers += specimens.read(bench, start, min(start + BATCH, count))
            advance(len(answers))
    return [Measured(specimen, answer) for specimen, answer in zip(specimens.specimens, answers, strict=True)]


def _make_folder(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{printable(str(output))}: cannot be made: {error.strerror}") from error


@contextmanager
def _bar(stream: TextIO, total: int) -> Iterator[Callable[[int], None]]:
    if not stream.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=stream), transient=True) as bar:
        work = bar.add_task("reading", total=total)
        yield lambda done: bar.update(work, completed=done)

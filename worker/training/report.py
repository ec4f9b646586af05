"""Figures for people and programs: a short table, evaluation.json, plots, and one page that shows all."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from worker.delivery.names import printable
from worker.errors import UsageError
from worker.recognition.decision import DIGITS
from worker.training.gallery import Room, hang, to_data_uri
from worker.training.plots import draw_confidences, draw_confusion, draw_reliability, draw_risk_coverage
from worker.training.specimens import Bench, Measured, SpecimenSet, TruthKind

Figures = Mapping[str, Any]

_NAME_WIDTH = 14
_APART = {
    "ambiguous": "labels that allow more than one reading",
    "several": "pictures of several digits",
    "outliers": "no digit at all",
}
# What stands in a PLOT's file name, and what is said below it.
_CAPTIONS = {
    "confusion": "Rows: what is written; columns: the only guess, the last one for none or several.",
    "reliability": "How often a guess of some confidence is right. On the line, confidence can be believed.",
    "risk_coverage": "How many are wrong when only the most confident share is accepted.",
    "confidences": "Confidence of the only guess; 0 where there is none or more than one.",
}


def to_json(figures: Figures) -> str:
    """The figures as JSON, for programs; no NaN in it."""
    return json.dumps(figures, indent=1, allow_nan=False, ensure_ascii=False) + "\n"


def as_text(figures: Figures) -> str:
    """The figures that matter as a short table."""
    return "".join(f"{name:{_NAME_WIDTH}s}{text}\n" for name, text in _lines(figures))


def write_report(
    output: Path, figures: Figures, measured: Sequence[Measured], specimens: SpecimenSet, bench: Bench
) -> None:
    """Write evaluation.json, one PNG a plot, and index.html, which needs none of the others.

    UsageError where `output` cannot be written to.
    """
    plots = draw_plots(figures, measured)
    page = as_page(figures, plots, hang(measured, specimens, bench))
    files = {f"{name}.png": png for name, png in plots.items()}
    files |= {"evaluation.json": to_json(figures).encode(), "index.html": page.encode()}
    for name, content in files.items():
        try:
            (output / name).write_bytes(content)
        except OSError as error:
            shown = printable(str(output / name))
            raise UsageError(f"{shown}: cannot be written: {error.strerror}") from error


def draw_plots(figures: Figures, measured: Sequence[Measured]) -> dict[str, bytes]:
    """PNGs by name: those that the figures have something to show for."""
    plots = {}
    if digits := figures["digits"]:
        plots["confusion"] = draw_confusion(digits["confusion"])
        if calibration := digits["calibration"]:
            plots["reliability"] = draw_reliability(calibration["bins"], calibration["ece"])
        curve = digits["risk_coverage"]
        plots["risk_coverage"] = draw_risk_coverage(
            curve["coverage"],
            curve["risk"],
            digits["accepted"]["share"],
            digits["accepted_wrong"]["share"],
        )
    kinds = {
        "digits, right": [
            each for each in measured if each.specimen.truth.kind is TruthKind.DIGIT and each.is_right
        ],
        "digits, wrong": [
            each for each in measured if each.specimen.truth.kind is TruthKind.DIGIT and not each.is_right
        ],
        "no digits": [each for each in measured if each.specimen.truth.kind is TruthKind.OUTLIER],
    }
    plots["confidences"] = draw_confidences(
        {name: [each.confidence for each in own] for name, own in kinds.items() if own},
        figures["model"]["accept"],
    )
    return plots


# --- the short table --------------------------------------------------------------------------------


def _lines(figures: Figures) -> Iterator[tuple[str, str]]:
    model, data = figures["model"], figures["data"]
    rate = figures["n"] / max(figures["duration_s"], 1e-3)
    yield "data", f"{data['path']}, {figures['n']} through {data['through']}, {rate:.0f} a second"
    yield (
        "model",
        f"{model['name']} {model['sha256'][:8]}, accept {model['accept']:g}, digit {model['digit']:g}",
    )
    if digits := figures["digits"]:
        yield from _digit_lines(digits)
    if strings := figures["strings"]:
        yield from _string_lines(strings)
    for name in _APART:
        own = figures[name]
        if own and own["n"]:
            yield name, f"read {_share(own['read'])}, wrongly {own['misread']['count']}"
            yield from _reason_lines(own)
    outliers = figures["outliers"]
    if outliers and outliers["auroc"] is not None:
        yield "AUROC", f"{outliers['auroc']:.4f} against {outliers['auroc_digits']} digits"


def _digit_lines(digits: Figures) -> Iterator[tuple[str, str]]:
    yield "right", _share(digits["right"])
    yield "accepted", f"{_share(digits['accepted'])}; of these wrong {_share(digits['accepted_wrong'])}"
    yield from _reason_lines(digits)
    if calibration := digits["calibration"]:
        names = (("ECE", "ece"), ("Brier", "brier"), ("NLL", "nll"))
        scores = ", ".join(f"{name} {calibration[key]:.4f}" for name, key in names)
        yield "calibration", f"{scores} ({calibration['n']} with one guess)"
    yield "AURC", f"{digits['risk_coverage']['aurc']:.5f}"
    for column, groups in {"digit": digits["per_digit"], **digits["columns"]}.items():
        if len(groups) <= DIGITS:
            for group, own in groups.items():
                yield column, f"{group or '(none)':16s} {_share(own['right'])}"


def _string_lines(strings: Figures) -> Iterator[tuple[str, str]]:
    yield "strings", f"{_share(strings['exact'])} exact"
    yield "accepted", f"{_share(strings['accepted'])}; of these wrong {_share(strings['accepted_wrong'])}"
    yield "rows", f"{_share(strings['rows_exact'])} exact; order right in {_share(strings['order_right'])}"
    yield "digits", f"{_errors(strings)}, as a bag F1 {strings['bag']['f1']:.4f}"
    shares = ", ".join(f"{float(risk):.0%} wrong {own:.1%}" for risk, own in strings["coverage_at"].items())
    yield "coverage at", shares
    if strings["causes"]:
        yield "  mistakes", ", ".join(f"{why} {count}" for why, count in strings["causes"].items())
    for column, groups in strings["columns"].items():
        if len(groups) <= DIGITS:
            for group, own in groups.items():
                text = f"{_share(own['exact'])}; rows {_share(own['rows_exact'])}; {_errors(own)}"
                yield column, f"{group or '(none)':16s} {text}; F1 {own['bag']['f1']:.4f}"


def _errors(own: Figures) -> str:
    if own["digit_error_rate"] is None:
        return "no digits in order"
    return f"{own['digit_errors']} errors in {own['digits']} digits: {own['digit_error_rate'] * 100:.2f} %"


def _reason_lines(own: Figures) -> Iterator[tuple[str, str]]:
    if own["reasons"]:
        yield "  not read", ", ".join(f"{reason} {count}" for reason, count in own["reasons"].items())


def _share(own: Figures) -> str:
    """583 of 615: 94.80 % (92.74 to 96.29)."""
    if own["share"] is None:
        return "0 of 0"
    return (
        f"{own['count']} of {own['of']}: {own['share'] * 100:.2f} %"
        f" ({own['low'] * 100:.2f} to {own['high'] * 100:.2f})"
    )


# --- the page ---------------------------------------------------------------------------------------

_STYLE = """
body { font: 16px/1.45 system-ui, sans-serif; color: #222; background: #fff; max-width: 72rem;
  margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid #ddd; vertical-align: top;
  font-variant-numeric: tabular-nums; }
code { overflow-wrap: anywhere; }
.plots, .room { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
figure { margin: 0; }
.plots figure { flex: 1 1 30rem; max-width: 34rem; }
.plots img { width: 100%; }
.room figure { border: 1px solid #ddd; padding: .5rem; width: 13rem; font-size: .85rem; }
.room img { image-rendering: pixelated; max-width: 100%; border: 1px solid #ccc; margin: 0 .2rem .2rem 0; }
figcaption { overflow-wrap: anywhere; color: #444; }
"""

_COUNTING = (
    "A digit is right when there is exactly one guess and it is the label, accepted or not; failed, empty and"
    " several are wrong. In parentheses: 95 % Wilson intervals, as if every picture came from another writer."
)


def as_page(figures: Figures, plots: Mapping[str, bytes], rooms: Sequence[Room]) -> str:
    """One HTML page that holds everything, its pictures included; no script, nothing fetched."""
    title = f"{escape(figures['model']['name'])} on {escape(Path(figures['data']['path']).name)}"
    return "\n".join(
        (
            '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{title}</title><style>{_STYLE}</style></head><body>",
            f"<h1>{title}</h1>",
            _summary(figures),
            '<div class="plots">',
            *(_plot(name, png) for name, png in plots.items()),
            "</div>",
            *_tables(figures),
            *(_room(room) for room in rooms if room.total),
            _origin(figures),
            "</body></html>\n",
        )
    )


def _summary(figures: Figures) -> str:
    strings = figures["strings"] and {**figures["strings"], "columns": {}}
    rows = list(_lines({**figures, "digits": None, "strings": strings}))
    if digits := figures["digits"]:
        rows += _digit_lines({**digits, "per_digit": {}, "columns": {}})
    return _table(("", ""), rows)


def _tables(figures: Figures) -> Iterator[str]:
    if digits := figures["digits"]:
        for column, groups in {"digit": digits["per_digit"], **digits["columns"]}.items():
            yield f"<h2>By {escape(column)}</h2>"
            rows = [
                (group or "(none)", *(_share(own[key]) for key in ("right", "accepted", "accepted_wrong")))
                for group, own in groups.items()
            ]
            yield _table((column, "right", "accepted", "wrong among the accepted"), rows)
    if strings := figures["strings"]:
        for column, groups in strings["columns"].items():
            yield f"<h2>Strings by {escape(column)}</h2>"
            rows = [
                (
                    group or "(none)",
                    *(_share(own[key]) for key in ("exact", "accepted", "accepted_wrong", "rows_exact")),
                    _errors(own),
                    f"{own['bag']['f1']:.4f}",
                )
                for group, own in groups.items()
            ]
            head = ("exact", "accepted", "wrong among the accepted", "rows exact", "digits", "bag F1")
            yield _table((column, *head), rows)
    if outliers := figures["outliers"]:
        yield "<h2>No digits</h2>"
        rows = [
            (group, _share(own["read"]), ", ".join(f"{why} {n}" for why, n in own["reasons"].items()))
            for group, own in outliers["groups"].items()
        ]
        yield _table(("label", "read, though no digit", "reasons not to"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["<table>"]
    if any(head):
        lines.append("<tr>" + "".join(f"<th>{escape(cell)}</th>" for cell in head) + "</tr>")
    lines += ["<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "\n".join([*lines, "</table>"])


def _plot(name: str, png: bytes) -> str:
    caption = escape(_CAPTIONS[name])
    return (
        f'<figure><img src="{to_data_uri(png)}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    )


def _room(room: Room) -> str:
    shown = "" if len(room.exhibits) == room.total else f", the first {len(room.exhibits)} are shown"
    lines = [f"<h2>{escape(room.title)}</h2><p>{room.total}{shown}.</p>", '<div class="room">']
    for each in room.exhibits:
        pictures = [each.page] if each.page is not None else []
        images = "".join(f'<img src="{uri}" alt="">' for uri in [*pictures, *each.tiles])
        lines.append(
            f"<figure>{images}<figcaption><b>{escape(each.label)}</b> read as {escape(each.verdict)}"
            f"<br>{escape(each.name)}</figcaption></figure>"
        )
    return "\n".join([*lines, "</div>"])


def _origin(figures: Figures) -> str:
    model, data = figures["model"], figures["data"]
    versions = ", ".join(f"{name} {version}" for name, version in figures["versions"].items())
    rows = [
        ("command", figures["command"]),
        ("model", f"{model['name']}, SHA-256 {model['sha256']}, temperature {model['temperature']:g}"),
        ("data", f"{data['path']}, SHA-256 {data['sha256'] or 'of none: its folders are the labels'}"),
        ("against", figures["against"] or "nothing"),
        ("finished", figures["finished_at"]),
        ("versions", versions),
        ("counting", _COUNTING),
    ]
    return "<h2>How this was measured</h2>" + _table(("", ""), rows)

"""What counts as right, wrong, misread and refused, and what is shown of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html.parser import HTMLParser

import numpy as np
import pytest

from worker.outcome import Status
from worker.recognition.decision import Reading
from worker.training.evaluation import figures_of, mistakes_of, share
from worker.training.gallery import Exhibit, Room, least_certain, shrink_to_fit, worst_digits, worst_others
from worker.training.report import as_page, as_text, to_json
from worker.training.specimens import Answer, Measured, Specimen, TruthKind, truth_of
from worker.vision.page import Box


def _reading(digit: int, confidence: float, given_digit: float = 0.9, accepted: bool = False) -> Reading:
    chances = [(1 - given_digit) / 9] * 10
    chances[digit] = given_digit
    return Reading(digit, confidence, accepted, tuple(chances), Box(0, 0, 5, 5))


def _measured(
    label: str, *digits: int, confidence: float = 0.5, reason: str | None = "low_confidence", **columns: str
) -> Measured:
    """A specimen with an answer: read where `reason` is None."""
    readings = tuple(_reading(digit, confidence, accepted=reason is None) for digit in digits)
    status = Status.READ if reason is None else Status.REVIEW
    text = "".join(str(digit) if reason is None else "?" for digit in digits)
    return Measured(
        Specimen(f"{label}.png", truth_of(label), columns), Answer(status, text, readings, reason)
    )


def _failed(label: str) -> Measured:
    return Measured(Specimen("x.png", truth_of(label)), Answer(Status.FAILED, "", (), "truncated"))


@pytest.mark.parametrize(
    ("label", "kind", "texts"),
    [
        ("4", TruthKind.DIGIT, {"4"}),
        ("ambiguous:4/Y", TruthKind.AMBIGUOUS, {"4", "Y"}),
        ("multi:12", TruthKind.SEVERAL, {"12"}),
        ("1 4/? 3", TruthKind.SEVERAL, {"14?3"}),
        ("10", TruthKind.SEVERAL, {"10"}),
        ("letter", TruthKind.OUTLIER, set()),
        ("Greek/character07", TruthKind.OUTLIER, set()),
        ("?", TruthKind.OUTLIER, set()),
        ("²", TruthKind.OUTLIER, set()),
    ],
)
def test_a_label_says_what_would_be_right(label: str, kind: TruthKind, texts: set[str]) -> None:
    truth = truth_of(label)
    assert truth.kind is kind
    assert truth.texts == frozenset(texts)


def test_a_guess_is_right_whether_accepted_or_not() -> None:
    figures = figures_of([_measured("4", 4), _measured("4", 4, reason=None), _measured("4", 9)])
    assert figures["digits"]["right"]["count"] == 2
    assert figures["digits"]["right"]["of"] == 3


def test_failed_empty_and_several_are_wrong() -> None:
    measured = [_failed("4"), _measured("4"), _measured("4", 4, 4, reason="several_digits")]
    digits = figures_of(measured)["digits"]
    assert digits["right"]["count"] == 0
    assert digits["confusion"][4][10] == 3
    assert digits["reasons"] == {"truncated": 1, "low_confidence": 1, "several_digits": 1}
    assert digits["calibration"] is None  # nobody claimed anything


def test_wrong_among_the_accepted_leaves_out_what_was_refused() -> None:
    measured = [_measured("4", 9, reason=None), _measured("4", 4, reason=None), _measured("4", 9)]
    digits = figures_of(measured)["digits"]
    assert digits["accepted"]["count"] == 2
    assert digits["accepted_wrong"] == share(1, 2)


def test_digits_are_grouped_by_columns_that_have_a_few_values() -> None:
    measured = [
        _measured("4", 4, style="scan", writer=f"w{i}", polarity="dark")
        if i
        else _measured("4", 9, style="mouse")
        for i in range(70)
    ]
    columns = figures_of(measured)["digits"]["columns"]
    assert set(columns) == {"style", "polarity"}  # seventy writers are too many
    assert columns["style"]["scan"]["right"] == share(69, 69)
    assert columns["style"]["mouse"]["right"] == share(0, 1)
    assert columns["polarity"][""]["right"]["of"] == 1


def test_an_ambiguous_picture_is_misread_only_when_accepted_as_something_else() -> None:
    measured = [
        _measured("ambiguous:1/7", 7, reason=None),
        _measured("ambiguous:1/7", 3),
        _measured("ambiguous:1/7", 4, reason=None),
    ]
    ambiguous = figures_of(measured)["ambiguous"]
    assert (ambiguous["read"]["count"], ambiguous["misread"]["count"]) == (2, 1)


def test_a_number_read_as_one_digit_is_misread_and_read_whole_it_is_not() -> None:
    several = figures_of([_measured("multi:12", 1, reason=None), _measured("1 2", 1, 2, reason=None)])[
        "several"
    ]
    assert (several["read"]["count"], several["misread"]["count"]) == (2, 1)


def test_outliers_stand_against_the_digits_of_both_sets() -> None:
    measured = [_measured("letter", 4, confidence=0.3), _measured("Greek/a", 4, confidence=0.97, reason=None)]
    against = [_measured("5", 5, confidence=0.6), _measured("letter", 5, confidence=0.99)]
    outliers = figures_of(measured, against)["outliers"]
    assert outliers["read"] == share(1, 2)
    assert outliers["auroc"] == 0.5  # 0.6 is above one of two
    assert outliers["auroc_digits"] == 1
    assert set(outliers["groups"]) == {"letter", "Greek"}


def test_the_chance_of_being_no_digit_counts_against_a_guess() -> None:
    sure = Measured(
        Specimen("a", truth_of("4")), Answer(Status.REVIEW, "?", (_reading(4, 0.45, 0.9),), "low_confidence")
    )
    assert sure.chances[4] == pytest.approx(0.45)
    assert sure.chances[10] == pytest.approx(0.5)
    assert sum(sure.chances) == pytest.approx(1)


def test_mistakes_name_wrong_digits_and_accepted_outliers_alone() -> None:
    measured = [
        _measured("1", 1),
        _measured("2", 3),
        _measured("letter", 4),
        _measured("other", 5, reason=None),
    ]
    assert [each["name"] for each in mistakes_of(measured)] == ["2.png", "other.png"]


def test_the_worst_come_first() -> None:
    measured = [
        _measured("1", 2, confidence=0.6),
        _measured("1", 2, confidence=0.96, reason=None),
        _measured("1", 2, confidence=0.9),
        _measured("1", 1, confidence=0.7),
        _measured("1", 1, confidence=0.4),
        _measured("letter", 3, confidence=0.95, reason=None),
        _measured("1", 1, confidence=0.99, reason=None),
    ]
    assert worst_digits(measured) == [1, 2, 0]
    assert worst_others(measured) == [5]
    assert least_certain(measured) == [4, 3]


def test_a_page_is_shown_at_a_size_that_fits() -> None:
    assert shrink_to_fit(np.zeros((400, 100), np.uint8), 160).shape == (160, 40)
    assert shrink_to_fit(np.zeros((28, 20), np.uint8), 160).shape == (140, 100)
    assert shrink_to_fit(np.zeros((1, 4000), np.uint8), 160).shape == (1, 160)


# --- what is printed and written --------------------------------------------------------------------


def _whole(measured: list[Measured]) -> dict[str, object]:
    return {
        "command": "digit-worker evaluate --data <x>",
        "finished_at": "2026-11-20T09:30:00+00:00",
        "versions": {"python": "3"},
        "model": {"name": "a<b", "sha256": "0" * 64, "temperature": 1.0, "accept": 0.9, "digit": 0.5},
        "data": {"path": "somewhere/set", "sha256": None, "through": "pages"},
        "against": None,
        "duration_s": 0.0,
        **figures_of(measured),
    }


MIXED = [
    _measured("4", 4, reason=None, style="s"),
    _measured("4", 9, style="t"),
    _measured("letter", 1),
    _failed("3"),
]


def test_the_table_says_how_many_are_right_with_an_interval() -> None:
    assert "1 of 3: 33.33 % (6.15 to 79.23)" in as_text(_whole(MIXED))


@pytest.mark.parametrize("measured", [MIXED, MIXED[:1], [MIXED[2]], [_failed("3")]])
def test_any_mix_of_specimens_has_figures_that_are_plain_json(measured: list[Measured]) -> None:
    figures = _whole(measured)
    assert json.loads(to_json(figures)) == figures
    assert as_text(figures)


class _Page(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named: Mapping[str, str | None] = dict(attrs)
        self.tags.append(tag)
        self.sources += [str(named[key]) for key in ("src", "href") if key in named]


def test_the_page_needs_nothing_beside_it_and_escapes_what_it_is_given() -> None:
    exhibit = Exhibit(None, ("data:image/png;base64,AA==",), "4", "9 (0.9): accepted", "<script>.png")
    page = _Page(as_page(_whole(MIXED), {"confusion": b"png"}, [Room("Wrong", 3, (exhibit,))]))
    assert "script" not in page.tags
    assert page.tags.count("b") == 1  # the label; the model's name makes no second one
    assert page.sources
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)

"""Figures of strings, against cases counted by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.outcome import Status
from worker.recognition.decision import Reading
from worker.training.evaluation import figures_of, mistakes_of
from worker.training.gallery import exhibit, worst_others, worst_strings
from worker.training.measures import coverage_within, risk_coverage
from worker.training.report import as_page, as_text, to_json
from worker.training.specimens import Answer, Measured, Specimen, View, truth_of
from worker.training.strings import (
    Bag,
    Cause,
    Written,
    cause_of,
    compare_bags,
    edit_distance,
    is_right,
    rows_anywhere,
    rows_in_order,
    string_figures,
    written,
)
from worker.vision.page import Box

TEXTS = st.text("0123?", max_size=6)
DIGITS = st.text("0123", max_size=6)


def _measured(
    label: str,
    read: str,
    confidence: float = 0.5,
    notes: str = "",
    *,
    accepted: bool = False,
    **columns: str,
) -> Measured:
    """A string read as `read`; what is not accepted has question marks in its text."""
    chances = (0.1,) * 10
    readings = tuple(
        Reading(int(each), 0.9, accepted, chances, Box(0, 0, 5, 5)) for each in read if each.isdigit()
    )
    text = read if accepted else "".join("?" if each.isdigit() else each for each in read)
    status = Status.READ if accepted else Status.REVIEW
    reason = None if accepted else "low_confidence"
    specimen = Specimen(f"{label}.png", truth_of(label), columns, notes)
    return Measured(specimen, Answer(status, text, readings, reason, confidence))


def test_labels_tell_rows_and_whether_they_have_an_order() -> None:
    assert written(truth_of("12 3/4 5?")) == Written(("123", "45?"))
    assert written(truth_of("multi:12")) == Written(("12",))
    assert written(truth_of("1 2 3"), "Scattered, on grid paper").is_scattered


@pytest.mark.parametrize(
    ("label", "read", "distance"),
    [
        ("123", "123", 0),
        ("123", "13", 1),
        ("123", "1123", 1),
        ("123", "183", 1),
        ("123", "", 3),
        ("", "12", 2),
        ("12345", "54321", 4),
        ("1?3", "123", 0),
        ("1?3", "13", 0),
        ("1?3", "1223", 1),
        ("?", "7", 0),
    ],
)
def test_the_edit_distance_counts_the_digits_to_change(label: str, read: str, distance: int) -> None:
    assert edit_distance(label, read) == distance


@given(DIGITS, DIGITS, DIGITS)
def test_the_edit_distance_is_a_distance(a: str, b: str, c: str) -> None:
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, b) == edit_distance(b, a)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)


@given(TEXTS, DIGITS)
def test_what_is_right_in_order_is_right_as_a_bag(label: str, read: str) -> None:
    if is_right(Written((label,)), read):
        assert is_right(Written((label,), is_scattered=True), read)
        assert compare_bags(label, read).f1 == 1


def test_a_bag_counts_digits_without_their_order() -> None:
    assert compare_bags("1123", "3114") == Bag(written=4, read=4, both=3)
    assert compare_bags("1123", "3114").f1 == 0.75
    assert compare_bags("12?", "129") == Bag(2, 2, 2)
    assert compare_bags("12?", "1299") == Bag(2, 3, 2)
    assert compare_bags("12", "") == Bag(2, 0, 0)
    assert compare_bags("12", "").f1 == 0


def test_rows_count_where_they_stand_in_order() -> None:
    label = ("12", "34", "56")
    assert rows_in_order(label, ("12", "34", "56")) == 3
    assert rows_in_order(label, ("12", "9", "56")) == 2
    assert rows_in_order(label, ("34", "12", "56")) == 2
    assert rows_anywhere(label, ("34", "12", "56")) == 3
    assert rows_in_order(label, ("123456",)) == 0
    assert rows_anywhere(("12", "12"), ("12",)) == 1


@pytest.mark.parametrize(
    ("label", "read", "why"),
    [
        ("123", "123", None),
        ("123", "", Cause.NOTHING),
        ("123", "12", Cause.TOO_FEW),
        ("123", "1233", Cause.TOO_MANY),
        ("123", "124", Cause.WRONG_DIGIT),
        ("123", "132", Cause.ORDER),
        ("1?3", "13", None),
        ("1?3", "14", Cause.WRONG_DIGIT),
    ],
)
def test_every_mistake_has_one_cause(label: str, read: str, why: Cause | None) -> None:
    assert cause_of(Written((label,)), read) is why


def test_scattered_digits_are_right_in_any_order() -> None:
    assert cause_of(Written(("123",), is_scattered=True), "312") is None
    assert cause_of(Written(("123",), is_scattered=True), "313") is Cause.WRONG_DIGIT


STRINGS = [
    _measured("12 34/56", "12 34\n56", 0.9, accepted=True, kind="rows"),  # right, whatever the spaces
    _measured("12 34/56", "1234\n57", 0.8, accepted=True, kind="rows"),  # one digit of six, one row of two
    _measured("789", "789", 0.7, kind="number"),  # right, but not accepted
    _measured("789", "89", 0.2, kind="number"),
    _measured("1 2 3", "321", 0.6, "scattered", kind="page"),
]


def test_the_figures_of_strings_are_those_counted_by_hand() -> None:
    figures = string_figures(STRINGS)
    assert (figures["exact"]["count"], figures["exact"]["of"]) == (3, 5)
    assert (figures["accepted"]["count"], figures["accepted_wrong"]["count"]) == (2, 1)
    assert (figures["rows_exact"]["count"], figures["rows_exact"]["of"]) == (4, 6)
    assert (figures["order_right"]["count"], figures["order_right"]["of"]) == (4, 4)
    assert (figures["digit_errors"], figures["digits"]) == (2, 18)
    assert figures["digit_error_rate"] == pytest.approx(2 / 18)
    assert figures["bag"] == {
        "written": 21,
        "read": 20,
        "both": 19,
        "f1": pytest.approx(38 / 41),
        "mean_f1": pytest.approx((1 + 10 / 12 + 1 + 4 / 5 + 1) / 5),
    }
    assert figures["causes"] == {"a digit is taken for another": 1, "digits are missing": 1}
    assert figures["columns"]["kind"]["rows"]["rows_exact"]["count"] == 3
    assert figures["coverage_at"] == {"0.01": 0.2, "0.02": 0.2, "0.05": 0.2}


def test_rows_in_another_order_are_counted() -> None:
    figures = string_figures([_measured("12/34", "34\n12")])
    assert figures["order_right"]["count"] == 0
    assert figures["rows_exact"]["count"] == 1


def test_the_coverage_is_the_largest_that_keeps_the_risk() -> None:
    curve = risk_coverage(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, True]))
    assert coverage_within(curve, 0.0) == 0.25
    assert coverage_within(curve, 0.25) == 1.0  # 1 of 2, 1 of 3, but 1 of 4 in the end
    assert coverage_within(risk_coverage(np.array([0.9]), np.array([False])), 0.5) == 0.0


def test_a_set_without_strings_has_no_figures_of_them() -> None:
    assert figures_of([_measured("4", "4")])["strings"] is None


def test_a_string_is_misread_when_it_was_accepted_and_is_not_what_is_written() -> None:
    several = figures_of(STRINGS)["several"]
    assert (several["read"]["count"], several["misread"]["count"]) == (2, 1)
    scattered = figures_of([_measured("1 2 3", "321", 0.6, "scattered", accepted=True)])["several"]
    assert scattered["misread"]["count"] == 0


def test_mistakes_name_the_strings_that_are_wrong_with_their_cause() -> None:
    found = [(each["guesses"], each["confidence"], each["cause"]) for each in mistakes_of(STRINGS)]
    assert found == [("1234\n57", 0.8, Cause.WRONG_DIGIT.value), ("89", 0.2, Cause.TOO_FEW.value)]


def test_the_gallery_sorts_wrong_strings_by_cause_the_accepted_first() -> None:
    measured = [
        _measured("12", "13", 0.9),
        _measured("12", "14", 0.3, accepted=True),
        _measured("12", "1"),
        _measured("12", "12"),
    ]
    assert worst_strings(measured, Cause.WRONG_DIGIT) == [1, 0]
    assert worst_strings(measured, Cause.TOO_FEW) == [2]
    assert worst_strings(measured, Cause.TOO_MANY) == []
    assert worst_others(measured) == []


def test_an_exhibited_string_shows_its_page_and_its_best_guesses() -> None:
    page = np.full((50, 300), 255, np.uint8)
    shown = exhibit(STRINGS[1], View(page, (np.zeros((28, 28), np.float32),)))
    assert shown.verdict == "1234 / 57 (0.8000): accepted"
    assert shown.tiles == ()
    assert shown.page is not None


def test_the_report_says_the_figures_of_strings() -> None:
    figures = {
        **figures_of(STRINGS),
        "command": "evaluate",
        "finished_at": "2026-01-01T00:00:00+00:00",
        "versions": {},
        "model": {"name": "m", "sha256": "0" * 64, "temperature": 1.0, "accept": 0.9, "digit": 0.5},
        "data": {"path": "sets/photos", "sha256": None, "through": "pages"},
        "against": None,
        "duration_s": 1.0,
    }
    text = as_text(figures)
    assert "3 of 5: 60.00 %" in text
    assert "2 errors in 18 digits: 11.11 %" in text
    assert "F1 0.9268" in text
    assert json.loads(to_json(figures))["strings"]["digits"] == 18
    page = as_page(figures, {}, [])
    assert "Strings by kind" in page
    assert "digits are missing 1" in page

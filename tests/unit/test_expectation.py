from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import ConfigurationError
from worker.expectation import CHECKS, MOST_DIGITS, Expectation, Expectations, parse_expectations
from worker.pattern import Pattern, PatternError
from worker.reasons import Reason, ReasonCode
from worker.recognition.decision import Reading, Verdict
from worker.recognition.fitting import best_guesses, held_against
from worker.settings import load_settings, parse_expect
from worker.vision.page import Box


def rule(**keys: object) -> Expectation:
    found = parse_expectations(keys).of("a.png")
    assert found is not None
    return found


# --- patterns -------------------------------------------------------------------------------------

ATOMS = st.sampled_from(["0", "1", "7", ".", r"\d", "[0-3]", "[^1]", "[17]"])


def joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    repeat = st.sampled_from(["", "?", "*", "+", "{2}", "{0,2}", "{1,}"])
    return st.one_of(
        st.tuples(inner, inner).map("".join),
        st.tuples(inner, inner).map(lambda two: f"({two[0]}|{two[1]})"),
        st.tuples(inner, repeat).map(lambda two: f"(?:{two[0]}){two[1]}"),
    )


@given(st.recursive(ATOMS, joined, max_leaves=6), st.text("0137", max_size=7))
def test_a_pattern_fits_what_python_says_it_fits(source: str, text: str) -> None:
    assert Pattern(source).matches(text) == (re.fullmatch(source, text) is not None)


def test_a_pattern_holds_for_the_whole_text() -> None:
    assert Pattern(r"^\d{3}$").matches("123")
    assert not Pattern(r"\d{3}").matches("1234")
    assert not Pattern("12|34").matches("1234")


def test_an_unknown_digit_stands_for_any() -> None:
    assert Pattern("[0-3]1").matches("?1")
    assert not Pattern("[0-3]1").matches("?2")


def test_a_pattern_tells_how_many_digits_it_allows() -> None:
    pattern = Pattern("[01](23)*")
    assert [count for count in range(8) if pattern.allows_count(count)] == [1, 3, 5, 7]


def test_a_pattern_that_makes_others_backtrack_for_ever_comes_to_an_end() -> None:
    assert not Pattern("(1*)*2").matches("1" * MOST_DIGITS)
    assert not Pattern("(1|11|1?1?)+2").matches("1" * MOST_DIGITS)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("", "empty"),
        ("a", "not understood"),
        (r"\d\.\d", "leave them out"),
        (r"\w", "not understood"),
        ("(1", "`)` is missing"),
        ("1)", "without its"),
        ("[5-2]", "only digits"),
        ("[12", "too early"),
        ("[^0-9]", "leaves no digit"),
        ("1{4,2}", "must rise"),
        ("1{x}", "a repeat is written"),
        ("1{9999}", "at most"),
        ("1+?", "two repeats"),
        ("*1", "not understood"),
        ("(?=1)", "only (?:"),
        ("((1{400}){400}){400}", "too large"),
        ("(((){400}){400}){400}", "too large"),
        ("(" * 50 + "1" + ")" * 50, "too deeply"),
    ],
)
def test_a_wrong_pattern_is_refused_with_the_reason(source: str, said: str) -> None:
    with pytest.raises(PatternError, match=re.escape(said)):
        Pattern(source)


# --- check digits ---------------------------------------------------------------------------------

KNOWN = {"luhn": "79927398713", "gtin": "4006381333931", "mod11": "974760673", "mod97": "79444"}


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_digit_accepts_a_number_known_to_be_right_and_no_other_digit_in_any_place(name: str) -> None:
    number = KNOWN[name]
    assert CHECKS[name](number)
    for place, right in enumerate(number):
        for wrong in set("0123456789") - {right}:
            assert not CHECKS[name](number[:place] + wrong + number[place + 1 :])


# --- rules ----------------------------------------------------------------------------------------


def test_all_keys_of_a_rule_must_hold() -> None:
    both = rule(digits="4-6", pattern="1.*")
    assert both.matches("1234")
    assert both.matches("12 34")
    assert not both.matches("2234")
    assert not both.matches("123")
    assert not both.matches("1234567")
    assert both.allows_count(6)
    assert not both.allows_count(7)


def test_without_lines_all_digits_of_the_picture_are_one_number() -> None:
    assert rule(digits=4).matches("12\n34")
    assert not rule(digits=2).matches("12\n34")


def test_with_lines_each_line_fits_by_itself() -> None:
    rows = rule(digits=2, lines="2-3")
    assert rows.matches("12\n3 4")
    assert not rows.matches("12")
    assert not rows.matches("12\n345")
    assert not rows.matches("12\n34\n56\n78")


def test_an_unknown_digit_leaves_the_check_open() -> None:
    assert rule(check="luhn").matches("7992739871?")
    assert not rule(check="luhn").matches("79927398710")


@pytest.mark.parametrize("text", ["", "1" * (MOST_DIGITS + 1)])
def test_nothing_and_too_much_fit_no_rule(text: str) -> None:
    assert not rule(pattern="1*").matches(text)


def test_the_deepest_folder_decides() -> None:
    rules = parse_expectations({".": {"digits": 1}, "a/": {"digits": 2}, "a/b/": {"digits": 3}, "c/": "any"})
    assert [str(rules.of(name)) for name in ("x.png", "a/x.png", "a/b/x.png", "c/x.png", "ab/x.png")] == [
        "1 digit", "2 digits", "3 digits", "None", "1 digit",
    ]  # fmt: skip
    assert Expectations().of("x.png") is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (5, "must be a rule"),
        ({}, "must be a rule"),
        ({"digits": "six"}, "a number or a range"),
        ({"digits": "6-4"}, "must rise"),
        ({"digits": 0}, "from 1"),
        ({"digits": True}, "a number or a range"),
        ({"check": "crc"}, "one of luhn"),
        ({"pattern": 123}, "single quotes"),
        ({"pattern": "x"}, "not understood"),
        ({"digits": 1, "colour": 2}, "colour is unknown"),
        ({"meters": {"digits": 5}}, "folders end in /"),
        ({"../x/": {"digits": 5}}, "below the inbox"),
        ({"a/": 5}, "a rule is"),
    ],
)
def test_a_wrong_rule_is_named(value: object, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_expectations(value)


def test_every_mistake_is_named_at_once() -> None:
    with pytest.raises(ValueError, match=r"a/: digits.*b/: check"):
        parse_expectations({"a/": {"digits": "x"}, "b/": {"check": "x"}})


def test_the_configuration_holds_rules(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("expect:\n  dates/: {pattern: '\\d{8}'}\n")
    settings = load_settings(config, {})
    assert settings.expect is not None
    assert settings.expect.of("dates/x.png") == Expectation(pattern=Pattern(r"\d{8}"))
    assert load_settings(config, {}) == settings
    assert load_settings(config, {"DIGIT_WORKER_EXPECT": "{digits: 3}"}).expect == parse_expect("digits: 3")


def test_a_wrong_rule_of_the_configuration_is_one_of_its_mistakes(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("expect: {digits: none}\nthreads: -1\n")
    with pytest.raises(ConfigurationError, match=r"2 mistakes(.|\n)*expect.*: digits is a number") as caught:
        load_settings(config, {})
    assert "Value error" not in str(caught.value)


# --- choosing among readings ----------------------------------------------------------------------


def test_the_most_probable_choice_that_fits_is_taken() -> None:
    lines = [[("12", 0.6), ("123", 0.4)], [("45", 0.9), ("456", 0.1)]]
    assert rule(digits=4).choose(lines) == (0, 0)
    assert rule(digits=5).choose(lines) == (1, 0)
    assert rule(digits=6).choose(lines) == (1, 1)
    assert rule(digits=7).choose(lines) is None


def test_a_line_may_be_left_out_and_each_line_is_chosen_by_itself() -> None:
    lines = [[("12", 0.6), ("123", 0.4)], [("4", 0.9), ("", 0.1)]]
    assert rule(digits=3, lines="1-2").choose(lines) == (1, 1)
    assert rule(digits=3, lines=2).choose(lines) is None


def test_choosing_ends_where_there_are_very_many_choices() -> None:
    lines = [[(str(i), 0.1) for i in range(8)]] * 12
    assert rule(digits=13).choose(lines) is None


# --- verdicts -------------------------------------------------------------------------------------


def verdict(text: str, guesses: str, code: ReasonCode | None = None) -> Verdict:
    spread = tuple(1.0 if i == 0 else 0.0 for i in range(10))
    digits = tuple(
        Reading(int(each), 0.99, accepted=True, probabilities=spread, box=Box(0, 0, 5, 5)) for each in guesses
    )
    return Verdict(text, 0.9, digits, Reason.of(code) if code else None)


def test_the_best_guesses_stand_where_the_question_marks_were() -> None:
    doubtful = verdict("1? 3\n?", "1234")
    assert best_guesses(doubtful.text, doubtful.digits) == "12 3\n4"


def test_what_fits_stays_as_it_was() -> None:
    fitting = verdict("12 34", "1234")
    assert held_against(fitting, rule(digits=4)) is fitting
    assert held_against(fitting, None) is fitting


def test_what_does_not_fit_goes_to_review_and_says_why() -> None:
    answer = held_against(verdict("12 34", "1234"), rule(digits=5))
    assert not answer.is_read
    assert answer.reason is not None
    assert answer.reason.code is ReasonCode.UNEXPECTED_FORMAT
    assert "12 34" in answer.reason.message
    assert "5 digits" in answer.reason.message
    assert answer.text == "12 34"


def test_a_doubtful_reading_whose_best_guess_fits_stays_doubtful() -> None:
    doubtful = verdict("1?", "12", ReasonCode.LOW_CONFIDENCE)
    assert held_against(doubtful, rule(digits=2)) is doubtful


@pytest.mark.parametrize("code", [ReasonCode.NO_INK, ReasonCode.NOT_A_DIGIT])
def test_where_nothing_was_read_that_stays_the_reason(code: ReasonCode) -> None:
    nothing = verdict("", "", code)
    assert held_against(nothing, rule(digits=2)) is nothing

"""Which marks of a line are doubtful, and how the classifier's word on candidates becomes a reading."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from worker.recognition.decision import DIGITS, FRAGMENT, OTHER, SEVERAL, Sign
from worker.recognition.frames import BLANK, FRAME_LABELS, FRAME_PX, Frames, ctc_log_likelihoods
from worker.recognition.hypotheses import Hypothesis
from worker.recognition.numbers import (
    READINGS,
    Doubt,
    doubt_of,
    everything,
    find_doubt,
    line_height,
    search,
)
from worker.recognition.opinions import TextRanking, Weights
from worker.vision.candidates import Candidate, Ladder
from worker.vision.page import Box
from worker.vision.strips import DIGIT_PX, MARGIN, Band

LABELS = 13
EMPTY = np.zeros((0, LABELS))
INK = np.ones((4, 4), np.float32)


def _row(label: int, share: float = 0.98) -> np.ndarray:
    row = np.full(LABELS, (1 - share) / (LABELS - 1))
    row[label] = share
    return row


def _boxes(count: int, width: int = 50, height: int = 80) -> list[Box]:
    return [Box(i * (width + 10), 0, width, height) for i in range(count)]


def test_nothing_is_not_in_doubt() -> None:
    assert find_doubt([], EMPTY) == everything([], EMPTY) == Doubt((), ())
    assert not Doubt((), ())
    assert Doubt((0,), ())
    assert Doubt((), (0,))


def test_sure_digits_need_no_second_look() -> None:
    assert not find_doubt(_boxes(4), np.array([_row(d) for d in (1, 2, 3, 4)]))


def test_what_may_be_several_is_cut() -> None:
    rows = np.array([_row(2), _row(SEVERAL), _row(3)])
    assert find_doubt(_boxes(3), rows).to_cut == (1,)


def test_narrow_marks_are_not_cut() -> None:
    boxes = [Box(0, 0, 10, 80)]
    assert find_doubt(boxes, np.array([_row(SEVERAL)])).to_cut == ()
    assert everything(boxes, np.array([_row(SEVERAL)])).to_cut == ()


def test_a_part_is_tried_with_its_neighbours_where_they_are_near() -> None:
    rows = np.array([_row(2), _row(FRAGMENT), _row(3)])
    near = [Box(0, 0, 40, 80), Box(45, 0, 20, 80), Box(200, 0, 40, 80)]
    assert find_doubt(near, rows).to_join == (0,)


def test_a_model_that_knows_only_digits_is_never_asked_again() -> None:
    rows = np.full((2, DIGITS), 0.1)
    assert not find_doubt(_boxes(2), rows)
    assert not everything(_boxes(2), rows)


def test_everything_holds_all_doubts() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        boxes = [
            Box(60 * i, int(rng.integers(0, 40)), int(rng.integers(1, 90)), int(rng.integers(1, 90)))
            for i in range(8)
        ]
        rows = rng.dirichlet(np.ones(LABELS) * 0.2, 8)
        doubt, all_of_it = find_doubt(boxes, rows), everything(boxes, rows)
        assert set(doubt.to_cut) <= set(all_of_it.to_cut)
        assert set(doubt.to_join) <= set(all_of_it.to_join)
        assert all(place < 7 for place in all_of_it.to_join)


def test_the_height_of_a_line_is_that_of_its_digits() -> None:
    boxes = [Box(0, 0, 40, 80), Box(50, 0, 40, 82), Box(100, 0, 40, 300)]
    assert line_height(boxes, np.array([_row(3), _row(4), _row(OTHER)])) == 81
    assert line_height(boxes[2:], np.array([_row(OTHER)])) == 300
    assert line_height([Box(0, 0, 5, 0)], np.array([_row(OTHER)])) == 0


def _halves(box: Box) -> tuple[Candidate, Candidate]:
    half = box.width // 2
    return (
        Candidate(0, 1, 0, INK, Box(box.x, box.y, half, box.height), 0.1, 0.5),
        Candidate(1, 2, 0, INK, Box(box.x + half, box.y, half, box.height), 0.1, 0.5),
    )


def _digits(signs: list[Sign]) -> str:
    return "".join(str(sign.chosen) for sign in signs if sign.chosen is not None)


def test_a_double_is_read_in_its_halves() -> None:
    box = Box(10, 0, 100, 80)
    ladder = Ladder((0, 2), _halves(box))
    readings = search([box], np.array([_row(SEVERAL)]), ladder, np.array([_row(2), _row(4)]))
    signs = readings[0].signs
    assert _digits(signs) == "24"
    assert [sign.box for sign in signs] == [candidate.box for candidate in ladder.candidates]
    assert readings[0].share > 0.8
    assert readings[0].frames is None


def test_a_whole_digit_is_not_read_in_its_halves() -> None:
    box = Box(10, 0, 60, 80)
    halves = np.array([_row(FRAGMENT), _row(FRAGMENT)])
    signs = search([box], np.array([_row(8, 0.7)]), Ladder((0, 2), _halves(box)), halves)[0].signs
    assert _digits(signs) == "8"
    assert signs[0].box == box


def test_two_parts_are_read_together() -> None:
    boxes = [Box(0, 0, 25, 80), Box(30, 0, 25, 80)]
    both = Candidate(0, 2, 0, INK, Box(0, 0, 55, 80), is_joined=True)
    rows = np.array([_row(FRAGMENT), _row(FRAGMENT)])
    signs = search(boxes, rows, Ladder((0, 1, 2), (both,)), np.array([_row(0)]))[0].signs
    assert [(sign.chosen, sign.box) for sign in signs] == [(0, both.box)]


def test_a_low_mark_is_left_out_of_a_line_of_digits() -> None:
    boxes = [Box(0, 0, 50, 80), Box(60, 70, 12, 10), Box(80, 0, 50, 80)]
    rows = np.array([_row(3), _row(OTHER, 0.6), _row(5)])
    signs = search(boxes, rows, Ladder((0, 1, 2, 3), ()), EMPTY)[0].signs
    assert [sign.chosen for sign in signs] == [3, None, 5]


def test_readings_are_sorted_bounded_and_share_what_is_likely() -> None:
    rng = np.random.default_rng(5)
    for _ in range(20):
        rows = rng.dirichlet(np.ones(LABELS) * 0.3, 4)
        readings = search(_boxes(4), rows, Ladder((0, 1, 2, 3, 4), ()), EMPTY)
        shares = [reading.share for reading in readings]
        assert 1 <= len(readings) <= READINGS
        assert shares == sorted(shares, reverse=True)
        assert 0 < sum(shares) <= 1 + 1e-9
        assert all(0 <= sign.held <= 1 for reading in readings for sign in reading.signs)


def test_marks_without_height_and_certain_rows_have_a_reading() -> None:
    rows = np.array([np.eye(LABELS)[OTHER], np.eye(LABELS)[3]])
    readings = search([Box(0, 0, 5, 0), Box(9, 0, 0, 0)], rows, Ladder((0, 1, 2), ()), EMPTY)
    assert readings
    assert np.isfinite(readings[0].share)


def test_an_empty_line_reads_as_nothing() -> None:
    assert search([], EMPTY, Ladder((0,), ()), EMPTY) == [Hypothesis([], 1.0)]


def _frames(labels: str, width: int) -> Frames:
    """A frame a character over a line from 0 to `width` pixels; `-` is none, `.` says nothing at all."""
    rows = np.full((len(labels), FRAME_LABELS), np.log(0.002))
    for place, label in enumerate(labels):
        if label == ".":
            rows[place] = np.log(1 / FRAME_LABELS)
        else:
            rows[place, BLANK if label == "-" else int(label)] = np.log(0.98)
    # A band in which the first frame begins at 0 and the last ends at `width`.
    height = DIGIT_PX * width / (FRAME_PX * len(labels))
    return Frames(rows, Band(MARGIN * height, width - 2 * MARGIN * height, 0.0, height, 0.0), 1)


def test_the_transcriber_decides_where_the_classifier_hesitates() -> None:
    boxes = _boxes(2)
    right = boxes[-1].right
    rows = np.array([_row(4), np.full(LABELS, 0.001)])
    rows[1, 1] = rows[1, 7] = 0.49
    ladder = Ladder((0, 1, 2), (), (0.0, (boxes[0].right + boxes[1].x) / 2, float(right)))
    for label in "17":
        signs = search(boxes, rows, ladder, EMPTY, _frames(f"--4----{label}--", right))[0].signs
        assert _digits(signs) == f"4{label}"
        assert signs[1].probabilities[int(label)] > 0.9


def test_two_opinions_that_differ_leave_doubt() -> None:
    boxes = _boxes(2)
    ladder = Ladder((0, 1, 2), (), (0.0, (boxes[0].right + boxes[1].x) / 2, float(boxes[1].right)))
    rows = np.array([_row(4), _row(1)])
    agreed = search(boxes, rows, ladder, EMPTY, _frames("--4----1--", boxes[1].right))[0].signs
    differed = search(boxes, rows, ladder, EMPTY, _frames("--4----7--", boxes[1].right))[0].signs
    assert agreed[1].probabilities.max() > 0.95
    assert differed[1].probabilities.max() < 0.9


def test_fused_rows_are_probabilities() -> None:
    boxes = _boxes(3)
    columns = (0.0, 60.0, 130.0, float(boxes[-1].right))
    rows = np.random.default_rng(1).dirichlet(np.ones(LABELS), 3)
    ladder = Ladder((0, 1, 2, 3), (), columns)
    for reading in search(boxes, rows, ladder, EMPTY, _frames("-1---5---9", boxes[-1].right)):
        assert all(sign.probabilities.sum() == pytest.approx(1) for sign in reading.signs)


def test_the_whole_text_decides_where_no_frame_is_a_good_place_to_part_digits() -> None:
    boxes = _boxes(2)
    rows = np.array([_row(4), np.full(LABELS, 0.001)])
    rows[1, 1], rows[1, 7] = 0.6, 0.39
    # The frames that say 7 all lie before the border between the two marks: behind it none speaks of any digit.
    ladder = Ladder((0, 1, 2), (), (0.0, float(boxes[1].right) * 0.8, float(boxes[1].right)))
    frames = _frames("--4---77--", boxes[1].right)
    found = search(boxes, rows, ladder, EMPTY, frames, Weights(1.0, 0.2, 1.0))
    by_text = search(boxes, rows, ladder, EMPTY, frames, Weights(1.0, 0.2, 1.0, rank=TextRanking(0.2, 1.0)))
    assert _digits(found[0].signs) == "41"
    assert _digits(by_text[0].signs) == by_text[0].text == "47"
    assert {one.text for one in found} == {one.text for one in by_text}
    heard = ctc_log_likelihoods(frames.log_probabilities, [[4, 7]])
    assert by_text[0].heard == pytest.approx(heard[0])
    assert by_text[0].looked == pytest.approx(np.log(rows[0, 4]) + np.log(rows[1, 7]))


@pytest.mark.parametrize("rank", [None, TextRanking(0.2, 0.8)])
def test_a_sign_as_high_as_digits_is_none_as_rarely_as_in_service_but_punctuation_as_often(
    rank: TextRanking | None,
) -> None:
    boxes = _boxes(2)
    rows = np.array([_row(4), np.full(LABELS, 0.001)])
    rows[1, 7], rows[1, OTHER] = 0.02, 0.97
    ladder = Ladder((0, 1, 2), (), (0.0, (boxes[0].right + boxes[1].x) / 2, float(boxes[1].right)))
    frames = _frames("--4----.--", boxes[1].right)  # the transcriber cannot tell

    def read(boxes: list[Box], stranger: float) -> Hypothesis:
        return search(
            boxes, rows, ladder, EMPTY, frames, Weights(0.5, 0.5, 0.5, rank=rank, stranger=stranger)
        )[0]

    as_learned, in_service = read(boxes, 1.0), read(boxes, 0.01)
    assert (as_learned.text, as_learned.left_out) == ("4", 1.0)
    assert (in_service.text, in_service.left_out) == ("47", 0.0)
    assert in_service.signs[0].confidence == pytest.approx(as_learned.signs[0].confidence, abs=0.02)
    low = [boxes[0], replace(boxes[1], height=boxes[0].height // 4)]
    for stranger in (1.0, 0.01):
        assert (read(low, stranger).text, read(low, stranger).left_out) == ("4", 0.0)


def test_two_digits_heard_in_one_mark_are_to_be_cut_between_them() -> None:
    boxes = [Box(0, 0, 40, 60), Box(60, 0, 80, 60)]
    doubt, hints = doubt_of(Doubt((), ()), boxes, _frames("--3----0---0--", 140))
    assert doubt.to_cut == (1,)
    assert hints[1] == pytest.approx([95.0])


def test_two_marks_of_which_one_digit_is_heard_are_to_be_joined() -> None:
    boxes = [Box(0, 0, 20, 60), Box(24, 0, 20, 60), Box(90, 0, 50, 60)]
    doubt, _ = doubt_of(Doubt((), ()), boxes, _frames("-4---------5--", 140))
    assert doubt.to_join == (0,)

"""Ink is found on any ground, and what is no writing is left out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.vision.page import Box, Grey, Page
from worker.vision.segmentation import MAX_MARKS, Mark, find_marks


def _five(page: Grey, x: int, y: int, height: int, ink: int, thickness: int) -> None:
    """Draw a 5 whose bar does not touch its body."""
    h = height
    points = [(0.15, 0.1), (0.12, 0.45), (0.45, 0.42), (0.6, 0.65), (0.45, 0.95), (0.1, 0.98)]
    line = np.array([(x + px * h, y + py * h) for px, py in points], np.int32)
    cv2.polylines(page, [line], isClosed=False, color=ink, thickness=thickness)
    cv2.line(
        page, (x + int(0.26 * h), y + int(0.06 * h)), (x + int(0.65 * h), y + int(0.04 * h)), ink, thickness
    )


def _page(ground: int = 255, ink: int = 0, size: tuple[int, int] = (200, 240), height: int = 100) -> Grey:
    page = np.full(size, ground, np.uint8)
    _five(page, 60, 50, height, ink, max(1, height // 12))
    return page


def _marks(page: Grey) -> list[Mark]:
    return find_marks(Page(page))


def _close_to(box: Box, other: Box, px: int) -> bool:
    return all(
        abs(a - b) <= px
        for a, b in ((box.x, other.x), (box.y, other.y), (box.right, other.right), (box.bottom, other.bottom))
    )


CLEAN = _marks(_page())[0].box


def test_the_detached_bar_of_a_five_belongs_to_it() -> None:
    marks = _marks(_page())
    assert len(marks) == 1
    assert marks[0].box.height > 90


@pytest.mark.parametrize(("ground", "ink"), [(255, 0), (0, 255), (200, 150), (90, 140), (255, 225)])
def test_ink_is_found_on_light_and_dark_ground_at_any_contrast(ground: int, ink: int) -> None:
    marks = _marks(_page(ground, ink))
    assert len(marks) == 1
    assert _close_to(marks[0].box, CLEAN, 1)


@pytest.mark.parametrize("ground", [0, 40, 128, 255])
def test_blank_paper_has_no_marks(ground: int) -> None:
    assert _marks(np.full((120, 90), ground, np.uint8)) == []


def test_noisy_paper_gives_one_digit_and_no_specks() -> None:
    rng = np.random.default_rng(3)
    noisy = np.clip(_page(210, 60) + rng.normal(0, 8, (200, 240)), 0, 255).astype(np.uint8)
    marks = _marks(noisy)
    assert len(marks) == 1
    assert _close_to(marks[0].box, CLEAN, 4)


def test_a_strong_gradient_does_not_hide_the_digit() -> None:
    light = np.linspace(0.45, 1.0, 240)[None, :]
    marks = _marks((_page(240, 70) * light).astype(np.uint8))
    assert len(marks) == 1
    assert _close_to(marks[0].box, CLEAN, 4)


def test_dust_is_dropped() -> None:
    page = _page()
    for x, y in ((10, 10), (200, 30), (220, 180), (30, 150)):
        cv2.circle(page, (x, y), 1, 0, -1)
    assert len(_marks(page)) == 1


def test_ruled_lines_are_left_out_and_the_digit_survives_them() -> None:
    page = _page(250, 30)
    for y in range(20, 200, 40):
        cv2.line(page, (0, y), (239, y), 150, 1)
    marks = _marks(page)
    assert len(marks) == 1
    assert _close_to(marks[0].box, CLEAN, 4)


@pytest.mark.parametrize("slope", [-0.085, 0.0, 0.04])
def test_rulings_with_a_margin_do_not_make_one_mark_of_all_rows(slope: float) -> None:
    page, places = np.full((520, 640), 245, np.uint8), []
    for row in range(4):
        level = 130 + 100 * row
        for column, digit in enumerate("52038"):
            x, y = 110 + 45 * column, round(level + slope * (110 + 45 * column))
            cv2.putText(page, digit, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 30, 5, cv2.LINE_AA)
            places.append((x, y))
        # Digits stand on it and one hangs through it: it is one piece with them.
        cv2.line(
            page, (40, round(level + slope * 40)), (600, round(level + slope * 600)), 120, 2, cv2.LINE_AA
        )
    boxes = [mark.box for mark in _marks(page)]
    assert len(boxes) == len(places)
    for x, y in places:
        assert any(abs(box.x - x) < 12 and abs(box.bottom - y) < 8 and 25 < box.height < 45 for box in boxes)


def _wrote(page: Grey, text: str, x: int, y: int) -> list[tuple[int, int]]:
    """Digits 36 pixels high, 45 apart, standing on `y`; where each begins and stands."""
    places = [(x + 45 * index, y) for index in range(len(text))]
    for digit, place in zip(text, places, strict=True):
        cv2.putText(page, digit, place, cv2.FONT_HERSHEY_SIMPLEX, 1.6, 30, 5, cv2.LINE_AA)
    return places


def _are_alone(boxes: list[Box], places: list[tuple[int, int]]) -> bool:
    """Whether there is one mark for each digit, and no other."""
    return len(boxes) == len(places) and all(
        any(abs(box.x - x) < 12 and abs(box.bottom - y) < 8 and 25 < box.height < 45 for box in boxes)
        for x, y in places
    )


@pytest.mark.parametrize("thick", [1, 3])
def test_a_table_within_the_page_is_left_out(thick: int) -> None:
    page, places = np.full((420, 640), 240, np.uint8), []
    for row in range(4):
        for column, text in enumerate(("52", "3078", "96")):
            places += _wrote(page, text, 60 + 190 * column, 100 + 70 * row)
    for row in range(5):
        cv2.line(page, (50, 50 + 70 * row), (620, 50 + 70 * row), 90, thick, cv2.LINE_AA)
    for column in range(4):
        cv2.line(page, (50 + 190 * column, 50), (50 + 190 * column, 330), 90, thick, cv2.LINE_AA)
    assert _are_alone([mark.box for mark in _marks(page)], places)


def test_a_box_for_each_digit_is_left_out_and_a_1_in_it_is_not() -> None:
    page, places = np.full((300, 500), 240, np.uint8), []
    for row, text in enumerate(("5231", "908", "6247")):
        places += _wrote(page, text, 60, 80 + 80 * row)
        bottom, right = 92 + 80 * row, 54 + 45 * len(text)
        for x in range(54, right + 1, 45):
            cv2.line(page, (x, bottom - 60), (x, bottom), 110, 2, cv2.LINE_AA)
        for y in (bottom - 60, bottom):
            cv2.line(page, (54, y), (right, y), 110, 2, cv2.LINE_AA)
    assert _are_alone([mark.box for mark in _marks(page)], places)


def test_a_sheet_with_a_margin_line_is_left_out_where_nothing_stands_free_of_it() -> None:
    page, places = np.full((700, 600), 240, np.uint8), []
    for row in range(7):
        places += _wrote(page, "5208", 130, 150 + 70 * row)
    for row in range(9):
        cv2.line(page, (40, 80 + 70 * row), (570, 80 + 70 * row), 130, 2, cv2.LINE_AA)
    cv2.line(page, (100, 30), (100, 680), 130, 2, cv2.LINE_AA)
    assert _are_alone([mark.box for mark in _marks(page)], places)


@pytest.mark.parametrize("digit", ["1", "4", "7"])
def test_a_large_digit_of_straight_strokes_beside_small_print_is_kept(digit: str) -> None:
    page = np.full((400, 400), 245, np.uint8)
    strokes = {
        "1": [((200, 40), (200, 300))],
        "4": [((140, 40), (120, 200)), ((120, 200), (280, 200)), ((240, 90), (240, 310))],
        "7": [((120, 60), (280, 60)), ((280, 60), (170, 300))],
    }
    for start, end in strokes[digit]:
        cv2.line(page, start, end, 30, 6, cv2.LINE_AA)
    cv2.putText(page, "No 12", (20, 380), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 60, 2, cv2.LINE_AA)
    low, high = (
        min(y for stroke in strokes[digit] for _, y in stroke),
        max(y for stroke in strokes[digit] for _, y in stroke),
    )
    assert any(abs(mark.box.y - low) < 6 and abs(mark.box.bottom - high) < 6 for mark in _marks(page))


def test_ones_beside_dots_are_no_form() -> None:
    page = np.full((120, 160), 255, np.uint8)
    for x in (40, 80, 120):
        cv2.line(page, (x, 20), (x, 84), 0, 2)
        page[100:108, x - 10 : x - 2] = 0
    assert len([mark for mark in _marks(page) if mark.box.height > 60]) == 3


def test_a_1_at_the_edge_is_not_what_is_left_of_a_ruling() -> None:
    page = np.full((160, 260), 255, np.uint8)
    cv2.line(page, (0, 120), (259, 120), 0, 2)
    cv2.line(page, (2, 25), (2, 80), 0, 5)
    cv2.putText(page, "357", (60, 80), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 0, 3)
    assert _marks(page)[0].box.x == 0


def test_an_8_of_straight_strokes_is_no_sheet() -> None:
    page = np.full((150, 140), 255, np.uint8)
    for y in (20, 75, 130):
        cv2.line(page, (20, y), (120, y), 0, 2)
    for x in (20, 120):
        cv2.line(page, (x, 20), (x, 130), 0, 2)
    assert [mark.box.height for mark in _marks(page)] == [113]


@pytest.mark.parametrize("pitch", [18, 40])
def test_squared_paper_askew_that_nobody_wrote_on_has_no_mark(pitch: int) -> None:
    page = np.full((420, 360), 235, np.uint8)
    for at in range(-40, 460, pitch):
        cv2.line(page, (0, at), (359, at + 9), 110, 2, cv2.LINE_AA)
        cv2.line(page, (at + 9, 0), (at, 419), 110, 2, cv2.LINE_AA)
    assert _marks(page) == []


def test_a_number_on_an_underline_keeps_its_straight_strokes() -> None:
    page = np.full((200, 420), 245, np.uint8)
    places = _wrote(page, "41174", 80, 120)
    cv2.line(page, (60, 122), (330, 122), 40, 3, cv2.LINE_AA)
    assert _are_alone([mark.box for mark in _marks(page)], places)


def test_a_bar_four_times_as_long_as_crumbs_is_a_digit() -> None:
    page = np.full((300, 300), 250, np.uint8)
    cv2.line(page, (150, 40), (148, 260), 20, 8)
    for x, y in ((40, 40), (260, 60), (50, 250)):
        cv2.circle(page, (x, y), 6, 40, -1)
    assert any(mark.box.height > 200 for mark in _marks(page))


@pytest.mark.parametrize("depth", [25, 60, 90])
@pytest.mark.parametrize("column", [20, 105, 200])
def test_a_faint_streak_of_the_scanner_is_left_out(column: int, depth: int) -> None:
    clean = _page(ground=240, ink=40, size=(240, 260))
    page = clean.copy()
    page[:, column] = np.maximum(page[:, column].astype(np.int16) - depth, 30).astype(np.uint8)
    (alone,), (mark,) = _marks(clean), _marks(page)
    assert _close_to(mark.box, alone.box, 3)


def test_faint_rulings_askew_are_left_out() -> None:
    ruled = np.zeros((340, 340), np.float32)
    ruled[20::36] = 1
    askew = cv2.warpAffine(ruled, cv2.getRotationMatrix2D((170, 170), 2, 1), (340, 340))[40:280, 40:300]
    clean = _page(ground=240, ink=40, size=(240, 260))
    page = np.asarray(np.clip(clean - 30 * askew * (clean > 140), 0, 255), np.uint8)
    (alone,), (mark,) = _marks(clean), _marks(page)
    assert _close_to(mark.box, alone.box, 4)


@pytest.mark.parametrize("share", [0.4, 0.6, 0.8])
@pytest.mark.parametrize("soft_px", [1, 8])
def test_a_shadow_with_an_edge_across_the_page_is_no_ink(soft_px: int, share: float) -> None:
    page = _page(ground=236, ink=40, size=(400, 520))
    (alone,) = _marks(page)
    light = np.ones(page.shape, np.float32)
    light[:, 300:] = share
    (mark,) = _marks(np.asarray(page * cv2.GaussianBlur(light, (0, 0), soft_px), np.uint8))
    assert _close_to(mark.box, alone.box, 4)


def test_a_pale_broad_pen_beside_a_dark_one_is_no_shadow() -> None:
    page = np.full((280, 460), 240, np.uint8)
    cv2.line(page, (80, 50), (80, 230), 25, 6, cv2.LINE_AA)
    cv2.ellipse(page, (320, 140), (60, 80), 0, 0, 360, 175, 30, cv2.LINE_AA)
    _, pale = _marks(page)
    solid = pale.ink > 0.2
    assert solid.mean() > 0.4  # a nought with a hole; hollowed out, it would be two thin lines


def test_a_faint_1_as_high_as_the_crop_is_no_streak() -> None:
    page = np.full((100, 200), 240, np.uint8)
    page[:, 45:49] = 195
    _five(page, 110, 15, 70, 195, 6)
    page[:, 2:4] = 30  # what sets the contrast
    assert any(40 <= mark.box.x <= 50 and mark.box.height > 90 for mark in _marks(page))


def test_the_remainder_of_a_soft_stain_is_no_ink() -> None:
    stain = np.zeros((440, 480), np.float32)
    cv2.ellipse(stain, (160, 330), (30, 90), 25, 0, 360, 1.0, -1)
    assert _marks(np.asarray(236 - 70 * cv2.GaussianBlur(stain, (0, 0), 24), np.uint8)) == []


def test_a_dark_scan_edge_is_left_out() -> None:
    page = _page(240, 60)
    page[:, :7] = 20
    page[:5] = 30
    marks = _marks(page)
    assert len(marks) == 1
    assert _close_to(marks[0].box, CLEAN, 4)


def test_a_digit_that_touches_the_border_is_kept() -> None:
    page = np.full((100, 60), 255, np.uint8)
    cv2.line(page, (30, 0), (28, 99), 0, 6)
    marks = _marks(page)
    assert len(marks) == 1
    assert marks[0].box.height == 100


def test_two_digits_are_two_marks_in_reading_order() -> None:
    page = np.full((150, 260), 255, np.uint8)
    _five(page, 150, 20, 100, 0, 8)
    cv2.ellipse(page, (70, 70), (30, 48), 0, 0, 360, 0, 8)
    marks = _marks(page)
    assert [mark.box.x < 130 for mark in marks] == [True, False]


def test_a_one_pixel_stroke_is_found_whole() -> None:
    page = np.full((60, 60), 255, np.uint8)
    cv2.ellipse(page, (30, 30), (12, 20), 0, 0, 360, 0, 1)
    marks = _marks(page)
    assert len(marks) == 1
    assert (marks[0].box.width, marks[0].box.height) == (25, 41)


def test_boxes_are_in_page_pixels_on_large_pages() -> None:
    page = _page(size=(200, 240))
    large = np.asarray(cv2.resize(page, (2880, 2400), interpolation=cv2.INTER_NEAREST), np.uint8)
    marks = _marks(large)
    assert len(marks) == 1
    expected = Box(CLEAN.x * 12, CLEAN.y * 12, CLEAN.width * 12, CLEAN.height * 12)
    assert _close_to(marks[0].box, expected, 12)


def test_a_small_digit_on_a_large_page_is_cut_at_full_resolution() -> None:
    page = np.full((3000, 2200), 235, np.uint8)
    _five(page, 1000, 1500, 60, 40, 5)
    marks = _marks(page)
    assert len(marks) == 1
    assert marks[0].ink.shape[0] >= 55


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 3), (2000, 2), (5, 4000)])
def test_odd_shapes_do_no_harm(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for page in (np.zeros(shape, np.uint8), rng.integers(0, 256, shape).astype(np.uint8)):
        for mark in _marks(page):
            assert mark.box.right <= shape[1]
            assert mark.box.bottom <= shape[0]


def test_a_storm_of_specks_is_bounded() -> None:
    rng = np.random.default_rng(1)
    storm = np.where(rng.random((900, 900)) < 0.02, 0, 255).astype(np.uint8)
    assert len(_marks(storm)) <= MAX_MARKS


@pytest.mark.parametrize("shadow_px", [0, 30, 60])
def test_dark_digits_on_paper_in_the_light_of_a_lamp_are_what_is_dark(shadow_px: int) -> None:
    y, x = np.mgrid[:460, :820]
    paper = 120 + 100 * np.exp(-((x - 550) ** 2 / 80_000 + (y - 330) ** 2 / 28_800))
    paper[:shadow_px] -= 80
    page = cv2.GaussianBlur(np.clip(paper, 0, 255).astype(np.uint8), (0, 0), 5)
    for place, digit in enumerate("2464"):
        cv2.putText(page, digit, (150 + 60 * place, 150), cv2.FONT_HERSHEY_SIMPLEX, 1.6, 55, 6, cv2.LINE_AA)
    marks = find_marks(Page(page))
    assert len(marks) == 4
    assert all(90 < mark.box.y < mark.box.bottom < 170 for mark in marks)

"""A page becomes lines of tiles, and may be turned; boxes find their way back."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.vision.normalization import NormalizerSettings, normalize
from worker.vision.page import TILE_PX, Box, Page
from worker.vision.segmentation import Mark, Writing
from worker.vision.sheet import arrange, sheet_of, sheet_of_tile, turn_box
from worker.vision.strips import NO_FIELD

SETTINGS = NormalizerSettings()


@st.composite
def placed(draw: st.DrawFn) -> tuple[Box, int, int]:
    width, height = draw(st.integers(1, 500)), draw(st.integers(1, 500))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return (
        Box(x, y, draw(st.integers(1, width - x)), draw(st.integers(1, height - y))),
        width,
        height,
    )


@given(placed(), st.integers(0, 3))
def test_a_box_turns_as_the_pixels_do(where: tuple[Box, int, int], turns: int) -> None:
    box, width, height = where
    page = np.zeros((height, width), np.uint8)
    page[box.y : box.bottom, box.x : box.right] = 1
    turned = turn_box(box, turns, width, height)
    window = np.rot90(page, turns)[turned.y : turned.bottom, turned.x : turned.right]
    assert window.shape == (turned.height, turned.width)
    assert window.all()
    assert window.sum() == page.sum()


@given(placed())
def test_four_quarter_turns_are_none(where: tuple[Box, int, int]) -> None:
    box, width, height = where
    assert turn_box(box, 4, width, height) == box
    once = turn_box(box, 1, width, height)
    assert turn_box(once, 3, height, width) == box


def _page() -> Page:
    grey = np.full((300, 500), 255, np.uint8)
    for x, y, text in ((40, 110, "274"), (60, 250, "35")):
        cv2.putText(grey, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 3, 0, 7)
    return Page(grey)


def test_the_lines_of_a_page_from_the_top_left() -> None:
    sheet = sheet_of(_page(), SETTINGS)
    assert [len(line.marks) for line in sheet.lines] == [3, 2]
    assert (sheet.width, sheet.height, sheet.turns) == (500, 300, 0)
    assert len(sheet.tiles) == 5
    for line in sheet.lines:
        for mark, tile in zip(line.marks, line.tiles, strict=True):
            assert tile.box == mark.box
            assert tile.pixels.shape == (TILE_PX, TILE_PX)
            assert np.array_equal(tile.pixels, normalize(mark.ink, SETTINGS))


def test_turned_four_times_a_sheet_is_as_before() -> None:
    sheet = sheet_of(_page(), SETTINGS)
    again = sheet
    for turn in range(1, 5):
        again = again.turned(1, SETTINGS)
        assert again.turns == turn % 4
    assert [tile.box for tile in again.tiles] == [tile.box for tile in sheet.tiles]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(again.tiles, sheet.tiles, strict=True))


def test_boxes_of_a_turned_sheet_are_seen_where_they_were() -> None:
    sheet = sheet_of(_page(), SETTINGS)
    boxes = {tile.box for tile in sheet.tiles}
    for turns in range(4):
        turned = sheet.turned(turns, SETTINGS)
        assert {turned.as_seen(tile.box) for tile in turned.tiles} == boxes
        for tile in turned.tiles:
            assert 0 <= tile.box.x < tile.box.right <= turned.width
            assert 0 <= tile.box.y < tile.box.bottom <= turned.height


def test_a_page_read_from_its_side_is_found_by_turning() -> None:
    grey = np.full((300, 500), 255, np.uint8)
    for x, y, digit in ((40, 110, "2"), (160, 110, "7"), (280, 110, "4"), (60, 250, "3"), (200, 250, "5")):
        cv2.putText(grey, digit, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 3, 0, 7)
    upright = sheet_of(Page(grey), SETTINGS)
    lying = sheet_of(Page(np.ascontiguousarray(np.rot90(grey, 3))), SETTINGS)
    turned = lying.turned(1, SETTINGS)
    assert [tile.box for tile in turned.tiles] == [tile.box for tile in upright.tiles]


def test_a_blank_page_has_no_lines_and_can_be_turned() -> None:
    sheet = sheet_of(Page(np.full((30, 50), 255, np.uint8)), SETTINGS)
    assert (sheet.lines, sheet.tiles) == ((), [])
    assert (sheet.turned(1, SETTINGS).width, sheet.turned(1, SETTINGS).height) == (30, 50)


def test_one_pixel_is_one_line() -> None:
    sheet = arrange(Writing([Mark(Box(3, 4, 1, 1), np.ones((1, 1), np.float32))], NO_FIELD), SETTINGS, 10, 10)
    assert [tile.box for tile in sheet.tiles] == [Box(3, 4, 1, 1)]


def test_a_tile_is_a_sheet_of_one_mark_as_it_is() -> None:
    pixels = np.zeros((TILE_PX, TILE_PX), np.float32)
    pixels[6:25, 9:12] = 0.8  # neither centred nor as bright as the normaliser would make it
    sheet = sheet_of_tile(pixels)
    ((line),) = sheet.lines
    assert line.tiles[0].pixels is pixels
    assert line.tiles[0].box == line.marks[0].box == Box(9, 6, 3, 19)
    assert np.array_equal(line.marks[0].ink, pixels[6:25, 9:12])
    assert (sheet.width, sheet.height, sheet.field.step) == (TILE_PX, TILE_PX, 1)
    assert sheet.field.ink.shape == pixels.shape
    assert np.array_equal(sheet.field.ink > sheet.field.floor, pixels > 0)


def test_a_tile_without_ink_is_a_sheet_without_marks() -> None:
    assert sheet_of_tile(np.zeros((TILE_PX, TILE_PX), np.float32)).lines == ()

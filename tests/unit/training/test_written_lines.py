"""Lines that train the transcriber say truly what stands on them, and where."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.training.line_strips import WrittenLine
from worker.training.placed import Placed, strangers_among
from worker.training.written_lines import LineWriter
from worker.vision.strips import STRIP_PX, WIDTH_STEP_PX


def _tiles() -> tuple[np.ndarray, np.ndarray]:
    tiles = np.zeros((30, 28, 28), np.uint8)
    labels = np.arange(30) % 10
    for tile, label in zip(tiles, labels, strict=True):
        cv2.putText(tile, str(label), (6, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.8, 255, 2)
    return tiles, labels.astype(np.uint8)


WRITER = LineWriter(*_tiles())


@pytest.fixture(scope="module")
def lines() -> list[WrittenLine]:
    rng = np.random.default_rng(5)
    found = [WRITER.write(rng) for _ in range(150)]
    return [line for line in found if line is not None]


def test_nearly_every_line_is_found_on_its_page(lines: list[WrittenLine]) -> None:
    assert len(lines) > 140


def test_strips_are_as_service_cuts_them(lines: list[WrittenLine]) -> None:
    for line in lines:
        assert line.pixels.dtype == np.uint8
        assert line.pixels.shape[0] == STRIP_PX
        assert line.pixels.shape[1] % WIDTH_STEP_PX == 0


def test_digits_stand_in_order_within_the_strip(lines: list[WrittenLine]) -> None:
    for line in lines:
        assert len(line.digits) == len(line.middles)
        assert list(line.middles) == sorted(line.middles)
        assert all(0 <= x < line.pixels.shape[1] for x in line.middles)


def test_where_a_digit_is_said_to_stand_there_is_ink(lines: list[WrittenLine]) -> None:
    inked = [
        line.pixels[:, max(0, int(x) - 4) : int(x) + 5].max() > 100 for line in lines for x in line.middles
    ]
    assert np.mean(inked) > 0.97


def test_some_lines_hold_no_digit_and_some_many(lines: list[WrittenLine]) -> None:
    counts = [len(line.digits) for line in lines]
    assert min(counts) == 0
    assert max(counts) >= 7


def test_the_same_seed_writes_the_same_line() -> None:
    one, other = (WRITER.write(np.random.default_rng(11)) for _ in range(2))
    assert one is not None
    assert other is not None
    assert np.array_equal(one.pixels, other.pixels)
    assert (one.digits, one.middles) == (other.digits, other.middles)


def test_a_page_says_its_digits_from_the_left() -> None:
    pages = [WRITER.page(np.random.default_rng(seed)) for seed in range(20)]
    assert all(page.grey.dtype == np.uint8 and set(page.text) <= set("0123456789") for page in pages)
    assert len({len(page.text) for page in pages}) > 3
    assert 0 < sum(page.strangers for page in pages) < sum(len(page.text) for page in pages)


def test_strangers_are_what_is_as_high_as_digits_and_none() -> None:
    def placed(height: int, digit: int | None) -> Placed:
        return Placed(np.ones((height, 10), np.float32), 0, 0, digit)

    digits = [placed(40, 3), placed(44, 7)]
    assert strangers_among([*digits, placed(10, None)]) == 0  # a dash
    assert strangers_among([*digits, placed(20, None), placed(30, None)]) == 1  # and a letter
    assert strangers_among([]) == strangers_among([placed(20, None)]) == 0  # beside no digits

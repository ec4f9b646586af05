"""Which is ink and which is paper: told right where a picture was cut out along the lines of a form."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.vision import ink
from worker.vision.ink import find_ink
from worker.vision.page import Grey, Page

PAPER, INK = 225, 40


def _strip(text: str = "30258", height: int = 60, pen: int = 3) -> Grey:
    """Digits in a strip hardly higher than they are."""
    scale = height / 36
    (wide, high), _ = cv2.getTextSize("0" * len(text), cv2.FONT_HERSHEY_SIMPLEX, scale, pen)
    page = np.full((height, wide + 16), PAPER, np.uint8)
    at = (8, (height + high) // 2)
    cv2.putText(page, text, at, cv2.FONT_HERSHEY_SIMPLEX, scale, INK, pen, cv2.LINE_AA)
    return page


def _lined(page: Grey, sides: str, thick: int, rim: int = 0) -> Grey:
    """The same with lines along the sides of its border, each one of `tblr`, and a rim of paper around it."""
    page = page.copy()
    for side, part in (
        ("t", np.s_[:thick]),
        ("b", np.s_[-thick:]),
        ("l", np.s_[:, :thick]),
        ("r", np.s_[:, -thick:]),
    ):
        if side in sides:
            page[part] = INK
    return np.pad(page, rim, constant_values=PAPER)


def _is_dark_in_both(page: Grey) -> bool:
    """Whether ink is taken for dark, and for light where the page is inverted."""
    return find_ink(Page(page)).is_dark and not find_ink(Page(255 - page)).is_dark


@pytest.mark.parametrize("text", ["7", "30", "30258"])
@pytest.mark.parametrize("sides", ["", "tb", "lr", "tblr", "t", "b", "tbl"])
@pytest.mark.parametrize("thick", [2, 4])
def test_lines_along_the_border_are_no_paper(text: str, sides: str, thick: int) -> None:
    assert _is_dark_in_both(_lined(_strip(text), sides, thick))


@pytest.mark.parametrize("rim", [1, 2, 3])
@pytest.mark.parametrize("sides", ["tb", "tblr"])
def test_nor_are_they_with_a_rim_of_paper_around_them(sides: str, rim: int) -> None:
    assert _is_dark_in_both(_lined(_strip(), sides, 3, rim))


@pytest.mark.parametrize("height", [60, 140, 300])
def test_nor_are_they_on_a_larger_or_a_noisy_picture(height: int) -> None:
    page = _lined(_strip(height=height, pen=height // 20), "tblr", max(2, height // 20), 1)
    noise = np.random.default_rng(1).normal(0, 6, page.shape)
    assert _is_dark_in_both(np.clip(page + noise, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("thick", [2, 4])
def test_a_boxy_digit_cut_tightly_is_no_frame(thick: int) -> None:
    nought = _lined(np.full((40, 30), PAPER, np.uint8), "tblr", thick)
    assert _is_dark_in_both(np.pad(nought, 3, constant_values=PAPER))
    eight = nought.copy()
    eight[18 : 18 + thick] = INK
    assert _is_dark_in_both(np.pad(eight, 1, constant_values=PAPER))


@pytest.mark.parametrize(("height", "width", "room"), [(28, 21, 2), (31, 21, 2), (25, 24, 1)])
def test_a_fat_digit_cut_tightly_has_no_lines_of_paper(height: int, width: int, room: int) -> None:
    nought = np.full((height, width), PAPER, np.uint8)
    radii = (width // 2 - 2 - room, height // 2 - 2 - room)
    cv2.ellipse(nought, (width // 2, height // 2), radii, 0, 0, 360, INK, 4, cv2.LINE_AA)
    assert _is_dark_in_both(nought)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (9, 9), (10, 12), (19, 20), (20, 20), (21, 300)])
@pytest.mark.parametrize("thick", [1, 2, 5])
def test_no_page_is_too_small(size: tuple[int, int], thick: int) -> None:
    for rim in range(4):
        page = _lined(np.full(size, PAPER, np.uint8), "tblr", thick, rim)
        assert find_ink(Page(page)).ink.shape == page.shape


def _written(text: str, paper: int = PAPER, stroke: int = INK) -> Grey:
    """A sheet with a little on it, large enough to hold thin strokes beside light and shadow."""
    page = np.full((400, 300), paper, np.uint8)
    cv2.putText(page, text, (90, 230), cv2.FONT_HERSHEY_SIMPLEX, 3, stroke, 5, cv2.LINE_AA)
    return page


@pytest.fixture
def sought(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each time that strokes are sought to tell ink from paper."""
    calls: list[int] = []
    slow = ink._deeper_is_dark

    def spy(calm: Grey, window_px: int) -> bool | None:
        calls.append(window_px)
        return slow(calm, window_px)

    monkeypatch.setattr(ink, "_deeper_is_dark", spy)
    return calls


def test_on_an_even_page_what_stands_out_is_ink_without_seeking_strokes(sought: list[int]) -> None:
    assert _is_dark_in_both(_written("4"))
    assert _is_dark_in_both(_written("71", paper=140, stroke=100))
    assert sought == []


@pytest.mark.parametrize("what", ["shadow", "light spot", "dark patch", "faint"])
def test_strokes_are_sought_where_that_is_not_so_clear(what: str, sought: list[int]) -> None:
    page = _written("4", stroke=PAPER - 20 if what == "faint" else INK)
    if what == "shadow":
        page = (page * np.linspace(0.6, 1, 300)).astype(np.uint8)
    elif what == "light spot":
        page = (page * 0.7).astype(np.uint8)
        page[20:40, 20:40] = 250
    elif what == "dark patch":
        page[20:120, 20:220] = INK
    assert find_ink(Page(page)).is_dark
    assert sought

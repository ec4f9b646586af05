"""What lies around a page in its picture is painted over, and nothing that is written ever is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.vision.cleaning.slips import ground_around_slip
from worker.vision.cleaning.surround import without_surround
from worker.vision.ink import find_ink
from worker.vision.page import Grey, Page
from worker.vision.segmentation import find_marks

PAPER, INK = 236, 40


def _written(text: str = "5", height: int = 220, width: int = 300, at: tuple[int, int] = (120, 140)) -> Grey:
    grey = np.full((height, width), PAPER, np.uint8)
    cv2.putText(grey, text, at, cv2.FONT_HERSHEY_SIMPLEX, 3, INK, 7, cv2.LINE_AA)
    return grey


def _with_rim(grey: Grey, top: int, bottom: int, left: int, right: int, tone: int, seed: int = 1) -> Grey:
    whole = cv2.copyMakeBorder(grey, top, bottom, left, right, cv2.BORDER_CONSTANT, value=tone)
    noise = np.random.default_rng(seed).normal(0, 3, whole.shape)
    return np.asarray(np.clip(whole + noise, 0, 255), np.uint8)


@pytest.mark.parametrize("tone", [0, 20, 90, 150])
@pytest.mark.parametrize("rim", [(8, 8, 8, 8), (30, 12, 40, 25), (0, 30, 0, 40), (25, 0, 30, 30)])
def test_a_digit_on_a_page_with_a_dark_rim_is_found_where_it_is(
    rim: tuple[int, int, int, int], tone: int
) -> None:
    grey = _written()
    (alone,) = find_marks(Page(grey))
    (mark,) = find_marks(Page(_with_rim(grey, *rim, tone)))
    assert mark.box.x == pytest.approx(alone.box.x + rim[2], abs=3)
    assert mark.box.y == pytest.approx(alone.box.y + rim[0], abs=3)
    assert mark.box.width == pytest.approx(alone.box.width, abs=5)
    assert mark.box.height == pytest.approx(alone.box.height, abs=5)


def test_a_white_rim_about_a_dark_tile_is_no_paper() -> None:
    page = without_surround(Page(_with_rim(255 - _written(), 20, 20, 20, 20, 250)))
    assert not find_ink(page).is_dark
    assert len(find_marks(page)) == 1


def test_a_white_page_about_a_dark_panel_is_no_paper() -> None:
    """As a plot shows a picture: the page is nearly twice as wide as the panel."""
    page = without_surround(Page(_with_rim(255 - _written(width=220, at=(80, 140)), 36, 36, 84, 84, 250)))
    assert not find_ink(page).is_dark
    assert len(find_marks(page)) == 1


def test_a_page_that_lies_askew_on_a_table_with_a_grain() -> None:
    rng = np.random.default_rng(4)
    grain = cv2.GaussianBlur(rng.normal(0, 1, (320, 420)).astype(np.float32), (0, 0), sigmaX=20, sigmaY=2)
    table = 80 + 20 * grain / grain.std()
    turn = cv2.getRotationMatrix2D((210, 160), 5, 1)
    sheet = cv2.copyMakeBorder(_written(), 50, 50, 60, 60, cv2.BORDER_CONSTANT, value=0)
    cover = cv2.copyMakeBorder(np.ones((220, 300), np.float32), 50, 50, 60, 60, cv2.BORDER_CONSTANT, value=0)
    sheet, cover = cv2.warpAffine(sheet, turn, (420, 320)), cv2.warpAffine(cover, turn, (420, 320))
    page = Page(np.clip(sheet * cover + table * (1 - cover), 0, 255).astype(np.uint8))
    (mark,) = find_marks(page)
    assert 50 < mark.box.height < 110


def test_a_digit_that_touches_the_rim_is_not_painted_over() -> None:
    grey = _written(at=(120, 66))  # it begins at the very top of the sheet
    page = Page(_with_rim(grey, 30, 30, 30, 30, 15))
    painted = without_surround(page)
    assert painted is not page
    ink = (page.grey < 120) & (np.pad(grey, 30, constant_values=255) < 120)
    assert (painted.grey[ink] < 140).mean() > 0.85


@pytest.mark.parametrize(
    "grey",
    [
        _written(),
        255 - _written(),
        np.full((200, 200), 17, np.uint8),
        _with_rim(np.full((200, 200), PAPER, np.uint8), 20, 20, 20, 20, 20),  # nothing is written there
        _with_rim(_written(), 0, 0, 60, 0, 130),  # one side: it may be a shadow, or the bar of a 7
    ],
    ids=["plain", "light on dark", "one tone", "blank", "one side"],
)
def test_other_pages_stay_as_they_are(grey: Grey) -> None:
    page = Page(grey)
    assert without_surround(page) is page


def test_what_is_written_in_a_shadow_with_straight_edges_stays() -> None:
    grey = _written(height=400, width=500, at=(380, 330))
    cv2.putText(grey, "7", (60, 150), cv2.FONT_HERSHEY_SIMPLEX, 3, INK, 7, cv2.LINE_AA)
    light = np.ones(grey.shape)
    light[:, 330:] = light[240:] = 0.5
    page = Page((grey * light).astype(np.uint8))
    assert without_surround(page) is page


@pytest.mark.parametrize("digit", "0123456789")
@pytest.mark.parametrize("thickness", [6, 16, 26])
def test_a_digit_cut_tightly_is_no_page_with_a_rim(digit: str, thickness: int) -> None:
    grey = _written(digit, 300, 300, (90, 200))
    cv2.putText(grey, digit, (90, 200), cv2.FONT_HERSHEY_SIMPLEX, 5, INK, thickness, cv2.LINE_AA)
    ys, xs = np.nonzero(grey < 128)
    page = Page(np.ascontiguousarray(grey[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]))
    assert without_surround(page) is page


def test_a_vignette_is_no_surround() -> None:
    y, x = np.mgrid[-1:1:300j, -1:1:400j]
    light = np.clip(1.1 - 0.7 * (x**2 + y**2) / 2, 0, 1)
    page = Page((_written(height=300, width=400) * light).astype(np.uint8))
    assert without_surround(page) is page


@pytest.mark.parametrize("tone", [60, 95])
@pytest.mark.parametrize("written", [15, 235])
def test_what_is_written_in_a_dark_header_is_not_painted_over(tone: int, written: int) -> None:
    grey = np.full((300, 420), 240, np.uint8)
    grey[:70] = grey[:, :60] = tone
    cv2.putText(grey, "56", (220, 58), cv2.FONT_HERSHEY_SIMPLEX, 1.6, written, 4, cv2.LINE_AA)
    cv2.putText(grey, "60", (220, 200), cv2.FONT_HERSHEY_SIMPLEX, 2, INK, 5, cv2.LINE_AA)
    page = Page(grey)
    assert without_surround(page) is page


def test_a_5_of_straight_bars_that_fills_its_picture_keeps_them() -> None:
    grey = np.full((200, 110), 240, np.uint8)
    grey[:16] = grey[-16:] = grey[92:108] = 30
    grey[:100, :16] = grey[100:, -16:] = 30
    page = Page(np.asarray(cv2.GaussianBlur(grey, (0, 0), 0.8), np.uint8))
    assert without_surround(page) is page


@pytest.mark.parametrize("shape", [(64, 64), (64, 4000), (4000, 70), (65, 66), (3000, 2000)])
def test_odd_shapes_do_no_harm(shape: tuple[int, int]) -> None:
    grey = np.full(shape, PAPER, np.uint8)
    grey[:9] = grey[-9:] = grey[:, :9] = grey[:, -9:] = 20
    grey[shape[0] // 2 - 5 : shape[0] // 2 + 5, shape[1] // 2] = INK
    assert without_surround(Page(grey)).grey.shape == shape


def _on_ground(slip: Grey, tone: int, at: tuple[int, int], degrees: float = 0.0) -> Grey:
    """A slip on dark ground four times as large, with its upper left corner there."""
    ground = np.full((2 * slip.shape[0], 2 * slip.shape[1]), tone, np.uint8)
    there = np.zeros_like(ground)
    page = ground.copy()
    window = np.s_[at[1] : at[1] + slip.shape[0], at[0] : at[0] + slip.shape[1]]
    page[window], there[window] = slip, 255
    middle = (at[0] + slip.shape[1] / 2, at[1] + slip.shape[0] / 2)
    turn = cv2.getRotationMatrix2D(middle, degrees, 1)
    size = (ground.shape[1], ground.shape[0])
    page, there = (np.asarray(cv2.warpAffine(each, turn, size)) for each in (page, there))
    whole = np.where(there > 250, page, ground) + np.random.default_rng(2).normal(0, 3, ground.shape)
    return np.asarray(np.clip(whole, 0, 255), np.uint8)


@pytest.mark.parametrize("tone", [0, 60, 120])
@pytest.mark.parametrize(
    ("at", "degrees"),
    [
        ((20, 20), 0.0),
        ((150, 110), 0.0),
        ((280, 10), 0.0),
        ((0, 0), 0.0),
        ((30, 30), 7.0),
        ((150, 110), -12.0),
    ],
)
def test_a_digit_on_a_slip_is_found_where_it_is(tone: int, at: tuple[int, int], degrees: float) -> None:
    slip = _written()
    (alone,) = find_marks(Page(slip))
    (mark,) = find_marks(Page(_on_ground(slip, tone, at, degrees)))
    assert mark.box.x == pytest.approx(alone.box.x + at[0], abs=16)
    assert mark.box.y == pytest.approx(alone.box.y + at[1], abs=16)
    assert mark.box.height == pytest.approx(alone.box.height, abs=12)


def test_nothing_is_painted_over_where_two_slips_lie_or_something_is_written_beside_one() -> None:
    page = _on_ground(_written(height=150, width=150, at=(45, 105)), 50, (10, 10))
    another = page.copy()
    another[170:290, 170:290] = _written(height=120, width=120, at=(30, 90))
    beside = page.copy()
    cv2.putText(beside, "7", (200, 260), cv2.FONT_HERSHEY_SIMPLEX, 3, 230, 7, cv2.LINE_AA)
    for each in (another, beside):
        assert without_surround(Page(each)).grey is each


@pytest.mark.parametrize("tone", [60, 110, 150])
@pytest.mark.parametrize("pen", [20, 90, 230])
@pytest.mark.parametrize("thickness", [2, 4, 8])
def test_a_thin_pen_beside_a_label_is_not_painted_over(tone: int, pen: int, thickness: int) -> None:
    """As on an envelope with a label; where the pen does not stand out, nothing is written."""
    if abs(pen - tone) < 50:
        return
    page = np.full((700, 1000), tone, np.uint8)
    page[70:350, 100:500] = 235
    cv2.putText(page, "12", (180, 270), cv2.FONT_HERSHEY_SIMPLEX, 6, 20, 12, cv2.LINE_AA)
    cv2.putText(page, "345", (500, 595), cv2.FONT_HERSHEY_SIMPLEX, 3, pen, thickness, cv2.LINE_AA)
    assert without_surround(Page(page)).grey is page


@pytest.mark.parametrize("digit", "0123456789")
@pytest.mark.parametrize("thickness", [6, 16, 30])
def test_a_light_digit_on_dark_ground_is_no_slip(digit: str, thickness: int) -> None:
    grey = np.full((300, 300), 30, np.uint8)
    cv2.putText(grey, digit, (80, 230), cv2.FONT_HERSHEY_SIMPLEX, 7, 230, thickness, cv2.LINE_AA)
    assert without_surround(Page(grey)).grey is grey


def test_a_boxy_nought_on_dark_ground_and_a_blank_slip_are_none_to_read() -> None:
    nought = np.full((300, 300), 30, np.uint8)
    cv2.rectangle(nought, (90, 60), (210, 240), 230, 24)
    blank = np.full((300, 300), 30, np.uint8)
    cv2.rectangle(blank, (90, 60), (210, 240), 230, cv2.FILLED)
    for each in (nought, blank):
        assert without_surround(Page(each)).grey is each


def test_a_light_slab_with_a_large_window_is_no_slip() -> None:
    slab = np.full((300, 300), 30, np.uint8)
    cv2.rectangle(slab, (60, 40), (240, 260), 230, cv2.FILLED)
    cv2.rectangle(slab, (125, 70), (225, 230), 30, cv2.FILLED)
    assert without_surround(Page(slab)).grey is slab


@pytest.mark.parametrize("soft_px", [0.5, 5.0])
def test_the_light_of_a_lamp_is_no_slip(soft_px: float) -> None:
    light = np.full((200, 200), 60, np.uint8)
    cv2.rectangle(light, (50, 60), (150, 140), 230, cv2.FILLED)
    grey = np.asarray(cv2.GaussianBlur(light, (0, 0), soft_px), np.uint8)
    assert (ground_around_slip(grey, grey) is None) == (soft_px > 1)


def test_a_row_of_fields_from_border_to_border_is_no_table() -> None:
    grey = np.full((131, 234), 200, np.uint8)
    cv2.rectangle(grey, (0, 31), (233, 105), 135, 1)
    for x in (46, 90, 122, 152, 195):
        cv2.line(grey, (x, 31), (x, 105), 135, 1)
    for x, digit in zip((12, 58, 94, 126, 162, 202), "840902", strict=True):
        cv2.putText(grey, digit, (x, 88), cv2.FONT_HERSHEY_SIMPLEX, 1.2, 14, 12, cv2.LINE_AA)
    page = Page(grey)
    assert without_surround(page) is page

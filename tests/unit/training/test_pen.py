"""The pen draws every digit in every way it knows, as ink that fits its box, the same for the same seed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from worker.training import marks, pen
from worker.training.pen import MARGIN_PX, NEAT, Edge, Ink, Pen, Tip
from worker.training.shapes import MARKS, SHAPES, family

EVERY_PEN = [
    Pen(tip, edge, rough=rough, hollow=hollow)
    for tip in Tip
    for edge in Edge
    for rough, hollow in ((0.0, False), (0.8, False), (0.0, True))
]


def assert_is_tight_ink(ink: Ink) -> None:
    assert ink.dtype == np.float32
    assert ink.ndim == 2
    assert float(ink.min()) >= 0.0
    assert 0.1 < float(ink.max()) <= 1.0
    inner = ink[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
    assert ink.sum() == pytest.approx(inner.sum())
    for edge in (inner[0], inner[-1], inner[:, 0], inner[:, -1]):
        assert edge.any()


def loops(ink: Ink) -> int:
    """How many patches of paper the ink encloses."""
    paper = ink < 0.5
    count = 0
    while paper.any():
        front = np.zeros_like(paper)
        front[tuple(np.argwhere(paper)[0])] = True
        patch = np.zeros_like(paper)
        while front.any():
            patch |= front
            grown = front.copy()
            grown[1:] |= front[:-1]
            grown[:-1] |= front[1:]
            grown[:, 1:] |= front[:, :-1]
            grown[:, :-1] |= front[:, 1:]
            front = grown & paper & ~patch
        paper &= ~patch
        count += 1
    return count - 1


def test_every_digit_is_written_in_many_ways_with_names_of_their_own() -> None:
    assert sorted(SHAPES) == list(range(10))
    for shapes in SHAPES.values():
        names = [shape.name for shape in shapes]
        assert len(names) >= 12
        assert len(set(names)) == len(names)
        assert all(shape.weight > 0 for shape in shapes)


@pytest.mark.parametrize(
    ("digit", "name"),
    [
        (0, "slashed"),
        (1, "long flag"),
        (1, "flag and foot"),
        (2, "looped"),
        (3, "flat top"),
        (4, "open"),
        (4, "closed"),
        (5, "bar apart"),
        (6, "b-like"),
        (7, "crossed"),
        (7, "short downstroke on the left"),
        (8, "two circles"),
        (9, "g-like"),
        (9, "bent tail"),
    ],
)
def test_the_shapes_that_mnist_hardly_holds_are_there(digit: int, name: str) -> None:
    assert pen.draw_strokes(digit, np.random.default_rng(0), name).shape == name


@pytest.mark.parametrize("digit", range(10))
def test_every_shape_becomes_tight_ink_by_a_neat_and_by_any_hand(digit: int) -> None:
    rng = np.random.default_rng(1)
    for shape in SHAPES[digit]:
        for style in (NEAT, None, None):
            drawing = pen.draw_strokes(digit, rng, shape.name, style)
            assert (drawing.digit, drawing.shape) == (digit, shape.name)
            ink = pen.render(drawing, 40, 3)
            assert_is_tight_ink(ink)
            assert ink.shape[0] - 2 * MARGIN_PX <= 44


@pytest.mark.parametrize(
    ("digit", "name", "count"), [(0, "oval", 1), (1, "long flag", 0), (8, "two circles", 2)]
)
def test_a_neat_hand_closes_the_loops_that_a_shape_has_and_no_others(
    digit: int, name: str, count: int
) -> None:
    assert loops(pen.render(pen.draw_strokes(digit, np.random.default_rng(2), name, NEAT), 60, 4)) == count


def test_an_unknown_shape_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(KeyError, match="long flag"):
        pen.draw_strokes(1, np.random.default_rng(0), "gothic")


def test_a_misspelt_limit_in_a_table_of_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match="loosness"):
        family("1 line: 0 0, 0 100 | loosness 0.5", thickest=0.2)


@pytest.mark.parametrize("digit", range(10))
def test_the_same_seed_draws_the_same_ink_and_another_seed_another(digit: int) -> None:
    first, again, other = (pen.draw_digit(digit, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("draw", [marks.draw_non_digit, marks.draw_fragment, marks.draw_several])
def test_what_is_no_single_digit_is_tight_ink_and_determined_by_its_seed(draw: pen.Drawer) -> None:
    first, again = ([draw(rng) for _ in range(40)] for rng in (np.random.default_rng(3) for _ in range(2)))
    for one, other in zip(first, again, strict=True):
        assert_is_tight_ink(one)
        assert np.array_equal(one, other)


def test_every_mark_that_is_no_digit_can_be_drawn() -> None:
    for mark in MARKS:
        drawing = pen.draw_shape(mark, NEAT, np.random.default_rng(0))
        assert drawing.digit is None
        assert_is_tight_ink(pen.render(drawing, 30, 2))


def test_random_digits_of_all_sizes_are_tight_ink() -> None:
    rng = np.random.default_rng(7)
    for i in range(300):
        assert_is_tight_ink(pen.draw_digit(i % 10, rng))
    for height_px in (12.0, 600.0):
        for digit in range(10):
            ink = pen.draw_digit(digit, rng, height_px)
            assert_is_tight_ink(ink)
            assert ink.shape[0] - 2 * MARGIN_PX == pytest.approx(height_px, rel=0.15, abs=5)


@pytest.mark.parametrize(("height_px", "pen_px"), [(12, 1), (20, 1), (40, 8), (150, 30)])
def test_every_pen_leaves_tight_ink_at_every_size(height_px: float, pen_px: float) -> None:
    rng = np.random.default_rng(4)
    for ink_pen in EVERY_PEN:
        drawing = pen.draw_strokes(2, rng, style=NEAT)
        assert_is_tight_ink(pen.render(drawing, height_px, pen_px, ink_pen, rng))


def test_a_pen_of_one_pixel_stays_visible_at_every_height() -> None:
    rng = np.random.default_rng(8)
    for height_px in (12, 30, 80, 300, 600):
        ink = pen.render(pen.draw_strokes(3, rng, style=NEAT), height_px, 1.0)
        rows = ink.max(axis=1)[MARGIN_PX + 1 : -MARGIN_PX - 1]  # all of a 3, which has no gap, but its tips
        assert float(rows.min()) > 0.4


def test_hard_edges_are_ink_or_paper_and_smooth_ones_are_grey_between() -> None:
    drawing = pen.draw_strokes(8, np.random.default_rng(9), style=NEAT)
    hard, smooth = (pen.render(drawing, 40, 4, Pen(edge=edge)) for edge in (Edge.HARD, Edge.SMOOTH))
    assert set(np.unique(hard).tolist()) == {0.0, 1.0}
    assert np.any((smooth > 0.1) & (smooth < 0.9))


def test_a_thicker_pen_leaves_more_ink_on_the_same_height() -> None:
    drawing = pen.draw_strokes(5, np.random.default_rng(10), "one stroke", NEAT)
    thin, thick = (pen.render(drawing, 100, pen_px) for pen_px in (3, 15))
    assert thick.sum() > 3 * thin.sum()
    assert thick.shape[0] == pytest.approx(thin.shape[0], abs=3)


def test_a_hollow_pen_leaves_the_outline_alone() -> None:
    drawing = pen.draw_strokes(1, np.random.default_rng(11), "long flag", NEAT)
    full, hollow = (pen.render(drawing, 100, 16, Pen(hollow=hollow)) for hollow in (False, True))
    assert loops(full) == 0
    assert loops(hollow) == 1


def test_a_rough_pen_without_chance_is_refused() -> None:
    with pytest.raises(ValueError, match="rng"):
        pen.render(pen.draw_strokes(1, np.random.default_rng(0)), 40, 4, Pen(rough=0.5))


def rise_deg(line: npt.NDArray[np.float64]) -> float:
    """How steeply a stroke rises, left to right, from its start to its corner."""
    across = line[-1] - line[0]
    off = (line - line[0]) @ np.array([-across[1], across[0]])
    corner = line[int(np.argmax(np.abs(off)))]
    return float(np.degrees(np.arctan2(line[0, 1] - corner[1], corner[0] - line[0, 0])))


def test_the_flag_of_a_one_rises_more_than_the_bar_of_a_seven_by_any_hand() -> None:
    rng = np.random.default_rng(12)
    flags, bars = (
        [rise_deg(pen.draw_strokes(digit, rng, name).strokes[0]) for _ in range(300)]
        for digit, name in ((1, "long flag"), (7, "plain"))
    )
    # Not one in a hundred of either comes near the other.
    assert np.quantile(bars, 0.99) < 20
    assert np.quantile(flags, 0.01) > 23


def test_a_scan_holds_each_digit_apart_on_its_paper() -> None:
    page = pen.draw_scan([4, 0, 7], np.random.default_rng(13), paper=230, ink=20, noise=0.0, style=NEAT)
    assert page.dtype == np.uint8
    assert (int(page.max()), int(page.min())) == (230, 20)
    inked = (page < 200).any(axis=0).astype(int)
    assert np.count_nonzero(np.diff(inked) == 1) == 3
    border = np.concatenate([page[0], page[-1], page[:, 0], page[:, -1]])
    assert np.all(border == 230)


def test_a_scan_may_be_light_on_dark_ruled_and_noisy() -> None:
    page = pen.draw_scan(8, np.random.default_rng(14), paper=30, ink=240, ruled=True, noise=4.0)
    assert float(np.median(page)) == pytest.approx(30, abs=4)
    assert int(page.max()) > 200
    assert np.any(page.mean(axis=1) > 60)  # a ruled line

from __future__ import annotations

import ast
import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from benchmarks import (
    bad_input,
    beside,
    characters,
    circled,
    cropped,
    dates,
    fields,
    forms,
    ink,
    labelled,
    measuring_sets,
    nothing,
    pages,
    paper,
    pieces,
    rows,
    strings,
    struck,
    surroundings,
    uneven,
)

BENCHMARKS = Path(measuring_sets.__file__).parent
ROUNDS = 40


def draw_tile(digit: int, lean_px: int) -> npt.NDArray[np.uint8]:
    """A stand-in for a test digit: its number in a font, 20 px high in 28, leaning."""
    tile = np.zeros((28, 28), np.uint8)
    cv2.putText(tile, str(digit), (6, 23), cv2.FONT_HERSHEY_SIMPLEX, 0.85, 255, 2, cv2.LINE_AA)
    matrix = np.array([[1, -lean_px / 20, lean_px / 2], [0, 1, 0]], np.float32)
    return np.asarray(cv2.warpAffine(tile, matrix, (28, 28)), np.uint8)


@pytest.fixture(scope="module")
def digits() -> ink.TestDigits:
    tiles = [draw_tile(digit, lean) for lean in range(-2, 3) for digit in range(10)]
    return ink.TestDigits(np.stack(tiles), np.tile(np.arange(10), 5))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, digits: ink.TestDigits) -> Path:
    path = tmp_path_factory.mktemp("data") / "mnist.npz"
    np.savez(path, x_test=digits.pixels, y_test=digits.labels)  # no training part: none may be needed
    return path


@pytest.fixture(scope="module")
def alphabets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "characters.npz"
    names = [
        "Korean/character01",
        "Korean/character21",
        "Latin/character11",
        "Latin/character15",
        "Greek/character01",
    ]
    images = np.full((len(names), 105, 105), 255, np.uint8)
    images[:, 30:70, 50:54] = 0
    np.savez(path, images=images, alphabet=np.array(names))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_same_seed_gives_same_bytes_and_another_seed_others(
    tmp_path: Path, data: Path, alphabets: Path
) -> None:
    for folder, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        arguments = ["--data", str(data), "--characters", str(alphabets), "--output", str(tmp_path / folder)]
        assert measuring_sets.main([*arguments, "--seed", seed, "--count", "4"]) == 0
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert contents(tmp_path / "a") != contents(tmp_path / "c")


def test_every_picture_is_labelled_and_every_label_has_its_picture(
    tmp_path: Path, data: Path, alphabets: Path
) -> None:
    assert (
        measuring_sets.main(
            ["--data", str(data), "--characters", str(alphabets), "--output", str(tmp_path), "--count", "9"]
        )
        == 0
    )
    folders = sorted(folder.name for folder in tmp_path.iterdir())
    assert folders == [
        "bad-input", "beside", "boxes", "characters", "characters-without-look-alikes", "circled", "cropped", "dates",
        "fields", "forms", "labelled", "nothing-to-read", "pages-medium", "pages-mild", "pages-severe", "pieces",
        "rows", "slips", "strings", "strings-overlapping-deeply", "struck", "surroundings", "uneven",
    ]  # fmt: skip
    for folder in folders:
        with (tmp_path / folder / "labels.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert rows
        assert all(row["label"] and row["style"] for row in rows)
        assert {row["file"] for row in rows} == {
            image.name for image in (tmp_path / folder / "images").iterdir()
        }
        for row in rows:
            picture = tmp_path / folder / "images" / row["file"]
            assert cv2.imread(str(picture)) is not None
            assert picture.read_bytes().startswith(b"\x89PNG" if picture.suffix == ".png" else b"\xff\xd8")


def test_folder_that_holds_a_set_is_refused(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "strings").mkdir()
    assert measuring_sets.main(["--data", str(data), "--output", str(tmp_path), "--count", "1"]) == 2
    assert "strings" in capsys.readouterr().err
    assert not (tmp_path / "pages-mild").exists()


def test_data_without_a_test_part_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "train.npz", x_train=np.zeros((1, 28, 28), np.uint8))
    with pytest.raises(ink.DataError, match=r"train\.npz"):
        ink.load_test_digits(tmp_path / "train.npz")


def test_levels_show_the_same_digits(digits: ink.TestDigits) -> None:
    sets = {each.name: each for each in measuring_sets.plan_sets(digits, None, 7, 20)}
    labels = [[picture.label for picture in sets[f"pages-{level}"].pictures(7)] for level in pages.LEVELS]
    assert labels[0] == labels[1] == labels[2]
    assert len(set(labels[0])) > 5


def test_fewer_pictures_are_the_first_ones_of_more(digits: ink.TestDigits) -> None:
    few, many = (measuring_sets.plan_sets(digits, None, 7, most)[0] for most in (2, 5))
    first = list(many.pictures(7))[:2]
    assert [p.image.tobytes() for p in few.pictures(7)] == [p.image.tobytes() for p in first]


@pytest.mark.parametrize("level", ["mild", "medium", "severe"])
def test_pages_and_digits_have_the_sizes_of_the_table(digits: ink.TestDigits, level: str) -> None:
    least = pages.LEVELS[level].height_px[0]
    assert (least, pages.LEVELS[level].height_px[1]) == (60 if level == "severe" else 30, 160)
    for i in range(ROUNDS):
        picture = pages.draw_page(digits, i, level, i, np.random.default_rng(i))
        assert min(picture.image.shape[:2]) >= 120
        assert max(picture.image.shape[:2]) <= 500


def test_main_damage_of_a_severe_picture_has_the_stated_strength() -> None:
    for seed in range(ROUNDS * 4):
        main = pages.DAMAGES[seed % 4]
        conditions, second = pages.draw_conditions("severe", main, 100, np.random.default_rng(seed))
        assert second in pages.DAMAGES
        assert second != main
        if main == "contrast":
            assert 0.1 <= conditions.contrast <= 0.15
        elif main == "noise":
            assert conditions.noise_sigma >= 12
            assert conditions.jpeg_quality is None
        elif main == "gradient":
            assert conditions.gradient >= 0.4
            assert not conditions.is_inverted
        else:
            assert conditions.rules is not None
            assert conditions.rules.strength >= 0.6
            assert conditions.rules.spacing_px <= 50


def test_a_fifth_of_each_level_is_inverted() -> None:
    for level, mains in (("mild", [""]), ("medium", [""]), ("severe", list(pages.DAMAGES))):
        inverted = [
            pages.draw_conditions(level, mains[i % len(mains)], 80, np.random.default_rng(i))[0].is_inverted
            for i in range(1600)
        ]
        assert 0.16 < np.mean(inverted) < 0.24


def test_picture_shows_the_contrast_and_the_noise_it_states() -> None:
    coverage = np.zeros((200, 200), np.float32)
    coverage[:, 100:] = 1
    for seed in range(ROUNDS):
        conditions, _ = pages.draw_conditions("severe", "contrast", 100, np.random.default_rng(seed))
        plain = paper.Conditions(
            conditions.paper, conditions.contrast, 2.0, 0.5, is_inverted=conditions.is_inverted
        )
        image = paper.develop(coverage, plain, np.random.default_rng(seed)).astype(float)
        difference = image[:, 110:].mean() - image[:, :90].mean()
        assert abs(difference) == pytest.approx(255 * conditions.contrast, abs=1.5)
        assert (difference > 0) == conditions.is_inverted


def test_noise_in_the_picture_has_the_stated_sigma() -> None:
    image = paper.develop(
        np.zeros((200, 200), np.float32), paper.Conditions(128, 0.5, 14.0, 0.8), np.random.default_rng(1)
    )
    assert image.std() == pytest.approx(14, rel=0.03)


def test_gradient_takes_the_stated_share_of_the_light() -> None:
    conditions = paper.Conditions(200, 0.5, 0.0, 0.0, gradient=0.45, gradient_degrees=30)
    image = paper.develop(np.zeros((150, 220), np.float32), conditions, np.random.default_rng(1))
    assert image.min() / image.max() == pytest.approx(0.55, abs=0.01)


def test_ruled_lines_go_through_the_digit(digits: ink.TestDigits) -> None:
    for seed in range(ROUNDS):
        rng = np.random.default_rng(seed)
        digit = ink.enlarge(ink.cut_out(digits.pixels[seed]), 80)
        conditions, _ = pages.draw_conditions("severe", "rules", digit.shape[0], rng)
        page, _ = paper.lay_out(digit, rng, 120, 500)
        assert conditions.rules is not None
        lines = paper.draw_rules(page.shape, conditions.rules)
        assert ((lines > 0.9) & (page > 0.5)).any()


def test_ink_lies_whole_on_its_page(digits: ink.TestDigits) -> None:
    for seed in range(ROUNDS):
        digit = ink.turn(ink.enlarge(ink.cut_out(digits.pixels[seed]), 160), seed - 20)
        page, (x, y) = paper.lay_out(digit, np.random.default_rng(seed), 120, 500)
        assert page.sum() == pytest.approx(digit.sum(), rel=1e-5)
        assert min(x, y, page.shape[1] - x - digit.shape[1], page.shape[0] - y - digit.shape[0]) >= 8


@pytest.mark.parametrize("height_px", [30, 77, 160])
def test_enlarged_ink_is_as_high_as_asked_and_within_range(digits: ink.TestDigits, height_px: int) -> None:
    for tile in digits.pixels[:10]:
        large = ink.enlarge(ink.cut_out(tile), height_px, gain=1.6)
        assert large.dtype == np.float32
        assert abs(large.shape[0] - height_px) <= height_px * 0.06 + 1
        assert 0 <= large.min() <= large.max() <= 1


def test_scribbles_cross_themselves_too_often_for_a_digit() -> None:
    for seed in range(ROUNDS):
        tangle = nothing.draw_tangle(np.random.default_rng(seed))
        assert nothing.count_crossings(tangle[::2]) >= nothing.FEWEST_CROSSINGS


def test_crossings_are_counted_once_each() -> None:
    bow_tie = np.array([[0, 0], [2, 2], [2, 0], [0, 2.5]])
    assert nothing.count_crossings(bow_tie) == 1
    assert nothing.count_crossings(np.array([[0, 0], [1, 0], [2, 0.5], [3, 3.0]])) == 0


@pytest.mark.parametrize("style", nothing.STYLES)
def test_pages_without_writing_are_labelled_none(style: str) -> None:
    picture = nothing.draw_nothing(style, np.random.default_rng(3))
    assert (picture.label, picture.style) == ("none", style)
    assert min(picture.image.shape[:2]) >= 120
    assert max(picture.image.shape[:2]) <= 500


def test_only_scribbles_and_rules_are_as_dark_as_ink() -> None:
    for style in ("blank", "stained", "smudged", "folded"):
        for seed in range(10):
            image = nothing.draw_nothing(style, np.random.default_rng(seed)).image
            assert np.median(image) - np.percentile(image, 0.1) < 140


def test_no_half_is_of_a_one_nor_a_half_that_is_a_digit() -> None:
    kept = {(digit, side) for digit, side, _ in pieces.HALVES}
    readable = {
        (8, "top"),
        (8, "bottom"),
        (6, "bottom"),
        (9, "top"),
        (9, "bottom"),
        (7, "top"),
        (7, "bottom"),
    }
    assert not kept & readable
    assert all(digit != 1 for digit, _ in kept)


def test_closed_bowls_and_slim_halves_look_whole() -> None:
    arc = np.zeros((10, 12), np.float32)
    arc[:2], arc[:, :2], arc[:, -2:] = 1, 1, 1
    bowl = arc.copy()
    bowl[-2:] = 1
    assert not pieces.looks_whole(arc, "top")
    assert pieces.looks_whole(bowl, "top")
    assert pieces.looks_whole(arc[:, :8], "top")
    assert not pieces.looks_whole(arc[:, :8], "left")


def test_halves_that_are_drawn_are_pieces(digits: ink.TestDigits) -> None:
    for kind in pieces.HALVES[:5]:  # the others need hands more varied than a font's
        picture = pieces.draw_half(digits, kind, np.random.default_rng(5))
        assert (picture.label, picture.style) == ("half", f"half-{kind[1]}")
        assert picture.notes["of"] == str(kind[0])


def test_digits_that_give_no_piece_are_an_error_and_no_endless_search(digits: ink.TestDigits) -> None:
    with pytest.raises(ink.DataError, match="left half of a 9"):
        pieces.draw_half(digits, (9, "left", 0.1), np.random.default_rng(5))
    with pytest.raises(ink.DataError, match="bottom half of a 8"):
        pieces.draw_half(digits, (8, "bottom", 1.0), np.random.default_rng(5))


def test_half_is_half_of_the_box() -> None:
    whole = np.ones((11, 8), np.float32)
    sizes = {side: pieces.cut_half(whole, side).shape for side in ("top", "bottom", "left", "right")}
    assert sizes == {"top": (6, 8), "bottom": (6, 8), "left": (11, 4), "right": (11, 4)}


def test_two_in_one_is_one_mark_or_nearly(digits: ink.TestDigits) -> None:
    met = 0
    for seed in range(ROUNDS):
        rng = np.random.default_rng(seed)
        joined = pieces.join_two([digits.pixels[i] for i in rng.choice(50, 2)], rng)
        if joined is None:
            continue
        met += 1
        mark, manner = joined
        if manner != "near":
            assert pieces.hangs_together(mark)
        # A gap that counts as nearly none is gone when the ink spreads by two pixels.
        closed = cv2.dilate((mark >= ink.WRITTEN).astype(np.uint8), np.ones((5, 5), np.uint8))
        assert cv2.connectedComponents(closed)[0] == 2
    assert met > ROUNDS / 2


def test_two_in_one_never_pairs_what_looks_like_one(digits: ink.TestDigits) -> None:
    for seed in range(ROUNDS):
        picture = pieces.draw_two(digits, np.random.default_rng(seed))
        assert picture.label == "two"
        assert (int(picture.notes["of"][0]), int(picture.notes["of"][1])) not in pieces.AMBIGUOUS_PAIRS


def test_gap_is_where_two_shapes_are_nearest() -> None:
    left, right = np.zeros((20, 10), np.float32), np.zeros((20, 10), np.float32)
    left[:, 0] = 1
    left[10, :7] = 1  # three empty columns to the right of it
    right[:, 9] = 1
    right[11, 4:] = 1  # four to the left
    assert ink.gap_px(left, right) == 7
    assert ink.gap_px(left, np.zeros((20, 10), np.float32)) == 1000


@pytest.mark.parametrize("style", strings.STYLES)
def test_strings_are_labelled_with_their_digits(digits: ink.TestDigits, style: str) -> None:
    for seed in range(10):
        picture = strings.draw_string(digits, style, np.random.default_rng(seed))
        assert picture.label.isdigit()
        assert 2 <= len(picture.label) <= 8
        assert picture.style == style


def test_deep_overlaps_make_numbers_narrower(digits: ink.TestDigits) -> None:
    """The same digits, once touching and once overlapping: ink that goes on for a fifth of the height."""
    left, right = (ink.as_high_as([ink.enlarge(ink.cut_out(digits.pixels[i]), 60)], [0])[0] for i in (8, 3))
    left, right = ink.as_high_as([left, right], [0, 0])
    rng = np.random.default_rng(3)
    meet_px = strings._distance_px(left, right, "touching", 60, rng)
    deep_px = [meet_px - strings._distance_px(left, right, strings.DEEP, 60, rng) for _ in range(ROUNDS)]
    assert 3 <= min(deep_px) < max(deep_px) <= 12


@pytest.mark.parametrize("style", forms.STYLES)
def test_a_form_holds_its_numbers_within_the_page(digits: ink.TestDigits, style: str) -> None:
    for seed in range(4):
        picture = forms.draw_form(digits, style, np.random.default_rng(seed))
        numbers = picture.label.split("/")
        assert len(numbers) == int(picture.notes["rows"])
        assert all(part.isdigit() for number in numbers for part in number.split(" "))
        assert len(numbers) == 1 if style == "frame" else len(numbers) >= 3
        grey = picture.image if picture.image.ndim == 2 else picture.image.min(axis=2)
        border = np.concatenate(
            [grey[:12].ravel(), grey[-12:].ravel(), grey[:, :12].ravel(), grey[:, -12:].ravel()]
        )
        assert border.min() > 0.6 * np.median(border)  # nothing is written there, and no line reaches it


def _drawn_twice_alike(
    draw: Callable[[ink.TestDigits, str, np.random.Generator], paper.Picture],
    digits: ink.TestDigits,
    style: str,
    seed: int,
) -> paper.Picture:
    picture, again = (draw(digits, style, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(picture.image, again.image)
    return picture


@pytest.mark.parametrize("style", fields.STYLES)
def test_a_number_in_fields_has_a_digit_in_each(digits: ink.TestDigits, style: str) -> None:
    for seed in range(6):
        picture = _drawn_twice_alike(fields.draw_fields, digits, style, seed)
        assert picture.label.isdigit()
        assert len(picture.label) == 1 if style == "cell" else 3 <= len(picture.label) <= 8
        assert abs(float(picture.notes["skew"])) <= fields.MOST_SKEW_DEGREES


@pytest.mark.parametrize("style", fields.BOX_STYLES)
def test_a_number_in_boxes_has_two_to_eight_digits(digits: ink.TestDigits, style: str) -> None:
    for seed in range(6):
        picture = _drawn_twice_alike(fields.draw_boxes, digits, style, seed)
        assert picture.label.isdigit()
        assert 2 <= len(picture.label) <= 8
        assert picture.style == style


@pytest.mark.parametrize("style", dates.STYLES)
def test_a_date_has_three_parts(digits: ink.TestDigits, style: str) -> None:
    for seed in range(6):
        picture = _drawn_twice_alike(dates.draw_date, digits, style, seed)
        parts = picture.label.split(" ")
        assert sorted(map(len, parts)) in ([1, 1, 4], [1, 2, 4], [2, 2, 4])
        assert picture.style == style


@pytest.mark.parametrize(
    ("style", "counts"), [("ring", {1}), ("touching", {1}), ("number", {2, 3}), ("answer", {4, 5, 6})]
)
def test_a_circled_number_has_its_digits(digits: ink.TestDigits, style: str, counts: set[int]) -> None:
    for seed in range(6):
        picture = _drawn_twice_alike(circled.draw_circled, digits, style, seed)
        assert picture.label.isdigit()
        assert len(picture.label) in counts
        assert picture.style == style


@pytest.mark.parametrize("style", beside.STYLES)
def test_what_lies_beside_digits_has_no_label(digits: ink.TestDigits, style: str) -> None:
    for seed in range(6):
        picture = _drawn_twice_alike(beside.draw_beside, digits, style, seed)
        assert picture.label.isdigit()
        assert 1 <= len(picture.label) <= 6
        assert picture.style == style


@pytest.mark.parametrize("style", struck.STYLES)
def test_what_is_struck_out_has_no_label(digits: ink.TestDigits, style: str) -> None:
    for seed in range(6):
        picture = _drawn_twice_alike(struck.draw_struck, digits, style, seed)
        assert (picture.label, picture.style) == ("none", style)


@pytest.mark.parametrize(
    ("style", "counts"),
    [
        ("pen", {2, 3, 4}),
        ("apart", {2}),
        ("rows", {4, 5, 6}),
        ("small", {2}),
        ("stamp", {2, 3, 4}),
        ("punched", {1}),
    ],
)
def test_an_uneven_number_has_all_of_its_digits(digits: ink.TestDigits, style: str, counts: set[int]) -> None:
    for seed in range(6):
        picture = _drawn_twice_alike(uneven.draw_uneven, digits, style, seed)
        assert len(picture.label.replace("/", "")) in counts
        assert picture.label.count("/") == (style == "rows")
        assert picture.style == style


@pytest.mark.parametrize("style", labelled.STYLES)
def test_print_stands_beside_its_number(digits: ink.TestDigits, style: str) -> None:
    for seed in range(6):
        picture = _drawn_twice_alike(labelled.draw_labelled, digits, style, seed)
        rows = picture.label.split("/")
        assert len(rows) == (2 if style in ("two", "numbered", "small") else 1)
        assert all(row.isdigit() and len(row) <= 6 for row in rows)
        assert (len(picture.label) == 1) is (style == "single")
        assert picture.style == style


def test_no_print_runs_off_its_page(digits: ink.TestDigits) -> None:
    for seed in range(40):
        for style in labelled.STYLES:
            page, _ = labelled.laid_out(digits, style, 60, np.random.default_rng(seed))
            assert not page[:, -2:].any(), (style, seed)
            assert page.any()


@pytest.mark.parametrize("style", cropped.STYLES)
def test_lines_run_along_the_border_of_a_cut(digits: ink.TestDigits, style: str) -> None:
    for seed in range(20):
        picture = _drawn_twice_alike(cropped.draw_cropped, digits, style, seed)
        assert picture.style == style
        assert picture.label.isdigit()
        assert len(picture.label) <= 6
        page, _ = cropped.laid_out(digits, style, 60, np.random.default_rng(seed))
        if style == "rim":
            assert not page[[0, -1]].any()
            assert not page[:, [0, -1]].any()
            page = ink.trim(page)
        sides = tuple(bool(side.all()) for side in (page[0], page[-1], page[:, 0], page[:, -1]))
        assert sides == {"open": (False,) * 4, "between": (True, True, False, False)}.get(style, (True,) * 4)


@pytest.mark.parametrize("style", surroundings.SLIP_STYLES)
def test_a_slip_has_a_number_on_light_paper(digits: ink.TestDigits, style: str) -> None:
    for seed in range(6):
        picture = _drawn_twice_alike(surroundings.draw_slip, digits, style, seed)
        assert picture.label.isdigit()
        assert 1 <= len(picture.label) <= 5
        grey = picture.image if picture.image.ndim == 2 else picture.image.min(axis=2)
        assert float(np.median(grey[0])) + 60 < float(np.percentile(grey, 95))


@pytest.mark.parametrize("style", surroundings.STYLES)
def test_what_surrounds_a_digit_leaves_its_ink_in_the_picture(digits: ink.TestDigits, style: str) -> None:
    for seed in range(6):
        picture = _drawn_twice_alike(surroundings.draw_surrounded, digits, style, seed)
        assert picture.label in set("0123456789")
        grey = picture.image if picture.image.ndim == 2 else picture.image.min(axis=2)
        assert min(grey.shape) >= 100
        inner = grey[grey.shape[0] // 8 : -grey.shape[0] // 8, grey.shape[1] // 8 : -grey.shape[1] // 8]
        assert float(inner.max()) - float(inner.min()) > 60


@pytest.mark.parametrize("pen", rows.PENS)
def test_a_page_of_rows_has_ten_numbers_and_room_for_them(digits: ink.TestDigits, pen: str) -> None:
    for seed in range(4):
        picture = rows.draw_rows(digits, pen, np.random.default_rng(seed))
        numbers = picture.label.split("/")
        assert len(numbers) == 10
        assert all(number.isdigit() and 2 <= len(number) <= 6 for number in numbers)
        assert abs(float(picture.notes["skew"])) <= rows.MOST_SKEW_DEGREES
        assert max(picture.image.shape[:2]) <= 2000


def test_rows_lie_below_each_other_and_keep_their_ink_on_the_page(digits: ink.TestDigits) -> None:
    for seed in range(6):
        page, _ = rows.write_page(digits, "pen", np.random.default_rng(seed))
        filled = (page >= ink.WRITTEN).any(axis=1)
        assert np.count_nonzero(np.diff(filled.astype(int)) == 1) == 10
        turned = rows.skew(page, 5.0)
        assert turned.sum() == pytest.approx(page.sum(), rel=0.01)


def test_the_pen_draws_each_digit_as_one_of_its_own_shapes() -> None:
    for digit in range(10):
        drawn = rows.draw_digit(digit, 60, np.random.default_rng(digit))
        assert abs(drawn.shape[0] - 60) <= 12
        assert (drawn >= ink.WRITTEN).any()


@pytest.mark.parametrize("style", bad_input.STYLES)
def test_bad_input_holds_nothing_to_read(style: str) -> None:
    picture = bad_input.draw_bad_input(style, np.random.default_rng(1))
    assert (picture.label, picture.style) == ("none", style)
    assert 1200 <= max(picture.image.shape[:2]) <= 1700
    assert picture.image.std() > 2


def test_a_page_of_specks_has_thousands_of_marks() -> None:
    picture = bad_input.draw_bad_input("specks", np.random.default_rng(1))
    grey = picture.image if picture.image.ndim == 2 else picture.image.mean(axis=2)
    count, _ = cv2.connectedComponents((grey < grey.max() - 60).astype(np.uint8))
    assert count > 2000


def test_held_out_alphabets_are_those_of_seed_seven() -> None:
    five = ["Balinese", "Early_Aramaic", "Greek", "Korean", "Latin"]
    drawn = np.random.default_rng(7).choice(five, 2, replace=False)
    assert sorted(characters.HELD_OUT) == sorted(drawn)


def test_characters_are_of_the_held_out_alphabets_alone(alphabets: Path, digits: ink.TestDigits) -> None:
    held_out = characters.load_characters(alphabets)
    sets = {each.name: each for each in measuring_sets.plan_sets(digits, held_out, 7)}
    names = sorted(picture.notes["character"] for picture in sets["characters"].pictures(7))
    assert names == ["Korean/character01", "Korean/character21", "Latin/character11", "Latin/character15"]
    plain = sorted(p.notes["character"] for p in sets["characters-without-look-alikes"].pictures(7))
    assert plain == ["Korean/character01", "Latin/character11"]


def test_missing_alphabet_is_named(alphabets: Path) -> None:
    with pytest.raises(ink.DataError, match="Balinese"):
        characters.load_characters(alphabets, ("Balinese", "Latin"))


def test_every_look_alike_has_its_reason() -> None:
    lines = characters.LOOK_ALIKES.read_text(encoding="utf-8").splitlines()
    named = [line for line in lines if line.strip() and not line.startswith("#")]
    look_alikes = characters.load_look_alikes()
    assert len(look_alikes) == len(named)
    assert all(len(reason) > 2 for reason in look_alikes.values())


def test_measuring_sets_share_no_code_with_the_worker() -> None:
    for source in BENCHMARKS.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not any(alias.name.startswith("worker") for alias in node.names), source
            elif isinstance(node, ast.ImportFrom):
                assert not (node.module or "").startswith("worker"), source

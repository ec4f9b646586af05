"""Labelled sets on disk: what each kind holds, how it is read, and what is said where it is broken.

The model is a stand-in that needs no TensorFlow: upright strokes are ones, anything else is a zero.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from worker.errors import UsageError
from worker.reading import Reader, ReadingSettings
from worker.recognition.decision import OTHER, Thresholds
from worker.training.evaluation import figures_of, measure
from worker.training.specimens import Bench, TruthKind, open_set
from worker.vision.decoding import Limits
from worker.vision.normalization import NormalizerSettings

LIMITS = Limits(max_file_bytes=1_000_000, max_pixels=1_000_000)
Grey = npt.NDArray[np.uint8]


class _Upright:
    """Logits for 1 where the ink is narrow, for 0 where it is not."""

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits = np.zeros((len(tiles), 10), np.float32)
        widths = (tiles.max(axis=1) > 0.3).sum(axis=1)
        logits[np.arange(len(tiles)), np.where(widths < 10, 1, 0)] = 20
        return logits


@pytest.fixture
def bench() -> Iterator[Bench]:
    thresholds, normalizer = Thresholds(accept=0.9, digit=0.5), NormalizerSettings()
    settings = ReadingSettings(LIMITS, normalizer, 1.0, thresholds, "none", 400)
    reader = Reader("", _Upright(), settings, threads=1)
    yield Bench(reader, _Upright(), 1.0, thresholds, normalizer, LIMITS)
    reader.close()


def _page(*signs: str, side_px: int = 80) -> Grey:
    """Signs beside each other on white paper: `1` a stroke, `0` a ring."""
    page = np.full((side_px, side_px * max(len(signs), 1)), 255, np.uint8)
    for place, sign in enumerate(signs):
        x = side_px * place + side_px // 2
        if sign == "1":
            cv2.line(page, (x, 15), (x, side_px - 15), (20,), 6)
        else:
            cv2.ellipse(page, (x, side_px // 2), (20, 26), 0, 0, 360, (20,), 6)
    return page


def _save(path: Path, page: Grey) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(".png", page)[1].tobytes())


def test_a_table_names_pictures_beside_it_or_in_images(tmp_path: Path, bench: Bench) -> None:
    _save(tmp_path / "a.png", _page("1"))
    _save(tmp_path / "images" / "b.png", _page("0"))
    _save(tmp_path / "images" / "c.png", _page("0", "1"))
    _save(tmp_path / "images" / "blank.png", _page())
    (tmp_path / "images" / "cut.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    rows = ("a.png,1,pen", "b.png,1,pen", "c.png,multi:01,pencil", "blank.png,0,pencil", "cut.png,1,pencil")
    (tmp_path / "labels.csv").write_text("\ufefffile,label,style\n" + "\n".join(rows) + "\n", "utf-8")
    specimens = open_set(tmp_path, None, LIMITS)
    measured = measure(specimens, bench, io.StringIO())
    assert [each.answer.text for each in measured] == ["1", "0", "0 1", "", ""]
    figures = figures_of(measured)
    assert figures["digits"]["right"]["count"] == 1
    assert figures["digits"]["right"]["of"] == 4
    assert figures["digits"]["reasons"] == {"no_ink": 1, "truncated": 1}
    assert figures["digits"]["columns"]["style"]["pen"]["right"]["of"] == 2
    assert figures["several"]["n"] == 1
    assert len(specimens.view(bench, 2).tiles) == 2
    assert specimens.view(bench, 4).page is None  # what cannot be decoded has nothing to show


def test_folders_are_labels(tmp_path: Path, bench: Bench) -> None:
    _save(tmp_path / "1" / "x.png", _page("1"))
    _save(tmp_path / "0" / "deep" / "y.png", _page("0"))
    _save(tmp_path / "scribble" / "z.png", _page("0"))
    (tmp_path / "1" / "notes.txt").write_text("no picture")
    measured = measure(open_set(tmp_path, None, LIMITS), bench, io.StringIO())
    assert [(each.specimen.name, each.specimen.truth.label) for each in measured] == [
        ("0/deep/y.png", "0"),
        ("1/x.png", "1"),
        ("scribble/z.png", "scribble"),
    ]
    figures = figures_of(measured)
    assert figures["digits"]["right"]["count"] == 2
    assert figures["outliers"]["read"]["count"] == 1


def test_boxes_give_single_digits_of_a_longer_picture(tmp_path: Path, bench: Bench) -> None:
    _save(tmp_path / "images" / "n.png", _page("1", "0", "1"))
    boxes = [[1, 30, 5, 20, 70], [0, 90, 5, 60, 70], [0, 190, 5, 20, 70]]  # the last label is wrong
    labels = [{"file": "n.png", "text": "101", "boxes": boxes}]
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    specimens = open_set(tmp_path, None, LIMITS)
    assert specimens.way == "boxes"
    measured = measure(specimens, bench, io.StringIO())
    assert [each.guess for each in measured] == [1, 0, 1]
    assert [each.is_right for each in measured] == [True, True, False]
    whole = open_set(tmp_path, "pages", LIMITS)
    assert [each.truth.kind for each in whole.specimens] == [TruthKind.SEVERAL]


def test_tiles_go_straight_to_the_classifier_or_through_the_vision_wing(tmp_path: Path, bench: Bench) -> None:
    tiles = np.zeros((2, 28, 28), np.uint8)
    tiles[0, 4:24, 13:15] = 255
    cv2.ellipse(tiles[1], (14, 14), (7, 9), 0, 0, 360, (255,), 2)
    path = tmp_path / "digits.npz"
    np.savez(path, x_test=tiles, y_test=np.array([1, 0], np.uint8))
    for way, expected in ((None, "tiles"), ("tiles", "tiles"), ("pages", "pages")):
        specimens = open_set(path, way, LIMITS)
        assert specimens.way == expected
        measured = measure(specimens, bench, io.StringIO())
        assert [each.is_right for each in measured] == [True, True]


class _Unsure:
    """Takes every tile for a 1, and one time in five for no digit."""

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits = np.full((len(tiles), 13), -20.0, np.float32)
        logits[:, [1, OTHER]] = np.log([0.8, 0.2])
        return logits


class _Listens:
    """A transcriber that counts the strips it is shown, and hears a 1 in each."""

    def __init__(self) -> None:
        self.strips = 0

    def frames(self, strips: Sequence[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float64]]:
        self.strips += len(strips)
        rows = np.full((12, 11), -6.0)
        rows[:, 10], rows[5:7, 1], rows[5:7, 10] = -0.1, -0.1, -6.0
        return [rows] * len(strips)


def test_tiles_are_read_by_both_networks_as_lone_signs_are(tmp_path: Path, bench: Bench) -> None:
    tiles = np.zeros((1, 28, 28), np.uint8)
    tiles[0, 4:24, 13:15] = 255
    path = tmp_path / "digits.npz"
    np.savez(path, x_test=tiles, y_test=np.array([1], np.uint8))
    listens = _Listens()
    both = replace(bench, classifier=_Unsure(), transcriber=listens)
    (each,) = measure(open_set(path, None, LIMITS), both, io.StringIO())
    assert (each.guess, listens.strips) == (1, 1)


def test_characters_are_outliers_by_alphabet(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "characters.npz"
    pages = np.stack([_page("1"), _page("0")])
    np.savez(path, images=pages, alphabet=np.array(["Greek/a", "Latin/o"]))
    outliers = figures_of(measure(open_set(path, None, LIMITS), bench, io.StringIO()))["outliers"]
    assert outliers["read"]["count"] == 2
    assert set(outliers["groups"]) == {"Greek", "Latin"}


def _write(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("labels.csv", "file,label\ngone.png,4\n", "gone.png"),
        ("labels.csv", "name,digit\na.png,4\n", "columns file and label"),
        ("labels.csv", "file,label\na.png\n", "row 2"),
        ("labels.csv", "", "columns file and label"),
        ("labels.json", '[{"file": "gone.png", "text": "1", "boxes": []}]', "gone.png"),
        ("labels.json", '{"file": 1}', "no list of"),
        ("labels.json", "[", "no list of"),
        ("README.txt", "nothing here", "has no labels"),
    ],
)
def test_a_broken_set_says_what_is_wrong(tmp_path: Path, name: str, content: str, told: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=told):
        open_set(tmp_path, None, LIMITS)


def test_a_box_outside_its_picture_is_named(tmp_path: Path, bench: Bench) -> None:
    _save(tmp_path / "n.png", _page("1"))
    _write(tmp_path / "labels.json", '[{"file": "n.png", "text": "1", "boxes": [[1, 500, 5, 9, 9]]}]')
    with pytest.raises(UsageError, match=r"n\.png: a box"):
        measure(open_set(tmp_path, None, LIMITS), bench, io.StringIO())


@pytest.mark.parametrize("way", ["boxes", "tiles"])
def test_files_have_no_other_way_than_as_pages(tmp_path: Path, way: str) -> None:
    _save(tmp_path / "1" / "x.png", _page("1"))
    with pytest.raises(UsageError, match="through pages"):
        open_set(tmp_path, way, LIMITS)


def test_what_is_no_set_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no"):
        open_set(tmp_path / "nowhere", None, LIMITS)
    broken = tmp_path / "broken.npz"
    broken.write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(UsageError, match=r"no labelled \.npz"):
        open_set(broken, None, LIMITS)
    np.savez(broken, x=np.zeros((2, 5, 5), np.float32), y=np.array([1, 2]))
    with pytest.raises(UsageError, match="uint8"):
        open_set(broken, None, LIMITS)

"""The straight line from arrivals to outcomes, with a classifier that needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import os
import threading
from collections.abc import Iterator
from concurrent.futures import Future, wait
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from worker.errors import WorldError
from worker.expectation import parse_expectations
from worker.intake.arrivals import Arrival, Kind
from worker.outcome import Outcome, Status
from worker.reading import PART, NotYet, Reader, ReadingSettings
from worker.reasons import ReasonCode
from worker.recognition.decision import Thresholds
from worker.vision.decoding import Limits
from worker.vision.normalization import NormalizerSettings
from worker.vision.page import Page
from worker.vision.sheet import Sheet, sheet_of


class AlwaysThree:
    """Reads every tile as a three, and remembers how many tiles it was asked for at once."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self.calls.append(len(tiles))
        logits = np.zeros((len(tiles), 10), np.float32)
        logits[:, 3] = 20
        return logits


CLASSIFIER = AlwaysThree()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    settings = ReadingSettings(
        limits=Limits(max_file_bytes=200_000, max_pixels=1_000_000),
        normalizer=NormalizerSettings(),
        temperature=1.0,
        thresholds=Thresholds(accept=0.9, digit=0.5),
        annotate="review",
        annotated_max_side_px=1000,
    )
    reader = Reader(str(tmp_path), CLASSIFIER, settings, threads=2)
    yield reader
    reader.close()


def _page(marks: int = 1) -> bytes:
    page = np.full((80, 40 + 60 * marks), 255, np.uint8)
    for index in range(marks):
        cv2.ellipse(page, (50 + 60 * index, 40), (14, 25), 0, 0, 360, 0, 4)
    return cv2.imencode(".png", page)[1].tobytes()


def _arrive(folder: Path, name: str, data: bytes, *, is_final: bool = False) -> Arrival:
    (folder / name).write_bytes(data)
    return _seen(folder, name, is_final=is_final)


def _seen(folder: Path, name: str, kind: Kind = Kind.FILE, *, is_final: bool = False) -> Arrival:
    status = os.lstat(folder / name)
    return Arrival(
        name,
        kind,
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        1.0,
        is_final,
    )


def _outcome(reader: Reader, arrival: Arrival) -> Outcome:
    (answer,) = reader.read([arrival])
    assert isinstance(answer, Outcome)
    return answer


def test_a_batch_is_answered_in_its_order_and_recognised_in_one_call(reader: Reader, tmp_path: Path) -> None:
    CLASSIFIER.calls.clear()
    arrivals = [
        _arrive(tmp_path, "one.png", _page()),
        _arrive(tmp_path, "text.png", b"no picture"),
        _arrive(tmp_path, "two.png", _page(2)),
        _arrive(tmp_path, "blank.png", cv2.imencode(".png", np.full((50, 50), 255, np.uint8))[1].tobytes()),
    ]
    answers = reader.read(arrivals)
    assert [answer.arrival.name for answer in answers] == ["one.png", "text.png", "two.png", "blank.png"]
    assert CLASSIFIER.calls == [3]
    outcomes = [answer for answer in answers if isinstance(answer, Outcome)]
    assert [outcome.text for outcome in outcomes] == ["3", None, "33", ""]
    assert [outcome.reason and outcome.reason.code for outcome in outcomes] == [
        None, ReasonCode.UNSUPPORTED_FORMAT, None, ReasonCode.NO_INK,
    ]  # fmt: skip


def test_a_large_batch_is_answered_in_its_order_part_by_part(reader: Reader, tmp_path: Path) -> None:
    CLASSIFIER.calls.clear()
    arrivals = [_arrive(tmp_path, f"{index}.png", _page()) for index in range(2 * PART + 1)]
    arrivals[PART] = _arrive(tmp_path, "text.png", b"no picture")
    answers = reader.read(arrivals)
    assert [answer.arrival for answer in answers] == arrivals
    assert [isinstance(answer, Outcome) and answer.text for answer in answers] == [
        "3" if arrival.name != "text.png" else None for arrival in arrivals
    ]
    assert CLASSIFIER.calls == [PART, PART - 1, 1]


def test_a_bad_spot_of_the_disk_under_the_last_part_leaves_the_others_their_answers(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrivals = [_arrive(tmp_path, f"{index}.png", _page()) for index in range(PART + 2)]
    count = iter(range(len(arrivals)))
    read = os.read

    def broken_at_the_end(descriptor: int, size: int) -> bytes:
        if next(count) >= PART:
            raise OSError(5, "Input/output error")
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", broken_at_the_end)
    answers = reader.read(arrivals)
    assert [isinstance(answer, Outcome) for answer in answers] == [True] * PART + [False] * 2
    assert answers[-2:] == [NotYet(arrival, "disk_error") for arrival in arrivals[-2:]]


def test_a_part_that_fails_leaves_nothing_running(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrivals = [_arrive(tmp_path, f"{index}.png", _page()) for index in range(3 * PART)]
    running: list[int] = []
    read = os.read

    def broken_from_the_second_part(descriptor: int, count: int) -> bytes:
        running.append(descriptor)
        if len(running) > PART:
            raise OSError(12, "Cannot allocate memory")
        return read(descriptor, count)

    may_answer, is_over = threading.Event(), threading.Event()

    def answers_when_waited_for(tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        may_answer.wait(10)
        is_over.set()
        return np.zeros((len(tiles), 10), np.float32)

    def waited_for(futures: list[Future[object]]) -> None:
        may_answer.set()
        wait(futures)

    monkeypatch.setattr(os, "read", broken_from_the_second_part)
    monkeypatch.setattr(CLASSIFIER, "logits", answers_when_waited_for)
    monkeypatch.setattr("worker.reading.wait_for", waited_for)
    with pytest.raises(WorldError):
        reader.read(arrivals)
    assert is_over.is_set()


@pytest.mark.parametrize(("side_px", "is_spread"), [(40, False), (300, True)])
def test_small_pictures_are_read_by_one_thread_and_large_ones_by_several(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side_px: int, is_spread: bool
) -> None:
    rng = np.random.default_rng(1)
    page = rng.integers(200, 255, (side_px, side_px), np.uint8)
    for index in range(20):
        (tmp_path / f"{index}.png").write_bytes(cv2.imencode(".png", page)[1].tobytes())
    seen: set[int] = set()

    def see(page: Page, normalizer: NormalizerSettings) -> Sheet:
        seen.add(threading.get_ident())
        return sheet_of(page, normalizer)

    monkeypatch.setattr("worker.reading.sheet_of", see)
    reader.read([_seen(tmp_path, f"{index}.png") for index in range(20)])
    assert (threading.get_ident() not in seen) == is_spread


def test_what_is_struck_out_goes_to_review(reader: Reader, tmp_path: Path) -> None:
    page = cv2.imdecode(np.frombuffer(_page(3), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert page is not None
    plain = _outcome(reader, _arrive(tmp_path, "plain.png", cv2.imencode(".png", page)[1].tobytes()))
    assert (plain.status, plain.text) == (Status.READ, "333")
    cv2.line(page, (24, 42), (196, 38), 0, 3)
    struck = _outcome(reader, _arrive(tmp_path, "struck.png", cv2.imencode(".png", page)[1].tobytes()))
    assert (struck.status, struck.text) == (Status.REVIEW, "???")


def test_what_is_struck_out_leaves_a_trace_even_where_no_digit_is_seen_in_it(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = np.full((80, 300), 255, np.uint8)
    for x in (50, 110, 170):
        cv2.ellipse(page, (x, 40), (14, 25), 0, 0, 360, 0, -1)
    cv2.ellipse(page, (250, 40), (14, 25), 0, 0, 360, 0, 4)
    cv2.line(page, (24, 42), (196, 38), 0, 3)

    def sees_no_digit_in_what_is_full(tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        logits = np.zeros((len(tiles), 13), np.float32)
        is_full = tiles[:, 12:16, 12:16].max(axis=(1, 2)) > 0.2
        logits[is_full, 10], logits[~is_full, 3] = 20, 20
        return logits

    monkeypatch.setattr(CLASSIFIER, "logits", sees_no_digit_in_what_is_full)
    outcome = _outcome(reader, _arrive(tmp_path, "both.png", cv2.imencode(".png", page)[1].tobytes()))
    assert (outcome.status, outcome.text) == (Status.REVIEW, "?3")


def test_what_was_not_expected_goes_to_review(reader: Reader, tmp_path: Path) -> None:
    rules = parse_expectations({".": {"digits": 1}, "pairs/": {"digits": 2}})
    settings = dataclasses.replace(reader._settings, expected=rules.of)
    expecting = Reader(str(tmp_path), CLASSIFIER, settings, threads=1)
    (tmp_path / "pairs").mkdir()
    fitting = _outcome(expecting, _arrive(tmp_path, "a.png", _page()))
    other = _outcome(expecting, _arrive(tmp_path, "pairs/a.png", _page()))
    expecting.close()
    assert (fitting.status, fitting.reason) == (Status.READ, None)
    assert other.status is Status.REVIEW
    assert other.reason is not None
    assert other.reason.code is ReasonCode.UNEXPECTED_FORMAT
    assert other.text == "3"


def test_pictures_are_drawn_only_where_they_are_asked_for(reader: Reader, tmp_path: Path) -> None:
    assert _outcome(reader, _arrive(tmp_path, "read.png", _page())).picture is None
    picture = _outcome(reader, _arrive(tmp_path, "review.png", _page(0))).picture
    assert picture is not None
    assert cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR) is not None


@pytest.mark.parametrize(
    ("data", "code"), [(b"", ReasonCode.EMPTY_FILE), (_page()[:-15], ReasonCode.TRUNCATED)]
)
def test_an_unfinished_file_fails_only_when_it_is_final(
    reader: Reader, tmp_path: Path, data: bytes, code: ReasonCode
) -> None:
    (answer,) = reader.read([_arrive(tmp_path, "a.png", data)])
    assert answer == NotYet(answer.arrival, "unfinished")
    failed = _outcome(reader, _arrive(tmp_path, "a.png", data, is_final=True))
    assert failed.status is Status.FAILED
    assert failed.reason is not None
    assert failed.reason.code is code
    assert failed.width == (None if code is ReasonCode.EMPTY_FILE else 100)


def test_a_file_that_changed_vanished_or_became_a_link_is_no_error(reader: Reader, tmp_path: Path) -> None:
    changed = _arrive(tmp_path, "changed.png", _page())
    (tmp_path / "changed.png").write_bytes(_page(2))
    gone = _arrive(tmp_path, "gone.png", _page())
    (tmp_path / "gone.png").unlink()
    replaced = _arrive(tmp_path, "replaced.png", _page())
    (tmp_path / "replaced.png").unlink()
    (tmp_path / "replaced.png").symlink_to("changed.png")
    answers = reader.read([changed, gone, replaced])
    assert [answer.why for answer in answers if isinstance(answer, NotYet)] == [
        "changed",
        "vanished",
        "changed",
    ]


def test_what_is_no_file_is_never_opened(reader: Reader, tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to("/nonexistent")
    os.mkfifo(tmp_path / "fifo.png")
    for name, kind in (("link.png", Kind.LINK), ("fifo.png", Kind.FIFO)):
        outcome = _outcome(reader, _seen(tmp_path, name, kind))
        assert outcome.reason is not None
        assert outcome.reason.code is ReasonCode.NOT_A_FILE
        assert outcome.sha256 is None


def test_too_many_bytes_are_refused_unread(reader: Reader, tmp_path: Path) -> None:
    outcome = _outcome(reader, _arrive(tmp_path, "large.png", _page() + bytes(300_000)))
    assert outcome.reason is not None
    assert outcome.reason.code is ReasonCode.TOO_MANY_BYTES
    assert outcome.sha256 is None
    assert outcome.size_bytes is not None
    assert outcome.size_bytes > 300_000


def test_a_fault_of_the_world_is_never_blamed_on_a_picture(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrival = _arrive(tmp_path, "a.png", _page())

    def broken_disk(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "read", broken_disk)
    second = dataclasses.replace(arrival, name="a.png")
    with pytest.raises(WorldError):
        reader.read([arrival, second])
    (alone,) = reader.read([arrival])
    assert alone == NotYet(arrival, "disk_error")


def test_a_file_that_may_not_be_read_fails_by_itself(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrival = _arrive(tmp_path, "secret.png", _page())

    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    outcome = _outcome(reader, arrival)
    assert outcome.reason is not None
    assert outcome.reason.code is ReasonCode.NOT_READABLE
    assert outcome.size_bytes == arrival.size_bytes


def test_a_surprise_in_a_library_fails_one_picture_and_no_other(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import worker.reading

    arrivals = [_arrive(tmp_path, "one.png", _page()), _arrive(tmp_path, "two.png", _page(2))]

    def surprised(page: Page, normalizer: NormalizerSettings) -> Sheet:
        if page.width > 120:
            raise cv2.error("assertion failed")
        return sheet_of(page, normalizer)

    monkeypatch.setattr(worker.reading, "sheet_of", surprised)
    first, second = reader.read(arrivals)
    assert isinstance(first, Outcome)
    assert isinstance(second, Outcome)
    assert (first.status, second.status) == (Status.READ, Status.FAILED)


def test_a_picture_that_cannot_be_drawn_is_answered_all_the_same(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import worker.reading

    def broken(*_: object, **__: object) -> None:
        raise cv2.error("assertion failed")

    monkeypatch.setattr(worker.reading, "annotated_file", broken)
    outcome = _outcome(reader, _arrive(tmp_path, "blank.png", _page(0)))
    assert outcome.status is Status.REVIEW
    assert outcome.picture is None


def test_a_large_page_is_kept_small_and_its_box_is_in_its_own_pixels(reader: Reader, tmp_path: Path) -> None:
    page = np.full((900, 1100), 255, np.uint8)
    cv2.ellipse(page, (550, 450), (140, 250), 0, 0, 360, 0, 40)
    reader._settings = dataclasses.replace(reader._settings, annotate="all", annotated_max_side_px=200)
    outcome = _outcome(reader, _arrive(tmp_path, "large.png", cv2.imencode(".png", page)[1].tobytes()))
    assert (outcome.width, outcome.height) == (1100, 900)
    box = outcome.digits[0].box
    assert abs(box.x - 390) <= 4
    assert abs(box.width - 320) <= 8
    assert outcome.picture is not None
    picture = cv2.imdecode(np.frombuffer(outcome.picture.data, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert max(picture.shape) < 500

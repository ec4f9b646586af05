"""The straight line: from arrivals to outcomes. What is wrong with one picture becomes its outcome."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from worker.errors import WorldError
from worker.expectation import Expectation
from worker.intake.arrivals import Arrival, Kind
from worker.logs import get_log
from worker.outcome import AnnotatedPicture, Outcome, Status
from worker.reasons import BadPictureError, Reason, ReasonCode, UnfinishedError
from worker.recognition.decision import Reading, Thresholds, Verdict
from worker.recognition.fitting import held_against
from worker.recognition.knowledge import Knowledge, TileClassifier
from worker.recognition.opinions import UNFITTED, Weights
from worker.recognition.recognizer import recognize
from worker.recognition.transcriber import LineTranscriber
from worker.vision.annotation import Label, annotated_file
from worker.vision.decoding import Limits, decode, inspect, refuse_too_many_bytes
from worker.vision.ink import shrink
from worker.vision.normalization import NormalizerSettings
from worker.vision.page import Box, Page
from worker.vision.sheet import Sheet, sheet_of

AnnotateMode = Literal["all", "review", "none"]
A = TypeVar("A")
B = TypeVar("B")
# What is smaller is work for one thread: OpenCV lets go of the interpreter in every call, and two threads that pass
# it to and fro after microseconds are half as fast as one alone (tiles; scans gain by two, but not their drawing).
SMALL_FILE_BYTES = 4096
SMALL_PAGE_PX = 160_000
PART = 64  # files that are recognised together: as many tiles as the largest chunk of the classifier
_STEP_TILES = 2048  # tiles that are recognised between two steps; some hundred milliseconds
_CHUNK = 8  # files a thread takes at once: tiles are so quick that handing them out one by one shows


@dataclass(frozen=True, slots=True)
class ReadingSettings:
    """How pictures are read: what the model's card and the configuration say together."""

    limits: Limits
    normalizer: NormalizerSettings
    temperature: float
    thresholds: Thresholds
    annotate: AnnotateMode
    annotated_max_side_px: int
    crosses_mounts: bool = False  # then what has no content to keep is removed, and the record says so
    weights: Weights = UNFITTED  # whose word counts where two networks read a line
    expected: Callable[[str], Expectation | None] = lambda _: None  # what a picture of this name shall say

    @property
    def knowledge(self) -> Knowledge:
        """What recognition needs of it."""
        return Knowledge(self.normalizer, self.temperature, self.thresholds, self.weights)


@dataclass(frozen=True, slots=True)
class NotYet:
    """An arrival without an answer.

    It is still being written, changed under our eyes, gone, on a bad disk, or suspected of having ended the
    process that read it before.
    """

    arrival: Arrival
    why: Literal["unfinished", "changed", "vanished", "disk_error", "suspect"]


@dataclass(frozen=True, slots=True)
class _Seen:
    """A picture, decoded and cut, before it is recognised.

    `page` is only as large as drawing needs it: one pixel of it is `step` of the picture's own.
    """

    arrival: Arrival
    sha256: str
    size_bytes: int
    is_jpeg: bool
    width: int
    height: int
    page: Page
    step: int
    sheet: Sheet


Answer = Outcome | NotYet


class _StepByStep:
    """A classifier that is asked part by part, a step each: a tile's logits do not depend on the others."""

    def __init__(self, classifier: TileClassifier, on_step: Callable[[], None]) -> None:
        self._classifier = classifier
        self._on_step = on_step

    def logits(self, tiles: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The logits of `tiles`."""
        parts = []
        for start in range(0, max(1, len(tiles)), _STEP_TILES):
            self._on_step()
            parts.append(self._classifier.logits(tiles[start : start + _STEP_TILES]))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


class Reader:
    """Reads batches of arrivals below `root`; for use by one thread, with `threads` of its own.

    Reading never raises for what is wrong with a picture. It raises WorldError where the world is at
    fault; then no arrival of the batch has been answered. `on_step` is called, on any of the threads,
    before each picture and each part of the work: who waits can tell a long batch from a hung one.
    """

    def __init__(
        self,
        root: str,
        classifier: TileClassifier,
        settings: ReadingSettings,
        threads: int,
        on_step: Callable[[], None] = lambda: None,
        transcriber: LineTranscriber | None = None,
    ) -> None:
        self._root = root
        self._on_step = on_step
        self.classifier = classifier
        self.transcriber = transcriber
        self._steps = _StepByStep(classifier, on_step)
        self._settings = settings
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="reader")
        self._recognition = ThreadPoolExecutor(1, thread_name_prefix="recognition")

    @property
    def settings(self) -> ReadingSettings:
        """How it reads."""
        return self._settings

    def close(self) -> None:
        """Let the threads go."""
        self._recognition.shutdown()
        self._pool.shutdown()

    def read(self, arrivals: Sequence[Arrival]) -> list[Answer]:
        """One answer for each of `arrivals`, in their order."""
        return of_a_well_disk(list(chain.from_iterable(self.in_parts(arrivals))))

    def in_parts(self, arrivals: Sequence[Arrival]) -> Iterator[list[Answer]]:
        """The answers part by part, each as soon as it is there; whoever takes them looks at the disk himself.

        See `of_a_well_disk`.
        """
        parts = [arrivals[start : start + PART] for start in range(0, len(arrivals), PART)]
        if len(parts) == 1:
            seen = self._seen(parts[0])
            yield self._answered(seen, self._recognized(seen))
            return
        # The networks work on one part while the next is decoded and cut, and the one before is drawn.
        waiting: deque[tuple[list[_Seen | Answer], Future[list[Verdict]]]] = deque()
        try:
            for part in parts:
                seen = self._seen(part)
                waiting.append((seen, self._recognition.submit(copy_context().run, self._recognized, seen)))
                if len(waiting) > 1:
                    earlier, verdicts = waiting.popleft()
                    yield self._answered(earlier, verdicts.result())
            while waiting:
                seen, verdicts = waiting.popleft()
                yield self._answered(seen, verdicts.result())
        finally:
            wait_for([verdicts for _, verdicts in waiting])

    def _seen(self, arrivals: Sequence[Arrival]) -> list[_Seen | Answer]:
        """The pictures of a part."""
        size_bytes = sum(arrival.size_bytes for arrival in arrivals) / max(1, len(arrivals))
        see_all = self._spread if size_bytes >= SMALL_FILE_BYTES else self._one_by_one
        return see_all(self._see_safely, arrivals)

    def _recognized(self, seen: Sequence[_Seen | Answer]) -> list[Verdict]:
        """The verdicts on those of a part that could be decoded."""
        found = [one for one in seen if isinstance(one, _Seen)]
        return recognize(
            [one.sheet for one in found],
            self._steps,
            self._settings.knowledge,
            self._one_by_one,
            [self._settings.expected(one.arrival.name) for one in found],
            self.transcriber,
        )

    def _answered(self, seen: Sequence[_Seen | Answer], verdicts: Sequence[Verdict]) -> list[Answer]:
        """The answers of a part, drawn where that is asked for."""
        own = iter(verdicts)
        pairs = [(one, next(own)) if isinstance(one, _Seen) else one for one in seen]
        pages = [one.page for one in seen if isinstance(one, _Seen)]
        drawn_px = sum(page.width * page.height for page in pages) / max(1, len(pages))
        answer_all = self._spread if drawn_px >= SMALL_PAGE_PX else self._one_by_one
        return answer_all(self._answer_safely, pairs)

    def _one_by_one(self, work: Callable[[A], B], items: Sequence[A]) -> list[B]:
        results = []
        for item in items:
            self._on_step()
            results.append(work(item))
        return results

    def _spread(self, work: Callable[[A], B], items: Sequence[A]) -> list[B]:
        if len(items) <= 2:
            return self._one_by_one(work, items)
        chunks = [items[i : i + _CHUNK] for i in range(0, len(items), _CHUNK)]
        # Each chunk takes along what is bound to the log lines of this batch.
        contexts = [copy_context() for _ in chunks]
        done = self._pool.map(
            lambda context, chunk: context.run(self._one_by_one, work, chunk), contexts, chunks
        )
        return list(chain.from_iterable(done))

    def _see_safely(self, arrival: Arrival) -> _Seen | Answer:
        """`_see`, whatever a picture brings about in a library: one picture must not end the worker."""
        try:
            return self._see(arrival)
        except (WorldError, MemoryError) as error:
            raise _as_world_error(error) from error
        except Exception:
            get_log().exception("picture_surprised", name=ascii(arrival.name))
            return _failed(arrival, Reason.of(ReasonCode.UNDECODABLE), size_bytes=arrival.size_bytes)

    def _answer_safely(self, item: tuple[_Seen, Verdict] | Answer) -> Answer:
        """`_answer`, without a picture where drawing it fails: the reading is what counts."""
        try:
            return self._answer(item, with_picture=True)
        except MemoryError as error:
            raise _as_world_error(error) from error
        except Exception:
            name = item[0].arrival.name if isinstance(item, tuple) else item.arrival.name
            get_log().exception("drawing_failed", name=ascii(name))
            return self._answer(item, with_picture=False)

    def _see(self, arrival: Arrival) -> _Seen | Answer:
        """The picture of one arrival, decoded and cut into tiles, or why there is none."""
        if arrival.kind is not Kind.FILE:
            return _failed(arrival, Reason.of(ReasonCode.NOT_A_FILE, self._what_it_is(arrival.kind)))
        try:
            data = _load(os.path.join(self._root, arrival.name), arrival, self._settings.limits)
        except BadPictureError as error:
            return _failed(arrival, error.reason, size_bytes=arrival.size_bytes)
        if isinstance(data, NotYet):
            return data
        digest = hashlib.sha256(data).hexdigest()
        try:
            page = decode(data, self._settings.limits)
        except UnfinishedError as error:
            if not arrival.is_final:
                return NotYet(arrival, "unfinished")
            return _failed(arrival, Reason.of(error.code), digest, len(data), _size_px(data))
        except BadPictureError as error:
            return _failed(arrival, error.reason, digest, len(data), _size_px(data))
        sheet = sheet_of(page, self._settings.normalizer)
        # A batch of large pages is kept at the size at which they are drawn, or memory would be the limit.
        step = max(1, max(page.width, page.height) // (2 * self._settings.annotated_max_side_px))
        is_jpeg = data[:2] == b"\xff\xd8"
        kept = Page(shrink(page.grey, step))
        return _Seen(arrival, digest, len(data), is_jpeg, page.width, page.height, kept, step, sheet)

    def _what_it_is(self, kind: Kind) -> str:
        if self._settings.crosses_mounts and kind is not Kind.LINK:
            return f"{_KIND_WORDS[kind]}; it has no content to keep and was removed."
        return f"{_KIND_WORDS[kind]}."

    def _answer(self, item: tuple[_Seen, Verdict] | Answer, *, with_picture: bool) -> Answer:
        """The outcome of one recognised picture, drawn where it is asked for."""
        if not isinstance(item, tuple):
            return item
        seen, verdict = item
        verdict = held_against(verdict, self._settings.expected(seen.arrival.name))
        mode = self._settings.annotate
        picture = None
        if with_picture and (mode == "all" or (mode == "review" and not verdict.is_read)):
            picture = _draw(seen, verdict, self._settings.annotated_max_side_px)
        return Outcome(
            arrival=seen.arrival,
            status=Status.READ if verdict.is_read else Status.REVIEW,
            text=verdict.text,
            confidence=verdict.confidence,
            digits=verdict.digits,
            reason=verdict.reason,
            sha256=seen.sha256,
            size_bytes=seen.size_bytes,
            width=seen.width,
            height=seen.height,
            picture=picture,
            finished_at=datetime.now(UTC),
        )


def of_a_well_disk(answers: list[Answer]) -> list[Answer]:
    """The answers of a whole batch; WorldError where no file of it could be read: that is no single bad spot."""
    if len(answers) > 1 and all(isinstance(each, NotYet) and each.why == "disk_error" for each in answers):
        raise WorldError("reading the inbox", OSError(errno.EIO, "no file of a whole batch can be read"))
    return answers


_KIND_WORDS = {
    Kind.LINK: "It is a symbolic link",
    Kind.FIFO: "It is a FIFO",
    Kind.SOCKET: "It is a socket",
    Kind.DEVICE: "It is a device",
}

# What one file can be blamed for. Everything else that opening or reading raises is the world's fault.
_GONE = {errno.ENOENT, errno.ENOTDIR}
_NOT_OURS = {errno.EACCES, errno.EPERM}
_NO_LONGER_A_FILE = {errno.ELOOP, errno.ENXIO, errno.EISDIR}


def _load(path: str, arrival: Arrival, limits: Limits) -> bytes | NotYet:
    """The content of the very version that `arrival` names, at most one byte more than the limit."""
    try:
        # Neither follow a link that took the file's place, nor wait for the writer of a FIFO.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _GONE:
            return NotYet(arrival, "vanished")
        if error.errno in _NOT_OURS:
            raise BadPictureError(ReasonCode.NOT_READABLE) from None
        if error.errno in _NO_LONGER_A_FILE:
            return NotYet(arrival, "changed")
        return _disk_error(arrival, error)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or not _is_same(status, arrival):
            return NotYet(arrival, "changed")
        refuse_too_many_bytes(status.st_size, limits)
        data = _read_all(descriptor, status.st_size)
        if not _is_same(os.fstat(descriptor), arrival):
            return NotYet(arrival, "changed")
    except OSError as error:
        return _disk_error(arrival, error)
    finally:
        os.close(descriptor)
    return data


# Errors of a file system's spot, not of all of it: the files beside may well be readable.
_SPOTS = {errno.EIO, errno.EUCLEAN, errno.EBADMSG, errno.ESTALE, errno.ETIMEDOUT}


def _disk_error(arrival: Arrival, error: OSError) -> NotYet:
    """The file waits where its own spot of the disk is bad; anything else is a fault of the world."""
    if error.errno not in _SPOTS:
        raise WorldError(f"reading {arrival.name!a}", error) from error
    get_log().warning("picture_unreadable_yet", name=ascii(arrival.name), why=error.strerror)
    return NotYet(arrival, "disk_error")


def _as_world_error(error: BaseException) -> WorldError:
    if isinstance(error, WorldError):
        return error
    return WorldError("reading pictures", OSError(errno.ENOMEM, "out of memory"))


def _read_all(descriptor: int, size_bytes: int) -> bytes:
    parts = []
    while part := os.read(descriptor, max(size_bytes, 1)):
        parts.append(part)
        size_bytes -= len(part)
        if size_bytes <= 0:
            break
    return b"".join(parts)


def _is_same(status: os.stat_result, arrival: Arrival) -> bool:
    """Whether this is still the version that was found. A new link to it changes only the ctime."""
    return (
        status.st_ino == arrival.inode
        and status.st_size == arrival.size_bytes
        and status.st_mtime_ns == arrival.mtime_ns
    )


def _size_px(data: bytes) -> tuple[int, int] | None:
    """The dimensions that the header of an unreadable picture still tells."""
    try:
        header = inspect(data)
    except (BadPictureError, UnfinishedError):
        return None
    return header.width, header.height


def _failed(
    arrival: Arrival,
    reason: Reason,
    sha256: str | None = None,
    size_bytes: int | None = None,
    size_px: tuple[int, int] | None = None,
) -> Outcome:
    width, height = size_px or (None, None)
    return Outcome(
        arrival=arrival,
        status=Status.FAILED,
        text=None,
        confidence=None,
        digits=(),
        reason=reason,
        sha256=sha256,
        size_bytes=size_bytes,
        width=width,
        height=height,
        picture=None,
        finished_at=datetime.now(UTC),
    )


def crashed(root: str, arrival: Arrival, limits: Limits, detail: str) -> Answer:
    """The answer to a picture that ends whoever reads it; `detail` is a sentence. Its bytes are only hashed."""
    reason = Reason.of(ReasonCode.CRASHED_READER, detail)
    try:
        data = _load(os.path.join(root, arrival.name), arrival, limits)
    except BadPictureError:  # no longer to be read; the trial's finding is the better reason
        return _failed(arrival, reason, size_bytes=arrival.size_bytes)
    except WorldError:
        return NotYet(arrival, "disk_error")
    if isinstance(data, NotYet):
        return data
    return _failed(arrival, reason, hashlib.sha256(data).hexdigest(), len(data), _size_px(data))


_CAPTIONS: dict[ReasonCode, str] = {
    ReasonCode.NO_INK: "review: no writing found",
    ReasonCode.SEVERAL_DIGITS: "review: several digits",
    ReasonCode.NOT_A_DIGIT: "review: not a digit",
    ReasonCode.LOW_CONFIDENCE: "review: not certain",
    ReasonCode.UNEXPECTED_FORMAT: "review: not what was expected",
}


def _draw(seen: _Seen, verdict: Verdict, max_side_px: int) -> AnnotatedPicture:
    labels = [
        Label(_reduced(reading.box, seen.step), _label(reading), is_accepted=reading.accepted)
        for reading in verdict.digits
    ]
    caption = (
        _CAPTIONS[verdict.reason.code] if verdict.reason else f"read: {verdict.text}".replace("\n", " / ")
    )
    data, ending = annotated_file(
        seen.page,
        labels,
        caption,
        verdict.is_read,
        page_was_jpeg=seen.is_jpeg,
        max_side_px=max_side_px,
    )
    return AnnotatedPicture(data, ending)


def _reduced(box: Box, step: int) -> Box:
    return Box(box.x // step, box.y // step, max(1, box.width // step), max(1, box.height // step))


def _label(reading: Reading) -> str:
    """The digit and how sure it is; never rounded up to certainty."""
    percent = min(reading.confidence * 100, 99.9)
    return f"{reading.digit} {percent:.1f} %"

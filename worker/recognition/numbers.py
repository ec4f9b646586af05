"""Lines of marks read as numbers: which marks are in doubt, and the best reading of what they may be.

Recognition decides where one digit ends and the next begins: the classifier knows halves and doubles, so
the reading under which every candidate is a whole single digit wins. Pure, given the probabilities.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from worker.recognition.decision import DIGITS, FRAGMENT, OTHER, SEVERAL, Sign
from worker.recognition.frames import BLANK, Frames, ctc_log_likelihoods, evidence, peaks
from worker.recognition.hypotheses import Hypothesis, ranked
from worker.recognition.lattice import NEVER, Edge, Path, best_paths, posteriors
from worker.recognition.opinions import UNFITTED, Weights
from worker.vision.candidates import Candidate, Ladder, are_close
from worker.vision.layout import usual_height
from worker.vision.page import Box

Floats = npt.NDArray[np.float64]

SURE = 0.9  # a mark that is this surely one digit is neither cut nor joined
MAYBE_SEVERAL = 0.03
MAYBE_PART = 0.1
OF_SEVERAL = 0.75  # digits that run into each other go up and down: one is so much lower than all
# Of the line's height: below the first a sign is hardly a digit, from the second it may be.
LOW = (0.34, 0.56)
# Log-probabilities that a digit comes cut, and in two marks.
CUT_COST, CROSSED_COST, JOIN_COST = 0.5, 1.5, 0.7
WIDEST, TOO_WIDE_COST = 1.2, 6.0  # widths in heights: hardly a digit is wider, lying noughts apart
SCRAP_COST = 3.0  # for a part of a mark left out, however small: ink that touches a digit is mostly digit
LEFT_OUT_COST = 3.0  # for a whole sign of full height left out of a line
NEVER_SURER = 1e-4  # where two opinions meet, neither counts as more certain than that
SAME_PLACE = 0.5  # of the joint width of two candidates: what shares so much is one place
READINGS = 8  # kept of a line, the best first


@dataclass(frozen=True, slots=True)
class Doubt:
    """Places of a line: marks to be tried in parts, and marks to be tried together with the next."""

    to_cut: tuple[int, ...]
    to_join: tuple[int, ...]

    def __bool__(self) -> bool:
        return bool(self.to_cut or self.to_join)


def find_doubt(boxes: Sequence[Box], probabilities: Floats) -> Doubt:
    """Which marks of a line (their `boxes`, and `probabilities` of shape (n, labels)) need a second look."""
    if len(boxes) == 0 or probabilities.shape[1] <= SEVERAL:
        return Doubt((), ())
    best = probabilities[:, :DIGITS].max(axis=1)
    height = line_height(boxes, probabilities)
    doubtful = [
        bool(
            best[i] < SURE
            and boxes[i].height >= LOW[0] * height
            and _may_be_ink(probabilities[i], boxes[i], height)
        )
        for i in range(len(boxes))
    ]
    to_cut = tuple(
        i
        for i, box in enumerate(boxes)
        if (doubtful[i] or probabilities[i, SEVERAL] > MAYBE_SEVERAL) and box.width > 0.35 * box.height
    )
    to_join = tuple(
        i
        for i in range(len(boxes) - 1)
        if (
            _is_part(probabilities[i], boxes[i], height)
            or _is_part(probabilities[i + 1], boxes[i + 1], height)
        )
        and are_close(boxes[i], boxes[i + 1], height)
    )
    return Doubt(to_cut, to_join)


def doubt_of(doubt: Doubt, boxes: Sequence[Box], frames: Frames) -> tuple[Doubt, dict[int, list[float]]]:
    """What is to be tried besides, since the transcriber sees several digits in a mark, or one in two.

    Also, for marks with several, the columns of the page midway between them.
    """
    seen = peaks(frames)
    within = [[peak.x for peak in seen if box.x <= peak.x < box.right] for box in boxes]
    hints = {
        i: [(x + after) / 2 for x, after in itertools.pairwise(own)]
        for i, own in enumerate(within)
        if len(own) > 1
    }
    height = frames.band.height * frames.step
    one_in_two = [
        i
        for i in range(len(boxes) - 1)
        if len(within[i]) + len(within[i + 1]) <= 1 and are_close(boxes[i], boxes[i + 1], height)
    ]
    to_cut = tuple(sorted({*doubt.to_cut, *hints}))
    to_join = tuple(sorted({*doubt.to_join, *one_in_two}))
    return Doubt(to_cut, to_join), hints


def everything(boxes: Sequence[Box], probabilities: Floats) -> Doubt:
    """All that could be tried with a line whose best reading is known not to fit."""
    if len(boxes) == 0 or probabilities.shape[1] <= SEVERAL:
        return Doubt((), ())
    height = line_height(boxes, probabilities)
    to_cut = tuple(i for i, box in enumerate(boxes) if box.width > 0.35 * box.height)
    to_join = tuple(i for i in range(len(boxes) - 1) if are_close(boxes[i], boxes[i + 1], height))
    return Doubt(to_cut, to_join)


def _may_be_ink(row: Floats, box: Box, height: float) -> bool:
    return float(row[OTHER]) < 0.995 or box.width > 1.2 * height


def _is_part(row: Floats, box: Box, height: float) -> bool:
    return bool(row[:DIGITS].max() < SURE or row[FRAGMENT] > MAYBE_PART or box.height < LOW[1] * height)


def line_height(boxes: Sequence[Box], probabilities: Floats) -> float:
    """How high the digits of a line are, in pixels, by the marks that look like digits."""
    single, several = probabilities[:, :DIGITS].max(axis=1) > 0.5, probabilities[:, SEVERAL] > 0.5
    heights = [
        (1.0 if is_single else OF_SEVERAL) * box.height
        for box, is_single, is_any in zip(boxes, single, single | several, strict=True)
        if is_any
    ]
    return usual_height(heights or [box.height for box in boxes])


def search(
    boxes: Sequence[Box],
    probabilities: Floats,
    ladder: Ladder,
    of_candidates: Floats,
    frames: Frames | None = None,
    weights: Weights = UNFITTED,
) -> list[Hypothesis]:
    """The best readings of a line, the best first, no two of one text where `frames` are given.

    `probabilities` (n, labels) belong to the marks as a whole, `of_candidates` to `ladder.candidates`;
    `frames` is what the transcriber says of the line, where it was asked: a second opinion on every edge.
    """
    own = _edges(boxes, probabilities, ladder, of_candidates)
    nodes = ladder.starts[-1] + 1
    all_boxes = [*boxes, *(candidate.box for candidate in ladder.candidates)]
    height = max(line_height(boxes, probabilities), 1.0)
    sizes = [box.height / height for box in all_boxes]
    edges = own
    if frames is not None:
        is_cut = [False] * len(boxes) + [not candidate.is_joined for candidate in ladder.candidates]
        edges = [
            _as_in_service(edge, sizes[edge.tag], weights.stranger)
            for edge in _seconded(own, is_cut, ladder, frames, weights)
        ]
    paths = best_paths(edges, nodes, READINGS if frames is None else 2 * READINGS)
    shares, total = posteriors(edges, nodes)
    agreed = _Agreement(edges, shares, ladder) if frames is not None else None

    def signs(path: Path) -> list[Sign]:
        found = []
        for tag, digit in path.steps:
            is_mark = tag < len(boxes)
            row = probabilities[tag] if is_mark else of_candidates[tag - len(boxes)]
            box = all_boxes[tag]
            if agreed is None:
                found.append(Sign(row, box, digit, shares[tag]))
            else:
                found.append(Sign(agreed.row(tag, row), box, digit))
        return found

    def hypothesis(path: Path, heard: float = 0.0) -> Hypothesis:
        share = math.exp(min(0.0, path.score - total))
        looked = sum(
            own[tag].nothing if digit is None else own[tag].digits[digit] for tag, digit in path.steps
        )
        left_out = sum(_as_high_as_digits(sizes[tag]) for tag, digit in path.steps if digit is None)
        return Hypothesis(signs(path), share, looked, frames, heard, left_out)

    if frames is None:
        return [hypothesis(path) for path in paths]
    paths = _by_text(paths)
    heard = ctc_log_likelihoods(frames.log_probabilities, [list(map(int, path.text)) for path in paths])
    found = [hypothesis(path, likely) for path, likely in zip(paths, heard.tolist(), strict=True)]
    return found if weights.rank is None else ranked(found, weights.rank, weights.stranger)


def _edges(boxes: Sequence[Box], probabilities: Floats, ladder: Ladder, of_candidates: Floats) -> list[Edge]:
    """What the classifier says of the marks and then of the candidates: an edge each, its tag its place."""
    height = line_height(boxes, probabilities)
    edges = [
        _edge(ladder.starts[i], ladder.starts[i + 1], probabilities[i], box, height, tag=i)
        for i, box in enumerate(boxes)
    ]
    for place, candidate in enumerate(ladder.candidates):
        cost = _cost(candidate)
        edge = _edge(
            candidate.first,
            candidate.last,
            of_candidates[place],
            candidate.box,
            height,
            tag=len(boxes) + place,
        )
        nothing = (
            NEVER if candidate.is_joined else edge.nothing - SCRAP_COST - LEFT_OUT_COST * candidate.share
        )
        edges.append(
            Edge(edge.first, edge.last, tuple(p - cost for p in edge.digits), nothing - cost, edge.tag)
        )
    return edges


def _seconded(
    edges: Sequence[Edge], is_cut: Sequence[bool], ladder: Ladder, frames: Frames, weights: Weights
) -> list[Edge]:
    """The edges with what the transcriber says of the frames between their nodes."""
    at = [min(len(frames), max(0, round(frames.frame_at(x)))) for x in ladder.columns]
    at[0], at[-1] = 0, len(frames)
    spans = sorted({(edge.first, edge.last) for edge in edges})
    heard = evidence(frames.log_probabilities, [(at[first], at[last]) for first, last in spans])
    rows = dict(zip(spans, weights.transcriber * _humble(heard), strict=True))
    own_weights = np.where(is_cut, weights.cut, weights.classifier)[:, None]
    looked = own_weights * _humble(np.array([[*edge.digits, edge.nothing] for edge in edges]))
    both = [row + rows[edge.first, edge.last] for edge, row in zip(edges, looked, strict=True)]
    return [
        replace(
            edge,
            digits=tuple(row[:DIGITS].tolist()),
            nothing=float(row[BLANK]) if edge.nothing > NEVER else NEVER,
        )
        for edge, row in zip(edges, both, strict=True)
    ]


def _humble(log_probabilities: Floats) -> Floats:
    """Rows of log-probabilities in which nothing is as good as ruled out: no opinion may silence the other."""
    best = log_probabilities.max(axis=1, keepdims=True, initial=-np.inf)
    return np.asarray(np.logaddexp(log_probabilities, best + math.log(NEVER_SURER)))


def _by_text(paths: Sequence[Path]) -> list[Path]:
    """For each text the best path that reads it, with the sum of all that do; the likeliest text first."""
    scores: dict[str, list[float]] = {}
    best: dict[str, Path] = {}
    for path in paths:
        scores.setdefault(path.text, []).append(path.score)
        best.setdefault(path.text, path)
    summed = [replace(path, score=float(np.logaddexp.reduce(scores[text]))) for text, path in best.items()]
    return sorted(summed, key=lambda path: -path.score)[:READINGS]


class _Agreement:
    """What all readings of a line together say of one place: a digit may be cut out in many ways and be the same."""

    def __init__(self, edges: Sequence[Edge], shares: Mapping[int, float], ladder: Ladder) -> None:
        self._rows: dict[int, Floats] = {}
        self._places = {edge.tag: place for place, edge in enumerate(edges)}
        columns = ladder.columns or tuple(float(node) for node in range(ladder.starts[-1] + 1))
        self._starts = np.array([columns[edge.first] for edge in edges])
        self._ends = np.array([columns[edge.last] for edge in edges])
        weights = np.array([[*edge.digits, edge.nothing] for edge in edges]).reshape(-1, DIGITS + 1)
        within = np.exp(weights - weights.max(axis=1, keepdims=True, initial=-np.inf))
        within /= within.sum(axis=1, keepdims=True)
        self._shares = within * np.array([shares.get(edge.tag, 0.0) for edge in edges])[:, None]

    def row(self, tag: int, row: Floats) -> Floats:
        """Probabilities of all labels at the place of an edge; `row`, the classifier's own, parts what is no digit.

        No reading holds two edges that share most of their width, so their probabilities add up.
        """
        if tag not in self._rows:  # most readings of a line have most of their edges in common
            self._rows[tag] = self._row(tag, row)
        return self._rows[tag]

    def _row(self, tag: int, row: Floats) -> Floats:
        place = self._places[tag]
        start, end = self._starts[place], self._ends[place]
        shared = np.minimum(self._ends, end) - np.maximum(self._starts, start)
        joint = np.maximum(self._ends, end) - np.minimum(self._starts, start)
        same = shared >= SAME_PLACE * np.maximum(joint, 1e-9)
        digits = np.minimum(self._shares[same, :DIGITS].sum(axis=0), 1.0)
        no_digit = np.maximum(row[DIGITS:], 1e-9)
        rest = max(0.0, 1.0 - float(digits.sum()))
        found = np.concatenate([digits, rest * no_digit / no_digit.sum()])
        return np.asarray(found / found.sum())


def _cost(candidate: Candidate) -> float:
    return JOIN_COST if candidate.is_joined else CUT_COST + CROSSED_COST * candidate.crossed


def _as_in_service(edge: Edge, size: float, stranger: float) -> Edge:
    """The edge of a sign so high, in heights of the line, which is no digit as often as in service."""
    if edge.nothing <= NEVER:
        return edge
    return replace(edge, nothing=edge.nothing + _as_high_as_digits(size) * math.log(stranger))


def _as_high_as_digits(size: float) -> float:
    """How far a sign so high, in heights of the line, is as high as digits: from 0 for punctuation to 1."""
    return min(1.0, max(0.0, (size - LOW[0]) / (LOW[1] - LOW[0])))


def _edge(first: int, last: int, row: Floats, box: Box, height: float, *, tag: int) -> Edge:
    """The weights of one candidate: what the classifier says, and that low signs are seldom digits."""
    size = max(box.height, 0.6 * box.width) / max(height, 1.0)
    tall = max(0.02, _as_high_as_digits(size))
    too_wide = max(0.0, box.width / max(box.height, 1) - WIDEST)
    digits = np.log(np.maximum(row[:DIGITS] * tall, 1e-12)) - TOO_WIDE_COST * too_wide
    no_digit = float(row[OTHER] + row[FRAGMENT]) + (1 - tall) * float(row[:DIGITS].sum())
    wide = max(1.0, box.width / max(0.7 * box.height, 1.0))  # for how many digits there would be room
    nothing = math.log(max(no_digit, 1e-12)) - LEFT_OUT_COST * tall * min(1.0, size) * wide
    return Edge(first, last, tuple(digits.tolist()), nothing, tag)

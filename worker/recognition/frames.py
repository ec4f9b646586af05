"""What the transcriber says of a line, frame by frame, and what follows for a stretch of it. Pure.

A frame is two columns of a strip. The transcriber gives each the probabilities of the ten digits and of
none (the blank of CTC, Graves et al., 2006): a digit lights up some frames about its middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.vision.strips import STRIP_PX, Band

Floats = npt.NDArray[np.float64]

FRAME_PX = 2  # columns of a strip
BLANK = 10
FRAME_LABELS = BLANK + 1
WINDOW_PX = 160  # how much of a strip the network is shown at once
WINDOW_SHAPE = (STRIP_PX, WINDOW_PX, 1)
FRAMES_OF_WINDOW = WINDOW_PX // FRAME_PX
LOWEST = -30.0  # log-probabilities below this say no more than this
PEAK = 0.3  # the least probability with which a frame speaks of a digit when seams are sought


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """A line as the transcriber sees it: `log_probabilities` float64 (frames, 11), and where its strip lay.

    `step` is how many page pixels one pixel of the band's field covers.
    """

    log_probabilities: Floats
    band: Band
    step: int

    def __len__(self) -> int:
        return len(self.log_probabilities)

    def frame_at(self, x: float) -> float:
        """The frame, and its fraction, that shows the column `x` of the page; it may lie beyond the ends."""
        return self.band.to_strip(x / self.step) / FRAME_PX

    def x_at(self, frame: float) -> float:
        """The column of the page at a frame's left end."""
        return self.band.to_field(frame * FRAME_PX) * self.step


@dataclass(frozen=True, slots=True)
class Peak:
    """A digit that frames speak of: which, and its middle as a column of the page."""

    digit: int
    x: float


def evidence(log_probabilities: Floats, stretches: Sequence[tuple[int, int]]) -> Floats:
    """Log-probabilities (n, 11) that each stretch of frames (first, end) holds just this one digit, or none.

    Sums over all the ways in which frames spell one digit, as CTC does: blanks, the digit, blanks.
    """
    found = np.zeros((len(stretches), BLANK + 1))
    found[:, :BLANK] = LOWEST
    if not stretches:
        return found
    starts = np.array([start for start, _ in stretches])
    ends = np.array([end for _, end in stretches])
    longest = int((ends - starts).max())
    before = np.zeros(len(stretches))  # blanks so far
    within = np.full((len(stretches), BLANK), -np.inf)  # in the digit
    after = np.full((len(stretches), BLANK), -np.inf)  # the digit, then blanks
    for offset in range(longest):
        open_ = starts + offset < ends
        rows = log_probabilities[np.minimum(starts + offset, len(log_probabilities) - 1)]
        blank, digits = rows[:, BLANK], rows[:, :BLANK]
        new_after = np.logaddexp(after, within) + blank[:, None]
        new_within = np.logaddexp(within, before[:, None]) + digits
        after = np.where(open_[:, None], new_after, after)
        within = np.where(open_[:, None], new_within, within)
        before = np.where(open_, before + blank, before)
    found[:, :BLANK] = np.maximum(np.logaddexp(within, after), LOWEST)
    found[:, BLANK] = np.maximum(before, LOWEST)
    return found


def ctc_log_likelihoods(log_probabilities: Floats, texts: Sequence[Sequence[int]]) -> Floats:
    """The log-probability (n,), at most 0, of each text that the frames spell just that: CTC's sum over all alignments.

    `LOWEST` and less where the frames cannot spell a text: minus infinity where they are too few for it.
    """
    lengths = np.array([len(text) for text in texts], np.intp)
    if len(log_probabilities) == 0 or len(texts) == 0:
        return np.where(lengths == 0, 0.0, LOWEST)
    places = np.arange(len(texts))
    # Behind a shorter text stand blanks, which no way leads back from: they change nothing before them.
    states = np.full((len(texts), 2 * int(lengths.max()) + 1), BLANK)
    for own, text in zip(states, texts, strict=True):
        own[1 : 2 * len(text) : 2] = text
    # A digit may follow another without a blank between them where the two differ.
    may_skip = (states[:, 2:] != states[:, :-2]) & (states[:, 2:] != BLANK)
    rows = np.exp(log_probabilities)[:, states]
    alpha = np.zeros(states.shape)
    alpha[:, :2] = rows[0][:, :2]
    total = np.zeros(len(texts))
    for row in rows[1:]:
        longer = alpha.copy()
        longer[:, 1:] += alpha[:, :-1]
        longer[:, 2:] += may_skip * alpha[:, :-2]
        alpha = longer * row
        scale = alpha.sum(axis=1)
        alpha /= np.maximum(scale, np.finfo(np.float64).tiny)[:, None]  # or a hundred frames would underflow
        total += np.log(np.maximum(scale, np.finfo(np.float64).tiny))
    last = alpha[places, 2 * lengths] + np.where(
        lengths > 0, alpha[places, np.maximum(0, 2 * lengths - 1)], 0.0
    )
    with np.errstate(divide="ignore"):
        return np.minimum(0.0, total + np.log(last))


def shares_of(log_probabilities: Floats) -> Floats:
    """The probability (10,) of each digit that the frames spell it, given that they spell just one, whichever."""
    spelled = ctc_log_likelihoods(log_probabilities, [[digit] for digit in range(BLANK)])
    likely = np.exp(np.maximum(spelled, LOWEST) - max(LOWEST, float(spelled.max())))
    return np.asarray(likely / likely.sum())


def peaks(frames: Frames) -> list[Peak]:
    """The digits that the likeliest frames spell, from the left."""
    found: list[Peak] = []
    best = frames.log_probabilities.argmax(axis=1)
    strength = np.exp(frames.log_probabilities.max(axis=1))
    start = 0
    for end in range(1, len(best) + 1):
        if end == len(best) or best[end] != best[start]:
            if best[start] != BLANK and strength[start:end].max() >= PEAK:
                found.append(Peak(int(best[start]), frames.x_at((start + end) / 2)))
            start = end
    return found

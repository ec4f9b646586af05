"""Why a picture was not simply read: the closed list of reason codes, each with what a person can do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ReasonCode(StrEnum):
    """The closed list; a contract with everything that reads records."""

    # failed: could not be read as a picture
    EMPTY_FILE = "empty_file"
    TRUNCATED = "truncated"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TOO_MANY_BYTES = "too_many_bytes"
    TOO_MANY_PIXELS = "too_many_pixels"
    UNDECODABLE = "undecodable"
    NOT_READABLE = "not_readable"
    NOT_A_FILE = "not_a_file"
    CRASHED_READER = "crashed_reader"
    # review: a person should look
    NO_INK = "no_ink"
    SEVERAL_DIGITS = "several_digits"
    NOT_A_DIGIT = "not_a_digit"
    LOW_CONFIDENCE = "low_confidence"
    UNEXPECTED_FORMAT = "unexpected_format"


_ADVICE: dict[ReasonCode, str] = {
    ReasonCode.EMPTY_FILE: "The file has no content. Copy or scan it again.",
    ReasonCode.TRUNCATED: "The picture ends before its end mark: it was cut off. Copy or scan it again.",
    ReasonCode.UNSUPPORTED_FORMAT: "The content is neither PNG nor JPEG. Save it as one of them.",
    ReasonCode.TOO_MANY_BYTES: "Scan at a lower resolution or raise max_file_mb in config.yaml.",
    ReasonCode.TOO_MANY_PIXELS: "Scan at a lower resolution or raise max_megapixels in config.yaml.",
    ReasonCode.UNDECODABLE: "The picture is damaged and cannot be decoded. Copy or scan it again.",
    ReasonCode.NOT_READABLE: "The worker may not read this file. Give its user the right to, then drop it again.",
    ReasonCode.NOT_A_FILE: "This is not a regular file, so it was not opened. Drop the picture itself.",
    ReasonCode.CRASHED_READER: "Open it with another program and save it anew; if that helps, drop the new one."
    " Please report the picture as a bug.",
    ReasonCode.NO_INK: "No writing was found. If there is some, scan it darker or with more contrast.",
    ReasonCode.SEVERAL_DIGITS: "Digits run into each other and could not be told apart;"
    " please read this picture yourself.",
    ReasonCode.NOT_A_DIGIT: "What is written does not look like a digit; please look at it.",
    ReasonCode.LOW_CONFIDENCE: "Not every digit is certain enough; please look at those marked with a question mark.",
    ReasonCode.UNEXPECTED_FORMAT: "Please compare the picture, or change `expect` in config.yaml.",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """A code of the closed list and a message that tells a person what to do."""

    code: ReasonCode
    message: str

    @staticmethod
    def of(code: ReasonCode, detail: str = "") -> Reason:
        """The reason for `code`: the advice that goes with it, after `detail` where there is one.

        `detail` is one sentence about this very picture, with its full stop.
        """
        return Reason(code, f"{detail} {_ADVICE[code]}".strip())


class BadPictureError(Exception):
    """One picture cannot be read; caught where it becomes a failed record, never further up."""

    def __init__(self, code: ReasonCode, detail: str = "") -> None:
        self.reason = Reason.of(code, detail)
        super().__init__(self.reason.message)


class UnfinishedError(Exception):
    """The file has no content or no end mark yet: its writer may still be at work."""

    def __init__(self, code: ReasonCode) -> None:
        super().__init__(code.value)
        self.code = code

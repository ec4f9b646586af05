"""`make demo`: a few dozen scans drawn by the pen, read, and shown with what came out."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np

from worker.cli import main as run_command
from worker.training.pen import draw_scan

FOLDER = Path("demo")
SCANS = 40


def main() -> int:
    """Draw, read, and say where to look; everything lies in ./demo, made anew each time."""
    if FOLDER.exists():
        shutil.rmtree(FOLDER)
    inbox, outbox = FOLDER / "inbox", FOLDER / "outbox"
    for folder in (inbox, outbox):
        folder.mkdir(parents=True)
    labels = _draw(inbox)
    config = FOLDER / "config.yaml"
    config.write_text(
        f"inbox: inbox\noutbox: outbox\nmodel: {os.path.abspath('models/digits')}\nlog_level: warning\n"
    )
    print(f"{len(labels)} scans drawn into {inbox}; starting the worker ...")
    code = run_command(["run", "--once", "--config", str(config)])
    if code:
        return code
    _show(outbox, labels)
    return 0


def _draw(inbox: Path) -> dict[str, int]:
    """Scans on paper of all kinds; returns what is written on each."""
    rng = np.random.default_rng(2026)
    labels = {}
    for index in range(SCANS):
        digit = index % 10
        paper, ink = int(rng.integers(200, 256)), int(rng.integers(0, 90))
        if rng.random() < 0.15:
            paper, ink = ink, paper
        page = draw_scan(
            digit, rng, height_px=int(rng.integers(24, 160)), paper=paper, ink=ink, ruled=rng.random() < 0.2
        )
        name = f"scan-{index:02d}.{'png' if index % 3 else 'jpg'}"
        cv2.imwrite(str(inbox / name), page)
        labels[name] = digit
    return labels


def _show(outbox: Path, labels: dict[str, int]) -> None:
    """A table of what came out, and one sheet of all annotated pictures."""
    from worker.delivery.shelf import shelved_records

    right = wrong = 0
    cells = []
    print(f"{'scan':14}{'drawn':>6}{'read':>6}{'sure':>9}  status")
    for shelved in shelved_records(outbox):
        record, digit = shelved.record, labels[shelved.name]
        right += record["text"] == str(digit)
        wrong += record["status"] == "read" and record["text"] != str(digit)
        confidence = min(record["confidence"] * 100, 99.9)
        print(f"{shelved.name:14}{digit:>6}{record['text']:>6}{confidence:>8.1f}%  {record['status']}")
        picture = cv2.imread(str(outbox / record["annotated"]))
        assert picture is not None  # noqa: S101 - the contract: whoever sees the record may read the picture
        cells.append(_cell(picture))
    while len(cells) % 8:
        cells.append(np.full_like(cells[0], 255))
    sheet = np.vstack([np.hstack(cells[i : i + 8]) for i in range(0, len(cells), 8)])
    cv2.imwrite(str(FOLDER / "sheet.png"), sheet)
    review = len(labels) - right - wrong
    print(f"\n{right} read as drawn, {review} left for a person to review, {wrong} read wrong.")
    print(f"Look at {FOLDER / 'sheet.png'} and at the records in {outbox}/")


def _cell(picture: cv2.typing.MatLike) -> cv2.typing.MatLike:
    side = 180
    height, width = picture.shape[:2]
    scale = (side - 8) / max(height, width)
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cell = np.full((side, side, 3), 255, np.uint8)
    cell[4 : 4 + small.shape[0], 4 : 4 + small.shape[1]] = small
    return cell


if __name__ == "__main__":
    sys.exit(main())

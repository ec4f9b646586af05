"""What a picture costs by what is on it: six digits beside one, and pages that hold nothing to read beside plain ones.

    python -m benchmarks.speed.by_content [--rounds 7] [--engine tensorflow|litert] [--json]

The worker's own reader, file to outcome with its picture, in batches of eight; kinds take turns, medians and ratios.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.bad_input import STYLES, draw_bad_input
from benchmarks.speed.material import KINDS, draw

ROOT = Path(__file__).resolve().parents[2]
BATCH = 8
FIELD_PX = (260, 900)  # all numbers on a field of one size, so that only what is written on it differs


def main() -> int:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.by_content", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--engine", choices=("tensorflow", "litert"), default="tensorflow")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="digit-worker-bench-") as folder:
        found = measure(Path(folder), options.rounds, options.engine)
    if options.json:
        print(json.dumps(found))
        return 0
    for name, (ms, ratio, beside) in found.items():
        print(f"{name:24}{ms:9.2f} ms a picture{ratio:8.2f} x {beside}")
    return 0


def measure(folder: Path, rounds: int, engine: str) -> dict[str, tuple[float, float, str]]:
    """For each kind: milliseconds a picture (median), the median ratio to another kind, and which that is."""
    from worker.assembly import load_model, reader_for
    from worker.intake.arrivals import Arrival, arrival_at
    from worker.settings import Settings

    settings = Settings.model_validate(
        {"model": ROOT / "models" / "digits", "engine": engine, "inbox": folder, "outbox": folder}
    )
    kinds: dict[str, list[Arrival]] = {}
    for kind, files in _pictures().items():
        for number, (content, ending) in enumerate(files):
            path = folder / f"{kind.replace(' ', '-')}-{number}{ending}"
            path.write_bytes(content)
            kinds.setdefault(kind, []).append(arrival_at(str(path), follow=False))
    reader = reader_for(settings, load_model(settings), str(folder))
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn in range(rounds + 1):
        for kind, arrivals in kinds.items():
            started_s = time.perf_counter()
            reader.read(arrivals)
            if turn:  # the first one is warm-up
                taken[kind].append((time.perf_counter() - started_s) * 1000 / len(arrivals))
    reader.close()
    found = {}
    for kind, times in taken.items():
        beside = "one digit" if "digit" in kind else "plain page"
        ratios = np.array(times) / np.array(taken[beside])
        found[kind] = (float(np.median(times)), float(np.median(ratios)), beside)
    return found


def _pictures() -> dict[str, list[tuple[bytes, str]]]:
    rng = np.random.default_rng(5)
    kinds = {
        "one digit": [_field([int(rng.integers(10))], 0.45, rng) for _ in range(BATCH)],
        "six digits apart": [_field(rng.integers(0, 10, 6).tolist(), 0.35, rng) for _ in range(BATCH)],
        "six digits touching": [_field(rng.integers(0, 10, 6).tolist(), -0.02, rng) for _ in range(BATCH)],
    }
    kinds["plain page"] = [draw(KINDS["pages"], index) for index in range(BATCH)]
    for style in STYLES:
        images = [draw_bad_input(style, rng).image for _ in range(BATCH)]
        kinds[style] = [(cv2.imencode(".jpg", image)[1].tobytes(), ".jpg") for image in images]
    return kinds


def _field(digits: list[int], gap: float, rng: np.random.Generator) -> tuple[bytes, str]:
    """A field of one size with a number on it, `gap` in heights between digits, as PNG."""
    from worker.training.pen import draw_strokes, render, sample_style, side_by_side

    style = sample_style(rng)
    inks = [render(draw_strokes(digit, rng, style=style), 90.0, 7.0) for digit in digits]
    line = side_by_side(inks, round(gap * 90), 5.0, rng)
    cover = np.zeros(FIELD_PX, np.float32)
    line = line[: FIELD_PX[0] - 40, : FIELD_PX[1] - 40]
    cover[20 : 20 + line.shape[0], 20 : 20 + line.shape[1]] = line
    page = 235 - 190 * cover + rng.normal(0, 2, FIELD_PX)
    return cv2.imencode(".png", np.clip(page, 0, 255).astype(np.uint8))[1].tobytes(), ".png"


if __name__ == "__main__":
    sys.exit(main())

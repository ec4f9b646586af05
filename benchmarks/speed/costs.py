"""What each step costs when nothing else happens: the floor under every pipeline, and the profile in the docs.

    python -m benchmarks.speed.costs [--json]

One thread, medians, the worker's own functions. The forward pass is given all processors at its best size.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.speed.material import KINDS, Kind, draw

ROOT = Path(__file__).resolve().parents[2]
GROUP = 64  # files that share one syncfs, as in a full batch
STEPS = (
    "read",
    "decode",
    "find, cut, normalise",
    "classify",
    "draw, encode",
    "record",
    "write, rename, sync",
)


def main() -> int:
    """Measure all kinds and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.costs", description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--folder", type=Path, help="a folder on the disk that is meant")
    options = parser.parse_args()
    found = measure(options.folder)
    if options.json:
        print(json.dumps(found))
        return 0
    print(f"{'µs a file':24}" + "".join(f"{kind:>14}" for kind in found))
    for step in STEPS:
        print(f"{step:24}" + "".join(f"{found[kind][step]:14.0f}" for kind in found))
    return 0


def measure(folder: Path | None = None, *, scale: float = 1.0) -> dict[str, dict[str, float]]:
    """Microseconds a file, for each kind of picture (scans by format) and each step of `STEPS`.

    `classify` is wall time with all processors at the best batch size; everything else is one thread's.
    `scale` multiplies how often things are repeated.
    """
    forward_us = forward_costs()["batch, a tile"]
    written_us = _written_us(folder, 20_000)
    found = {}
    for name, kind, endings in (
        ("tile", KINDS["tiles"], (".png",)),
        ("scan PNG", KINDS["scans"], (".png",)),
        ("scan JPEG", KINDS["scans"], (".jpg",)),
        ("page JPEG", KINDS["pages"], (".jpg",)),
    ):
        found[name] = _of_kind(kind, endings, folder, scale) | {
            "classify": forward_us,
            "write, rename, sync": written_us,
        }
    return found


def bound_us(costs: dict[str, float]) -> float:
    """Microseconds a file when every processor is always busy with nothing else."""
    cores = len(os.sched_getaffinity(0))
    alone = sum(value for step, value in costs.items() if step in STEPS and step != "classify")
    return alone / cores + costs["classify"]


def forward_costs(engine: str = "tensorflow") -> dict[str, float]:
    """Microseconds of a forward pass: of a lone tile, and a tile of the best batch."""
    from worker.assembly import load_model
    from worker.settings import Settings

    model = load_model(Settings.model_validate({"model": ROOT / "models" / "digits", "engine": engine}))
    tiles = np.random.default_rng(0).random((256, 28, 28), dtype=np.float32)
    lone = _median_us(lambda: model.logits(tiles[:1]), 200)
    batch = min(_median_us(partial(model.logits, tiles[:size]), 20) / size for size in (16, 64, 256))
    return {"lone": lone, "batch, a tile": batch}


def _median_us(work: Callable[[], object], times: int, at_most_s: float = 2.0) -> float:
    work()
    taken: list[float] = []
    end_s = time.perf_counter() + at_most_s
    while len(taken) < times and (time.perf_counter() < end_s or len(taken) < 3):
        started_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started_s)
    return float(np.median(taken)) * 1e6


def _of_kind(kind: Kind, endings: tuple[str, ...], folder: Path | None, scale: float) -> dict[str, float]:
    """The medians over several pictures of the steps that one thread does."""
    pictures = [draw(kind, index) for index in range(16)]
    rows = [
        _of_picture(data, ending, folder, scale)
        for data, ending in [each for each in pictures if each[1] in endings][:8]
    ]
    return {step: float(np.median([row[step] for row in rows])) for step in rows[0]}


def _of_picture(data: bytes, ending: str, folder: Path | None, scale: float) -> dict[str, float]:
    import hashlib

    from worker.delivery.records import record_of
    from worker.intake.arrivals import Arrival
    from worker.intake.arrivals import Kind as ArrivalKind
    from worker.outcome import AnnotatedPicture, Outcome, Status
    from worker.recognition.decision import Reading
    from worker.vision.annotation import Label, annotated_file
    from worker.vision.decoding import Limits, decode
    from worker.vision.normalization import NormalizerSettings
    from worker.vision.sheet import sheet_of

    limits, normaliser = Limits(10**9, 10**9), NormalizerSettings()
    with tempfile.NamedTemporaryFile(dir=folder, suffix=ending) as file:
        file.write(data)
        file.flush()

        def read() -> str:
            with open(file.name, "rb", buffering=0) as source:
                return hashlib.sha256(source.read()).hexdigest()

        times = max(3, int((300 if len(data) < 10_000 else 20) * scale))
        found = {"read": _median_us(read, times)}
    page = decode(data, limits)
    found["decode"] = _median_us(lambda: decode(data, limits), times)
    found["find, cut, normalise"] = _median_us(lambda: sheet_of(page, normaliser), times)
    boxes = [tile.box for tile in sheet_of(page, normaliser).tiles]
    labels = [Label(box, "4 99.9 %", is_accepted=True) for box in boxes]
    is_jpeg = ending == ".jpg"
    draw_it = partial(annotated_file, page, labels, "read: 4", is_accepted=True, page_was_jpeg=is_jpeg)
    found["draw, encode"] = _median_us(draw_it, times)
    outcome = Outcome(
        arrival=Arrival(f"a{ending}", ArrivalKind.FILE, 1, 1, len(data), 1, 1, 0.0),
        status=Status.READ, text="4", confidence=0.999,
        digits=tuple(Reading(4, 0.999, True, (0.0,) * 4 + (1.0,) + (0.0,) * 5, box) for box in boxes),  # noqa: FBT003
        reason=None, sha256="0" * 64, size_bytes=len(data), width=page.width, height=page.height,
        picture=AnnotatedPicture(b"", ".png"), finished_at=datetime.now(UTC),
    )  # fmt: skip
    found["record"] = _median_us(
        lambda: record_of(outcome, "a.png", "digits", "0" * 64).to_json_bytes(), times
    )
    return found


def _written_us(folder: Path | None, picture_bytes: int) -> float:
    """Two files written, both and the original renamed, one syncfs for each group: microseconds a file."""
    from worker.delivery.disk import sync_file_system

    with tempfile.TemporaryDirectory(dir=folder, prefix="digit-worker-bench-") as place:
        home = Path(place)
        for name in ("staging", "out", "inbox", "done"):
            (home / name).mkdir()
        descriptor = os.open(home, os.O_RDONLY)
        taken = []
        for turn in range(6):
            for index in range(GROUP):
                (home / "inbox" / f"{turn}-{index}").write_bytes(b"x" * 400)
            sync_file_system(descriptor)
            started_s = time.perf_counter()
            for index in range(GROUP):
                for ending, size in (("png", picture_bytes), ("json", 700)):
                    path = f"{home}/staging/{turn}-{index}.{ending}"
                    file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
                    os.write(file, b"x" * size)
                    os.close(file)
            sync_file_system(descriptor)
            for index in range(GROUP):
                for ending in ("png", "json"):
                    path = f"{turn}-{index}.{ending}"
                    os.rename(f"{home}/staging/{path}", f"{home}/out/{path}")
                os.rename(f"{home}/inbox/{turn}-{index}", f"{home}/done/{turn}-{index}")
            taken.append((time.perf_counter() - started_s) / GROUP)
        os.close(descriptor)
    return float(np.median(taken)) * 1e6


if __name__ == "__main__":
    sys.exit(main())

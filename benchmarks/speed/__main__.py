"""How fast the worker is, beside opponents that do the same work in the same minutes: `make bench`.

    python -m benchmarks.speed [--short] [--only PART ...] [--output DIR] [--folder DIR]

Parts: contest (naive, offline, lean and the worker in turn), costs (single steps, and the bound), latency,
backlog, start. All pictures are drawn here; the worker is the real `run` on a real inbox below --folder.
Every loop is bounded. Ratios are comparable between machines, times are not; let nothing else run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.speed import costs, report
from benchmarks.speed.material import KINDS
from benchmarks.speed.service_figures import Contest, backlog, latency, start_and_idle

PARTS = ("costs", "contest", "latency", "backlog", "start")
KIND_OF_COSTS = {"tiles": ("tile",), "scans": ("scan PNG", "scan JPEG"), "pages": ("page JPEG",)}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    options = _options(arguments)
    found: dict[str, Any] = {"machine": report.machine(), "sizes": options.sizes, "rounds": options.rounds}
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="digit-worker-bench-") as folder:
        home = Path(folder)
        if {"costs", "contest"} & set(options.only):
            found["costs"] = costs.measure(home, scale=0.3 if options.short else 1.0)
            by_step = {
                step: {kind: found["costs"][kind][step] for kind in found["costs"]} for step in costs.STEPS
            }
            report.print_table("Single steps, µs a file", by_step)
        if "contest" in options.only:
            found["contest"] = _contest(home, options, found["costs"])
        if "latency" in options.only:
            found["latency"] = _latency(home, options)
        if "backlog" in options.only:
            counts = options.backlog
            found["backlog"] = {f"{count:,}": backlog(home / "backlog", count) for count in counts}
            report.print_table("A full inbox at the start, tiles", found["backlog"])
        if "start" in options.only:
            found["start"] = {
                engine: start_and_idle(home / "start", engine, 10 if options.short else 30)
                for engine in options.engines
            }
            report.print_table("Start and idleness", found["start"])
            found["forward"] = {engine: costs.forward_costs(engine) for engine in options.engines}
            report.print_table("Forward pass, µs", found["forward"])
    report.write(options.output, found)
    print(f"\nwritten to {options.output}: bench.json" + (", bench.png" if "contest" in found else ""))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.splitlines()[0])
    parser.add_argument("--short", action="store_true", help="small sizes, one round, some three minutes")
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help=", ".join(PARTS)
    )
    parser.add_argument("--tiles", type=int, help="default: 10000")
    parser.add_argument("--scans", type=int, help="default: 3000")
    parser.add_argument("--pages", type=int, help="default: 300")
    parser.add_argument("--naive", type=int, default=100, help="files that naive is given (default: 100)")
    parser.add_argument("--rounds", type=int, help="default: 5")
    parser.add_argument("--backlog", type=int, nargs="+", help="default: 1000 10000 100000")
    parser.add_argument(
        "--engines", nargs="+", choices=("tensorflow", "litert"), default=["tensorflow", "litert"]
    )
    parser.add_argument("--output", type=Path, default=Path("build/bench"), help="default: build/bench")
    parser.add_argument("--folder", type=Path, help="where to work: a folder on ext4 or xfs, please")
    options = parser.parse_args(arguments)
    small = options.short
    options.sizes = {
        "tiles": options.tiles if options.tiles is not None else (1500 if small else 10_000),
        "scans": options.scans if options.scans is not None else (400 if small else 3000),
        "pages": options.pages if options.pages is not None else (60 if small else 300),
    }
    options.rounds = options.rounds or (1 if small else 5)
    options.backlog = options.backlog or ([1000, 5000] if small else [1000, 10_000, 100_000])
    if small:
        options.naive = min(options.naive, 30)
    return options


def _contest(
    home: Path, options: argparse.Namespace, found_costs: dict[str, dict[str, float]]
) -> dict[str, Any]:
    """Rounds of all opponents, by kind of picture: each figure's median, and the worker's ratios."""
    found = {}
    contest = Contest(home)
    try:
        for kind in KINDS.values():
            count = options.sizes[kind.name]
            if count <= 0:
                continue
            contest.round(kind, min(count, 200), 5)  # threads, caches, allocators
            rounds = [contest.round(kind, count, options.naive) for _ in range(options.rounds)]
            bounds_us = [costs.bound_us(found_costs[name]) for name in KIND_OF_COSTS[kind.name]]
            bound_per_s = 1e6 / (sum(bounds_us) / len(bounds_us))
            medians = report.medians(rounds)
            ratios = report.ratios(rounds, bound_per_s)
            found[kind.name] = {
                "medians": medians,
                "ratios": ratios,
                "bound, files a second": bound_per_s,
                "rounds": rounds,
            }
            report.print_table(
                f"{kind.name}: {count:,} files, medians of {options.rounds}",
                medians | {"bound": {"files a second": bound_per_s}},
            )
            for name, ratio in ratios.items():
                print(f"  {name:32}{ratio:8.2f}", flush=True)
    finally:
        contest.close()
    return found


def _latency(home: Path, options: argparse.Namespace) -> dict[str, Any]:
    found = {}
    for engine in options.engines:
        for per_s, count in ((1, 30), (20, 400), (200, 2000)):
            few = max(10, count // 5) if options.short else count
            found[f"{engine}, {per_s} a second"] = latency(home / "latency", engine, per_s, few)
    report.print_table("From close to record, tiles", found)
    return found


if __name__ == "__main__":
    sys.exit(main())

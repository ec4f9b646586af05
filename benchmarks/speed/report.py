"""What was measured, as tables for people, a JSON file and a plot."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Figures = Mapping[str, float]
Rounds = Sequence[Mapping[str, Figures]]


def medians(rounds: Rounds) -> dict[str, dict[str, float]]:
    """The median over the rounds of every figure of every opponent."""
    return {
        name: {figure: statistics.median(each[name][figure] for each in rounds) for figure in rounds[0][name]}
        for name in rounds[0]
    }


def ratios(rounds: Rounds, bound_per_s: float) -> dict[str, float]:
    """How many times as fast as each opponent the worker is: the median of the ratios within each round."""
    found = {}
    for name in rounds[0]:
        if name != "worker":
            found[f"worker : {name}"] = statistics.median(
                each["worker"]["files a second"] / each[name]["files a second"] for each in rounds
            )
    speed = statistics.median(each["worker"]["files a second"] for each in rounds)
    found["worker : bound"] = speed / bound_per_s
    return found


def machine() -> dict[str, Any]:
    """Where and when it was measured."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    return {
        "processor": model,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "load before": os.getloadavg()[0],
    }


def print_table(title: str, rows: Mapping[str, Figures]) -> None:
    """One row a name, one column a figure."""
    columns = list(dict.fromkeys(figure for row in rows.values() for figure in row))
    print(f"\n{title}")
    print(f"  {'':24}" + "".join(f"{column:>18}" for column in columns))
    for name, row in rows.items():
        cells = "".join(f"{row[column]:18,.3g}" if column in row else " " * 18 for column in columns)
        print(f"  {name:24}{cells}", flush=True)


def write(folder: Path, found: Mapping[str, Any]) -> None:
    """bench.json and bench.png in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.json").write_text(json.dumps(found, indent=1) + "\n")
    if found.get("contest"):
        _plot(found["contest"], folder / "bench.png")


def _plot(contest: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Files a second of each opponent, one panel a kind of picture, every round a dot."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(contest), figsize=(4.6 * len(contest), 3.4), squeeze=False)
    for axis, (kind, found) in zip(axes[0], contest.items(), strict=True):
        names = list(found["medians"])
        speeds = [found["medians"][name]["files a second"] for name in names]
        names.append("bound")
        speeds.append(found["bound, files a second"])
        axis.barh(names, speeds, color=["#b0b0b0" if "worker" not in name else "#0072b2" for name in names])
        for place, name in enumerate(names[:-1]):
            dots = [each[name]["files a second"] for each in found["rounds"]]
            axis.plot(dots, [place] * len(dots), "k.", markersize=4)
        for place, speed in enumerate(speeds):
            axis.annotate(f" {speed:,.0f}", (speed, place), va="center", fontsize=8)
        axis.set_title(kind)
        axis.set_xlabel("files a second")
        axis.margins(x=0.18)
        axis.invert_yaxis()
    figure.tight_layout()
    figure.savefig(path, dpi=130)
    plt.close(figure)

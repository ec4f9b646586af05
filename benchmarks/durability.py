"""What durability costs: the real worker with `durability: full` and `none`, in pairs, and how often it syncs.

    python -m benchmarks.durability [--files 2000] [--pairs 3] [--folder DIR]

The order within a pair changes from pair to pair. The syncs are counted with strace in a run of its own, where
strace is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.torture import some_picture

ROOT = Path(__file__).resolve().parent.parent
_LONGEST_S = 300.0


def files_a_second(base: Path, files: int, durability: str, *, trace: Path | None = None) -> float:
    """Files a second from the first drop in a waiting worker to the last original in done/."""
    for name in ("inbox", "outbox"):
        (base / name).mkdir(parents=True)
    config = base / "config.yaml"
    config.write_text(
        f"inbox: inbox\noutbox: outbox\nmodel: {ROOT / 'models' / 'digits'}\ndurability: {durability}\n"
    )
    command = [sys.executable, "-m", "worker", "run", "--config", str(config)]
    if trace is not None:
        calls = "trace=fsync,syncfs,fdatasync"
        command = ["strace", "-f", "--seccomp-bpf", "-e", calls, "-o", str(trace), *command]
    with (base / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stderr=log)
    try:
        _wait_for(lambda: b'"ready"' in (base / "log").read_bytes(), 0.05)
        (base / "ready").mkdir()
        for number in range(files):
            (base / "ready" / f"{number:06}.png").write_bytes(some_picture(number))
        done = base / "outbox" / "done"
        begun_s = time.monotonic()
        for number in range(files):
            name = f"{number:06}.png"
            os.rename(base / "ready" / name, base / "inbox" / name)
        _wait_for(lambda: done.is_dir() and len(os.listdir(done)) == files, 0.02)
        return files / (time.monotonic() - begun_s)
    finally:
        os.kill(_child_of(process.pid) if trace else process.pid, signal.SIGTERM)  # strace keeps it to itself
        process.wait(60)
        shutil.rmtree(base)


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _wait_for(condition: object, pause_s: float) -> None:
    end_s = time.monotonic() + _LONGEST_S
    while time.monotonic() < end_s:
        if callable(condition) and condition():
            return
        time.sleep(pause_s)
    raise TimeoutError(f"not within {_LONGEST_S:g} s")


def file_system_of(folder: Path) -> str:
    """The type of the file system that a folder lies on, from /proc/mounts."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    path = str(folder.resolve())
    inside = [(where, kind) for where, kind in mounts if where == "/" or f"{path}/".startswith(f"{where}/")]
    return max(inside, key=lambda mount: len(mount[0]))[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; 0 when `full` keeps at least 70 % of the throughput of `none`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.durability", description=main.__doc__)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work; on ext4 or xfs, please")
    options = parser.parse_args(arguments)
    shares = []
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="digit-worker-durability-") as folder:
        base = Path(folder)
        print(f"on {file_system_of(base)}, {options.files} files")
        for pair in range(options.pairs):
            order = ("full", "none") if pair % 2 else ("none", "full")
            speeds = {how: files_a_second(base / f"{pair}-{how}", options.files, how) for how in order}
            shares.append(speeds["full"] / speeds["none"])
            print(f"pair {pair}: full {speeds['full']:.0f}/s, none {speeds['none']:.0f}/s, {shares[-1]:.0%}")
        syncs: dict[str, int] = {}
        if shutil.which("strace"):
            for how in ("full", "none"):
                trace = base / f"{how}.trace"
                files_a_second(base / f"traced-{how}", options.files, how, trace=trace)
                syncs[how] = len(re.findall(r"(?:fsync|syncfs|fdatasync)\(", trace.read_text()))
    share = statistics.median(shares)
    print(json.dumps({"share": round(share, 3), "syncs": syncs or "strace is not installed"}))
    return int(share < 0.7)


if __name__ == "__main__":
    sys.exit(main())

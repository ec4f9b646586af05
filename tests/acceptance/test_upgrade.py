"""Upgrade and rollback: each version finishes what the other one left half done, and nothing is answered twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, eventually, png, write_config

BEFORE = "7e4b26c"  # the version before this one: the last commit without reload, metrics and retention
START_S = 90.0
FILES = 400


@pytest.fixture(scope="module")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program as it was, in a folder of its own."""
    folder = tmp_path_factory.mktemp("older")
    archive = folder / "older.zip"  # tar archives are unpacked without a warning from Python 3.11.4 on alone
    made = subprocess.run(
        ["git", "-C", str(ROOT), "archive", "-o", str(archive), BEFORE, "worker", "models"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"no git history with {BEFORE} here")
    shutil.unpack_archive(archive, folder)
    return folder


class Versions:
    """Starts one version or the other on the same folders."""

    def __init__(self, folders: Path) -> None:
        self.folders = folders
        self.started: list[subprocess.Popen[bytes]] = []
        self._logs = 0

    def start(self, program: Path) -> subprocess.Popen[bytes]:
        self._logs += 1
        self.log = self.folders / f"log-{self._logs}"
        with self.log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", "run", "--config", str(self.folders / "config.yaml")],
                cwd=self.folders,
                # Each version with the bundle that it shipped with: a card may gain fields.
                env={
                    **os.environ,
                    "PYTHONPATH": str(program),
                    "DIGIT_WORKER_MODEL": str(program / "models" / "digits"),
                },
                stderr=file,
            )
        self.started.append(process)
        eventually(lambda: b'"ready"' in self.log.read_bytes() or process.poll() is not None, START_S)
        assert process.poll() is None, self.log.read_text()
        return process

    def said(self, event: str) -> bool:
        return f'"event": "{event}"' in self.log.read_text()

    def kill_in_the_middle(self, program: Path, prefix: str) -> None:
        """Let this version read, and kill it while it publishes."""
        process = self.start(program)
        for number in range(FILES):
            (self.folders / "inbox" / f"{prefix}-{number:03}.png").write_bytes(
                png(number % 10, number, height_px=24)
            )
        eventually(lambda: len(list((self.folders / "outbox").glob(f"{prefix}-*.json"))) > 20, 60)
        process.send_signal(signal.SIGKILL)
        process.wait(10)

    def finish(self, program: Path, prefix: str) -> None:
        """Let this version finish; each file has one record, names itself in it, and has left the inbox."""
        process = self.start(program)
        assert self.said("recovered"), "nothing was left half done: the test shows nothing"
        inbox, outbox = self.folders / "inbox", self.folders / "outbox"
        eventually(lambda: not list(inbox.glob("*.png")), 90)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        names = {f"{prefix}-{number:03}.png" for number in range(FILES)}
        records = [json.loads(path.read_bytes()) for path in outbox.glob(f"{prefix}-*.json")]
        assert len(records) == FILES
        assert {record["source"]["name"] for record in records} == names
        assert {path.name for path in (outbox / "done").glob(f"{prefix}-*")} == names
        assert not list((outbox / ".digit-worker" / "staging").iterdir())


@pytest.fixture
def versions(folders: Path) -> Iterator[Versions]:
    found = Versions(folders)
    yield found
    for process in found.started:
        if process.poll() is None:
            process.kill()
            process.wait(10)


def test_each_version_finishes_what_the_other_left_half_done(
    versions: Versions, folders: Path, older: Path
) -> None:
    write_config(folders, "annotate: none")
    versions.kill_in_the_middle(older, "up")
    versions.finish(ROOT, "up")
    versions.kill_in_the_middle(ROOT, "down")
    versions.finish(older, "down")
    # Each reads what the other one wrote: the status, and the records as a table.
    for program in (ROOT, older):
        environment = {**os.environ, "PYTHONPATH": str(program)}
        config = str(folders / "config.yaml")
        table = subprocess.run(
            [sys.executable, "-m", "worker", "export", "--config", config],
            cwd=folders, env=environment, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert len(table.stdout.splitlines()) == 2 * FILES + 1
        told = subprocess.run(
            [sys.executable, "-m", "worker", "status", "--json", "--config", config],
            cwd=folders, env=environment, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert json.loads(told.stdout)["counts"]["published"] >= 0

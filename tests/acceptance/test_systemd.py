"""The service as an administrator runs it: a wheel, `service install`, and a real systemd.

Booting one needs root, cgroup2, systemd and util-linux. Elsewhere the second half of this file stands in: the
real program, and a socket that listens as systemd would.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.acceptance.booted import PROGRAM, Booted, build_wheel, why_not
from tests.acceptance.conftest import ROOT, START_S, eventually, png, write_config

INBOX, OUTBOX = "/srv/digit-worker/inbox", "/srv/digit-worker/outbox"
UNIT = "digit-worker.service"
OBSTACLE = why_not()
needs_systemd = pytest.mark.skipif(
    OBSTACLE is not None, reason=f"{OBSTACLE}; the tests with a listener on NOTIFY_SOCKET stand in"
)


class Service:
    """The installed service in a booted systemd."""

    def __init__(self, booted: Booted) -> None:
        self.booted = booted

    def systemctl(self, *words: str, check: bool = True) -> str:
        return self.booted.run("systemctl", *words, check=check)

    def show(self, key: str) -> str:
        return self.systemctl("show", "--value", "--property", key, UNIT)

    def drop(self, name: str, digit: int, seed: int = 0) -> None:
        """As a member of the group does: write, then rename."""
        inbox = self.booted.path(INBOX)
        part = inbox / f"{name}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(png(digit, seed=seed))
        part.rename(inbox / name)

    def record(self, name: str, timeout_s: float = 30.0) -> dict[str, Any]:
        path = self.booted.path(f"{OUTBOX}/{name}.json")
        eventually(path.exists, timeout_s)
        content: dict[str, Any] = json.loads(path.read_bytes())
        return content

    def journal(self) -> list[dict[str, Any]]:
        lines = self.booted.run("journalctl", "--unit", UNIT, "--output", "json", "--no-pager").splitlines()
        return [json.loads(line) for line in lines]

    def own_lines(self) -> list[dict[str, Any]]:
        """What the worker itself wrote: the events of its log, each with the journal's priority."""
        return [
            {"PRIORITY": entry["PRIORITY"], **json.loads(entry["MESSAGE"])}
            for entry in self.journal()
            if isinstance(entry["MESSAGE"], str) and entry["MESSAGE"].startswith("{")
        ]

    def await_pid_other_than(self, old: str) -> str:
        def fresh() -> str | None:
            pid = self.show("MainPID")
            is_new = pid not in ("0", old) and self.show("ActiveState") == "active"
            return pid if is_new else None

        pid: str = eventually(fresh, START_S)
        return pid

    def names(self, folder: str, pattern: str) -> set[str]:
        below = self.booted.path(folder)
        return {
            str(path.relative_to(below)) for path in below.rglob(pattern) if ".digit-worker" not in str(path)
        }


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("booted")
    booted = Booted(folder, build_wheel(ROOT, folder / "wheel"))
    yield Service(booted)
    booted.close()


@needs_systemd
def test_the_life_of_a_service(service: Service) -> None:
    booted = service.booted
    _install(service)
    _answers_people_of_the_group(service)
    _writes_a_log_that_can_be_searched(service)
    if importlib.util.find_spec("worker.service.changes") is not None:  # written beside this; comes with it
        _takes_over_a_configuration(service)
    _reads_a_flood_with_a_helper(service)
    _survives_a_kill(service)
    _is_restarted_when_it_hangs(service)
    _drains_when_it_is_stopped(service)
    _stays_down_with_a_wrong_configuration(service)
    before = service.names("/srv/digit-worker", "*.png")
    said = booted.run(PROGRAM, "service", "uninstall")
    assert "Left as they are" in said
    assert not booted.path(f"/etc/systemd/system/{UNIT}").exists()
    assert booted.path("/etc/digit-worker/config.yaml").exists()
    assert service.names("/srv/digit-worker", "*.png") == before


def _install(service: Service) -> None:
    booted = service.booted
    # Quick times for the test, as an administrator would set them: by `systemctl edit`.
    edit = booted.path(f"/etc/systemd/system/{UNIT}.d/override.conf")
    edit.parent.mkdir(parents=True)
    edit.write_text("[Service]\nRestartSec=100ms\nWatchdogSec=8\n")
    started_s = time.monotonic()
    said = booted.run(PROGRAM, "service", "install", "--now", timeout_s=START_S)
    assert not [line for line in said.splitlines() if line.startswith("would")]
    print(f"installed and READY after {time.monotonic() - started_s:.1f} s")
    # `systemctl restart` returned, so READY was said; it is said only after the model's self-test.
    assert service.show("ActiveState") == "active"
    assert service.show("StatusText").startswith("idle: 0 answered")
    assert service.show("User") == service.show("Group") == "digit-worker"
    again = booted.run(PROGRAM, "service", "install", "--now")
    assert not [
        line for line in again.splitlines() if line.startswith("done") and "run systemctl" not in line
    ]
    assert service.show("NRestarts") == "0"
    for folder in (INBOX, OUTBOX):
        assert booted.path(folder).stat().st_mode & 0o7777 == 0o2770
    verified = booted.run(
        "sh", "-c", f"systemd-analyze verify --man=no /etc/systemd/system/{UNIT} 2>&1", check=False
    )
    assert [line for line in verified.splitlines() if "digit-worker" in line] == []
    booted.run("systemd-analyze", "security", "--threshold=5", "--no-pager", UNIT)


def _answers_people_of_the_group(service: Service) -> None:
    booted = service.booted
    booted.run("useradd", "--no-create-home", "--groups", "digit-worker", "clerk")
    booted.path("/tmp/4.png").write_bytes(png(4))
    as_clerk = ("runuser", "-u", "clerk", "--", "sh", "-c")
    booted.run(*as_clerk, f"umask 022; mkdir {INBOX}/desk && cp /tmp/4.png {INBOX}/desk/4.png")
    record = service.record("desk/4.png")
    assert (record["status"], record["text"]) == ("read", "4")
    # The folder that the worker made in the outbox is the group's: the clerk can take everything away.
    eventually(booted.path(f"{OUTBOX}/done/desk/4.png").exists)
    booted.run(
        *as_clerk, f"rm {OUTBOX}/desk/4.png.json {OUTBOX}/desk/4.png.annotated.png {OUTBOX}/done/desk/4.png"
    )
    status = booted.run(*as_clerk, f"{PROGRAM} status --config /etc/digit-worker/config.yaml")
    assert status.splitlines()[1].startswith("answered 1: read 1")
    others = ("runuser", "-u", "nobody", "--", "ls", INBOX)
    assert booted.run(*others, check=False) == ""
    eventually(lambda: service.show("StatusText").startswith("idle: 1 answered (1 read"))
    # From the clerk's hands to the record nothing was copied: inbox and outbox are one mount to the service.
    pid = service.show("MainPID")
    mounts = booted.run("cat", f"/proc/{pid}/mountinfo").splitlines()
    assert [line.split()[4] for line in mounts if "/srv/" in line] == ["/srv/digit-worker"]


def _writes_a_log_that_can_be_searched(service: Service) -> None:
    page = cv2.imdecode(np.frombuffer(png(5), np.uint8), cv2.IMREAD_GRAYSCALE)
    assert page is not None
    whole = cv2.imencode(".jpg", page)[1].tobytes()
    part = service.booted.path(INBOX) / "noisy.part"
    part.write_bytes(
        whole[:-2] + b"\0\x11\x22\x33" * 8 + whole[-2:]
    )  # libjpeg complains about the bytes too many
    part.rename(part.with_name("noisy.jpg"))
    assert service.record("noisy.jpg")["text"] == "5"
    pid = service.show("MainPID")
    assert "extraneous bytes" in service.booted.run("cat", f"/proc/{pid}/fd/2")
    lines = service.own_lines()
    by_event = {line["event"]: line for line in lines}
    assert {"starting", "ready", "batch"} <= set(by_event)
    assert by_event["batch"]["PRIORITY"] == "6"
    assert sum(line["event"] == "batch" for line in lines) == 2
    assert not [line for line in lines if line["level"] == "info" and "/" in json.dumps(line)]
    # Nothing but lines of the log came from the worker: no talk of TensorFlow, no warning of libpng.
    strange = [
        entry["MESSAGE"]
        for entry in service.journal()
        if entry.get("_COMM") == "digit-worker" and not str(entry["MESSAGE"]).startswith("{")
    ]
    assert strange == []


def _takes_over_a_configuration(service: Service) -> None:
    config = service.booted.path("/etc/digit-worker/config.yaml")
    pid, before = service.show("MainPID"), config.read_text()
    config.write_text(before.replace("batch_size: 256", "batch_size: 32"))
    service.systemctl("reload", UNIT)
    reloaded = eventually(
        lambda: [line for line in service.own_lines() if line["event"] == "config_reloaded"]
    )
    assert reloaded[-1]["changed"] == ["batch_size"]
    eventually(lambda: service.show("ActiveState") == "active")  # and no longer `reloading`
    service.drop("reloaded.png", 3)
    assert service.record("reloaded.png")["text"] == "3"
    assert (service.show("MainPID"), service.show("NRestarts")) == (pid, "0")


def _reads_a_flood_with_a_helper(service: Service) -> None:
    """All that the unit forbids leaves the worker free to start another process, and to end it with itself."""
    service.systemctl("stop", UNIT)
    for number in range(1500):
        service.drop(f"flood/{number}.png", number % 10, seed=number % 30)
    service.systemctl("start", UNIT)
    eventually(lambda: len(service.names(OUTBOX, "flood/*.json")) == 1500, 120)
    events = [line["event"] for line in service.own_lines()]
    if len(os.sched_getaffinity(0)) > 1:
        assert events.count("helper_started") == 1
    assert not {"helper_not_started", "helper_lost"} & set(events)


def _survives_a_kill(service: Service) -> None:
    names = [f"kill/{number}.png" for number in range(40)]
    pid = service.show("MainPID")
    for number, name in enumerate(names):
        service.drop(name, number % 10, seed=number)
    service.systemctl("kill", "--signal=KILL", "--kill-whom=main", UNIT)
    service.await_pid_other_than(pid)
    for name in names:
        service.record(name, START_S)
    assert service.show("NRestarts") == "1"
    assert service.names(OUTBOX, "kill/*.json") == {f"kill/{number}.png.json" for number in range(40)}
    eventually(lambda: service.names(INBOX, "*.png") == set())


def _is_restarted_when_it_hangs(service: Service) -> None:
    pid = service.show("MainPID")
    service.systemctl("kill", "--signal=STOP", "--kill-whom=main", UNIT)
    service.drop("hung.png", 7)
    service.await_pid_other_than(pid)
    assert service.record("hung.png", START_S)["text"] == "7"
    assert service.show("NRestarts") == "2"
    messages = [str(entry["MESSAGE"]) for entry in service.journal()]
    assert any("Watchdog timeout" in message for message in messages)
    # Where it hung is in the journal, at a priority that is noticed.
    (fatal,) = [
        entry for entry in service.journal() if "Fatal Python error: Aborted" in str(entry["MESSAGE"])
    ]
    assert fatal["PRIORITY"] == "3"


def _drains_when_it_is_stopped(service: Service) -> None:
    names = {f"stop/{number}.png" for number in range(400)}
    for number in range(400):
        service.drop(f"stop/{number}.png", number % 10, seed=number % 30)
    eventually(lambda: service.names(OUTBOX, "stop/*.json"))
    started_s = time.monotonic()
    service.systemctl("stop", UNIT)
    print(f"drained after {time.monotonic() - started_s:.2f} s")
    assert (service.show("Result"), service.show("ExecMainStatus")) == ("success", "0")
    answered = {name.removesuffix(".json") for name in service.names(OUTBOX, "stop/*.json")}
    waiting = service.names(INBOX, "stop/*.png")
    assert answered | waiting == names
    assert answered & waiting == set()
    assert list(service.booted.path(f"{OUTBOX}/.digit-worker/staging").iterdir()) == []
    assert service.own_lines()[-1]["event"] == "stopped"


def _stays_down_with_a_wrong_configuration(service: Service) -> None:
    config = service.booted.path("/etc/digit-worker/config.yaml")
    right = config.read_text()
    config.write_text(right + "\nbatch_sise: 3\n")
    service.systemctl("start", UNIT, check=False)
    eventually(lambda: service.show("ActiveState") == "failed")
    assert service.show("ExecMainStatus") == "2"
    assert "batch_size" in str([entry["MESSAGE"] for entry in service.journal()[-6:]])
    time.sleep(0.5)  # five times RestartSec
    assert service.show("ActiveState") == "failed"
    config.write_text(right)


# --- without systemd: the real program, and a socket that listens ------------------------------------


def test_a_listener_hears_ready_life_and_the_end(folders: Path) -> None:
    address = str(folders / "notify")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(address)
    listener.settimeout(START_S)
    process = subprocess.Popen(
        [sys.executable, "-m", "worker", "run", "--config", str(write_config(folders))],
        env={**os.environ, "PYTHONPATH": str(ROOT), "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "2000000"},
        stderr=subprocess.DEVNULL,
    )
    heard: list[str] = []

    def until(start: str) -> None:
        while not any(word.startswith(start) for word in heard):
            heard.append(listener.recv(4096).decode())

    try:
        until("READY=1")
        assert any(word.startswith("EXTEND_TIMEOUT_USEC=") for word in heard)
        (folders / "inbox" / "4.png").write_bytes(png(4))
        until("STATUS=idle: 1 answered (1 read")
        heard.clear()
        until("WATCHDOG=1")
        process.send_signal(signal.SIGTERM)
        until("STOPPING=1")
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait(10)
        listener.close()


def test_the_wheel_carries_what_the_program_needs_and_runs_from_it_alone(tmp_path: Path) -> None:
    import zipfile

    wheel = build_wheel(ROOT, tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    shipped = "worker/shipped"
    for name in (
        "worker/service/units/system.service", "worker/service/units/user.service", f"{shipped}/config.yaml",
        f"{shipped}/record.schema.json", f"{shipped}/models/digits/card.json",
        f"{shipped}/models/digits/model.keras", "worker/py.typed",
    ):  # fmt: skip
        assert name in inside, name
    assert not [name for name in inside if name.endswith((".png", ".pyc")) or name.startswith("tests")]
    for name in ("models/digits/model.keras", "config.yaml"):
        assert (tmp_path / "site" / shipped / name).read_bytes() == (ROOT / name).read_bytes()
    # Nothing of the checkout is in reach, and no configuration: what ships is enough to read a picture.
    (tmp_path / "4.png").write_bytes(png(4))
    shutil.rmtree(tmp_path / "wheel")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "worker", "predict", "4.png"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True, text=True, timeout=180, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["text"] == "4"

"""The commands beside `run`, as a user types them."""

from __future__ import annotations

import csv
import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, png, run_cli, write_config

# What any program pays whose configuration pydantic checks: half of what the commands may take, on any machine.
YARDSTICK = "import yaml, pydantic\nclass One(pydantic.BaseModel):\n    key: int = 0"


@pytest.mark.parametrize("arguments", [("--help",), ("schema",), ("status",)])
def test_what_needs_no_model_answers_at_once(folders: Path, arguments: tuple[str, ...]) -> None:
    """Processor time, since the clock of a busy machine tells of others; a slowed machine slows the yardstick, too."""
    seconds: dict[str, list[float]] = {"command": [], "yardstick": []}
    for _ in range(5):
        with _processor_time(seconds["yardstick"]):
            subprocess.run([sys.executable, "-c", YARDSTICK], check=True)
        with _processor_time(seconds["command"]):
            run_cli(*arguments, cwd=folders)
    assert min(seconds["command"]) < max(0.3, 2 * min(seconds["yardstick"])), seconds


@contextmanager
def _processor_time(seconds: list[float]) -> Iterator[None]:
    """Append what the child that ran in here took of a processor, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    yield
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


@pytest.mark.parametrize("module", ["tensorflow", "keras", "cv2"])
def test_the_quick_commands_import_nothing_heavy(module: str) -> None:
    code = (
        "import sys; from worker.cli import build_parser; import worker.service.health, worker.delivery.records;"
        f"build_parser(); sys.exit({module!r} in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


@pytest.mark.parametrize("command", ["schema", "--help"])
def test_a_reader_that_has_gone_away_is_no_trouble(command: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    buffered = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    ended = subprocess.run(
        [sys.executable, "-m", "worker", command],
        cwd=ROOT, env=buffered, stdout=writing, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("arguments", "redirection", "code"),
    [
        ("schema", ">/dev/full", 1),
        ("schema", ">&-", 0),
        ("run --config /nowhere.yaml", "2>/dev/full", 2),
        ("run --config /nowhere.yaml", "2>&-", 2),
        ("nonsense", "2>/dev/full", 2),
    ],
)
def test_a_full_or_closed_output_keeps_the_exit_code_true(
    arguments: str, redirection: str, code: int
) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" -m worker {arguments} {redirection}', sys.executable],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == code
    assert "bug" not in done.stderr
    assert ("No space left" in done.stderr) == (redirection == ">/dev/full")


def test_predict_reads_folders_and_files_and_moves_nothing(folders: Path) -> None:
    pictures = folders / "pictures"
    (pictures / "sub").mkdir(parents=True)
    (pictures / "b.png").write_bytes(png(5))
    (pictures / "sub" / "a.png").write_bytes(png(2))
    (pictures / ".hidden.png").write_bytes(png(2))
    (pictures / "broken.jpg").write_bytes(b"no picture")
    ended = run_cli("predict", "pictures", "pictures/b.png", "--output", "read", cwd=folders)
    assert ended.returncode == 1
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [(r["source"]["name"], r["status"], r["text"]) for r in records] == [
        ("b.png", "read", "5"),
        ("broken.jpg", "failed", None),
        ("sub/a.png", "read", "2"),
        ("pictures/b.png", "read", "5"),
    ]
    written = sorted(
        str(p.relative_to(folders / "read")) for p in (folders / "read").rglob("*") if p.is_file()
    )
    assert written == [
        "b.png.annotated.png", "b.png.json", "broken.jpg.json", "pictures/b.png.annotated.png", "pictures/b.png.json",
        "sub/a.png.annotated.png", "sub/a.png.json",
    ]  # fmt: skip
    assert (pictures / "b.png").exists()
    only = run_cli("predict", pictures / "b.png", cwd=folders)
    assert only.returncode == 0
    assert json.loads(only.stdout)["source"]["name"] == str(pictures / "b.png")
    assert json.loads(only.stdout)["annotated"] is None
    missing = run_cli("predict", "nowhere.png", cwd=folders)
    assert (missing.returncode, missing.stdout) == (2, "")


def test_export_retry_and_the_second_answer(folders: Path) -> None:
    config = write_config(folders, "incomplete_after_s: 1")
    (folders / "inbox" / "good.png").write_bytes(png(5))
    (folders / "inbox" / "sub").mkdir()
    (folders / "inbox" / "sub" / "=bad.png").write_bytes(b"not a picture")
    assert run_cli("run", "--once", "--config", config).returncode == 1
    table = list(csv.DictReader(io.StringIO(run_cli("export", "--config", config).stdout)))
    assert {row["name"]: row["text"] for row in table} == {"good.png": "5", "sub/=bad.png": ""}
    lines = run_cli("export", "--format", "jsonl", "--config", config).stdout.splitlines()
    assert {json.loads(line)["status"] for line in lines} == {"read", "failed"}
    assert run_cli("export", "--since", "2999-01-01", "--config", config).stdout.count("\n") == 1
    assert run_cli("export", "--since", "soon", "--config", config).returncode == 2
    # What failed goes back, is mended, and is answered anew under its own name.
    assert run_cli("retry", "nothing.png", "--config", config).returncode == 1
    assert "sub/=bad.png" in run_cli("retry", "--config", config).stdout
    assert not (folders / "outbox" / "failed" / "sub" / "=bad.png").exists()
    (folders / "inbox" / "sub" / "=bad.png").write_bytes(png(3))
    assert run_cli("run", "--once", "--config", config).returncode == 0
    assert json.loads((folders / "outbox" / "sub" / "=bad.png.json").read_text())["text"] == "3"


def test_doctor_finds_what_is_wrong_and_says_how_to_mend_it(folders: Path) -> None:
    config = write_config(folders)
    fine = run_cli("doctor", "--config", config)
    assert fine.returncode == 0, fine.stdout
    (folders / "outbox").rmdir()
    broken = run_cli("doctor", "--json", "--config", config)
    assert broken.returncode == 1
    errors = [finding for finding in json.loads(broken.stdout) if finding["level"] == "error"]
    assert any("outbox" in finding["what"] and finding["advice"] for finding in errors)


def test_schema_is_a_json_schema_of_the_record() -> None:
    schema = json.loads(run_cli("schema").stdout)
    assert schema["$schema"].endswith("2020-12/schema")
    assert {"schema_version", "status", "text", "digits", "source", "annotated"} <= set(schema["properties"])


def test_no_command_shows_the_help_and_an_unknown_one_is_refused() -> None:
    assert run_cli().returncode == 2
    assert run_cli("fly").returncode == 2
    assert "predict" in run_cli("--help").stdout

"""In the journal: JSON with priorities and Python's own words; what C libraries print only after a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]

RUN = """
import logging, os, sys, warnings
from worker.logs import configure_logs, get_log
from worker.service.native import native_words_kept_apart
configure_logs("debug", "auto")
with native_words_kept_apart(os.environ) as words:
    {body}
"""


def run(body: str, runtime: Path | None, *, in_journal: bool = True) -> tuple[int, list[str]]:
    """Exit code and stderr lines of a program that does `body` with its stderr in a journal of ours."""
    reading, writing = os.pipe()
    status = os.fstat(writing)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for name in ("JOURNAL_STREAM", "RUNTIME_DIRECTORY"):
        environment.pop(name, None)
    if in_journal:
        environment["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
    if runtime is not None:
        environment["RUNTIME_DIRECTORY"] = str(runtime)
    program = RUN.format(body=body.replace("\n", "\n    "))
    process = subprocess.Popen([sys.executable, "-c", program], stderr=writing, env=environment)
    os.close(writing)
    with os.fdopen(reading, encoding="utf-8") as stream:
        lines = stream.read().splitlines()
    return process.wait(30), lines


def test_each_line_has_the_priority_of_its_level(tmp_path: Path) -> None:
    code, lines = run(
        "log = get_log()\nlog.debug('a')\nlog.info('b')\nlog.warning('c')\nlog.error('d')\n"
        "logging.getLogger('library').warning('e')\nwarnings.warn('f')\n"
        "try: 1 / 0\nexcept ZeroDivisionError: log.exception('g')",
        tmp_path,
    )
    assert code == 0
    assert [line[:3] for line in lines] == ["<7>", "<6>", "<4>", "<3>", "<4>", "<4>", "<3>"]
    events = [json.loads(line[3:]) for line in lines]
    assert [event["event"] for event in events][:5] == ["a", "b", "c", "d", "e"]
    assert "f" in events[5]["event"]
    assert "ZeroDivisionError" in json.dumps(events[6])


def test_elsewhere_lines_are_plain_json_and_nothing_is_turned_aside(tmp_path: Path) -> None:
    code, lines = run("get_log().info('b')\nos.write(2, b'libpng warning\\n')", tmp_path, in_journal=False)
    assert code == 0
    assert json.loads(lines[0])["event"] == "b"
    assert lines[1] == "libpng warning"
    assert list(tmp_path.iterdir()) == []


def test_words_of_c_libraries_stay_out_and_an_orderly_end_forgets_them(tmp_path: Path) -> None:
    for _ in range(2):
        code, lines = run("os.write(2, b'libpng warning\\n')\nget_log().info('still heard')", tmp_path)
        assert code == 0
        assert len(lines) == 1
        assert "still heard" in lines[0]
        assert list(tmp_path.iterdir()) == []


def test_a_crash_shows_where_it_was_and_the_next_start_says_what_c_said_last(tmp_path: Path) -> None:
    code, lines = run("os.write(2, b'free(): invalid pointer \\xff\\n')\nos.abort()", tmp_path)
    assert code == -6
    assert any("Fatal Python error: Aborted" in line for line in lines)
    assert not any("invalid pointer" in line for line in lines)
    code, lines = run("get_log().info('next')", tmp_path)
    assert code == 0
    first = json.loads(lines[0][3:])
    assert first["event"] == "earlier_run_ended_badly"
    assert first["native_words"] == ["free(): invalid pointer \\xff"]
    assert "next" in lines[1]
    _, lines = run("get_log().info('after that')", tmp_path)
    assert len(lines) == 1


def test_a_log_that_is_configured_anew_stays_one_of_the_journal(tmp_path: Path) -> None:
    _, lines = run("configure_logs('info', 'json')\nget_log().error('heard')", tmp_path)
    assert [line[:3] for line in lines] == ["<3>"]


def test_a_bug_s_traceback_is_heard(tmp_path: Path) -> None:
    code, lines = run("raise RuntimeError('surprise')", tmp_path)
    assert code == 1
    assert lines[-1] == "RuntimeError: surprise"


def test_words_do_not_pile_up(tmp_path: Path) -> None:
    code, lines = run(
        "for _ in range(300):\n    os.write(2, b'x' * 999 + b'\\n')\n    words.tidy()\n"
        "    assert os.path.getsize(os.environ['RUNTIME_DIRECTORY'] + '/native.log') < 70_000\n"
        "assert len(words.last_lines()) == 10",
        tmp_path,
    )
    assert (code, lines) == (0, [])


def test_without_a_place_to_keep_them_they_are_dropped(tmp_path: Path) -> None:
    for runtime in (None, tmp_path / "missing"):
        code, lines = run("os.write(2, b'noise\\n')\nwords.tidy()\nget_log().info('heard')", runtime)
        assert code == 0
        assert len(lines) == 1
        assert "heard" in lines[0]

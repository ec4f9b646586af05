"""The documentation says what the code does: every name of a reference page, every link, every command."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.cli import build_parser
from worker.delivery.records import Record, json_schema
from worker.delivery.table import COLUMNS
from worker.errors import ExitCode
from worker.reasons import ReasonCode
from worker.recognition.card import Card
from worker.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAM = ".venv/bin/digit-worker"
LEVELS = {"debug", "info", "warning", "error", "critical"}


def _reference(name: str) -> str:
    return (REFERENCE / name).read_text("utf-8")


def _rows(page: str, columns: int) -> dict[str, list[str]]:
    """The rows of all tables of so many columns, by what stands in their first cell without backticks."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:1] == "|"
    ]
    return {row[0].strip("`"): row for row in cells if len(row) == columns}


def _named(page: str) -> set[str]:
    return set(re.findall(r"`([^`\n]+)`", page))


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page, flags=re.DOTALL | re.MULTILINE)


# --- reference pages ------------------------------------------------------------------------------


@pytest.mark.parametrize("key", Settings.model_fields)
def test_each_key_of_the_configuration_stands_in_its_reference_with_its_default(key: str) -> None:
    row = _rows(_reference("configuration.md"), 4)[key]
    default = Settings.model_fields[key].default
    if default is None:
        assert row[2] == "*not set*"
    elif isinstance(default, tuple):
        assert yaml.safe_load(row[2].strip("`")) == list(default)
    else:
        assert row[2] == f"`{default}`"


def test_the_configuration_reference_names_no_key_that_does_not_exist() -> None:
    assert set(_rows(_reference("configuration.md"), 4)) - {"key", "---"} == set(Settings.model_fields)


def test_the_reason_codes_of_the_reference_are_the_closed_list() -> None:
    assert set(_rows(_reference("reason-codes.md"), 3)) - {"code", "---"} == {
        code.value for code in ReasonCode
    }


def test_the_exit_codes_of_the_reference_are_those_of_the_program() -> None:
    documented = {
        code: row[1] for code, row in _rows(_reference("exit-codes.md"), 4).items() if code.isdigit()
    }
    assert documented == {str(code.value): code.name.lower() for code in ExitCode}


def _schema_names() -> Iterator[str]:
    schema: dict[str, Any] = json_schema()
    for part in (schema, *(schema["$defs"].values())):
        yield from part.get("properties", {})


def test_each_field_of_a_record_stands_in_its_reference() -> None:
    assert set(_schema_names()) - _named(_reference("record.md")) == set()


def test_each_field_of_a_card_stands_in_its_reference() -> None:
    documented = set(_rows(_reference("model-bundle.md"), 2))
    assert set(Card.model_fields) - documented == set()


def test_each_column_of_the_export_stands_in_its_reference() -> None:
    assert set(COLUMNS) - _named(_reference("commands.md")) == set()


# --- commands -------------------------------------------------------------------------------------


def _commands() -> dict[str, argparse.ArgumentParser]:
    (commands,) = (
        action.choices for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction)
    )
    return dict(commands)


def _section(page: str, title: str) -> str:
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", page, flags=re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize("name", _commands())
def test_each_command_has_a_section_that_names_its_options(name: str) -> None:
    page = _reference("commands.md")
    section = _section(page, name)
    assert section, f"no section for {name}"
    options = {
        option
        for action in _commands()[name]._actions
        for option in action.option_strings
        if option.startswith("--") and option not in ("--help", "--config")
    }
    assert {option for option in options if option not in section} == set()


def test_the_table_of_commands_names_them_all_and_no_other() -> None:
    listed = re.findall(r"^\| \[`([a-z]+)`\]", _reference("commands.md"), flags=re.MULTILINE)
    assert set(listed) == set(_commands())


def _shown_command_lines() -> list[tuple[str, str]]:
    return [
        (str(page.relative_to(ROOT)), command.split(" | ")[0].split(" > ")[0].strip())
        for page in PAGES
        for block in _blocks(page.read_text("utf-8"), "sh")
        for line in block.splitlines()
        for command in line.split(" && ")
        if command.startswith((PROGRAM, "digit-worker "))
    ]


@pytest.mark.parametrize(("page", "line"), _shown_command_lines())
def test_each_command_line_that_is_shown_is_understood(page: str, line: str) -> None:
    try:
        options = build_parser().parse_args(shlex.split(line)[1:])
    except SystemExit:
        pytest.fail(f"{page} shows {line!r}, which the program refuses")
    assert hasattr(options, "command")


def test_each_make_target_that_is_shown_exists() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
    shown = {
        target
        for page in PAGES
        for target in re.findall(
            r"^(?:.* && |.*`)?make ([a-z]+)\b", page.read_text("utf-8"), flags=re.MULTILINE
        )
    }
    assert {"run", "test", "demo"} <= shown
    assert shown <= targets


# --- log events -----------------------------------------------------------------------------------


def _logged() -> Iterator[tuple[str, str, set[str]]]:
    """Event, level and the fields that are written out, of each call of a logger in the program."""
    for path in sorted((ROOT / "worker").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            receiver, event = ast.unparse(node.func.value), node.args[0]
            is_logger = receiver in ("get_log()", "log") or receiver.endswith("_log")
            if is_logger and node.func.attr in LEVELS | {"exception"}:
                assert isinstance(event, ast.Constant), f"{path}: an event must be a plain name"
                level = "error" if node.func.attr == "exception" else node.func.attr
                yield str(event.value), level, {word.arg for word in node.keywords if word.arg}


def test_each_log_event_stands_in_its_reference_with_level_and_fields() -> None:
    documented = _rows(_reference("log-events.md"), 4)
    logged = list(_logged())
    assert logged, "no event was found: has the way of logging changed?"
    for event, level, fields in logged:
        assert event in documented, f"{event} is not in log-events.md"
        _, levels, named, _ = documented[event]
        assert level in levels, f"{event} has the level {level}"
        assert fields <= _named(named), f"{event} has the fields {sorted(fields)}"


def test_no_log_event_is_documented_that_is_never_written() -> None:
    documented = set(_rows(_reference("log-events.md"), 4)) - {"event", "---"}
    assert documented == {event for event, _, _ in _logged()}


# --- links and examples ---------------------------------------------------------------------------


def _anchors(page: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", page, flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_between_pages_leads_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert ROOT in target.parents, f"{link} leads out of the project"
        if anchor:
            assert anchor in _anchors(target.read_text("utf-8")), f"{link} names no heading"


def test_each_page_is_reached_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    decisions = ROOT / "docs" / "decisions"
    assert "(docs/decisions/)" in readme
    for page in PAGES[1:]:
        if page.parent != decisions:
            assert f"({page.relative_to(ROOT)})" in readme


def test_the_record_in_the_readme_is_one_as_the_worker_writes_it() -> None:
    (shown,) = _blocks((ROOT / "README.md").read_text("utf-8"), "json")
    assert Record.from_json_bytes(shown.encode()).to_json_bytes().decode() == shown


def test_each_configuration_that_is_shown_uses_keys_that_exist() -> None:
    shown = [yaml.safe_load(block) for page in PAGES for block in _blocks(page.read_text("utf-8"), "yaml")]
    assert shown
    for keys in shown:
        assert set(keys) <= set(Settings.model_fields)

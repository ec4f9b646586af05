"""What is packed is there, and says what the program says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from worker.delivery.records import json_schema
from worker.settings import load_settings
from worker.shipped import CONFIGURATION, MODEL, shipped_folder

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "packaging" / "Dockerfile").read_text("utf-8")


def test_the_schema_that_ships_is_the_program_s() -> None:
    shipped = json.loads((ROOT / "docs/reference/record.schema.json").read_text("utf-8"))
    assert shipped == json_schema(), "write it anew: digit-worker schema > docs/reference/record.schema.json"


def test_a_checkout_ships_what_lies_at_its_root() -> None:
    assert shipped_folder() == ROOT
    assert (shipped_folder() / CONFIGURATION).is_file()
    assert (shipped_folder() / MODEL / "card.json").is_file()


def test_an_installed_package_ships_what_was_laid_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "worker" / "shipped").mkdir(parents=True)
    monkeypatch.setattr("worker.shipped.__file__", str(tmp_path / "worker" / "shipped.py"))
    assert shipped_folder() == tmp_path / "worker" / "shipped"


def test_a_model_that_is_not_named_is_the_one_beside_the_file_or_the_one_that_ships(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("inbox: in\noutbox: out\n")
    assert load_settings(config, {}).model == shipped_folder() / MODEL
    (tmp_path / "models" / "digits").mkdir(parents=True)
    assert load_settings(config, {}).model == tmp_path / "models" / "digits"


def test_a_model_that_is_named_is_never_replaced(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("inbox: in\noutbox: out\nmodel: models/digits\n")
    assert load_settings(config, {}).model == tmp_path / "models" / "digits"
    config.write_text("inbox: in\noutbox: out\n")
    assert load_settings(config, {"DIGIT_WORKER_MODEL": "/m"}).model == Path("/m")


def _copied() -> list[str]:
    lines = [line.split()[1:-1] for line in DOCKERFILE.splitlines() if line.startswith("COPY ")]
    return [word for words in lines for word in words if not word.startswith(("--from", "/"))]


def test_the_image_is_made_of_what_there_is_and_of_the_lock() -> None:
    assert "requirements.lock" in _copied()
    assert [name for name in _copied() if not (ROOT / name).exists()] == []
    assert "--require-hashes -r requirements.lock" in DOCKERFILE
    # What the build step lays into the wheel must be in the image's build, too.
    build = (ROOT / "setup.py").read_text("utf-8")
    shipped = re.findall(r'"([^"]+)"', re.search(r"^SHIPPED = \((.*)\)", build, re.MULTILINE)[1])  # type: ignore[index]
    assert len(shipped) == 3
    assert set(shipped) <= set(_copied())


def test_the_image_s_configuration_is_a_complete_one() -> None:
    settings = load_settings(ROOT / "packaging" / "container.yaml", {})
    assert settings.inbox.parent == settings.outbox.parent == Path("/data")
    assert "VOLUME /data\n" in DOCKERFILE

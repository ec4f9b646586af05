"""A model that is not to be trusted ends `run` with 3 and a sentence, before anything is read."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.conftest import ROOT, png, run_cli
from worker.recognition.card import MAX_MODEL_BYTES

SHIPPED = ROOT / "models" / "digits"


def _config_with(path: Path, change: Callable[[str], str]) -> None:
    """Change config.json inside a model file, everything else as it was."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members["config.json"] = change(members["config.json"].decode()).encode()
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)


def _flip_a_byte(bundle: Path) -> None:
    content = bytearray((bundle / "model.keras").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "model.keras").write_bytes(content)


def _cut(bundle: Path) -> None:
    content = (bundle / "model.keras").read_bytes()
    (bundle / "model.keras").write_bytes(content[: len(content) // 2])


def _swap(bundle: Path) -> None:
    _config_with(bundle / "model.keras", lambda config: config + " ")


def _make_too_large(bundle: Path) -> None:
    with (bundle / "model.keras").open("r+b") as file:
        file.truncate(MAX_MODEL_BYTES + 1)


def _smuggle_a_lambda(bundle: Path) -> None:
    """Without the card, so that nothing but the allow-list stands in the way."""
    (bundle / "card.json").unlink()
    _config_with(bundle / "model.keras", lambda config: config.replace('"Dropout"', '"Lambda"', 1))
    with zipfile.ZipFile(bundle / "model.keras") as archive:
        assert '"Lambda"' in archive.read("config.json").decode()
    shutil.copy(bundle / "model.keras", bundle.parent / "bare.keras")


def _damage_the_card(bundle: Path) -> None:
    card = json.loads((bundle / "card.json").read_text())
    card["temperature"] = "hot"
    (bundle / "card.json").write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_flip_a_byte, "damaged or swapped"),
        (_cut, "damaged or swapped"),
        (_swap, "damaged or swapped"),
        (_make_too_large, "large"),
        (_smuggle_a_lambda, "Lambda"),
        (_damage_the_card, "temperature"),
    ],
)
def test_a_model_that_is_not_to_be_trusted_ends_with_3_and_says_why(
    folders: Path, harm: Callable[[Path], None], said: str
) -> None:
    bundle = folders / "model"
    shutil.copytree(SHIPPED, bundle)
    harm(bundle)
    bare = folders / "bare.keras"
    model = bare if bare.exists() else bundle
    (folders / "config.yaml").write_text(f"inbox: inbox\noutbox: outbox\nmodel: {model}\n")
    (folders / "inbox" / "a.png").write_bytes(png(4))
    ended = run_cli("run", "--once", "--config", folders / "config.yaml")
    assert ended.returncode == 3, ended.stderr
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert (folders / "inbox" / "a.png").exists()
    assert list((folders / "outbox").glob("*.json")) == []

"""What ships with the program beside its code: the default configuration, the model, the records' schema."""

from __future__ import annotations

from pathlib import Path

CONFIGURATION = "config.yaml"
MODEL = "models/digits"


def shipped_folder() -> Path:
    """The folder that holds them: inside the installed package, or the checkout that the code lies in."""
    package = Path(__file__).resolve().parent
    inside = package / "shipped"  # put there when a wheel is built, see setup.py
    return inside if inside.is_dir() else package.parent

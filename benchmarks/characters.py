"""Handwritten characters that are no digits, of alphabets that training leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.ink import DataError
from benchmarks.paper import Picture

# Two of the five, chosen once by default_rng(7).choice and then written down: what is held out may not
# depend on the seed of a run, since the training has to leave out the same ones.
HELD_OUT = ("Korean", "Latin")
LOOK_ALIKES = Path(__file__).with_name("look_alikes.txt")


@dataclass(frozen=True, slots=True, eq=False)
class Characters:
    """Characters of some alphabets: `images` uint8 (n, h, w), dark on light; `names` ALPHABET/characterNN."""

    images: npt.NDArray[np.uint8]
    names: tuple[str, ...]


def load_characters(path: Path, alphabets: tuple[str, ...] = HELD_OUT) -> Characters:
    """Load the characters of `alphabets`; DataError when the file cannot be read or lacks one of them."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            images, names = archive["images"], [str(name) for name in archive["alphabet"]]
    except (OSError, ValueError, KeyError) as cause:
        raise DataError(f"{path}: no characters with images and alphabet ({cause}).") from cause
    there = {name.split("/")[0] for name in names}
    if missing := sorted(set(alphabets) - there):
        raise DataError(f"{path}: no alphabet {', '.join(missing)}; it holds {', '.join(sorted(there))}.")
    kept = [i for i, name in enumerate(names) if name.split("/")[0] in alphabets]
    return Characters(images[kept], tuple(names[i] for i in kept))


def load_look_alikes(path: Path = LOOK_ALIKES) -> dict[str, str]:
    """Characters that are shaped like a digit, each with the reason; lines NAME REASON, `#` comments."""
    lines = (line.strip() for line in path.read_text(encoding="utf-8").splitlines())
    pairs = (line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def draw_character(image: npt.NDArray[np.uint8], name: str, rng: np.random.Generator) -> Picture:
    """The character at one to two times its size on a plain light page; its label is `character`."""
    side_px = round(image.shape[0] * rng.uniform(1.0, 2.0))
    share = (
        cv2.resize(255 - image, (side_px, side_px), interpolation=cv2.INTER_LINEAR).astype(np.float32) / 255
    )
    margin_px = int(rng.integers(5, 40))
    paper, ink = rng.uniform(230, 255), rng.uniform(0, 80)
    page = np.full((side_px + 2 * margin_px, side_px + 2 * margin_px), paper, np.float32)
    page[margin_px : margin_px + side_px, margin_px : margin_px + side_px] -= (paper - ink) * share
    alphabet = name.split("/", maxsplit=1)[0]
    return Picture("character", alphabet, np.rint(page).astype(np.uint8), None, {"character": name})

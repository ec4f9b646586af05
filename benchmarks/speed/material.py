"""The pictures to be read: tiles, scans and pages, drawn by the project's own pen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from worker.training.pen import draw_scan

Grey = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of work: how many different pictures are drawn, and repeated under other names."""

    name: str
    different: int


TILES = Kind("tiles", 200)
SCANS = Kind("scans", 60)
PAGES = Kind("pages", 12)
KINDS = {kind.name: kind for kind in (TILES, SCANS, PAGES)}


def draw(kind: Kind, index: int) -> tuple[bytes, str]:
    """Picture number `index` of a kind: its bytes and the ending of its name; the same every time."""
    rng = np.random.default_rng([len(kind.name), index])
    digit = index % 10
    if kind is TILES:
        small = draw_scan(digit, rng, height_px=80, pen_px=9, paper=255, ink=10, noise=0.0)
        return _png(_fitted(small, 28, 28, 255)), ".png"
    if kind is SCANS:
        page = _on_paper(draw_scan(digit, rng, height_px=150, paper=245, ink=35, noise=0.0), 300, 300, rng)
        return (_png(page), ".png") if index % 2 else (_jpeg(page), ".jpg")
    page = _on_paper(draw_scan(digit, rng, height_px=220, paper=245, ink=35, noise=0.0), 1240, 1754, rng)
    return _jpeg(page), ".jpg"


def fill(folder: Path, kind: Kind, count: int, prefix: str = "") -> list[str]:
    """Write `count` pictures into `folder` (made if need be); returns their names in order."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [draw(kind, index) for index in range(min(count, kind.different))]
    names = []
    for index in range(count):
        data, ending = drawn[index % len(drawn)]
        name = f"{prefix}{kind.name}-{index:06}{ending}"
        descriptor = os.open(folder / name, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o644)
        os.write(descriptor, data)
        os.close(descriptor)
        names.append(name)
    return names


def _fitted(picture: Grey, width: int, height: int, paper: int) -> Grey:
    """The picture at the middle of a page of this size, made smaller where it would not fit."""
    scale = min(1.0, width / picture.shape[1], height / picture.shape[0])
    if scale < 1:
        size = (max(1, int(picture.shape[1] * scale)), max(1, int(picture.shape[0] * scale)))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    page = np.full((height, width), paper, np.uint8)
    top, left = (height - picture.shape[0]) // 2, (width - picture.shape[1]) // 2
    page[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return page


def _on_paper(picture: Grey, width: int, height: int, rng: np.random.Generator) -> Grey:
    """A scanned page: the grain of a sensor on all of it."""
    page = _fitted(picture, width, height, 245).astype(np.float32)
    page += rng.normal(0.0, 2.0, page.shape).astype(np.float32)
    return np.clip(np.round(page), 0, 255).astype(np.uint8)


def _png(page: Grey) -> bytes:
    return cv2.imencode(".png", page)[1].tobytes()


def _jpeg(page: Grey) -> bytes:
    return cv2.imencode(".jpg", page, (cv2.IMWRITE_JPEG_QUALITY, 90))[1].tobytes()

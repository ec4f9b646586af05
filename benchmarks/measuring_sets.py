"""Writes the measuring sets: folders of picture files, each with a labels.csv that `evaluate` reads.

What makes them shares no code and no parameter with what trains the models. All is drawn from one seed:
the same seed and the same library versions give the same bytes.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.bad_input import STYLES as BAD_STYLES
from benchmarks.bad_input import draw_bad_input
from benchmarks.beside import STYLES as BESIDE_STYLES
from benchmarks.beside import draw_beside
from benchmarks.characters import Characters, draw_character, load_characters, load_look_alikes
from benchmarks.circled import STYLES as CIRCLED_STYLES
from benchmarks.circled import draw_circled
from benchmarks.cropped import STYLES as CROPPED_STYLES
from benchmarks.cropped import draw_cropped
from benchmarks.dates import STYLES as DATE_STYLES
from benchmarks.dates import draw_date
from benchmarks.fields import BOX_STYLES, draw_boxes, draw_fields
from benchmarks.fields import STYLES as FIELD_STYLES
from benchmarks.forms import STYLES as FORM_STYLES
from benchmarks.forms import draw_form
from benchmarks.ink import DataError, TestDigits, load_test_digits
from benchmarks.labelled import STYLES as LABELLED_STYLES
from benchmarks.labelled import draw_labelled
from benchmarks.nothing import STYLES as NOTHING_STYLES
from benchmarks.nothing import draw_nothing
from benchmarks.pages import LEVELS, draw_page
from benchmarks.paper import Picture
from benchmarks.pieces import HALVES, draw_half, draw_two
from benchmarks.rows import PENS, draw_rows
from benchmarks.strings import DEEP, draw_string
from benchmarks.strings import STYLES as STRING_STYLES
from benchmarks.struck import STYLES as STRUCK_STYLES
from benchmarks.struck import draw_struck
from benchmarks.surroundings import SLIP_STYLES, draw_slip, draw_surrounded
from benchmarks.surroundings import STYLES as SURROUNDINGS
from benchmarks.uneven import STYLES as UNEVEN_STYLES
from benchmarks.uneven import draw_uneven

PAGES, NOTHING, PIECES_OF_A_KIND, STRINGS_OF_A_STYLE = 2000, 600, 1000, 300
ROW_PAGES, FORMS, FIELDS, BOXES, DATES, CIRCLED = 60, 150, 600, 400, 300, 400
BAD_INPUTS, SURROUNDED, SLIPS, STRUCK, BESIDE, UNEVEN, LABELLED = 50, 1600, 200, 200, 400, 600, 450
CROPPED = 400


@dataclass(frozen=True, slots=True)
class MeasuringSet:
    """A set to be: `draw(i, rng)` draws its picture number i of `count`, from that generator alone."""

    name: str
    count: int
    draw: Callable[[int, np.random.Generator], Picture]

    def pictures(self, seed: int) -> Iterator[Picture]:
        """Draw all of it, in order; a picture does not depend on how many others there are."""
        tag = zlib.crc32(self.name.encode())
        for i in range(self.count):
            yield self.draw(i, np.random.default_rng((seed, tag, i)))


def plan_sets(
    digits: TestDigits, characters: Characters | None, seed: int, most: int | None = None
) -> list[MeasuringSet]:
    """All sets, each with at most `most` pictures."""

    def capped(count: int) -> int:
        return count if most is None else min(count, most)

    order = np.random.default_rng(seed).permutation(len(digits.labels))

    def styled(
        name: str,
        count: int,
        draw: Callable[[TestDigits, str, np.random.Generator], Picture],
        styles: Sequence[str],
    ) -> MeasuringSet:
        """The set `name`, whose pictures take turns among `styles`."""
        return MeasuringSet(name, capped(count), lambda i, rng: draw(digits, styles[i % len(styles)], rng))

    # The levels show the same digits, so that what tells them apart is the damage alone.
    def page_at(level: str) -> Callable[[int, np.random.Generator], Picture]:
        return lambda i, rng: draw_page(digits, int(order[i]), level, i, rng)

    def piece(i: int, rng: np.random.Generator) -> Picture:
        return draw_half(digits, HALVES[i // 2 % len(HALVES)], rng) if i % 2 == 0 else draw_two(digits, rng)

    sets = [
        MeasuringSet(f"pages-{level}", capped(min(PAGES, len(order))), page_at(level)) for level in LEVELS
    ]
    sets += [
        MeasuringSet(
            "nothing-to-read",
            capped(NOTHING),
            lambda i, rng: draw_nothing(NOTHING_STYLES[i % len(NOTHING_STYLES)], rng),
        ),
        MeasuringSet("pieces", capped(2 * PIECES_OF_A_KIND), piece),
        styled("strings", len(STRING_STYLES) * STRINGS_OF_A_STYLE, draw_string, STRING_STYLES),
        MeasuringSet(
            f"strings-{DEEP}", capped(STRINGS_OF_A_STYLE), lambda i, rng: draw_string(digits, DEEP, rng)
        ),
        styled("rows", ROW_PAGES, draw_rows, PENS),
        styled("forms", FORMS, draw_form, FORM_STYLES),
        styled("fields", FIELDS, draw_fields, FIELD_STYLES),
        styled("boxes", BOXES, draw_boxes, BOX_STYLES),
        styled("dates", DATES, draw_date, DATE_STYLES),
        styled("circled", CIRCLED, draw_circled, CIRCLED_STYLES),
        styled("surroundings", SURROUNDED, draw_surrounded, SURROUNDINGS),
        styled("struck", STRUCK, draw_struck, STRUCK_STYLES),
        styled("beside", BESIDE, draw_beside, BESIDE_STYLES),
        styled("uneven", UNEVEN, draw_uneven, UNEVEN_STYLES),
        styled("labelled", LABELLED, draw_labelled, LABELLED_STYLES),
        styled("cropped", CROPPED, draw_cropped, CROPPED_STYLES),
        styled("slips", SLIPS, draw_slip, SLIP_STYLES),
        MeasuringSet(
            "bad-input",
            capped(BAD_INPUTS),
            lambda i, rng: draw_bad_input(BAD_STYLES[i % len(BAD_STYLES)], rng),
        ),
    ]
    if characters is not None:
        sets += _plan_characters(characters, seed, capped)
    return sets


def write_set(measuring_set: MeasuringSet, seed: int, folder: Path) -> int:
    """Write the set below `folder`, which must not exist, and say how many pictures it has.

    `images/NNNN.png` or `.jpg`, then `labels.csv` with file, label, style and what else the set knows.
    """
    (folder / "images").mkdir(parents=True)
    rows = []
    for i, picture in enumerate(measuring_set.pictures(seed)):
        name = f"{i:04d}.{'png' if picture.jpeg_quality is None else 'jpg'}"
        (folder / "images" / name).write_bytes(encode(picture))
        rows.append({"file": name, "label": picture.label, "style": picture.style, **picture.notes})
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else ["file", "label", "style"])
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def encode(picture: Picture) -> bytes:
    """The picture as the bytes of a PNG or JPEG file."""
    if picture.jpeg_quality is None:
        # Level 1: these files are many, noisy and short-lived.
        done, data = cv2.imencode(".png", picture.image, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    else:
        done, data = cv2.imencode(".jpg", picture.image, [cv2.IMWRITE_JPEG_QUALITY, picture.jpeg_quality])
    if not done:
        raise DataError("A picture could not be encoded.")
    return data.tobytes()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the sets; 0 when all are there, 2 when the data or the output folder will not do."""
    options = _parse(arguments)
    try:
        digits = load_test_digits(options.data)
        characters = None if options.characters is None else load_characters(options.characters)
        sets = plan_sets(digits, characters, options.seed, options.count)
        _need_room(options.output, sets)
        for each in sets:
            start_s = time.monotonic()
            count = write_set(each, options.seed, options.output / each.name)
            print(f"{each.name:34} {count:5d} pictures  {time.monotonic() - start_s:5.1f} s", flush=True)
    except (DataError, OSError) as cause:
        print(f"measuring_sets: {cause}", file=sys.stderr)
        return 2
    return 0


def _plan_characters(characters: Characters, seed: int, capped: Callable[[int], int]) -> list[MeasuringSet]:
    look_alikes = load_look_alikes()
    order = [int(i) for i in np.random.default_rng(seed).permutation(len(characters.names))]
    plain = [i for i in order if characters.names[i] not in look_alikes]

    def character_of(chosen: list[int]) -> Callable[[int, np.random.Generator], Picture]:
        return lambda i, rng: draw_character(characters.images[chosen[i]], characters.names[chosen[i]], rng)

    return [
        MeasuringSet("characters", capped(len(order)), character_of(order)),
        MeasuringSet("characters-without-look-alikes", capped(len(plain)), character_of(plain)),
    ]


def _need_room(output: Path, sets: list[MeasuringSet]) -> None:
    """Refuse to mix new pictures with old ones."""
    if held := [each.name for each in sets if (output / each.name).exists()]:
        raise DataError(f"{output} holds {', '.join(held)} already: remove them, or name another folder.")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.measuring_sets", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="MNIST as .npz in Keras' layout")
    parser.add_argument("--characters", type=Path, help="characters that are no digits, as .npz")
    parser.add_argument("--output", type=Path, required=True, help="the folder that gets one folder a set")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--count", type=int, help="at most so many pictures a set (for a quick look)")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

"""The values that travel through the vision wing; free of OpenCV, so that other wings may know them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Grey = npt.NDArray[np.uint8]
TILE_PX = 28  # the side of an MNIST tile


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels of the page as a person sees it (after EXIF orientation)."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column right of the box."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row below the box."""
        return self.y + self.height

    def is_centred_in(self, other: Box) -> bool:
        """Whether the middle of this box lies in the other."""
        x, y = self.x + self.width / 2, self.y + self.height / 2
        return other.x <= x <= other.right and other.y <= y <= other.bottom


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """A decoded picture: `grey` is uint8 of shape (height, width), 0 black to 255 white.

    Colour has been reduced to the grey in which ink stands out best; alpha lies on white.
    """

    grey: Grey

    @property
    def width(self) -> int:
        """Columns."""
        return int(self.grey.shape[1])

    @property
    def height(self) -> int:
        """Rows."""
        return int(self.grey.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """What the classifier sees of one mark, and where on the page it came from.

    `pixels` is float32 of shape (28, 28) in [0, 1], ink bright on 0, as MNIST holds it.
    """

    pixels: npt.NDArray[np.float32]
    box: Box

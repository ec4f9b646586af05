"""MNIST, from a file or from Keras' download, checked before anything is trained on it."""

from __future__ import annotations

import hashlib
import socket
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from worker.errors import UsageError
from worker.vision.page import TILE_PX

VALIDATION_TILES = 5_000
DOWNLOAD_TIMEOUT_S = 30.0  # without a byte

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Tiles with what they show: `pixels` uint8 (n, 28, 28), ink bright on 0; `labels` int32 (n,), 0 to 9."""

    pixels: Pixels
    labels: Labels

    def __len__(self) -> int:
        return len(self.labels)

    def tiles(self) -> npt.NDArray[np.float32]:
        """The pixels as the classifier sees them: float32 (n, 28, 28) in [0, 1]."""
        return self.pixels.astype(np.float32) / np.float32(255)

    def at(self, index: npt.NDArray[np.intp]) -> Examples:
        """The examples at these places."""
        return Examples(self.pixels[index], self.labels[index])


@dataclass(frozen=True, slots=True, eq=False)
class Mnist:
    """Both parts of MNIST, and a sentence part that says where they came from, for a model's card."""

    train: Examples
    test: Examples
    source: str


def load_mnist(path: Path | None = None) -> Mnist:
    """MNIST from an `.npz` in Keras' layout, or from Keras' own download where `path` is None.

    UsageError where the file is missing or holds something else, or where nothing can be downloaded.
    """
    if path is None:
        return _download()
    try:
        with np.load(path, allow_pickle=False) as arrays:
            train = _examples(arrays["x_train"], arrays["y_train"])
            test = _examples(arrays["x_test"], arrays["y_test"])
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror or error}. Name an mnist.npz.") from error
    except (ValueError, KeyError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"{path} is not MNIST in Keras' layout ({error}): x_train, y_train, x_test and y_test, uint8,"
            " tiles of 28 by 28."
        ) from error
    return Mnist(train, test, _source(path.name, train))


def _source(name: str, train: Examples) -> str:
    """Where the data came from, with the digest of what is learned from, however it was packed."""
    digest = hashlib.sha256(train.pixels.tobytes() + train.labels.astype(np.uint8).tobytes()).hexdigest()
    return f"{name} (images sha256 {digest[:16]})"


def split_validation(train: Examples, seed: int, count: int = VALIDATION_TILES) -> tuple[Examples, Examples]:
    """The training part without `count` examples drawn by `seed`, and these: the validation part."""
    if not 0 < count < len(train):
        raise ValueError(f"{count} of {len(train)} examples cannot be held out")
    order = np.random.default_rng(seed).permutation(len(train))
    return train.at(order[count:]), train.at(order[:count])


def _examples(pixels: npt.NDArray[np.generic], labels: npt.NDArray[np.generic]) -> Examples:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[1:] != (TILE_PX, TILE_PX):
        raise ValueError(f"tiles are {pixels.dtype} {pixels.shape}")
    if not len(pixels) or labels.shape != (len(pixels),) or not np.isin(labels, np.arange(10)).all():
        raise ValueError(f"{labels.shape} labels, not one digit a tile")
    return Examples(pixels.astype(np.uint8), labels.astype(np.int32))


@contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _download() -> Mnist:
    import keras

    try:
        with _socket_timeout(DOWNLOAD_TIMEOUT_S):
            train, test = keras.datasets.mnist.load_data()
    except Exception as error:  # urllib, ssl and Keras' own bare Exception: all mean that it did not come
        raise UsageError(
            f"MNIST could not be downloaded ({error}). Fetch mnist.npz where there is a network and name it:"
            " --data FILE (make: DATA=FILE)."
        ) from error
    learn = _examples(*train)
    return Mnist(learn, _examples(*test), _source("keras.datasets.mnist", learn))

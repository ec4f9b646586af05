"""Model bundles: `models/NAME` with model.keras and card.json, verified before any of it is run."""

from __future__ import annotations

import base64
import contextlib
import ctypes
import fcntl
import hashlib
import os
import platform
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from worker import __version__
from worker.errors import ModelError, UsageError, WorldError
from worker.logs import get_log
from worker.recognition.card import (
    CARD_FILE,
    DIGIT_LABELS,
    LITERT_FILE,
    MAX_MODEL_BYTES,
    MODEL_FILE,
    TRANSCRIBER_FILE,
    TRANSCRIBER_LITERT_FILE,
    Card,
    ChosenThresholds,
    LiteRtForm,
    Logits,
    SelfTest,
    TrainingRun,
    TranscriberPart,
    card_bytes,
    read_bounded,
    read_card,
    write_synced,
)
from worker.recognition.frames import FRAME_LABELS, FRAMES_OF_WINDOW, WINDOW_SHAPE
from worker.recognition.inspection import Architecture, inspect_archive
from worker.recognition.layers import Shape
from worker.recognition.quiet import quiet_tensorflow
from worker.vision.page import TILE_PX

SELF_TEST_TILES = 16
TRANSCRIBER_QUESTIONS = 4  # windows
OWN_FILES = {MODEL_FILE, CARD_FILE, LITERT_FILE, TRANSCRIBER_FILE, TRANSCRIBER_LITERT_FILE}
COPY_PREFIX = "digit-worker-model-"
FORGOTTEN_AFTER_S = 3600.0  # loading takes seconds: who was that long at it was killed
SMALLEST_PROBABILITY = 1e-30  # softmax outputs are clipped here before their logarithm is taken


@dataclass(frozen=True, slots=True)
class Network:
    """One network of a bundle, verified and not yet loaded: the bytes of its `.keras` file, and its LiteRT form.

    `path` is the bundle's folder, or the bare file.
    """

    path: Path
    architecture: Architecture
    content: bytes = field(repr=False)
    form: LiteRtForm | None = None
    litert_file: str = LITERT_FILE

    def read_litert_form(self) -> bytes:
        """The content of the LiteRT form, verified against the card; ModelError where there is none or another."""
        if self.form is None:
            how = (
                f"digit-worker convert {self.path}"
                if os.path.isdir(self.path)
                else f"digit-worker convert {self.path} --output DIR, then `model: DIR`"
            )
            raise ModelError(
                f"{self.path} holds no {self.litert_file}, which `engine: litert` needs. Make it: {how}"
            )
        content = read_bounded(self.path / self.litert_file, MAX_MODEL_BYTES)
        if hashlib.sha256(content).hexdigest() != self.form.sha256:
            raise ModelError(
                f"{self.path / self.litert_file} is not the file that {CARD_FILE} describes (its SHA-256"
                f" differs): it was damaged or swapped. Make it anew: digit-worker convert {self.path}"
            )
        return content

    def load(self) -> Any:
        """The Keras model, made from the very bytes that were verified; imports Keras."""
        import keras

        # Keras loads from a path alone. The file of the bundle may be another one by now; this copy, in a
        # folder that only this user may enter, is not.
        with contextlib.ExitStack() as stack:
            try:
                _remove_forgotten_copies()
                folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=COPY_PREFIX))
                stack.enter_context(_held(Path(folder)))
                copy = Path(folder, MODEL_FILE)
                copy.write_bytes(self.content)
            except OSError as error:
                raise WorldError(
                    "writing a copy of the model to the folder for temporary files", error
                ) from error
            try:
                model = keras.saving.load_model(copy, compile=False, safe_mode=True)
            except (
                Exception
            ) as error:  # Keras raises whatever its parts raise; all of it means: not this model
                raise ModelError(
                    f"Keras cannot load {self.path}: {_first_line(error)}. Save it anew."
                ) from error
        if model.count_params() != self.architecture.parameters:
            raise ModelError(f"{self.path} became another model when Keras loaded it. Save it anew.")
        return model


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model that was read whole, verified and not yet loaded: its card, its network, and the transcriber."""

    path: Path
    card: Card
    network: Network
    transcriber: Network | None = None

    @property
    def architecture(self) -> Architecture:
        """What the network is."""
        return self.network.architecture

    @property
    def content(self) -> bytes:
        """The bytes of the network's file."""
        return self.network.content

    def load(self) -> Any:
        """The network as a Keras model; imports Keras."""
        return self.network.load()

    @staticmethod
    def open(path: Path) -> Bundle:
        """Read and verify a bundle's folder or a bare `.keras` file; needs no TensorFlow.

        Raises ModelError, with what to do, where it is missing, damaged, swapped, too large, of a shape
        that does not fit tiles, or holds anything outside the allow-list. A bare file gets a card of
        defaults: temperature 1, thresholds and normaliser as they come, outputs by its last layer.
        """
        if path.name == MODEL_FILE and os.path.isfile(path.parent / CARD_FILE):
            path = path.parent  # somebody pointed at the model inside a bundle: its card counts
        if path.suffix in {".h5", ".hdf5"} or os.path.exists(path / "saved_model.pb"):
            raise ModelError(
                f"{path} has an old format that cannot be loaded safely."
                f" If you trust it: digit-worker convert {path} --output DIR"
            )
        if os.path.isdir(path):
            card = read_card(path)
            content, architecture = _verified(path / MODEL_FILE, card.sha256)
            _check_fit(path, card, architecture)
            network = Network(path, architecture, content, card.litert)
            return Bundle(path, card, network, _open_transcriber(path, card.transcriber))
        content = read_bounded(path, MAX_MODEL_BYTES)
        architecture = _inspect_file(path, content)
        if architecture.outputs is None:
            raise ModelError(f"{path} ends in neither softmax nor plain logits. End it in one of them.")
        card = Card(
            name=path.stem,
            sha256=hashlib.sha256(content).hexdigest(),
            input_shape=architecture.input_shape,
            outputs=architecture.outputs,
        )
        _check_fit(path, card, architecture)
        return Bundle(path, card, Network(path, architecture, content))


def _verified(path: Path, sha256: str) -> tuple[bytes, Architecture]:
    """The bytes of a network's file that the card describes, and what it is."""
    content = read_bounded(path, MAX_MODEL_BYTES)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelError(
            f"{path} is not the file that {CARD_FILE} describes (its SHA-256 differs):"
            " it was damaged or swapped. Restore the bundle or train it anew."
        )
    return content, _inspect_file(path, content)


def _open_transcriber(folder: Path, part: TranscriberPart | None) -> Network | None:
    if part is None:
        return None
    path = folder / TRANSCRIBER_FILE
    content, architecture = _verified(path, part.sha256)
    if (architecture.input_shape, architecture.units) != (WINDOW_SHAPE, FRAMES_OF_WINDOW * FRAME_LABELS):
        raise ModelError(
            f"{path} takes {architecture.input_shape} and gives {architecture.units} numbers; a transcriber takes"
            f" {WINDOW_SHAPE} and gives {FRAMES_OF_WINDOW * FRAME_LABELS}. Restore the bundle or train it anew."
        )
    return Network(folder, architecture, content, part.litert, TRANSCRIBER_LITERT_FILE)


def _check_fit(path: Path, card: Card, found: Architecture) -> None:
    """Refuse a model that disagrees with its card or with what a tile is."""
    if found.input_shape not in ((TILE_PX, TILE_PX), (TILE_PX, TILE_PX, 1), (TILE_PX**2,)):
        raise ModelError(
            f"{path} takes inputs of shape {found.input_shape}; a tile is (28, 28), (28, 28, 1) or (784,)."
            " Train a model on such tiles."
        )
    if found.units != len(card.labels):
        raise ModelError(
            f"{path} has {found.units} outputs for {len(card.labels)} labels. A bare file needs the ten"
            " digits; other classes need a bundle whose card names them."
        )
    if card.input_shape != found.input_shape or found.outputs not in (None, card.outputs):
        raise ModelError(f"{path}: {CARD_FILE} describes another model. Restore the bundle.")


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _inspect_file(path: Path, content: bytes) -> Architecture:
    try:
        return inspect_archive(content)
    except ModelError as error:
        raise ModelError(f"{path} was not loaded. {error}") from error


def mean_logits(outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """What a transcriber put out for windows, (n, frames * 11), as means over their frames, (n, 11)."""
    return np.asarray(outputs.reshape(len(outputs), FRAMES_OF_WINDOW, FRAME_LABELS).mean(axis=1), np.float32)


def known_inputs(count: int, input_shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """So many inputs of this shape, float32 in [0, 1], with known tiles on them: side by side where wider."""
    height, width = input_shape[:2] if len(input_shape) > 1 else (TILE_PX, TILE_PX)
    across = max(1, width // TILE_PX)
    needed = -(-count * across // SELF_TEST_TILES)
    tiles = np.concatenate([draw_known_tiles(seed) for seed in range(needed)])[: count * across]
    rows = (tiles / np.float32(255)).reshape(count, across, TILE_PX, TILE_PX).transpose(0, 2, 1, 3)
    field = np.zeros((count, height, width), np.float32)
    top = (height - TILE_PX) // 2
    field[:, top : top + TILE_PX, : across * TILE_PX] = rows.reshape(count, TILE_PX, across * TILE_PX)
    return field.reshape(-1, *input_shape)


def draw_known_tiles(seed: int = 0) -> npt.NDArray[np.uint8]:
    """Sixteen tiles of curved strokes, uint8 (16, 28, 28): questions whose answers only the model knows."""
    rng = np.random.default_rng(seed)
    along = np.linspace(0, 1, 40)[:, None]
    rows, columns = np.mgrid[0:TILE_PX, 0:TILE_PX]
    tiles = np.zeros((SELF_TEST_TILES, TILE_PX, TILE_PX))
    for tile in tiles:
        for a, b, c in rng.uniform(4, TILE_PX - 4, size=(rng.integers(1, 4), 3, 2)):
            stroke = (
                (1 - along) ** 2 * a + 2 * along * (1 - along) * b + along**2 * c
            )  # quadratic Bézier, (40, 2)
            away = np.hypot(rows[..., None] - stroke[:, 0], columns[..., None] - stroke[:, 1]).min(axis=-1)
            np.maximum(tile, np.clip(2.2 - away, 0, 1), out=tile)
    return np.round(tiles * 255).astype(np.uint8)


def to_logits(outputs: npt.NDArray[np.float32], kind: Literal["logits", "softmax"]) -> Logits:
    """What a model put out, as logits; a softmax gives logits that sum to 1 as exponentials."""
    if kind == "logits":
        return outputs
    return np.log(np.maximum(outputs, np.float32(SMALLEST_PROBABILITY)))


def versions() -> dict[str, str]:
    """The versions a model depends on, for its card; imports Keras."""
    import keras

    backend = keras.backend.backend()
    found = {"worker": __version__, "python": platform.python_version(), "numpy": np.__version__}
    found["keras"] = keras.__version__
    found[backend] = __import__(backend).__version__
    return found


def write_bundle(
    folder: Path,
    model: Any,
    *,
    labels: tuple[str, ...] = DIGIT_LABELS,
    normaliser: Mapping[str, bool | int | float | str] | None = None,
    temperature: float = 1.0,
    thresholds: ChosenThresholds | None = None,
    metrics: Mapping[str, Mapping[str, float]] | None = None,
    seed: int | None = None,
    training: TrainingRun | None = None,
    beside: Mapping[str, bytes] | None = None,
    with_litert_form: bool = False,
) -> Bundle:
    """Make `folder` a bundle of this Keras model, whole or not at all, and return it as it reads back.

    `beside` holds further small files (curves.png). A bundle that was there stays until the new one is
    complete; files in it that no bundle owns are kept. `with_litert_form` adds model.tflite where this
    model can take that form (a warning in the log says why not). UsageError where `folder` holds
    something else.
    """
    folder = folder.resolve()  # the bundle that a link names, not the link
    _refuse_foreign(folder)
    with _staged(folder) as staged:
        digest, found = _save(model, staged / MODEL_FILE)
        if found.outputs is None:
            raise ModelError("The model ends in neither softmax nor plain logits. End it in one of them.")
        litert = None
        if with_litert_form:
            try:
                litert = _add_litert_form(staged, model, found.input_shape, found.outputs)
            except ModelError as error:
                get_log().warning("litert_form_left_out", why=str(error))
        card = Card(
            name=folder.name,
            sha256=digest,
            input_shape=found.input_shape,
            labels=labels,
            outputs=found.outputs,
            normaliser=dict(normaliser or {}),
            temperature=temperature,
            thresholds=thresholds or ChosenThresholds(),
            metrics={data: dict(figures) for data, figures in (metrics or {}).items()},
            seed=seed,
            training=training,
            versions=versions(),
            self_test=_ask(model, found.input_shape, found.outputs),
            litert=litert,
        )
        write_synced(staged / CARD_FILE, card_bytes(card))
        for name, content in (beside or {}).items():
            write_synced(staged / name, content)
    return Bundle.open(folder)


def replace_bundle(folder: Path, bundle: Bundle) -> Bundle:
    """Make `folder` a bundle as `bundle` is, with all that lies in its folder, and return it as it reads back.

    Whole or not at all; what else `folder` holds stays. UsageError where it is no bundle, ModelError where `bundle`
    cannot be opened there, OSError as the file system says.
    """
    folder = folder.resolve()  # the bundle that a link names, not the link
    _refuse_foreign(folder)
    with _staged(folder) as staged:
        for path in sorted(bundle.path.iterdir()):
            write_synced(staged / path.name, path.read_bytes())
    return Bundle.open(folder)


def add_litert_form(folder: Path) -> Bundle:
    """Give the bundle in `folder` its LiteRT forms, made of its own networks anew, and return it.

    Needs TensorFlow. All else in the bundle stays as it is. ModelError where the model cannot take that
    form or then answers differently.
    """
    folder = folder.resolve()  # the bundle that a link names, not the link
    bundle = Bundle.open(folder)
    with quiet_tensorflow():
        model = bundle.load()
    with _staged(folder) as staged:
        write_synced(staged / MODEL_FILE, bundle.content)
        litert = _add_litert_form(staged, model, bundle.card.input_shape, bundle.card.outputs)
        card = bundle.card.model_copy(update={"litert": litert})
        if bundle.transcriber is not None:
            card = card.model_copy(update={"transcriber": _copy_transcriber(staged, bundle)})
        write_synced(staged / CARD_FILE, card_bytes(card))
    return Bundle.open(folder)


def add_transcriber(folder: Path, model: Any, training: TrainingRun | None = None) -> Bundle:
    """Give the bundle in `folder` this Keras model as its transcriber, with its LiteRT form, and return it.

    All else in the bundle stays as it is. ModelError where the model is no transcriber.
    """
    folder = folder.resolve()  # the bundle that a link names, not the link
    bundle = Bundle.open(folder)
    with _staged(folder) as staged:
        write_synced(staged / MODEL_FILE, bundle.content)
        if bundle.card.litert:
            write_synced(staged / LITERT_FILE, bundle.network.read_litert_form())
        digest, _ = _save(model, staged / TRANSCRIBER_FILE)
        part = TranscriberPart(
            sha256=digest,
            answers=_ask_transcriber(model),
            litert=_transcriber_form(staged, model),
            training=training,
        )
        write_synced(staged / CARD_FILE, card_bytes(bundle.card.model_copy(update={"transcriber": part})))
    return Bundle.open(folder)


def _copy_transcriber(staged: Path, bundle: Bundle) -> TranscriberPart | None:
    """The transcriber of a bundle put into a staged one, with its LiteRT form made anew."""
    if bundle.transcriber is None or bundle.card.transcriber is None:
        return None
    write_synced(staged / TRANSCRIBER_FILE, bundle.transcriber.content)
    with quiet_tensorflow():
        model = bundle.transcriber.load()
    return bundle.card.transcriber.model_copy(update={"litert": _transcriber_form(staged, model)})


def _transcriber_form(staged: Path, model: Any) -> LiteRtForm:
    from worker.recognition.litert_form import make_litert_form

    content, off = make_litert_form(model, known_inputs(SELF_TEST_TILES, WINDOW_SHAPE), FRAME_LABELS)
    write_synced(staged / TRANSCRIBER_LITERT_FILE, content)
    return LiteRtForm(sha256=hashlib.sha256(content).hexdigest(), largest_difference=off)


def _ask_transcriber(model: Any) -> list[list[float]]:
    """The transcriber's self-test: what it answers to known windows, the mean over the frames of each."""
    import keras

    known = known_inputs(TRANSCRIBER_QUESTIONS, WINDOW_SHAPE)
    outputs = keras.ops.convert_to_numpy(model(known, training=False))
    return [[round(float(each), 5) for each in row] for row in mean_logits(outputs)]


def _add_litert_form(
    staged: Path, model: Any, input_shape: Shape, outputs: Literal["logits", "softmax"]
) -> LiteRtForm:
    from worker.recognition.litert_form import make_litert_form

    softmax_over = model.output_shape[-1] if outputs == "logits" else None
    content, off = make_litert_form(model, known_inputs(SELF_TEST_TILES, input_shape), softmax_over)
    write_synced(staged / LITERT_FILE, content)
    return LiteRtForm(sha256=hashlib.sha256(content).hexdigest(), largest_difference=off)


def _remove_forgotten_copies() -> None:
    """Remove what processes of this user left of models when they were killed while loading."""
    with contextlib.suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob(f"{COPY_PREFIX}*"):
            found = folder.lstat()
            is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
            is_old = time.time() - found.st_mtime > FORGOTTEN_AFTER_S
            if is_own and is_old and os.listdir(folder) in ([], [MODEL_FILE]):
                # One that is being loaded is held, whatever the clock says.
                with contextlib.suppress(BlockingIOError), _held(folder):
                    (folder / MODEL_FILE).unlink(missing_ok=True)
                    folder.rmdir()


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the lock of a folder; OSError where another process does."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _staged(folder: Path) -> Iterator[Path]:
    """A folder to make a bundle in; at the end it takes the place of `folder`, if it can be opened."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        yield staged
        Bundle.open(staged)  # what cannot be opened is not published
        staged.chmod(0o755)  # mkdtemp makes folders that only their maker can enter
        _publish(staged, folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _save(model: Any, path: Path) -> tuple[str, Architecture]:
    """Write the model without its optimizer; the file's SHA-256 and what it reads back as."""
    bare = type(model).from_config(
        model.get_config()
    )  # a clone would be compiled again, and cannot always be
    bare.set_weights(model.get_weights())
    bare.save(path)
    content = path.read_bytes()
    write_synced(path, content)
    return hashlib.sha256(content).hexdigest(), _inspect_file(path, content)


def _ask(model: Any, input_shape: Shape, outputs: Literal["logits", "softmax"]) -> SelfTest:
    """The self-test: what the model answers to known tiles."""
    import keras

    tiles = draw_known_tiles()
    shaped = (tiles.astype(np.float32) / np.float32(255)).reshape(-1, *input_shape)
    answers = keras.ops.convert_to_numpy(model(shaped, training=False)).astype(np.float32)
    return SelfTest(
        tiles=base64.b64encode(tiles.tobytes()).decode(),
        logits=[[round(float(each), 5) for each in row] for row in to_logits(answers, outputs)],
    )


def _refuse_foreign(folder: Path) -> None:
    if (
        folder.exists()
        and not (folder / CARD_FILE).is_file()
        and (not folder.is_dir() or any(folder.iterdir()))
    ):
        raise UsageError(f"{folder} holds something that is no model bundle. Name a new or an empty folder.")


_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def _exchange(one: Path, other: Path) -> bool:
    """Swap two paths in one step (renameat2(2)); False where the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    swap = getattr(libc, "renameat2", None)
    return swap is not None and not swap(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )


def _publish(staged: Path, folder: Path) -> None:
    """Put the staged folder in the place of `folder`; `staged` then holds what is to be thrown away."""
    if not folder.exists():
        staged.rename(folder)
    else:
        new = {each.name for each in staged.iterdir()}
        if not _exchange(staged, folder):
            aside = staged.with_name(staged.name + ".old")
            folder.rename(aside)
            try:
                staged.rename(folder)
            except OSError:
                aside.rename(folder)
                raise
            aside.rename(staged)
        for each in list(staged.iterdir()):
            if each.name not in new | OWN_FILES:
                each.rename(folder / each.name)
    handle = os.open(folder.parent, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

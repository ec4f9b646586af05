"""The model, the reader and the rules that settings ask for: what `run`, `predict` and `evaluate` have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from worker.errors import ModelError
from worker.expectation import Expectation, Expectations
from worker.intake.arrivals import SettleRule
from worker.reading import Reader, ReadingSettings
from worker.recognition.bundle import Bundle
from worker.recognition.card import Card
from worker.recognition.decision import Thresholds
from worker.recognition.opinions import UNFITTED, LineCalibration, LoneCalibration, TextRanking, Weights
from worker.settings import Settings
from worker.vision.decoding import Limits
from worker.vision.normalization import NormalizerSettings

if TYPE_CHECKING:
    from worker.recognition.classifier import Classifier


def load_model(settings: Settings) -> Classifier:
    """The model of `settings`, verified, loaded, warm, and giving the answers it once gave; or ModelError."""
    return _loaded(Bundle.open(settings.model), settings)


def load_other_model(settings: Settings, served: Card) -> Classifier | None:
    """The model of `settings` as `load_model` gives it, or None where it is the one of the card `served`."""
    bundle = Bundle.open(settings.model)
    return None if bundle.card == served else _loaded(bundle, settings)


def _loaded(bundle: Bundle, settings: Settings) -> Classifier:
    from worker.recognition.classifier import Classifier

    normalizer_of(bundle.card)
    classifier = Classifier.load(bundle, threads=settings.reader_threads, engine=settings.engine)
    classifier.self_test()
    return classifier


def reader_for(
    settings: Settings,
    model: Classifier,
    root: str,
    *,
    with_pictures: bool = True,
    crosses_mounts: bool = False,
    expected: Callable[[str], Expectation | None] | None = None,
    on_step: Callable[[], None] = lambda: None,
) -> Reader:
    """A reader of the pictures below `root`; thresholds of the configuration go before those of the card.

    `crosses_mounts` says that originals are copied to another mount: then what has no content is removed.
    `expected` says what a picture of some name shall say; None: what the configuration says.
    """
    reading = ReadingSettings(
        limits=limits_of(settings),
        normalizer=normalizer_of(model.card),
        temperature=model.card.temperature,
        thresholds=thresholds_of(settings, model.card),
        annotate=settings.annotate if with_pictures else "none",
        annotated_max_side_px=settings.annotated_max_side_px,
        crosses_mounts=crosses_mounts,
        weights=weights_of(model.card),
        expected=expected or (settings.expect or Expectations()).of,
    )
    return Reader(root, model, reading, settings.reader_threads, on_step, model.transcriber)


def thresholds_of(settings: Settings, card: Card) -> Thresholds:
    """What the configuration says goes before what the card says; its `accept_threshold` is for each digit."""
    accept, digit = settings.accept_threshold, settings.digit_threshold
    part = card.transcriber if accept is None else None
    return Thresholds(
        line=0.0 if part is None else part.accept,
        lone=0.0 if part is None or part.lone is None else part.lone.accept,
        accept=card.thresholds.accept if accept is None else accept,
        digit=card.thresholds.digit if digit is None else digit,
        outlier_weight=card.thresholds.outlier_weight,
    )


def weights_of(card: Card) -> Weights:
    """Whose word counts how much where two networks read a line; of no matter where there is one."""
    part = card.transcriber
    if part is None:
        return UNFITTED
    own = part.lone
    lone = None if own is None else LoneCalibration(own.by_one, own.by_both, own.sure_from)
    rank = None if part.ranking is None else TextRanking(*part.ranking)
    return Weights(*part.weights, LineCalibration(*part.calibration), rank, part.stranger_weight, lone)


def settle_rule(settings: Settings) -> SettleRule:
    """The rule that says when a file is ready."""
    return SettleRule(settings.settle_s, max(settings.settle_s, settings.incomplete_after_s))


def limits_of(settings: Settings) -> Limits:
    """The limits of a picture, in bytes and pixels."""
    return Limits(
        max_file_bytes=round(settings.max_file_mb * 1_000_000),
        max_pixels=round(settings.max_megapixels * 1_000_000),
    )


def normalizer_of(card: Card) -> NormalizerSettings:
    """The normaliser that the model was trained behind; ModelError where this version has no such one.

    A card without any (a bare file) gets the normaliser that rebuilds MNIST's tiles.
    """
    known = NormalizerSettings()
    if not card.normaliser:
        return known
    if set(card.normaliser) != set(known.as_dict()):
        raise ModelError(
            f"The model {card.name} names a normaliser that this version does not know: update the worker."
        )
    found = NormalizerSettings(
        name=str(card.normaliser["name"]),
        version=int(card.normaliser["version"]),
        digit_px=int(card.normaliser["digit_px"]),
    )
    if (found.name, found.version) != (known.name, known.version) or not 4 <= found.digit_px <= 28:
        raise ModelError(
            f"The model {card.name} was trained behind the normaliser {found.name} version {found.version};"
            f" this worker has {known.name} version {known.version}. Use a matching worker, or train it anew."
        )
    return found

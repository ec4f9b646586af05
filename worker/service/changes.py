"""Change without a stop: another model or another configuration, taken between two batches.

The driver calls `step` in its loop. What is slow (reading, checking and warming a model) happens in a
thread of its own; the driver gets a reader that is ready, and the next batch is read by it as a whole.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from worker.errors import ConfigurationError, ModelError, WorldError
from worker.logs import configure_logs, get_log
from worker.recognition.card import Card
from worker.service.model_watch import ModelWatch, Signature, signature_of
from worker.service.requests import ChangeSignals
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.reading import Reader
    from worker.recognition.classifier import Classifier

LOOK_S = 1.0  # between two looks at the model's files
WORLD_RETRY_S = 15.0

# Loading is a second of Python. Each time a reading thread comes back from OpenCV it would wait for the usual
# 5 ms until the loading thread lets it go on, a dozen times a picture.
LOADING_SWITCH_S = 0.0005

# What a running worker can take over. Every other key waits for a restart, new ones too.
LIVE_KEYS = frozenset(
    {
        "model", "rescan_s", "settle_s", "incomplete_after_s", "ignore", "max_file_mb", "max_megapixels",
        "batch_size", "accept_threshold", "digit_threshold", "expect", "annotate", "annotated_max_side_px",
        "trial_limit_s",
        "log_level", "log_format", "heartbeat_s", "metrics_file",
        "keep_done_days", "keep_done_mb", "keep_failed_days", "keep_failed_mb",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Serving:
    """What reads the next batch: the settings in force, a loaded model, and the reader made of both."""

    settings: Settings
    model: Classifier
    reader: Reader

    @property
    def card(self) -> Card:
        """The card of the model."""
        return self.model.card


@dataclass(frozen=True, slots=True)
class Sources:
    """Where new things come from.

    `settings` reads the configuration anew (ConfigurationError where it is wrong). `other_model` loads the
    model of settings in any thread, ready to use; None where it is the one of the card served. `reader`
    makes a reader, quickly.
    """

    settings: Callable[[], Settings]
    other_model: Callable[[Settings, Card], Classifier | None]
    reader: Callable[[Settings, Classifier], Reader]


@dataclass(slots=True)
class _Refused:
    """What was refused, why, and since when (epoch)."""

    why: str
    since_s: float

    def as_dict(self) -> dict[str, Any]:
        return {"why": self.why, "since_s": self.since_s}


@dataclass(frozen=True, slots=True)
class _Try:
    """One attempt to load a model: for which settings, of which files, and whether somebody asked for it."""

    settings: Settings
    signature: Signature
    is_asked_for: bool
    began_s: float
    future: Future[Classifier | None]


class Changes:
    """Follows signals and the model's files. Everything but the loading happens in the caller's thread.

    `served` is the signature of the model's files from before the model in `serving` was loaded.
    `on_reloading` and `on_ready` are called around each reload that a signal asked for, also a refused one.
    """

    def __init__(
        self,
        serving: Serving,
        sources: Sources,
        signals: ChangeSignals,
        served: Signature,
        *,
        wake: Callable[[], None],
        on_reloading: Callable[[], None] = lambda: None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.serving = serving
        self._at_start = serving.settings
        self._sources = sources
        self._signals = signals
        self._wake = wake
        self._on_reloading = on_reloading
        self._on_ready = on_ready
        self._watch = ModelWatch(served)
        self._loader = ThreadPoolExecutor(1, "model-loading")
        self._switch_s = sys.getswitchinterval()
        self._try: _Try | None = None
        self._try_again = False  # asked for while another try was on its way
        self._is_reloading = False
        self._next_look_s = 0.0
        self._not_told: str | None = None  # why the last try failed, while that may be a state in between
        self._refused_model: _Refused | None = None
        self._refused_settings: _Refused | None = None
        self._awaiting_restart: list[str] = []
        self._model_since_s = self._settings_since_s = time.time()
        self._level = serving.settings.log_level
        self._log = get_log()

    def close(self) -> None:
        """Let the loading thread go; waits for a model that is being loaded."""
        self._loader.shutdown(cancel_futures=True)

    def step(self, now_s: float) -> Serving | None:
        """Do what is due; what serves from now on, where that has changed."""
        before = self.serving
        if self._signals.take_debug():
            self._toggle_debug()
        if self._signals.take_reload():
            self._reload(now_s)
        elif self._try is None and now_s >= self._next_look_s:
            self._next_look_s = now_s + LOOK_S
            found = signature_of(self.serving.settings.model)
            if self._watch.is_worth_a_try(found, now_s):
                self._begin(found, now_s, is_asked_for=False)
        if self._try is not None and self._try.future.done():
            self._end(self._try, now_s)
        if self._not_told is not None and self._watch.is_settled_for_good(now_s):
            self._refuse(self._not_told)
        if self._is_reloading and self._try is None:
            self._is_reloading = False
            self._on_ready()
        return self.serving if self.serving is not before else None

    def report(self) -> dict[str, Any]:
        """What status tells of model and configuration."""
        card = self.serving.card
        refused, wrong = self._refused_model, self._refused_settings
        return {
            "model": {
                "name": card.name,
                "sha256": card.sha256,
                "since_s": self._model_since_s,
                "is_loading": self._try is not None,
                "refused": refused.as_dict() if refused else None,
            },
            "config": {
                "since_s": self._settings_since_s,
                "refused": wrong.as_dict() if wrong else None,
                "awaiting_restart": self._awaiting_restart,
                "log_level": self._level,
            },
        }

    # --- configuration ------------------------------------------------------------------------------

    def _reload(self, now_s: float) -> None:
        """Read the configuration and the model again, whatever their files look like."""
        self._is_reloading = True
        self._on_reloading()
        try:
            found = self._sources.settings()
        except ConfigurationError as error:
            if self._refused_settings is None or self._refused_settings.why != str(error):
                self._refused_settings = _Refused(str(error), time.time())
            self._log.error("config_refused", why=str(error))
        else:
            self._take_over(found)
        if self._try is not None:
            self._try_again = True
        else:
            self._begin(signature_of(self.serving.settings.model), now_s, is_asked_for=True)

    def _take_over(self, found: Settings) -> None:
        now = self.serving.settings
        changed = {key: getattr(found, key) for key in sorted(LIVE_KEYS) if _differs(key, found, now)}
        self._awaiting_restart = [
            key
            for key in Settings.model_fields
            if key not in LIVE_KEYS and _differs(key, found, self._at_start)
        ]
        self._refused_settings = None
        self._settings_since_s = time.time()
        if changed:
            settings = now.model_copy(update=changed)
            reader = self._sources.reader(settings, self.serving.model)
            self.serving = replace(self.serving, settings=settings, reader=reader)
            configure_logs(settings.log_level, settings.log_format)
            self._level = settings.log_level
        self._log.info("config_reloaded", changed=list(changed), awaiting_restart=self._awaiting_restart)

    def _toggle_debug(self) -> None:
        settings = self.serving.settings
        self._level = settings.log_level if self._level == "debug" else "debug"
        configure_logs(self._level, settings.log_format)
        self._log.warning("log_level_changed", to=self._level)

    # --- model --------------------------------------------------------------------------------------

    def _begin(self, found: Signature, now_s: float, *, is_asked_for: bool) -> None:
        self._watch.note_try(found, now_s)
        self._not_told = None
        settings, card = self.serving.settings, self.serving.card
        sys.setswitchinterval(LOADING_SWITCH_S)
        future = self._loader.submit(self._sources.other_model, settings, card)
        future.add_done_callback(lambda _: self._wake())
        self._try = _Try(settings, found, is_asked_for, time.monotonic(), future)

    def _end(self, ended: _Try, now_s: float) -> None:
        self._try = None
        sys.setswitchinterval(self._switch_s)
        if self._try_again:
            self._try_again = False
            self._begin(signature_of(self.serving.settings.model), now_s, is_asked_for=True)
            return
        why: str | None = None
        try:
            model = ended.future.result()
        except ModelError as error:
            why = str(error)
        except WorldError as fault:
            self._log.warning("model_not_loaded_yet", why=str(fault))
            self._watch.try_again()
            self._next_look_s = now_s + WORLD_RETRY_S
            return
        except Exception as error:
            self._log.exception("model_surprised")
            why = f"loading it failed in a way nobody foresaw ({type(error).__name__})"
        else:
            self._refused_model = None
            if model is not None:
                self._swap(model, ended)
        if why is not None and ended.is_asked_for:
            self._refuse(why)
        elif why is not None:
            self._not_told = why

    def _swap(self, model: Classifier, ended: _Try) -> None:
        old = self.serving.card
        reader = self._sources.reader(self.serving.settings, model)
        self.serving = replace(self.serving, model=model, reader=reader)
        self._model_since_s = time.time()
        self._log.info(
            "model_swapped",
            model=model.card.name,
            sha256=model.card.sha256[:12],
            before=old.sha256[:12],
            took_ms=round((time.monotonic() - ended.began_s) * 1000),
        )

    def _refuse(self, why: str) -> None:
        self._not_told = None
        if self._refused_model is None or self._refused_model.why != why:
            self._refused_model = _Refused(why, time.time())
        self._log.error("model_refused", why=why, serving=self.serving.card.sha256[:12])


def _differs(key: str, one: Settings, other: Settings) -> bool:
    return bool(getattr(one, key) != getattr(other, key))

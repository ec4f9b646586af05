"""A running worker takes over what is good, refuses what is not, and says which is which."""

from __future__ import annotations

import dataclasses
import errno
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from worker.errors import ConfigurationError, ModelError, WorldError
from worker.recognition.card import Card
from worker.service.changes import LIVE_KEYS, LOOK_S, WORLD_RETRY_S, Changes, Serving, Sources
from worker.service.model_watch import GRACE_S, SETTLE_S, signature_of
from worker.settings import Settings


@dataclasses.dataclass
class FakeModel:
    card: Card


def model(sign: str) -> Any:
    return FakeModel(Card(name=sign, sha256=sign * 64, input_shape=(28, 28), outputs="softmax"))


@dataclasses.dataclass(eq=False)
class FakeReader:
    settings: Settings
    model: Any


class FakeSignals:
    """What the signals would have noted."""

    reload = False
    debug = False

    def take_reload(self) -> bool:
        asked, self.reload = self.reload, False
        return asked

    def take_debug(self) -> bool:
        asked, self.debug = self.debug, False
        return asked


class Scene:
    """A worker's changes with everything around them under the test's control."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "model.keras"
        self.path.write_bytes(b"first")
        self.found: Settings | Exception = Settings(model=self.path)
        self.next_model: Any = None  # what loading gives, or raises
        self.loads = 0
        self.loaded = threading.Event()
        self.told: list[str] = []
        self.signals = FakeSignals()
        settings = Settings(model=self.path)
        first: Any = model("a")
        reader: Any = FakeReader(settings, first)
        signals: Any = self.signals
        self.changes = Changes(
            Serving(settings, first, reader),
            Sources(self._settings, self._load, self._reader),
            signals,
            signature_of(self.path),
            wake=self.loaded.set,
            on_reloading=lambda: self.told.append("reloading"),
            on_ready=lambda: self.told.append("ready"),
        )
        self.now_s = 100.0

    def _settings(self) -> Settings:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found

    def _load(self, settings: Settings, served: Card) -> Any:
        self.loads += 1
        if isinstance(self.next_model, Exception):
            raise self.next_model
        return self.next_model

    def _reader(self, settings: Settings, model: Any) -> Any:
        return FakeReader(settings, model)

    def step(self, after_s: float = 0.0) -> Serving | None:
        """One step so much later; a model that it loads is loaded before the step after it."""
        self.now_s += after_s
        self.loaded.clear()
        before = self.loads
        taken = self.changes.step(self.now_s)
        if self.changes.report()["model"]["is_loading"] or self.loads > before:
            assert self.loaded.wait(10)
            taken = self.changes.step(self.now_s) or taken
        return taken

    def put(self, content: bytes) -> None:
        """Other files at the model's place."""
        new = self.path.with_name("new")
        new.write_bytes(content)
        new.replace(self.path)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.changes.close()


def test_while_nothing_changes_nothing_is_loaded(scene: Scene) -> None:
    assert all(scene.step(LOOK_S) is None for _ in range(100))
    assert scene.loads == 0


def test_a_new_model_serves_once_it_is_loaded_and_with_the_settings_in_force(scene: Scene) -> None:
    scene.put(b"second")
    scene.next_model = model("b")
    assert scene.step(LOOK_S) is None
    serving = scene.step(SETTLE_S)
    assert serving is not None
    assert serving.card.name == "b"
    assert serving.reader.model is scene.next_model  # type: ignore[attr-defined]
    told = scene.changes.report()["model"]
    assert (told["name"], told["refused"]) == ("b", None)
    assert scene.told == []  # nobody asked for it


def test_a_bad_model_is_refused_once_and_the_old_one_goes_on(scene: Scene) -> None:
    scene.put(b"broken")
    scene.next_model = ModelError("it is broken")
    scene.step(LOOK_S)
    assert scene.step(SETTLE_S) is None
    assert scene.changes.report()["model"]["refused"] is None  # it may be a state in between
    scene.step(GRACE_S)
    refused = scene.changes.report()["model"]["refused"]
    assert refused["why"] == "it is broken"
    assert scene.changes.serving.card.name == "a"
    assert all(scene.step(LOOK_S) is None for _ in range(50))
    assert scene.loads == 1
    assert scene.changes.report()["model"]["refused"] == refused


def test_a_model_that_is_mended_in_time_is_never_called_refused(scene: Scene) -> None:
    scene.put(b"half")
    scene.next_model = ModelError("the digest differs")
    scene.step(LOOK_S)
    scene.step(SETTLE_S)
    scene.put(b"whole")
    scene.next_model = model("b")
    scene.step(LOOK_S)
    serving = scene.step(SETTLE_S)
    assert serving is not None
    scene.step(GRACE_S)
    assert scene.changes.report()["model"]["refused"] is None


def test_putting_the_old_model_back_ends_the_refusal(scene: Scene) -> None:
    scene.put(b"broken")
    scene.next_model = ModelError("it is broken")
    scene.step(LOOK_S)
    scene.step(SETTLE_S)
    scene.step(GRACE_S)
    scene.put(b"first")
    scene.next_model = None  # what is there is what serves
    scene.step(LOOK_S)
    assert scene.step(SETTLE_S) is None
    assert scene.changes.report()["model"]["refused"] is None


def test_a_full_disk_is_no_fault_of_the_model(scene: Scene) -> None:
    scene.put(b"second")
    scene.next_model = WorldError("copying", OSError(errno.ENOSPC, "No space left on device"))
    scene.step(LOOK_S)
    scene.step(SETTLE_S)
    scene.step(GRACE_S)
    assert scene.changes.report()["model"]["refused"] is None
    scene.next_model = model("b")
    serving = scene.step(WORLD_RETRY_S)
    assert serving is not None
    assert serving.card.name == "b"


def test_whatever_loading_raises_the_old_model_goes_on(scene: Scene) -> None:
    scene.next_model = MemoryError()
    scene.signals.reload = True
    assert scene.step() is None
    assert "MemoryError" in scene.changes.report()["model"]["refused"]["why"]
    assert scene.told == ["reloading", "ready"]


def test_a_signal_tries_at_once_and_tells_at_once(scene: Scene) -> None:
    scene.next_model = ModelError("it is broken")
    scene.signals.reload = True
    scene.step()
    assert scene.changes.report()["model"]["refused"]["why"] == "it is broken"
    scene.signals.reload = True
    scene.step()
    assert scene.loads == 2
    assert scene.told == ["reloading", "ready"] * 2


def test_a_signal_during_a_load_leads_to_one_more(scene: Scene) -> None:
    hold = threading.Event()
    slow = scene.changes._sources.other_model

    def other_model(settings: Settings, served: Card) -> Any:
        hold.wait(10)
        return slow(settings, served)

    scene.changes._sources = dataclasses.replace(scene.changes._sources, other_model=other_model)
    for _ in range(3):
        scene.signals.reload = True
        scene.changes.step(scene.now_s)
    assert scene.told == ["reloading"] * 3
    hold.set()
    for _ in range(2):
        assert scene.loaded.wait(10)
        scene.step()
    assert scene.loads == 2
    assert scene.told == ["reloading"] * 3 + ["ready"]


def test_live_keys_take_effect_and_the_others_are_named(scene: Scene) -> None:
    scene.found = Settings(
        model=scene.path, batch_size=7, annotate="none", inbox=Path("/elsewhere"), threads=3
    )
    scene.signals.reload = True
    serving = scene.step()
    assert serving is not None
    assert (serving.settings.batch_size, serving.settings.annotate) == (7, "none")
    assert serving.settings.inbox == Path("inbox")
    assert cast(Any, serving.reader).settings is serving.settings
    assert scene.changes.report()["config"]["awaiting_restart"] == ["inbox", "threads"]
    scene.found = Settings(model=scene.path)
    scene.signals.reload = True
    scene.step()
    assert scene.changes.report()["config"]["awaiting_restart"] == []


def test_a_bad_configuration_is_refused_whole_until_a_good_one_comes(scene: Scene) -> None:
    scene.found = ConfigurationError("batch_size: too small")
    scene.signals.reload = True
    assert scene.step() is None
    assert scene.changes.report()["config"]["refused"]["why"] == "batch_size: too small"
    scene.found = Settings(model=scene.path)
    scene.signals.reload = True
    scene.step()
    assert scene.changes.report()["config"]["refused"] is None


def test_the_debug_log_is_switched_on_and_off(scene: Scene) -> None:
    levels = []
    for _ in range(2):
        scene.signals.debug = True
        scene.step()
        levels.append(scene.changes.report()["config"]["log_level"])
    assert levels == ["debug", "info"]


def test_live_keys_are_keys() -> None:
    assert set(Settings.model_fields) > LIVE_KEYS
    assert not LIVE_KEYS & {"inbox", "outbox", "watch", "threads", "durability"}


def test_the_reference_names_the_live_keys() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "reference" / "configuration.md").read_text(
        "utf-8"
    )
    section = page.partition("## Change without a restart")[2].partition("All other keys")[0]
    assert set(re.findall(r"`(\w+)`", section)) == LIVE_KEYS

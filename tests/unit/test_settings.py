"""The configuration is checked as a whole, and every mistake is named at once."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from worker.assembly import thresholds_of, weights_of
from worker.errors import ConfigurationError
from worker.recognition.card import Card, ChosenThresholds, LonePart, TranscriberPart
from worker.recognition.decision import Thresholds
from worker.recognition.opinions import LoneCalibration
from worker.settings import Settings, load_settings, shipped_settings

ROOT = Path(__file__).resolve().parents[2]


def _write(folder: Path, text: str) -> Path:
    path = folder / "config.yaml"
    path.write_text(text)
    return path


def test_three_lines_are_a_complete_configuration(tmp_path: Path) -> None:
    settings = load_settings(_write(tmp_path, "inbox: in\noutbox: out\nmodel: m\n"), {})
    assert settings.inbox == tmp_path / "in"
    assert settings.model == tmp_path / "m"
    assert settings.batch_size == Settings().batch_size


def test_an_empty_file_means_the_defaults_beside_it(tmp_path: Path) -> None:
    assert load_settings(_write(tmp_path, "# nothing\n"), {}).inbox == tmp_path / "inbox"


def test_the_shipped_file_says_every_default_as_the_code_has_it() -> None:
    shipped = yaml.safe_load((ROOT / "config.yaml").read_text())
    # What the model's card says, or nothing, or no limit, if left out.
    keeping = {f"keep_{folder}_{unit}" for folder in ("done", "failed") for unit in ("days", "mb")}
    optional = {"accept_threshold", "digit_threshold", "expect"} | keeping
    assert set(shipped) == set(Settings.model_fields) - optional
    defaults = Settings()
    for key, value in shipped.items():
        default = getattr(defaults, key)
        assert value == (
            str(default) if isinstance(default, Path) else list(default) if key == "ignore" else default
        )
    for key in optional:
        assert f"# {key}:" in (ROOT / "config.yaml").read_text()


def test_all_mistakes_are_named_at_once(tmp_path: Path) -> None:
    config = _write(
        tmp_path,
        "inbox: a\noutbox: a/b\nbatch_size: 0\nrescan: 3\nlog_level: loud\nthreads: yes\nsettle_s: soon\nfoo: 1\n",
    )
    with pytest.raises(ConfigurationError) as caught:
        load_settings(config, {"DIGIT_WORKER_HEARTBEAT_S": "-1", "DIGIT_WORKER_NONSENSE": "1"})
    message = str(caught.value)
    for part in (
        "batch_size", "rescan_s`", "log_level", "threads", "settle_s", "foo", "lies inside inbox",
        "DIGIT_WORKER_HEARTBEAT_S", "DIGIT_WORKER_NONSENSE", "9 mistakes",
    ):  # fmt: skip
        assert part in message
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("inbox", "outbox", "said"),
    [("x", "x", "same folder"), ("x", "x/y", "lies inside inbox"), ("x/y", "x", "lies inside outbox")],
)
def test_inbox_and_outbox_must_lie_beside_each_other(
    tmp_path: Path, inbox: str, outbox: str, said: str
) -> None:
    with pytest.raises(ConfigurationError, match=said):
        load_settings(_write(tmp_path, f"inbox: {inbox}\noutbox: {outbox}\nmodel: m\n"), {})


def test_a_link_does_not_hide_one_folder_in_the_other(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(ConfigurationError, match="lies inside inbox"):
        load_settings(_write(tmp_path, "inbox: real\noutbox: link/out\nmodel: m\n"), {})


def test_a_sibling_with_the_same_beginning_is_not_inside(tmp_path: Path) -> None:
    settings = load_settings(_write(tmp_path, "inbox: box\noutbox: box-out\nmodel: m\n"), {})
    assert settings.outbox.name == "box-out"


def test_the_environment_overrides_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = _write(tmp_path, "batch_size: 8\nignore: [a]\n")
    settings = load_settings(
        config,
        {
            "DIGIT_WORKER_BATCH_SIZE": "32",
            "DIGIT_WORKER_IGNORE": "['x-*', 'y']",
            "DIGIT_WORKER_INBOX": "elsewhere",
        },
    )
    assert settings.batch_size == 32
    assert settings.ignore == ("x-*", "y")
    assert settings.inbox == tmp_path / "elsewhere"


def test_a_folder_named_like_a_number_stays_text_in_the_environment(tmp_path: Path) -> None:
    assert load_settings(_write(tmp_path, ""), {"DIGIT_WORKER_INBOX": "2026"}).inbox.name == "2026"


def test_a_missing_file_is_a_configuration_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no such configuration file"):
        load_settings(tmp_path / "config.yaml", {})


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "inbox: a\ninbox: b\n", "1: 2\n", "? [a]\n: b\n"])
def test_what_is_no_mapping_of_unique_keys_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError):
        load_settings(_write(tmp_path, text), {})


@pytest.mark.parametrize("text", ["settle_s: .nan", "settle_s: .inf", "batch_size: 1.5", "batch_size: true"])
def test_numbers_that_mean_nothing_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError):
        load_settings(_write(tmp_path, text), {})


def test_without_a_file_the_shipped_defaults_lie_below_the_given_folder(tmp_path: Path) -> None:
    assert shipped_settings(tmp_path, {}).model == tmp_path / "models" / "digits"


def test_the_file_of_the_metrics_is_a_word_or_a_path_relative_to_the_file(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    found = []
    for value in ("auto", "none", "figures/digits.prom", "/var/lib/x.prom"):
        config.write_text(f"outbox: out\nmetrics_file: {value}\n")
        found.append(load_settings(config, {}).metrics_path)
    assert found == [
        tmp_path / "out" / ".digit-worker" / "metrics.prom",
        None,
        tmp_path / "figures" / "digits.prom",
        Path("/var/lib/x.prom"),
    ]


def test_the_card_says_what_outliers_count_and_its_thresholds_unless_they_are_configured() -> None:
    chosen = ChosenThresholds(accept=0.98, digit=0.4, outlier_weight=0.125)
    card = Card(name="m", sha256="0" * 64, input_shape=(28, 28, 1), outputs="logits", thresholds=chosen)
    assert thresholds_of(Settings(), card) == Thresholds(0.98, 0.4, outlier_weight=0.125)
    own = thresholds_of(Settings(accept_threshold=0.9, digit_threshold=0.6), card)
    assert own == Thresholds(0.9, 0.6, outlier_weight=0.125)


def test_a_configured_threshold_goes_for_lines_and_lone_digits_too() -> None:
    lone = LonePart(by_one=(0, 1), by_both=(0, 1, 1), sure_from=0.98, accept=0.95, chosen_on="pages")
    part = TranscriberPart(sha256="0" * 64, answers=[[0.0]], accept=0.9, lone=lone)
    card = Card(name="m", sha256="0" * 64, input_shape=(28, 28, 1), outputs="logits", transcriber=part)
    chosen, own = thresholds_of(Settings(), card), thresholds_of(Settings(accept_threshold=0.8), card)
    assert (chosen.line, chosen.lone) == (0.9, 0.95)
    assert (own.accept, own.line, own.lone) == (0.8, 0.0, 0.0)
    assert weights_of(card).lone == LoneCalibration((0, 1), (0, 1, 1), 0.98)

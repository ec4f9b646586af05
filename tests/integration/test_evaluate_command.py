"""`evaluate` with a real bundle over drawn tiles: figures on stdout, and a folder that shows them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from worker.errors import UsageError
from worker.settings import Settings
from worker.training.evaluation import evaluate


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model: it is wrong most of the time, and has mistakes to show."""
    from worker.recognition.quiet import quiet_tensorflow

    with quiet_tensorflow():
        import keras

        from worker.recognition.bundle import write_bundle

        keras.utils.set_random_seed(1)
        inputs = keras.layers.Input((28, 28, 1))
        outputs = keras.layers.Dense(10)(keras.layers.Flatten()(inputs))
        return write_bundle(tmp_path_factory.mktemp("models") / "guesser", keras.Model(inputs, outputs)).path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    tiles = np.zeros((40, 28, 28), np.uint8)
    tiles[:, 4:24, 4:24] = np.where(rng.random((40, 20, 20)) < 0.3, 255, 0)
    path = tmp_path / "drawn.npz"
    np.savez(path, x_test=tiles, y_test=np.arange(40, dtype=np.uint8) % 10)
    return path


def test_figures_are_printed_and_shown_as_one_page(
    bundle: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    evaluate(data, Settings(model=bundle), output=output, command="digit-worker evaluate --data drawn.npz")
    assert "of 40" in capsys.readouterr().out
    names = {path.name for path in output.iterdir()}
    plots = {f"{plot}.png" for plot in ("confusion", "reliability", "risk_coverage", "confidences")}
    assert names == {"evaluation.json", "index.html"} | plots
    figures = json.loads((output / "evaluation.json").read_text())
    assert (
        figures["n"]
        == figures["digits"]["right"]["of"]
        == sum(map(sum, figures["digits"]["confusion"]))
        == 40
    )
    assert figures["model"]["name"] == "guesser"
    wrong = figures["digits"]["right"]["of"] - figures["digits"]["right"]["count"]
    assert len(figures["mistakes"]) == wrong > 0
    page = (output / "index.html").read_text()
    assert figures["model"]["sha256"] in page
    assert "digit-worker evaluate --data drawn.npz" in page


def test_nothing_is_written_unless_asked_for(
    bundle: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    evaluate(data, Settings(model=bundle, accept_threshold=0.0), as_json=True)
    figures = json.loads(capsys.readouterr().out)
    assert figures["model"]["accept"] == 0  # the configuration goes before the card
    assert figures["digits"]["accepted"]["share"] == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_an_output_that_cannot_be_made_is_a_usage_error(bundle: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="cannot be made"):
        evaluate(data, Settings(model=bundle), output=data / "below-a-file")

"""The real worker under SIGKILL at random moments. The longest campaign is `make torture`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.torture import BROKEN, Campaign


@pytest.mark.parametrize(
    ("files", "kills", "engine"),
    [(120, 2, "litert"), pytest.param(2000, 50, "tensorflow", marks=pytest.mark.long)],
    ids=["quick", "long"],
)
def test_each_file_is_answered_once_whatever_is_killed(
    tmp_path: Path, files: int, kills: int, engine: str
) -> None:
    figures = Campaign(tmp_path, files, kills, seed=3, longest_s=560, engine=engine).run()
    assert figures["kills"] == kills
    assert figures["files"] == files
    assert {name: figures[name] for name in BROKEN} == dict.fromkeys(BROKEN, 0)

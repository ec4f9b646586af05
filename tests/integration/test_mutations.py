"""Damaged pictures and bombs: one stated outcome each, in bounded time. The long run is `make fuzz`."""

from __future__ import annotations

import time

import pytest

from tests.integration.mutations import SLOW_S, bombs, fuzz, outcome

BOMBS = dict(bombs())


def test_no_damage_crashes_the_decoder_and_no_beginning_passes_for_a_whole_picture() -> None:
    figures = fuzz(2000, seed=7)
    assert figures["truncated files made"] > 150
    assert figures["page"] > 100  # damage that is none of the pixels' business
    assert figures["undecodable"] > 100


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_no_time(name: str) -> None:
    begun_s = time.process_time()
    outcome(BOMBS[name])
    assert time.process_time() - begun_s < SLOW_S

"""Rates over a minute and a quarter of an hour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.service.rates import Rates


def test_a_steady_flow_has_its_rate_in_both_windows() -> None:
    rates = Rates(0.0)
    for second in range(1, 2001):
        rates.add(5, float(second))
    assert rates.rates(2000.0) == {"per_s_1min": pytest.approx(5.0), "per_s_15min": pytest.approx(5.0)}


def test_what_is_past_is_forgotten() -> None:
    rates = Rates(0.0)
    rates.add(600, 100.0)
    assert rates.rates(101.0)["per_s_1min"] == 10.0
    assert rates.rates(161.0) == {"per_s_1min": 0.0, "per_s_15min": round(600 / 161, 3)}
    assert rates.rates(1001.0) == {"per_s_1min": 0.0, "per_s_15min": 0.0}


def test_a_young_worker_is_measured_by_its_own_age() -> None:
    rates = Rates(0.0)
    rates.add(20, 9.0)
    assert rates.rates(10.0) == {"per_s_1min": 2.0, "per_s_15min": 2.0}


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 100)), max_size=200))
def test_memory_is_bounded_by_seconds_and_nothing_is_counted_twice(steps: list[tuple[float, int]]) -> None:
    rates, now_s, done = Rates(0.0), 0.0, 0
    for pause_s, count in steps:
        now_s += pause_s
        rates.add(count, now_s)
        done += count
    assert len(rates._counts) <= now_s + 1
    assert rates.rates(now_s)["per_s_15min"] <= done / max(1.0, min(900.0, now_s)) + 0.001

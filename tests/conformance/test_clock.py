"""What every clock owes the engine (ports.Clock)."""

import time

import pytest

from fillwright.adapters.local import SystemClock
from fillwright.ports import Clock
from tests.conformance.rigs import in_loop


def test_now_is_the_time_of_day(clock: Clock) -> None:
    assert abs(clock.now() - time.time() * 1_000) < 5_000
    assert isinstance(clock.now(), int)


def test_monotonic_never_goes_back(clock: Clock) -> None:
    readings = [clock.monotonic() for _ in range(1_000)]
    assert readings == sorted(readings)


@in_loop
async def test_sleep_takes_its_time_by_both_measures(clock: Clock) -> None:
    started_at, stamped_at = clock.monotonic(), clock.now()
    await clock.sleep(0.03)
    assert 0.029 <= clock.monotonic() - started_at < 5
    assert clock.now() - stamped_at >= 29


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0])
def test_a_jump_of_the_machine_s_wall_clock_changes_nothing(monkeypatch: pytest.MonkeyPatch, jump_s: float) -> None:
    """I12, for the clock of a single process."""
    clock = SystemClock()
    before, wall = clock.now(), time.time
    monkeypatch.setattr(time, "time", lambda: wall() + jump_s)
    assert 0 <= clock.now() - before < 5_000

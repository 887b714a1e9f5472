"""A plan of faults strikes as often as it says, and the same seed strikes the same calls."""

import asyncio
from pathlib import Path

import pytest

from fillwright.adapters.local import SystemClock
from fillwright.adapters.sim import PRESETS, SimChain, SimVenue, SimWorld, default_market
from fillwright.errors import FillwrightError
from fillwright.lab import FaultPlan

CALLS = 400


def struck(path: Path, *, seed: int) -> dict[str, list[int]]:
    """Which calls each fault strikes, with and without a plan, in turns."""
    chain = SimChain(path, SystemClock(), default_market(seed), PRESETS["instant"], seed)
    venues = [SimVenue(name, chain, SystemClock(), PRESETS["instant"], seed) for name in ("raydium", "meteora")]
    world = SimWorld(PRESETS["instant"], chain, venues)
    found: dict[str, list[int]] = {"answers": [], "heights": [], "raydium": [], "meteora": []}
    for call in range(CALLS):
        if call % 100 == 0:
            plan = FaultPlan(lost_answer_pct=40, lying_height_pct=20, quote_failure_pct=10, venues_down=("meteora",))
            world.turn(plan if call % 200 == 0 else FaultPlan())
        try:
            chain.lose_answer()
        except FillwrightError:
            found["answers"].append(call)
        if chain.told_height() == chain.slot():
            found["heights"].append(call)
        for venue in venues:
            try:
                asyncio.run(venue.pools(frozenset()))
            except FillwrightError:
                found[venue.name].append(call)
    chain.close()
    return found


def test_faults_strike_at_their_rate_and_only_while_they_are_planned(tmp_path: Path) -> None:
    found = struck(tmp_path / "chain.db", seed=1)
    planned = {call for call in range(CALLS) if call % 200 < 100}
    assert set().union(*found.values()) <= planned
    assert found["meteora"] == sorted(planned)
    shares = {name: len(calls) / len(planned) for name, calls in found.items()}
    assert shares["answers"] == pytest.approx(0.4, abs=0.1)
    assert shares["heights"] == pytest.approx(0.2, abs=0.1)
    assert shares["raydium"] == pytest.approx(0.1, abs=0.07)


def test_the_seed_decides_what_is_struck(tmp_path: Path) -> None:
    first, again, other = (struck(tmp_path / f"{n}.db", seed=seed) for n, seed in enumerate((7, 7, 8)))
    assert first == again != other

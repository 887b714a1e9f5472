"""The simulated market: two venues a few percent apart, a smooth path, the same from the same seed.

How far apart is measured on spot prices, by gap / middle: |a - b| / ((a + b) / 2), for every pool of the one venue
against every pool of the other.
"""

from fractions import Fraction
from itertools import groupby, pairwise, product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillwright.adapters.sim.market import TOKENS, Market, SimPool, default_market
from fillwright.pools import ChainTime
from fillwright.tokens import Tokens
from fillwright.units import Atoms

SEEDS = range(8)
TICKS = [*range(3_000), *range(3_000, 40_000, 37)]
"""Two seconds each: the first 100 minutes in full, then samples of the first day."""
ROUNDING = Fraction(1, 100_000)
"""Reserves and the path are integers."""
JUMP_BPS_MAX = 2
NOW = ChainTime(slot=415_822_000, unix_seconds=1_790_000_000)


def price(pool: SimPool) -> Fraction:
    """Of token 0, in token 1."""
    reserve_0, reserve_1 = pool.reserves()
    return Fraction(reserve_1, reserve_0)


def pair_of(pool: SimPool) -> tuple[str, str]:
    return pool.mint_0, pool.mint_1


def rivals(market: Market) -> list[tuple[SimPool, SimPool]]:
    """Every Raydium pool beside every Meteora pool of the same pair."""
    pools = sorted(market.pools, key=pair_of)
    found: list[tuple[SimPool, SimPool]] = []
    for _, group in groupby(pools, key=pair_of):
        members = list(group)
        found += product(
            [pool for pool in members if pool.venue == "raydium"], [pool for pool in members if pool.venue == "meteora"]
        )
    return found


def test_every_pair_is_traded_on_both_venues() -> None:
    market = default_market(1)
    assert {pair_of(ours) for ours, _ in rivals(market)} == {pair_of(pool) for pool in market.pools}
    assert len({pair_of(pool) for pool in market.pools}) >= 4


@pytest.mark.parametrize("seed", SEEDS)
def test_the_venues_stay_two_to_five_percent_apart(seed: int) -> None:
    market = default_market(seed)
    low, high = Fraction(2, 100) - ROUNDING, Fraction(5, 100) + ROUNDING
    for ours, theirs in rivals(market):
        for tick in TICKS[:: 7 if seed else 1]:
            a, b = price(market.drift(ours, tick)), price(market.drift(theirs, tick))
            gap = abs(a - b) / ((a + b) / 2)
            assert low <= gap <= high, f"{ours.address} {theirs.address} at tick {tick}: {float(gap):.5f}"


def test_neither_venue_is_the_dear_one_everywhere() -> None:
    """Else routing would be no choice."""
    dear = {
        ours.venue if price(market.drift(ours, 0)) > price(market.drift(theirs, 0)) else theirs.venue
        for market in map(default_market, SEEDS)
        for ours, theirs in rivals(market)
    }
    assert dear == {"raydium", "meteora"}


@pytest.mark.parametrize("seed", SEEDS)
def test_prices_move_and_never_jump(seed: int) -> None:
    market = default_market(seed)
    for pool in market.pools:
        path = [price(market.drift(pool, tick)) for tick in range(1_000)]
        steps = [abs(after / before - 1) * 10_000 for before, after in pairwise(path)]
        assert max(steps) <= JUMP_BPS_MAX
        assert max(path) / min(path) > 1 + Fraction(1, 1_000), "the market is alive"


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**7))
def test_the_path_is_the_seed_s_alone(seed: int, tick: int) -> None:
    one, other = default_market(seed), default_market(seed)
    assert [one.drift(pool, tick) for pool in one.pools] == [other.drift(pool, tick) for pool in other.pools]


def test_another_seed_is_another_path() -> None:
    paths = {tuple(price(m.drift(pool, 500)) for pool in m.pools) for m in map(default_market, SEEDS)}
    assert len(paths) == len(SEEDS)


@given(st.integers(0, 10**6), st.integers(0, 10**7), st.integers(0, 8))
def test_drift_keeps_the_liquidity_within_rounding(seed: int, tick: int, index: int) -> None:
    market = default_market(seed)
    pool = market.pools[index]
    moved = market.drift(pool, tick)
    before, after = (a * b for a, b in (pool.reserves(), moved.reserves()))
    assert before - moved.reserves()[0] < after <= before
    fixed = {name: getattr(pool, name) for name in pool.__struct_fields__ if not name.startswith("vault_")}
    assert fixed == {name: getattr(moved, name) for name in fixed}


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, 8), st.integers(1, 10**10), st.booleans())
def test_a_traded_pool_returns_to_its_path_and_keeps_what_it_earned(
    seed: int, tick: int, index: int, amount: int, from_0: bool
) -> None:
    """Where a swap has pushed it is where the next tick pulls it from: fees stay, the push does not."""
    market = default_market(seed)
    calm = market.drift(market.pools[index], tick)
    swap, pushed = calm.swap_in(Atoms(amount + 1_000_000), calm.mint_0 if from_0 else calm.mint_1, NOW)
    assert swap.amount_out > 0
    back = market.drift(msgspec.structs.replace(pushed), tick)
    assert abs(price(back) / price(calm) - 1) < ROUNDING
    assert back.reserves()[0] * back.reserves()[1] >= calm.reserves()[0] * calm.reserves()[1] * (1 - ROUNDING)


def test_ticks_follow_slots() -> None:
    market = default_market(1)
    assert [market.tick(slots) for slots in (0, 4, 5, 9, 10)] == [0, 0, 1, 1, 2]


def test_the_market_s_tokens_are_unambiguous_and_its_pools_name_themselves_simulated() -> None:
    known = Tokens(TOKENS)
    assert len({token.symbol for token in TOKENS}) == len({token.mint for token in TOKENS}) == len(TOKENS)
    market = default_market(1)
    assert len({pool.address for pool in market.pools}) == len(market.pools)
    for pool in market.pools:
        assert {pool.mint_0, pool.mint_1} <= {token.mint for token in known.all}
        assert pool.address.startswith(f"sim-{pool.venue}-")

"""The simulated market: two venues a few percent apart, a smooth path, the same from the same seed.

How far apart is measured on target prices, by gap / middle: |a - b| / ((a + b) / 2), for every pool of the one venue
against every pool of the other. Pools follow their targets as far as their fees let an arbitrageur profit.
"""

from collections import Counter
from contextlib import suppress
from fractions import Fraction
from itertools import groupby, pairwise, product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillwright.adapters.sim.listing import SimPool, recorded
from fillwright.adapters.sim.market import BONK, HUBS, MSOL, SOL, TOKENS, USDC, USDT, WBTC, Market, default_market
from fillwright.adapters.sim.prices import START_USD, USD, PriceTable
from fillwright.errors import Code, FillwrightError
from fillwright.pools import ChainTime, PoolRefused
from fillwright.pools.clmm import ClmmPool
from fillwright.tokens import Tokens
from fillwright.units import Atoms, Mint
from tests.vectors import clmm_vectors

SEEDS = range(8)
MARKET = default_market(1)
POOLS = len(MARKET.pools)
TICKS = [*range(3_000), *range(3_000, 40_000, 37)]
"""Two seconds each: the first 100 minutes in full, then samples of the first day."""
ROUNDING = Fraction(1, 100_000)
"""The spread is in millionths."""
JUMP_BPS_MAX = 4
DUST_ATOMS = 2
"""What the arbitrageur may leave: he reckons in floats and pays in whole atoms."""
by_address = pytest.mark.parametrize("pool", MARKET.pools, ids=lambda pool: pool.address)


def at(tick: int) -> ChainTime:
    return ChainTime(slot=415_822_000 + 5 * tick, unix_seconds=1_790_000_000 + 2 * tick)


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


# ---- what there is


def test_every_pair_is_traded_on_both_venues() -> None:
    assert {pair_of(ours) for ours, _ in rivals(MARKET)} == {pair_of(pool) for pool in MARKET.pools}
    assert len({pair_of(pool) for pool in MARKET.pools}) >= 8


def test_the_market_has_every_kind_of_pool_and_tokens_with_odd_decimals() -> None:
    assert {pool.kind for pool in MARKET.pools} == {"amm_v4", "cpmm", "clmm", "dlmm", "damm_v2"}
    main = Counter(pool.venue for pool in MARKET.pools if pair_of(pool) == (SOL.mint, USDC.mint))
    assert min(main["raydium"], main["meteora"]) >= 2
    assert TOKENS == (SOL, USDC, USDT, MSOL, BONK, WBTC)
    assert {token.decimals for token in (BONK, WBTC)} == {5, 8}
    assert {SOL.mint, USDC.mint, USDT.mint, MSOL.mint} == HUBS
    assert {token.symbol for token in TOKENS} == set(START_USD)


def test_the_market_s_tokens_are_unambiguous_and_its_pools_name_themselves_simulated() -> None:
    known = Tokens(TOKENS)
    assert len({token.symbol for token in TOKENS}) == len({token.mint for token in TOKENS}) == len(TOKENS)
    assert len({pool.address for pool in MARKET.pools}) == len(MARKET.pools)
    for pool in MARKET.pools:
        assert {pool.mint_0, pool.mint_1} <= {token.mint for token in known.all}
        assert pool.address.startswith(f"sim-{pool.venue}-{pool.kind}-")


def test_the_recorded_pool_is_the_recorded_pool() -> None:
    """Liquidity and ticks as in the accounts that a golden swap met; the market's own has a quarter of it."""
    case = next(case for case in clmm_vectors.load() if case.facts.id == "mainnet-clmm-2Tops12C8nY4")
    pool, account = recorded(), case.before["pool"]
    assert pool.address == case.facts.address
    assert (int(pool.liquidity), int(pool.sqrt_price)) == tuple(
        int.from_bytes(account[start : start + 16], "little") for start in (237, 253)
    )
    swap = pool.quote_in(Atoms(case.facts.amount), Mint(case.facts.input_mint), at(0))
    assert (swap.amount_in, swap.amount_out) == (case.facts.amount_in, case.facts.amount_out)
    ours = next(pool for pool in MARKET.pools if isinstance(pool, ClmmPool))
    assert [tick.index for tick in ours.ticks[1:-1]] == [tick.index for tick in pool.ticks]
    assert abs(int(ours.liquidity) * 4 - int(pool.liquidity)) < 4
    assert sum(int(tick.net) for tick in ours.ticks) == 0
    assert sum(int(tick.net) for tick in ours.ticks if tick.index <= ours.tick_current) == int(ours.liquidity)


@by_address
def test_a_pool_survives_its_json(pool: SimPool) -> None:
    moved = MARKET.drift(pool, 7, at(7))
    for each in (pool, moved):
        again = msgspec.json.decode(msgspec.json.encode(each), type=SimPool)
        assert again == each
        assert again.quote_in(Atoms(10**6), pool.mint_0, at(8)) == each.quote_in(Atoms(10**6), pool.mint_0, at(8))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_large_order_finds_its_depth_in_several_pools(seed: int) -> None:
    """4,000 SOL, sold in small parts, each where it brings most: less than 5 % below the best price."""
    market = default_market(seed)
    pools = {p.address: market.drift(p, 0, at(0)) for p in market.pools if pair_of(p) == (SOL.mint, USDC.mint)}
    best = max(Fraction(*pool.spot(SOL.mint)) for pool in pools.values())
    part, got, used = Atoms(40 * 10**9), 0, set[str]()
    for _ in range(100):
        swap, after = max(
            (p.swap_in(part, SOL.mint, at(0)) for p in pools.values()), key=lambda done: done[0].amount_out
        )
        pools[after.address] = after
        used.add(after.address)
        got += swap.amount_out
    assert len(used) >= 3
    assert got > best * 4_000 * 10**9 * Fraction(95, 100)


# ---- target prices


@pytest.mark.parametrize("seed", SEEDS)
def test_the_venues_stay_two_to_five_percent_apart(seed: int) -> None:
    market = default_market(seed)
    low, high = Fraction(2, 100) - ROUNDING, Fraction(5, 100) + ROUNDING
    for ours, theirs in {pair_of(ours): (ours, theirs) for ours, theirs in rivals(market)}.values():
        for tick in TICKS[:: 29 if seed else 3]:
            a, b = market.target(ours, tick), market.target(theirs, tick)
            gap = abs(a - b) / ((a + b) / 2)
            assert low <= gap <= high, f"{ours.address} {theirs.address} at tick {tick}: {float(gap):.5f}"


def test_all_pools_of_a_pair_at_a_venue_have_one_target() -> None:
    targets = {(pair_of(pool), pool.venue, MARKET.target(pool, 99)) for pool in MARKET.pools}
    assert len(targets) == len({(pair_of(pool), pool.venue) for pool in MARKET.pools})


def test_neither_venue_is_the_dear_one_everywhere() -> None:
    """Else routing would be no choice."""
    dear = {
        ours.venue if market.target(ours, 0) > market.target(theirs, 0) else theirs.venue
        for market in map(default_market, SEEDS)
        for ours, theirs in rivals(market)
    }
    assert dear == {"raydium", "meteora"}


@pytest.mark.parametrize("seed", SEEDS)
def test_targets_move_and_never_jump(seed: int) -> None:
    market = default_market(seed)
    for pool in {pair_of(pool): pool for pool in market.pools}.values():
        path = [float(market.target(pool, tick)) for tick in range(1_000)]
        steps = [abs(after / before - 1) * 10_000 for before, after in pairwise(path)]
        assert max(steps) <= JUMP_BPS_MAX
        assert max(path) / min(path) > 1 + 1 / 10_000, "the market is alive"


def test_a_staked_token_follows_its_origin() -> None:
    for tick in TICKS[::100]:
        ratio = Fraction(MARKET.prices.usd("mSOL", tick), MARKET.prices.usd("SOL", tick))
        assert abs(ratio / Fraction(5, 4) - 1) < Fraction(2, 1_000)


def test_another_seed_is_another_path() -> None:
    paths = {tuple(m.target(pool, 500) for pool in m.pools) for m in map(default_market, SEEDS)}
    assert len(paths) == len(SEEDS)


def test_ticks_follow_slots() -> None:
    assert [MARKET.tick(slots) for slots in (0, 4, 5, 9, 10)] == [0, 0, 1, 1, 2]
    assert all(MARKET.tick(MARKET.starts(tick)) == tick > MARKET.tick(MARKET.starts(tick) - 1) for tick in range(1, 9))


# ---- pools follow by trades


def assert_nothing_pays(market: Market, pool: SimPool, tick: int) -> None:
    """At the target price no swap of any size brings a profit; and the pool is no further away than fees explain."""
    target = market.target(pool, tick)
    for mint_in, price in ((pool.mint_0, target), (pool.mint_1, 1 / target)):
        assert Fraction(*pool.spot(mint_in)) > price * Fraction(98, 100)
        for size in range(1, 15):
            try:
                swap = pool.quote_in(Atoms(10**size), mint_in, at(tick))
            except PoolRefused:
                continue
            assert swap.amount_out <= price * swap.amount_in * (1 + Fraction(1, 10**9)) + DUST_ATOMS


@by_address
def test_after_each_tick_no_arbitrage_is_left(pool: SimPool) -> None:
    for tick in [*range(60), *range(60, 9_000, 300), 100_000, 10_000_000]:
        pool = MARKET.drift(pool, tick, at(tick))
        assert_nothing_pays(MARKET, pool, tick)


@by_address
def test_noise_and_arbitrage_go_on(pool: SimPool) -> None:
    path = [pool]
    for tick in range(40):
        path.append(MARKET.drift(path[-1], tick, at(tick)))
    assert sum(before != after for before, after in pairwise(path)) >= 5
    assert len({after.spot(pool.mint_0) for after in path}) >= 2


@given(st.integers(0, 10**6), st.integers(0, 10**5), st.integers(0, POOLS - 1), st.integers(1, 10**10), st.booleans())
def test_a_traded_pool_returns_to_its_path(seed: int, tick: int, index: int, amount: int, from_0: bool) -> None:
    """Wherever a swap has pushed it, the next tick pulls it back, and the fees stay."""
    market = default_market(seed)
    pushed = market.drift(market.pools[index], tick, at(tick))
    with suppress(PoolRefused):
        _, pushed = pushed.swap_in(Atoms(amount), pushed.mint_0 if from_0 else pushed.mint_1, at(tick))
    assert_nothing_pays(market, market.drift(pushed, tick + 1, at(tick + 1)), tick + 1)


@given(st.integers(0, 2**63 - 1), st.integers(0, 10**7))
def test_the_path_is_the_seed_s_alone(seed: int, tick: int) -> None:
    one, other = default_market(seed), default_market(seed)
    for mine, theirs in zip(one.pools, other.pools, strict=True):
        assert one.drift(mine, tick, at(tick)) == other.drift(theirs, tick, at(tick))


def test_a_price_beyond_a_pool_s_range_empties_it_and_it_comes_back() -> None:
    market = default_market(1, "seconds,SOL\n0,86\n100,86\n102,300\n200,300\n202,86")
    for start in market.pools:
        pool = start
        for tick in (0, 10, 51, 60, 61, 101, 102):
            pool = market.drift(pool, tick, at(tick))
        assert_nothing_pays(market, pool, 102)


# ---- prices from a file

CSV = "seconds,SOL,USDC\n0,100,1\n\n10, 110.5 ,1.0001\n"


def test_prices_from_a_file_lie_on_lines_between_its_rows() -> None:
    prices = PriceTable.parse(CSV)
    dollars = [Fraction(prices.usd("SOL", tick), USD) for tick in (0, 1, 2, 5, 6, 10**6)]
    assert dollars == [Fraction(text) for text in ("100", "102.1", "104.2", "110.5", "110.5", "110.5")]
    assert prices.usd("USDC", 5) == USD * 10_001 // 10_000
    later = PriceTable.parse("seconds,SOL\n10,100\n20,120")
    assert [later.usd("SOL", tick) // USD for tick in (0, 5, 6, 10)] == [100, 100, 104, 120]


def test_tokens_without_a_column_keep_their_start_price_or_follow() -> None:
    prices = PriceTable.parse(CSV)
    assert prices.usd("WBTC", 5) == START_USD["WBTC"]
    assert abs(prices.usd("mSOL", 5) - USD * 1105 // 10 * 5 // 4) < 1_000


def test_a_market_follows_the_file_with_the_venues_apart() -> None:
    market = default_market(1, CSV)
    for ours, theirs in rivals(market):
        if pair_of(ours) == (SOL.mint, USDC.mint):
            middle = (market.target(ours, 0) + market.target(theirs, 0)) / 2
            assert abs(middle - Fraction(100 * 10**6, 10**9)) < Fraction(1, 10**6)
            assert_nothing_pays(market, market.drift(ours, 0, at(0)), 0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "seconds\n0",
        "time,SOL\n0,100",
        "seconds,SOL",
        "seconds,SOL,SOL\n0,1,1",
        "seconds,DOGE\n0,1",
        "seconds,SOL\n0",
        "seconds,SOL\n0,1,2",
        "seconds,SOL\n0,0",
        "seconds,SOL\n0,-1",
        "seconds,SOL\n0,0.0000000000000000001",
        "seconds,SOL\n0,nan",
        "seconds,SOL\n0,inf",
        "seconds,SOL\n0,1e9",
        "seconds,SOL\n0,1e999999",
        "seconds,SOL\n0,cheap",
        "seconds,SOL\n1.5,1",
        "seconds,SOL\n-1,1",
        "seconds,SOL\n5,1\n5,1",
        "seconds,SOL\n5,1\n4,1",
    ],
)
def test_a_bad_file_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(FillwrightError) as refused:
        default_market(1, text)
    assert refused.value.code is Code.CONFIG_INVALID
    assert "table of prices: " in str(refused.value)

"""What holds for every constant-product pool and every amount, whatever the numbers.

A refused quote is no counterexample: the laws speak of swaps that can happen, and test_a_usual_swap_happens
shows that they do.
"""

from collections.abc import Callable
from typing import TypeAlias

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fillwright.errors import Code
from fillwright.pools import ChainTime, PoolRefused, Swap
from fillwright.pools.amm_v4 import AmmV4Pool
from fillwright.pools.cpmm import RATE_ONE, CpmmPool
from fillwright.pools.pool import Segment
from fillwright.units import Atoms, Mint

AnyPool: TypeAlias = AmmV4Pool | CpmmPool
Quote: TypeAlias = Callable[[Atoms, Mint, ChainTime], Swap]

A, B = Mint("a"), Mint("b")
NOW = ChainTime(slot=432_000_000, unix_seconds=1_780_000_000)
U64_MAX = 2**64 - 1


def spread(low: int, high: int) -> st.SearchStrategy[int]:
    """Integers of every magnitude alike: most u64 are huge, most mistakes are small."""
    magnitudes = st.integers(low.bit_length(), high.bit_length())
    return magnitudes.flatmap(lambda bits: st.integers(max(low, 1 << bits >> 1), min(high, (1 << bits) - 1)))


AMOUNTS = spread(1, 2**62)
OWED = spread(0, 2**40)
MINTS = st.sampled_from([A, B])
ANY = spread(1, 2**63)
USUAL = st.integers(10**12, 10**13)


@st.composite
def amm_v4_pools(draw: st.DrawFn, reserves: st.SearchStrategy[int] = ANY) -> AmmV4Pool:
    denominator = draw(st.sampled_from([1_000, 10_000, 1_000_000]))
    owed_0, owed_1 = draw(OWED), draw(OWED)
    return AmmV4Pool(
        address="amm",
        mint_0=A,
        mint_1=B,
        vault_0_amount=Atoms(owed_0 + draw(reserves)),
        vault_1_amount=Atoms(owed_1 + draw(reserves)),
        fee_numerator=draw(st.integers(0, denominator // 5)),
        fee_denominator=denominator,
        owed_0=Atoms(owed_0),
        owed_1=Atoms(owed_1),
    )


@st.composite
def cpmm_pools(draw: st.DrawFn, reserves: st.SearchStrategy[int] = ANY) -> CpmmPool:
    owed = [draw(OWED) for _ in range(6)]
    return CpmmPool(
        address="cpmm",
        mint_0=A,
        mint_1=B,
        vault_0_amount=Atoms(sum(owed[:3]) + draw(reserves)),
        vault_1_amount=Atoms(sum(owed[3:]) + draw(reserves)),
        trade_fee_rate=draw(st.integers(1, 100_000)),
        protocol_fee_rate=draw(st.integers(0, RATE_ONE // 2)),
        fund_fee_rate=draw(st.integers(0, RATE_ONE // 2)),
        creator_fee_rate=draw(st.sampled_from([0, 0, 500, 10_000, 99_999])),
        creator_fee_on=draw(st.integers(0, 2)),
        protocol_fees_0=Atoms(owed[0]),
        fund_fees_0=Atoms(owed[1]),
        creator_fees_0=Atoms(owed[2]),
        protocol_fees_1=Atoms(owed[3]),
        fund_fees_1=Atoms(owed[4]),
        creator_fees_1=Atoms(owed[5]),
    )


POOLS = amm_v4_pools() | cpmm_pools()


def quoted(quote: Quote, amount: int, mint_in: Mint) -> Swap:
    try:
        return quote(Atoms(amount), mint_in, NOW)
    except PoolRefused as refusal:
        assume(refusal.code is not Code.POOL_LIQUIDITY)
        raise


def some_output(pool: AnyPool, mint_in: Mint, number: int) -> int:
    """Any number -> an amount that the pool's output side holds."""
    reserve_out, _ = pool.spot(mint_in)
    return 1 + number % max(1, reserve_out - 1)


def other(mint: Mint) -> Mint:
    return B if mint == A else A


def product(pool: AnyPool) -> int:
    reserve_0, reserve_1 = pool.reserves()
    return reserve_0 * reserve_1


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS)
def test_there_and_back_never_gains(pool: AnyPool, mint_in: Mint, amount: int) -> None:
    there = quoted(pool.quote_in, amount, mint_in)
    _, moved = pool.swap_in(there.amount_in, mint_in, NOW)
    back = quoted(moved.quote_in, there.amount_out, other(mint_in))
    assert back.amount_out <= there.amount_in


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS, more=AMOUNTS)
def test_more_in_never_gives_less(pool: AnyPool, mint_in: Mint, amount: int, more: int) -> None:
    less, greater = quoted(pool.quote_in, amount, mint_in), quoted(pool.quote_in, amount + more, mint_in)
    assert less.amount_out <= greater.amount_out
    assert less.fee <= greater.fee


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS, more=AMOUNTS)
def test_more_out_never_costs_less(pool: AnyPool, mint_in: Mint, amount: int, more: int) -> None:
    one, two = sorted(some_output(pool, mint_in, number) for number in (amount, more))
    less, greater = quoted(pool.quote_out, one, mint_in), quoted(pool.quote_out, two, mint_in)
    assert less.amount_in <= greater.amount_in
    assert less.fee <= greater.fee


@given(pool=POOLS, mint_in=MINTS, first=AMOUNTS, second=AMOUNTS)
def test_parts_never_take_more_than_the_curve_without_fees(
    pool: AnyPool, mint_in: Mint, first: int, second: int
) -> None:
    part = quoted(pool.quote_in, first, mint_in)
    _, moved = pool.swap_in(part.amount_in, mint_in, NOW)
    rest = quoted(moved.quote_in, second, mint_in)
    reserve_out, reserve_in = pool.spot(mint_in)
    total_in, total_out = first + second, part.amount_out + rest.amount_out
    assert total_out * (reserve_in + total_in) <= reserve_out * total_in


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS)
def test_exact_out_costs_no_more_than_exact_in_paid(pool: AnyPool, mint_in: Mint, amount: int) -> None:
    bought = quoted(pool.quote_in, amount, mint_in)
    assert quoted(pool.quote_out, bought.amount_out, mint_in).amount_in <= amount


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS)
def test_paying_an_exact_outs_price_buys_at_least_that(pool: AnyPool, mint_in: Mint, amount: int) -> None:
    wanted = quoted(pool.quote_out, some_output(pool, mint_in, amount), mint_in)
    assert quoted(pool.quote_in, wanted.amount_in, mint_in).amount_out >= wanted.amount_out


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS, exact_in=st.booleans())
def test_a_swap_is_its_quote_and_the_product_never_falls(
    pool: AnyPool, mint_in: Mint, amount: int, exact_in: bool
) -> None:
    amount = amount if exact_in else some_output(pool, mint_in, amount)
    quote, swap = (pool.quote_in, pool.swap_in) if exact_in else (pool.quote_out, pool.swap_out)
    expected = quoted(quote, amount, mint_in)
    done, after = swap(Atoms(amount), mint_in, NOW)
    assert done == expected
    assert (done.amount_in if exact_in else done.amount_out) == amount
    moved = after.vault_0_amount - pool.vault_0_amount, after.vault_1_amount - pool.vault_1_amount
    assert moved == ((done.amount_in, -done.amount_out) if mint_in == A else (-done.amount_out, done.amount_in))
    assert min(after.reserves()) > 0
    assert max(after.vault_0_amount, after.vault_1_amount) <= U64_MAX
    assert product(after) >= product(pool)


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS, exact_in=st.booleans())
def test_no_swap_beats_the_spot_price(pool: AnyPool, mint_in: Mint, amount: int, exact_in: bool) -> None:
    amount = amount if exact_in else some_output(pool, mint_in, amount)
    swap = quoted(pool.quote_in if exact_in else pool.quote_out, amount, mint_in)
    numerator, denominator = pool.spot(mint_in)
    assert swap.amount_out * denominator <= (swap.amount_in - swap.fee) * numerator


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS, exact_in=st.booleans())
def test_the_fee_is_rounded_up_by_less_than_one(pool: AnyPool, mint_in: Mint, amount: int, exact_in: bool) -> None:
    amount = amount if exact_in else some_output(pool, mint_in, amount)
    swap = quoted(pool.quote_in if exact_in else pool.quote_out, amount, mint_in)
    rate, one = fee_rate(pool, mint_in)
    assert 0 <= swap.fee * one - swap.amount_in * rate < one


def fee_rate(pool: AnyPool, mint_in: Mint) -> tuple[int, int]:
    if isinstance(pool, AmmV4Pool):
        return pool.fee_numerator, pool.fee_denominator
    creator_pays_in = pool.creator_fee_on in (0, 1 if mint_in == A else 2)
    return pool.trade_fee_rate + (pool.creator_fee_rate if creator_pays_in else 0), RATE_ONE


# ---- segments: what the router searches with


def promised(segment: Segment, amount: int) -> float:
    return segment.rate * amount / (1 + amount / segment.depth)


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS)
def test_a_segment_promises_no_less_than_a_quote_gives_and_hardly_more(
    pool: AnyPool, mint_in: Mint, amount: int
) -> None:
    """Short of the promise by roundings only: less than two atoms of each kind, and 1e-9 of the whole."""
    swap = quoted(pool.quote_in, amount, mint_in)
    (segment,) = pool.segments(mint_in, NOW)
    assert amount <= segment.capacity * (1 + 1e-15)
    assert swap.amount_out <= promised(segment, amount)
    assert swap.amount_out >= promised(segment, amount) * (1 - 1e-9) - 2 - 2 * segment.rate


@pytest.mark.parametrize(("creator_fee_on", "rate", "depth"), [(0, 0.9, 10**6 / 0.9), (2, 0.92 * 0.98, 10**6 / 0.92)])
def test_a_segment_knows_who_pays_the_creator(creator_fee_on: int, rate: float, depth: float) -> None:
    """8 % on the input, and 2 % on the input or the output."""
    pool = CpmmPool(
        address="cpmm",
        mint_0=A,
        mint_1=B,
        vault_0_amount=Atoms(10**6),
        vault_1_amount=Atoms(10**6),
        trade_fee_rate=80_000,
        creator_fee_rate=20_000,
        creator_fee_on=creator_fee_on,
    )
    (segment,) = pool.segments(A, NOW)
    assert segment.rate == pytest.approx(rate, rel=1e-9)
    assert segment.depth == pytest.approx(depth, rel=1e-9)


@given(pool=POOLS, mint_in=MINTS)
def test_a_segment_ends_where_the_vault_is_full(pool: AnyPool, mint_in: Mint) -> None:
    (segment,) = pool.segments(mint_in, NOW)
    vault = pool.vault_0_amount if mint_in == A else pool.vault_1_amount
    assert segment.capacity == float(U64_MAX - vault)


@pytest.mark.parametrize("mint_in", [A, B])
def test_no_segments_where_it_cannot_swap(mint_in: Mint) -> None:
    """Not open, and empty; a foreign mint is refused as everywhere."""
    amm_v4 = AmmV4Pool(
        address="amm",
        mint_0=A,
        mint_1=B,
        vault_0_amount=Atoms(10**6),
        vault_1_amount=Atoms(10**6),
        fee_numerator=25,
        fee_denominator=10_000,
    )
    cpmm = CpmmPool(
        address="cpmm",
        mint_0=A,
        mint_1=B,
        vault_0_amount=Atoms(10**6),
        vault_1_amount=Atoms(10**6),
        trade_fee_rate=2_500,
    )
    pools: list[AnyPool] = [amm_v4, cpmm]
    for pool, closed in zip(pools, ({"status": 1}, {"status": 4}), strict=True):
        assert len(pool.segments(mint_in, NOW)) == 1
        assert msgspec.structs.replace(pool, **closed).segments(mint_in, NOW) == ()
        assert msgspec.structs.replace(pool, vault_1_amount=0).segments(mint_in, NOW) == ()
        later = msgspec.structs.replace(pool, status=7 if pool.kind == "amm_v4" else 0, open_time=NOW.unix_seconds + 1)
        assert later.segments(mint_in, NOW) == ()
        with pytest.raises(PoolRefused):
            pool.segments(Mint("c"), NOW)


@given(pool=amm_v4_pools(USUAL) | cpmm_pools(USUAL), mint_in=MINTS, exact_in=st.booleans())
def test_a_usual_swap_happens(pool: AnyPool, mint_in: Mint, exact_in: bool) -> None:
    """A hundredth of a usual pool is never refused."""
    reserve_out, reserve_in = pool.spot(mint_in)
    quote = pool.quote_in if exact_in else pool.quote_out
    quote(Atoms((reserve_in if exact_in else reserve_out) // 100), mint_in, NOW)

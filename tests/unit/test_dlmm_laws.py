"""What holds for every DLMM pool and every amount, whatever the numbers.

A refused quote is no counterexample: the laws speak of swaps that can happen, and test_a_usual_swap_happens shows
that they do. Exact out may be refused where exact in is not: see DlmmPool.quote_out.
"""

from collections.abc import Callable
from typing import TypeAlias

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from fillwright.errors import Code
from fillwright.pools import ChainTime, PoolRefused, Swap
from fillwright.pools.dlmm import DlmmPool
from fillwright.pools.dlmm_bins import Bin, bin_price
from fillwright.pools.pool import Segment
from fillwright.units import Atoms, Mint

Quote: TypeAlias = Callable[[Atoms, Mint, ChainTime], Swap]

A, B = Mint("a"), Mint("b")
NOW = ChainTime(slot=432_000_000, unix_seconds=1_780_000_000)
U64_MAX = 2**64 - 1
VAULT = 2**62


def spread(low: int, high: int) -> st.SearchStrategy[int]:
    """Integers of every magnitude alike: most u64 are huge, most mistakes are small."""
    magnitudes = st.integers(low.bit_length(), high.bit_length())
    return magnitudes.flatmap(lambda bits: st.integers(max(low, 1 << bits >> 1), min(high, (1 << bits) - 1)))


NUMBERS = spread(1, 2**52)
HELD = st.just(0) | spread(1, 2**48)
MINTS = st.sampled_from([A, B])


@st.composite
def bins(draw: st.DrawFn, bin_id: int, *, active_id: int, bin_step: int) -> Bin:
    """Below the active bin there is token 1, above it token 0, in it both."""
    left, opened = draw(HELD), draw(HELD)
    return Bin(
        id=bin_id,
        amount_0=draw(HELD) if bin_id >= active_id else 0,
        amount_1=draw(HELD) if bin_id <= active_id else 0,
        price=str(bin_price(bin_id, bin_step)),
        liquidity=str(draw(spread(0, 2**100))),
        open_orders=opened,
        processing=left,
        processed_left=left,
        ask_side=draw(st.integers(0, 1)) if bin_id == active_id else int(bin_id > active_id),
    )


@st.composite
def pools(draw: st.DrawFn) -> DlmmPool:
    bin_step, active_id = draw(st.sampled_from([1, 10, 80, 400])), draw(st.integers(-200, 200))
    ids = {active_id + offset for offset in draw(st.sets(st.integers(-6, 6), min_size=1, max_size=6))}
    return DlmmPool(
        address="dlmm",
        mint_0=A,
        mint_1=B,
        vault_0_amount=Atoms(VAULT),
        vault_1_amount=Atoms(VAULT),
        bin_step=bin_step,
        active_id=active_id,
        bins=tuple(draw(bins(bin_id, active_id=active_id, bin_step=bin_step)) for bin_id in sorted(ids)),
        base_fee_rate=draw(spread(0, 10**8)),
        filter_period=10,
        decay_period=100,
        reduction_factor=5_000,
        variable_fee_control=draw(st.sampled_from([0, 7_500, 40_000, 2_000_000])),
        max_volatility=350_000,
        volatility=draw(spread(0, 350_000)),
        volatility_reference=draw(spread(0, 350_000)),
        index_reference=active_id + draw(st.integers(-8, 8)),
        last_update=NOW.unix_seconds - draw(st.sampled_from([0, 10, 100])),
        protocol_share=draw(st.integers(0, 2_500)),
        fee_on_1=draw(st.booleans()),
        limit_orders=draw(st.booleans()),
    )


def quoted(quote: Quote, amount: int, mint_in: Mint) -> Swap:
    try:
        return quote(Atoms(amount), mint_in, NOW)
    except PoolRefused as refusal:
        assume(refusal.code is not Code.POOL_LIQUIDITY)
        raise


def available(pool: DlmmPool, mint_in: Mint) -> int:
    return sum(rung.output for rung in pool._ladder(mint_in))


def some_output(pool: DlmmPool, mint_in: Mint, number: int) -> int:
    """Any number -> an amount that the pool's output side holds."""
    return 1 + number % max(1, available(pool, mint_in))


def some_input(pool: DlmmPool, mint_in: Mint, number: int) -> int:
    """Any number -> an amount that the pool can hardly fail to take."""
    return 1 + number % max(1, sum(rung.cost for rung in pool._ladder(mint_in)))


def other(mint: Mint) -> Mint:
    return B if mint == A else A


@given(pool=pools(), mint_in=MINTS, number=NUMBERS)
def test_there_and_back_never_gains(pool: DlmmPool, mint_in: Mint, number: int) -> None:
    there = quoted(pool.quote_in, some_input(pool, mint_in, number), mint_in)
    _, moved = pool.swap_in(there.amount_in, mint_in, NOW)
    back = quoted(moved.quote_in, there.amount_out, other(mint_in))
    assert back.amount_out <= there.amount_in


@given(pool=pools(), mint_in=MINTS, number=NUMBERS, more=spread(1, 2**40))
def test_more_in_never_gives_less(pool: DlmmPool, mint_in: Mint, number: int, more: int) -> None:
    amount = some_input(pool, mint_in, number)
    less, greater = quoted(pool.quote_in, amount, mint_in), quoted(pool.quote_in, amount + more, mint_in)
    assert less.amount_out <= greater.amount_out


@given(pool=pools(), mint_in=MINTS, number=NUMBERS, more=NUMBERS)
def test_more_out_never_costs_less(pool: DlmmPool, mint_in: Mint, number: int, more: int) -> None:
    one, two = sorted(some_output(pool, mint_in, number) for number in (number, more))
    less, greater = quoted(pool.quote_out, one, mint_in), quoted(pool.quote_out, two, mint_in)
    assert less.amount_in <= greater.amount_in


@given(pool=pools(), mint_in=MINTS, number=NUMBERS)
def test_exact_out_costs_no_more_than_exact_in_paid(pool: DlmmPool, mint_in: Mint, number: int) -> None:
    amount = some_input(pool, mint_in, number)
    bought = quoted(pool.quote_in, amount, mint_in)
    assert quoted(pool.quote_out, bought.amount_out, mint_in).amount_in <= amount


@given(pool=pools(), mint_in=MINTS, number=NUMBERS)
def test_paying_an_exact_outs_price_buys_at_least_that(pool: DlmmPool, mint_in: Mint, number: int) -> None:
    wanted = quoted(pool.quote_out, some_output(pool, mint_in, number), mint_in)
    assert quoted(pool.quote_in, wanted.amount_in, mint_in).amount_out >= wanted.amount_out


@given(pool=pools(), mint_in=MINTS, number=NUMBERS, exact_in=st.booleans())
def test_a_swap_is_its_quote_and_makes_no_atom(pool: DlmmPool, mint_in: Mint, number: int, exact_in: bool) -> None:
    amount = (some_input if exact_in else some_output)(pool, mint_in, number)
    quote, swap = (pool.quote_in, pool.swap_in) if exact_in else (pool.quote_out, pool.swap_out)
    expected = quoted(quote, amount, mint_in)
    done, after = swap(Atoms(amount), mint_in, NOW)
    assert done == expected
    assert (done.amount_in if exact_in else done.amount_out) == amount
    moved = after.vault_0_amount - VAULT, after.vault_1_amount - VAULT
    assert moved == ((done.amount_in, -done.amount_out) if mint_in == A else (-done.amount_out, done.amount_in))
    for owed_after, owed_before, change in zip(owed(after), owed(pool), moved, strict=True):
        assert owed_after - owed_before <= change
    assert min(amount for b in after.bins for amount in (b.amount_0, b.amount_1, b.processed_left)) >= 0
    assert [b.id for b in after.bins] == [b.id for b in pool.bins]


def owed(pool: DlmmPool) -> tuple[int, int]:
    """What the pool can pay out, and the protocol's fees; of order owners and providers' fees it keeps no sum."""
    reserve_0, reserve_1 = pool.reserves()
    return reserve_0 + pool.protocol_fees_0, reserve_1 + pool.protocol_fees_1


@given(pool=pools(), mint_in=MINTS, number=NUMBERS, exact_in=st.booleans())
def test_a_swap_only_moves_the_active_bin_its_way(pool: DlmmPool, mint_in: Mint, number: int, exact_in: bool) -> None:
    amount = (some_input if exact_in else some_output)(pool, mint_in, number)
    quoted(pool.quote_in if exact_in else pool.quote_out, amount, mint_in)
    _, after = (pool.swap_in if exact_in else pool.swap_out)(Atoms(amount), mint_in, NOW)
    assert (after.active_id <= pool.active_id) if mint_in == A else (after.active_id >= pool.active_id)
    crossed = range(after.active_id + 1, 10**6) if mint_in == A else range(-(10**6), after.active_id)
    assert not any(b.amount_1 if mint_in == A else b.amount_0 for b in after.bins if b.id in crossed)


@given(pool=pools(), mint_in=MINTS, number=NUMBERS, exact_in=st.booleans())
def test_no_swap_beats_the_spot_price(pool: DlmmPool, mint_in: Mint, number: int, exact_in: bool) -> None:
    amount = (some_input if exact_in else some_output)(pool, mint_in, number)
    swap = quoted(pool.quote_in if exact_in else pool.quote_out, amount, mint_in)
    numerator, denominator = pool.spot(mint_in)
    fee_in, fee_out = (swap.fee, 0) if swap.fee_mint == mint_in else (0, swap.fee)
    assert (swap.amount_out + fee_out) * denominator <= (swap.amount_in - fee_in) * numerator


def promised(segments: tuple[Segment, ...], amount: float) -> float:
    total = 0.0
    for segment in segments:
        x = min(amount, segment.capacity)
        total += segment.rate * x / (1 + x / segment.depth)
        amount -= x
    return total


@given(pool=pools(), mint_in=MINTS, number=NUMBERS)
def test_segments_promise_what_the_quote_gives_and_hardly_more(pool: DlmmPool, mint_in: Mint, number: int) -> None:
    """The roundings: two input atoms and one output atom a bin, six at most; one more a limit-order layer."""
    swap = quoted(pool.quote_in, some_input(pool, mint_in, number), mint_in)
    segments = pool.segments(mint_in, NOW)
    assert [s.rate for s in segments] == sorted((s.rate for s in segments), reverse=True)
    assert all(s.capacity > 0 for s in segments)
    promise, rungs = promised(segments, float(swap.amount_in)), pool._ladder(mint_in)
    assert promise >= swap.amount_out
    if len(segments) == len(rungs):
        roundings = len(rungs) * (3 + 4 * segments[0].rate)
        assert promise - swap.amount_out <= 1e-9 * promise + roundings


@given(pool=pools())
def test_a_pool_survives_being_stored(pool: DlmmPool) -> None:
    assert msgspec.json.decode(msgspec.json.encode(pool), type=DlmmPool) == pool
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(pool), type=DlmmPool) == pool


@given(pool=pools(), mint_in=MINTS, exact_in=st.booleans(), held=st.integers(10**9, 10**12))
def test_a_usual_swap_happens(pool: DlmmPool, mint_in: Mint, exact_in: bool, held: int) -> None:
    """A hundredth of a bin with liquidity alone is never refused."""
    price = str(bin_price(pool.active_id, pool.bin_step))
    pool = msgspec.structs.replace(pool, bins=(Bin(pool.active_id, held, held, price),))
    amount = available(pool, mint_in) // 100
    if exact_in:
        assert pool.quote_in(Atoms(sum(r.cost for r in pool._ladder(mint_in)) // 100), mint_in, NOW).amount_out > 0
    else:
        assert pool.quote_out(Atoms(amount), mint_in, NOW).amount_out == amount

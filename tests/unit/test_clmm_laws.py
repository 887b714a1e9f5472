"""What holds for every Raydium CLMM pool and every amount, whatever the numbers.

A refused quote is no counterexample: the laws speak of swaps that can happen, and test_a_usual_swap_happens shows
that they do. The fee is not monotone: what a price in steps of 2**-64 leaves over of the input is fee too.
"""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fillwright.errors import Code
from fillwright.pools import ChainTime, PoolRefused, Swap
from fillwright.pools import clmm_math as m
from fillwright.pools.clmm import ClmmPool
from fillwright.pools.clmm_ticks import Tick
from fillwright.pools.pool import Segment
from fillwright.units import Atoms, Mint

A, B = Mint("a"), Mint("b")
NOW = ChainTime(slot=432_000_000, unix_seconds=1_780_000_000)
MINTS = st.sampled_from([A, B])
ONE = 1_000_000


def spread(low: int, high: int) -> st.SearchStrategy[int]:
    """Integers of every magnitude alike: most u64 are huge, most mistakes are small."""
    magnitudes = st.integers(low.bit_length(), high.bit_length())
    return magnitudes.flatmap(lambda bits: st.integers(max(low, 1 << bits >> 1), min(high, (1 << bits) - 1)))


AMOUNTS = spread(1, 2**62)


@st.composite
def pools(draw: st.DrawFn, liquidity: st.SearchStrategy[int] = spread(1, 2**90)) -> ClmmPool:  # noqa: B008
    """Up to five positions around a price, on ticks or between them, some of them out of range."""
    spacing = draw(st.sampled_from([1, 10, 60, 120]))
    center = draw(st.integers(-2_000, 2_000)) * spacing
    tick = center + draw(st.integers(0, spacing - 1))
    low, high = m.sqrt_price_at(tick), m.sqrt_price_at(tick + 1)
    nets: Counter[int] = Counter()
    current = 0
    for _ in range(draw(st.integers(1, 5))):
        lower = center + draw(st.integers(-40, 30)) * spacing
        upper = lower + draw(st.integers(1, 60)) * spacing
        size = draw(liquidity)
        nets[lower] += size
        nets[upper] -= size
        current += size if lower <= tick < upper else 0
    return ClmmPool(
        address="clmm",
        mint_0=A,
        mint_1=B,
        vault_0_amount=Atoms(2**63),
        vault_1_amount=Atoms(2**63),
        trade_fee_rate=draw(st.sampled_from([0, 1, 100, 2_500, 10_000, 100_000])),
        protocol_fee_rate=draw(st.integers(0, ONE // 2)),
        fund_fee_rate=draw(st.integers(0, ONE // 2)),
        tick_spacing=spacing,
        tick_current=tick,
        sqrt_price=str(draw(st.integers(low, high - 1) | st.just(low))),
        liquidity=str(current),
        ticks=tuple(Tick(index, str(net)) for index, net in sorted(nets.items())),
    )


POOLS = pools()


def quoted(pool: ClmmPool, amount: int, mint_in: Mint, *, exact_in: bool) -> Swap:
    try:
        return (pool.quote_in if exact_in else pool.quote_out)(Atoms(amount), mint_in, NOW)
    except PoolRefused as refusal:
        assume(refusal.code is not Code.POOL_LIQUIDITY)
        raise


def other(mint: Mint) -> Mint:
    return B if mint == A else A


def some_input(pool: ClmmPool, mint_in: Mint, number: int) -> int:
    """Any number -> an amount that the pool can take."""
    room = sum(int(segment.capacity) for segment in pool.segments(mint_in, NOW))
    return 1 + number % max(1, room)


def some_output(pool: ClmmPool, mint_in: Mint, number: int) -> int:
    """Any number -> an amount that the pool's ranges hold."""
    return 1 + number % max(1, pool.reserves()[mint_in == A])


def moved_out(pool: ClmmPool, amount: int, mint_in: Mint) -> ClmmPool:
    return pool.swap_out(Atoms(amount), mint_in, NOW)[1]


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS)
def test_there_and_back_never_gains(pool: ClmmPool, mint_in: Mint, amount: int) -> None:
    there = quoted(pool, some_input(pool, mint_in, amount), mint_in, exact_in=True)
    _, moved = pool.swap_in(there.amount_in, mint_in, NOW)
    back = quoted(moved, there.amount_out, other(mint_in), exact_in=True)
    assert back.amount_out <= there.amount_in


@given(pool=POOLS, mint_in=MINTS, numbers=st.tuples(AMOUNTS, AMOUNTS))
def test_more_in_never_gives_less(pool: ClmmPool, mint_in: Mint, numbers: tuple[int, int]) -> None:
    one, two = sorted(some_input(pool, mint_in, number) for number in numbers)
    less, greater = quoted(pool, one, mint_in, exact_in=True), quoted(pool, two, mint_in, exact_in=True)
    assert less.amount_out <= greater.amount_out


@given(pool=POOLS, mint_in=MINTS, numbers=st.tuples(AMOUNTS, AMOUNTS))
def test_more_out_never_costs_less(pool: ClmmPool, mint_in: Mint, numbers: tuple[int, int]) -> None:
    one, two = sorted(some_output(pool, mint_in, number) for number in numbers)
    less, greater = quoted(pool, one, mint_in, exact_in=False), quoted(pool, two, mint_in, exact_in=False)
    assert less.amount_in <= greater.amount_in
    assert less.fee <= greater.fee


@given(pool=POOLS, mint_in=MINTS, numbers=st.tuples(AMOUNTS, AMOUNTS))
def test_parts_take_no_more_than_the_whole(pool: ClmmPool, mint_in: Mint, numbers: tuple[int, int]) -> None:
    """Two swaps one after the other cost no less than their outputs at once, but for the rounding of fees."""
    first = quoted(pool, some_output(pool, mint_in, numbers[0]), mint_in, exact_in=False)
    moved = moved_out(pool, first.amount_out, mint_in)
    second = quoted(moved, some_output(moved, mint_in, numbers[1]), mint_in, exact_in=False)
    whole = quoted(pool, first.amount_out + second.amount_out, mint_in, exact_in=False)
    assert whole.amount_in - whole.fee <= first.amount_in + second.amount_in - first.fee - second.fee


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS)
def test_exact_out_costs_no_more_than_exact_in_paid(pool: ClmmPool, mint_in: Mint, amount: int) -> None:
    """But where the same output is all that a range holds: then exact out pays for all of that range."""
    bought = quoted(pool, some_input(pool, mint_in, amount), mint_in, exact_in=True)
    cost = quoted(pool, bought.amount_out, mint_in, exact_in=False)
    after = moved_out(pool, bought.amount_out, mint_in)
    on_tick = int(after.sqrt_price) in {m.sqrt_price_at(tick.index) for tick in pool.ticks}
    assert cost.amount_in <= bought.amount_in or on_tick


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS)
def test_paying_an_exact_outs_price_buys_at_least_that(pool: ClmmPool, mint_in: Mint, amount: int) -> None:
    wanted = quoted(pool, some_output(pool, mint_in, amount), mint_in, exact_in=False)
    assert quoted(pool, wanted.amount_in, mint_in, exact_in=True).amount_out >= wanted.amount_out


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS, exact_in=st.booleans())
def test_a_swap_is_its_quote_and_leaves_a_sound_pool(
    pool: ClmmPool, mint_in: Mint, amount: int, exact_in: bool
) -> None:
    amount = (some_input if exact_in else some_output)(pool, mint_in, amount)
    expected = quoted(pool, amount, mint_in, exact_in=exact_in)
    done, after = (pool.swap_in if exact_in else pool.swap_out)(Atoms(amount), mint_in, NOW)
    assert done == expected
    assert (done.amount_in if exact_in else done.amount_out) == amount
    moved = after.vault_0_amount - pool.vault_0_amount, after.vault_1_amount - pool.vault_1_amount
    assert moved == ((done.amount_in, -done.amount_out) if mint_in == A else (-done.amount_out, done.amount_in))
    fees_0 = after.protocol_fees_0 + after.fund_fees_0 + after.lp_fees_0
    fees_1 = after.protocol_fees_1 + after.fund_fees_1 + after.lp_fees_1
    assert (fees_0, fees_1) == ((done.fee, 0) if mint_in == A else (0, done.fee))
    low, high = m.sqrt_price_at(after.tick_current), m.sqrt_price_at(after.tick_current + 1)
    assert low <= int(after.sqrt_price) <= high
    below = [int(tick.net) for tick in after.ticks if tick.index <= after.tick_current]
    assert int(after.liquidity) == sum(below)
    assert (after.recent_epoch, after.venue) == (NOW.epoch, pool.venue)


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS, exact_in=st.booleans())
def test_no_swap_beats_the_spot_price_or_the_fee(pool: ClmmPool, mint_in: Mint, amount: int, exact_in: bool) -> None:
    amount = (some_input if exact_in else some_output)(pool, mint_in, amount)
    done = quoted(pool, amount, mint_in, exact_in=exact_in)
    numerator, denominator = pool.spot(mint_in)
    assert done.amount_out * denominator <= (done.amount_in - done.fee) * numerator
    assert done.fee * ONE >= done.amount_in * pool.trade_fee_rate


@given(pool=POOLS, mint_in=MINTS)
def test_reserves_are_all_there_is(pool: ClmmPool, mint_in: Mint) -> None:
    """To the atom, where the other vault can take what they cost."""
    reserve = pool.reserves()[mint_in == A]
    assume(reserve)
    assert quoted(pool, reserve, mint_in, exact_in=False).amount_out == reserve
    with pytest.raises(PoolRefused) as refusal:
        pool.quote_out(Atoms(reserve + 1), mint_in, NOW)
    assert refusal.value.code is Code.POOL_LIQUIDITY


def promised(segments: tuple[Segment, ...], amount: float) -> float:
    total = 0.0
    for segment in segments:
        x = min(amount, segment.capacity)
        total += segment.rate * x / (1 + x / segment.depth)
        amount -= x
    return total


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS)
def test_segments_are_a_tight_upper_bound(pool: ClmmPool, mint_in: Mint, amount: int) -> None:
    """Above the quote by 1e-9 of it, and by the roundings of each range: an atom of output, four of input, and two
    of the last bits of the price, one for that of the end and one for the input that it leaves over."""
    segments = pool.segments(mint_in, NOW)
    done = quoted(pool, some_input(pool, mint_in, amount), mint_in, exact_in=True)
    upper = promised(segments, done.amount_in)
    assert done.amount_out <= upper
    price = int(pool.sqrt_price)
    most = max(segments[0].rate, 1e-300)
    liquidity = max(liquidity for _, _, liquidity in pool._ranges(down=mint_in == A))
    bit = liquidity / 2**64 if mint_in == A else liquidity * 2**64 / price**2
    assert upper - done.amount_out <= 1e-9 * upper + len(segments) * (1 + 4 * most) + 2 * bit


@given(pool=POOLS, mint_in=MINTS)
def test_segments_fall_in_price_and_hold_the_reserves(pool: ClmmPool, mint_in: Mint) -> None:
    segments = pool.segments(mint_in, NOW)
    for first, second in pairwise(segments):
        assert second.rate <= first.rate / (1 + first.capacity / first.depth) ** 2 * (1 + 1e-11)
    total = promised(segments, sum(segment.capacity for segment in segments))
    reserve = pool.reserves()[mint_in == A]
    assume(reserve < 2**63)
    assert reserve <= total * (1 + 1e-12) <= (reserve + len(segments)) * (1 + 1e-10)


@given(pool=pools(st.integers(10**12, 10**15)), mint_in=MINTS, exact_in=st.booleans())
def test_a_usual_swap_happens(pool: ClmmPool, mint_in: Mint, exact_in: bool) -> None:
    """A hundredth of what a usual pool holds is never refused."""
    reserve = pool.reserves()[mint_in == A]
    assume(reserve > 10**6)
    room = sum(segment.capacity for segment in pool.segments(mint_in, NOW))
    quote = pool.quote_in if exact_in else pool.quote_out
    quote(Atoms((int(room) if exact_in else reserve) // 100), mint_in, NOW)

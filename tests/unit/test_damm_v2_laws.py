"""Meteora DAMM v2: what holds for every pool and every amount, whatever the numbers.

A refused quote is no counterexample: the laws speak of swaps that can happen, and test_a_usual_swap_happens
shows that they do.
"""

from math import inf, isqrt

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fillwright.errors import Code
from fillwright.pools import ChainTime, PoolRefused
from fillwright.pools.damm_v2 import BOTH_TOKENS, COMPOUNDING, ONLY_TOKEN_1, DammV2Pool
from fillwright.pools.damm_v2_curve import Range
from fillwright.pools.damm_v2_fees import BPS_RATE, RATE_ONE, BaseFee, DynamicFee, PriceFee, RateLimiter, TimeFee, Wide
from fillwright.pools.pool import Segment
from fillwright.units import Atoms, Mint
from tests.unit.test_pool_laws import MINTS, NOW, A, B, Quote, other, quoted, spread

AMOUNTS = spread(1, 2**62)
ANY = spread(1, 2**62)
USUAL = st.integers(10**12, 10**13)
AGES = spread(0, 10**6)
SQRT_MIN, SQRT_MAX = 4_295_048_016, 79_226_673_521_066_979_257_578_248_091


def schedules(sqrt_price: int) -> st.SearchStrategy[BaseFee]:
    """Those of which no rate falls to zero."""
    cliffs = st.integers(100_000_000, 990_000_000)
    flat = st.builds(TimeFee, cliff=st.integers(100_000, 990_000_000))
    falling = {"periods": st.integers(1, 100), "reduction": spread(1, 1_000_000)}
    by_time = st.builds(TimeFee, cliff=cliffs, exponential=st.booleans(), frequency=st.integers(1, 10**5), **falling)
    starts = spread(max(1, sqrt_price // 100), sqrt_price * 2).map(lambda start: Wide(str(start)))
    by_price = st.builds(
        PriceFee,
        cliff=cliffs,
        exponential=st.booleans(),
        step_bps=st.integers(1, 10_000),
        expires_after=st.integers(1, 10**6),
        sqrt_start=starts,
        **falling,
    )
    return (flat | by_time | by_price).filter(lambda fee: fee.lowest() > 0)


@st.composite
def limiters(draw: st.DrawFn) -> RateLimiter:
    max_bps = draw(st.integers(1, 9_900))
    return RateLimiter(
        cliff=draw(st.integers(min(100_000, max_bps * BPS_RATE), max_bps * BPS_RATE)),
        increment_bps=draw(st.integers(1, 2_000)),
        lasts=43_200,
        max_bps=max_bps,
        reference=draw(spread(1, 2**50)),
    )


def dynamic_fees(sqrt_price: int) -> st.SearchStrategy[DynamicFee | None]:
    return st.none() | st.builds(
        DynamicFee,
        control=st.integers(0, 2**24 - 1),
        volatility_max=st.just(2**24 - 1),
        filter_seconds=st.just(10),
        decay_seconds=st.just(120),
        kept_bps=st.integers(0, 10_000),
        last_update=AGES.map(lambda age: NOW.unix_seconds - age),
        sqrt_reference=spread(max(1, sqrt_price // 2), sqrt_price * 2).map(lambda price: Wide(str(price))),
        volatility=spread(0, 2**24 - 1),
        volatility_reference=spread(0, 2**24 - 1),
    )


@st.composite
def pools(
    draw: st.DrawFn, reserves: st.SearchStrategy[int] = ANY, *, limited: bool = False, shaken: bool = True
) -> DammV2Pool:
    virtual_0, virtual_1 = draw(reserves), draw(reserves)
    mode = ONLY_TOKEN_1 if limited else draw(st.sampled_from([BOTH_TOKENS, ONLY_TOKEN_1, COMPOUNDING]))
    price, liquidity = isqrt((virtual_1 << 128) // virtual_0), isqrt(virtual_0 * virtual_1) << 64
    if mode == COMPOUNDING:
        low, high, reserve_0, reserve_1 = 0, 2**128 - 1, virtual_0, virtual_1
    else:
        price = min(max(price, SQRT_MIN), SQRT_MAX)
        low, high = draw(spread(SQRT_MIN, price)), draw(spread(price, SQRT_MAX))
        reserve_0, reserve_1 = Range(liquidity, price, low, high).reserves()
        assume(max(reserve_0, reserve_1) < 2**63)
    owed_0, owed_1 = draw(spread(0, 2**40)), draw(spread(0, 2**40))
    return DammV2Pool(
        address="damm",
        mint_0=A,
        mint_1=B,
        vault_0_amount=Atoms(reserve_0 + owed_0),
        vault_1_amount=Atoms(reserve_1 + owed_1),
        reserve_0=Atoms(reserve_0),
        reserve_1=Atoms(reserve_1),
        liquidity=Wide(str(liquidity)),
        sqrt_price=Wide(str(price)),
        sqrt_price_min=Wide(str(low)),
        sqrt_price_max=Wide(str(high)),
        base_fee=draw(limiters() if limited else schedules(price)),
        dynamic_fee=draw(dynamic_fees(price)) if shaken else None,
        rate_max=990_000_000 if limited else draw(st.sampled_from([500_000_000, 990_000_000])),
        collect_fee_mode=mode,
        protocol_percent=20,
        compounding_bps=draw(st.integers(1, 10_000)) if mode == COMPOUNDING else 0,
        activation_point=NOW.unix_seconds - (0 if limited else draw(AGES)),
        protocol_fees_0=Atoms(owed_0 // 2),
        protocol_fees_1=Atoms(owed_1 // 2),
    )


POOLS = pools()


def some_output(pool: DammV2Pool, mint_in: Mint, number: int) -> int:
    """Any number -> an amount that the pool's output side holds."""
    reserve_out = pool.reserve_1 if mint_in == A else pool.reserve_0
    return 1 + number % max(1, reserve_out - 1)


def quote_of(pool: DammV2Pool, exact_in: bool) -> Quote:
    return pool.quote_in if exact_in else pool.quote_out


@given(pool=POOLS | pools(limited=True), mint_in=MINTS, amount=AMOUNTS)
def test_there_and_back_never_gains(pool: DammV2Pool, mint_in: Mint, amount: int) -> None:
    there = quoted(pool.quote_in, amount, mint_in)
    _, moved = pool.swap_in(there.amount_in, mint_in, NOW)
    back = quoted(moved.quote_in, there.amount_out, other(mint_in))
    assert back.amount_out <= there.amount_in


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS, more=AMOUNTS)
def test_more_in_never_gives_less(pool: DammV2Pool, mint_in: Mint, amount: int, more: int) -> None:
    less, greater = quoted(pool.quote_in, amount, mint_in), quoted(pool.quote_in, amount + more, mint_in)
    assert less.amount_out <= greater.amount_out
    assert less.fee <= greater.fee


@given(pool=pools(limited=True, shaken=False), amount=AMOUNTS, more=AMOUNTS)
def test_under_a_limiter_more_in_gives_hardly_less(pool: DammV2Pool, amount: int, more: int) -> None:
    """Its average rate is rounded up to a billionth of the whole amount, so one atom more may cost many.

    With a dynamic fee on top the last parts can even cost more than they are.
    """
    less, greater = quoted(pool.quote_in, amount, B), quoted(pool.quote_in, amount + more, B)
    rounding = (amount + more) // RATE_ONE + 3
    assert less.fee <= greater.fee + rounding
    assert less.amount_in - less.fee <= greater.amount_in - greater.fee + rounding


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS, more=AMOUNTS)
def test_more_out_never_costs_less(pool: DammV2Pool, mint_in: Mint, amount: int, more: int) -> None:
    one, two = sorted(some_output(pool, mint_in, number) for number in (amount, more))
    less, greater = quoted(pool.quote_out, one, mint_in), quoted(pool.quote_out, two, mint_in)
    assert less.amount_in <= greater.amount_in
    assert less.fee <= greater.fee


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS)
def test_exact_out_costs_no_more_than_exact_in_paid(pool: DammV2Pool, mint_in: Mint, amount: int) -> None:
    bought = quoted(pool.quote_in, amount, mint_in)
    assert pool.quote_out(bought.amount_out, mint_in, NOW).amount_in <= amount


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS)
def test_paying_an_exact_outs_price_buys_at_least_that(pool: DammV2Pool, mint_in: Mint, amount: int) -> None:
    wanted = quoted(pool.quote_out, some_output(pool, mint_in, amount), mint_in)
    assert quoted(pool.quote_in, wanted.amount_in, mint_in).amount_out >= wanted.amount_out


@given(pool=POOLS | pools(limited=True), mint_in=MINTS, amount=AMOUNTS, exact_in=st.booleans())
def test_a_swap_is_its_quote_and_the_books_balance(
    pool: DammV2Pool, mint_in: Mint, amount: int, exact_in: bool
) -> None:
    """What enters the vaults is liquidity, the protocol's, or claimed by positions; nothing else, nothing lost."""
    assume(exact_in or not pool.is_limited(mint_in, NOW))
    amount = amount if exact_in else some_output(pool, mint_in, amount)
    expected = quoted(quote_of(pool, exact_in), amount, mint_in)
    done, after = (pool.swap_in if exact_in else pool.swap_out)(Atoms(amount), mint_in, NOW)
    assert done == expected
    assert (done.amount_in if exact_in else done.amount_out) == amount
    moved = after.vault_0_amount - pool.vault_0_amount, after.vault_1_amount - pool.vault_1_amount
    assert moved == ((done.amount_in, -done.amount_out) if mint_in == A else (-done.amount_out, done.amount_in))
    protocol, lp = done.fee * 20 // 100, done.fee - done.fee * 20 // 100
    owed = protocol + lp - lp * pool.compounding_bps // 10_000
    grown = after.reserve_0 - pool.reserve_0, after.reserve_1 - pool.reserve_1
    assert moved == ((grown[0] + owed, grown[1]) if done.fee_mint == A else (grown[0], grown[1] + owed))
    check_liquidity_is_there(pool, after)


def check_liquidity_is_there(before: DammV2Pool, after: DammV2Pool) -> None:
    """The reserves still cover the whole range; those of compounding never lose value."""
    if before.collect_fee_mode == COMPOUNDING:
        assert after.reserve_0 * after.reserve_1 >= before.reserve_0 * before.reserve_1
    else:
        needed = after._range().reserves()
        assert after.reserve_0 >= needed[0]
        assert after.reserve_1 >= needed[1]
        assert int(after.sqrt_price_min) <= int(after.sqrt_price) <= int(after.sqrt_price_max)


@given(pool=POOLS, mint_in=MINTS, amount=AMOUNTS, exact_in=st.booleans())
def test_no_swap_beats_the_spot_price(pool: DammV2Pool, mint_in: Mint, amount: int, exact_in: bool) -> None:
    amount = amount if exact_in else some_output(pool, mint_in, amount)
    swap = quoted(quote_of(pool, exact_in), amount, mint_in)
    numerator, denominator = pool.spot(mint_in)
    fee_in, fee_out = (swap.fee, 0) if swap.fee_mint == mint_in else (0, swap.fee)
    assert (swap.amount_out + fee_out) * denominator <= (swap.amount_in - fee_in) * numerator


# ---- segments


def promised(segments: tuple[Segment, ...], amount: int) -> float:
    total, left = 0.0, float(amount)
    for segment in segments:
        part = min(left, segment.capacity)
        total += segment.rate * part / (1 + part / segment.depth)
        left -= part
    assert left <= amount * 1e-15, "the segments end before the amount does"
    return total


def some_input(pool: DammV2Pool, mint_in: Mint, number: int) -> int:
    """Any number -> an amount that the segments cover; no such amount: not this pool."""
    capacity = int(sum(segment.capacity for segment in pool.segments(mint_in, NOW)) * (1 - 1e-15))
    assume(capacity >= 1)
    return 1 + number % capacity


def finest(pool: DammV2Pool, mint_in: Mint) -> float:
    """Output atoms that the smallest step of a Q64.64 price is worth."""
    if pool.collect_fee_mode == COMPOUNDING:
        return 0
    liquidity, price = int(pool.liquidity), int(pool.sqrt_price)
    return liquidity / (1 << 128) if mint_in == A else liquidity / price / price


@given(pool=POOLS | pools(limited=True), mint_in=MINTS, number=AMOUNTS)
def test_segments_promise_no_less_than_quotes_give(pool: DammV2Pool, mint_in: Mint, number: int) -> None:
    amount = some_input(pool, mint_in, number)
    assert quoted(pool.quote_in, amount, mint_in).amount_out <= promised(pool.segments(mint_in, NOW), amount)


@given(pool=POOLS | pools(limited=True, shaken=False), mint_in=MINTS, number=AMOUNTS)
def test_segments_promise_hardly_more(pool: DammV2Pool, mint_in: Mint, number: int) -> None:
    """Short of the promise by roundings only: two atoms of each kind, one step of the price, 1e-9 of the whole.

    A limiter's rate is itself rounded up to 1e-9 of the input.
    """
    amount = some_input(pool, mint_in, number)
    bound = promised(pool.segments(mint_in, NOW), amount)
    numerator, denominator = pool.spot(mint_in)
    lost_in = 2 + (amount * 1e-9 if pool.is_limited(mint_in, NOW) else 0)
    slack = 2 + finest(pool, mint_in) + lost_in * (numerator / denominator) + bound * 1e-9
    assert quoted(pool.quote_in, amount, mint_in).amount_out >= bound - slack


@given(pool=POOLS | pools(limited=True), mint_in=MINTS)
def test_segments_never_rise(pool: DammV2Pool, mint_in: Mint) -> None:
    price = inf
    found = pool.segments(mint_in, NOW)
    for segment in found:
        assert 0 < segment.rate <= price * (1 + 1e-9)
        assert segment.capacity >= 1
        price = segment.rate / (1 + segment.capacity / segment.depth) ** 2
    assert len(found) <= 100
    assert len(found) <= 1 or pool.is_limited(mint_in, NOW)


@given(pool=pools(USUAL), mint_in=MINTS)
def test_all_of_the_capacity_can_be_filled(pool: DammV2Pool, mint_in: Mint) -> None:
    for segment in pool.segments(mint_in, NOW):
        pool._fill_in(max(1, int(segment.capacity * (1 - 1e-15))), mint_in, NOW)


def test_a_limiters_segments_by_hand() -> None:
    """Parts of 1,000 at 1 %, 2 % and 3 %, then 3.5 %, on 1,000,000 of each."""
    limiter = RateLimiter(cliff=10_000_000, increment_bps=100, lasts=60, max_bps=350, reference=1_000)
    pool = msgspec.structs.replace(
        FLAT, base_fee=limiter, collect_fee_mode=ONLY_TOKEN_1, activation_point=NOW.unix_seconds
    )
    found = pool.segments(B, NOW)
    assert [segment.capacity for segment in found] == [1_000, 1_000, 1_000, (10**6 - 2_940) * 1000 // 965]
    net_in = 0.0
    for segment, kept in zip(found, (0.99, 0.98, 0.97, 0.965), strict=True):
        assert segment.rate == pytest.approx(kept / (1 + net_in / 10**6) ** 2, rel=1e-9)
        assert segment.depth == pytest.approx((10**6 + net_in) / kept, rel=1e-9)
        net_in += kept * 1_000
    assert len(pool.segments(A, NOW)) == 1
    assert len(pool.segments(B, ChainTime(slot=0, unix_seconds=NOW.unix_seconds + 61))) == 1


FLAT = DammV2Pool(
    address="flat",
    mint_0=A,
    mint_1=B,
    vault_0_amount=Atoms(10**7),
    vault_1_amount=Atoms(10**7),
    reserve_0=Atoms(500_000),
    reserve_1=Atoms(500_000),
    liquidity=Wide(str(10**6 << 64)),
    sqrt_price=Wide(str(1 << 64)),
    sqrt_price_min=Wide(str(1 << 63)),
    sqrt_price_max=Wide(str(1 << 65)),
    base_fee=TimeFee(cliff=10_000_000),
)


@pytest.mark.parametrize("mint_in", [A, B])
def test_no_segments_where_it_cannot_swap(mint_in: Mint) -> None:
    """Closed, not open yet, empty; a foreign mint is refused as everywhere."""
    (segment,) = FLAT.segments(mint_in, NOW)
    assert (segment.capacity, segment.depth) == (10**6, 10**6)
    assert segment.rate == pytest.approx(0.99, rel=1e-9)
    for changes in ({"status": 1}, {"activation_point": NOW.unix_seconds + 1}, {"liquidity": "0"}):
        assert msgspec.structs.replace(FLAT, **changes).segments(mint_in, NOW) == ()
    with pytest.raises(PoolRefused) as refusal:
        FLAT.segments(Mint("c"), NOW)
    assert refusal.value.code is Code.POOL_REFUSED
    nearly_full = msgspec.structs.replace(FLAT, vault_0_amount=2**64 - 11, vault_1_amount=2**64 - 11)
    assert nearly_full.segments(mint_in, NOW)[0].capacity == 10


@given(pool=pools(USUAL), mint_in=MINTS, exact_in=st.booleans())
def test_a_usual_swap_happens(pool: DammV2Pool, mint_in: Mint, exact_in: bool) -> None:
    """A hundredth of what a usual pool can take or give is never refused."""
    capacity = sum(segment.capacity for segment in pool.segments(mint_in, NOW))
    reserve_out = pool.reserve_1 if mint_in == A else pool.reserve_0
    assume(min(capacity, reserve_out) > 10**6)
    amount = int(min(capacity, 10**13)) // 100 if exact_in else reserve_out // 200
    assume(exact_in or amount * 100 < reserve_out)
    quote_of(pool, exact_in)(Atoms(amount), mint_in, NOW)

"""The best pool wins, for the stated reason; a venue in trouble never stands in another's way."""

import random
import re
from fractions import Fraction
from itertools import permutations
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fillwright.errors import Code, FillwrightError, Problem
from fillwright.order import Intent, Mode, Route, Side
from fillwright.pools import ChainTime, Pool, Segment
from fillwright.pools.amm_v4 import AmmV4Pool
from fillwright.pools.cpmm import CpmmPool
from fillwright.routing import Limits, NoRoute, Offer, Router, best_route, price_impact_bps
from fillwright.units import Atoms, Bps, Millis, Mint, Token
from tests.conformance.samples import BONK, NOW, SOL, USDC, intent_of

TIME = ChainTime(slot=415_822_302, unix_seconds=1_790_000_000)
LIMITS = Limits()
TIMEOUT = Problem(Code.VENUE_TIMEOUT, "meteora did not answer in time")
BROKEN = Problem(Code.POOL_REFUSED, "pool is frozen")


def amm(sol: int, usdc: int, *, venue: str = "raydium", address: str = "amm", fee: int = 25, **state: Any) -> AmmV4Pool:
    return AmmV4Pool(
        address=address,
        venue=venue,
        mint_0=SOL.mint,
        mint_1=USDC.mint,
        vault_0_amount=Atoms(sol),
        vault_1_amount=Atoms(usdc),
        fee_numerator=fee,
        fee_denominator=10_000,
        **state,
    )


def cpmm(sol: int, usdc: int, *, venue: str = "meteora", address: str = "cpmm", fee: int = 2_500) -> CpmmPool:
    """The same pair the other way round: mint 0 is USDC."""
    return CpmmPool(
        address=address,
        venue=venue,
        mint_0=USDC.mint,
        mint_1=SOL.mint,
        vault_0_amount=Atoms(usdc),
        vault_1_amount=Atoms(sol),
        trade_fee_rate=fee,
    )


def offer(*pools: Pool, venue: str | None = None, latency_ms: int = 100, problem: Problem | None = None) -> Offer:
    name = venue or pools[0].venue
    time = None if problem else TIME
    return Offer(venue=name, latency_ms=Millis(latency_ms), pools=pools, time=time, problem=problem)


def found(intent: Any, *offers: Offer) -> Route:
    route = best_route(intent, offers, NOW, LIMITS)
    assert isinstance(route, Route)
    assert route.bound >= route.amount_out if intent.mode is Mode.EXACT_IN else route.bound <= route.amount_in
    return route


def refused(intent: Any, *offers: Offer) -> NoRoute:
    route = best_route(intent, offers, NOW, LIMITS)
    assert isinstance(route, NoRoute)
    return route


def assert_adds_up(intent: Intent, route: Route) -> None:
    """What enters at one end leaves at the other, token by token, in an order in which it can be executed."""
    held = {intent.token_in.mint: int(route.amount_in)}
    for leg in route.legs:
        held[leg.mint_in] = held.get(leg.mint_in, 0) - leg.amount_in
        assert held[leg.mint_in] >= 0
        held[leg.mint_out] = held.get(leg.mint_out, 0) + leg.amount_out
    assert {mint: amount for mint, amount in held.items() if amount} == {intent.token_out.mint: route.amount_out}
    fixed = route.amount_in if intent.mode is Mode.EXACT_IN else route.amount_out
    assert fixed == intent.amount


SELL = intent_of(amount=Atoms(1_000_000_000))
BUY = intent_of(mode=Mode.EXACT_OUT, amount=Atoms(80_000_000))
CHEAP, DEAR = (10**13, 85 * 10**10), (10**13, 88 * 10**10)


# --- ranking ----------------------------------------------------------------------------------------------


def test_exact_in_takes_the_most_out() -> None:
    route = found(SELL, offer(amm(*CHEAP)), offer(cpmm(*DEAR)))
    assert route.venue == "meteora"
    assert route.amount_in == SELL.amount
    assert route.amount_out == cpmm(*DEAR).quote_in(SELL.amount, SOL.mint, TIME).amount_out


def test_exact_out_takes_the_least_in() -> None:
    route = found(BUY, offer(amm(*CHEAP)), offer(cpmm(*DEAR)))
    assert route.venue == "meteora"
    assert route.amount_out == BUY.amount
    assert route.amount_in == cpmm(*DEAR).quote_out(BUY.amount, SOL.mint, TIME).amount_in


def test_the_leg_and_the_quotes_tell_what_was_chosen_and_compared() -> None:
    route = found(SELL, offer(amm(*CHEAP), latency_ms=7), offer(cpmm(*DEAR), latency_ms=9))
    (leg,) = route.legs
    assert (leg.venue, leg.pool, leg.mint_in, leg.mint_out) == ("meteora", "cpmm", SOL.mint, USDC.mint)
    assert (leg.amount_in, leg.amount_out) == (route.amount_in, route.amount_out)
    assert [(q.venue, q.kind, q.slot, q.latency_ms) for q in route.quotes] == [
        ("raydium", "amm_v4", TIME.slot, 7),
        ("meteora", "cpmm", TIME.slot, 9),
    ]
    assert [q.depth for q in route.quotes] == [CHEAP[1], DEAR[1]]
    assert route.found_at == NOW


RESERVES = st.tuples(st.integers(10**6, 10**15), st.integers(10**6, 10**15))


@given(st.lists(RESERVES, min_size=1, max_size=4), st.sampled_from(Mode), st.integers(1, 10**12), st.randoms())
def test_nobody_offered_better_and_the_order_of_answers_does_not_matter(
    reserves: list[tuple[int, int]], mode: Mode, amount: int, shuffled: Any
) -> None:
    intent = intent_of(mode=mode, amount=Atoms(amount))
    offers = [
        offer((amm, cpmm)[i % 2](*r, venue=f"v{i}", address=f"p{i}"), latency_ms=i) for i, r in enumerate(reserves)
    ]
    route = best_route(intent, offers, NOW, LIMITS)
    assume(isinstance(route, Route))
    assert isinstance(route, Route)
    usable = [quote for quote in route.quotes if quote.problem is None]
    if mode is Mode.EXACT_IN:
        assert route.bound >= route.amount_out >= max((quote.amount_out for quote in usable), default=0)
    else:
        assert route.bound <= route.amount_in <= min((quote.amount_in for quote in usable), default=route.amount_in)
    assert_adds_up(intent, route)
    shuffled.shuffle(offers)
    again = found(intent, *offers)
    assert (again.legs, again.reason) == (route.legs, route.reason)


DUST = intent_of(amount=Atoms(10_000))
"""So small that pools of one price, but not of one size, give the same."""


def everywhere(*offers: Offer) -> str:
    """The winner, whichever order the venues answer in."""
    winners = {found(DUST, *order).legs[0].venue for order in permutations(offers)}
    assert len(winners) == 1
    return winners.pop()


def test_of_equal_quotes_the_deeper_pool_wins_even_if_slower() -> None:
    shallow = offer(amm(10**12, 10**12, venue="a"), latency_ms=1)
    deep = offer(amm(2 * 10**12, 2 * 10**12, venue="z"), latency_ms=900)
    assert everywhere(shallow, deep) == "z"


def test_depth_is_the_reserve_of_what_is_paid_out() -> None:
    much_sol, little = amm(4 * 10**12, 10**12, venue="a", fee=0), amm(10**12, 2 * 10**12, venue="b", fee=0)
    pools = (much_sol, little)
    route = found(intent_of(amount=Atoms(100)), *(offer(pool) for pool in pools))
    assert [quote.depth for quote in route.quotes] == [10**12, 2 * 10**12]
    back = intent_of(token_in=USDC, token_out=SOL, amount=Atoms(100))
    route = found(back, *(offer(pool) for pool in pools))
    assert [quote.depth for quote in route.quotes] == [4 * 10**12, 10**12]


def test_of_equally_deep_quotes_the_faster_venue_wins() -> None:
    slow = offer(amm(10**12, 10**12, venue="a"), latency_ms=200)
    fast = offer(amm(10**12, 10**12, venue="z"), latency_ms=199)
    assert everywhere(slow, fast) == "z"


def test_of_quotes_equal_in_all_the_first_name_wins() -> None:
    one, other = offer(amm(10**12, 10**12, venue="a")), offer(amm(10**12, 10**12, venue="b"))
    assert everywhere(one, other) == "a"


# --- the reason ---------------------------------------------------------------------------------------------


def test_the_reason_is_the_lead_over_the_best_of_another_venue() -> None:
    best, mine, rival = amm(*DEAR, address="1"), amm(10**13, 87 * 10**10, address="2"), cpmm(*CHEAP)
    route = found(SELL, offer(best, mine), offer(rival))
    ours = best.quote_in(SELL.amount, SOL.mint, TIME).amount_out
    theirs = rival.quote_in(SELL.amount, SOL.mint, TIME).amount_out
    hundredths = (ours - theirs) * 10_000 // theirs
    assert route.reason == f"+{hundredths // 100}.{hundredths % 100:02d} % over meteora"
    assert route.reason == "+3.52 % over meteora"


def test_for_exact_out_the_reason_is_what_is_saved() -> None:
    route = found(BUY, offer(amm(*DEAR)), offer(cpmm(*CHEAP)))
    ours = amm(*DEAR).quote_out(BUY.amount, SOL.mint, TIME).amount_in
    theirs = cpmm(*CHEAP).quote_out(BUY.amount, SOL.mint, TIME).amount_in
    assert route.reason == f"+{(theirs - ours) * 10_000 // theirs / 100:.2f} % over meteora"


def test_a_lone_venue_is_compared_with_its_own_next_pool() -> None:
    route = found(SELL, offer(amm(*DEAR), cpmm(*CHEAP, venue="raydium")))
    assert re.fullmatch(r"\+3\.5\d % over raydium cpmm", route.reason)


def test_a_lone_quote_is_called_that() -> None:
    assert found(SELL, offer(amm(*DEAR))).reason == "the only quote"
    assert found(SELL, offer(amm(*DEAR)), offer(venue="meteora", problem=TIMEOUT)).reason == "the only quote"


def test_a_tie_is_not_called_a_lead() -> None:
    route = found(DUST, offer(amm(10**12, 10**12, venue="a")), offer(amm(10**12, 10**12, venue="b")))
    assert route.reason == "as good as b, with more depth or a faster answer"


@given(RESERVES, RESERVES, st.sampled_from(Mode), st.integers(10**3, 10**12))
def test_the_percentage_is_the_true_lead_cut(one: Any, other: Any, mode: Mode, amount: int) -> None:
    intent = intent_of(mode=mode, amount=Atoms(amount))
    route = best_route(intent, [offer(amm(*one)), offer(cpmm(*other))], NOW, LIMITS)
    assume(isinstance(route, Route))
    assert isinstance(route, Route)
    quotes = [quote for quote in route.quotes if quote.problem is None]
    match = re.fullmatch(r"\+([0-9.]+) % over (raydium|meteora)", route.reason)
    if len(quotes) < 2 or match is None or len(route.legs) > 1:
        return
    (loser,) = [quote for quote in quotes if quote.pool != route.legs[0].pool]
    if mode is Mode.EXACT_IN:
        lead = Fraction(route.amount_out - loser.amount_out, loser.amount_out)
    else:
        lead = Fraction(loser.amount_in - route.amount_in, loser.amount_in)
    assert Fraction(match[1]) <= lead * 100 < Fraction(match[1]) + Fraction(1, 100)


# --- venues in trouble --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [
        offer(venue="meteora", problem=TIMEOUT),
        offer(venue="meteora"),  # no pool of the pair
        offer(cpmm(1, 1)),  # empty of liquidity
        offer(amm(*DEAR, venue="meteora", status=2)),  # may not swap
    ],
)
def test_a_venue_in_trouble_never_blocks_another_and_is_shown(trouble: Offer) -> None:
    route = found(SELL, trouble, offer(amm(*CHEAP)))
    assert route.venue == "raydium"
    shown = route.quotes[0]
    assert shown.venue == "meteora"
    assert shown.problem is not None
    assert (shown.amount_in, shown.amount_out) == (0, 0)


def test_a_refused_pool_leaves_its_neighbour_in_the_race() -> None:
    route = found(SELL, offer(amm(*DEAR, status=2, address="closed"), amm(*CHEAP, address="open")))
    assert route.legs[0].pool == "open"


@pytest.mark.parametrize(
    ("offers", "code"),
    [
        ([], Code.ROUTE_NONE),
        ([offer(venue="raydium"), offer(venue="meteora")], Code.ROUTE_NONE),
        ([offer(venue="raydium"), offer(venue="meteora", problem=TIMEOUT)], Code.ROUTE_UNAVAILABLE),
        ([offer(venue="raydium", problem=BROKEN), offer(venue="meteora", problem=TIMEOUT)], Code.ROUTE_UNAVAILABLE),
        ([offer(venue="raydium"), offer(venue="meteora", problem=BROKEN)], Code.POOL_REFUSED),
        ([offer(venue="raydium"), offer(cpmm(1, 1))], Code.POOL_LIQUIDITY),
    ],
)
def test_no_route_reports_what_may_pass_before_what_will_not(offers: list[Offer], code: Code) -> None:
    """Retryable only where waiting can help: otherwise an order would be tried in vain."""
    none = refused(SELL, *offers)
    assert none.problem.code is code
    assert len(none.quotes) == len(offers)


# --- price impact -------------------------------------------------------------------------------------------


def test_the_cap_excludes_a_quote_just_above_it() -> None:
    pool = amm(10**13, 85 * 10**10)
    big = Atoms(10**11)
    impact = price_impact_bps(pool, pool.quote_in(big, SOL.mint, TIME), SOL.mint)
    assert impact > 0
    assert found(intent_of(amount=big, max_price_impact_bps=impact), offer(pool)).impact_bps == impact
    none = refused(intent_of(amount=big, max_price_impact_bps=Bps(impact - 1)), offer(pool))
    assert none.problem.code is Code.ROUTE_PRICE_IMPACT
    assert not none.problem.retryable
    assert none.quotes[0].amount_out > 0, "what was offered is still shown"


def test_the_cap_takes_the_better_price_out_of_the_race() -> None:
    shallow, deep = amm(10**11, 9 * 10**9), cpmm(*CHEAP)
    intent = intent_of(amount=Atoms(10**9))
    assert found(intent, offer(shallow), offer(deep)).venue == "raydium"
    capped = intent_of(amount=Atoms(10**9), max_price_impact_bps=Bps(50))
    assert found(capped, offer(shallow), offer(deep)).venue == "meteora"


@given(RESERVES, st.booleans(), st.booleans(), st.sampled_from(Mode), st.integers(1, 10**15))
def test_impact_is_rounded_up_from_the_price_without_the_fee(
    reserves: tuple[int, int], v4: bool, sells: bool, mode: Mode, amount: int
) -> None:
    pool: Pool = amm(*reserves) if v4 else cpmm(*reserves)
    mint_in = SOL.mint if sells else USDC.mint
    try:
        ask = pool.quote_in if mode is Mode.EXACT_IN else pool.quote_out
        swap = ask(Atoms(amount), mint_in, TIME)
    except FillwrightError:
        assume(False)
    assert swap.fee_mint == mint_in
    sol, usdc = reserves
    spot = Fraction(usdc, sol) if sells else Fraction(sol, usdc)
    paid = Fraction(swap.amount_out, swap.amount_in - swap.fee)
    true = max(Fraction(0), (spot - paid) / spot * 10_000)
    impact = price_impact_bps(pool, swap, mint_in)
    assert true <= impact < true + 1
    assert 0 <= impact <= 10_000


def test_a_fee_alone_is_no_impact() -> None:
    dear = amm(10**15, 10**15, fee=900)
    assert price_impact_bps(dear, dear.quote_in(Atoms(10**10), SOL.mint, TIME), SOL.mint) == 1, "0.1 bps, rounded up"


# --- splits and ways over an intermediate -------------------------------------------------------------------


def pair(a: Token, b: Token, reserve_a: int, reserve_b: int, address: str, **state: Any) -> CpmmPool:
    state = dict[str, Any](venue="raydium", trade_fee_rate=2_500) | state
    return CpmmPool(
        address=address,
        mint_0=a.mint,
        mint_1=b.mint,
        vault_0_amount=Atoms(reserve_a),
        vault_1_amount=Atoms(reserve_b),
        **state,
    )


BIG = intent_of(amount=Atoms(10**12))
PARALLEL = (offer(amm(*CHEAP)), offer(cpmm(*CHEAP)))
OVER_BONK = (
    pair(SOL, BONK, 10**13, 10**16, "in"),
    pair(BONK, USDC, 10**16, 85 * 10**10, "out", venue="meteora"),
)


@pytest.mark.parametrize("intent", [BIG, intent_of(mode=Mode.EXACT_OUT, amount=Atoms(70_000_000_000))])
def test_a_large_order_is_split_over_equal_pools(intent: Intent) -> None:
    route = found(intent, *PARALLEL)
    assert_adds_up(intent, route)
    assert sorted(leg.venue for leg in route.legs) == ["meteora", "raydium"]
    assert route.venue.count("+") == 1
    one, other = (leg.amount_in for leg in route.legs)
    assert one == pytest.approx(other, rel=1e-6)
    assert re.fullmatch(r"2 legs: \+\d\.\d\d % over (raydium amm_v4|meteora cpmm) alone", route.reason)
    assert len(route.quotes) == 2


def test_an_intermediate_connects_what_no_pool_does() -> None:
    for intent in (BIG, intent_of(mode=Mode.EXACT_OUT, amount=Atoms(70_000_000_000))):
        route = found(intent, *(offer(pool) for pool in OVER_BONK))
        assert [leg.pool for leg in route.legs] == ["in", "out"]
        assert_adds_up(intent, route)
        assert route.reason == "2 legs, over 1 intermediate token: no single pool can serve it"
        assert all(quote.problem is not None for quote in route.quotes)
        assert route.impact_bps > 1_500, "both swaps move a price"


def test_one_hop_may_be_all_that_is_wanted() -> None:
    intent = intent_of(amount=Atoms(10**12), max_hops=1)
    none = refused(intent, *(offer(pool) for pool in OVER_BONK))
    assert none.problem.code is Code.ROUTE_NONE
    assert found(intent, *PARALLEL, *(offer(pool) for pool in OVER_BONK)).venue.count("+") == 1


@pytest.mark.parametrize("legs", [1, 2, 3, 4])
def test_the_legs_are_limited_by_the_order_and_by_the_engine(legs: int) -> None:
    pools = [amm(10**12, 85 * 10**9, address=f"p{i}") for i in range(6)]
    assert len(found(intent_of(amount=Atoms(10**12), max_legs=legs), offer(*pools)).legs) == legs
    route = best_route(BIG, [offer(*pools)], NOW, Limits(legs_max=legs))
    assert isinstance(route, Route)
    assert len(route.legs) == legs
    assert_adds_up(BIG, route)
    assert len(found(intent_of(amount=Atoms(10**12), max_legs=99), offer(*pools)).legs) == LIMITS.legs_max


def test_a_way_with_too_many_legs_is_no_route() -> None:
    none = refused(intent_of(amount=Atoms(10**12), max_legs=1), *(offer(pool) for pool in OVER_BONK))
    assert (none.problem.code, none.problem.retryable) == (Code.ROUTE_NONE, False)


def test_a_leg_must_bring_more_than_it_costs() -> None:
    """The price of SOL is 0.085 atoms of USDC for a lamport: a dear leg costs what the split would gain."""
    gain = found(BIG, *PARALLEL).amount_out - max(quote.amount_out for quote in found(BIG, *PARALLEL).quotes)
    for lamports, legs in ((int(gain / 0.085 * 0.99), 2), (int(gain / 0.085 * 1.01), 1)):
        route = best_route(BIG, PARALLEL, NOW, Limits(leg_cost_lamports=lamports))
        assert isinstance(route, Route)
        assert len(route.legs) == legs


def test_a_split_beyond_the_price_cap_is_not_taken() -> None:
    over = refused(intent_of(amount=Atoms(10**12), max_price_impact_bps=Bps(10)), *(offer(p) for p in OVER_BONK))
    assert over.problem.code is Code.ROUTE_PRICE_IMPACT
    capped = intent_of(amount=Atoms(10**12), max_price_impact_bps=Bps(600))
    route = found(capped, *PARALLEL)
    assert len(route.legs) == 2, "each alone would move its price too far"
    assert route.impact_bps <= 600
    assert route.reason == "2 legs: no single pool can serve it"


def test_more_than_all_pools_hold_is_no_route() -> None:
    none = refused(intent_of(mode=Mode.EXACT_OUT, amount=Atoms(10**12)), *(offer(pool) for pool in OVER_BONK))
    assert none.problem.code is Code.POOL_LIQUIDITY


def test_a_pool_offered_twice_counts_once() -> None:
    pool = amm(*CHEAP)
    assert len(found(BIG, offer(pool, pool), offer(pool)).legs) == 1


class Broken:
    """A pool whose answers cannot be had, though it is there."""

    address, venue, kind, mint_0, mint_1 = "broken", "meteora", "cpmm", SOL.mint, USDC.mint

    def __init__(self, error: Exception) -> None:
        self._error = error

    def _raise(self, *_: Any) -> Any:
        raise self._error

    quote_in: Any = _raise
    quote_out: Any = _raise
    reserves: Any = _raise
    spot: Any = _raise
    segments: Any = _raise


class Promising(Broken):
    """Has the best curve, and refuses whatever is asked of it."""

    def spot(self, mint_in: Mint) -> tuple[int, int]:
        return 1, 1

    def reserves(self) -> tuple[Atoms, Atoms]:
        return Atoms(10**15), Atoms(10**15)

    def segments(self, mint_in: Mint, now: ChainTime) -> tuple[Segment, ...]:
        return (Segment(1.0, 1e15, float("inf")),)


@pytest.mark.parametrize("kind", [Broken, Promising])
@pytest.mark.parametrize("error", [FillwrightError(Code.POOL_REFUSED, "no"), ZeroDivisionError()])
@pytest.mark.parametrize("mode", Mode)
def test_a_broken_pool_never_stands_in_the_way(kind: type[Broken], error: Exception, mode: Mode) -> None:
    broken: Any = kind(error)
    intent = intent_of(mode=mode, amount=Atoms(10**10))
    route = found(intent, offer(broken), *PARALLEL)
    assert "broken" not in {leg.pool for leg in route.legs}
    assert route.quotes[0].problem is not None
    assert refused(intent, offer(broken)).problem.code is Code.POOL_REFUSED


# --- many pools -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", Mode)
def test_pools_left_unread_change_neither_the_route_nor_the_bound(mode: Mode) -> None:
    """Of 400 pools only the best are read; all that are left out start below the price of the bound."""
    draw = random.Random(3)
    pools = [amm(10**12, int(10**12 * draw.uniform(0.5, 1)), address=f"p{i}") for i in range(400)]
    intent = intent_of(mode=mode, amount=Atoms(10**11))
    route = found(intent, offer(*pools))
    assert len(route.quotes) < len(pools)
    best = sorted(pools, key=lambda pool: -pool.vault_1_amount)[:100]
    again = found(intent, offer(*best))
    assert (route.legs, route.bound) == (again.legs, again.bound)


def test_the_best_single_pool_is_among_the_quotes_however_many_there_are() -> None:
    draw = random.Random(4)
    pools = [amm(int(10 ** draw.uniform(9, 13)), int(10 ** draw.uniform(9, 13)), address=f"p{i}") for i in range(300)]
    for exponent in range(4, 14):
        intent = intent_of(amount=Atoms(10**exponent), max_legs=1)
        best = max(pool.quote_in(intent.amount, SOL.mint, TIME).amount_out for pool in pools)
        assert found(intent, offer(*pools)).amount_out == best


def test_a_router_remembers_pools_and_answers_the_same() -> None:
    router, offers = Router(), [*PARALLEL, *(offer(pool) for pool in OVER_BONK)]
    first = router.best_route(BIG, offers, NOW, LIMITS)
    assert first == router.best_route(BIG, offers, NOW, LIMITS) == best_route(BIG, offers, NOW, LIMITS)
    changed = [offer(amm(*DEAR)), *offers[1:]]
    assert router.best_route(BIG, changed, NOW, LIMITS) == best_route(BIG, changed, NOW, LIMITS) != first
    later = [Offer(venue=o.venue, latency_ms=o.latency_ms, pools=o.pools, time=None, problem=TIMEOUT) for o in offers]
    assert isinstance(router.best_route(BIG, later, NOW, LIMITS), NoRoute)


# --- the promise ------------------------------------------------------------------------------------------

TOKENS = [Token(f"T{i}", Mint(f"mint{i}"), 6) for i in range(4)]
FREE = Limits(legs_max=99, leg_cost_lamports=0)


def random_network(draw: random.Random) -> tuple[list[CpmmPool], int]:
    """Eight pools between two tokens and two intermediates, prices within 2 % of each other; an amount."""
    values = [1.0, *(10 ** draw.uniform(-2, 2) for _ in range(3))]
    pools = []
    for i in range(8):
        a, b = draw.choice([(0, 1), (0, 1), (0, 2), (2, 1), (0, 3), (3, 1)])
        depth = 10 ** draw.uniform(12, 15)
        fee = draw.choice([100, 500, 2_500, 10_000])
        there = int(depth / values[b] * draw.uniform(0.98, 1.02))
        pools.append(pair(TOKENS[a], TOKENS[b], int(depth / values[a]), there, f"p{i}", trade_fee_rate=fee))
    return pools, int(10 ** draw.uniform(10.5, 13))


@pytest.mark.parametrize("mode", Mode)
def test_on_random_networks_the_gap_is_certified_and_tiny(mode: Mode) -> None:
    """At most 0.003 basis points at p99 of 300 networks, and never worse than the best single pool after costs."""
    draw = random.Random(20)
    gaps: list[float] = []
    while len(gaps) < 300:
        pools, amount = random_network(draw)
        intent = Intent(
            side=Side.SELL,
            token_in=TOKENS[0],
            token_out=TOKENS[1],
            amount=Atoms(amount),
            mode=mode,
            slippage_bps=Bps(50),
        )
        route = best_route(intent, [offer(*pools)], NOW, FREE)
        if isinstance(route, NoRoute):
            continue
        assert_adds_up(intent, route)
        missed = route.bound - route.amount_out if mode is Mode.EXACT_IN else route.amount_in - route.bound
        gaps.append(missed / route.bound * 10_000)
        assert gaps[-1] >= 0
        singles = [quote for quote in route.quotes if quote.problem is None]
        if mode is Mode.EXACT_IN:
            assert all(route.amount_out >= quote.amount_out for quote in singles)
        else:
            assert all(route.amount_in <= quote.amount_in for quote in singles)
    assert sorted(gaps)[297] <= 0.003


@given(st.integers(0, 2**32), st.integers(0, 4), st.sampled_from(Mode), st.integers(1, 10**13))
def test_whatever_the_costs_no_route_is_worse_than_a_single_pool(
    seed: int, exponent: int, mode: Mode, amount: int
) -> None:
    draw = random.Random(seed)
    pools, _ = random_network(draw)
    priced = [pair(SOL, TOKENS[i], 10**13, 10**13, f"sol{i}") for i in (0, 1)]
    intent = intent_of(token_in=TOKENS[0], token_out=TOKENS[1], mode=mode, amount=Atoms(amount))
    cost = 10**exponent
    route = best_route(intent, [offer(*pools, *priced)], NOW, Limits(leg_cost_lamports=cost))
    if isinstance(route, NoRoute):
        return
    assert_adds_up(intent, route)
    assert len(route.legs) <= LIMITS.legs_max
    extra = (len(route.legs) - 1) * cost
    for quote in route.quotes:
        if quote.problem is None and mode is Mode.EXACT_IN:
            assert route.amount_out - extra >= quote.amount_out
        elif quote.problem is None:
            assert route.amount_in + extra <= quote.amount_in


def test_a_router_that_remembers_answers_as_one_that_does_not() -> None:
    """The same swap again, another size, way, cap, latency or moment: never a route of something else."""
    router, sides = Router(), ((amm(*CHEAP),), (cpmm(*reversed(DEAR)),))
    wishes = [
        intent_of(amount=Atoms(amount), mode=mode, slippage_bps=Bps(bps), **limits)
        for amount in (10**9, 2 * 10**9)
        for mode in Mode
        for bps in (100, 300)
        for limits in ({}, {"max_legs": 1}, {"max_price_impact_bps": Bps(1)})
    ]
    for slot, latency_ms in ((7, 3), (8, 3), (8, 4)):
        time = ChainTime(slot=slot, unix_seconds=slot)
        offers = [Offer(venue=pools[0].venue, latency_ms=Millis(latency_ms), pools=pools, time=time) for pools in sides]
        for now, wish in enumerate(wishes + wishes):
            remembered = router.best_route(wish, offers, Millis(now), LIMITS)
            assert remembered == best_route(wish, offers, Millis(now), LIMITS)


def test_more_than_an_order_can_carry_is_not_promised() -> None:
    """The chain counts to 2^64-1: such a fill would leave its order submitted for ever, for it could not be stored."""
    most = 2**63 - 1
    generous = offer(amm(2**40, 2**64 - 1))
    assert found(intent_of(amount=Atoms(2**39)), generous).amount_out <= most
    problem = refused(intent_of(amount=Atoms(2**43)), generous).problem
    assert (problem.code, str(most) in problem.detail) == (Code.POOL_LIQUIDITY, True)
    dear = offer(amm(2**64 - 1, 2**40))
    problem = refused(intent_of(mode=Mode.EXACT_OUT, amount=Atoms(2**40 - 2**37)), dear).problem
    assert problem.code is Code.POOL_LIQUIDITY

"""A plan is exact: its legs are their pools' own quotes, they add up, and none of them costs more than it brings."""

import random
from itertools import combinations
from typing import Any

import msgspec
import pytest

from fillwright.errors import Code
from fillwright.order import Intent, Mode, Side
from fillwright.pools import ChainTime, PoolRefused, Segment, Swap
from fillwright.pools.cpmm import CpmmPool
from fillwright.routing.book import Candidate
from fillwright.routing.plan import Paths, Plan, best_plan, realized, solved
from fillwright.units import Atoms, Bps, Mint, Token

TIME = ChainTime(slot=1, unix_seconds=1_790_000_000)
A, B, C = (Token(name, Mint(name), 6) for name in "abc")


def pool(a: Token, b: Token, reserve_a: float, reserve_b: float, address: str, fee: int = 2_500) -> CpmmPool:
    return CpmmPool(
        address=address,
        mint_0=a.mint,
        mint_1=b.mint,
        vault_0_amount=Atoms(int(reserve_a)),
        vault_1_amount=Atoms(int(reserve_b)),
        trade_fee_rate=fee,
    )


def candidate(of: Any, a: Token, b: Token, segments: tuple[Segment, ...] = ()) -> Candidate:
    return Candidate(of, TIME, a.mint, b.mint, segments or of.segments(a.mint, TIME))


def direct(*pools: Any) -> Paths:
    return Paths(tuple(candidate(each, A, B) for each in pools))


def intent(amount: float, mode: Mode = Mode.EXACT_IN) -> Intent:
    return Intent(side=Side.SELL, token_in=A, token_out=B, amount=Atoms(int(amount)), mode=mode, slippage_bps=Bps(50))


def planned(wanted: Intent, paths: Paths, legs_max: int = 99, leg_cost: float = 0.0) -> Plan:
    optimum = solved(wanted, paths)
    assert optimum is not None
    plan = best_plan(wanted, optimum, legs_max=legs_max, leg_cost=leg_cost)
    assert plan is not None
    return plan


def network(draw: random.Random) -> Paths:
    def some(a: Token, b: Token, most: int, name: str) -> tuple[Candidate, ...]:
        sizes = [10 ** draw.uniform(10, 13) for _ in range(draw.randint(1, most))]
        rates = [draw.uniform(0.98, 1.02) for _ in sizes]
        both = enumerate(zip(sizes, rates, strict=True))
        return tuple(candidate(pool(a, b, size, size * rate, f"{name}{i}"), a, b) for i, (size, rate) in both)

    return Paths(some(A, B, 3, "direct"), ((some(A, C, 2, "first"), some(C, B, 2, "second")),))


@pytest.mark.parametrize("mode", Mode)
def test_the_legs_are_the_pools_own_quotes_and_add_up(mode: Mode) -> None:
    draw = random.Random(5)
    for _ in range(50):
        wanted = intent(10 ** draw.uniform(6, 11), mode)
        plan = planned(wanted, network(draw))
        for leg, each in zip(plan.legs, plan.candidates, strict=True):
            if mode is Mode.EXACT_IN:
                assert leg.amount_out == each.give(leg.amount_in)
            else:
                assert leg.amount_in == each.need(leg.amount_out)
        assert sum(leg.amount_in for leg in plan.legs if leg.mint_in == A.mint) == plan.amount_in
        assert sum(leg.amount_out for leg in plan.legs if leg.mint_out == B.mint) == plan.amount_out
        into = sum(leg.amount_out for leg in plan.legs if leg.mint_out == C.mint)
        assert into == sum(leg.amount_in for leg in plan.legs if leg.mint_in == C.mint)
        assert wanted.amount == (plan.amount_in if mode is Mode.EXACT_IN else plan.amount_out)
        order = [leg.mint_in for leg in plan.legs if C.mint in (leg.mint_in, leg.mint_out)]
        assert order == sorted(order), "the intermediate is had before it is spent"


def test_few_legs_are_chosen_about_as_well_as_by_trying_all() -> None:
    """Against every choice of at most three pools, each split optimally."""
    draw, short = random.Random(6), []
    for _ in range(30):
        paths, wanted = network(draw), intent(10 ** draw.uniform(10, 12))
        plan = planned(wanted, paths, legs_max=3)
        assert len(plan.legs) <= 3
        tried = [realized(wanted, paths.only(kept)) for n in (1, 2, 3) for kept in combinations(paths, n)]
        best = max(each.amount_out for each in tried if each is not None)
        short.append((best - plan.amount_out) / best * 10_000)
    assert min(short) >= -1e-3, "nothing beats the best choice but by rounding"
    assert sorted(short)[24] <= 0.01
    assert max(short) <= 20


@pytest.mark.parametrize("mode", Mode)
def test_a_leg_is_dropped_where_it_brings_less_than_it_costs(mode: Mode) -> None:
    paths = direct(pool(A, B, 1e12, 1e12, "deep"), pool(A, B, 1e10, 1e10, "shallow"))
    wanted = intent(1e10, mode)
    both, one = planned(wanted, paths), planned(wanted, direct(pool(A, B, 1e12, 1e12, "deep")))
    assert (len(both.legs), len(one.legs)) == (2, 1)
    gain = abs(both.amount_out - one.amount_out) + abs(both.amount_in - one.amount_in)
    assert len(planned(wanted, paths, leg_cost=gain - 1).legs) == 2
    assert len(planned(wanted, paths, leg_cost=gain + 1).legs) == 1


def test_a_worse_pool_that_starts_below_the_price_gets_nothing() -> None:
    plan = planned(intent(1e6), direct(pool(A, B, 1e12, 1e12, "good"), pool(A, B, 1e12, 0.9e12, "bad")))
    assert [leg.pool for leg in plan.legs] == ["good"]


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("amount", [1, 2, 3, 10, 100])
def test_a_few_atoms_are_not_split(amount: int, mode: Mode) -> None:
    paths = direct(*(pool(A, B, 1e12, 2e12, f"p{i}", fee=0) for i in range(5)))
    plan = planned(intent(amount, mode), paths, leg_cost=1.0)
    assert len(plan.legs) == 1


def test_many_pools_leave_the_largest() -> None:
    pools = [pool(A, B, 1e10 * (i + 1), 1e10 * (i + 1), f"p{i}") for i in range(60)]
    plan = planned(intent(1e11), direct(*pools), legs_max=4)
    assert sorted(leg.pool for leg in plan.legs) == ["p56", "p57", "p58", "p59"]


class Stubborn(msgspec.Struct, frozen=True):
    """A pool with a better price than it keeps: it takes no more than `most`."""

    most: int
    address: str = "stubborn"
    venue: str = "sim"
    kind: str = "stub"

    def quote_in(self, amount_in: Atoms, mint_in: Mint, now: ChainTime) -> Swap:
        if amount_in > self.most:
            raise PoolRefused(Code.POOL_LIQUIDITY, "too much")
        return Swap(amount_in=amount_in, amount_out=amount_in, fee=Atoms(0), fee_mint=mint_in)

    def quote_out(self, amount_out: Atoms, mint_in: Mint, now: ChainTime) -> Swap:
        return self.quote_in(amount_out, mint_in, now)


@pytest.mark.parametrize("mode", Mode)
def test_a_pool_that_refuses_its_share_is_offered_a_little_less_and_then_left_out(mode: Mode) -> None:
    """Its curve says a million at price 1."""
    promise = (Segment(1.0, float("inf"), 1_000_000.0),)
    steady = candidate(pool(A, B, 1e12, 0.9e12, "steady"), A, B)
    for most, share in ((1_000_000, 1_000_000), (999_999, 999_999), (999_950, 999_899), (999_000, 0)):
        paths = Paths((candidate(Stubborn(most), A, B, promise), steady))
        plan = planned(intent(5_000_000, mode), paths)
        assert sum(leg.amount_in for leg in plan.legs if leg.pool == "stubborn") == share


def test_where_all_refuse_there_is_no_plan() -> None:
    paths = Paths((candidate(Stubborn(0), A, B, (Segment(1.0, float("inf"), 1e6),)),))
    optimum = solved(intent(1_000), paths)
    assert optimum is not None
    assert best_plan(intent(1_000), optimum, legs_max=4, leg_cost=0.0) is None
    assert realized(intent(1_000), Paths(())) is None


def test_no_single_leg_can_cross_two_hops() -> None:
    paths = Paths(
        (), (((candidate(pool(A, C, 1e12, 1e12, "in"), A, C),), (candidate(pool(C, B, 1e12, 1e12, "out"), C, B),)),)
    )
    wanted = intent(1e9)
    optimum = solved(wanted, paths)
    assert optimum is not None
    assert best_plan(wanted, optimum, legs_max=1, leg_cost=0.0) is None
    assert len(planned(wanted, paths, legs_max=2).legs) == 2

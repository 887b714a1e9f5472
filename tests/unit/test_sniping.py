"""What a sniper waits for and refuses: each condition, the index of snipers, and the traps of the simulated world."""

from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillwright.adapters.sim.market import SOL, USDC
from fillwright.adapters.sim.newcomers import Newcomers, Trap, pulled
from fillwright.order import Armed, Declined, OrderType, Routed, Side, Sniped, Started, Status, transition
from fillwright.pools import ChainTime
from fillwright.sniping import (
    UNCHOSEN,
    Facts,
    Hunter,
    Hunters,
    Listing,
    Lock,
    Require,
    Snipe,
    refusals,
    wants,
)
from fillwright.units import Atoms, Millis, Mint, OrderId
from fillwright.wire.frames import encode_frame, frame_of
from fillwright.wire.resources import attempt_views, last_routed
from tests.conformance.samples import FACTS, HOPELESS, LISTING, NOW, accepted, route_of, walked

CAREFUL: Final = Snipe(min_liquidity=Atoms(10**9), max_age_s=10)
BOLD: Final = Require(
    mint_authority_revoked=False,
    freeze_authority_none=False,
    liquidity=Lock.ANY,
    extensions_none=False,
    sellable=False,
)
FAULTS: Final[list[tuple[dict[str, Any], str]]] = [
    ({"unix_seconds": LISTING.unix_seconds + 11}, "SNIPE_AGE"),
    ({"liquidity": Atoms(10**9 - 1)}, "SNIPE_LIQUIDITY"),
    ({"locked_bps": 9_499}, "SNIPE_UNLOCKED"),
    ({"mint_authority": True}, "SNIPE_MINTABLE"),
    ({"freeze_authority": True}, "SNIPE_FREEZABLE"),
    ({"extensions": ("transferHook",)}, "SNIPE_EXTENSIONS"),
    ({"sellable": False}, "SNIPE_UNSELLABLE"),
]


def with_facts(**changes: Any) -> Facts:
    return msgspec.structs.replace(FACTS, **changes)


def codes(snipe: Snipe, facts: Facts | None) -> list[str]:
    return [problem.code for problem in refusals(snipe, LISTING, facts)]


def at(offset: int) -> ChainTime:
    return ChainTime(slot=1_000 + offset, unix_seconds=2_000 + offset * 400 // 1_000)


# --- conditions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("changes", "code"), FAULTS)
def test_each_fault_alone_is_refused_by_its_name(changes: dict[str, Any], code: str) -> None:
    assert codes(CAREFUL, FACTS) == []
    assert codes(CAREFUL, with_facts(**changes)) == [code]


def test_all_faults_are_told_together_and_those_given_up_are_not() -> None:
    worst = with_facts(**{name: value for changes, _ in FAULTS for name, value in changes.items()})
    assert codes(CAREFUL, worst) == [code for _, code in FAULTS]
    bold = msgspec.structs.replace(CAREFUL, require=BOLD)
    assert codes(bold, worst) == ["SNIPE_AGE", "SNIPE_LIQUIDITY"]


def test_locked_is_not_burned_and_a_pool_that_is_gone_is_refused_by_the_boldest() -> None:
    burned = Snipe(require=Require(liquidity=Lock.BURNED))
    assert codes(burned, with_facts(burned_bps=0)) == ["SNIPE_UNLOCKED"]
    assert codes(burned, FACTS) == []
    assert codes(Snipe(require=BOLD), None) == ["SNIPE_GONE"]


@given(seed=st.integers(0, 2**32), number=st.integers(0, 2_000), later=st.integers(0, 120))
def test_no_trap_meets_all_conditions_and_every_honest_pool_does(seed: int, number: int, later: int) -> None:
    """At whatever slot, by the state in which the chain would have the pool."""
    newcomer = Newcomers(seed, 20).number(number)
    offset = newcomer.offset + later
    pool = pulled(newcomer.pool) if newcomer.is_pulled(offset) else newcomer.pool
    least = Atoms(10 * 10**9 if newcomer.against == SOL else 1_000 * 10**6)
    facts, listing = newcomer.facts(pool, offset, at(offset)), newcomer.listing(at(newcomer.offset))
    is_trap = newcomer.trap is not None and (newcomer.trap is not Trap.PULLED or newcomer.is_pulled(offset))
    assert bool(refusals(Snipe(min_liquidity=least), listing, facts)) == is_trap


def test_every_kind_of_newcomer_comes() -> None:
    schedule = Newcomers(7, 20)
    newcomers = [schedule.number(number) for number in range(300)]
    assert {newcomer.trap for newcomer in newcomers} == {None, *Trap}
    assert {newcomer.pool.venue for newcomer in newcomers} == {"raydium", "meteora"}
    assert {newcomer.against for newcomer in newcomers} == {SOL, USDC}
    assert len({newcomer.token.mint for newcomer in newcomers}) == 300
    assert 1 < len({newcomer.creator for newcomer in newcomers}) < 10
    for offset in range(0, 2_000, 7):
        assert schedule.latest(offset) == sum(newcomer.offset <= offset for newcomer in newcomers) - 1


# --- who is concerned -------------------------------------------------------------------------------------


def hunters(seed_names: st.SearchStrategy[str]) -> st.SearchStrategy[Hunter]:
    mints = st.sampled_from([SOL.mint, USDC.mint])
    maybe = st.none() | seed_names
    snipes = st.builds(Snipe, mint=maybe, creator=maybe)
    venues = st.none() | st.just(("raydium",))
    ids = st.integers(0, 9).map(lambda number: OrderId(f"o-{number}"))
    return st.builds(Hunter, ids, st.just("alice"), st.integers(1, 9), mints, venues, snipes)


NAMES: Final = st.sampled_from(["a", "b", "c"])


@given(
    known=st.lists(hunters(NAMES), max_size=20),
    gone=st.lists(st.integers(0, 9), max_size=4),
    mint=NAMES,
    creator=NAMES,
    venue=st.sampled_from(["raydium", "meteora"]),
)
def test_the_index_finds_exactly_those_that_want_the_pool(
    known: list[Hunter], gone: list[int], mint: str, creator: str, venue: str
) -> None:
    index, latest = Hunters(), dict[OrderId, Hunter]()
    for hunter in known:
        before = latest.get(hunter.order_id)
        assert index.put(hunter) == (before is None or before.seq < hunter.seq)
        if before is None or before.seq < hunter.seq:
            latest[hunter.order_id] = hunter
    for number in gone:
        index.remove(OrderId(f"o-{number}"))
        latest.pop(OrderId(f"o-{number}"), None)
    listing = msgspec.structs.replace(LISTING, mint=Mint(mint), creator=creator, venue=venue)
    wanting = [each for each in latest.values() if wants(each.snipe, each.against, each.venues, listing)]
    assert index.after(listing) == sorted(wanting, key=lambda hunter: hunter.order_id)
    assert index.concerned(listing) == bool(wanting)
    assert len(index) == len(latest)
    assert index.max_age_s == max((each.snipe.max_age_s for each in latest.values()), default=0)


# --- the order --------------------------------------------------------------------------------------------


def test_the_choice_is_the_order_s_until_it_is_declined() -> None:
    order = accepted(
        type=OrderType.SNIPER, side=Side.BUY, token_in=SOL, token_out=UNCHOSEN, snipe=Snipe(), at=NOW
    ).order
    events = (Armed(), Sniped(pool=LISTING, facts=FACTS), Started(worker="w-1"))
    for event in events:
        order = transition(order, event, Millis(order.updated_at + 1))
    assert (order.status, order.attempt, order.target) == (Status.ROUTING, 1, LISTING)
    assert (order.swap.token_out.mint, order.swap.token_out.decimals) == (LISTING.mint, FACTS.decimals)
    assert order.intent.token_out == UNCHOSEN, "what was asked stays what was asked"
    assert route_of(order).legs
    order = transition(order, Declined(pool=LISTING.address, problems=(HOPELESS,)), Millis(order.updated_at + 1))
    assert (order.status, order.attempt, order.target, order.worker) == (Status.OPEN, 0, None, None)
    assert order.swap == order.intent


def test_who_watches_is_told_the_choice_and_why_it_was_given_up() -> None:
    first = accepted(type=OrderType.SNIPER, side=Side.BUY, token_in=SOL, token_out=UNCHOSEN, snipe=Snipe())
    history = walked(first, [Armed, Sniped, Started, Routed, Declined])
    frames = [msgspec.json.decode(encode_frame(frame_of(recorded))) for recorded in history]
    assert (frames[2]["cause"], frames[2]["pool"], frames[2]["tokenOut"]) == ("sniped", LISTING.address, LISTING.mint)
    assert (frames[5]["cause"], frames[5]["status"], frames[5]["pool"]) == ("declined", "open", LISTING.address)
    assert frames[5]["refusals"] == [{"code": HOPELESS.code, "detail": HOPELESS.detail}]
    assert attempt_views(history) == [], "nothing was spent on it"
    routed = last_routed(history)
    assert routed is not None
    assert routed[0].token_out.mint == LISTING.mint


def test_a_token_that_calls_itself_something_is_called_by_its_mint() -> None:
    lookalike: Listing = msgspec.structs.replace(LISTING, mint=Mint("EPjFWdd5AufqSSqeM2qNWorthless"))
    order = accepted(type=OrderType.SNIPER, side=Side.BUY, token_in=SOL, token_out=UNCHOSEN, snipe=Snipe()).order
    for event in (Armed(), Sniped(pool=lookalike, facts=FACTS)):
        order = transition(order, event, Millis(order.updated_at + 1))
    assert order.swap.token_out.symbol == lookalike.mint

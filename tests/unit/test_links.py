"""Orders tied to each other: who names whom, when a group is held, and what one's end means for the others."""

from itertools import count, pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fillwright.errors import Code
from fillwright.links import consequence, tie, ties
from fillwright.order import (
    TRANSITIONS,
    Armed,
    Canceled,
    Declined,
    Expired,
    Failed,
    Link,
    Mode,
    Order,
    OrderType,
    Recorded,
    Released,
    Side,
    Slipped,
    Sniped,
    Started,
    Status,
    Triggered,
    transition,
)
from fillwright.units import ATOMS_MAX, Atoms, OrderId
from tests.conformance.samples import PRICE, SOL, USDC, accepted, can_happen, intent_of, walked, walks, way_to

change = msgspec.structs.replace
LIMIT: dict[str, Any] = {"type": OrderType.LIMIT, "limit": PRICE}
BUY: dict[str, Any] = {"side": Side.BUY, "token_in": USDC, "token_out": SOL, "amount": Atoms(98_500_000)}


def names() -> Any:
    numbers = count()
    return lambda: OrderId(f"id-{next(numbers)}")


# --- tied ---------------------------------------------------------------------------------------------------


def test_an_entry_and_its_exits_name_each_other() -> None:
    tied = tie(intent_of(**BUY), [intent_of(**LIMIT), intent_of(**LIMIT)], names())
    entry, *exits = tied.ids
    links = [intent.link for intent in tied.intents]
    assert links[0] == Link(children=tuple(exits))
    assert links[1:] == [
        Link(parent=entry, group=exits[0], siblings=(exits[1],)),
        Link(parent=entry, group=exits[0], siblings=(exits[0],)),
    ]
    assert len(set(tied.ids)) == 3


def test_a_single_exit_has_no_group_and_two_orders_alone_have_no_parent() -> None:
    single = tie(intent_of(), [intent_of(**LIMIT)], names())
    assert single.intents[1].link == Link(parent=single.ids[0])
    pair = tie(None, [intent_of(**LIMIT), intent_of(**LIMIT)], names())
    assert [intent.link and intent.link.parent for intent in pair.intents] == [None, None]
    assert [intent.amount for intent in pair.intents] == [intent_of().amount] * 2, "they keep what was asked"


@given(
    amount=st.integers(1, ATOMS_MAX), mode=st.sampled_from(Mode), named=st.booleans(), side=st.sampled_from((BUY, {}))
)
def test_what_an_exit_shows_before_the_fill_is_an_amount(
    amount: int, mode: Mode, named: bool, side: dict[str, Any]
) -> None:
    entry = intent_of(**{**side, "amount": Atoms(amount)}, mode=mode)
    exits = [intent_of(type=OrderType.TRAILING_STOP, trail_bps=5), intent_of(**(LIMIT if named else {}))]
    for intent in tie(entry, exits, names()).intents[1:]:
        assert 1 <= intent.amount <= ATOMS_MAX
        assert intent.mode is Mode.EXACT_IN


def test_it_is_about_what_the_entry_will_give() -> None:
    assert tie(intent_of(**BUY), [intent_of(**LIMIT)], names()).intents[1].amount == 10**9
    exact = intent_of(**{**BUY, "amount": Atoms(77)}, mode=Mode.EXACT_OUT)
    assert tie(exact, [intent_of(**LIMIT)], names()).intents[1].amount == 77


# --- a group is held ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kinds", "held"),
    [
        ((), False),
        ((Armed,), False),
        ((Armed, Triggered), True),
        ((Armed, Triggered, Started), True),
        ((Armed, Triggered, Started, Slipped), False),
        ((Armed, Triggered, Failed), False),
        ((Armed, Triggered, Canceled), False),
        ((Armed, Triggered, Expired), False),
    ],
)
def test_a_member_holds_its_group_from_its_trigger_on(kinds: tuple[type, ...], held: bool) -> None:
    first = accepted(link=Link(group=OrderId("g")), **LIMIT)
    assert walked(first, kinds)[-1].order.holds is held
    assert walked(accepted(**LIMIT), kinds)[-1].order.holds is False, "without a group there is nothing to hold"


@given(walks())
def test_who_holds_lets_go_only_with_proof_that_it_will_not_swap(life: list[Recorded]) -> None:
    assume(life[0].order.intent.schedule is None)  # what has one waits for no market, so it is in no group
    armed = walked(life[0], [Armed])  # a member of a group is armed first, and once
    for recorded in life[1:]:
        before = armed[-1].order
        kind = type(recorded.event)
        if kind is Armed or (before.status, kind) not in TRANSITIONS or not can_happen(before, kind):
            continue
        armed.append(Recorded(transition(before, recorded.event, recorded.order.updated_at), recorded.event))
    group = [change(each.order, intent=change(each.order.intent, link=Link(group=OrderId("g")))) for each in armed]
    for (before, after), recorded in zip(pairwise(group), armed[1:], strict=True):
        if before.holds and not after.holds:
            assert isinstance(recorded.event, Slipped | Declined | Failed | Canceled | Expired)
            assert before.tx is None, "nothing of it is alive"
        if after.holds and not before.holds:
            assert isinstance(recorded.event, Triggered | Sniped)
        assert after.holds or after.status not in (Status.SUBMITTED, Status.CONFIRMED)


# --- what follows -------------------------------------------------------------------------------------------


def opened(**link: Any) -> Order:
    return walked(accepted("me", link=Link(**link), **LIMIT), [Armed])[-1].order


def others(*recorded: list[Recorded]) -> dict[OrderId, Order]:
    return {life[-1].order.id: life[-1].order for life in recorded}


@pytest.mark.parametrize("status", Status)
def test_only_a_fill_of_its_sibling_ends_an_order(status: Status) -> None:
    order = opened(group=OrderId("g"), siblings=(OrderId("other"),))
    found = consequence(order, others(way_to(status, accepted("other"))))
    if status is not Status.CONFIRMED:
        assert found is None
        return
    assert isinstance(found, Canceled)
    assert found.problem is not None
    assert found.problem.code is Code.ORDER_SIBLING_FILLED


@pytest.mark.parametrize("status", Status)
def test_the_end_of_its_parent_releases_an_order_or_ends_it(status: Status) -> None:
    order = opened(parent=OrderId("entry"))
    parent = way_to(status, accepted("entry"))[-1].order
    found = consequence(order, {parent.id: parent})
    if not parent.is_terminal:
        assert found is None
    elif status is Status.CONFIRMED:
        assert parent.fill is not None
        assert found == Released(intent=change(order.intent, amount=parent.fill.amount_out))
    else:
        assert isinstance(found, Canceled)
        assert found.problem is not None
        assert found.problem.code is Code.ORDER_PARENT_UNFILLED


def test_a_released_order_does_not_look_back_and_one_without_ties_not_around() -> None:
    released = walked(accepted("me", link=Link(parent=OrderId("entry")), **LIMIT), [Armed, Released])[-1].order
    assert consequence(released, others(way_to(Status.CANCELED, accepted("entry")))) is None
    alone = walked(accepted(**LIMIT), [Armed])[-1].order
    assert (ties(alone), consequence(alone, {})) == ((), None)
    assert consequence(opened(parent=OrderId("entry")), {}) is None

"""Laws of slices: their amounts, their times, and an order's way through them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillwright.errors import Code, FillwrightError
from fillwright.order import (
    Aborted,
    CancelRequested,
    Expired,
    Failed,
    Landed,
    Lapsed,
    Order,
    OrderType,
    Recorded,
    Routed,
    Signed,
    SliceLanded,
    SliceSkipped,
    Slipped,
    Started,
    Status,
    advance,
    amend,
    cancel,
    claim,
    landed,
    miss,
    slice_over_at,
    transition,
)
from fillwright.policy import Policy
from fillwright.schedule import INTERVAL_MS_MAX, INTERVAL_MS_MIN, JITTER_PCT_MAX, SLICES_MAX, SLICES_MIN, Schedule
from fillwright.units import Atoms, Millis, OrderId
from tests.conformance.samples import HOPELESS, NOW, PASSING, PRICE, accepted, event_of, fill_of

POLICY = Policy()
SCHEDULES = st.builds(
    Schedule,
    slices=st.integers(SLICES_MIN, SLICES_MAX),
    interval_ms=st.integers(INTERVAL_MS_MIN, INTERVAL_MS_MAX),
    jitter_pct=st.integers(0, JITTER_PCT_MAX),
)
IDS = st.uuids(version=None).map(lambda each: OrderId(str(each)))
KINDS = st.sampled_from([OrderType.TWAP, OrderType.DCA])


# --- arithmetic -------------------------------------------------------------------------------------------


@given(SCHEDULES, st.data())
def test_all_slices_together_swap_exactly_the_amount(schedule: Schedule, data: st.DataObject) -> None:
    amount = data.draw(st.integers(schedule.slices, 2**63 - 1))
    numbers = range(1, schedule.slices + 1)
    fixed = [schedule.fixed(amount, number) for number in numbers]
    evened: list[int] = []
    for number in numbers:
        evened.append(schedule.even(amount - sum(evened), number))
    for parts in (fixed, evened):
        assert sum(parts) == amount
        assert min(parts) >= 1
    assert max(evened) - min(evened) <= 1
    assert len(set(fixed[:-1])) == 1
    assert 0 <= fixed[-1] - fixed[0] < schedule.slices


@given(SCHEDULES, st.data())
def test_a_skipped_slice_is_caught_up_by_a_twap_and_stays_unspent_by_a_dca(
    schedule: Schedule, data: st.DataObject
) -> None:
    amount = data.draw(st.integers(schedule.slices, 2**63 - 1))
    skipped = data.draw(st.sets(st.integers(1, schedule.slices)))
    swapped = spent = 0
    for number in range(1, schedule.slices + 1):
        if number not in skipped:
            swapped += schedule.even(amount - swapped, number)
            spent += schedule.fixed(amount, number)
    assert (swapped == amount) == (schedule.slices not in skipped)
    assert swapped <= amount
    assert spent == amount - sum(schedule.fixed(amount, number) for number in skipped)


@given(SCHEDULES, IDS)
def test_jitter_never_reorders_and_stays_within_its_share(schedule: Schedule, order_id: OrderId) -> None:
    due = [schedule.planned_at(order_id, NOW, number) for number in range(1, schedule.slices + 2)]
    assert due == sorted(set(due))
    assert (due[0], due[-1]) == (NOW, NOW + schedule.slices * schedule.interval_ms)
    for number, at in enumerate(due):
        moved = abs(at - NOW - number * schedule.interval_ms)
        assert moved * 100 <= schedule.interval_ms * schedule.jitter_pct


def test_jitter_is_the_orders_own_and_the_same_for_ever() -> None:
    schedule = Schedule(slices=5, interval_ms=Millis(60_000), jitter_pct=50)

    def times(name: str) -> list[int]:
        return [schedule.planned_at(OrderId(name), Millis(0), number) for number in range(1, 6)]

    assert times("o-1") == times("o-1")
    assert times("o-1") != times("o-2")
    assert times("o-1") == [0, 65_209, 143_927, 188_597, 247_579], "stored orders go by these"


@given(SCHEDULES, IDS, st.integers(0, 10**12), st.data())
def test_late_slices_are_caught_up_but_never_in_a_burst(
    schedule: Schedule, order_id: OrderId, late: int, data: st.DataObject
) -> None:
    number = data.draw(st.integers(1, schedule.slices))
    begun_at = Millis(schedule.planned_at(order_id, NOW, number) + late)
    over_at = schedule.over_at(order_id, NOW, number, begun_at)
    assert over_at >= schedule.planned_at(order_id, NOW, number + 1)
    assert over_at - begun_at >= schedule.interval_ms // 2


# --- an order's way through its slices --------------------------------------------------------------------


def placed(kind: OrderType = OrderType.TWAP, amount: int = 100, **intent: Any) -> Order:
    schedule = Schedule(slices=3, interval_ms=Millis(60_000))
    return accepted(type=kind, schedule=schedule, amount=Atoms(amount), **intent).order


def taken(order: Order) -> Order:
    """Claimed when it is due."""
    assert order.due_at is not None
    return claim(order, "w-1", Millis(max(order.due_at, order.updated_at))).order


def signed(order: Order) -> Order:
    held = taken(order)
    for kind in (Routed, Signed):
        held = transition(held, event_of(kind, held), held.updated_at)
    return held


def swapped(order: Order) -> list[Recorded]:
    held = signed(order)
    return advance(held, landed(held, fill_of(held)), held.updated_at, POLICY)


def skipped(order: Order) -> list[Recorded]:
    held = taken(order)
    return advance(held, event_of(Aborted, held, problem=HOPELESS), held.updated_at, POLICY)


def kinds(recorded: list[Recorded]) -> list[type]:
    return [type(each.event) for each in recorded]


@pytest.mark.parametrize("kind", [OrderType.TWAP, OrderType.DCA])
def test_each_slice_is_due_at_its_time_and_the_last_one_confirms(kind: OrderType) -> None:
    order = placed(kind, 101)
    amounts, starts = [], []
    for _ in range(2):
        amounts.append(order.part.amount)
        recorded = swapped(order)
        starts.append(recorded[-1].order.updated_at)
        assert kinds(recorded) == [SliceLanded]
        order = recorded[-1].order
        assert (order.status, order.attempt, order.tx, order.worker) == (Status.OPEN, 0, None, None)
    amounts.append(order.part.amount)
    assert order.due_at == NOW + 120_000
    recorded = swapped(order)
    assert kinds(recorded) == [Landed]
    assert recorded[-1].order.status is Status.CONFIRMED
    assert recorded[-1].order.filled_in == sum(amounts) == 101
    assert starts == [NOW, NOW + 60_000]


def test_attempts_count_anew_for_each_slice_and_spent_ones_skip_it() -> None:
    recorded = swapped(placed())
    order = recorded[-1].order
    for attempt in (1, 2, 3):
        order = signed(order)
        assert (order.attempt, order.part.amount) == (attempt, 33)
        recorded = advance(order, event_of(Lapsed, order, retry_at=order.updated_at), order.updated_at, POLICY)
        order = recorded[-1].order
    assert kinds(recorded) == [Lapsed, SliceSkipped]
    assert (order.status, order.slice, order.attempt, order.due_at) == (Status.OPEN, 3, 0, NOW + 120_000)
    assert order.problem == PASSING
    assert order.part.amount == 67, "a twap catches up"


def test_an_order_with_a_skipped_part_is_not_confirmed_and_tells_why() -> None:
    order = skipped(placed(OrderType.DCA))[-1].order
    order = swapped(order)[-1].order
    recorded = swapped(order)
    assert kinds(recorded) == [SliceLanded, Failed]
    assert (recorded[-1].order.status, recorded[-1].order.filled_in) == (Status.FAILED, 67)
    assert recorded[-1].order.problem is not None
    assert recorded[-1].order.problem.code is Code.ORDER_PARTLY_FILLED


def test_an_order_whose_slices_were_all_skipped_fails_with_their_problem() -> None:
    order = skipped(skipped(placed())[-1].order)[-1].order
    recorded = skipped(order)
    order = recorded[-1].order
    assert kinds(recorded) == [Aborted, SliceSkipped, Failed]
    assert (order.fill, order.problem) == (None, HOPELESS)


def test_a_deadline_ends_it_between_slices_and_keeps_the_fills() -> None:
    order = swapped(placed(deadline_ms=Millis(30_000)))[-1].order
    assert order.due_at == NOW + 30_000
    recorded = claim(order, "w-1", Millis(NOW + 30_000))
    assert isinstance(recorded.event, Expired)
    assert recorded.order.filled_in == 33
    held = signed(placed(deadline_ms=Millis(30_000)))
    late = advance(held, landed(held, fill_of(held)), Millis(NOW + 40_000), POLICY)
    assert kinds(late) == [SliceLanded, Expired]


def test_a_cancel_keeps_the_fills_at_once_between_slices_and_after_proof_within_one() -> None:
    order = swapped(placed())[-1].order
    canceled = cancel(order, order.updated_at)
    assert canceled is not None
    assert (canceled.order.status, canceled.order.filled_in) == (Status.CANCELED, 33)
    noted = transition(signed(order), CancelRequested(), order.updated_at)
    recorded = advance(noted, landed(noted, fill_of(noted)), noted.updated_at, POLICY)
    assert [each.order.status for each in recorded] == [Status.OPEN, Status.CANCELED]
    assert recorded[-1].order.filled_in == 66
    lapsed = advance(noted, event_of(Lapsed, noted), noted.updated_at, POLICY)
    assert (lapsed[-1].order.status, lapsed[-1].order.filled_in) == (Status.CANCELED, 33)


def test_beyond_the_band_a_slice_looks_again_until_the_next_one_is_due() -> None:
    order, looks = placed(limit=PRICE), 0
    while order.slice == 1:
        held = taken(order)
        event = miss(held, (), held.updated_at)
        order = advance(held, event, held.updated_at, POLICY)[-1].order
        looks += 1
        assert order.status is Status.OPEN
        assert isinstance(event, Slipped) == (order.slice == 1)
    assert looks == 20
    assert (order.due_at, order.attempt) == (NOW + 60_000, 0)
    assert order.problem is not None
    assert order.problem.code is Code.ORDER_LIMIT_NOT_MET


def test_after_an_outage_slices_are_half_an_interval_apart_until_they_are_in_time_again() -> None:
    order = placed()
    begun = Millis(NOW + 600_000)
    held = claim(order, "w-1", begun).order
    assert slice_over_at(held) == begun + 30_000
    again = transition(held, event_of(Aborted, held, retry_at=begun), begun)
    assert slice_over_at(taken(again)) == begun + 30_000, "another attempt does not move it"


def test_an_order_with_a_schedule_cannot_be_amended() -> None:
    order = swapped(placed())[-1].order
    with pytest.raises(FillwrightError) as refused:
        amend(order, order.intent, order.updated_at)
    assert refused.value.code is Code.ORDER_NOT_OPEN


@given(KINDS, st.integers(3, 10**12), st.data())
def test_whatever_happens_to_its_slices_it_ends_and_never_swaps_more_than_its_amount(
    kind: OrderType, amount: int, data: st.DataObject
) -> None:
    order, starts = placed(kind, amount), 0
    while not order.is_terminal:
        starts += 1
        assert starts <= 3 * POLICY.attempts_max
        held = taken(order)
        assert isinstance(claim(order, "w-1", held.updated_at).event, Started)
        if data.draw(st.booleans()):
            for each in (Routed, Signed):
                held = transition(held, event_of(each, held), held.updated_at)
            fails = data.draw(st.booleans())
            event = event_of(Lapsed, held, retry_at=held.updated_at) if fails else landed(held, fill_of(held))
        else:
            event = event_of(
                Aborted, held, retry_at=held.updated_at, problem=data.draw(st.sampled_from([PASSING, HOPELESS]))
            )
        order = advance(held, event, held.updated_at, POLICY)[-1].order
        assert order.filled_in <= amount
    assert (order.status is Status.CONFIRMED) == (order.filled_in == amount)

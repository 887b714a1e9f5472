"""One order's rules: every legal move and no other, what follows from each state, and laws of any history."""

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillwright.errors import OUTAGES, RETRYABLE, Code, FillwrightError, Problem
from fillwright.order import (
    AT_ONCE,
    TERMINAL,
    TRANSITIONS,
    Aborted,
    Amended,
    Armed,
    Attested,
    Canceled,
    CancelRequested,
    Conclude,
    Declined,
    Event,
    Expired,
    Failed,
    FindRoute,
    IllegalTransition,
    Landed,
    LandTx,
    Lapsed,
    Order,
    OrderType,
    Reclaimed,
    Recorded,
    Released,
    Reopened,
    Rest,
    Reverted,
    Routed,
    Side,
    Signed,
    SignRoute,
    SliceLanded,
    SliceSkipped,
    Slipped,
    Stamped,
    Started,
    Status,
    Step,
    Triggered,
    abort,
    advance,
    cancel,
    claim,
    landed,
    next_step,
    replay,
    transition,
)
from fillwright.policy import Policy
from fillwright.units import Millis
from tests.conformance.samples import (
    EVENT_TYPES,
    HOPELESS,
    NOW,
    PASSING,
    PRICE,
    SOL,
    USDC,
    accepted,
    event_of,
    fill_of,
    intent_of,
    order_in,
    stamped,
    steps_of,
    walked,
    walks,
    way_to,
)

POLICY = Policy()
LATER = Millis(NOW + 1_000)

ARROWS = """
pending    Armed           open
open       Released        open
open       Trailed         open
open       Amended         open
open       Triggered       pending
open       Sniped          pending
open       Canceled        canceled
open       Expired         expired
open       Started         routing
open       Failed          failed
pending    SliceSkipped    open
routing    SliceSkipped    open
building   SliceSkipped    open
submitted  SliceLanded     open
pending    Started         routing
pending    Canceled        canceled
pending    Expired         expired
pending    Failed          failed
routing    Reclaimed       routing
routing    Routed          building
routing    Aborted         pending
routing    Slipped         open
building   Slipped         open
routing    Declined        open
building   Declined        open
routing    Canceled        canceled
routing    Expired         expired
routing    Failed          failed
building   Reclaimed       building
building   Routed          building
building   Signed          submitted
building   Aborted         pending
building   Canceled        canceled
building   Expired         expired
building   Failed          failed
submitted  Reclaimed       submitted
submitted  CancelRequested submitted
submitted  Attested        submitted
confirmed  Reopened        submitted
submitted  Landed          confirmed
submitted  Reverted        pending
submitted  Lapsed          pending
"""
"""Written down a second time on purpose: a change of the rules must be made twice."""


# --- the table --------------------------------------------------------------------------------------------


def test_the_table_is_the_one_that_was_agreed() -> None:
    table = {(str(status), kind.__name__, str(to)) for (status, kind), to in TRANSITIONS.items()}
    assert table == {tuple(line.split()) for line in ARROWS.strip().splitlines()}


@pytest.mark.parametrize(
    ("status", "kind"),
    [(status, kind) for status in Status for kind in EVENT_TYPES if (status, kind) not in TRANSITIONS],
    ids=lambda value: value.__name__ if isinstance(value, type) else str(value),
)
def test_every_other_move_raises_and_changes_nothing(status: Status, kind: type) -> None:
    order = order_in(status)
    before = msgspec.json.encode(order)
    with pytest.raises(IllegalTransition, match=f"{kind.__name__} while {status}"):
        transition(order, event_of(kind, order), LATER)
    assert msgspec.json.encode(order) == before


@pytest.mark.parametrize(("status", "kind"), list(TRANSITIONS))
def test_every_legal_move_counts_stamps_and_arrives(status: Status, kind: type) -> None:
    order = order_in(status)
    after = transition(order, event_of(kind, order, retry_at=LATER), LATER)
    assert after.status is TRANSITIONS[status, kind]
    assert (after.seq, after.updated_at, after.created_at) == (order.seq + 1, LATER, order.created_at)


def test_nothing_leaves_a_terminal_status_but_the_chain_taking_a_swap_back() -> None:
    assert frozenset({Status.CONFIRMED, Status.FAILED, Status.CANCELED, Status.EXPIRED}) == TERMINAL
    assert [arrow for arrow in TRANSITIONS if arrow[0] in TERMINAL] == [(Status.CONFIRMED, Reopened)]


def test_only_the_chain_s_word_leads_on_from_submitted() -> None:
    leaving = {kind for (status, kind), to in TRANSITIONS.items() if status is Status.SUBMITTED and to is not status}
    staying = {kind for (status, kind), to in TRANSITIONS.items() if status is Status.SUBMITTED and to is status}
    assert leaving == {Landed, SliceLanded, Reverted, Lapsed}
    assert staying == {Reclaimed, CancelRequested, Attested}


def test_confirmed_is_reached_by_a_landing_alone() -> None:
    assert [arrow for arrow, to in TRANSITIONS.items() if to is Status.CONFIRMED] == [(Status.SUBMITTED, Landed)]


def test_each_attempt_forgets_the_last_route_and_counts_one() -> None:
    order = walked(accepted(), [Started, Routed, Aborted])[-1].order
    again = transition(order, Started(worker="w-2"), LATER)
    assert (again.attempt, again.route, again.worker) == (2, None, "w-2")
    assert again.problem == PASSING, "why the last one did not work stays visible"


def test_a_landing_clears_the_problem_and_keeps_the_route() -> None:
    order = walked(accepted(), [Started, Aborted, Started, Routed, Signed])[-1].order
    assert order.problem == PASSING
    landed = transition(order, event_of(Landed, order), LATER)
    assert landed.problem is None
    assert landed.route == order.route


@pytest.mark.parametrize("kind", [Reverted, Lapsed, Aborted])
@given(wait=st.integers(0, 100_000), patience=st.none() | st.integers(1, 50_000))
def test_the_next_attempt_never_waits_beyond_the_deadline(kind: type, wait: int, patience: int | None) -> None:
    status = Status.ROUTING if kind is Aborted else Status.SUBMITTED
    order = order_in(status, deadline_ms=patience)
    after = transition(order, event_of(kind, order, retry_at=NOW + wait), LATER)
    assert after.due_at == (NOW + wait if patience is None else min(NOW + wait, NOW + patience))
    assert after.worker is None


def test_the_deadline_counts_from_acceptance() -> None:
    assert accepted(deadline_ms=Millis(7_000)).order.deadline_at == NOW + 7_000
    assert accepted().order.deadline_at is None


def test_base_and_quote_follow_the_side() -> None:
    sell = intent_of(side=Side.SELL, token_in=SOL, token_out=USDC)
    buy = intent_of(side=Side.BUY, token_in=USDC, token_out=SOL)
    assert (sell.base, sell.quote) == (SOL, USDC) == (buy.base, buy.quote)


# --- what comes next --------------------------------------------------------------------------------------


def building(*, found_at: int) -> Order:
    order = order_in(Status.ROUTING)
    return transition(order, event_of(Routed, order, at=found_at), Millis(found_at))


@pytest.mark.parametrize(
    ("found", "step"),
    [
        (lambda: order_in(Status.PENDING), Rest),
        (lambda: order_in(Status.ROUTING), FindRoute),  # died while quoting: quoted again
        (lambda: order_in(Status.BUILDING), SignRoute),  # died before record(Signed): signed again
        (lambda: order_in(Status.SUBMITTED), LandTx),  # died after record(Signed): the same bytes go on
        (lambda: order_in(Status.CONFIRMED), Rest),
        (lambda: order_in(Status.FAILED), Rest),
        (lambda: order_in(Status.CANCELED), Rest),
        (lambda: order_in(Status.EXPIRED), Rest),
    ],
)
def test_the_way_forward_is_the_way_back_after_a_crash(found: Callable[[], Order], step: type[Step]) -> None:
    """DESIGN 3.1: a stored order in any state tells what to do, and a new claimant changes nothing about it."""
    order = found()
    assert type(next_step(order, Millis(NOW + 10), POLICY)) is step
    if (order.status, Reclaimed) in TRANSITIONS:
        reclaimed = transition(order, Reclaimed(worker="w-2"), Millis(NOW + 10))
        assert next_step(reclaimed, Millis(NOW + 10), POLICY) == next_step(order, Millis(NOW + 10), POLICY)
        assert reclaimed.attempt == order.attempt


def test_after_a_crash_exactly_the_stored_bytes_are_landed() -> None:
    order = order_in(Status.SUBMITTED)
    reclaimed = transition(order, Reclaimed(worker="w-2"), LATER)
    assert next_step(reclaimed, LATER, POLICY) == LandTx(order.tx)  # type: ignore[arg-type]


@pytest.mark.parametrize("later_ms", [0, 10**9])
def test_a_live_transaction_is_landed_whatever_else_speaks_against_it(later_ms: int) -> None:
    """Deadline passed, attempts spent, cancel requested: what may be on the network must be followed to its end."""
    order = order_in(Status.SUBMITTED, deadline_ms=Millis(5))
    order = transition(order, CancelRequested(), LATER)
    hopeless = msgspec.structs.replace(order, attempt=99, problem=HOPELESS)
    assert isinstance(next_step(hopeless, Millis(NOW + later_ms), POLICY), LandTx)


def test_a_pending_order_rests_until_it_is_due() -> None:
    order = order_in(Status.ROUTING)
    waiting = transition(order, event_of(Aborted, order, retry_at=NOW + 4_000), LATER)
    assert next_step(waiting, LATER, POLICY) == Rest(Millis(NOW + 4_000))


@pytest.mark.parametrize(
    ("age_ms", "step"), [(0, SignRoute), (5_000, SignRoute), (5_001, FindRoute), (60_000, FindRoute)]
)
def test_a_stale_route_is_looked_for_again_before_it_is_signed(age_ms: int, step: type[Step]) -> None:
    order = building(found_at=NOW)
    assert type(next_step(order, Millis(NOW + age_ms), POLICY)) is step


@pytest.mark.parametrize("status", [Status.PENDING, Status.ROUTING, Status.BUILDING])
def test_the_deadline_ends_whatever_is_not_signed(status: Status) -> None:
    order = order_in(status, deadline_ms=Millis(100))
    assert not isinstance(next_step(order, Millis(NOW + 99), POLICY), Conclude)
    step = next_step(order, Millis(NOW + 100), POLICY)
    assert isinstance(step, Conclude)
    assert isinstance(step.event, Expired)
    assert step.event.problem.code is Code.EXECUTION_DEADLINE


def test_a_lowered_limit_of_attempts_ends_a_waiting_order() -> None:
    order = walked(accepted(), [Started, Aborted, Started, Aborted, Started])[-1].order
    assert order.attempt == 3
    assert not isinstance(next_step(order, LATER, Policy(attempts_max=3)), Conclude)
    step = next_step(order, LATER, Policy(attempts_max=2))
    assert isinstance(step, Conclude)
    assert isinstance(step.event, Failed)


# --- an ending is recorded together with its cause ----------------------------------------------------------


def attempts_made(count: int, *, until: tuple[type, ...]) -> Order:
    """An order in its attempt number `count`, after the events `until` of that attempt."""
    kinds: list[type] = []
    for _ in range(count - 1):
        kinds += [Started, Aborted]
    return walked(accepted(), [*kinds, *until])[-1].order


def ending_of(order: Order, event: Event, policy: Policy = POLICY, *, at: Millis = LATER) -> list[str]:
    return [type(recorded.event).__name__ for recorded in advance(order, event, at, policy)]


@pytest.mark.parametrize(
    ("kind", "until"),
    [
        (Aborted, (Started,)),
        (Aborted, (Started, Routed)),
        (Reverted, (Started, Routed, Signed)),
        (Lapsed, (Started, Routed, Signed)),
    ],
)
class TestEndOfAnAttempt:
    def test_spent_attempts_fail_the_order_at_once(self, kind: type, until: tuple[type, ...]) -> None:
        for attempt in (1, 2):
            order = attempts_made(attempt, until=until)
            assert ending_of(order, event_of(kind, order)) == [kind.__name__]
        last = attempts_made(3, until=until)
        recorded = advance(last, event_of(kind, last), LATER, POLICY)
        assert [type(each.event) for each in recorded] == [kind, Failed]
        assert recorded[-1].order.status is Status.FAILED
        assert recorded[-1].order.problem == PASSING
        assert [each.order.seq for each in recorded] == [last.seq + 1, last.seq + 2]

    def test_a_hopeless_problem_fails_the_order_at_once(self, kind: type, until: tuple[type, ...]) -> None:
        order = attempts_made(1, until=until)
        assert ending_of(order, event_of(kind, order, problem=HOPELESS)) == [kind.__name__, "Failed"]

    def test_a_passed_deadline_expires_the_order_at_once(self, kind: type, until: tuple[type, ...]) -> None:
        order = walked(accepted(deadline_ms=Millis(900)), until)[-1].order
        assert ending_of(order, event_of(kind, order)) == [kind.__name__, "Expired"]
        assert ending_of(order, event_of(kind, order), at=Millis(NOW + 899)) == [kind.__name__]

    def test_the_only_attempt_of_a_strict_policy_is_the_last(self, kind: type, until: tuple[type, ...]) -> None:
        order = attempts_made(1, until=until)
        assert ending_of(order, event_of(kind, order), Policy(attempts_max=1)) == [kind.__name__, "Failed"]


@pytest.mark.parametrize("kind", [Reverted, Lapsed])
def test_a_requested_cancel_is_honoured_with_the_proof_that_the_attempt_is_over(kind: type) -> None:
    order = transition(order_in(Status.SUBMITTED), CancelRequested(), LATER)
    assert ending_of(order, event_of(kind, order, problem=HOPELESS)) == [kind.__name__, "Canceled"]


def test_a_cancel_that_comes_too_late_does_not_undo_a_landing() -> None:
    order = transition(order_in(Status.SUBMITTED), CancelRequested(), LATER)
    recorded = advance(order, event_of(Landed, order), LATER, POLICY)
    assert [each.order.status for each in recorded] == [Status.CONFIRMED]


@pytest.mark.parametrize("code", list(Code))
def test_an_order_is_tried_again_exactly_for_retryable_problems(code: Code) -> None:
    order = order_in(Status.ROUTING)
    ends = ending_of(order, event_of(Aborted, order, problem=Problem(code, "because")))
    assert (ends == ["Aborted"]) == (code in RETRYABLE)


# --- claim and cancel ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", list(Status))
def test_a_claim_starts_a_pending_order_and_takes_over_any_other(status: Status) -> None:
    order = order_in(status)
    if status in TERMINAL:
        with pytest.raises(IllegalTransition):
            claim(order, "w-9", LATER)
        return
    if status is Status.OPEN:
        assert isinstance(claim(order, "w-9", LATER).event, Expired)
        return
    recorded = claim(order, "w-9", LATER)
    assert isinstance(recorded.event, Started if status is Status.PENDING else Reclaimed)
    assert recorded.order.worker == "w-9"
    assert recorded.order.tx == order.tx
    assert recorded.order.seq == order.seq + 1


@pytest.mark.parametrize("status", [Status.PENDING, Status.OPEN, Status.ROUTING, Status.BUILDING])
def test_a_cancel_is_immediate_while_nothing_is_signed(status: Status) -> None:
    recorded = cancel(order_in(status), LATER)
    assert recorded is not None
    assert recorded.order.status is Status.CANCELED
    assert recorded.order.due_at is None


def test_a_cancel_of_a_live_transaction_is_noted_once() -> None:
    noted = cancel(order_in(Status.SUBMITTED), LATER)
    assert noted is not None
    assert (noted.order.status, noted.order.cancel_requested) == (Status.SUBMITTED, True)
    assert noted.order.tx is not None
    assert cancel(noted.order, LATER) is None


@pytest.mark.parametrize("status", sorted(TERMINAL))
def test_a_terminal_order_cannot_be_canceled(status: Status) -> None:
    with pytest.raises(FillwrightError, match=str(status)) as refused:
        cancel(order_in(status), LATER)
    assert refused.value.code is Code.CANCEL_TOO_LATE


# --- outages ------------------------------------------------------------------------------------------------

PATIENT = Policy(patience_ms=Millis(15_000))


@pytest.mark.parametrize("code", sorted(OUTAGES))
def test_an_outage_costs_no_attempt_until_patience_is_over(code: Code) -> None:
    order = walked(accepted(), [Started])[-1].order
    for waited, spent in ((0, False), (14_999, False), (15_000, True)):
        now = Millis(order.created_at + waited)
        event = abort(order, Problem(code, "away"), now, PATIENT)
        after = transition(order, event, now)
        assert (after.status, after.attempt, after.due_at) == (Status.PENDING, int(spent), now + 1_000)


def test_what_is_no_outage_always_costs_an_attempt() -> None:
    order = walked(accepted(), [Started])[-1].order
    for code in set(Code) - OUTAGES:
        assert abort(order, Problem(code, "hopeless"), order.created_at, PATIENT).spent


def test_patience_begins_anew_with_every_trigger_and_every_slice() -> None:
    """It is about how long an order is tried, not about how long it rested."""
    resting = accepted(type=OrderType.STOP, trigger=PRICE)
    later = Millis(LATER + 1_000_000)
    order = walked(resting, [Armed])[-1].order
    order = transition(transition(order, Triggered(price=PRICE), later), Started(worker="w-1"), later)
    assert not abort(order, Problem(Code.VENUE_TIMEOUT, "away"), Millis(later + 1), PATIENT).spent
    assert abort(order, Problem(Code.VENUE_TIMEOUT, "away"), Millis(later + 15_000), PATIENT).spent


# --- laws of any history ------------------------------------------------------------------------------------


def check(order: Order) -> None:
    """What holds for every order, whatever has happened to it."""
    terminal = order.status in {"confirmed", "failed", "canceled", "expired"}
    assert order.is_terminal == terminal
    assert (order.due_at is None) == terminal
    assert (order.tx is not None) == (order.status == "submitted")
    assert (order.fill is not None) == (order.status == "confirmed")
    if order.status != "submitted":  # once the chain has taken its swap back, nobody holds it until it is reclaimed
        assert (order.worker is None) == (terminal or order.status in {"pending", "open"})
    assert order.status != "open" or order.standing is not None
    assert order.status not in {"building", "submitted", "confirmed"} or order.route is not None
    assert order.status not in {"failed", "expired"} or order.problem is not None
    if order.deadline_at is not None and order.status == "pending" and order.attempt and order.problem:
        assert order.due_at is not None
        assert order.due_at <= order.deadline_at


@given(walks())
def test_any_walk_of_legal_events_keeps_the_invariants(recorded: list[Recorded]) -> None:
    assert [each.order.seq for each in recorded] == list(range(1, len(recorded) + 1))
    for each in recorded:
        check(each.order)
    for before, after in steps_of(recorded):
        spent = isinstance(after.event, Started) - isinstance(after.event, Slipped | Declined)
        is_sliced = isinstance(after.event, SliceLanded | SliceSkipped)
        assert after.order.attempt == (0 if is_sliced else before.attempt + spent)
        assert after.order.cancel_requested >= before.cancel_requested
        assert (after.order.id, after.order.account) == (before.id, before.account)
        assert after.order.intent == before.intent or isinstance(after.event, Amended | Released)


@given(walks())
def test_replaying_the_history_gives_every_order_it_passed_through(recorded: list[Recorded]) -> None:
    first = recorded[0].order
    assert replay(first.id, first.account, stamped(recorded)) == recorded


@given(walks())
def test_events_survive_being_written_and_read(recorded: list[Recorded]) -> None:
    written = msgspec.json.encode(stamped(recorded))
    assert msgspec.json.decode(written, type=list[Stamped]) == stamped(recorded)


@given(walks())
def test_after_advance_nothing_is_left_to_conclude(recorded: list[Recorded]) -> None:
    """So an order never sits in the store in a state that should have ended."""
    for before, after in steps_of(recorded):
        if isinstance(next_step(before, after.order.updated_at, POLICY), Conclude):
            continue  # the walk strayed from what `advance` would have let it do
        now = Millis(after.order.updated_at)
        stored = advance(before, after.event, now, POLICY)
        assert len(stored) <= 2 + isinstance(stored[1:2] and stored[1].event, SliceSkipped)
        assert stored[0] == after
        for each in stored:
            check(each.order)
        assert not isinstance(next_step(stored[-1].order, now, POLICY), Conclude)


@given(walks(), st.integers(0, 30_000))
def test_a_step_can_always_be_recorded(recorded: list[Recorded], later_ms: int) -> None:
    """`next_step` never asks for an event that the table then forbids."""
    order = recorded[-1].order
    now = Millis(order.updated_at + later_ms)
    possible: dict[type, tuple[type, ...]] = {
        FindRoute: (Routed, Aborted, Slipped, Canceled),
        SignRoute: (Signed, Aborted),
        LandTx: (type(landed(order, fill_of(order))), Reverted, Lapsed),
    }
    step = next_step(order, now, POLICY)
    match step:
        case Conclude(event=event):
            check(transition(order, event, now))
        case Rest(until=until):
            assert order.status in TERMINAL | {Status.PENDING, Status.OPEN}
            assert until == order.due_at
        case _:
            for kind in possible[type(step)]:
                check(transition(order, event_of(kind, order, at=now, retry_at=now), now))


@given(st.data())
def test_an_order_that_follows_the_engine_ends_within_its_attempts(data: st.DataObject) -> None:
    """Claim and step in turn, whatever the outside answers: at most attempts_max live transactions, then an end."""
    patience = data.draw(st.none() | st.integers(1, 30_000))
    order = accepted(deadline_ms=patience).order
    now, signed = int(NOW), 0
    for _ in range(40):
        if order.is_terminal:
            break
        now = max(now, order.due_at or 0) + data.draw(st.integers(0, 3_000))
        if order.worker is None:
            order = claim(order, "w-1", Millis(now)).order
            continue
        event = outcome(order, now, data.draw)
        signed += isinstance(event, Signed)
        order = advance(order, event, Millis(now), POLICY)[-1].order
        check(order)
    assert order.is_terminal
    assert order.attempt <= POLICY.attempts_max
    assert signed <= POLICY.attempts_max


def outcome(order: Order, now: int, draw: Callable[[Any], Any]) -> Event:
    """Some event in which the next step may end; quotes do not go stale for ever."""
    step = next_step(order, Millis(now), POLICY)
    match step:
        case Conclude(event=event):
            return event
        case FindRoute():
            kind = draw(st.sampled_from([Routed, Routed, Aborted]))
        case SignRoute():
            kind = draw(st.sampled_from([Signed, Signed, Aborted]))
        case LandTx():
            kind = draw(st.sampled_from([Landed, Reverted, Lapsed]))
        case _:
            raise AssertionError("a claimed order has something to do")
    return event_of(kind, order, at=now, retry_at=now + draw(st.integers(0, 4_000)))


def test_a_conclusion_s_event_is_canceled_expired_or_failed() -> None:
    assert {Canceled, Expired, Failed} == {kind for (_, kind), to in TRANSITIONS.items() if to in TERMINAL} - {Landed}


def test_way_to_reaches_every_status() -> None:
    for status in Status:
        assert way_to(status)[-1].order.status is status
        check(way_to(status)[-1].order)


def test_an_order_that_waits_for_nothing_is_due_on_any_clock() -> None:
    """Its acceptor's clock may be hours ahead of the store's."""
    assert accepted().order.due_at == AT_ONCE

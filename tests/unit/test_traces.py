"""An order's spans: one trace, nested, in order, as long as the stamps say, and without what must stay inside."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fillwright.order import (
    TERMINAL,
    Aborted,
    Armed,
    Canceled,
    CancelRequested,
    Expired,
    Failed,
    Landed,
    Lapsed,
    Reclaimed,
    Recorded,
    Reverted,
    Routed,
    Signed,
    Started,
    Status,
    Triggered,
    advance,
    replay,
)
from fillwright.policy import Policy
from fillwright.traces import Span, SpanId, acceptance, caller_in, life, root_of
from fillwright.units import Millis, OrderId
from tests.conformance.samples import NOW, accepted, event_of, stamped, walked, walks

ID = OrderId("0199a8b2-4c3d-7e5f-8a1b-2c3d4e5f6071")
TRACE = bytes.fromhex("4bf92f3577b34da6a3ce929d0e0e4736")
CALLER = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def order(*kinds: type) -> list[Recorded]:
    return walked(accepted(ID), kinds)


def told(spans: list[Span]) -> list[tuple[str, int, int, str | None]]:
    """Name, beginning and end in milliseconds from acceptance, and the problem's code."""
    return [
        (each.name, each.begins_at - NOW, each.ends_at - NOW, each.problem.code if each.problem else None)
        for each in spans
    ]


def test_a_confirmed_order_is_a_root_and_four_stages() -> None:
    spans = life(order(Started, Routed, Signed, Landed))
    assert told(spans) == [
        ("order", 0, 4, None),
        ("queued", 0, 1, None),
        ("routing", 1, 2, None),
        ("building", 2, 3, None),
        ("landing", 3, 4, None),
    ]
    root, queued, routing, building, landing = spans
    assert root.attributes == {
        "fillwright.order.id": ID,
        "fillwright.pair": "SOL>USDC",
        "fillwright.side": "sell",
        "fillwright.mode": "exactIn",
        "fillwright.status": "confirmed",
        "fillwright.attempt": 1,
        "fillwright.venue": "raydium",
        "fillwright.legs": 1,
        "fillwright.signature": f"sig-{ID}-3",
    }
    assert "fillwright.worker" not in queued.attributes
    assert routing.attributes["fillwright.worker"] == "w-1"
    assert routing.attributes["fillwright.venue"] == "raydium"
    assert building.attributes["fillwright.signature"] == landing.attributes["fillwright.signature"] == f"sig-{ID}-3"


def test_each_attempt_has_its_stages_and_says_why_it_ended() -> None:
    spans = life(order(Started, Routed, Signed, Reverted, Started, Aborted, Started, Routed, Signed, Landed))
    assert told(spans) == [
        ("order", 0, 10, None),
        ("queued", 0, 1, None),
        ("routing", 1, 2, None),
        ("building", 2, 3, None),
        ("landing", 3, 4, "VENUE_TIMEOUT"),
        ("pause", 4, 5, None),
        ("routing", 5, 6, "VENUE_TIMEOUT"),
        ("pause", 6, 7, None),
        ("routing", 7, 8, None),
        ("building", 8, 9, None),
        ("landing", 9, 10, None),
    ]
    assert not any("fillwright.venue" in each.attributes for each in spans if each.name in ("queued", "pause"))
    attempts = [each.attributes["fillwright.attempt"] for each in spans if each.name == "routing"]
    assert attempts == [1, 2, 3]
    signatures = [each.attributes["fillwright.signature"] for each in spans if each.name == "landing"]
    assert len(set(signatures)) == 2


def test_what_happens_within_a_stage_is_told_there() -> None:
    spans = life(order(Started, Reclaimed, Routed, Routed, Signed, CancelRequested, Lapsed, Canceled))
    assert [(each.name, [moment.name for moment in each.moments]) for each in spans] == [
        ("order", []),
        ("queued", []),
        ("routing", ["reclaimed"]),
        ("building", ["routed"]),
        ("landing", ["cancel_requested"]),
        ("pause", []),
    ]
    assert all(span.begins_at < moment.at < span.ends_at for span in spans for moment in span.moments)


def test_an_end_that_is_stored_with_its_cause_waited_for_nothing() -> None:
    """`advance` records both at one moment: a pause of no time would tell of a wait that there was not."""
    history = order(Started, Routed, Signed)
    submitted = msgspec.structs.replace(history[-1].order, attempt=Policy().attempts_max)
    lapsed = event_of(Lapsed, submitted)
    history += advance(submitted, lapsed, Millis(NOW + 9), Policy())
    assert isinstance(history[-1].event, Failed)
    assert told(life(history))[-1] == ("landing", 3, 9, "VENUE_TIMEOUT")
    assert told(life(history))[0] == ("order", 0, 9, "VENUE_TIMEOUT")


@pytest.mark.parametrize(("kind", "code"), [(Canceled, None), (Expired, "VENUE_TIMEOUT"), (Failed, "VENUE_TIMEOUT")])
def test_an_order_that_nobody_took_was_queued_to_its_end(kind: type, code: str | None) -> None:
    assert told(life(order(kind))) == [("order", 0, 1, code), ("queued", 0, 1, code)]


@given(walks(order_id=ID, length_max=30))
def test_spans_nest_follow_each_other_and_leave_no_gap(history: list[Recorded]) -> None:
    assume(history[-1].order.status in TERMINAL)
    root, *stages = life(history)
    assert root.parent is None
    assert all(stage.parent == root.id.span and stage.id.trace == root.id.trace for stage in stages)
    assert len({each.id for each in (root, *stages)}) == 1 + len(stages)
    assert root.begins_at == NOW
    assert root.ends_at == max(each.order.updated_at for each in history)
    assert stages[0].begins_at == root.begins_at
    assert stages[-1].ends_at == root.ends_at
    assert all(one.ends_at == next_one.begins_at for one, next_one in pairwise(stages))
    assert all(each.begins_at <= each.ends_at for each in stages)


@given(walks(order_id=ID, length_max=30))
def test_every_process_derives_the_same_spans_from_what_is_stored(history: list[Recorded]) -> None:
    assume(history[-1].order.status in TERMINAL)
    assert life(replay(ID, "alice", stamped(history))) == life(history)
    assert root_of(ID) == SpanId(bytes.fromhex(ID.replace("-", "")), bytes.fromhex("7b1bf4c88746ad60"))


@given(walks(order_id=ID, length_max=30), st.sampled_from([None, CALLER]))
def test_no_account_name_or_note_of_a_client_is_told(history: list[Recorded], traceparent: str | None) -> None:
    secret = {"account": "acct-7", "client_order_id": "mine-7"}
    intent = msgspec.structs.replace(history[0].order.intent, tags=("note-7",))
    hidden = [
        msgspec.structs.replace(each, order=msgspec.structs.replace(each.order, intent=intent, **secret))
        for each in history
    ]
    spans = life(hidden) + acceptance(hidden[0].order, NOW, traceparent)
    text = repr(spans)
    assert not [word for word in ("acct-7", "mine-7", "note-7", "raw") if word in text]


def test_every_status_that_is_not_an_end_has_a_name_of_its_own() -> None:
    spans = life(order(Armed, Triggered, Started, Routed, Signed, Reverted, Started, Routed, Signed, Landed))
    assert {each.name for each in spans} == {"order", "queued", "resting", "pause", "routing", "building", "landing"}
    assert len(set(Status) - TERMINAL) + 2 == 7, "a new status needs a name for its stage"


# --- the caller's trace -----------------------------------------------------------------------------------


def test_acceptance_is_linked_with_the_caller_s_trace_both_ways() -> None:
    own, theirs = acceptance(accepted(ID).order, Millis(NOW + 3), CALLER)
    root, caller = root_of(ID), SpanId(TRACE, bytes.fromhex("00f067aa0ba902b7"))
    assert (own.id.trace, own.parent, own.link) == (root.trace, root.span, caller)
    assert (theirs.id.trace, theirs.parent, theirs.link) == (TRACE, caller.span, root)
    assert [(each.name, each.begins_at, each.ends_at) for each in (own, theirs)] == [("accept", NOW, NOW + 3)] * 2
    assert own.id.span != theirs.id.span


def test_without_a_caller_s_trace_there_is_no_link() -> None:
    (own,) = acceptance(accepted(ID).order, Millis(NOW - 3), None)
    assert own.link is None
    assert own.ends_at == NOW, "a clock that went back does not make it end before it began"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02",
        " 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-٤bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ],
)
def test_a_caller_that_is_not_recorded_or_not_well_told_is_no_caller(text: str | None) -> None:
    assert caller_in(text) is None


@pytest.mark.parametrize("more", ["", "-what-a-later-version-adds"])
def test_a_later_version_is_read_as_far_as_it_is_known(more: str) -> None:
    assert caller_in(f"42{CALLER[2:]}{more}") == SpanId(TRACE, bytes.fromhex("00f067aa0ba902b7"))

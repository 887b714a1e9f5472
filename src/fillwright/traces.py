"""The spans of an order's life, derived from its recorded events. Pure.

Decides: which spans there are, their names, times and attributes, and that an order's id names its trace, so that all
processes agree on it and nothing has to be stored. Must never: read a clock, or show an account, a key or a client's
own name for an order.
"""

import re
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from hashlib import blake2b
from itertools import accumulate
from typing import Final
from uuid import UUID

import msgspec

from fillwright.errors import Problem
from fillwright.order import Aborted, Event, Expired, Failed, Lapsed, Order, Recorded, Reverted, SliceSkipped, Status
from fillwright.units import Millis, OrderId

TRACEPARENT: Final[ContextVar[str | None]] = ContextVar("traceparent", default=None)
"""What the request that is being answered said of its caller's trace (W3C Trace Context), unread."""
_TRACEPARENT: Final = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-[!-~]*)?", re.ASCII)
_SAMPLED: Final = 0x01
_STAGES: Final = {
    Status.OPEN: "resting",
    Status.ROUTING: "routing",
    Status.BUILDING: "building",
    Status.SUBMITTED: "landing",
}


class SpanId(msgspec.Struct, frozen=True):
    """One span among all: 16 bytes of its trace, and 8 of its own."""

    trace: bytes
    span: bytes


class Moment(msgspec.Struct, frozen=True):
    """Something that happened within a span."""

    at: Millis
    name: str


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """`parent`: the id of a span of the same trace. `problem`: why it did not work."""

    id: SpanId
    parent: bytes | None
    name: str
    begins_at: Millis
    ends_at: Millis
    attributes: Mapping[str, str | int]
    problem: Problem | None = None
    moments: tuple[Moment, ...] = ()
    link: SpanId | None = None
    answers_request: bool = False


def root_of(order_id: OrderId) -> SpanId:
    """The span of the whole order. The trace has the order's id, a UUID, without its dashes."""
    return _id_of(order_id, "order")


def life(history: Sequence[Recorded]) -> list[Span]:
    """The spans of an order that is over: from acceptance to the end, then one for each stage between two statuses.

    `history` is all of it, as `order.replay` gives it. A stamp before the one ahead of it, from another machine's
    clock, counts as that one.
    """
    first, last = history[0].order, history[-1]
    stamps = list(accumulate((each.order.updated_at for each in history), max))
    root = Span(
        id=root_of(first.id),
        parent=None,
        name="order",
        begins_at=stamps[0],
        ends_at=stamps[-1],
        attributes=_attributes(last.order),
        problem=_problem_of(last.event),
    )
    spans, began = [root], 0
    for number in range(1, len(history)):
        before, after = history[number - 1], history[number]
        if after.order.status is before.order.status:
            continue
        if not _followed_at_once(before.order, after.order, stamps[number] - stamps[began]):
            inside = zip(stamps[began + 1 : number], history[began + 1 : number], strict=True)
            spans.append(
                Span(
                    id=_id_of(first.id, f"stage {number}"),
                    parent=root.id.span,
                    name=_stage(before.order),
                    begins_at=stamps[began],
                    ends_at=stamps[number],
                    attributes=_attributes(before.order) | _outcome(after.order),
                    problem=_problem_of(after.event),
                    moments=tuple(Moment(at, _name(each.event)) for at, each in inside),
                )
            )
        began = number
    return spans


def acceptance(order: Order, committed_at: Millis, traceparent: str | None) -> list[Span]:
    """The span of accepting an order, in the order's trace; and one in the caller's, which links to the order.

    Linked rather than parented: an order outlives its request, and any process must find its trace by the order alone.
    """
    root, caller = root_of(order.id), caller_in(traceparent)
    own = Span(
        id=_id_of(order.id, "accept"),
        parent=root.span,
        name="accept",
        begins_at=order.created_at,
        ends_at=max(order.created_at, committed_at),
        attributes=_attributes(order),
        link=caller,
        answers_request=True,
    )
    if caller is None:
        return [own]
    theirs = msgspec.structs.replace(
        own, id=SpanId(caller.trace, _id_of(order.id, "caller").span), parent=caller.span, link=root
    )
    return [own, theirs]


def caller_in(traceparent: str | None) -> SpanId | None:
    """The caller's span, where the text names one that its tracer records."""
    match = _TRACEPARENT.fullmatch(traceparent or "")
    if match is None:
        return None
    version, trace, span, flags, more = match.groups()
    known = version != "ff" and not (version == "00" and more)
    if not known or not int(trace, 16) or not int(span, 16) or not int(flags, 16) & _SAMPLED:
        return None
    return SpanId(bytes.fromhex(trace), bytes.fromhex(span))


# --- parts ------------------------------------------------------------------------------------------------


def _id_of(order_id: OrderId, what: str) -> SpanId:
    return SpanId(UUID(order_id).bytes, blake2b(f"{order_id} {what}".encode(), digest_size=8).digest())


def _followed_at_once(before: Order, after: Order, waited_ms: int) -> bool:
    """Whether the end was stored with the failed attempt that caused it: then there was no pause."""
    is_pause = before.pauses
    return is_pause and after.is_terminal and waited_ms == 0


def _stage(order: Order) -> str:
    return _STAGES.get(order.status) or ("pause" if order.pauses else "queued")


def _attributes(order: Order) -> dict[str, str | int]:
    """The order, where it stands, and its attempt."""
    intent = order.swap
    attributes: dict[str, str | int] = {
        "fillwright.order.id": order.id,
        "fillwright.pair": f"{intent.token_in.symbol}>{intent.token_out.symbol}",
        "fillwright.side": intent.side,
        "fillwright.mode": intent.mode,
        "fillwright.status": order.status,
        "fillwright.attempt": order.attempt,
    }
    if order.worker is not None:
        attributes["fillwright.worker"] = order.worker
    return attributes | _outcome(order)


def _outcome(order: Order) -> dict[str, str | int]:
    """What a stage may add: the route's venues, and the signature of what is to land or did."""
    outcome: dict[str, str | int] = {}
    if order.route is not None and order.status is not Status.PENDING:  # a pause has no route any more
        outcome["fillwright.venue"] = order.route.venue
        outcome["fillwright.legs"] = len(order.route.legs)
    made = order.tx or order.fill
    if made is not None:
        outcome["fillwright.signature"] = made.signature
    return outcome


def _problem_of(event: Event) -> Problem | None:
    match event:
        case Aborted(problem=problem) | Reverted(problem=problem) | Lapsed(problem=problem):
            return problem
        case Expired(problem=problem) | Failed(problem=problem) | SliceSkipped(problem=problem):
            return problem
        case _:
            return None


def _name(event: Event) -> str:
    return str(event.__struct_config__.tag)

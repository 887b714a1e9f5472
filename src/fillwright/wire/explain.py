"""An order in plain words: what it waits for, what comes next and when, and what went wrong last.

Decides: the words. Must never: promise a time that nobody knows; an estimate is called one.
"""

from collections.abc import Sequence
from typing import Final, assert_never

import msgspec

from fillwright.order import Order, Status
from fillwright.policy import Policy
from fillwright.scout import Candidate
from fillwright.units import Millis, Price, format_atoms
from fillwright.wire import rfc3339
from fillwright.wire.conditions import awaited_price, distance_bps, shown
from fillwright.wire.resources import outcome_expected_at
from fillwright.wire.sniper import CandidateView, candidate_view


class TroubleView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    code: str
    detail: str
    retryable: bool
    words: str


class ExplainView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """`waits_for`: worker, pause, order, slice, price, pool, quotes, signature, chain or nothing."""

    order_id: str
    status: str
    summary: str
    waits_for: str
    next_action: str | None = None
    next_at: str | None = None
    """Not before then; absent where it happens as soon as it can."""
    current_price: str | None = None
    """What a swap of the order's size would get now, after all fees."""
    trigger_price: str | None = None
    distance_bps: int | None = None
    """How far the current price has yet to go, of itself; 0 where the condition is met."""
    outcome_known_by: str | None = None
    """An estimate: by when the live transaction will have landed or can no longer land."""
    deadline_at: str | None = None
    attempt: int
    attempts_max: int
    cancel_requested: bool = False
    last_problem: TroubleView | None = None
    candidates: Sequence[CandidateView] | None = None
    """Of an open sniper: the latest pools that it waits for, judged now, newest first, and why it refuses them."""


class _Outlook(msgspec.Struct, frozen=True):
    waits_for: str
    summary: str
    next_action: str | None = None
    next_at: Millis | None = None


_ENDINGS: Final = {
    Status.CONFIRMED: "The swap is on the chain; nothing more will happen.",
    Status.FAILED: "The order has failed; no transaction of it is alive, and none will be sent.",
    Status.CANCELED: "The order was canceled; no transaction of it is alive, and none will be sent.",
    Status.EXPIRED: "The deadline passed before a swap was signed; none will be sent.",
}
_PARTLY: Final = {
    Status.FAILED: "Slices were skipped; what the others have swapped stays, and no transaction will be sent.",
    Status.CANCELED: "The rest was canceled; what the slices have swapped stays, and no transaction will be sent.",
    Status.EXPIRED: "The deadline passed; what the slices have swapped stays, and no transaction will be sent.",
}


def explain_view(
    order: Order,
    now: Millis,
    policy: Policy,
    current: Price | None = None,
    candidates: Sequence[Candidate] | None = None,
) -> ExplainView:
    """`current`: the price that an open order's size would get now, where one is known. `candidates`: of a sniper."""
    awaited = awaited_price(order) if order.status is Status.OPEN and not order.is_waiting else None
    outlook = _outlook(order, now)
    expected = outcome_expected_at(order)
    problem = order.problem
    return ExplainView(
        order_id=order.id,
        status=order.status,
        summary=outlook.summary,
        waits_for=outlook.waits_for,
        next_action=outlook.next_action,
        next_at=None if outlook.next_at is None else rfc3339(outlook.next_at),
        current_price=None if current is None else shown(order.intent, current),
        trigger_price=None if awaited is None else shown(order.intent, awaited[1]),
        distance_bps=None if awaited is None or current is None else distance_bps(current, awaited),
        outcome_known_by=None if expected is None else rfc3339(expected),
        deadline_at=None if order.deadline_at is None or order.is_terminal else rfc3339(order.deadline_at),
        attempt=order.attempt,
        attempts_max=policy.attempts_max,
        cancel_requested=order.cancel_requested,
        last_problem=None
        if problem is None
        else TroubleView(
            code=problem.code, detail=problem.detail, retryable=problem.retryable, words=_trouble(order, policy)
        ),
        candidates=None if candidates is None else [candidate_view(order.intent, each) for each in candidates],
    )


def _between_slices(order: Order, slices: int) -> _Outlook:
    assert order.due_at is not None
    if order.due_at == order.deadline_at:
        return _Outlook("slice", "No further slice is due before the order's time passes.", "expire", order.due_at)
    part = order.part
    amount = f"{format_atoms(part.amount, part.token_in.decimals)} {part.token_in.symbol}"
    swap = f"swap slice {order.slice} of {slices}: {amount}"
    if order.standing is not None and order.standing.begun_at is not None:
        summary = "The price is beyond the order's limit: its slice looks for it until the next one is due."
        return _Outlook("price", summary, f"compare quotes and {swap}", order.due_at)
    return _Outlook("slice", "The order waits for its next slice to be due.", swap, order.due_at)


def _hunting(order: Order) -> _Outlook:
    snipe = order.intent.snipe
    assert snipe is not None
    which = f"of {snipe.mint}" if snipe.mint else f"by {snipe.creator}" if snipe.creator else "of any token"
    summary = f"The order rests until there is a new pool {which} against {order.intent.token_in.symbol} that is safe"
    return _Outlook("pool", f"{summary} by its conditions.", "check the pool and swap")


def _open(order: Order) -> _Outlook:
    if order.intent.schedule is not None:
        return _between_slices(order, order.intent.schedule.slices)
    if order.intent.snipe is not None:
        return _hunting(order)
    link = order.intent.link
    exclusion = (
        "" if link is None or link.group is None else f" At most one swaps of it and {', '.join(link.siblings)}."
    )
    if link is not None and order.is_waiting:
        summary = f"The order waits until order {link.parent} is filled, and then for the market with what that gave."
        return _Outlook("order", f"{summary}{exclusion}", "begin to watch the market")
    awaited = awaited_price(order)
    if awaited is None:
        return _Outlook("price", "The order waits for the first price to trail from.", "note the best price")
    op, price = awaited
    word = "at least" if op == "gte" else "at most"
    text = f"{shown(order.intent, price)} {order.intent.quote.symbol} per {order.intent.base.symbol}"
    summary = (
        f"The order rests until a swap of its size, after all fees, would get a price of {word} {text}.{exclusion}"
    )
    return _Outlook("price", summary, "compare quotes and swap")


def _outlook(order: Order, now: Millis) -> _Outlook:
    match order.status:
        case Status.PENDING:
            return _pending(order, now)
        case Status.OPEN:
            return _open(order)
        case Status.ROUTING:
            return _Outlook("quotes", "The venues are being asked for quotes.", "choose the best route")
        case Status.BUILDING:
            return _Outlook("signature", "A route is chosen; its transaction is being built.", "sign and store it")
        case Status.SUBMITTED:
            return _submitted(order)
        case Status.CONFIRMED | Status.FAILED | Status.CANCELED | Status.EXPIRED:
            partly = _PARTLY.get(order.status) if order.fill is not None else None
            return _Outlook("nothing", partly or _ENDINGS[order.status])
        case _:
            assert_never(order.status)


def _pending(order: Order, now: Millis) -> _Outlook:
    if order.due_at is not None and order.due_at > now:
        again = f"start attempt {order.attempt + 1}"
        return _Outlook("pause", "The last attempt did not work; the order pauses.", again, order.due_at)
    return _Outlook("worker", "The order waits for a worker to take it up.", "compare the venues' quotes")


def _submitted(order: Order) -> _Outlook:
    if order.cancel_requested:
        summary = "A cancel was asked for, but a transaction is on its way: if it does not land, the order is canceled."
    else:
        summary = "The transaction is signed and was handed to the chain; only the chain's word decides now."
    return _Outlook("chain", summary, "look at the chain again and repeat the broadcast")


def _trouble(order: Order, policy: Policy) -> str:
    assert order.problem is not None
    subject = f"Attempt {order.attempt} did not work" if order.attempt else "It did not work"
    if order.is_terminal:
        after = ""
    elif order.intent.schedule is not None and order.status is Status.OPEN:
        after = " That slice was skipped; the next one has attempts of its own."
    elif not order.problem.retryable:
        after = " Trying again would not help."
    elif order.attempt < policy.attempts_max:
        after = f" Another attempt may work; {policy.attempts_max - order.attempt} are left."
    else:
        after = " No attempt is left."
    return f"{subject}: {order.problem.detail}.{after}"

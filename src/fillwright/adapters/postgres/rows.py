"""Orders and events as rows of PostgreSQL, and back.

Decides: which column holds what. An order's intent, route and signed transaction are not in its row but in the events
that brought them, which it points to. Must never: store a state that its events do not lead to.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from types import UnionType
from typing import Any, Final, TypeAlias

import msgspec

from fillwright.errors import Problem
from fillwright.order import (
    Accepted,
    Amended,
    Event,
    Fill,
    Order,
    Recorded,
    Released,
    Routed,
    Signed,
    SignedTx,
    Stamped,
    Standing,
    Status,
)
from fillwright.ports import NewOrder, Page
from fillwright.units import Atoms, OrderId, Signature

Row: TypeAlias = Sequence[Any]

_encode: Final = msgspec.json.Encoder().encode
_event_of: Final = msgspec.json.Decoder(Event).decode
_asked_of: Final = msgspec.json.Decoder(Accepted | Amended | Released).decode
_standing_of: Final = msgspec.json.Decoder(Standing).decode
_routed_of: Final = msgspec.json.Decoder(Routed).decode
_signed_of: Final = msgspec.json.Decoder(Signed).decode
_problem_of: Final = msgspec.json.Decoder(Problem).decode

_KEEP: Final = 0
"""In place of a pointer to an event: the one that the row has."""


def _payload(seq: str) -> str:
    return f"(SELECT e.payload FROM order_events e WHERE e.order_id = o.id AND e.seq = {seq})"


ORDER: Final = (
    "o.id, o.account, o.client_order_id, o.status, o.seq, o.attempts, o.worker, o.cancel_requested, o.created_at,"
    " o.updated_at, o.due_at, o.deadline_at, o.filled_in, o.filled_out, o.fill_slot, coalesce(o.fill_hash, o.tx_hash),"
    f" o.problem, o.standing, {_payload('o.intent_seq')}, {_payload('o.route_seq')}, {_payload('o.tx_seq')}"
)
"""What `order_of` reads, from `orders o`."""


def order_of(row: Iterable[Any]) -> Order:
    (
        order_id,
        account,
        client_order_id,
        status,
        seq,
        attempts,
        worker,
        cancel_requested,
        created_at,
        updated_at,
        due_at,
        deadline_at,
        filled_in,
        filled_out,
        fill_slot,
        fill_hash,
        problem,
        standing,
        asked,
        routed,
        signed,
    ) = row
    fill = None
    if filled_in is not None:
        fill = Fill(
            signature=Signature(fill_hash), slot=fill_slot, amount_in=Atoms(filled_in), amount_out=Atoms(filled_out)
        )
    return Order(
        id=OrderId(order_id),
        account=account,
        client_order_id=client_order_id,
        intent=_asked_of(asked).intent,
        status=Status(status),
        seq=seq,
        attempt=attempts,
        worker=worker,
        cancel_requested=cancel_requested,
        created_at=created_at,
        updated_at=updated_at,
        due_at=due_at,
        deadline_at=deadline_at,
        route=_routed_of(routed).route if routed else None,
        tx=_signed_of(signed).tx if signed else None,
        fill=fill,
        problem=_problem_of(problem) if problem else None,
        standing=_standing_of(standing) if standing else None,
    )


def stamped_of(row: Iterable[Any]) -> Stamped:
    """From seq, created_at, payload."""
    seq, at, payload = row
    return Stamped(seq, at, _event_of(payload))


# --- what is written: columns and their types, and rows in that order -------------------------------------

NEW: Final = {
    "id": "text",
    "account": "text",
    "client_order_id": "text",
    "fingerprint": "bytea",
    "type": "text",
    "side": "text",
    "mode": "text",
    "token_in": "text",
    "token_out": "text",
    "amount": "bigint",
    "slippage_bps": "integer",
    "status": "text",
    "seq": "integer",
    "created_at": "timestamptz",
    "updated_at": "timestamptz",
    "due_at": "bigint",
    "deadline_at": "bigint",
    "link_group": "text",
}


def new_row(new: NewOrder) -> Row:
    order = new.accepted.order
    intent = order.intent
    return (
        order.id,
        order.account,
        order.client_order_id,
        new.fingerprint,
        intent.type,
        intent.side,
        intent.mode,
        intent.token_in.mint,
        intent.token_out.mint,
        intent.amount,
        intent.slippage_bps,
        order.status,
        order.seq,
        order.created_at,
        order.updated_at,
        order.due_at,
        order.deadline_at,
        order.group,
    )


EVENT: Final = {
    "order_id": "text",
    "seq": "integer",
    "created_at": "timestamptz",
    "status": "text",
    "event": "text",
    "tx_hash": "text",
    "resting": "boolean",
    "payload": "json",
}


def event_row(recorded: Recorded) -> Row:
    order, event = recorded.order, recorded.event
    return (
        order.id,
        order.seq,
        order.updated_at,
        order.status,
        event.__struct_config__.tag,
        event.tx.signature if isinstance(event, Signed) else None,
        order.intent.is_watched,
        _encode(event).decode(),
    )


MOVE: Final = {
    "id": "text",
    "account": "text",
    "seq_before": "integer",
    "status": "text",
    "seq": "integer",
    "attempts": "integer",
    "worker": "text",
    "cancel_requested": "boolean",
    "updated_at": "timestamptz",
    "due_at": "bigint",
    "amount": "bigint",
    "slippage_bps": "integer",
    "deadline_at": "bigint",
    "intent_seq": "integer",
    "route_seq": "integer",
    "tx_seq": "integer",
    "tx_hash": "text",
    "filled_in": "bigint",
    "filled_out": "bigint",
    "fill_slot": "bigint",
    "fill_hash": "text",
    "failure_reason": "text",
    "problem": "json",
    "standing": "json",
    "holds": "boolean",
}


def _change(column: str) -> str:
    if column not in ("intent_seq", "route_seq", "tx_seq"):
        return f"{column} = m.{column}"
    # where the row has no such event to keep, the pointer is one that the table refuses
    return f"{column} = CASE m.{column} WHEN {_KEEP} THEN coalesce(o.{column}, {_KEEP}) ELSE m.{column} END"


MOVE_SET: Final = ", ".join(_change(column) for column in list(MOVE)[3:])
"""The SET of `UPDATE orders o … FROM … m`."""


def move_row(before: Order, recorded: Sequence[Recorded]) -> Row:
    after = recorded[-1].order
    tx, fill, problem = after.tx, after.fill, after.problem
    return (
        before.id,
        before.account,
        before.seq,
        after.status,
        after.seq,
        after.attempt,
        after.worker,
        after.cancel_requested,
        after.updated_at,
        after.due_at,
        after.intent.amount,
        after.intent.slippage_bps,
        after.deadline_at,
        _seq_of(after.intent, Amended | Released, recorded),
        _seq_of(after.route, Routed, recorded),
        _seq_of(after.tx, Signed, recorded),
        _signature(tx, fill),
        fill.amount_in if fill else None,
        fill.amount_out if fill else None,
        fill.slot if fill else None,
        fill.signature if fill else None,
        problem.detail if problem else None,
        _encode(problem).decode() if problem else None,
        _encode(after.standing).decode() if after.standing else None,
        after.holds,
    )


def _seq_of(value: object, kind: type | UnionType, recorded: Sequence[Recorded]) -> int | None:
    """The event that brought this value: one of these, or the one that the row points to already."""
    if value is None:
        return None
    return next((each.order.seq for each in reversed(recorded) if isinstance(each.event, kind)), _KEEP)


def _signature(tx: SignedTx | None, fill: Fill | None) -> Signature | None:
    return tx.signature if tx else fill.signature if fill else None


# --- statements over many rows ----------------------------------------------------------------------------


def unnest(table: Mapping[str, str], first: int = 1) -> str:
    """A table whose columns are this statement's parameters from number `first` on, one array each."""
    return f"unnest({', '.join(f'${number}::{kind}[]' for number, kind in enumerate(table.values(), first))})"


def columns(rows: Iterable[Row], width: int) -> list[Row]:
    """The arrays for `unnest`."""
    return list(zip(*rows, strict=True)) or [()] * width


def flat(rows: Iterable[Iterable[Row]]) -> list[Row]:
    return list(chain.from_iterable(rows))


# --- pages ------------------------------------------------------------------------------------------------


def conditions(page: Page) -> tuple[str, list[Any]]:
    """The WHERE of a page over `orders o`, and its parameters."""
    wanted: list[tuple[str, Any]] = [("o.account = {}", page.account)]
    if page.statuses is not None:
        wanted.append(("o.status = ANY({}::text[])", sorted(page.statuses)))
    if page.mints is not None:
        mints = sorted(page.mints)
        wanted += [("o.token_in = ANY({}::text[])", mints), ("o.token_out = ANY({}::text[])", mints)]
    for condition, value in (
        ("o.side = {}", page.side),
        ("o.created_at >= {}", page.since),
        ("o.created_at < {}", page.until),
        ("o.id < {}", page.before),
    ):
        if value is not None:
            wanted.append((condition, value))
    where = [condition.format(f"${number}") for number, (condition, _) in enumerate(wanted, 1)]
    return " AND ".join(where), [value for _, value in wanted]

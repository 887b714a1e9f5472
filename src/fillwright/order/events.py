"""What has happened to an order, in the past tense. An order is the fold of these, and they are what is stored.

Decides: the facts that each event carries. Must never: lose a field that is stored; a published event is never changed.
"""

from typing import TypeAlias

import msgspec

from fillwright.errors import Problem
from fillwright.order.asked import Intent
from fillwright.order.found import Fill, Quote, Route, SignedTx
from fillwright.sniping import Facts, Listing
from fillwright.units import Millis, Price, Signature


class _Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", omit_defaults=True):
    pass


class Accepted(_Event, frozen=True, kw_only=True, tag="accepted"):
    intent: Intent
    client_order_id: str | None = None


class Armed(_Event, frozen=True, kw_only=True, tag="armed"):
    """From here on the order waits for the market."""


class Released(_Event, frozen=True, kw_only=True, tag="released"):
    """The order that it waited for was filled: from here on it waits for the market, with what the fill gave."""

    intent: Intent


class Trailed(_Event, frozen=True, kw_only=True, tag="trailed"):
    """The market has become better for a trailing stop: its trigger follows."""

    best: Price


class Amended(_Event, frozen=True, kw_only=True, tag="amended"):
    """Its owner wants something else of it from now on."""

    intent: Intent


class Triggered(_Event, frozen=True, kw_only=True, tag="triggered"):
    """The market met the condition, at this price for the order's own size."""

    price: Price


class Sniped(_Event, frozen=True, kw_only=True, tag="sniped"):
    """A new pool is what the order waits for, and by these facts meets its conditions: it is the one to swap on."""

    pool: Listing
    facts: Facts


class Started(_Event, frozen=True, kw_only=True, tag="started"):
    """A worker began an attempt."""

    worker: str


class Reclaimed(_Event, frozen=True, kw_only=True, tag="reclaimed"):
    """A worker took an order over, in the state in which another one left it."""

    worker: str


class Routed(_Event, frozen=True, kw_only=True, tag="routed"):
    route: Route


class Signed(_Event, frozen=True, kw_only=True, tag="signed"):
    tx: SignedTx


class Landed(_Event, frozen=True, kw_only=True, tag="landed"):
    fill: Fill


class SliceLanded(_Event, frozen=True, kw_only=True, tag="slice_landed"):
    """One slice is swapped, and not yet the whole amount."""

    fill: Fill


class SliceSkipped(_Event, frozen=True, kw_only=True, tag="slice_skipped"):
    """This slice will not be swapped; each of its attempts is proven over."""

    problem: Problem


class Attested(_Event, frozen=True, kw_only=True, tag="attested"):
    """The chain gave no proof in time: somebody vouches for what became of the transaction, as the next event says."""

    by: str
    evidence: str


class Reopened(_Event, frozen=True, kw_only=True, tag="reopened"):
    """The chain has taken back the block that held the swap: what becomes of the same transaction is open again."""

    tx: SignedTx


class Reverted(_Event, frozen=True, kw_only=True, tag="reverted"):
    """The chain executed the transaction and undid it: proof that this attempt swapped nothing."""

    signature: Signature
    slot: int
    problem: Problem
    retry_at: Millis


class Lapsed(_Event, frozen=True, kw_only=True, tag="lapsed"):
    """The transaction can no longer land: proof that this attempt never will swap anything."""

    signature: Signature
    height: int
    problem: Problem
    retry_at: Millis


class Aborted(_Event, frozen=True, kw_only=True, tag="aborted"):
    """The attempt ended before anything was signed and stored. `quotes`: what was compared, if that was the trouble.

    `spent`: whether it counts; one that met an outage does not, for a while.
    """

    problem: Problem
    retry_at: Millis
    quotes: tuple[Quote, ...] = ()
    spent: bool = True


class Slipped(_Event, frozen=True, kw_only=True, tag="slipped"):
    """The market left the limit price before anything was signed: the order waits again, and no attempt is spent.

    `retry_at`: when a slice looks again; None where the market's return will be noticed.
    """

    quotes: tuple[Quote, ...] = ()
    retry_at: Millis | None = None


class Declined(_Event, frozen=True, kw_only=True, tag="declined"):
    """The chosen pool is good no more, before anything was stored: the order waits again, and no attempt is spent."""

    pool: str
    problems: tuple[Problem, ...]


class CancelRequested(_Event, frozen=True, kw_only=True, tag="cancel_requested"):
    pass


class Canceled(_Event, frozen=True, kw_only=True, tag="canceled"):
    """By its owner, or, with a problem, because it would not wait, or for what became of an order it is tied to."""

    problem: Problem | None = None


class Expired(_Event, frozen=True, kw_only=True, tag="expired"):
    problem: Problem


class Failed(_Event, frozen=True, kw_only=True, tag="failed"):
    problem: Problem


Event: TypeAlias = (
    Accepted
    | Armed
    | Released
    | Trailed
    | Amended
    | Triggered
    | Sniped
    | Started
    | Reclaimed
    | Routed
    | Signed
    | Landed
    | SliceLanded
    | SliceSkipped
    | Attested
    | Reopened
    | Reverted
    | Lapsed
    | Aborted
    | Slipped
    | Declined
    | CancelRequested
    | Canceled
    | Expired
    | Failed
)

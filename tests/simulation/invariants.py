"""The witness: follows the database at every commit, and compares with it whatever is published or answered.

Decides: whether what is committed is a legal history, and whether what is told was committed. Must never: trust
the engine, or a table that a mutant may have changed: the legal moves are copied when this module is loaded.
"""

import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fillwright.adapters.sqlite import _COLUMNS, _event_of, _order
from fillwright.order import (
    TRANSITIONS,
    Accepted,
    Armed,
    Declined,
    Event,
    Landed,
    Lapsed,
    Order,
    Reclaimed,
    Recorded,
    Released,
    SignedTx,
    SliceLanded,
    SliceSkipped,
    Slipped,
    Sniped,
    Trailed,
    Triggered,
    accept,
    transition,
)
from fillwright.policy import Policy
from fillwright.ports import News
from fillwright.units import Millis, OrderId
from fillwright.wire.frames import news_of
from tests.simulation.faults import WorldChain
from tests.simulation.loop import SimLoop
from tests.simulation.rules import Knowledge, objections, tx_of

LEGAL: Final = dict(TRANSITIONS)
_COUNTED: Final = {
    Landed: "settled",
    Lapsed: "lapses",
    Reclaimed: "take-overs",
    Armed: "armed",
    Triggered: "triggered",
    Trailed: "trailed",
    Slipped: "slips",
    SliceLanded: "slices",
    SliceSkipped: "skipped",
    Sniped: "snipes",
    Declined: "declines",
    Released: "released",
}


class Violation(Exception):
    """A promise was broken. `invariant` is its number in the design, or a word for what has none."""

    def __init__(self, invariant: str, detail: str) -> None:
        super().__init__(f"{invariant}: {detail}")
        self.invariant = invariant
        self.detail = detail


class Witness:
    """Everything that was ever committed, and the first violation. A blind one sees none: only the verdict speaks."""

    def __init__(
        self, loop: SimLoop, database: Path, chain: WorldChain, policy: Policy, now: Callable[[], Millis]
    ) -> None:
        self.blind = False
        self.violation: Violation | None = None
        self.states: dict[OrderId, list[Recorded]] = {}
        self.counts: Counter[str] = Counter()
        self.known = Knowledge(chain=chain, policy=policy, lives=self._lives, state=self._state)
        self.armed: dict[str, int] = {}
        """When each account's switch fires."""
        self._rows: dict[OrderId, tuple[Any, ...]] = {}
        self._accepted_at: dict[OrderId, Millis] = {}
        """By the true time, which no host knows."""
        self._news: dict[tuple[OrderId, int], News] = {}
        self._loop = loop
        self._lease_ms = policy.lease_s * 1_000
        self._now = now
        self._file = sqlite3.connect(database, isolation_level=None)

    def close(self) -> None:
        self._file.close()

    def violate(self, invariant: str, detail: str) -> None:
        """Only the first one counts: the others may be its consequences."""
        if self.violation is None and not self.blind:
            self.violation = Violation(invariant, detail)
            self._loop.note(f"VIOLATION {self.violation}")

    def all_ended(self) -> bool:
        return all(states[-1].order.is_terminal for states in self.states.values())

    def last(self, order_id: OrderId) -> Order:
        return self.states[order_id][-1].order

    def knows(self, news: News) -> bool:
        """Whether exactly this was committed."""
        states = self.states.get(news.order_id, [])
        return 1 <= news.seq <= len(states) and self._told_as(states[news.seq - 1]) == news

    def _told_as(self, recorded: Recorded) -> News:
        key = (recorded.order.id, recorded.order.seq)
        if key not in self._news:
            self._news[key] = news_of(recorded)
        return self._news[key]

    # --- told by the ports and the clients ----------------------------------------------------------------

    def published(self, news: News) -> None:
        if not self.knows(news):
            self.violate("I9", f"published before it was committed: {news}")

    def broadcast(self, tx: SignedTx) -> None:
        order_id = tx_of(tx.raw).order_id
        self._loop.note(f"broadcast {order_id[-4:]} {tx.signature[:6]}")
        if tx not in self.known.signed.get(order_id, []):
            self.violate("I2", f"broadcast before it was stored: {tx.signature} of {order_id}")
        if len(self.known.alive(order_id)) > 1:
            self.violate("I2", f"{order_id} has more than one transaction that can land")

    def conflict(self) -> None:
        self.counts["conflicts"] += 1

    def told(self, order: Order) -> None:
        """A client was answered with this order."""
        states = self.states.get(order.id, [])
        if not 1 <= order.seq <= len(states):
            self.violate("I1", f"answered before it was committed: {order.id} seq {order.seq}")
        elif states[order.seq - 1].order != order:
            self.violate("I9", f"answered with what was never committed: {order.id} seq {order.seq}")

    # --- at every commit ----------------------------------------------------------------------------------

    def committed(self, by: str) -> bool:
        """Follow what worker `by` has just committed. Whether there was anything."""
        rows = self._file.execute("SELECT id, account, seq, status, updated_at, worker FROM orders").fetchall()
        changed = [row for row in rows if self._rows.get(row[0]) != row]
        for row in changed:
            self._accepted_at.setdefault(row[0], self._now())
            self._follow(row, by)
        self._follow_switches()
        return bool(changed)

    def _follow_switches(self) -> None:
        """A switch goes when its time is over, and not before every order that it found is over or asked to end."""
        armed = dict(self._file.execute("SELECT account, fires_at FROM switches"))
        for account, fires_at in self.armed.items():
            if account in armed:
                continue
            if self._now() < fires_at:
                self.violate("switch", f"the switch of {account} went before its time")
            for order in (states[-1].order for states in self.states.values() if states):
                found = order.account == account and self._accepted_at[order.id] <= fires_at
                if found and not (order.is_terminal or order.cancel_requested):
                    self.violate("switch", f"the switch of {account} left {order.id} {order.status}")
            self.counts["switches"] += 1
        self.armed = armed

    def _follow(self, row: tuple[Any, ...], by: str) -> None:
        """Replay the order's new events; the row must be exactly what they make of it."""
        order_id, account = OrderId(row[0]), row[1]
        states = self.states.setdefault(order_id, [])
        sql = "SELECT seq, at, payload FROM order_events WHERE order_id = ? AND seq > ? ORDER BY seq"
        events = self._file.execute(sql, (order_id, len(states))).fetchall()
        if not events:
            self.violate("I3", f"{order_id} changed without an event: {self._rows.get(order_id)} -> {row}")
        self._rows[order_id] = row
        for seq, at, payload in events:
            if seq != len(states) + 1:
                self.violate("I3", f"{order_id} has a gap before seq {seq}")
            recorded = self._next(order_id, account, _event_of(payload), Millis(at))
            if recorded is None:
                return
            self._loop.note(_line(recorded))
            self.counts[_COUNTED.get(type(recorded.event), "events")] += 1
            for invariant, detail in objections(self.known, by, states, recorded):
                self.violate(invariant, detail)
            states.append(recorded)
        sql = f"SELECT {_COLUMNS} FROM orders WHERE id = ?"
        stored = _order(self._file.execute(sql, (order_id,)).fetchone())
        if states and stored != states[-1].order:
            self.violate("I4", f"the row is not what its events make of it: {stored} != {states[-1].order}")

    def _next(self, order_id: OrderId, account: str, event: Event, at: Millis) -> Recorded | None:
        states = self.states[order_id]
        if not states and isinstance(event, Accepted):
            return accept(order_id, account, event, at)
        status = states[-1].order.status if states else None
        if status is None or (status, type(event)) not in LEGAL:
            self.violate("I4", f"{type(event).__name__} while {status} (order {order_id})")
            return None
        return Recorded(transition(states[-1].order, event, at), event)

    def _state(self, order_id: OrderId) -> Order | None:
        states = self.states.get(order_id)
        return states[-1].order if states else None

    def _lives(self, worker: str) -> bool:
        row = self._file.execute("SELECT seen_at FROM workers WHERE name = ?", (worker,)).fetchone()
        return row is not None and row[0] > self._now() - self._lease_ms


def _line(recorded: Recorded) -> str:
    order, event = recorded.order, recorded.event
    return f"{order.id[-4:]} {order.seq} {event.__struct_config__.tag} {order.status} by {order.worker}"

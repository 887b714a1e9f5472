"""Whether anything got lost: the orders' file held against the chain's own ledger, each read from the disk.

Decides: which orders break a promise, one query a promise. Must never: ask the engine, which is what is judged, or read
more than the newest orders and lines: an audit of a long history costs no more than one of yesterday's.

Two files have no common moment. What the ledger has, the orders must account for: there the ledger is read first. What
the orders claim, the ledger must bear out: there the orders are. Read so, work that goes on is never an objection.
"""

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import msgspec

from fillwright.errors import Code, FillwrightError
from fillwright.lab import Audit, Finding
from fillwright.ports import Clock
from fillwright.units import OrderId

ORDERS_MAX: Final = 2_000
_LINES_MAX: Final = 8_000
"""Lines of the ledger and of the log of events: several an order."""
_FRESH_S: Final = 0.5
"""Audits that are asked for within this time share one."""
_SHOWN_MAX: Final = 5
_IDLE_MS: Final = 30_000
"""A worker with room that leaves an order lying for this long has forgotten it."""
_HELD_MS: Final = 300_000
"""Longer than any transaction takes to land or to be proven dead, also among nodes that lie and fall silent."""

_RECENT: Final = (
    "recent AS (SELECT id, type, status, seq, fill_hash, filled_in, filled_out FROM orders"
    " ORDER BY id DESC LIMIT :orders)"
)
_LINES: Final = (
    "lines AS (SELECT order_id, signature, problem FROM chain.ledger ORDER BY id DESC LIMIT :lines),"
    " settled AS (SELECT order_id, signature FROM lines WHERE problem IS NULL)"
)
_OPEN: Final = (
    "alive AS (SELECT name FROM workers WHERE seen_at > :now - :lease),"
    " open AS (SELECT id, worker, worker IN alive AS held,"
    " max(due_at, updated_at + iif(worker IS NULL, 0, :lease)) AS since"
    " FROM orders WHERE due_at IS NOT NULL ORDER BY due_at LIMIT :orders),"
    " room AS (SELECT (SELECT count(*) FROM alive) * :concurrency - (SELECT count(*) FROM open WHERE held) AS free,"
    " NOT EXISTS (SELECT 1 FROM alive) AS nobody)"
)


class _Check(msgspec.Struct, frozen=True):
    """A promise as the query that finds the orders which break it. `sql` follows `WITH parts`."""

    name: str
    promise: str
    parts: str
    sql: str


_OF_THE_LEDGER: Final = (
    _Check(
        "lost",
        "An order that the chain or the log of events knows is in the store",
        _LINES,
        "SELECT DISTINCT order_id FROM (SELECT order_id FROM lines UNION ALL"
        " SELECT * FROM (SELECT order_id FROM order_events ORDER BY id DESC LIMIT :lines))"
        " WHERE NOT EXISTS (SELECT 1 FROM orders WHERE id = order_id)",
    ),
    _Check(
        "settledTwice",
        "No order settles twice on the chain, and none with a schedule more often than it has slices that landed",
        _LINES,
        "SELECT order_id FROM settled LEFT JOIN orders ON orders.id = order_id GROUP BY order_id HAVING count(*) >"
        " iif(type IN ('twap', 'dca'), (status = 'submitted') + (SELECT count(*) FROM order_events AS told"
        " WHERE told.order_id = orders.id AND event IN ('landed', 'slice_landed')), 1)",
    ),
    _Check(
        "settledUnconfirmed",
        "A settlement belongs to an order that is filled by it, or still looks for it",
        _LINES,
        "SELECT DISTINCT order_id FROM settled JOIN orders ON orders.id = order_id"
        " WHERE iif(type IN ('twap', 'dca'), NOT EXISTS (SELECT 1 FROM order_events AS signed"
        " WHERE signed.order_id = settled.order_id AND signed.tx_hash = signature),"
        " status NOT IN ('submitted', 'confirmed') OR orders.tx_hash IS NOT signature)",
    ),
)
_OF_THE_STORE: Final = (
    _Check(
        "confirmedUnsettled",
        "A fill that an order tells has its line in the ledger",
        _RECENT,
        "SELECT id FROM recent WHERE fill_hash IS NOT NULL AND NOT EXISTS"
        " (SELECT 1 FROM chain.ledger WHERE signature = fill_hash AND order_id = recent.id AND problem IS NULL)",
    ),
    _Check(
        "wrongFill",
        "An order tells the amounts that the chain swapped, all its slices together",
        _RECENT,
        "SELECT recent.id FROM recent JOIN chain.ledger AS line ON signature = fill_hash"
        " WHERE type NOT IN ('twap', 'dca') AND (amount_in IS NOT filled_in OR amount_out IS NOT filled_out)"
        " UNION ALL SELECT recent.id FROM recent JOIN order_events AS signed ON signed.order_id = recent.id"
        " JOIN chain.ledger AS line ON line.signature = signed.tx_hash AND line.problem IS NULL"
        " WHERE type IN ('twap', 'dca') AND recent.status <> 'submitted' GROUP BY recent.id, filled_in, filled_out"
        " HAVING sum(line.amount_in) IS NOT filled_in OR sum(line.amount_out) IS NOT filled_out",
    ),
    _Check(
        "gaps",
        "The events of an order are numbered from 1 without a gap",
        _RECENT,
        "SELECT id FROM recent WHERE (seq, seq) IS NOT"
        " (SELECT count(*), max(seq) FROM order_events WHERE order_id = recent.id)",
    ),
    _Check(
        "stuck",
        "An open order is worked on, waits its turn, or is taken over after the lease of a dead worker",
        _OPEN,
        "SELECT id FROM open, room"
        " WHERE iif(held, since < :now - :held_ms, since < :now - :idle_ms AND (free > 0 OR nobody))",
    ),
)


class Auditor:
    """Judges by the two files of one embedded engine, while it works."""

    def __init__(self, folder: Path, clock: Clock, *, lease_s: float, concurrency: int) -> None:
        self._folder = folder
        self._clock = clock
        self._lease_ms = round(lease_s * 1_000)
        self._concurrency = concurrency
        self._auditing: asyncio.Task[Audit] | None = None
        self._asked_at = 0.0

    async def audit(self) -> Audit:
        """Raises FillwrightError(STORE_UNAVAILABLE)."""
        now = self._clock.monotonic()
        if self._auditing is None or (self._auditing.done() and now - self._asked_at >= _FRESH_S):
            self._asked_at = now
            self._auditing = asyncio.create_task(asyncio.to_thread(self._audit))
        return await asyncio.shield(self._auditing)  # one that gives up must not take the answer from the others

    def _audit(self) -> Audit:
        now = self._clock.now()
        values = {
            "orders": ORDERS_MAX,
            "lines": _LINES_MAX,
            "now": now,
            "lease": self._lease_ms,
            "concurrency": self._concurrency,
            "idle_ms": _IDLE_MS,
            "held_ms": _HELD_MS,
        }
        try:
            with closing(self._opened()) as files:
                with _moment(files, "chain.ledger"):
                    findings = [_finding(files, check, values) for check in _OF_THE_LEDGER]
                with _moment(files, "main.orders"):
                    findings += [_finding(files, check, values) for check in _OF_THE_STORE]
                    orders, lines = _count(files, "orders", ORDERS_MAX), _count(files, "chain.ledger", _LINES_MAX)
        except sqlite3.Error as error:
            raise FillwrightError(Code.STORE_UNAVAILABLE, "the files could not be audited") from error
        return Audit(
            at=now,
            broken=sum(finding.count for finding in findings),
            findings=tuple(findings),
            orders=min(orders, ORDERS_MAX),
            lines=min(lines, _LINES_MAX),
            whole=orders <= ORDERS_MAX and lines <= _LINES_MAX,
        )

    def _opened(self) -> sqlite3.Connection:
        """The orders, and the ledger beside them as `chain`; neither can be changed."""
        uri = self._folder.resolve().as_uri()
        files = sqlite3.connect(f"{uri}/orders.db?mode=ro", uri=True, isolation_level=None)
        files.execute("ATTACH ? AS chain", (f"{uri}/chain.db?mode=ro",))
        return files


@contextmanager
def _moment(files: sqlite3.Connection, first: str) -> Iterator[None]:
    """Each file as it is at one moment, this table's no later than the other's."""
    files.execute("BEGIN")
    files.execute(f"SELECT 1 FROM {first} LIMIT 1").fetchall()
    yield
    files.execute("COMMIT")


def _finding(files: sqlite3.Connection, check: _Check, values: dict[str, int]) -> Finding:
    broken = [OrderId(row[0]) for row in files.execute(f"WITH {check.parts} {check.sql}", values)]
    return Finding(name=check.name, promise=check.promise, count=len(broken), orders=tuple(broken[:_SHOWN_MAX]))


def _count(files: sqlite3.Connection, table: str, most: int) -> int:
    """Its rows, counted until there are more than this."""
    count: int = files.execute(f"SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT {most} + 1)").fetchone()[0]
    return count

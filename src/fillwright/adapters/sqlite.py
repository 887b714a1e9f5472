"""The embedded store: one SQLite file, in WAL mode with a full sync at every commit.

Decides: how calls become transactions. Concurrent calls share one (group commit): whatever arrives while a commit
is under way goes into the next. Must never: answer before the commit, or change an order without the
compare-and-set on its seq.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from fillwright.access import Key, KeyId, Limits, Scope, Ticket
from fillwright.adapters.sqlite_spending import SqliteSpending
from fillwright.adapters.sqlite_webhooks import SqliteWebhooks
from fillwright.errors import Code, FillwrightError, Problem
from fillwright.order import (
    Event,
    Fill,
    Intent,
    Order,
    Recorded,
    Route,
    Signed,
    SignedTx,
    Stamped,
    Standing,
    Status,
    claim,
)
from fillwright.ports import Backlog, Clock, Conflict, Logged, NewOrder, Page, Place, Stored, Switch
from fillwright.units import Atoms, Millis, OrderId, Signature

T = TypeVar("T")
_BATCH_MAX: Final = 512
_LOCK_TIMEOUT_S: Final = 5.0
_PRIMARY: Final = 0xFF
"""The part of an extended error code that says which error it is."""
_WAL_TRIES: Final = 100
_WAL_TRY_S: Final = 0.05
_WAL_PAGES: Final = 8_000
"""How much is written ahead (32 MB) before it is copied into the database file: copying costs two more syncs."""

_encode: Final = msgspec.json.Encoder().encode
_intent_of: Final = msgspec.json.Decoder(Intent).decode
_standing_of: Final = msgspec.json.Decoder(Standing).decode
_route_of: Final = msgspec.json.Decoder(Route).decode
_tx_of: Final = msgspec.json.Decoder(SignedTx).decode
_problem_of: Final = msgspec.json.Decoder(Problem).decode
_event_of: Final = msgspec.json.Decoder(Event).decode
_limits_of: Final = msgspec.json.Decoder(Limits).decode

_COLUMNS: Final = (
    "id, account, client_order_id, intent, status, seq, attempts, worker, cancel_requested, created_at, updated_at,"
    " due_at, deadline_at, route, tx, filled_in, filled_out, fill_slot, fill_hash, problem, standing"
)
_SELECT: Final = f"SELECT {_COLUMNS} FROM orders"
_BY_KEY: Final = (
    f"SELECT {_COLUMNS}, fingerprint FROM orders"
    " WHERE account = ?1 AND id = (SELECT order_id FROM idempotency_keys WHERE account = ?1 AND key = ?2)"
)
_BY_CLIENT_ID: Final = f"SELECT {_COLUMNS}, fingerprint FROM orders WHERE account = ? AND client_order_id = ?"
_INSERT_ORDER: Final = (
    "INSERT INTO orders (id, account, client_order_id, fingerprint, type, side, mode, token_in,"
    " token_out, amount, slippage_bps, intent, status, seq, attempts, cancel_requested, created_at, updated_at,"
    " due_at, deadline_at, link_group) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, ?, ?, ?)"
)
_INSERT_EVENT: Final = (
    "INSERT INTO order_events (order_id, seq, at, status, event, tx_hash, resting, payload)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_UPDATE_ORDER: Final = (
    "UPDATE orders SET status = ?, seq = ?, attempts = ?, worker = ?, cancel_requested = ?, updated_at = ?,"
    " due_at = ?, route = ?, tx = ?, tx_hash = ?, filled_in = ?, filled_out = ?, fill_slot = ?, fill_hash = ?,"
    " failure_reason = ?, problem = ?, standing = ?, amount = ?, slippage_bps = ?, deadline_at = ?, holds = ?,"
    " intent = coalesce(?, intent) WHERE id = ? AND account = ? AND seq = ?"
)
_IS_HELD: Final = "SELECT 1 FROM orders WHERE link_group = ? AND holds AND id <> ?"
_CLAIMABLE: Final = (
    "due_at <= :now AND (worker IS NULL OR worker = :worker"
    " OR NOT EXISTS (SELECT 1 FROM workers WHERE name = orders.worker AND seen_at > :dead_since))"
)
_BACKLOG: Final = (  # what is due at once has waited since its last event
    "SELECT count(*), min(since) FROM (SELECT max(due_at, updated_at) AS since FROM orders"
    " WHERE status = 'pending' AND due_at <= ? ORDER BY due_at, id LIMIT ?)"
)


_KEY: Final = "id, account, label, scopes, digest, limits, created_at, used_at, revoked_at"


class SqliteStore:
    """See ports.Store. One instance a process; `close` it after its last call.

    Opening raises FillwrightError(STORE_UNAVAILABLE) where the file or its disk fails, and may be repeated.
    """

    def __init__(self, path: Path, clock: Clock, *, lease_s: float) -> None:
        self._clock = clock
        self._lease_ms = round(lease_s * 1_000)
        try:
            with ExitStack() as opened:
                self._writer = self._connect(path, opened)
                _migrate(self._writer)
                self._writer.execute("PRAGMA foreign_keys = ON")
                self._reader = self._connect(path, opened)
                self._opened = opened.pop_all()
        except sqlite3.Error as error:
            raise FillwrightError(Code.STORE_UNAVAILABLE, f"cannot open {path}: {error}") from error
        self._write_thread = ThreadPoolExecutor(1, "sqlite-write")
        self._read_thread = ThreadPoolExecutor(1, "sqlite-read")
        self._pending: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._flushing: asyncio.Task[None] | None = None
        self.keys = SqliteKeys(self._read, self._write, self._writer)
        self.webhooks = SqliteWebhooks(self._read, self._write, self._writer, clock)
        self.spending = SqliteSpending(self._read, self._write, self._writer, clock)

    def close(self) -> None:
        self._write_thread.shutdown()
        self._read_thread.shutdown()
        self._opened.close()

    def _connect(self, path: Path, opened: ExitStack) -> sqlite3.Connection:
        connection = opened.enter_context(closing(self._open(path)))
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_PAGES}")
        return connection

    def _open(self, path: Path) -> sqlite3.Connection:
        return sqlite3.connect(path, timeout=_LOCK_TIMEOUT_S, isolation_level=None, check_same_thread=False)

    # --- port ---------------------------------------------------------------------------------------------

    async def create(self, new: NewOrder, *tied: NewOrder) -> Stored:
        return await self._write(lambda: self._create(new, tied))

    async def record(self, before: Order, recorded: Sequence[Recorded]) -> None:
        if not await self._write(lambda: self._record(before, recorded)):
            raise Conflict

    async def claim(self, order_ids: Sequence[OrderId], worker: str) -> list[Recorded]:
        return await self._write(lambda: self._claim(order_ids, worker))

    async def heartbeat(self, worker: str) -> None:
        await self._write(lambda: self._heartbeat(worker))

    async def retire(self, worker: str) -> None:
        await self._write(lambda: self._writer.execute("DELETE FROM workers WHERE name = ?", (worker,)))

    async def alive(self) -> int:
        dead_since = self._clock.now() - self._lease_ms
        ((count,),) = await self._read("SELECT count(*) FROM workers WHERE seen_at > ?", (dead_since,))
        return int(count)

    async def get(self, account: str, order_id: OrderId) -> Order | None:
        rows = await self._read(f"{_SELECT} WHERE id = ? AND account = ?", (order_id, account))
        return _order(rows[0]) if rows else None

    async def get_by_client_id(self, account: str, client_order_id: str) -> Order | None:
        rows = await self._read(f"{_SELECT} WHERE account = ? AND client_order_id = ?", (account, client_order_id))
        return _order(rows[0]) if rows else None

    async def get_by_key(self, account: str, idempotency_key: str) -> Order | None:
        rows = await self._read(_BY_KEY, (account, idempotency_key))
        return _order(rows[0][:-1]) if rows else None

    async def page(self, page: Page) -> list[Order]:
        where, values = _conditions(page)
        sql = f"{_SELECT} WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?"
        return [_order(row) for row in await self._read(sql, (*values, page.limit))]

    async def history(self, account: str, order_id: OrderId) -> list[Stamped]:
        sql = (
            "SELECT e.seq, e.at, e.payload FROM order_events e JOIN orders o ON o.id = e.order_id"
            " WHERE o.id = ? AND o.account = ? ORDER BY e.seq"
        )
        rows = await self._read(sql, (order_id, account))
        return [Stamped(seq, Millis(at), _event_of(payload)) for seq, at, payload in rows]

    async def due(self, worker: str, limit: int) -> list[OrderId]:
        sql = f"SELECT id FROM orders WHERE {_CLAIMABLE} ORDER BY due_at, id LIMIT :limit"
        rows = await self._read(sql, {**self._claimant(worker), "limit": limit})
        return [OrderId(row[0]) for row in rows]

    async def backlog(self, limit: int) -> Backlog:
        now = self._clock.now()
        ((waiting, since),) = await self._read(_BACKLOG, (now, limit))
        return Backlog(waiting, 0.0 if since is None else max(0, now - since) / 1_000)

    async def resting(self, after: OrderId | None, limit: int) -> list[Order]:
        sql = f"{_SELECT} WHERE status = 'open' AND id > ? ORDER BY id LIMIT ?"
        return [_order(row) for row in await self._read(sql, (after or "", limit))]

    async def log(self, after: Place, limit: int, *, resting: bool = False) -> list[Logged]:
        # Writers take turns, and an id is one more than the last: by ids is by commits.
        sql = (
            "SELECT e.id, o.account, e.order_id, e.seq, e.status, e.event FROM order_events e"
            " JOIN orders o ON o.id = e.order_id"
            f" WHERE e.id > ? {'AND e.resting' if resting else ''} ORDER BY e.id LIMIT ?"
        )
        return [Logged(Place(0, number), *rest) for number, *rest in await self._read(sql, (after.id, limit))]

    async def log_end(self) -> Place:
        ((last,),) = await self._read("SELECT coalesce(max(id), 0) FROM order_events", ())
        return Place(0, last)

    async def log_since(self, at: Millis) -> Place:
        before, beyond = 0, (await self.log_end()).id + 1
        while beyond - before > 1:
            middle = (before + beyond) // 2
            ((since,),) = await self._read("SELECT at FROM order_events WHERE id >= ? ORDER BY id LIMIT 1", (middle,))
            before, beyond = (before, middle) if since >= at else (middle, beyond)
        return Place(0, before)

    async def arm(self, account: str, seconds: int) -> Switch:
        return await self._write(lambda: self._arm(account, seconds))

    async def disarm(self, account: str, switch: Switch | None = None) -> None:
        sql = "DELETE FROM switches WHERE account = ?1 AND fires_at = coalesce(?2, fires_at)"
        await self._write(lambda: self._writer.execute(sql, (account, switch and switch.fires_at)))

    async def fired(self, limit: int) -> list[Switch]:
        sql = "SELECT account, fires_at FROM switches WHERE fires_at <= ? ORDER BY fires_at, account LIMIT ?"
        return [Switch(*row) for row in await self._read(sql, (self._clock.now(), limit))]

    async def ping(self) -> None:
        await self._read("SELECT 1", ())

    # --- statements, each all or nothing within the transaction of its batch ------------------------------

    def _create(self, new: NewOrder, tied: Sequence[NewOrder]) -> Stored:
        existing = self._existing(new)
        if existing is not None:
            return existing
        for each in (new, *tied):
            self._insert(each)
        return Stored(new.accepted.order, new.fingerprint, is_new=True)

    def _insert(self, new: NewOrder) -> None:
        order = new.accepted.order
        intent = order.intent
        self._writer.execute(
            _INSERT_ORDER,
            (
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
                _encode(intent),
                order.status,
                order.seq,
                order.created_at,
                order.updated_at,
                order.due_at,
                order.deadline_at,
                order.group,
            ),
        )
        self._append([new.accepted])
        self._name(order, new.idempotency_key)

    def _existing(self, new: NewOrder) -> Stored | None:
        """The order that already has the request's key, else its client order id; the key then names it as well."""
        asked = new.accepted.order
        if new.idempotency_key is not None:
            found = self._stored(_BY_KEY, (asked.account, new.idempotency_key))
            if found is not None:
                return found
        if asked.client_order_id is None:
            return None
        found = self._stored(_BY_CLIENT_ID, (asked.account, asked.client_order_id))
        if found is not None and found.fingerprint == new.fingerprint:
            self._name(found.order, new.idempotency_key)
        return found

    def _stored(self, sql: str, values: tuple[str, str]) -> Stored | None:
        row = self._writer.execute(sql, values).fetchone()
        return None if row is None else Stored(_order(row[:-1]), row[-1], is_new=False)

    def _name(self, order: Order, key: str | None) -> None:
        if key is not None:
            self._writer.execute("INSERT INTO idempotency_keys VALUES (?, ?, ?)", (order.account, key, order.id))

    def _record(self, before: Order, recorded: Sequence[Recorded]) -> bool:
        """The compare-and-set. Whether it won, and its group was free where it begins to hold it."""
        after = recorded[-1].order
        if after.holds and not before.holds and self._writer.execute(_IS_HELD, (after.group, after.id)).fetchone():
            return False
        intent = None if after.intent is before.intent else _encode(after.intent)
        values = (*_state(after), intent, before.id, before.account, before.seq)
        cursor = self._writer.execute(_UPDATE_ORDER, values)
        if cursor.rowcount != 1:
            return False
        self._append(recorded)
        return True

    def _append(self, recorded: Sequence[Recorded]) -> None:
        self._writer.executemany(
            _INSERT_EVENT,
            [
                (
                    each.order.id,
                    each.order.seq,
                    each.order.updated_at,
                    each.order.status,
                    each.event.__struct_config__.tag,
                    each.event.tx.signature if isinstance(each.event, Signed) else None,
                    each.order.intent.is_watched,
                    _encode(each.event),
                )
                for each in recorded
            ],
        )

    def _claim(self, order_ids: Sequence[OrderId], worker: str) -> list[Recorded]:
        sql = f"{_SELECT} WHERE id IN (SELECT value FROM json_each(:ids)) AND {_CLAIMABLE}"
        values = {**self._claimant(worker), "ids": json.dumps(list(order_ids))}
        orders = [_order(row) for row in self._writer.execute(sql, values).fetchall()]
        claimed = [(order, claim(order, worker, self._clock.now())) for order in orders]
        return [recorded for order, recorded in claimed if self._record(order, [recorded])]

    def _heartbeat(self, worker: str) -> None:
        now = self._clock.now()
        self._writer.execute(
            "INSERT INTO workers (name, seen_at) VALUES (?, ?)"
            " ON CONFLICT (name) DO UPDATE SET seen_at = excluded.seen_at",
            (worker, now),
        )
        self._writer.execute("DELETE FROM workers WHERE seen_at < ?", (now - self._lease_ms,))

    def _arm(self, account: str, seconds: int) -> Switch:
        switch = Switch(account, Millis(self._clock.now() + seconds * 1_000))
        self._writer.execute("INSERT OR REPLACE INTO switches VALUES (?, ?)", (account, switch.fires_at))
        return switch

    def _claimant(self, worker: str) -> dict[str, Any]:
        now = self._clock.now()
        return {"worker": worker, "now": now, "dead_since": now - self._lease_ms}

    # --- transactions -------------------------------------------------------------------------------------

    async def _write(self, statement: Callable[[], T]) -> T:
        """Run in the next transaction and return once that is durable."""
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._pending.append((statement, done))
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())
        return await done

    async def _flush(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                batch, self._pending = self._pending[:_BATCH_MAX], self._pending[_BATCH_MAX:]
                statements = [statement for statement, _ in batch]
                try:
                    outcomes = await loop.run_in_executor(self._write_thread, self._commit, statements)
                except Exception as error:  # whatever it is, nobody may be left waiting
                    outcomes = [_translated(error) for _ in batch]
                for (_, done), outcome in zip(batch, outcomes, strict=True):
                    _deliver(done, outcome)
        finally:
            self._flushing = None

    def _commit(self, statements: Sequence[Callable[[], Any]]) -> list[Any]:
        """One transaction. If a statement fails, each gets its own, so that it fails alone."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            return [_translated(error) for _ in statements]
        try:
            outcomes = [statement() for statement in statements]
        except Exception as error:  # a defect in one call must not take its neighbours along
            self._roll_back()
            if len(statements) == 1:
                return [_translated(error)]
            return [self._commit([statement])[0] for statement in statements]
        try:
            self._writer.execute("COMMIT")
        except sqlite3.Error as error:
            # Undone for now, yet it may lie whole in the log: until the next commit takes its place there, a crash
            # brings it back. So the outcome is unknown, and that is what the callers are told.
            self._roll_back()
            return [_translated(error) for _ in statements]
        return outcomes

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    async def _read(self, sql: str, values: Any) -> list[tuple[Any, ...]]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._read_thread, lambda: self._reader.execute(sql, values).fetchall())
        except sqlite3.Error as error:
            raise _translated(error) from error


class SqliteKeys:
    """See ports.Keys. Its calls share the store's transactions and its threads."""

    def __init__(
        self,
        read: Callable[[str, Any], Awaitable[list[tuple[Any, ...]]]],
        write: Callable[[Callable[[], Any]], Awaitable[Any]],
        writer: sqlite3.Connection,
    ) -> None:
        self._read = read
        self._write = write
        self._writer = writer

    async def add(self, key: Key) -> None:
        values = (
            *(key.id, key.account, key.label, " ".join(sorted(key.scopes)), key.digest, _encode(key.limits)),
            *(key.created_at, key.used_at, key.revoked_at),
        )
        await self._change(f"INSERT OR IGNORE INTO api_keys ({_KEY}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    async def active(self) -> list[Key] | None:
        rows = await self._read(f"SELECT {_KEY} FROM api_keys WHERE revoked_at IS NULL", ())
        if not rows and not await self._read("SELECT 1 FROM api_keys LIMIT 1", ()):
            return None
        return [_key(row) for row in rows]

    async def page(self, limit: int) -> list[Key]:
        sql = f"SELECT {_KEY} FROM api_keys ORDER BY created_at DESC, id LIMIT ?"
        return [_key(row) for row in await self._read(sql, (limit,))]

    async def revoke(self, key_id: KeyId, now: Millis) -> Key | None:
        sql = f"UPDATE api_keys SET revoked_at = coalesce(revoked_at, ?) WHERE id = ? RETURNING {_KEY}"
        rows = await self._change(sql, (now, key_id))
        return _key(rows[0]) if rows else None

    async def touch(self, used: Mapping[KeyId, Millis]) -> None:
        sql = "UPDATE api_keys SET used_at = max(coalesce(used_at, 0), ?) WHERE id = ?"
        values = [(at, key_id) for key_id, at in used.items()]
        await self._write(lambda: self._writer.executemany(sql, values))

    async def add_ticket(self, ticket: Ticket, now: Millis) -> None:
        await self._change("DELETE FROM stream_tickets WHERE expires_at <= ?", (now,))
        values = (ticket.digest, ticket.key_id, ticket.expires_at)
        await self._change("INSERT INTO stream_tickets (digest, key_id, expires_at) VALUES (?, ?, ?)", values)

    async def take_ticket(self, digest: bytes, now: Millis) -> Ticket | None:
        sql = "DELETE FROM stream_tickets WHERE digest = ? AND expires_at > ? RETURNING digest, key_id, expires_at"
        rows = await self._change(sql, (digest, now))
        return Ticket(*rows[0]) if rows else None

    async def _change(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = await self._write(lambda: self._writer.execute(sql, values).fetchall())
        return rows


def _key(row: Sequence[Any]) -> Key:
    key_id, account, label, scopes, digest, limits, created_at, used_at, revoked_at = row
    return Key(
        id=KeyId(key_id),
        account=account,
        label=label,
        scopes=frozenset(map(Scope, scopes.split())),
        digest=digest,
        limits=_limits_of(limits),
        created_at=created_at,
        used_at=used_at,
        revoked_at=revoked_at,
    )


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL mode.

    The switch needs the file for itself, and of two that open a new file at once SQLite refuses one without the
    wait it makes for every other lock, because each holds what the other waits for. The refused one asks again.
    """
    for tries_left in reversed(range(_WAL_TRIES)):
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_BUSY or not tries_left:
                raise
            time.sleep(_WAL_TRY_S)


def _migrate(connection: sqlite3.Connection) -> None:
    """Apply the migrations that this file has not seen, each in its own transaction.

    Raises FillwrightError(CONFIG_INVALID), having changed nothing, for a file of a newer version than this one.
    """
    folder = resources.files("fillwright") / "migrations" / "sqlite"
    scripts = {int(script.name[:4]): script for script in folder.iterdir()}
    done, known = _version(connection), max(scripts)
    if done > known:
        why = f"the store's file has schema {done}, this version knows up to {known}; use the version that wrote it"
        raise FillwrightError(Code.CONFIG_INVALID, why)
    for number in sorted(scripts):
        if number > done:
            script = scripts[number].read_text()
            try:
                connection.executescript(f"BEGIN IMMEDIATE;{script}PRAGMA user_version = {number};COMMIT;")
            except sqlite3.OperationalError:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                if _version(connection) < number:  # else another process has been faster
                    raise


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _deliver(done: asyncio.Future[Any], outcome: Any) -> None:
    if done.cancelled():
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)


def _translated(error: Exception) -> Exception:
    if not isinstance(error, sqlite3.Error):
        return error
    translated = FillwrightError(Code.STORE_UNAVAILABLE, "the store did not answer")
    translated.__cause__ = error  # for the log; a client is not told what a database says
    return translated


# --- rows -------------------------------------------------------------------------------------------------


def _state(order: Order) -> tuple[Any, ...]:
    """The values of _UPDATE_ORDER's SET, in its order."""
    tx, fill = order.tx, order.fill
    signature = tx.signature if tx else fill.signature if fill else None
    return (
        order.status,
        order.seq,
        order.attempt,
        order.worker,
        order.cancel_requested,
        order.updated_at,
        order.due_at,
        _encode(order.route) if order.route else None,
        _encode(tx) if tx else None,
        signature,
        fill.amount_in if fill else None,
        fill.amount_out if fill else None,
        fill.slot if fill else None,
        fill.signature if fill else None,
        order.problem.detail if order.problem else None,
        _encode(order.problem) if order.problem else None,
        _encode(order.standing) if order.standing else None,
        order.intent.amount,
        order.intent.slippage_bps,
        order.deadline_at,
        order.holds,
    )


def _order(row: Sequence[Any]) -> Order:
    (
        order_id,
        account,
        client_order_id,
        intent,
        status,
        seq,
        attempts,
        worker,
        cancel_requested,
        created_at,
        updated_at,
        due_at,
        deadline_at,
        route,
        tx,
        filled_in,
        filled_out,
        fill_slot,
        fill_hash,
        problem,
        standing,
    ) = row
    fill = None
    if filled_in is not None:
        fill = Fill(
            signature=Signature(fill_hash),
            slot=fill_slot,
            amount_in=Atoms(filled_in),
            amount_out=Atoms(filled_out),
        )
    return Order(
        id=OrderId(order_id),
        account=account,
        client_order_id=client_order_id,
        intent=_intent_of(intent),
        status=Status(status),
        seq=seq,
        attempt=attempts,
        worker=worker,
        cancel_requested=bool(cancel_requested),
        created_at=created_at,
        updated_at=updated_at,
        due_at=due_at,
        deadline_at=deadline_at,
        route=_route_of(route) if route else None,
        tx=_tx_of(tx) if tx else None,
        fill=fill,
        problem=_problem_of(problem) if problem else None,
        standing=_standing_of(standing) if standing else None,
    )


def _conditions(page: Page) -> tuple[list[str], list[Any]]:
    conditions: list[tuple[str, Sequence[Any]]] = [("account = ?", [page.account])]
    if page.statuses is not None:
        conditions.append((f"status IN ({_marks(page.statuses)})", sorted(page.statuses)))
    if page.mints is not None:
        mints = sorted(page.mints)
        conditions.append((f"token_in IN ({_marks(mints)})", mints))
        conditions.append((f"token_out IN ({_marks(mints)})", mints))
    for condition, value in (
        ("side = ?", page.side),
        ("created_at >= ?", page.since),
        ("created_at < ?", page.until),
        ("id < ?", page.before),
    ):
        if value is not None:
            conditions.append((condition, [value]))
    return [condition for condition, _ in conditions], [value for _, values in conditions for value in values]


def _marks(values: Any) -> str:
    return ", ".join("?" * len(values))

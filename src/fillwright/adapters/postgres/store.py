"""The shared store: PostgreSQL, for any number of processes.

Decides: what is read, and how. Writes are calls to the `Writer`. Must never: change anything by itself, or judge a due
time or a lease by another clock than the database's.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final

import asyncpg

from fillwright.adapters.postgres.batch import IS_DUE, IS_FREE, NOW_MS, Arm, Beat, Claim, Create, Disarm, Move
from fillwright.adapters.postgres.keys import PostgresKeys
from fillwright.adapters.postgres.link import (
    ACQUIRE_S,
    CONNECT_S,
    FOREIGN,
    Pool,
    connect_to_migrate,
    open_pool,
    translated,
)
from fillwright.adapters.postgres.rows import ORDER, conditions, order_of, stamped_of
from fillwright.adapters.postgres.schema import adopt, migrate, require_durable
from fillwright.adapters.postgres.spending import PostgresSpending
from fillwright.adapters.postgres.webhooks import PostgresWebhooks
from fillwright.adapters.postgres.writer import Writer
from fillwright.errors import Code, FillwrightError
from fillwright.order import Order, Recorded, Stamped
from fillwright.ports import Backlog, Conflict, Logged, NewOrder, Page, Place, Stored, Switch
from fillwright.units import Millis, OrderId

_READERS: Final = 4
_MIGRATION_S: Final = 600.0
_CLOSE_S: Final = 5.0

_SELECT: Final = f"SELECT {ORDER} FROM orders o"
_DUE: Final = (
    f"SELECT o.id FROM orders o WHERE {IS_DUE} AND {IS_FREE.format(worker='$1', lease='$2')}"
    " ORDER BY o.due_at, o.id LIMIT $3"
)
_BACKLOG: Final = (  # what is due at once has waited since its last event
    f"SELECT count(*), coalesce(max({NOW_MS} - since), 0)::bigint FROM ("
    "SELECT greatest(o.due_at, (extract(epoch FROM o.updated_at) * 1000)::bigint) AS since FROM orders o"
    f" WHERE o.status = 'pending' AND {IS_DUE} ORDER BY o.due_at, o.id LIMIT $1) waiting"
)
_ALIVE: Final = "SELECT count(*) FROM workers WHERE seen_at > statement_timestamp() - make_interval(secs => $1)"
_FIRED: Final = f"SELECT account, fires_at FROM switches WHERE fires_at <= {NOW_MS} ORDER BY fires_at, account LIMIT $1"
# A transaction below the oldest one in progress has ended: its events are all here, and no more can come. One above it
# may lack company, whatever its ids: it waits. Both sides are judged by the one snapshot of the statement. The events
# of an order keep their order: each was made from the one before, once that was committed, so its transaction is later.
_COMPLETE: Final = "e.txid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
_LOG: Final = (
    "SELECT e.txid, e.id, o.account, e.order_id, e.seq, e.status, e.event FROM order_events e"
    " JOIN orders o ON o.id = e.order_id"
    f" WHERE (e.txid, e.id) > ($1::bigint, $2::bigint) AND {_COMPLETE} {{only}} ORDER BY e.txid, e.id LIMIT $3"
)
_LOG_OF_ALL: Final = _LOG.format(only="")
_LOG_OF_RESTING: Final = _LOG.format(only="AND e.resting")
_RESTING: Final = (
    f"{_SELECT} WHERE o.type <> 'market' AND o.due_at IS NOT NULL AND o.status = 'open' AND o.id > $1"
    " ORDER BY o.id LIMIT $2"
)
_LOG_END: Final = f"SELECT e.txid, e.id FROM order_events e WHERE {_COMPLETE} ORDER BY e.txid DESC, e.id DESC LIMIT 1"
_LOG_AT: Final = (
    "SELECT e.txid, e.created_at FROM order_events e WHERE (e.txid, e.id) > ($1::bigint, 0::bigint)"
    " ORDER BY e.txid, e.id LIMIT 1"
)
_HISTORY: Final = (
    "SELECT e.seq, e.created_at, e.payload FROM orders o JOIN order_events e ON e.order_id = o.id"
    " WHERE o.id = $1 AND o.account = $2 ORDER BY e.seq"
)


class PostgresStore:
    """See ports.Store. One instance a process; `close` it after its last call."""

    def __init__(self, pool: Pool, writer: Writer, lease_s: float) -> None:
        """Use `open`."""
        self._pool = pool
        self._writer = writer
        self._lease_s = lease_s
        self.keys = PostgresKeys(self._read)
        self.webhooks = PostgresWebhooks(self._read, self._read_after)
        self.spending = PostgresSpending(self._read, self._read_after)

    @classmethod
    async def open(cls, url: str, *, lease_s: float, allow_unsafe: bool = False) -> "PostgresStore":
        """The store in the database at `url` (postgresql://…), whose tables are made or brought up to date.

        Raises FillwrightError: STORE_UNAVAILABLE without an answer, CONFIG_INVALID for a URL or login that cannot
        work, a database of a newer version, and unless `allow_unsafe` for a server that could lose commits.
        """
        try:
            connection = await connect_to_migrate(url, _MIGRATION_S)
            try:
                if not allow_unsafe:
                    await require_durable(connection)
                await migrate(connection)
                await adopt(connection)
            finally:
                await connection.close(timeout=CONNECT_S)
            return cls(await open_pool(url, _READERS), Writer(url, lease_s), lease_s)
        except (ValueError, asyncpg.InvalidAuthorizationSpecificationError) as error:
            raise FillwrightError(Code.CONFIG_INVALID, "the database's URL or its login is not valid") from error
        except asyncpg.InvalidCatalogNameError as error:
            raise FillwrightError(Code.CONFIG_INVALID, "there is no such database; create it first") from error
        except FOREIGN as error:
            raise translated(error) from error

    async def close(self) -> None:
        await self._writer.close()
        try:
            async with asyncio.timeout(_CLOSE_S):
                await self._pool.close()
        except FOREIGN:  # it has been terminated then
            self._pool.terminate()

    # --- port ---------------------------------------------------------------------------------------------

    async def create(self, new: NewOrder, *tied: NewOrder) -> Stored:
        stored: Stored = await self._writer.write(Create.of(new, tied))
        return stored

    async def record(self, before: Order, recorded: Sequence[Recorded]) -> None:
        if not await self._writer.write(Move.of(before, recorded)):
            raise Conflict

    async def claim(self, order_ids: Sequence[OrderId], worker: str) -> list[Recorded]:
        taken: list[Recorded] = await self._writer.write(Claim(order_ids, worker))
        return taken

    async def heartbeat(self, worker: str) -> None:
        await self._writer.write(Beat(worker, alive=True))

    async def retire(self, worker: str) -> None:
        await self._writer.write(Beat(worker, alive=False))

    async def alive(self) -> int:
        ((count,),) = await self._read(_ALIVE, self._lease_s)
        return int(count)

    async def get(self, account: str, order_id: OrderId) -> Order | None:
        rows = await self._read(f"{_SELECT} WHERE o.id = $1 AND o.account = $2", order_id, account)
        return order_of(rows[0]) if rows else None

    async def get_by_client_id(self, account: str, client_order_id: str) -> Order | None:
        where = "o.account = $1 AND o.client_order_id = $2"
        rows = await self._read(f"{_SELECT} WHERE {where}", account, client_order_id)
        return order_of(rows[0]) if rows else None

    async def get_by_key(self, account: str, idempotency_key: str) -> Order | None:
        named = "SELECT order_id FROM idempotency_keys WHERE account = $1 AND key = $2"
        rows = await self._read(f"{_SELECT} WHERE o.account = $1 AND o.id = ({named})", account, idempotency_key)
        return order_of(rows[0]) if rows else None

    async def page(self, page: Page) -> list[Order]:
        where, values = conditions(page)
        sql = f"{_SELECT} WHERE {where} ORDER BY o.id DESC LIMIT ${len(values) + 1}"
        return [order_of(row) for row in await self._read(sql, *values, page.limit)]

    async def history(self, account: str, order_id: OrderId) -> list[Stamped]:
        return [stamped_of(row) for row in await self._read(_HISTORY, order_id, account)]

    async def due(self, worker: str, limit: int) -> list[OrderId]:
        return [OrderId(row[0]) for row in await self._read(_DUE, worker, self._lease_s, limit)]

    async def backlog(self, limit: int) -> Backlog:
        ((waiting, oldest_ms),) = await self._read(_BACKLOG, limit)
        return Backlog(waiting, max(0, oldest_ms) / 1_000)

    async def resting(self, after: OrderId | None, limit: int) -> list[Order]:
        return [order_of(row) for row in await self._read(_RESTING, after or "", limit)]

    async def log(self, after: Place, limit: int, *, resting: bool = False) -> list[Logged]:
        sql = _LOG_OF_RESTING if resting else _LOG_OF_ALL
        rows = await self._read(sql, after.transaction, after.id, limit)
        return [Logged(Place(txid, number), *rest) for txid, number, *rest in rows]

    async def log_end(self) -> Place:
        rows = await self._read(_LOG_END)
        return Place(*rows[0]) if rows else Place(0, 0)

    async def log_since(self, at: Millis) -> Place:
        before, beyond = 0, (await self.log_end()).transaction + 1
        while beyond - before > 1:
            middle = (before + beyond) // 2
            ((transaction, since),) = await self._read(_LOG_AT, middle)
            before, beyond = (before, middle) if since >= at else (transaction, beyond)
        return Place(before, 0)

    async def arm(self, account: str, seconds: int) -> Switch:
        switch: Switch = await self._writer.write(Arm(account, seconds))
        return switch

    async def disarm(self, account: str, switch: Switch | None = None) -> None:
        await self._writer.write(Disarm(account, switch.fires_at if switch else None))

    async def fired(self, limit: int) -> list[Switch]:
        return [Switch(*row) for row in await self._read(_FIRED, limit)]

    async def ping(self) -> None:
        await self._read("SELECT 1")

    # --- reads --------------------------------------------------------------------------------------------

    async def _read(self, sql: str, *values: Any) -> list[asyncpg.Record]:
        try:
            async with self._pool.acquire(timeout=ACQUIRE_S) as connection:
                return await connection.fetch(sql, *values)
        except FOREIGN as error:
            raise translated(error) from error

    async def _read_after(self, first: Sequence[Any], sql: str, *values: Any) -> list[asyncpg.Record]:
        """The same, in one transaction with a statement before it."""
        try:
            async with self._pool.acquire(timeout=ACQUIRE_S) as connection, connection.transaction():
                await connection.execute(*first)
                return await connection.fetch(sql, *values)
        except FOREIGN as error:
            raise translated(error) from error

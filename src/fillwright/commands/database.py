"""The orders' database from outside the engine: brought up to date, proven, counted.

Decides: what counts as sound. Must never: change an order.
"""

import asyncio
import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from fillwright.app import open_store
from fillwright.config import Config
from fillwright.errors import Code, FillwrightError
from fillwright.order import IllegalTransition, replay
from fillwright.ports import Store
from fillwright.units import OrderId

_BY_STATUS: Final = "SELECT status, count(*) FROM orders GROUP BY status ORDER BY status"
_EVENTS: Final = "SELECT count(*) FROM order_events"
_IDS: Final = "SELECT account, id FROM orders ORDER BY id"
_FAULTS_SHOWN: Final = 20
_CONNECT_S: Final = 5.0
_COMMAND_S: Final = 600.0


def run(what: str, config: Config, *, as_json: bool) -> int:
    """The exit code: 1 where `check` found an order that its history does not prove."""
    told, ok = asyncio.run({"migrate": _migrate, "check": _check, "stats": _stats}[what](config))
    if as_json:
        print(json.dumps(told))
    else:
        print("\n".join(f"{name:<10} {_text(value)}" for name, value in told.items()))
    return 0 if ok else 1


async def _migrate(config: Config) -> tuple[dict[str, Any], bool]:
    async with open_store(config):
        return {"database": _name(config), "schema": "up to date"}, True


async def _stats(config: Config) -> tuple[dict[str, Any], bool]:
    by_status = {str(status): int(count) for status, count in await _rows(config, _BY_STATUS)}
    ((events,),) = await _rows(config, _EVENTS)
    told = {"database": _name(config), "orders": sum(by_status.values()), **by_status, "events": events}
    return told | {"bytes": await _size(config)}, True


async def _check(config: Config) -> tuple[dict[str, Any], bool]:
    faults = await _file_faults(config)
    orders = await _rows(config, _IDS)
    async with open_store(config) as store:
        for account, order_id in orders:
            fault = await _fault(store, str(account), OrderId(str(order_id)))
            if fault is not None:
                faults.append(f"{order_id}: {fault}")
    told = {"database": _name(config), "orders": len(orders), "faults": faults[:_FAULTS_SHOWN]}
    return told | {"verdict": f"{len(faults)} faults" if faults else "sound"}, not faults


async def _fault(store: Store, account: str, order_id: OrderId) -> str | None:
    """Why the order is not what its events make of it; one that moves meanwhile is looked at again."""
    while True:
        before = await store.get(account, order_id)
        history = await store.history(account, order_id)
        if await store.get(account, order_id) == before:
            break
    try:
        recorded = replay(order_id, account, history)
    except (IllegalTransition, IndexError) as error:
        return f"its events do not follow from each other ({error})"
    if [each.order.seq for each in recorded] != [stamped.seq for stamped in history]:
        return "an event is missing"
    return None if recorded[-1].order == before else "its row is not what its events say"


# --- either database --------------------------------------------------------------------------------------


async def _rows(config: Config, sql: str) -> Sequence[Sequence[Any]]:
    if config.database is None:
        return await asyncio.to_thread(_sqlite_rows, _file(config), sql)
    import asyncpg  # noqa: PLC0415 - an extra: only where such a database is configured

    try:
        connection = await asyncpg.connect(config.database.reveal(), timeout=_CONNECT_S, command_timeout=_COMMAND_S)
        try:
            return [tuple(row) for row in await connection.fetch(sql)]
        finally:
            await connection.close(timeout=_CONNECT_S)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise FillwrightError(Code.STORE_UNAVAILABLE, f"the database cannot be read: {error}") from error


def _sqlite_rows(file: Path, sql: str) -> Sequence[Sequence[Any]]:
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()
    except sqlite3.Error as error:
        raise FillwrightError(Code.STORE_UNAVAILABLE, f"cannot read {file}: {error}") from error


async def _file_faults(config: Config) -> list[str]:
    """What the embedded database's own check of its file says."""
    if config.database is not None:
        return []
    return [str(row[0]) for row in await _rows(config, "PRAGMA integrity_check") if row[0] != "ok"]


async def _size(config: Config) -> int:
    if config.database is None:
        return _file(config).stat().st_size
    ((size,),) = await _rows(config, "SELECT pg_database_size(current_database())")
    return int(size)


def _file(config: Config) -> Path:
    file = config.data / "orders.db"
    if not file.is_file():
        why = f"there is no database at {file}; FILLWRIGHT_DATA or DATABASE_URL names another"
        raise FillwrightError(Code.CONFIG_INVALID, why)
    return file


def _name(config: Config) -> str:
    return "PostgreSQL" if config.database is not None else str(config.data / "orders.db")


def _text(value: Any) -> str:
    return "\n           ".join(value) or "none" if isinstance(value, list) else str(value)

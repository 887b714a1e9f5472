"""The database is fit to be worked on: its tables are ours, and it keeps what it commits.

Decides: which migrations are run, and which databases are refused. Must never: change a table outside a numbered
migration, or go on with a server that may forget a commit.

A migration only expands: processes of the version before go on working beside it, so it adds tables, columns with a
default and indexes, and takes nothing away. What nobody reads any more is removed (contracted) by a later version's
migration. A migration that was released is never edited.
"""

from collections.abc import Mapping
from hashlib import sha256
from importlib import resources
from typing import Final

from fillwright.adapters.postgres.link import Connection
from fillwright.errors import Code, FillwrightError

_LOCK: Final = 0x66696C6C77726967
"""The advisory lock that one migrating process holds."""
_TABLE_LOCK: Final = "SET LOCAL lock_timeout = '4s'"
"""A migration that waits for a table makes everybody behind it wait: it gives up soon; the next start tries again."""
_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS schema_migrations (number integer PRIMARY KEY, name text NOT NULL,"
    " sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
)
_UNSAFE: Final = (
    "SELECT name FROM pg_settings"
    " WHERE name IN ('fsync', 'full_page_writes', 'synchronous_commit') AND setting = 'off' ORDER BY name"
)


async def require_durable(connection: Connection) -> None:
    """Raises FillwrightError(CONFIG_INVALID) where a commit that was answered could be lost with the power."""
    unsafe = [row[0] for row in await connection.fetch(_UNSAFE)]
    if unsafe:
        why = (
            f"the database may lose acknowledged orders: {', '.join(unsafe)} is off; switch it on,"
            " or set FILLWRIGHT_ALLOW_UNSAFE_DATABASE=true where losing them does not matter"
        )
        raise FillwrightError(Code.CONFIG_INVALID, why)


async def migrate(connection: Connection) -> None:
    """Apply the migrations that this database has not seen, each in its own transaction. One process at a time.

    Raises FillwrightError(CONFIG_INVALID), having changed nothing, for a database of a newer version than this one,
    or where a migration that was applied is not the one that this version has under its number.
    """
    scripts = _scripts()
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)  # held until the connection is closed
    await connection.execute(_TABLE)
    rows = await connection.fetch("SELECT number, sha256 FROM schema_migrations")
    done: dict[int, str] = {row[0]: row[1] for row in rows}
    _check(done, scripts)
    for number, (name, script) in sorted(scripts.items()):
        if number not in done:
            async with connection.transaction():
                await connection.execute(_TABLE_LOCK)
                await connection.execute(script)
                await connection.execute(
                    "INSERT INTO schema_migrations (number, name, sha256) VALUES ($1, $2, $3)",
                    number,
                    name,
                    _sum(script),
                )


_FOLLOWERS: Final = (
    "UPDATE webhooks w SET place_transaction = 0, place_id = coalesce((SELECT min(e.id) FROM order_events e"
    " WHERE (e.txid, e.id) > (w.place_transaction, w.place_id)), w.place_id + 1) - 1 WHERE EXISTS"
    " (SELECT 1 FROM order_events WHERE txid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint)"
)
_FOREIGN: Final = "UPDATE order_events SET txid = 0 WHERE txid >= pg_snapshot_xmax(pg_current_snapshot())::text::bigint"


async def adopt(connection: Connection) -> None:
    """Events that came with a dump from another server have its transactions' numbers: those ahead of this one's would
    count as unfinished. They become the log's beginning instead, in the order of their ids; webhooks go on there, and
    may tell some events again."""
    async with connection.transaction():
        await connection.execute(_FOLLOWERS)
        await connection.execute(_FOREIGN)


def _scripts() -> dict[int, tuple[str, str]]:
    """By number: name and text."""
    folder = resources.files("fillwright") / "migrations" / "postgres"
    return {int(script.name[:4]): (script.name, script.read_text("utf-8")) for script in folder.iterdir()}


def _check(done: Mapping[int, str], scripts: Mapping[int, tuple[str, str]]) -> None:
    newest = max(done, default=0)
    if newest > max(scripts):
        why = (
            f"the database has schema {newest}, this version knows up to {max(scripts)}; use the version that wrote it"
        )
        raise FillwrightError(Code.CONFIG_INVALID, why)
    for number, applied in done.items():
        name, script = scripts[number]
        if _sum(script) != applied:
            why = f"migration {name} is not the one that the database was made with; use the version that wrote it"
            raise FillwrightError(Code.CONFIG_INVALID, why)


def _sum(script: str) -> str:
    return sha256(script.encode()).hexdigest()

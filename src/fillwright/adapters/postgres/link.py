"""A connection to PostgreSQL: how it is opened, how long anything may take on it, and what its failures mean.

Decides: the session's limits and planner settings, and which foreign exception is which expected failure. Must never:
weaken what the server promises about a commit, or let a wait be without an end.
"""

from typing import Final, TypeAlias

import asyncpg

from fillwright.errors import Code, FillwrightError
from fillwright.units import Millis

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"

CONNECT_S: Final = 5.0
COMMAND_S: Final = 10.0
"""How long an answer is waited for. The server gives up earlier on its side, where it can still say why."""
ACQUIRE_S: Final = 5.0

FOREIGN: Final = (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""Whatever the driver raises."""
REFUSED: Final = (asyncpg.IntegrityConstraintViolationError, asyncpg.DataError)
"""The data was refused: trying again is of no use, and the connection is as good as before."""

_OURS: Final = {
    "application_name": "fillwright",
    "default_transaction_isolation": "read committed",  # a compare-and-set that had to wait looks at the row again
}
_LIMITS: Final = {
    "statement_timeout": "8s",
    "lock_timeout": "4s",
    "idle_in_transaction_session_timeout": "10s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "20s",
}
_PLANS: Final = {
    # Every statement finds its rows by index. It is planned once, perhaps while the tables are still empty: a plan that
    # reads whole tables must not be kept from then.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}
_MILLENNIUM: Final = 946_684_800_000
"""Where PostgreSQL counts from, in milliseconds since the epoch."""


async def connect(url: str) -> Connection:
    """A connection of its own, to the server that takes writes. Raises what is in FOREIGN."""
    connection = await asyncpg.connect(
        url, timeout=CONNECT_S, command_timeout=COMMAND_S, server_settings={**_OURS, **_LIMITS, **_PLANS}
    )
    await _speak_millis(connection)
    return connection


async def connect_to_migrate(url: str, patience_s: float) -> Connection:
    """A plain connection, on which one statement may take that long."""
    limits = {**_LIMITS, "statement_timeout": f"{patience_s:.0f}s", "lock_timeout": f"{patience_s:.0f}s"}
    return await asyncpg.connect(
        url, timeout=CONNECT_S, command_timeout=patience_s, server_settings={**_OURS, **limits}
    )


async def open_pool(url: str, size: int) -> Pool:
    """Connections for reads, which leave nothing behind in their session."""
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        timeout=CONNECT_S,
        command_timeout=COMMAND_S,
        max_cached_statement_lifetime=0,
        init=_speak_millis,
        reset=_leave_as_it_is,
        server_settings={**_OURS, **_LIMITS, **_PLANS},
    )


def translated(error: Exception) -> Exception:
    """The expected failure that a foreign exception is; any other exception as it is."""
    if not isinstance(error, FOREIGN):
        return error
    expected = FillwrightError(Code.STORE_UNAVAILABLE, "the store did not answer")
    expected.__cause__ = error  # for the log; a client is not told what a database says
    return expected


async def _speak_millis(connection: Connection) -> None:
    """Times are exact integers on our side: a binary timestamp is microseconds."""
    await connection.set_type_codec(
        "timestamptz",
        schema="pg_catalog",
        encoder=lambda at: ((at - _MILLENNIUM) * 1_000,),
        decoder=lambda wire: Millis(wire[0] // 1_000 + _MILLENNIUM),
        format="tuple",
    )


async def _leave_as_it_is(connection: Connection) -> None:
    """Instead of the driver's reset, which costs a round trip after every read."""

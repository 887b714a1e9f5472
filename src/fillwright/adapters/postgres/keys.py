"""API keys and stream tickets in PostgreSQL.

Decides: their statements; each is one transaction. Must never: hold what the database does not.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import asyncpg
import msgspec

from fillwright.access import Key, KeyId, Limits, Scope, Ticket
from fillwright.units import Millis

_KEY: Final = "id, account, label, scopes, digest, limits, created_at, used_at, revoked_at"
_TOUCH: Final = (
    "UPDATE api_keys SET used_at = greatest(used_at, used.at)"
    " FROM unnest($1::text[], $2::bigint[]) AS used (id, at) WHERE api_keys.id = used.id"
)
_encode: Final = msgspec.json.Encoder().encode
_limits_of: Final = msgspec.json.Decoder(Limits).decode


class PostgresKeys:
    """See ports.Keys. `ask` runs one statement and commits it."""

    def __init__(self, ask: Callable[..., Awaitable[list[asyncpg.Record]]]) -> None:
        self._ask = ask

    async def add(self, key: Key) -> None:
        await self._ask(
            f"INSERT INTO api_keys ({_KEY}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (id) DO NOTHING",
            *(key.id, key.account, key.label, " ".join(sorted(key.scopes)), key.digest, _encode(key.limits)),
            *(key.created_at, key.used_at, key.revoked_at),
        )

    async def active(self) -> list[Key] | None:
        rows = await self._ask(f"SELECT {_KEY} FROM api_keys WHERE revoked_at IS NULL")
        if not rows and not await self._ask("SELECT 1 FROM api_keys LIMIT 1"):
            return None
        return [_key(row) for row in rows]

    async def page(self, limit: int) -> list[Key]:
        sql = f"SELECT {_KEY} FROM api_keys ORDER BY created_at DESC, id LIMIT $1"
        return [_key(row) for row in await self._ask(sql, limit)]

    async def revoke(self, key_id: KeyId, now: Millis) -> Key | None:
        sql = f"UPDATE api_keys SET revoked_at = coalesce(revoked_at, $1) WHERE id = $2 RETURNING {_KEY}"
        rows = await self._ask(sql, now, key_id)
        return _key(rows[0]) if rows else None

    async def touch(self, used: Mapping[KeyId, Millis]) -> None:
        await self._ask(_TOUCH, list(used), list(used.values()))

    async def add_ticket(self, ticket: Ticket, now: Millis) -> None:
        await self._ask("DELETE FROM stream_tickets WHERE expires_at <= $1", now)
        sql = "INSERT INTO stream_tickets (digest, key_id, expires_at) VALUES ($1, $2, $3)"
        await self._ask(sql, ticket.digest, ticket.key_id, ticket.expires_at)

    async def take_ticket(self, digest: bytes, now: Millis) -> Ticket | None:
        sql = "DELETE FROM stream_tickets WHERE digest = $1 AND expires_at > $2 RETURNING digest, key_id, expires_at"
        rows = await self._ask(sql, digest, now)
        return Ticket(*rows[0]) if rows else None


def _key(row: asyncpg.Record) -> Key:
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

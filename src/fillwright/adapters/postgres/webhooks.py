"""Webhooks and their deliveries in PostgreSQL.

Decides: their statements; each is one transaction, by the database's clock. Must never: let a secret out of a row but
into a `Secret`, or let two processes take one delivery while a lease lives.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import asyncpg
import msgspec

from fillwright.adapters.postgres.batch import NOW_MS
from fillwright.adapters.webhook_rows import DELIVERY, HOOK, HOOK_SIZE, delivery_of, webhook_of
from fillwright.ports import Due, Follower, Place
from fillwright.webhooks import Delivery, Message, Outcome, State, Webhook, WebhookId

_ONE_BY_ONE: Final = "SELECT pg_advisory_xact_lock(hashtextextended('webhooks of ' || $1, 0))"
_BY_KEY: Final = f"SELECT {HOOK} FROM webhooks w WHERE w.account = $1 AND w.idempotency_key = $2"
_ADD: Final = (
    "INSERT INTO webhooks AS w (id, account, url, events, description, secrets, off, failing_since, created_at,"
    " idempotency_key, fingerprint, revision, place_transaction, place_id)"
    " SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14"
    " WHERE (SELECT count(*) FROM webhooks WHERE account = $2) < $15"
    f" ON CONFLICT (account, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING RETURNING {HOOK}"
)
_CHANGE: Final = (
    "UPDATE webhooks SET url = $1, events = $2, description = $3, secrets = $4, off = $5, failing_since = $6,"
    " revision = revision + 1, place_transaction = coalesce($7, place_transaction), place_id = coalesce($8, place_id)"
    " WHERE account = $9 AND id = $10 AND revision = $11 RETURNING 1"
)
_REWIND: Final = (
    "UPDATE webhooks SET place_transaction = $3, place_id = $4 WHERE account = $1 AND id = $2"
    " AND (place_transaction, place_id) > ($3::bigint, $4::bigint)"
)
_FOLLOWING: Final = (
    f"SELECT w.place_transaction, w.place_id, {HOOK} FROM webhooks w WHERE w.off IS NULL AND NOT EXISTS (SELECT 1"
    " FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.due_at IS NOT NULL OFFSET $1) ORDER BY w.id"
)
# What is being sent just now need not be sent once more.
_KEEP: Final = (
    "INSERT INTO webhook_deliveries (id, webhook_id, type, order_id, seq, created_at, due_at)"
    f" SELECT m.id, w.id, m.type, m.order_id, m.seq, {NOW_MS}, {NOW_MS}"
    " FROM unnest({arrays}) WITH ORDINALITY AS m (id, webhook_id, type, order_id, seq, nth)"
    " JOIN {hooks} w ON w.id = m.webhook_id ORDER BY m.nth"
    " ON CONFLICT (id) DO UPDATE SET state = 'waiting', tries = 0, due_at = excluded.due_at"
    " WHERE coalesce(webhook_deliveries.leased_until, 0) <= excluded.due_at"
)
_ADVANCE: Final = (
    "WITH moved AS (UPDATE webhooks SET place_transaction = $4, place_id = $5 WHERE id = ANY($1::text[])"
    " AND off IS NULL AND (place_transaction, place_id) = ($2::bigint, $3::bigint) RETURNING id) "
    + _KEEP.format(arrays="$6::text[], $7::text[], $8::text[], $9::text[], $10::integer[]", hooks="moved")
)
_PUT: Final = _KEEP.format(arrays="$1::text[], $2::text[], $3::text[], $4::text[], $5::integer[]", hooks="webhooks")
_REVIVE: Final = (
    f"UPDATE webhook_deliveries SET state = 'waiting', tries = 0, due_at = {NOW_MS} WHERE webhook_id ="
    " (SELECT id FROM webhooks WHERE account = $1 AND id = $2) AND state IN ('failed', 'waiting')"
    f" AND coalesce(leased_until, 0) <= {NOW_MS} RETURNING 1"
)
_DELIVERIES: Final = (
    f"SELECT {DELIVERY} FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id"
    " WHERE w.account = $1 AND w.id = $2 AND ($3::bigint IS NULL OR d.number < $3) ORDER BY d.number DESC LIMIT $4"
)
# Each webhook's own few, so that a long queue of one does not hide the others; what another process is just taking is
# passed over.
_TAKE: Final = (
    "WITH due AS MATERIALIZED (SELECT d.number FROM webhooks w CROSS JOIN LATERAL (SELECT number, due_at"
    f" FROM webhook_deliveries WHERE webhook_id = w.id AND due_at <= {NOW_MS} ORDER BY due_at, number"
    " LIMIT $2 FOR UPDATE SKIP LOCKED) d"
    " WHERE w.off IS NULL AND w.id <> ALL ($3::text[]) ORDER BY d.due_at, d.number LIMIT $1)"
    f" UPDATE webhook_deliveries d SET claim = claim + 1, tries = tries + 1, tried_at = {NOW_MS},"
    f" due_at = {NOW_MS} + $4, leased_until = {NOW_MS} + $4 FROM due, webhooks w"
    f" WHERE d.number = due.number AND w.id = d.webhook_id RETURNING {HOOK}, {DELIVERY}"
)
# The parts of one statement see the rows as they were before it: each changes rows that the others leave alone.
_SETTLE: Final = (
    "WITH settled AS (UPDATE webhook_deliveries SET state = $3, status = $4, error = $5,"
    f" due_at = {NOW_MS} + $6::bigint, leased_until = NULL WHERE number = $1 AND claim = $2 RETURNING webhook_id),"
    " recovered AS (UPDATE webhooks w SET failing_since = NULL FROM settled s WHERE w.id = s.webhook_id AND $7::boolean"
    " AND w.failing_since IS NOT NULL RETURNING w.id),"
    f" hurried AS (UPDATE webhook_deliveries d SET due_at = {NOW_MS} FROM recovered r WHERE d.webhook_id = r.id"
    f" AND d.number <> $1 AND d.due_at > {NOW_MS} AND d.leased_until IS NULL),"
    f" failing AS (UPDATE webhooks w SET failing_since = coalesce(w.failing_since, {NOW_MS}),"
    " off = coalesce(w.off, CASE WHEN $8::boolean THEN 'gone' WHEN w.failing_since <="
    f" {NOW_MS} - $9::bigint THEN 'failing' END),"
    " revision = w.revision + CASE WHEN w.off IS NULL AND ($8::boolean OR (w.failing_since <="
    f" {NOW_MS} - $9::bigint) IS TRUE) THEN 1 ELSE 0 END"
    " FROM settled s, webhooks before WHERE w.id = s.webhook_id AND before.id = w.id AND NOT $7::boolean"
    f" RETURNING before.off AS off_before, {HOOK})"
    " SELECT * FROM failing WHERE off IS NOT NULL AND off_before IS NULL"
)
_OLDEST: Final = (
    f"SELECT {NOW_MS} - d.created_at FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id"
    " WHERE d.due_at IS NOT NULL AND w.off IS NULL ORDER BY d.created_at LIMIT 1"
)
_FORGET: Final = (
    "DELETE FROM webhook_deliveries WHERE number IN (SELECT d.number FROM webhook_deliveries d JOIN webhooks w"
    f" ON w.id = d.webhook_id WHERE d.created_at < {NOW_MS} - $1::bigint AND (d.due_at IS NULL OR w.off IS NOT NULL)"
    " LIMIT $2) RETURNING 1"
)
_encode: Final = msgspec.json.Encoder().encode
Ask = Callable[..., Awaitable[list[asyncpg.Record]]]


class PostgresWebhooks:
    """See ports.Webhooks. `ask` runs one statement and commits it; `ask_after` runs another one before it, in the same
    transaction."""

    def __init__(self, ask: Ask, ask_after: Callable[..., Awaitable[list[asyncpg.Record]]]) -> None:
        self._ask = ask
        self._ask_after = ask_after

    # --- webhooks -----------------------------------------------------------------------------------------

    async def add(self, webhook: Webhook, place: Place, limit: int) -> Webhook | None:
        values = (
            *(webhook.id, webhook.account, webhook.url, " ".join(sorted(webhook.events)), webhook.description),
            *(_encode(webhook.secrets), webhook.off, webhook.failing_since, webhook.created_at),
            *(webhook.idempotency_key, webhook.fingerprint, webhook.revision, place.transaction, place.id, limit),
        )
        rows = await self._ask_after((_ONE_BY_ONE, webhook.account), _ADD, *values)
        if not rows and webhook.idempotency_key is not None:
            rows = await self._ask(_BY_KEY, webhook.account, webhook.idempotency_key)
        return webhook_of(rows[0]) if rows else None

    async def of(self, account: str) -> list[Webhook]:
        sql = f"SELECT {HOOK} FROM webhooks w WHERE w.account = $1 ORDER BY w.created_at, w.id"
        return [webhook_of(row) for row in await self._ask(sql, account)]

    async def get(self, account: str, webhook_id: WebhookId) -> Webhook | None:
        sql = f"SELECT {HOOK} FROM webhooks w WHERE w.account = $1 AND w.id = $2"
        rows = await self._ask(sql, account, webhook_id)
        return webhook_of(rows[0]) if rows else None

    async def change(self, after: Webhook, place: Place | None = None) -> bool:
        values = (
            *(after.url, " ".join(sorted(after.events)), after.description, _encode(after.secrets), after.off),
            *(after.failing_since, place and place.transaction, place and place.id),
            *(after.account, after.id, after.revision),
        )
        return bool(await self._ask(_CHANGE, *values))

    async def remove(self, account: str, webhook_id: WebhookId) -> bool:
        sql = "DELETE FROM webhooks WHERE account = $1 AND id = $2 RETURNING 1"
        return bool(await self._ask(sql, account, webhook_id))

    async def rewind(self, account: str, webhook_id: WebhookId, place: Place) -> None:
        await self._ask(_REWIND, account, webhook_id, place.transaction, place.id)

    # --- deliveries ---------------------------------------------------------------------------------------

    async def following(self, waiting_max: int) -> list[Follower]:
        rows = await self._ask(_FOLLOWING, waiting_max - 1)
        return [Follower(webhook_of(row), Place(transaction, number)) for transaction, number, *row in rows]

    async def advance(
        self, webhook_ids: Sequence[WebhookId], before: Place, after: Place, messages: Sequence[Message]
    ) -> None:
        places = (before.transaction, before.id, after.transaction, after.id)
        await self._ask(_ADVANCE, list(webhook_ids), *places, *_arrays(messages))

    async def put(self, messages: Sequence[Message]) -> None:
        await self._ask(_PUT, *_arrays(messages))

    async def revive(self, account: str, webhook_id: WebhookId) -> int:
        return len(await self._ask(_REVIVE, account, webhook_id))

    async def deliveries(
        self, account: str, webhook_id: WebhookId, limit: int, before: int | None = None
    ) -> list[Delivery]:
        return [delivery_of(row) for row in await self._ask(_DELIVERIES, account, webhook_id, before, limit)]

    async def take(self, limit: int, each: int, without: Sequence[WebhookId], lease_s: float) -> list[Due]:
        rows = await self._ask(_TAKE, limit, each, list(without), round(lease_s * 1_000))
        taken = [Due(delivery_of(tuple(row)[HOOK_SIZE:]), webhook_of(tuple(row)[:HOOK_SIZE])) for row in rows]
        return sorted(taken, key=lambda due: due.delivery.number)

    async def settle(self, delivery: Delivery, outcome: Outcome, failing_s_max: int) -> Webhook | None:
        pause_s = outcome.again_after_s
        state = State.DELIVERED if outcome.delivered else State.FAILED if pause_s is None else State.WAITING
        pause_ms = None if pause_s is None else round(pause_s * 1_000)
        rows = await self._ask(
            _SETTLE,
            *(delivery.number, delivery.claim, state, outcome.status, outcome.error, pause_ms),
            *(outcome.delivered, outcome.gone, failing_s_max * 1_000),
        )
        return webhook_of(tuple(rows[0])[1:]) if rows else None

    async def oldest_s(self) -> float:
        rows = await self._ask(_OLDEST)
        return max(0, rows[0][0]) / 1_000 if rows else 0.0

    async def forget(self, older_than_s: float, limit: int) -> int:
        return len(await self._ask(_FORGET, round(older_than_s * 1_000), limit))


def _arrays(messages: Sequence[Message]) -> tuple[list[Any], ...]:
    return (
        [each.id for each in messages],
        [each.webhook_id for each in messages],
        [each.type for each in messages],
        [each.order_id for each in messages],
        [each.seq for each in messages],
    )

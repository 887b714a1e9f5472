"""Webhooks and their deliveries in SQLite: a part of the embedded store.

Decides: their statements; each method that changes something is one transaction, shared with other calls of the store.
Must never: let a secret out of a row but into a `Secret`, or settle a delivery that somebody else has taken since.
"""

import json
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec

from fillwright.adapters.webhook_rows import DELIVERY, HOOK, HOOK_SIZE, delivery_of, webhook_of
from fillwright.ports import Clock, Due, Follower, Place
from fillwright.webhooks import Delivery, Message, Outcome, State, Webhook, WebhookId

_FOLLOWING: Final = (
    f"SELECT w.place_transaction, w.place_id, {HOOK} FROM webhooks w WHERE w.off IS NULL AND NOT EXISTS (SELECT 1"
    " FROM webhook_deliveries d WHERE d.webhook_id = w.id AND d.due_at IS NOT NULL LIMIT 1 OFFSET ?) ORDER BY w.id"
)
_ADD: Final = (
    "INSERT INTO webhooks (id, account, url, events, description, secrets, off, failing_since, created_at,"
    " idempotency_key, fingerprint, revision, place_transaction, place_id)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_CHANGE: Final = (
    "UPDATE webhooks SET url = ?, events = ?, description = ?, secrets = ?, off = ?, failing_since = ?,"
    " revision = revision + 1, place_transaction = coalesce(?, place_transaction), place_id = coalesce(?, place_id)"
    " WHERE account = ? AND id = ? AND revision = ?"
)
_REWIND: Final = (
    "UPDATE webhooks SET place_transaction = :transaction, place_id = :id WHERE account = :account"
    " AND id = :webhook AND (place_transaction, place_id) > (:transaction, :id)"
)
_ADVANCE: Final = (
    "UPDATE webhooks SET place_transaction = :to_transaction, place_id = :to_id"
    " WHERE id IN (SELECT value FROM json_each(:ids)) AND off IS NULL"
    " AND (place_transaction, place_id) = (:transaction, :place) RETURNING id"
)
_PUT: Final = (  # what is being sent just now need not be sent once more
    "INSERT INTO webhook_deliveries (id, webhook_id, type, order_id, seq, created_at, due_at)"
    " SELECT :id, w.id, :type, :order_id, :seq, :now, :now FROM webhooks w WHERE w.id = :webhook"
    " ON CONFLICT (id) DO UPDATE SET state = 'waiting', tries = 0, due_at = excluded.due_at"
    " WHERE coalesce(leased_until, 0) <= :now"
)
_REVIVE: Final = (
    "UPDATE webhook_deliveries SET state = 'waiting', tries = 0, due_at = :now WHERE webhook_id ="
    " (SELECT id FROM webhooks WHERE account = :account AND id = :webhook) AND state IN ('failed', 'waiting')"
    " AND coalesce(leased_until, 0) <= :now"
)
_DUE: Final = (  # each webhook's own few, so that a long queue of one does not hide the others
    "SELECT d.number FROM webhooks w CROSS JOIN webhook_deliveries d ON d.number IN (SELECT number FROM"
    " webhook_deliveries WHERE webhook_id = w.id AND due_at <= ? ORDER BY due_at, number LIMIT ?)"
    " WHERE w.off IS NULL AND w.id NOT IN (SELECT value FROM json_each(?)) ORDER BY d.due_at, d.number LIMIT ?"
)
_TAKE: Final = (
    "UPDATE webhook_deliveries SET claim = claim + 1, tries = tries + 1, tried_at = :now, due_at = :until,"
    " leased_until = :until WHERE number = :number"
)
_TAKEN: Final = (
    f"SELECT {HOOK}, {DELIVERY} FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id WHERE d.number = ?"
)
_SETTLE: Final = (
    "UPDATE webhook_deliveries SET state = :state, status = :status, error = :error, due_at = :due_at,"
    " leased_until = NULL WHERE number = :number AND claim = :claim"
)
_RECOVERED: Final = "UPDATE webhooks SET failing_since = NULL WHERE id = ? AND failing_since IS NOT NULL"
_AT_ONCE: Final = (
    "UPDATE webhook_deliveries SET due_at = :now WHERE webhook_id = :webhook AND due_at > :now AND leased_until IS NULL"
)
_FAILING: Final = "UPDATE webhooks SET failing_since = coalesce(failing_since, ?) WHERE id = ?"
_DISABLE: Final = (
    "UPDATE webhooks SET off = CASE WHEN :gone THEN 'gone' ELSE 'failing' END, revision = revision + 1"
    " WHERE id = :webhook AND off IS NULL AND (:gone OR failing_since <= :since)"
)
_OLDEST: Final = (
    "SELECT d.created_at FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id"
    " WHERE d.due_at IS NOT NULL AND w.off IS NULL ORDER BY d.created_at LIMIT 1"
)
_FORGET: Final = (
    "DELETE FROM webhook_deliveries WHERE number IN (SELECT d.number FROM webhook_deliveries d JOIN webhooks w"
    " ON w.id = d.webhook_id WHERE d.created_at < ? AND (d.due_at IS NULL OR w.off IS NOT NULL) LIMIT ?)"
)
_encode: Final = msgspec.json.Encoder().encode


class SqliteWebhooks:
    """See ports.Webhooks. Its calls share the store's transactions and its threads."""

    def __init__(
        self,
        read: Callable[[str, Any], Awaitable[list[tuple[Any, ...]]]],
        write: Callable[[Callable[[], Any]], Awaitable[Any]],
        writer: sqlite3.Connection,
        clock: Clock,
    ) -> None:
        self._read = read
        self._write = write
        self._writer = writer
        self._clock = clock

    # --- webhooks -----------------------------------------------------------------------------------------

    async def add(self, webhook: Webhook, place: Place, limit: int) -> Webhook | None:
        found: Webhook | None = await self._write(lambda: self._add(webhook, place, limit))
        return found

    async def of(self, account: str) -> list[Webhook]:
        sql = f"SELECT {HOOK} FROM webhooks w WHERE w.account = ? ORDER BY w.created_at, w.id"
        return [webhook_of(row) for row in await self._read(sql, (account,))]

    async def get(self, account: str, webhook_id: WebhookId) -> Webhook | None:
        sql = f"SELECT {HOOK} FROM webhooks w WHERE w.account = ? AND w.id = ?"
        rows = await self._read(sql, (account, webhook_id))
        return webhook_of(rows[0]) if rows else None

    async def change(self, after: Webhook, place: Place | None = None) -> bool:
        values = (
            *(after.url, " ".join(sorted(after.events)), after.description, _encode(after.secrets), after.off),
            *(after.failing_since, place and place.transaction, place and place.id),
            *(after.account, after.id, after.revision),
        )
        return bool(await self._change(_CHANGE, values))

    async def remove(self, account: str, webhook_id: WebhookId) -> bool:
        return bool(await self._change("DELETE FROM webhooks WHERE account = ? AND id = ?", (account, webhook_id)))

    async def rewind(self, account: str, webhook_id: WebhookId, place: Place) -> None:
        values = {"account": account, "webhook": webhook_id, "transaction": place.transaction, "id": place.id}
        await self._change(_REWIND, values)

    # --- deliveries ---------------------------------------------------------------------------------------

    async def following(self, waiting_max: int) -> list[Follower]:
        rows = await self._read(_FOLLOWING, (waiting_max - 1,))
        return [Follower(webhook_of(row), Place(transaction, number)) for transaction, number, *row in rows]

    async def advance(
        self, webhook_ids: Sequence[WebhookId], before: Place, after: Place, messages: Sequence[Message]
    ) -> None:
        await self._write(lambda: self._advance(webhook_ids, before, after, messages))

    async def put(self, messages: Sequence[Message]) -> None:
        await self._write(lambda: self._put(messages))

    async def revive(self, account: str, webhook_id: WebhookId) -> int:
        return await self._change(_REVIVE, {"account": account, "webhook": webhook_id, "now": self._clock.now()})

    async def deliveries(
        self, account: str, webhook_id: WebhookId, limit: int, before: int | None = None
    ) -> list[Delivery]:
        sql = (
            f"SELECT {DELIVERY} FROM webhook_deliveries d JOIN webhooks w ON w.id = d.webhook_id"
            " WHERE w.account = ?1 AND w.id = ?2 AND (?3 IS NULL OR d.number < ?3) ORDER BY d.number DESC LIMIT ?4"
        )
        return [delivery_of(row) for row in await self._read(sql, (account, webhook_id, before, limit))]

    async def take(self, limit: int, each: int, without: Sequence[WebhookId], lease_s: float) -> list[Due]:
        values = (self._clock.now(), each, json.dumps(list(without)), limit)
        if not await self._read(_DUE, values):  # a look costs less than a transaction
            return []
        taken: list[Due] = await self._write(lambda: self._take(values, lease_s))
        return taken

    async def settle(self, delivery: Delivery, outcome: Outcome, failing_s_max: int) -> Webhook | None:
        disabled: Webhook | None = await self._write(lambda: self._settle(delivery, outcome, failing_s_max))
        return disabled

    async def oldest_s(self) -> float:
        rows = await self._read(_OLDEST, ())
        return max(0, self._clock.now() - rows[0][0]) / 1_000 if rows else 0.0

    async def forget(self, older_than_s: float, limit: int) -> int:
        return await self._change(_FORGET, (self._clock.now() - round(older_than_s * 1_000), limit))

    # --- statements, each all or nothing within the transaction of its batch ------------------------------

    def _add(self, webhook: Webhook, place: Place, limit: int) -> Webhook | None:
        if webhook.idempotency_key is not None:
            by_key = f"SELECT {HOOK} FROM webhooks w WHERE w.account = ? AND w.idempotency_key = ?"
            row = self._writer.execute(by_key, (webhook.account, webhook.idempotency_key)).fetchone()
            if row is not None:
                return webhook_of(row)
        count = "SELECT count(*) FROM webhooks WHERE account = ?"
        if self._writer.execute(count, (webhook.account,)).fetchone()[0] >= limit:
            return None
        values = (
            *(webhook.id, webhook.account, webhook.url, " ".join(sorted(webhook.events)), webhook.description),
            *(_encode(webhook.secrets), webhook.off, webhook.failing_since, webhook.created_at),
            *(webhook.idempotency_key, webhook.fingerprint, webhook.revision, place.transaction, place.id),
        )
        self._writer.execute(_ADD, values)
        return webhook

    def _advance(
        self, webhook_ids: Sequence[WebhookId], before: Place, after: Place, messages: Sequence[Message]
    ) -> None:
        values = {
            "ids": json.dumps(list(webhook_ids)),
            "transaction": before.transaction,
            "place": before.id,
            "to_transaction": after.transaction,
            "to_id": after.id,
        }
        moved = {row[0] for row in self._writer.execute(_ADVANCE, values).fetchall()}
        self._put([message for message in messages if message.webhook_id in moved])

    def _put(self, messages: Sequence[Message]) -> None:
        now = self._clock.now()
        rows = [
            {
                "id": each.id,
                "webhook": each.webhook_id,
                "type": each.type,
                "order_id": each.order_id,
                "seq": each.seq,
                "now": now,
            }
            for each in messages
        ]
        self._writer.executemany(_PUT, rows)

    def _take(self, values: Sequence[Any], lease_s: float) -> list[Due]:
        now = self._clock.now()
        until = now + round(lease_s * 1_000)
        taken = []
        for (number,) in self._writer.execute(_DUE, values).fetchall():
            self._writer.execute(_TAKE, {"now": now, "until": until, "number": number})
            row = self._writer.execute(_TAKEN, (number,)).fetchone()
            taken.append(Due(delivery_of(row[HOOK_SIZE:]), webhook_of(row[:HOOK_SIZE])))
        return taken

    def _settle(self, delivery: Delivery, outcome: Outcome, failing_s_max: int) -> Webhook | None:
        now, webhook_id = self._clock.now(), delivery.message.webhook_id
        pause_s = outcome.again_after_s
        state = State.DELIVERED if outcome.delivered else State.FAILED if pause_s is None else State.WAITING
        settled = {
            "state": state,
            "status": outcome.status,
            "error": outcome.error,
            "due_at": None if pause_s is None else now + round(pause_s * 1_000),
            "number": delivery.number,
            "claim": delivery.claim,
        }
        if not self._writer.execute(_SETTLE, settled).rowcount:
            return None
        if outcome.delivered:
            if self._writer.execute(_RECOVERED, (webhook_id,)).rowcount:
                self._writer.execute(_AT_ONCE, {"now": now, "webhook": webhook_id})
            return None
        self._writer.execute(_FAILING, (now, webhook_id))
        why = {"gone": outcome.gone, "webhook": webhook_id, "since": now - failing_s_max * 1_000}
        if not self._writer.execute(_DISABLE, why).rowcount:
            return None
        return webhook_of(
            self._writer.execute(f"SELECT {HOOK} FROM webhooks w WHERE w.id = ?", (webhook_id,)).fetchone()
        )

    async def _change(self, sql: str, values: Any) -> int:
        """Rows that one statement changed."""
        count: int = await self._write(lambda: self._writer.execute(sql, values).rowcount)
        return count

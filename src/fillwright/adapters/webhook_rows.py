"""A webhook and a delivery as rows of a store: the same columns, in the same order, in every database.

Decides: which column stands where. Must never: let a secret out of a row but into a `Secret`.
"""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from fillwright.units import OrderId
from fillwright.webhooks import Delivery, Message, MessageId, Off, Secret, State, Webhook, WebhookId

HOOK: Final = (
    "w.id, w.account, w.url, w.events, w.description, w.secrets, w.off, w.failing_since, w.created_at,"
    " w.idempotency_key, w.fingerprint, w.revision"
)
"""What `webhook_of` reads, from `webhooks w`."""
HOOK_SIZE: Final = 12
DELIVERY: Final = (
    "d.id, d.webhook_id, d.type, d.order_id, d.seq, d.number, d.claim, d.state, d.tries, d.status, d.error,"
    " d.created_at, d.tried_at, d.due_at"
)
"""What `delivery_of` reads, from `webhook_deliveries d`."""
_secrets_of: Final = msgspec.json.Decoder(tuple[Secret, ...]).decode


def webhook_of(row: Iterable[Any]) -> Webhook:
    webhook_id, account, url, events, description, secrets, off, failing, created_at, key, fingerprint, revision = row
    return Webhook(
        id=WebhookId(webhook_id),
        account=account,
        url=url,
        events=frozenset(events.split()),
        description=description,
        secrets=_secrets_of(secrets),
        off=None if off is None else Off(off),
        failing_since=failing,
        created_at=created_at,
        idempotency_key=key,
        fingerprint=fingerprint,
        revision=revision,
    )


def delivery_of(row: Iterable[Any]) -> Delivery:
    message_id, webhook_id, kind, order_id, seq, number, claim, state, tries, status, error, *times = row
    created_at, tried_at, due_at = times
    order = None if order_id is None else OrderId(order_id)
    return Delivery(
        message=Message(MessageId(message_id), WebhookId(webhook_id), kind, order, seq),
        number=number,
        claim=claim,
        state=State(state),
        tries=tries,
        status=status,
        error=error,
        created_at=created_at,
        tried_at=tried_at,
        due_at=due_at,
    )

"""An account's webhooks, as it manages them.

Decides: what making, changing, rotating, testing and replaying one means. Must never: send anything itself; what is to
be sent is stored, and a courier takes it out.
"""

from collections.abc import Callable
from hashlib import sha256
from typing import Final

import msgspec

from fillwright.errors import Code, FillwrightError
from fillwright.executor import Executor
from fillwright.order import replay
from fillwright.ports import Entropy, Webhooks
from fillwright.units import Millis, OrderId
from fillwright.webhooks import (
    WEBHOOKS_MAX,
    Delivery,
    MessageId,
    Off,
    Webhook,
    WebhookId,
    check_url,
    message_of,
    new_id,
    new_secret,
    ping_of,
    rotated,
)

_CHANGES_MAX: Final = 10
"""Others who change the same webhook at the same moment."""
change: Final = msgspec.structs.replace


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as it is asked for."""

    url: str
    events: frozenset[str] = frozenset()
    description: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be different; None: nothing."""

    url: str | None = None
    events: frozenset[str] | None = None
    description: str | None = None
    enabled: bool | None = None


class Subscribers:
    """Every method is about one account; another one's webhooks do not exist for it.

    Each may raise FillwrightError: WEBHOOK_NOT_FOUND where it names one, STORE_UNAVAILABLE.
    """

    def __init__(self, executor: Executor, webhooks: Webhooks, entropy: Entropy, *, allow_private: bool) -> None:
        self._store = executor.store
        self._clock = executor.clock
        self._webhooks = webhooks
        self._entropy = entropy
        self._allow_private = allow_private

    async def add(self, account: str, wish: Wish, idempotency_key: str | None) -> tuple[Webhook, bool]:
        """A webhook that is told every event from now on, and whether it is new: a key names one as long as it exists.

        Raises FillwrightError: WEBHOOK_URL_REFUSED; WEBHOOK_LIMIT; IDEMPOTENCY_KEY_REUSED for another wish.
        """
        check_url(wish.url, allow_private=self._allow_private)
        asked = Webhook(
            id=new_id(self._entropy),
            account=account,
            url=wish.url,
            events=wish.events,
            description=wish.description,
            secrets=(new_secret(self._entropy),),
            off=None,
            failing_since=None,
            created_at=self._clock.now(),
            idempotency_key=idempotency_key,
            fingerprint=_fingerprint(wish),
        )
        webhook = await self._webhooks.add(asked, await self._store.log_end(), WEBHOOKS_MAX)
        if webhook is None:
            raise FillwrightError(
                Code.WEBHOOK_LIMIT, f"an account has at most {WEBHOOKS_MAX} webhooks; delete one first"
            )
        if webhook.fingerprint != asked.fingerprint:
            raise FillwrightError(Code.IDEMPOTENCY_KEY_REUSED, "this idempotency key was used for another request")
        return webhook, webhook.id == asked.id

    async def all(self, account: str) -> list[Webhook]:
        """Oldest first."""
        return await self._webhooks.of(account)

    async def get(self, account: str, webhook_id: WebhookId) -> Webhook:
        webhook = await self._webhooks.get(account, webhook_id)
        if webhook is None:
            raise FillwrightError(Code.WEBHOOK_NOT_FOUND, "no such webhook")
        return webhook

    async def change(self, account: str, webhook_id: WebhookId, asked: Change) -> Webhook:
        """One that is enabled again is told what happens from then on. Raises FillwrightError(WEBHOOK_URL_REFUSED)."""
        if asked.url is not None:
            check_url(asked.url, allow_private=self._allow_private)
        return await self._changed(account, webhook_id, lambda before: _changed(before, asked))

    async def rotate(self, account: str, webhook_id: WebhookId) -> Webhook:
        """A new secret is in force; the one before it signs beside it for a day."""
        fresh, now = new_secret(self._entropy), self._clock.now()
        return await self._changed(
            account, webhook_id, lambda before: change(before, secrets=rotated(before.secrets, fresh, now))
        )

    async def remove(self, account: str, webhook_id: WebhookId) -> None:
        if not await self._webhooks.remove(account, webhook_id):
            raise FillwrightError(Code.WEBHOOK_NOT_FOUND, "no such webhook")

    # --- messages -----------------------------------------------------------------------------------------

    async def deliveries(
        self, account: str, webhook_id: WebhookId, limit: int, before: int | None = None
    ) -> list[Delivery]:
        """Newest first, from before that number on."""
        await self.get(account, webhook_id)
        return await self._webhooks.deliveries(account, webhook_id, limit, before)

    async def ping(self, account: str, webhook_id: WebhookId) -> MessageId:
        """A message that tells nothing, to test the way. Raises FillwrightError(WEBHOOK_DISABLED)."""
        message = ping_of(await self._enabled(account, webhook_id), self._entropy)
        await self._webhooks.put([message])
        return message.id

    async def replay_order(self, account: str, webhook_id: WebhookId, order_id: OrderId) -> int:
        """Send again all that was to be told of this order. How many.

        Raises FillwrightError: ORDER_NOT_FOUND, WEBHOOK_DISABLED.
        """
        webhook = await self._enabled(account, webhook_id)
        history = replay(order_id, account, await self._store.history(account, order_id))
        if not history:
            raise FillwrightError(Code.ORDER_NOT_FOUND, "no such order")
        messages = [
            message_of(webhook, order_id, each.order.seq, each.order.status)
            for each in history
            if webhook.wants(each.order.status, str(each.event.__struct_config__.tag))
        ]
        await self._webhooks.put(messages)
        return len(messages)

    async def replay_since(self, account: str, webhook_id: WebhookId, at: Millis) -> None:
        """Tell all events from then on again, perhaps with a few earlier ones. They are read from the log by and by.

        Raises FillwrightError(WEBHOOK_DISABLED).
        """
        await self._enabled(account, webhook_id)
        await self._webhooks.rewind(account, webhook_id, await self._store.log_since(at))

    async def replay_failed(self, account: str, webhook_id: WebhookId) -> int:
        """Send at once what failed or waits for another try. How many. Raises FillwrightError(WEBHOOK_DISABLED)."""
        await self._enabled(account, webhook_id)
        return await self._webhooks.revive(account, webhook_id)

    # --- parts --------------------------------------------------------------------------------------------

    async def _enabled(self, account: str, webhook_id: WebhookId) -> Webhook:
        webhook = await self.get(account, webhook_id)
        if webhook.off is not None:
            raise FillwrightError(Code.WEBHOOK_DISABLED, f"it is disabled ({webhook.off}); enable it first")
        return webhook

    async def _changed(self, account: str, webhook_id: WebhookId, to: Callable[[Webhook], Webhook]) -> Webhook:
        """The compare-and-set, again for as long as others are faster."""
        for _ in range(_CHANGES_MAX):
            before = await self.get(account, webhook_id)
            after = to(before)
            again = before.off is not None and after.off is None
            if await self._webhooks.change(after, await self._store.log_end() if again else None):
                return change(after, revision=after.revision + 1)
        raise FillwrightError(Code.STORE_CONFLICT, "others are changing this webhook; try again")


def _changed(before: Webhook, asked: Change) -> Webhook:
    off, failing_since = before.off, before.failing_since
    if asked.enabled is not None:
        off = None if asked.enabled else before.off or Off.ASKED
        failing_since = None if before.off and asked.enabled else failing_since
    return change(
        before,
        url=before.url if asked.url is None else asked.url,
        events=before.events if asked.events is None else asked.events,
        description=before.description if asked.description is None else asked.description,
        off=off,
        failing_since=failing_since,
    )


def _fingerprint(wish: Wish) -> bytes:
    return sha256(msgspec.json.encode([wish.url, sorted(wish.events), wish.description])).digest()

"""The courier: makes messages of what the log tells, and takes out those that are due.

Decides: when the log is read, how many messages are under way at once, in all and to one receiver, and for how long.
Must never: lose a message or trust a receiver. A message is stored before it is sent, in the transaction that moves its
webhook on in the log, and is done only once its receiver has said so.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

import msgspec

from fillwright.executor import Executor
from fillwright.order import replay
from fillwright.ports import Due, Entropy, Logged, Messenger, Place, Reply, Webhooks
from fillwright.units import Millis
from fillwright.webhooks import (
    FAILING_S_MAX,
    PING,
    Message,
    Outcome,
    Webhook,
    WebhookId,
    body_of,
    headers_of,
    message_of,
    outcome_of,
)
from fillwright.worker import Failure

SENDING_MAX: Final = 128
SENDING_EACH_MAX: Final = 4
"""To one webhook: all that an account may have, each with a receiver that never answers, leave room for others."""
LEASE_S: Final = 30.0
TRY_S_MAX: Final = 20.0
"""One try with all that belongs to it; well within the lease."""
WAITING_MAX: Final = 10_000
"""Deliveries of one webhook. Beyond them its place in the log stays where it is: the log is the longer queue."""
PAGE: Final = 1_000
POLL_S: Final = 0.25
STUMBLE_S: Final = 1.0
DRAIN_S: Final = 5.0
TIDY_EVERY_S: Final = 15.0
KEPT_S: Final = 7 * 24 * 60 * 60
"""How long deliveries that are over can be looked up."""
_FORGET_MAX: Final = 1_000


class Try(msgspec.Struct, frozen=True):
    """One try and what came of it: for the log and the metrics."""

    due: Due
    outcome: Outcome
    disabled: Webhook | None
    """The webhook, if this try was the last that it gets."""


class Courier:
    """One a process; `run` it. Several share the work."""

    def __init__(
        self,
        executor: Executor,
        webhooks: Webhooks,
        messenger: Messenger,
        entropy: Entropy,
        *,
        time_text: Callable[[Millis], str],
        tried: Callable[[Try], None],
        report: Callable[[Failure], None],
    ) -> None:
        self.oldest_s = 0.0
        """How long the oldest message has waited, as of lately."""
        self._executor = executor
        self._store = executor.store
        self._clock = executor.clock
        self._webhooks = webhooks
        self._messenger = messenger
        self._entropy = entropy
        self._time_text = time_text
        self._tried = tried
        self._report = report
        self._sending: dict[asyncio.Task[None], WebhookId] = {}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Take no more; `run` returns when what is under way is answered, or after DRAIN_S."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`. Cancelling it instead is safe at any moment, as a crash is."""
        async with asyncio.TaskGroup() as group:
            duties = [
                group.create_task(self._repeat("webhook log", POLL_S, self.follow)),
                group.create_task(self._repeat("webhook sending", 0, lambda: self._send_due(group))),
                group.create_task(self._repeat("webhook tidying", TIDY_EVERY_S, self._tidy)),
            ]
            await self._stopping.wait()
            for duty in duties:
                duty.cancel()
            if self._sending:
                _, left = await asyncio.wait(list(self._sending), timeout=DRAIN_S)
                for task in left:
                    task.cancel()

    # --- from the log to messages -------------------------------------------------------------------------

    async def follow(self) -> None:
        """Make messages of all that the log has now. Those at one place of the log go on together."""
        while await self._follow_on():
            pass

    async def _follow_on(self) -> bool:
        """A page for each. Whether there may be more."""
        places: dict[Place, list[Webhook]] = {}
        for follower in await self._webhooks.following(WAITING_MAX):
            places.setdefault(follower.place, []).append(follower.webhook)
        more = False
        for place, webhooks in sorted(places.items(), key=lambda item: item[0]):
            entries = await self._store.log(place, PAGE)
            if entries:
                ids = [webhook.id for webhook in webhooks]
                await self._webhooks.advance(ids, place, entries[-1].place, _messages(webhooks, entries))
            more = more or len(entries) == PAGE
        return more

    # --- from messages to receivers -----------------------------------------------------------------------

    async def _send_due(self, group: asyncio.TaskGroup) -> None:
        """As long as there is room, take what is due; then wait for some of it, or for what comes."""
        while (room := SENDING_MAX - len(self._sending)) > 0:
            each = SENDING_EACH_MAX // 2
            full = [webhook for webhook, count in Counter(self._sending.values()).items() if count > each]
            taken = await self._webhooks.take(room, each, full, LEASE_S)
            if not taken:
                break
            for due in taken:
                task = group.create_task(self._send(due))
                self._sending[task] = due.webhook.id
                task.add_done_callback(self._sending.pop)
        if self._sending:
            await asyncio.wait(list(self._sending), timeout=POLL_S, return_when=asyncio.FIRST_COMPLETED)
        else:
            await self._clock.sleep(POLL_S)

    async def _send(self, due: Due) -> None:
        try:
            async with asyncio.timeout(TRY_S_MAX):
                body = await self._body(due)
                reply = await self._post(due, body)
                outcome = outcome_of(reply.status, reply.error, due.delivery, self._entropy)
                disabled = await self._webhooks.settle(due.delivery, outcome, FAILING_S_MAX)
                self._tried(Try(due, outcome, disabled))
        except Exception as error:  # one message's failure is not the others': it is due again when its lease is over
            self._report(Failure("webhook", due.delivery.message.order_id, error))

    async def _post(self, due: Due, body: bytes) -> Reply:
        headers = headers_of(due.delivery.message.id, due.webhook.secrets, self._clock.now(), body)
        return await self._messenger.post(due.webhook.url, headers, body)

    async def _body(self, due: Due) -> bytes:
        """Made from the order's history, which never changes: the same for every try."""
        message, webhook = due.delivery.message, due.webhook
        if message.order_id is None or message.seq is None:
            data = msgspec.json.encode({"webhookId": webhook.id})
            return body_of(PING, self._time_text(due.delivery.created_at), data)
        history = await self._store.history(webhook.account, message.order_id)
        recorded = replay(message.order_id, webhook.account, history[: message.seq])[-1]
        happened = self._time_text(recorded.order.updated_at)
        return body_of(message.type, happened, self._executor.news_of(recorded).frame)

    # --- plumbing -----------------------------------------------------------------------------------------

    async def _tidy(self) -> None:
        self.oldest_s = await self._webhooks.oldest_s()
        while await self._webhooks.forget(KEPT_S, _FORGET_MAX) == _FORGET_MAX:
            pass

    async def _repeat(self, duty: str, every_s: float, once: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it for ever; a failure costs a pause, whatever it is: orders must not end with their messages."""
        while True:
            try:
                await once()
            except Exception as error:
                self._report(Failure(duty, None, error))
                await self._clock.sleep(STUMBLE_S)
            if every_s:
                await self._clock.sleep(every_s)


def _messages(webhooks: Sequence[Webhook], entries: Sequence[Logged]) -> list[Message]:
    """Of each entry for each webhook of its account that wants it."""
    return [
        message_of(webhook, entry.order_id, entry.seq, entry.status)
        for entry in entries
        for webhook in webhooks
        if webhook.account == entry.account and webhook.wants(entry.status, entry.event)
    ]

"""Queue, bus and clock of a single process.

Decides: how many hints and events may wait. Must never: hold what is not stored elsewhere; all of it may vanish.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from fillwright.order import Recorded
from fillwright.units import Millis, OrderId

_HINTS_MAX: Final = 100_000
_INBOX_MAX: Final = 4_096


class SystemClock:
    """The machine's time, read once: a later jump of its wall clock changes nothing here."""

    def __init__(self) -> None:
        self._epoch_at_zero = time.time() - time.monotonic()

    def now(self) -> Millis:
        return Millis(int((self._epoch_at_zero + time.monotonic()) * 1_000))

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class LocalQueue:
    """Order ids in memory. When full, a hint is forgotten: the sweep finds the order."""

    def __init__(self, hints_max: int = _HINTS_MAX) -> None:
        self._hints: deque[OrderId] = deque()
        self._hints_max = hints_max
        self._arrived = asyncio.Event()

    async def put(self, order_ids: Sequence[OrderId]) -> None:
        room = self._hints_max - len(self._hints)
        self._hints.extend(order_ids[:room])
        if self._hints:
            self._arrived.set()

    async def take(self, limit: int) -> list[OrderId]:
        while not self._hints:
            self._arrived.clear()
            await self._arrived.wait()
        return [self._hints.popleft() for _ in range(min(limit, len(self._hints)))]

    def depth(self) -> int:
        return len(self._hints)


class LocalInbox:
    """A bounded inbox. A reader that falls behind loses events, and is told (`overflowed`)."""

    def __init__(self, capacity: int) -> None:
        self.overflowed = False
        self._waiting: deque[Recorded] = deque()
        self._capacity = capacity
        self._arrived = asyncio.Event()

    def deliver(self, recorded: Recorded) -> None:
        if len(self._waiting) >= self._capacity:
            self.overflowed = True
            return
        self._waiting.append(recorded)
        self._arrived.set()

    async def next(self, within_s: float) -> Recorded | None:
        if not self._waiting:
            self._arrived.clear()
            try:
                async with asyncio.timeout(within_s):
                    await self._arrived.wait()
            except TimeoutError:
                return None
        return self._waiting.popleft()


class LocalBus:
    """Events to the subscribers of this process, by order or all."""

    def __init__(self, inbox_max: int = _INBOX_MAX) -> None:
        self._inboxes: dict[OrderId | None, set[LocalInbox]] = {None: set()}
        self._inbox_max = inbox_max

    async def publish(self, recorded: Sequence[Recorded]) -> None:
        for each in recorded:
            for inbox in self._inboxes.get(each.order.id, ()):
                inbox.deliver(each)
            for inbox in self._inboxes[None]:
                inbox.deliver(each)

    @asynccontextmanager
    async def subscribe(self, order_id: OrderId | None) -> AsyncIterator[LocalInbox]:
        inbox = LocalInbox(self._inbox_max)
        self._inboxes.setdefault(order_id, set()).add(inbox)
        try:
            yield inbox
        finally:
            self._inboxes[order_id].discard(inbox)
            if order_id is not None and not self._inboxes[order_id]:
                del self._inboxes[order_id]

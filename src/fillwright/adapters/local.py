"""Queue, bus, clock and entropy of a single process.

Decides: how many hints and events may wait. Must never: hold what is not stored elsewhere; all of it may vanish.
"""

import asyncio
import os
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from fillwright.adapters.inboxes import INBOX_MAX, Inbox, Inboxes
from fillwright.ports import News
from fillwright.units import Millis, OrderId

_HINTS_MAX: Final = 100_000
_ENTROPY_SIZE: Final = 512


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


class SystemEntropy:
    """The machine's random bytes, asked for in larger pieces: each question is a system call."""

    def __init__(self) -> None:
        self._bytes = b""

    def __call__(self, size: int, /) -> bytes:
        if len(self._bytes) < size:
            self._bytes = os.urandom(max(size, _ENTROPY_SIZE))
        drawn, self._bytes = self._bytes[:size], self._bytes[size:]
        return drawn


class LocalQueue:
    """Order ids in memory. When full, a hint is forgotten: the sweep finds the order."""

    def __init__(self, hints_max: int = _HINTS_MAX) -> None:
        self.dropped = 0
        self._hints: deque[OrderId] = deque()
        self._hints_max = hints_max
        self._arrived = asyncio.Event()

    async def put(self, order_ids: Sequence[OrderId]) -> None:
        room = self._hints_max - len(self._hints)
        self.dropped += max(len(order_ids) - room, 0)
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


class LocalBus:
    """Events to the subscribers of this process, by order or all."""

    dropped = 0
    """Nothing lies between publishing and the inboxes; what an inbox cannot hold, its reader is told."""

    def __init__(self, inbox_max: int = INBOX_MAX) -> None:
        self._inboxes = Inboxes(inbox_max)

    async def publish(self, news: Sequence[News]) -> None:
        self._inboxes.deliver(news)

    @asynccontextmanager
    async def subscribe(self, order_id: OrderId | None) -> AsyncIterator[Inbox]:
        with self._inboxes.opened(order_id) as inbox:
            yield inbox

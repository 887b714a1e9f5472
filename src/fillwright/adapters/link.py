"""What stands between the engine and a server that may be away: bounded buffers and tireless connections.

Decides: what waits in this process, what is dropped, and how often a server is asked again. Must never: make a
caller wait for the server, or grow with its absence.
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Generic, TypeVar

from fillwright.units import OrderId

LIMIT_S: Final = 1.0
"""A server that has not answered by then is away."""
LOOK_S: Final = 0.5
"""After so much silence a connection is tried."""
CONFIRM_S: Final = 0.25
"""A new subscriber waits this long for a connection that is not there yet."""
_PAUSE_S: Final = 0.05
_PAUSE_MAX_S: Final = 1.0
_STEADY_S: Final = 5.0
"""A connection that lasted this long was a good one: the next pause is short again."""
_CLOSE_S: Final = 1.0

_log: Final = logging.getLogger(__name__)
T = TypeVar("T")


class Outbox(Generic[T]):
    """What is on its way to the server. While that is away, or this is full, things are dropped and counted."""

    def __init__(self, weigh: Callable[[T], int], waiting_max: int, batch_max: int) -> None:
        """At most `waiting_max` may wait and `batch_max` go at once, in the units of `weigh`."""
        self.dropped = 0
        self._weigh = weigh
        self._waiting_max = waiting_max
        self._batch_max = batch_max
        self._waiting: deque[tuple[int, T]] = deque()
        self._weight = 0
        self._sending = 0
        self._away = False
        self._arrived = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        """Waiting or being sent."""
        return len(self._waiting) + self._sending

    def put(self, items: Sequence[T]) -> None:
        if self._away:
            self.dropped += len(items)
            return
        for item in items:
            weight = self._weigh(item)
            if self._weight + weight > self._waiting_max:
                self.dropped += 1
                continue
            self._weight += weight
            self._waiting.append((weight, item))
        if self._waiting:
            self._empty.clear()
            self._arrived.set()

    async def batch(self, within_s: float) -> list[T]:
        """What to send next, until `done`; nothing after so much silence."""
        if not self._waiting:
            self._empty.set()
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    await self._arrived.wait()
        batch: list[T] = []
        room = self._batch_max
        while self._waiting and (self._waiting[0][0] <= room or not batch):
            weight, item = self._waiting.popleft()
            room -= weight
            self._weight -= weight
            batch.append(item)
        self._sending = len(batch)
        return batch

    def done(self) -> None:
        """The batch is with the server."""
        self._sending = 0

    def cut(self) -> None:
        """The server is away: what is here is lost, and so is what comes until `mend`."""
        self.dropped += len(self)
        self._waiting.clear()
        self._weight = self._sending = 0
        self._away = True
        self._empty.set()

    def mend(self) -> None:
        self._away = False

    async def flushed(self) -> None:
        """Return when nothing waits any more, or soon: the last words of a process that stops."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._empty.wait()


class Takers:
    """Those in this process who wait for hints, and the hints that were fetched for them and not taken yet."""

    def __init__(self) -> None:
        self.taken = 0
        """Hints ever fetched."""
        self._hints: deque[OrderId] = deque()
        self._wanted = 0
        self._asked = asyncio.Event()
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self._hints)

    async def take(self, limit: int) -> list[OrderId]:
        self._wanted += limit
        try:
            while not self._hints:
                self._asked.set()
                self._arrived.clear()
                await self._arrived.wait()
        finally:
            self._wanted -= limit
        return [self._hints.popleft() for _ in range(min(limit, len(self._hints)))]

    async def wanted(self) -> int:
        """Wait until somebody waits in vain; how many hints to fetch. Nothing is fetched ahead of need: a process
        without takers leaves the hints to others."""
        while self._hints or not self._wanted:
            self._asked.clear()
            await self._asked.wait()
        return self._wanted

    def add(self, hints: Sequence[OrderId]) -> None:
        self.taken += len(hints)
        self._hints.extend(hints)
        if hints:
            self._arrived.set()


async def keep(what: str, session: Callable[[], Awaitable[None]], cut: Callable[[], None]) -> None:
    """Run a session with a server for ever, again after each failure, with pauses that grow; `cut` between two.

    Any failure is the same here: it costs latency. The first of a row is logged.
    """
    loop = asyncio.get_running_loop()
    pause_s, failed = _PAUSE_S, False
    while True:
        started_at = loop.time()
        try:
            await session()
        except Exception as error:
            if loop.time() - started_at > _STEADY_S:
                pause_s, failed = _PAUSE_S, False
            if not failed:
                _log.warning("%s: %s: %s; trying again", what, type(error).__name__, error)
            failed = True
        cut()
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
        pause_s = min(2 * pause_s, _PAUSE_MAX_S)


@asynccontextmanager
async def running(*duties: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have them run beside the context, and end with it, within a bounded time."""
    tasks = [asyncio.create_task(duty) for duty in duties]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=_CLOSE_S)

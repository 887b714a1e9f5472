"""What every queue and bus on a server has in common: it works on whether or not the server does.

Decides: how much may wait in this process for a server that is slow. Must never: know which server it is; the
sessions with it are its subclasses'.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

import msgspec

from fillwright.adapters.inboxes import Inbox, Inboxes
from fillwright.adapters.link import CONFIRM_S, Outbox, Takers, keep, running
from fillwright.ports import News
from fillwright.units import OrderId

HINTS_MAX: Final = 100_000
NEWS_BYTES_MAX: Final = 32 * 2**20
_HINTS_AT_ONCE: Final = 1_000
_NEWS_OVERHEAD: Final = 200
"""About what an event takes beside its frame."""

encode_news: Final = msgspec.msgpack.Encoder().encode
decode_news: Final = msgspec.msgpack.Decoder(list[News]).decode


def weight(news: News) -> int:
    """In bytes, about."""
    return len(news.frame) + _NEWS_OVERHEAD


class LinkedQueue(ABC):
    """Hints of all processes that open the queue by this name. Full, it forgets the oldest."""

    def __init__(self, hints_max: int) -> None:
        self._hints_max = hints_max
        self._outbox: Outbox[OrderId] = Outbox(lambda _: 1, hints_max, min(hints_max, _HINTS_AT_ONCE))
        self._takers = Takers()
        self._waiting = 0
        """With the server, as far as known."""

    @abstractmethod
    async def _send(self) -> None:
        """One session: bring what is in the outbox to the server, and learn how much waits there."""

    @abstractmethod
    async def _fetch(self) -> None:
        """One session: fetch hints for those who wait for them."""

    @asynccontextmanager
    async def _working(self, server: str) -> AsyncIterator[Self]:
        sending = keep(f"hints to {server}", self._send, self._outbox.cut)
        fetching = keep(f"hints from {server}", self._fetch, lambda: None)
        async with running(sending, fetching):
            try:
                yield self
            finally:
                await self._outbox.flushed()

    @property
    def dropped(self) -> int:
        return self._outbox.dropped

    async def put(self, order_ids: Sequence[OrderId]) -> None:
        self._outbox.put(order_ids)

    async def take(self, limit: int) -> list[OrderId]:
        return await self._takers.take(limit)

    def depth(self) -> int:
        """As of the last look at the server, which is at most about `LOOK_S` ago while it answers."""
        return min(max(self._waiting + len(self._outbox) + len(self._takers), 0), self._hints_max)


class LinkedBus(ABC):
    """Events of all processes that open the bus by this name, their own included: all come by way of the server.

    A process without subscribers does not listen; the first one makes the one subscription that all share.
    """

    def __init__(self, inbox_max: int, bytes_max: int, bytes_at_once: int) -> None:
        self._outbox: Outbox[News] = Outbox(weight, bytes_max, bytes_at_once)
        self._inboxes = Inboxes(inbox_max, connected=False)
        self._wanted = asyncio.Event()

    @abstractmethod
    async def _send(self) -> None:
        """One session: bring what is in the outbox to the server."""

    @abstractmethod
    async def _listen(self) -> None:
        """One session: once somebody wants it, deliver what the server tells."""

    @asynccontextmanager
    async def _working(self, server: str) -> AsyncIterator[Self]:
        sending = keep(f"news to {server}", self._send, self._outbox.cut)
        listening = keep(f"news from {server}", self._listen, self._inboxes.cut)
        async with running(sending, listening):
            try:
                yield self
            finally:
                await self._outbox.flushed()

    @property
    def dropped(self) -> int:
        return self._outbox.dropped

    async def publish(self, news: Sequence[News]) -> None:
        self._outbox.put(news)

    @asynccontextmanager
    async def subscribe(self, order_id: OrderId | None) -> AsyncIterator[Inbox]:
        self._wanted.set()
        await self._inboxes.settled(CONFIRM_S)
        with self._inboxes.opened(order_id) as inbox:
            yield inbox

"""The subscribers of one process, whichever bus brings their events.

Decides: how many events may wait for one reader, and what readers are told of losses. Must never: wait for a
reader, or know where events come from.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Final

from fillwright.ports import News
from fillwright.units import OrderId

INBOX_MAX: Final = 4_096
_CUT_POLL_S: Final = 0.5
"""While the bus is cut a reader asks the store this often, however patient it is."""


class Inbox:
    """A bounded inbox. A reader that falls behind loses events, and is told (`lossy`)."""

    def __init__(self, capacity: int, all_of_them: "Inboxes") -> None:
        self.lossy = not all_of_them.connected
        self._waiting: list[News] = []
        self._capacity = capacity
        self._all = all_of_them
        self._woken = asyncio.Event()

    def deliver(self, news: News) -> None:
        if len(self._waiting) >= self._capacity:
            self.lossy = True
            return
        self._waiting.append(news)
        self._woken.set()

    def cut(self) -> None:
        """Events may be missing from here on: the reader is told, and woken to look for itself."""
        self.lossy = True
        self._woken.set()

    async def take(self, within_s: float) -> list[News]:
        if not self._waiting:
            self._woken.clear()
            try:
                async with asyncio.timeout(within_s if self._all.connected else min(within_s, _CUT_POLL_S)):
                    await self._woken.wait()
            except TimeoutError:
                return []
        arrived, self._waiting = self._waiting, []
        return arrived


class Inboxes:
    """Who listens to which order, or to all. A bus over a network says when it is connected and when it is cut."""

    def __init__(self, inbox_max: int = INBOX_MAX, *, connected: bool = True) -> None:
        self._by_order: dict[OrderId | None, set[Inbox]] = {None: set()}
        self._inbox_max = inbox_max
        self._connected = asyncio.Event()
        if connected:
            self._connected.set()

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    @property
    def any(self) -> bool:
        """Whether anybody listens."""
        return len(self._by_order) > 1 or bool(self._by_order[None])

    def deliver(self, news: Iterable[News]) -> None:
        for each in news:
            for inbox in self._by_order.get(each.order_id, ()):
                inbox.deliver(each)
            for inbox in self._by_order[None]:
                inbox.deliver(each)

    def cut(self) -> None:
        """From now on events may pass by unseen."""
        self._connected.clear()
        for inboxes in self._by_order.values():
            for inbox in inboxes:
                inbox.cut()

    def mend(self) -> None:
        """From now on events arrive again. What was missed stays missed: inboxes open now remain lossy."""
        self._connected.set()

    async def settled(self, within_s: float) -> None:
        """Return when events arrive, or after so long without a connection."""
        if not self.connected:
            try:
                async with asyncio.timeout(within_s):
                    await self._connected.wait()
            except TimeoutError:
                return

    @contextmanager
    def opened(self, order_id: OrderId | None) -> Iterator[Inbox]:
        inbox = Inbox(self._inbox_max, self)
        self._by_order.setdefault(order_id, set()).add(inbox)
        try:
            yield inbox
        finally:
            self._by_order[order_id].discard(inbox)
            if order_id is not None and not self._by_order[order_id]:
                del self._by_order[order_id]

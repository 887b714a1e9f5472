"""The log of all events in one order, which a reader can leave and resume without missing or repeating one.

Decides: how entries of the store's log become what watchers are told. Must never: invent an order of its own: the
place of an entry is the store's, and what is before a place that was handed out never changes.
"""

import asyncio
from collections.abc import Mapping, Set
from typing import Final

import msgspec

from fillwright.executor import Executor
from fillwright.order import Recorded, replay
from fillwright.ports import Logged, Place
from fillwright.units import OrderId

PAGE: Final = 1_000
"""Entries read at once, of all accounts."""


class Told(msgspec.Struct, frozen=True):
    """An entry and what watchers see of it."""

    place: Place
    account: str
    frame: bytes


class Part(msgspec.Struct, frozen=True):
    """A stretch of the log up to `end`. `is_last`: at that moment there was no more."""

    told: list[Told]
    end: Place
    is_last: bool


class EventLog:
    """Reads for many; keeps nothing."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._store = executor.store
        self.bus = executor.bus

    async def end(self) -> Place:
        """Where the log ends now."""
        return await self._store.log_end()

    async def read(
        self, after: Place, accounts: Set[str], known: Mapping[tuple[OrderId, int], bytes] | None = None
    ) -> Part:
        """What follows, of these accounts. `known`: frames at hand, by order and seq, which need not be made again."""
        entries = await self._store.log(after, PAGE)
        wanted = [entry for entry in entries if entry.account in accounts]
        frames = dict(known or {})
        missing = {(entry.account, entry.order_id) for entry in wanted if (entry.order_id, entry.seq) not in frames}
        for history in await asyncio.gather(*(self._history(*each) for each in sorted(missing))):
            for each in history:
                frames[each.order.id, each.order.seq] = self._executor.news_of(each).frame
        told = [_told(entry, frames[entry.order_id, entry.seq]) for entry in wanted]
        return Part(told, entries[-1].place if entries else after, len(entries) < PAGE)

    async def _history(self, account: str, order_id: OrderId) -> list[Recorded]:
        return replay(order_id, account, await self._store.history(account, order_id))


def _told(entry: Logged, frame: bytes) -> Told:
    return Told(entry.place, entry.account, frame)

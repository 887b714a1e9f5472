"""Answers that many want at once.

Decides: when an answer is asked for again. Must never: ask for what is on its way already.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from fillwright.ports import Clock

T = TypeVar("T")


class Kept(Generic[T]):
    """An answer that is asked for at most once in `fresh_s`; all who want it meanwhile share it, and its failure.

    Up to `usable_s` an older one is good enough while the next is under way.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], clock: Clock, *, fresh_s: float, usable_s: float) -> None:
        self._ask = ask
        self._clock = clock
        self._fresh_s = fresh_s
        self._usable_s = usable_s
        self._value: T | None = None
        self._asked_at = 0.0
        self._asking: asyncio.Task[T] | None = None

    async def get(self) -> T:
        age = self._clock.monotonic() - self._asked_at
        if self._value is not None and age < self._fresh_s:
            return self._value
        if self._asking is None:
            self._asking = asyncio.create_task(self._renew())
            self._asking.add_done_callback(_told)
        if self._value is not None and age < self._usable_s:
            return self._value
        asking = self._asking
        await asyncio.wait([asking])  # not the task itself: a caller that is cancelled ends only its own wait
        return asking.result()

    async def ended(self) -> None:
        if self._asking is not None:
            await asyncio.wait([self._asking])

    async def _renew(self) -> T:
        asked_at = self._clock.monotonic()
        try:
            self._value = await self._ask()
            self._asked_at = asked_at
            return self._value
        finally:
            self._asking = None


def _told(asking: asyncio.Task[T]) -> None:
    """A failure that nobody waited for is nobody's: whoever needs the answer asks again."""
    if not asking.cancelled():
        asking.exception()

"""Many orders: take hints, claim, drive each one; heartbeat; sweep; watch the market; fire switches; drain.

Decides: how many orders run at once and what happens to one that fails unexpectedly. Must never: rely on a
hint, or give up an order: whatever is dropped here is found again by the sweep, which needs no queue.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any

import msgspec

from fillwright.cancels import Cancels
from fillwright.errors import FillwrightError
from fillwright.executor import Executor
from fillwright.finality import Finality
from fillwright.order import Order
from fillwright.ports import Queue
from fillwright.units import OrderId
from fillwright.watcher import Watcher


class Failure(msgspec.Struct, frozen=True):
    """Something that went wrong without stopping the worker: for the log and the metrics."""

    where: str
    order_id: OrderId | None
    error: Exception


class Worker:
    """One claimant of orders, known to the store by its name. Create one a process and `run` it."""

    def __init__(self, name: str, executor: Executor, queue: Queue, report: Callable[[Failure], None]) -> None:
        self.name = name
        self._executor = executor
        self._store = executor.store
        self._clock = executor.clock
        self._policy = executor.policy
        self._cancels = Cancels(executor)
        self._watcher = Watcher(executor, queue, lambda order_id, error: report(Failure("watch", order_id, error)))
        self._finality = Finality(executor)
        self._queue = queue
        self._report = report
        self._driving: dict[OrderId, asyncio.Task[None]] = {}
        self._claiming: set[OrderId] = set()
        self._freed = asyncio.Event()
        self._stopping = asyncio.Event()

    @property
    def running(self) -> int:
        """Orders being driven now."""
        return len(self._driving)

    def stop(self) -> None:
        """Take no more orders; `run` returns when those being driven are done, or after `drain_s`."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until `stop`. Cancelling it instead is safe at any moment, as a crash is."""
        await self._register()
        async with asyncio.TaskGroup() as group:
            heart = group.create_task(self._repeat("heartbeat", self._policy.heartbeat_s, self._heartbeat))
            duties = [group.create_task(self._repeat(*duty)) for duty in self._duties(group)]
            await self._stopping.wait()
            for duty in duties:
                duty.cancel()
            await self._drain()
            heart.cancel()
        await self._retire()

    def _duties(self, group: asyncio.TaskGroup) -> Iterator[tuple[str, float, Callable[[], Coroutine[Any, Any, None]]]]:
        """What is done until it stops: a name, a pause, and what to do."""
        policy = self._policy
        yield "intake", 0, lambda: self._intake(group)
        yield "sweep", policy.sweep_s, lambda: self._sweep(group)
        yield "watch", policy.look_s, self._watcher.look
        yield "hunt", policy.look_s, self._watcher.hunt
        yield "switches", policy.switch_s, self._cancels.fire
        if not self._executor.chain.landed_is_final:
            yield "finality", policy.final_s, self._finality.check

    # --- duties -------------------------------------------------------------------------------------------

    async def _intake(self, group: asyncio.TaskGroup) -> None:
        """When there is room, take hints and drive what can be claimed of them."""
        await self._some_room()
        hints = await self._queue.take(self._room())
        while hints:
            await self._some_room()  # the sweep may have filled it meanwhile
            now, hints = hints[: self._room()], hints[self._room() :]
            await self._take_up(now, group)

    async def _some_room(self) -> None:
        while self._room() <= 0:
            self._freed.clear()
            await self._freed.wait()

    async def _sweep(self, group: asyncio.TaskGroup) -> None:
        """Drive due orders that no hint has named; those in hand here are not due, whatever the store thinks."""
        if self._room() > 0:
            due = await self._store.due(self.name, 2 * self._policy.concurrency)
            await self._take_up([each for each in due if not self._in_hand(each)][: max(self._room(), 0)], group)

    def _room(self) -> int:
        return self._policy.concurrency - len(self._driving) - len(self._claiming)

    def _in_hand(self, order_id: OrderId) -> bool:
        return order_id in self._driving or order_id in self._claiming

    async def _take_up(self, order_ids: Sequence[OrderId], group: asyncio.TaskGroup) -> None:
        """Claim those that are not in hand, and drive what was won."""
        wanted = {order_id for order_id in order_ids if not self._in_hand(order_id)}
        if not wanted:
            return
        self._claiming |= wanted
        try:
            claimed = await self._store.claim(sorted(wanted), self.name)
            for recorded in claimed:
                self._driving[recorded.order.id] = group.create_task(self._drive(recorded.order))
        finally:
            self._claiming -= wanted
            self._freed.set()
        await self._executor.announce(claimed)

    async def _drive(self, order: Order) -> None:
        try:
            await self._executor.drive(order, self.name)
        except Exception as error:  # one order's failure is not the others': the sweep resumes it
            self._report(Failure("drive", order.id, error))
            await self._clock.sleep(self._policy.stumble_s)
        finally:
            del self._driving[order.id]
            self._freed.set()

    async def _heartbeat(self) -> None:
        await self._store.heartbeat(self.name)

    # --- plumbing -----------------------------------------------------------------------------------------

    async def _repeat(self, duty: str, every_s: float, once: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it for ever; an expected failure costs a pause, not the duty."""
        while True:
            try:
                await once()
            except FillwrightError as error:
                self._report(Failure(duty, None, error))
                await self._clock.sleep(self._policy.stumble_s)
            if every_s:
                await self._clock.sleep(every_s)

    async def _register(self) -> None:
        """Be known as alive before claiming anything; without an answer, go on: the heartbeat keeps trying."""
        try:
            await self._store.heartbeat(self.name)
        except FillwrightError as error:
            self._report(Failure("register", None, error))

    async def _retire(self) -> None:
        try:
            await self._store.retire(self.name)
        except FillwrightError as error:  # the lease then frees what is held
            self._report(Failure("retire", None, error))

    async def _drain(self) -> None:
        if self._driving:
            _, left = await asyncio.wait(list(self._driving.values()), timeout=self._policy.drain_s)
            for task in left:
                task.cancel()

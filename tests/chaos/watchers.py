"""Streaming clients that come back after every cut and go on where they were.

Decides: what a reader must be shown: of each order every seq once, in order. Must never: start over to hide a gap.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

import aiohttp
import msgspec

from tests.chaos.memory import Memory

ENDED: Final = frozenset({"confirmed", "failed", "canceled", "expired"})
_SILENCE_S: Final = 8.0
"""A connection that says nothing for so long, though its order has not ended, is given up for a new one."""
_CONNECT_S: Final = 5.0
_TOGETHER: Final = 15
"""Orders that one socket of a bundle follows: as many messages as a client may send at once."""
_TROUBLE: Final = (TimeoutError, OSError, aiohttp.ClientError)


class Frame(msgspec.Struct, rename="camel"):
    type: str = ""
    order_id: str | None = None
    seq: int = 0
    status: str = ""
    cause: str = ""


_frame_of: Final = msgspec.json.Decoder(Frame).decode
Check = Callable[[Frame], Awaitable[None]]
"""Called with some frames, just as they were received."""


class Watchers:
    """Every order of `placed` is followed, by turns on a socket of its own and on one that it shares."""

    def __init__(
        self, urls: Sequence[str], memory: Memory, placed: "asyncio.Queue[str]", dice: random.Random, check: Check
    ) -> None:
        self.connections = 0
        self._urls = urls
        self._memory = memory
        self._placed = placed
        self._dice = dice
        self._check = check
        self._following: set[asyncio.Task[None]] = set()

    async def run(self, stopped: asyncio.Event) -> None:
        """Until stopped and every followed order has ended."""
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
            listening = [group.create_task(self._feed(session, url)) for url in self._urls]
            listening.append(group.create_task(self._adopt(session, group)))
            await stopped.wait()
            while self._following or not self._placed.empty():  # noqa: ASYNC110 - it is about several things
                await asyncio.sleep(0.05)
            for task in listening:
                task.cancel()

    async def _adopt(self, session: aiohttp.ClientSession, group: asyncio.TaskGroup) -> None:
        while True:
            order_ids = [await self._placed.get()]
            if self._dice.random() < 0.3:
                await asyncio.sleep(0.3)  # so that some come together
                with suppress(asyncio.QueueEmpty):
                    while len(order_ids) < _TOGETHER:
                        order_ids.append(self._placed.get_nowait())
            work = self._alone(session, order_ids[0]) if len(order_ids) == 1 else self._together(session, order_ids)
            task = group.create_task(work)
            self._following.add(task)
            task.add_done_callback(self._following.discard)

    # --- followers ----------------------------------------------------------------------------------------

    async def _alone(self, session: aiohttp.ClientSession, order_id: str) -> None:
        last, over = 0, False
        while not over:
            url = f"{self._dice.choice(self._urls)}/ws/orders/{order_id}?after={last}"
            with suppress(*_TROUBLE):
                async with self._open(session, url) as socket:
                    while not over and (frame := await self._next(socket)) is not None:
                        if frame.type == "event":
                            last, over = self._took(frame, last), frame.status in ENDED
            await self._pause()
        self._memory.followed[order_id] = last

    async def _together(self, session: aiohttp.ClientSession, order_ids: Sequence[str]) -> None:
        last = dict.fromkeys(order_ids, 0)
        left = set(order_ids)
        while left:
            with suppress(*_TROUBLE):
                async with self._open(session, f"{self._dice.choice(self._urls)}/v1/stream") as socket:
                    for order_id in left:
                        wanted = {"type": "subscribe", "orderId": order_id, "fromSeq": last[order_id]}
                        await socket.send_json(wanted)
                    while left and (frame := await self._next(socket)) is not None and frame.type != "error":
                        if frame.type == "event" and frame.order_id is not None:
                            last[frame.order_id] = self._took(frame, last[frame.order_id])
                            if frame.status in ENDED:
                                left.discard(frame.order_id)
            await self._pause()
        self._memory.followed.update(last)

    def _took(self, frame: Frame, last: int) -> int:
        """The next event of an order, for a reader who had `last`."""
        if frame.seq != last + 1:
            what = "again" if frame.seq <= last else "after a gap"
            self._memory.findings.violate("I3", f"{frame.order_id}/{frame.seq} came {what}: after {last}")
        assert frame.order_id is not None
        self._memory.saw(frame.order_id, frame.seq, frame.status, frame.cause)
        return max(frame.seq, last)

    # --- everything ---------------------------------------------------------------------------------------

    async def _feed(self, session: aiohttp.ClientSession, url: str) -> None:
        """All events from each connection on: of each order without a gap, whatever passes."""
        while True:
            last: dict[str, int] = {}
            with suppress(*_TROUBLE):
                async with self._open(session, f"{url}/v1/stream") as socket:
                    await socket.send_json({"type": "subscribe", "orderId": None})
                    while (frame := await self._next(socket)) is not None and frame.type != "error":
                        if frame.type == "event" and frame.order_id is not None:
                            last[frame.order_id] = self._took(frame, last.get(frame.order_id, frame.seq - 1))
                            await self._check(frame)
            await self._pause()

    # --- one socket ---------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _open(self, session: aiohttp.ClientSession, url: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        async with asyncio.timeout(_CONNECT_S):
            socket = await session.ws_connect(url, max_msg_size=0, timeout=aiohttp.ClientWSTimeout(ws_close=0.5))
        self.connections += 1
        try:
            yield socket
        finally:
            await socket.close()

    async def _next(self, socket: aiohttp.ClientWebSocketResponse) -> Frame | None:
        """None at the end of the connection. Raises TimeoutError in a long silence."""
        message = await socket.receive(_SILENCE_S)
        if message.type is aiohttp.WSMsgType.TEXT:
            return _frame_of(message.data)
        if message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSING, aiohttp.WSMsgType.CLOSED):
            return None
        raise ConnectionError(f"the stream broke: {message.type.name}")

    async def _pause(self) -> None:
        await asyncio.sleep(self._dice.uniform(0.02, 0.2))

"""All events of an account to all sockets that want them: read once, put on the wire once.

Decides: how one stream becomes many. Must never: wait for a reader; one that falls behind loses its own socket.
"""

import asyncio
from typing import Final

from fillwright.api.sockets import BROKEN, TOO_SLOW, Socket, error_frame, on_the_wire
from fillwright.engine import Engine
from fillwright.errors import FillwrightError
from fillwright.ports import News

_AT_ONCE: Final = 64
"""Frames written to every socket before the loop may flush them: well below what a socket may hold."""


class Feeds:
    """The feed of each account that somebody reads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._feeds: dict[str, Feed] = {}

    async def join(self, account: str, socket: Socket, welcome: bytes) -> None:
        """Send the socket `welcome`, then every event committed from then on, until it leaves or ends."""
        feed = await self._ready(account)
        socket.write(on_the_wire(welcome), 1)
        feed.sockets.add(socket)
        socket.at_end(lambda: self.leave(account, socket))

    def leave(self, account: str, socket: Socket) -> None:
        feed = self._feeds.get(account)
        if feed is not None and socket in feed.sockets:
            feed.sockets.remove(socket)
            if not feed.sockets and feed.task is not None:
                del self._feeds[account]
                feed.task.cancel()

    async def _ready(self, account: str) -> "Feed":
        """The account's feed, receiving events; it may end while somebody waits for it."""
        while True:
            feed = self._feeds.get(account)
            if feed is None:
                feed = self._feeds[account] = Feed()
                feed.task = asyncio.create_task(self._run(account, feed))
            await feed.ready.wait()
            if self._feeds.get(account) is feed:
                return feed

    async def _run(self, account: str, feed: "Feed") -> None:
        """Until nobody reads it, or it may have missed something: its readers then come back and see what they lack."""
        try:
            async with self._engine.watch_all(account) as arriving:
                feed.ready.set()
                async for news in arriving:
                    await feed.tell(news)
        except FillwrightError as error:
            for socket in feed.sockets:
                socket.end(BROKEN, error_frame(error))
        finally:
            feed.ready.set()
            if self._feeds.get(account) is feed:
                del self._feeds[account]
            for socket in feed.sockets:
                socket.cut(TOO_SLOW)


class Feed:
    def __init__(self) -> None:
        self.sockets: set[Socket] = set()
        self.ready = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def tell(self, news: list[News]) -> None:
        for start in range(0, len(news), _AT_ONCE):
            part = news[start : start + _AT_ONCE]
            wire = b"".join([on_the_wire(each.frame) for each in part])
            for socket in list(self.sockets):
                socket.write(wire, len(part))
            await asyncio.sleep(0)

"""Queue and bus over Redis, for engines of several processes.

Decides: how hints and news travel. Must never: hold what is not stored elsewhere, or let a caller feel the server:
Redis may be flushed, stopped or gone at any moment, and all that this costs is latency.

A hint is an entry of one stream, read through one consumer group and acknowledged as it is read (NOACK): what a dying
process had read is lost, and the sweep finds those orders. So nothing is ever pending, and a consumer's name says
no more than who it is. News travel in batches on one internal channel, and as plain frames on `order:{id}` and
`order-events-<id>` where anybody outside the engine listens.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, Self, cast

from redis.asyncio.connection import AbstractConnection, Connection, parse_url
from redis.exceptions import RedisError, ResponseError

from fillwright.adapters.inboxes import INBOX_MAX
from fillwright.adapters.link import LIMIT_S, LOOK_S
from fillwright.adapters.linked import (
    HINTS_MAX,
    NEWS_BYTES_MAX,
    LinkedBus,
    LinkedQueue,
    decode_news,
    encode_news,
)
from fillwright.errors import Code, FillwrightError
from fillwright.ports import News
from fillwright.units import OrderId

_NEWS_BYTES_AT_ONCE: Final = 256 * 1024
_BLOCK_S: Final = 1.0
"""How long the server holds a taker's question before it answers "nothing"."""

_PUT: Final = """
for i = 2, #ARGV do
  redis.call('XADD', KEYS[1], '*', 'id', ARGV[i])
end
local group = redis.pcall('XINFO', 'GROUPS', KEYS[1])[1]
if group then
  local ms, n = string.match(group[8], '(%d+)-(%d+)')
  redis.call('XTRIM', KEYS[1], 'MINID', ms .. '-' .. n + 1)
end
redis.call('XTRIM', KEYS[1], 'MAXLEN', ARGV[1])
return redis.call('XLEN', KEYS[1])
"""
"""Add hints, remove those that were read and the oldest beyond the bound, tell how many wait. (The server's own `lag`
of a group counts entries that were trimmed unread, for ever.)"""


class RedisQueue(LinkedQueue):
    """See ports.Queue: hints in a stream."""

    def __init__(self, server: "_Server", name: str, consumer: str, hints_max: int) -> None:
        super().__init__(hints_max)
        self._server = server
        self._stream = f"fillwright:{name}:hints"
        self._group = name
        self._consumer = consumer

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, name: str, *, consumer: str = "engine", hints_max: int = HINTS_MAX
    ) -> AsyncIterator[Self]:
        """Works whether or not the server does. Raises FillwrightError(CONFIG_INVALID) where the URL is none."""
        async with cls(_Server(url), name, consumer, hints_max)._working("Redis") as queue:
            yield queue

    async def _send(self) -> None:
        async with self._server.connected(LIMIT_S) as connection:
            put = await connection.load(_PUT)
            self._outbox.mend()
            while True:
                batch = await self._outbox.batch(LOOK_S)
                taken = self._takers.taken
                waiting = await connection.ask("EVALSHA", put, 1, self._stream, self._hints_max, *batch)
                self._outbox.done()
                self._waiting = waiting - (self._takers.taken - taken)

    async def _fetch(self) -> None:
        async with self._server.connected(_BLOCK_S + LIMIT_S) as connection:
            while True:
                hints = await self._read(connection, await self._takers.wanted())
                self._waiting -= len(hints)
                self._takers.add(hints)

    async def _read(self, connection: "_Line", limit: int) -> list[OrderId]:
        block_ms = round(_BLOCK_S * 1_000)
        group = ("GROUP", self._group, self._consumer)
        try:
            reply = await connection.ask(
                "XREADGROUP", *group, "COUNT", limit, "BLOCK", block_ms, "NOACK", "STREAMS", self._stream, ">"
            )
        except ResponseError as error:
            if not str(error).startswith(("NOGROUP", "UNBLOCKED")):
                raise
            await self._make_group(connection)
            return []
        if not reply:
            return []
        [[_, entries]] = reply
        return [OrderId(fields[1].decode()) for _, fields in entries]

    async def _make_group(self, connection: "_Line") -> None:
        """New, or flushed away. It begins with the stream: what was put before it is there is not forgotten."""
        try:
            await connection.ask("XGROUP", "CREATE", self._stream, self._group, "0", "MKSTREAM")
        except ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):  # another process was faster
                raise


class RedisBus(LinkedBus):
    """See ports.Bus: news by PUBLISH."""

    def __init__(self, server: "_Server", name: str, inbox_max: int, bytes_max: int) -> None:
        super().__init__(inbox_max, bytes_max, _NEWS_BYTES_AT_ONCE)
        self._server = server
        self._channel = f"fillwright:{name}:news"

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, name: str, *, inbox_max: int = INBOX_MAX, bytes_max: int = NEWS_BYTES_MAX
    ) -> AsyncIterator[Self]:
        """Works whether or not the server does. Raises FillwrightError(CONFIG_INVALID) where the URL is none."""
        async with cls(_Server(url), name, inbox_max, bytes_max)._working("Redis") as bus:
            yield bus

    async def _send(self) -> None:
        async with self._server.connected(LIMIT_S) as connection:
            self._outbox.mend()
            while True:
                batch = await self._outbox.batch(LOOK_S)
                if batch:
                    await self._publish(connection, batch)
                    self._outbox.done()
                else:
                    await connection.ask("PING")

    async def _publish(self, connection: "_Line", batch: Sequence[News]) -> None:
        """Tell the engines, and whoever else listens: asking who does costs a fraction of telling nobody."""
        channels = [channel for order_id in {news.order_id for news in batch} for channel in _channels(order_id)]
        _, patterns, counts = await connection.ask_all(
            ("PUBLISH", self._channel, encode_news(batch)), ("PUBSUB", "NUMPAT"), ("PUBSUB", "NUMSUB", *channels)
        )
        listening = {channel.decode() for channel, count in zip(counts[::2], counts[1::2], strict=True) if count}
        if patterns or listening:
            told = [(channel, news.frame) for news in batch for channel in _channels(news.order_id)]
            await connection.ask_all(*(("PUBLISH", *each) for each in told if patterns or each[0] in listening))

    async def _listen(self) -> None:
        await self._wanted.wait()
        async with self._server.connected(LIMIT_S) as connection:
            await connection.ask("SUBSCRIBE", self._channel)
            self._inboxes.mend()
            while True:
                message = await connection.heard()
                if message[0] == b"message" and self._inboxes.any:
                    self._inboxes.deliver(decode_news(message[2]))


def _channels(order_id: OrderId) -> tuple[str, str]:
    """Where older engines' listeners look for an order's frames."""
    return f"order:{order_id}", f"order-events-{order_id}"


class _Server:
    """Where the server is, and how to talk to it."""

    def __init__(self, url: str) -> None:
        try:
            options = cast(dict[str, Any], parse_url(url))
            self._kind = options.pop("connection_class", Connection)
            self._options = options | {"protocol": 2, "decode_responses": False, "socket_timeout": None}
            self._make()
        except (TypeError, ValueError, RedisError) as error:  # its text may hold the password
            raise FillwrightError(Code.CONFIG_INVALID, "the URL of Redis is not one") from error

    def _make(self) -> AbstractConnection:
        return cast(AbstractConnection, self._kind(**self._options))

    @asynccontextmanager
    async def connected(self, reply_s: float) -> AsyncIterator["_Line"]:
        """A connection on which every answer comes within `reply_s`, or TimeoutError does."""
        connection = self._make()
        try:
            async with asyncio.timeout(LIMIT_S):
                await connection.connect()  # type: ignore[no-untyped-call]
            yield _Line(connection, reply_s)
        finally:
            await connection.disconnect(nowait=True)


class _Line:
    """One connection, used by one task."""

    def __init__(self, connection: AbstractConnection, reply_s: float) -> None:
        self._connection = connection
        self._reply_s = reply_s

    async def ask(self, *command: str | bytes | int) -> Any:
        [answer] = await self.ask_all(command)
        return answer

    async def ask_all(self, *commands: tuple[str | bytes | int, ...]) -> list[Any]:
        async with asyncio.timeout(self._reply_s):
            await self._connection.send_packed_command(self._connection.pack_commands(commands))
            return [await self._connection.read_response() for _ in commands]

    async def load(self, script: str) -> bytes:
        """The name by which this server runs the script. Should it forget it, the session fails and starts anew."""
        return cast(bytes, await self.ask("SCRIPT", "LOAD", script))

    async def heard(self) -> list[Any]:
        """The next message to a subscriber. In silence the server is asked for a sign of life.

        Raises TimeoutError when there is none.
        """
        message = await self._connection.read_response(timeout=LOOK_S)
        return cast(list[Any], message if message is not None else await self.ask("PING"))

"""Queue and bus over PostgreSQL alone, for engines of several processes without Redis.

Decides: how hints and news travel. Must never: share a connection or a transaction with the store (NOTIFY holds a
lock of the whole database while its transaction commits), or let a caller feel the server.

Hints are rows of an unlogged table, deleted as they are taken; what a dying process had taken is lost, and the sweep
finds those orders. News go as payloads of NOTIFY, which hold little: events are packed and compressed, and one that
does not fit is dropped. Its readers mend that by `seq`.
LISTEN needs a connection of one's own: an address of a pooler that shares them by transaction will not do.
"""

import asyncio
import base64
import hashlib
import zlib
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Self, TypeAlias

import asyncpg

from fillwright.adapters.inboxes import INBOX_MAX
from fillwright.adapters.link import LIMIT_S, LOOK_S
from fillwright.adapters.linked import (
    HINTS_MAX,
    NEWS_BYTES_MAX,
    LinkedBus,
    LinkedQueue,
    decode_news,
    encode_news,
    weight,
)
from fillwright.ports import News

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

_NEWS_BYTES_AT_ONCE: Final = 64 * 1024
_PAYLOAD_MAX: Final = 7_999
"""Bytes that NOTIFY carries."""
_PACK_BYTES: Final = 16 * 1024
"""Frames of so many bytes mostly fit one payload when compressed."""

_PUT: Final = """
WITH added AS (INSERT INTO hints (queue, order_id) SELECT $1, unnest($2::text[]) RETURNING id),
     forgotten AS (DELETE FROM hints WHERE queue = $1 AND id <= (SELECT max(id) FROM added) - $3)
SELECT pg_notify($4, '')
"""
"""The oldest beyond the bound are forgotten; ids are about as dense as hints."""
_TAKE: Final = """
WITH oldest AS (SELECT id FROM hints WHERE queue = $1 ORDER BY id LIMIT $2 FOR UPDATE SKIP LOCKED)
DELETE FROM hints USING oldest WHERE hints.queue = $1 AND hints.id = oldest.id RETURNING order_id
"""
_LOOK: Final = """
SELECT coalesce((SELECT id FROM hints WHERE queue = $1 ORDER BY id DESC LIMIT 1)
              - (SELECT id FROM hints WHERE queue = $1 ORDER BY id LIMIT 1) + 1, 0)
"""
_PUBLISH: Final = "SELECT pg_notify($1, payload) FROM unnest($2::text[]) AS payload"


class PostgresQueue(LinkedQueue):
    """See ports.Queue: hints in a table."""

    def __init__(self, url: str, name: str, hints_max: int) -> None:
        super().__init__(hints_max)
        self._url = url
        self._name = name
        self._channel = _channel("hints", name)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, name: str, *, hints_max: int = HINTS_MAX) -> AsyncIterator[Self]:
        """Works whether or not the server does."""
        async with cls(url, name, hints_max)._working("PostgreSQL") as queue:
            yield queue

    async def _send(self) -> None:
        async with _connected(self._url) as connection:
            loop = asyncio.get_running_loop()
            look_at = loop.time()
            self._outbox.mend()
            while True:
                batch = await self._outbox.batch(LOOK_S)
                if batch:
                    await connection.execute(_PUT, self._name, batch, self._hints_max, self._channel)
                    self._outbox.done()
                    self._waiting += len(batch)
                if loop.time() >= look_at:
                    taken = self._takers.taken
                    waiting = await connection.fetchval(_LOOK, self._name)
                    self._waiting = waiting - (self._takers.taken - taken)
                    look_at = loop.time() + LOOK_S

    async def _fetch(self) -> None:
        async with _connected(self._url) as connection:
            put = asyncio.Event()
            connection.add_termination_listener(lambda _: put.set())
            await connection.add_listener(self._channel, lambda *_: put.set())
            while True:
                limit = await self._takers.wanted()
                put.clear()
                hints = [row[0] for row in await connection.fetch(_TAKE, self._name, limit)]
                self._waiting -= len(hints)
                self._takers.add(hints)
                if not hints:
                    await _either(put)


class PostgresBus(LinkedBus):
    """See ports.Bus: news by NOTIFY."""

    def __init__(self, url: str, name: str, inbox_max: int, bytes_max: int) -> None:
        super().__init__(inbox_max, bytes_max, _NEWS_BYTES_AT_ONCE)
        self._url = url
        self._channel = _channel("news", name)
        self._too_long = 0

    @classmethod
    @asynccontextmanager
    async def open(
        cls, url: str, name: str, *, inbox_max: int = INBOX_MAX, bytes_max: int = NEWS_BYTES_MAX
    ) -> AsyncIterator[Self]:
        """Works whether or not the server does."""
        async with cls(url, name, inbox_max, bytes_max)._working("PostgreSQL") as bus:
            yield bus

    @property
    def dropped(self) -> int:
        return super().dropped + self._too_long

    async def _send(self) -> None:
        async with _connected(self._url) as connection:
            self._outbox.mend()
            while True:
                batch = await self._outbox.batch(LOOK_S)
                payloads = [payload for pack in _packs(batch) for payload in self._payloads(pack)]
                await connection.execute(_PUBLISH, self._channel, payloads)
                self._outbox.done()

    async def _listen(self) -> None:
        await self._wanted.wait()
        async with _connected(self._url) as connection:
            gone = asyncio.Event()
            connection.add_termination_listener(lambda _: gone.set())
            await connection.add_listener(self._channel, self._hear)
            self._inboxes.mend()
            while True:
                await _either(gone)
                await connection.execute("SELECT 1")  # raises where the connection is gone, or hangs

    def _hear(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        if self._inboxes.any:
            self._inboxes.deliver(decode_news(zlib.decompress(base64.b64decode(str(payload)))))

    def _payloads(self, news: Sequence[News]) -> Iterator[str]:
        """Halve until each part fits."""
        payload = base64.b64encode(zlib.compress(encode_news(news), level=1)).decode()
        if len(payload) <= _PAYLOAD_MAX:
            yield payload
        elif len(news) > 1:
            half = len(news) // 2
            yield from self._payloads(news[:half])
            yield from self._payloads(news[half:])
        else:
            self._too_long += 1


def _packs(news: Sequence[News]) -> Iterator[list[News]]:
    """Runs of events that likely share a payload."""
    pack: list[News] = []
    size = 0
    for each in news:
        if pack and size + weight(each) > _PACK_BYTES:
            yield pack
            pack, size = [], 0
        pack.append(each)
        size += weight(each)
    if pack:
        yield pack


def _channel(kind: str, name: str) -> str:
    """Of any name: a channel's own may have no more than 63 bytes."""
    return f"fillwright_{kind}_{hashlib.blake2s(name.encode(), digest_size=8).hexdigest()}"


async def _either(event: asyncio.Event) -> None:
    """Return when it happens, or after `LOOK_S`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(LOOK_S):
            await event.wait()


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[_Connection]:
    """A connection on which every answer comes within `LIMIT_S`, or TimeoutError does."""
    settings: dict[str, Any] = {"application_name": "fillwright", "synchronous_commit": "off"}
    connection = await asyncpg.connect(url, timeout=LIMIT_S, command_timeout=LIMIT_S, server_settings=settings)
    try:
        yield connection
    finally:
        connection.terminate()

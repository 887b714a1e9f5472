"""A wire between two processes that can be cut, slowed and silenced: one listener a pair, on the loopback interface.

Decides: how bytes pass, and what each fault does to them. Must never: change or repeat a byte, or report a fault that
no byte or connection felt.
"""

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Final

_HOST: Final = "127.0.0.1"
_CHUNK: Final = 64 * 1024
_FAREWELL_S: Final = 1.0
"""After an orderly end both peers have this long to end as well."""
_NOW: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closing resets the connection."""


class Link:
    """Whoever connects to `port` reaches the server at `upstream`. Connections outlive faults unless these end them."""

    def __init__(self, upstream: int) -> None:
        self.upstream = upstream
        self.port = 0
        self.delay_s = 0.0
        """Every chunk waits so long before it goes on."""
        self.delayed = 0
        """Chunks that have waited."""
        self.withheld = 0
        """Bytes that came while nothing went on."""
        self.torn = 0
        """Connections that were reset in the middle of a chunk."""
        self._tears = 0
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._pairs: set[_Pair] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> int:
        self._server = await asyncio.start_server(self._accept, _HOST, 0, backlog=1_024)
        self.port = int(self._server.sockets[0].getsockname()[1])
        return self.port

    async def close(self) -> None:
        self.heal()
        if self._server is not None:
            self._server.close()
        await self.reset()

    @property
    def connections(self) -> int:
        return len(self._pairs)

    # --- faults -------------------------------------------------------------------------------------------

    async def finish(self) -> int:
        """End every connection in good order (FIN to both sides); how many did."""
        return await self._ended([pair for pair in self._pairs if pair.finish()])

    async def reset(self) -> int:
        """Break every connection (RST to both sides); how many broke."""
        pairs = list(self._pairs)
        for pair in pairs:
            pair.reset()
        return await self._ended(pairs)

    def tear(self, connections: int = 1) -> None:
        """Reset the next so many connections that carry something, after half of what they carry."""
        self._tears = connections

    def silence(self) -> None:
        """Accept and keep connections, but let nothing pass until `heal`."""
        self._flowing.clear()

    def heal(self) -> None:
        self.delay_s = 0.0
        self._tears = 0
        self._flowing.set()

    async def _ended(self, pairs: "list[_Pair]") -> int:
        """Of these, those that are gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * _FAREWELL_S):
                await asyncio.gather(*(pair.over.wait() for pair in pairs))
        return sum(pair.over.is_set() for pair in pairs)

    # --- bytes --------------------------------------------------------------------------------------------

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(_HOST, self.upstream)
        except OSError:
            _break(writer)
            return
        pair = _Pair(writer, far_writer)
        self._pairs.add(pair)
        try:
            await asyncio.gather(self._pump(pair, reader, far_writer), self._pump(pair, far_reader, writer))
        finally:
            self._pairs.discard(pair)
            pair.end()

    async def _pump(self, pair: "_Pair", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(_CHUNK):
                await self._weather(len(chunk))
                if self._tears and len(chunk) > 1:
                    await self._tear(pair, writer, chunk)
                    return
                if pair.finished:
                    continue
                writer.write(chunk)
                await writer.drain()
            await self._flowing.wait()
            pair.write_eof(writer)
        except (OSError, RuntimeError):  # one side broke the connection, or has closed it: so does the other
            pair.reset()

    async def _weather(self, size: int) -> None:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
            self.delayed += 1
        if not self._flowing.is_set():
            self.withheld += size
            await self._flowing.wait()

    async def _tear(self, pair: "_Pair", writer: asyncio.StreamWriter, chunk: bytes) -> None:
        self._tears -= 1
        writer.write(chunk[: len(chunk) // 2])
        await writer.drain()
        await asyncio.sleep(0.01)  # for the half to be read: a reset overtakes what is still on its way
        pair.reset()
        self.torn += 1


class _Pair:
    """One connection: its two halves."""

    def __init__(self, *writers: asyncio.StreamWriter) -> None:
        self.finished = False
        self.over = asyncio.Event()
        self._writers = writers

    def finish(self) -> bool:
        """False where it has ended already."""
        if self.finished:
            return False
        self.finished = True
        for writer in self._writers:
            self.write_eof(writer)
        asyncio.get_running_loop().call_later(_FAREWELL_S, self.reset)
        return True

    def write_eof(self, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, RuntimeError):  # it is gone, or was told before
            writer.write_eof()

    def reset(self) -> None:
        self.finished = True
        for writer in self._writers:
            _break(writer)

    def end(self) -> None:
        self.finished = True
        for writer in self._writers:
            writer.close()
        self.over.set()


def _break(writer: asyncio.StreamWriter) -> None:
    if not writer.transport.is_closing():
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NOW)
        writer.transport.abort()

"""The suite's own wire: bytes pass unchanged, and each fault is felt as what it is called."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import pytest

from tests.chaos.proxy import Link

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_LONG: Final = bytes(range(256)) * 4_000


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while chunk := await reader.read(65_536):
            writer.write(chunk)
            await writer.drain()
    except OSError:
        pass
    writer.close()


@asynccontextmanager
async def wired() -> AsyncIterator[Link]:
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = Link(server.sockets[0].getsockname()[1])
    await link.open()
    try:
        yield link
    finally:
        await link.close()
        server.close()


def over_a_link(scenario: Callable[[Link, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20), wired() as link:
            reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
            await scenario(link, reader, writer)
            writer.close()

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        await asyncio.sleep(0.01)
    return False


def test_bytes_pass_unchanged_and_an_end_is_passed_on() -> None:
    async def scenario(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_LONG)
        assert await reader.readexactly(len(_LONG)) == _LONG
        writer.write_eof()
        assert await reader.read() == b""
        assert await until(lambda: not link.connections)

    over_a_link(scenario)


def test_a_silenced_link_keeps_what_it_is_given_and_hands_it_over_later() -> None:
    async def scenario(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link.silence()
        writer.write(b"patience")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await reader.read(1)
        assert link.withheld == len(b"patience")
        link.heal()
        assert await reader.readexactly(8) == b"patience"

    over_a_link(scenario)


def test_a_finished_connection_ends_in_order() -> None:
    async def scenario(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x")
        await reader.readexactly(1)
        finishing = asyncio.create_task(link.finish())
        assert await reader.read() == b""
        writer.close()
        assert await finishing == 1

    over_a_link(scenario)


def test_a_reset_connection_breaks() -> None:
    async def scenario(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"x")
        await reader.readexactly(1)
        assert await link.reset() == 1
        with pytest.raises(ConnectionResetError):
            await reader.read()
        assert await link.reset() == 0

    over_a_link(scenario)


def test_a_torn_connection_breaks_within_a_chunk() -> None:
    async def scenario(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived: list[bytes] = []

        async def note(far_reader: asyncio.StreamReader, far_writer: asyncio.StreamWriter) -> None:
            try:
                while chunk := await far_reader.read(100):
                    arrived.append(chunk)
            except OSError:
                arrived.append(b"reset")
            far_writer.close()

        server = await asyncio.start_server(note, "127.0.0.1", 0)
        link.upstream = server.sockets[0].getsockname()[1]
        _, other = await asyncio.open_connection("127.0.0.1", link.port)
        link.tear()
        other.write(b"12345678")
        assert await until(lambda: b"reset" in arrived)
        assert (arrived, link.torn) == ([b"1234", b"reset"], 1)
        server.close()

    over_a_link(scenario)


def test_a_slow_link_counts_what_it_delays() -> None:
    async def scenario(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        link.delay_s = 0.1
        begun = loop.time()
        writer.write(b"x")
        await reader.readexactly(1)
        assert loop.time() - begun >= 0.2
        assert link.delayed == 2

    over_a_link(scenario)


def test_a_server_that_is_away_is_felt_as_a_broken_connection() -> None:
    async def scenario(link: Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link.upstream = 1
        other_reader, _ = await asyncio.open_connection("127.0.0.1", link.port)
        with pytest.raises(ConnectionResetError):
            await other_reader.read()

    over_a_link(scenario)

"""`/v1/events`: nobody misses an event, nobody sees one twice, and nobody waits for a slow reader."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from fillwright.api import events
from tests.api.running import SELL, Server, run, serving


class Listener:
    """A client of one stream, as a browser is one."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._lines = response.content
        self.last_id = ""
        self.comments = 0

    async def frame(self) -> Any:
        """The next event's frame; None where the stream ends."""
        while line := await self._line():
            name, _, value = line.partition(": ")
            match name:
                case "id":
                    self.last_id = value
                case "data":
                    return json.loads(value)
                case "":
                    self.comments += 1
                case _:
                    pass
        return None

    async def frames(self, count: int) -> list[Any]:
        return [await self.frame() for _ in range(count)]

    async def placed(self) -> None:
        """The greeting: where the stream begins."""
        while not self.last_id:
            name, _, value = (await self._line()).partition(": ")
            if name == "id":
                self.last_id = value

    async def _line(self) -> str:
        """The next one that is not empty; empty at the end of the stream."""
        async with asyncio.timeout(20):
            while line := (await self._lines.readline()).decode():
                if line != "\n":
                    return line.removesuffix("\n")
        return ""


@asynccontextmanager
async def listening(server: Server, query: str = "", **headers: str) -> AsyncIterator[Listener]:
    async with server.http.get(f"/v1/events{query}", headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        listener = Listener(response)
        yield listener


async def _told(server: Server, ids: list[str]) -> set[tuple[str, int]]:
    """All events of these orders, as each order's own history tells them."""
    told = set()
    for order_id in ids:
        await server.ended(order_id)
        history = (await server.get(f"/v1/orders/{order_id}/events")).json["data"]
        told |= {(order_id, frame["seq"]) for frame in history}
    return told


async def _submit(server: Server, count: int) -> list[str]:
    answers = await asyncio.gather(*(server.post("/v1/orders", SELL) for _ in range(count)))
    return [answer.json["id"] for answer in answers]


def test_from_the_very_first_event_or_from_now_on(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            early = await _told(server, await _submit(server, 3))
            async with listening(server) as now, listening(server, "?sinceId=0") as whole:
                await now.placed()
                late = await _told(server, await _submit(server, 3))
                frames = await now.frames(len(late))
                assert {(frame["orderId"], frame["seq"]) for frame in frames} == late
                frames = await whole.frames(len(early | late))
                assert {(frame["orderId"], frame["seq"]) for frame in frames} == early | late
                assert all(frame["type"] == "event" for frame in frames)

    run(script())


def test_a_reader_that_comes_back_at_any_time_misses_and_repeats_nothing(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            sending = asyncio.create_task(_submit(server, 40))
            seen: list[tuple[str, int]] = []
            place = "0"
            ended: set[str] = set()
            step = 0
            while len(ended) < 40:
                step = step % 7 + 1
                # the header wins over the address with which the client began
                async with listening(server, "?sinceId=0", **{"Last-Event-ID": place}) as stream:
                    for _ in range(step):
                        frame = await stream.frame()
                        seen.append((frame["orderId"], frame["seq"]))
                        if frame["status"] in ("confirmed", "failed"):
                            ended.add(frame["orderId"])
                        if len(ended) == 40:
                            break
                    place = stream.last_id
            assert len(seen) == len(set(seen))
            assert set(seen) == await _told(server, await sending)

    run(script())


def test_many_readers_share_one_reading(tmp_path: Path) -> None:
    async def script() -> None:
        async with serving(tmp_path) as server:
            reads = 0
            read = server.engine._store.log

            async def counted(*args: Any, **only: Any) -> Any:
                nonlocal reads
                reads += not only  # not those of the engine's own watcher
                return await read(*args, **only)

            server.engine._store.log = counted  # type: ignore[method-assign]
            connector = aiohttp.TCPConnector(limit=0)
            async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}", connector=connector) as http:
                server.http, mine = http, server.http
                try:
                    async with asyncio.TaskGroup() as group:
                        done = asyncio.Event()

                        async def follow() -> list[Any]:
                            async with listening(server) as stream:
                                await stream.placed()
                                ready.release()
                                frames = await stream.frames(5)
                                await done.wait()
                                return frames

                        ready = asyncio.Semaphore(0)
                        tasks = [group.create_task(follow()) for _ in range(100)]
                        for _ in tasks:
                            await ready.acquire()
                        before = reads
                        (order_id,) = await _submit(server, 1)
                        await server.ended(order_id)
                        done.set()
                    assert len({json.dumps(task.result()) for task in tasks}) == 1
                    assert reads - before < 60, "as for a single reader"
                finally:
                    server.http = mine

    run(script())


def _is_connected(server: Server, client: socket.socket) -> bool:
    """As the server sees it: what the client can still read is the kernel's business."""
    assert server.runner.server is not None
    transports = [connection.transport for connection in server.runner.server.connections]
    peers = [transport.get_extra_info("peername") for transport in transports if transport is not None]
    return client.getsockname() in peers


def test_a_reader_that_stands_still_is_let_go_and_costs_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "WRITE_S", 0.5)

    async def script() -> None:
        async with serving(tmp_path, send_buffer=4_096) as server:
            loop = asyncio.get_running_loop()
            with socket.socket() as still:
                still.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
                still.setblocking(False)
                await loop.sock_connect(still, ("127.0.0.1", server.port))
                await loop.sock_sendall(still, b"GET /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                async with listening(server) as good:
                    await good.placed()
                    assert _is_connected(server, still)
                    told = await _told(server, await _submit(server, 120))
                    frames = await good.frames(len(told))
                    assert {(frame["orderId"], frame["seq"]) for frame in frames} == told
                async with asyncio.timeout(20):
                    while _is_connected(server, still):  # noqa: ASYNC110
                        await asyncio.sleep(0.05)

    run(script())


def test_a_quiet_stream_beats_and_a_shutdown_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "BEAT_S", 0.05)

    async def script() -> None:
        async with serving(tmp_path) as server, listening(server) as stream:
            await stream.placed()
            waiting = asyncio.create_task(stream.frame())
            await asyncio.sleep(0.4)
            assert stream.comments >= 3
            await server.runner.cleanup()
            assert await waiting is None

    run(script())


@pytest.mark.parametrize("place", ["x", "-1", "1", "1-2-3", "1-", "99999999999999999999-1", "1-1 OR 1=1"])
def test_a_place_that_cannot_be_one_is_refused(tmp_path: Path, place: str) -> None:
    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server:
            answer = await server.get("/v1/events", params={"sinceId": place})
            assert (answer.status, answer.json["code"]) == (400, "REQUEST_MALFORMED")
            assert (await server.get("/v1/events?since=0")).status == 422

    run(script())

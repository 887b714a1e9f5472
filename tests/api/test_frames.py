"""Raw bytes where WebSocket frames should be: each ends its own socket with the right code, and no other."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from fillwright.api.strict import Strict
from tests.api.frames import CASES, CLOSE, Case, frame
from tests.api.running import SELL, Server, heard, run, serving

PATHS = ("/v1/stream", "/ws", "/api/orders/ws", "/ws/orders/{id}")
HELLO = (
    "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Peer:
    """A client that sends any bytes and reads frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    @classmethod
    async def join(cls, server: Server, path: str) -> "Peer":
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(HELLO.format(path=path).encode())
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        return cls(reader, writer)

    async def frame(self) -> tuple[int, bytes]:
        first, second = await self._reader.readexactly(2)
        assert first & 0x70 == 0
        assert second < 128, "a server's frame is not masked"
        told = {126: 2, 127: 8}.get(second)
        length = second if told is None else int.from_bytes(await self._reader.readexactly(told))
        return first & 0x0F, await self._reader.readexactly(length)

    async def close_code(self) -> int | None:
        """Of the close frame, whatever comes before it; None if the connection just ends."""
        try:
            while True:
                opcode, payload = await self.frame()
                if opcode == CLOSE:
                    return int.from_bytes(payload[:2]) if payload else 1000
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def answered(self) -> bool:
        """Whether a ping of the protocol comes back: the socket is open and its conversation goes on."""
        self.writer.write(frame(0x9, b"still here"))
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                return False
            if opcode == 0xA and payload == b"still here":
                return True


async def outcome(server: Server, path: str, wire: bytes, *, stays: bool) -> int | None:
    """The code that these bytes are answered with; None: none, the socket goes on. -1: the connection just ended; 0: it
    should have ended, and did not."""
    peer = await Peer.join(server, path)
    try:
        async with asyncio.timeout(10):
            peer.writer.write(wire)
            if stays and await peer.answered():
                return None
            return await peer.close_code() or -1
    except TimeoutError:
        return 0
    finally:
        peer.writer.close()


@pytest.mark.parametrize("path", PATHS)
def test_every_hostile_frame_ends_its_own_socket_with_the_right_code(tmp_path: Path, path: str) -> None:
    """Beside them a healthy stream sees every event of every order."""

    async def script() -> None:
        async with serving(tmp_path, start_worker=False) as server, server.http.ws_connect("/v1/stream") as healthy:
            await healthy.send_json({"type": "subscribe", "orderId": None})
            assert (await heard(healthy, "subscribed"))["orderId"] is None
            watched = (await server.post("/v1/orders", SELL)).json["orderId"]
            wrong: dict[str, int | None] = {}
            for number, case in enumerate(CASES):
                if number % 10 == 0:
                    order_id = (await server.post("/v1/orders", SELL)).json["orderId"]
                    assert (await server.send("DELETE", f"/v1/orders/{order_id}")).status == 200
                code = await outcome(server, path.replace("{id}", watched), case.wire, stays=case.code is None)
                if code != case.code:
                    wrong[case.name] = code
            assert wrong == {}
            seen = [await heard(healthy, "event") for _ in range(2 * server.rows() - 1)]
            assert [each["status"] for each in seen] == ["pending"] + ["pending", "canceled"] * (server.rows() - 1)

    run(script(), within_s=110)


def test_the_table_is_what_it_says() -> None:
    assert len(CASES) >= 100
    assert not [name for name, count in Counter(case.name for case in CASES).items() if count > 1]
    assert {case.code for case in CASES} >= {None, 1002, 1003, 1007, 1009, 4029}


class Taken(asyncio.Protocol):
    """What comes through."""

    def __init__(self) -> None:
        self.bytes = b""

    def data_received(self, data: bytes) -> None:
        self.bytes += data


@pytest.mark.parametrize("case", [case for case in CASES if len(case.wire) < 10_000], ids=lambda case: case.name)
def test_how_bytes_are_cut_into_reads_changes_nothing(case: Case) -> None:
    """And what keeps the rules comes through as it was sent."""
    taken: list[bytes] = []
    for step in (1, 2, 3, 7, len(case.wire)):
        inner = Taken()
        strict = Strict(inner)
        for at in range(0, len(case.wire), step):
            strict.data_received(case.wire[at : at + step])
        taken.append(inner.bytes)
    assert len(set(taken)) == 1
    if case.code is None:
        assert taken[0] == case.wire

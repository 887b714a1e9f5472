"""`python -m tests.api.stalled`: WebSocket readers that stand still, and what they cost the server and the others.

Decides: what they may cost: MEMORY_MB, and not one event of any healthy reader; each must be let go with 4008. Must
never: measure anything but the real server, as a process of its own.
"""

import argparse
import asyncio
import json
import re
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec

from tests.api.running import SELL, TERMINAL, heard, run
from tests.servers.fleet import Process
from tests.servers.machine import free_port

MEMORY_MB: Final = 10.0
IN_FLIGHT: Final = 16
LET_GO_S: Final = 60.0
_LOOK_S: Final = 0.05
_TOO_SLOW: Final = re.compile(r'^fillwright_sockets_closed_total\{code="4008"\} ([0-9.]+)', re.MULTILINE)
_HELLO: Final = (
    b"GET /v1/stream HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
_SUBSCRIBE: Final = b'{"type":"subscribe","orderId":null}'


class Outcome(msgspec.Struct, frozen=True):
    orders: int
    stalled: int
    let_go: int
    """Of those that stood still: closed with 4008, as the server counts."""
    missing: int
    """Events that a healthy reader should have had and had not, over all of them, and those out of order."""
    before_mb: float
    warm_mb: float
    """After the same orders without anybody who stands still."""
    peak_mb: float
    after_mb: float

    @property
    def added_mb(self) -> float:
        return max(self.peak_mb, self.after_mb) - self.warm_mb

    @property
    def well(self) -> bool:
        return self.let_go == self.stalled and not self.missing and self.added_mb <= MEMORY_MB


async def measure(server: Process, *, stalled: int, healthy: int, orders: int) -> Outcome:
    """`orders` without anybody who stands still; then as many with them, or more until all of them are let go.

    The fewer orders there are, the more of what is added is the server's own: it remembers the last 10,000."""
    async with aiohttp.ClientSession(server.url) as http:
        readers = [await _Healthy.join(http) for _ in range(healthy)]
        before_mb = server.memory_mb()
        placed = await _place(http, orders)
        for reader in readers:
            await reader.until_ended(placed)
        warm_mb = peak_mb = server.memory_mb()
        still = [await _stand_still(server.port) for _ in range(stalled)]
        give_up_at = asyncio.get_running_loop().time() + LET_GO_S
        rounds = 0
        while rounds < orders or (await _let_go(http) < stalled and asyncio.get_running_loop().time() < give_up_at):
            placed |= await _place(http, 50)
            rounds += 50
            peak_mb = max(peak_mb, server.memory_mb())
        for reader in readers:
            await reader.until_ended(placed)
        for each in still:
            each.close()
        missing = sum(reader.missing(placed) for reader in readers)
        for reader in readers:
            await reader.close()
        return Outcome(
            len(placed), stalled, await _let_go(http), missing,
            before_mb, warm_mb, peak_mb, server.memory_mb(),
        )  # fmt: skip


class _Healthy:
    """Reads everything at once, and remembers the seqs of each order."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self._ws = ws
        self._seqs: dict[str, list[int]] = {}
        self._ended: set[str] = set()
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def join(cls, http: aiohttp.ClientSession) -> "_Healthy":
        ws = await http.ws_connect("/v1/stream")
        await ws.send_str(_SUBSCRIBE.decode())
        await heard(ws, "subscribed")
        return cls(ws)

    async def _read(self) -> None:
        async for message in self._ws:
            frame: Any = json.loads(message.data)
            if frame["type"] == "event":
                self._seqs.setdefault(frame["orderId"], []).append(frame["seq"])
                if frame["status"] in TERMINAL:
                    self._ended.add(frame["orderId"])

    async def until_ended(self, placed: set[str]) -> None:
        """Or until it has lost its socket."""
        async with asyncio.timeout(LET_GO_S):
            while not (placed <= self._ended or self._reading.done()):  # noqa: ASYNC110 - a few looks are enough
                await asyncio.sleep(_LOOK_S)

    def missing(self, placed: set[str]) -> int:
        lacking = len(placed - self._ended)
        return lacking + sum(seqs != list(range(1, len(seqs) + 1)) for seqs in self._seqs.values())

    async def close(self) -> None:
        await self._ws.close()
        await self._reading


async def _place(http: aiohttp.ClientSession, orders: int) -> set[str]:
    left, placed = iter(range(orders)), set[str]()

    async def client() -> None:
        for _ in left:
            async with http.post("/v1/orders", json={**SELL, "amount": "0.01"}) as answer:
                assert answer.status == 201, await answer.text()
                placed.add((await answer.json())["orderId"])

    await asyncio.gather(*(client() for _ in range(IN_FLIGHT)))
    return placed


async def _stand_still(port: int) -> socket.socket:
    """A subscriber of everything that reads its welcome and no more."""
    raw, loop = socket.socket(), asyncio.get_running_loop()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    raw.setblocking(False)
    await loop.sock_connect(raw, ("127.0.0.1", port))
    await loop.sock_sendall(raw, _HELLO + bytes([0x81, 0x80 | len(_SUBSCRIBE), 0, 0, 0, 0]) + _SUBSCRIBE)
    told = b""
    while b'"subscribed"' not in told:
        told += await loop.sock_recv(raw, 256)
    return raw


async def _let_go(http: aiohttp.ClientSession) -> int:
    async with http.get("/metrics") as answer:
        counted = _TOO_SLOW.search(await answer.text())
    return int(float(counted[1])) if counted else 0


def campaign(folder: Path, *, stalled: int, healthy: int, orders: int) -> Outcome:
    env = {"FILLWRIGHT_DATA": str(folder / "data"), "FILLWRIGHT_SIM": "instant", "CONCURRENCY": "64"}
    server = Process("server", ["serve"], port=free_port(), env=env, log=folder / "log")
    server.start()
    try:
        return run(measure(server, stalled=stalled, healthy=healthy, orders=orders), within_s=600)
    finally:
        server.stop()


def _main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stalled", type=int, default=50)
    parser.add_argument("--healthy", type=int, default=10)
    parser.add_argument("--orders", type=int, default=12_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fillwright-stalled-") as folder:
        told = campaign(Path(folder), stalled=asked.stalled, healthy=asked.healthy, orders=asked.orders)
    print(f"{told.stalled} readers that stand still, {asked.healthy} healthy ones, {told.orders:,} orders")
    print(f"let go     {told.let_go} with 4008")
    print(f"missing    {told.missing} orders with events that a healthy reader had not, or not in order")
    print(
        f"memory     {told.before_mb:.1f} MB, {told.warm_mb:.1f} after {asked.orders:,} orders without them,"
        f" {told.peak_mb:.1f} at most with them, {told.after_mb:.1f} at the end: {told.added_mb:+.1f}"
    )
    print("well" if told.well else "FAILED")
    return 0 if told.well else 1


if __name__ == "__main__":
    sys.exit(_main())

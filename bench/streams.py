"""How many events a second one process streams to many WebSocket subscribers.

Decides: what is measured and how. The embedded engine runs as its own process, real orders make the events, and every
subscriber follows all of them on /v1/stream; the readers count frames in the bytes that arrive. One reader among them
stands still. Orders are offered faster and faster: the figure is the best second-by-second rate that still reached all.

    python -m bench.streams --subscribers 1000 --orders 2000
"""

import argparse
import asyncio
import os
import platform
import resource
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import cast

import uvloop

from bench.engine import quantile
from tests.servers.fleet import Process
from tests.servers.machine import free_port

HELLO = (
    b"GET /v1/stream HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SUBSCRIBE = b'{"type":"subscribe","orderId":null}'
MESSAGE = bytes([0x81, 0x80 | len(SUBSCRIBE), 0, 0, 0, 0]) + SUBSCRIBE
EVENT = b'"type":"event"'
BODY = b'{"tokenIn":"SOL","tokenOut":"USDC","amount":"0.001","slippageBps":500}'
POST = b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


class Reader(asyncio.Protocol):
    """Counts the events that arrive; a frame's mark may come in two pieces, so the last few bytes are kept."""

    def __init__(self) -> None:
        self.events = 0
        self.ready = asyncio.get_running_loop().create_future()
        self.closed = False
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(HELLO + MESSAGE)

    def data_received(self, data: bytes) -> None:
        text = self._tail + data
        self.events += text.count(EVENT)
        self._tail = text[-len(EVENT) + 1 :]
        if not self.ready.done() and b'"subscribed"' in text:
            self.ready.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True


async def measure(server: Process, subscribers: int, orders: int, in_flight: int) -> None:
    loop = asyncio.get_running_loop()
    bare_mb = server.memory_mb()
    readers: list[Reader] = []
    for start in range(0, subscribers, 200):
        count = min(200, subscribers - start)
        made = await asyncio.gather(*(loop.create_connection(Reader, "127.0.0.1", server.port) for _ in range(count)))
        readers += [reader for _, reader in made]
        await asyncio.gather(*(reader.ready for _, reader in made))
    held_mb = server.memory_mb()
    stalled = readers[0]
    stalled.transport.pause_reading()
    healthy = readers[1:]

    left = iter(range(orders))
    began, cpu = time.perf_counter(), server.cpu_s()

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in left:
            before = healthy[-1].events
            writer.write(POST % (len(BODY), BODY))
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            at = lower.index(b"content-length:") + 15
            await reader.readexactly(int(lower[at : lower.index(b"\r\n", at)]))
            while healthy[-1].events == before:  # noqa: ASYNC110 - keep so many in flight, no more
                await asyncio.sleep(0.002)
        writer.close()

    marks: list[tuple[float, int]] = []
    clients = [asyncio.create_task(client()) for _ in range(in_flight)]
    quiet_since, last = time.perf_counter(), -1
    while time.perf_counter() - quiet_since < 2.0:
        total = sum(reader.events for reader in healthy)
        now = time.perf_counter()
        marks.append((now, total))
        if total != last:
            quiet_since, last = now, total
        await asyncio.sleep(0.25)
    await asyncio.gather(*clients)
    ended = quiet_since
    used = server.cpu_s() - cpu
    each = sorted(reader.events for reader in healthy)
    rates = [
        (after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(marks) if after[1] > before[1]
    ]
    print(f"  subscribers        {subscribers:>10} (one of them stands still, closed: {stalled.closed})")
    print(f"  events each got    {each[0]} .. {each[-1]}, lost connections: {sum(r.closed for r in healthy)}")
    print(
        f"  deliveries         {last:>10}, {last / (ended - began):,.0f} a second over all,"
        f" {quantile(rates, 0.5):,.0f} median, {max(rates):,.0f} best quarter second"
    )
    print(f"  server CPU         {used / last * 1e6:>10.2f} us a delivery, orders included")
    print(
        f"  memory             {(held_mb - bare_mb) * 1024 / subscribers:>10.1f} kB a connection,"
        f" {server.peak_mb():.0f} MB at most"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subscribers", type=int, default=1_000)
    parser.add_argument("--orders", type=int, default=1_000)
    parser.add_argument("--in-flight", type=int, default=16)
    args = parser.parse_args()
    most = args.subscribers + 1_000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, hard), hard))
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}")
    with tempfile.TemporaryDirectory(prefix="fillwright-bench-") as folder:
        env = {"FILLWRIGHT_DATA": folder, "FILLWRIGHT_SIM": "instant", "CONCURRENCY": "64"}
        server = Process("server", ["serve"], port=free_port(), env=env, log=Path(folder) / "log")
        server.start()
        try:
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(measure(server, args.subscribers, args.orders, args.in_flight))
        finally:
            server.stop()


if __name__ == "__main__":
    main()

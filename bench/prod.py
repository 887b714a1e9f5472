"""One API and one worker process on real PostgreSQL and Redis: from POST over HTTP to `confirmed`.

Decides: what is measured and how. It starts a private PostgreSQL (fsync on) and Redis, the simulated chain, one API and
one worker process, all on this machine's cores, beside the load generator; CPU and memory come from /proc, each process
by itself, PostgreSQL with all its backends.

    python -m bench.prod --orders 20000                     as fast as it goes, 50 keep-alive connections
    python -m bench.prod --orders 20000 --rate 1000         that many offered a second
    python -m bench.prod --orders 5000 --closed             closed loop: a client waits for its order's end
    --without-redis                                         PostgreSQL alone
"""

import argparse
import asyncio
import itertools
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import msgspec
import uvloop

from bench.engine import Created, Frame, quantile
from tests.servers.fleet import Fleet, cpu_s

ENDED = ("confirmed", "failed", "expired", "canceled")
LAMPORTS = 1_000_000


def request_of(number: int, sizes: int) -> bytes:
    """One of so many amounts; a prime step, so that neighbours differ."""
    lamports = LAMPORTS + number * 7_919 % sizes
    body = b'{"tokenIn":"SOL","tokenOut":"USDC","amount":"0.%09d","slippageBps":500}' % lamports
    head = (
        b"POST /v1/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    )
    return head % len(body) + body


@dataclass
class Measured:
    accepted_s: list[float] = field(default_factory=list)
    confirmed_s: list[float] = field(default_factory=list)
    refused: int = 0
    statuses: dict[str, int] = field(default_factory=dict)


class Load:
    """`clients` connections; every order's end is heard on one stream of all events."""

    def __init__(self, port: int, args: argparse.Namespace) -> None:
        self.port, self.sizes, self.clients = port, args.sizes, args.clients
        self.orders, self.rate, self.closed = args.orders, args.rate, args.closed
        self.measured = Measured()
        self.sent: dict[str, float] = {}
        self.ended: dict[str, tuple[str, float]] = {}
        self.waiting: dict[str, asyncio.Future[None]] = {}
        self.left = args.orders
        self.done = asyncio.Event()

    async def run(self) -> float:
        """Seconds from the first POST to the last confirmation."""
        url = f"http://127.0.0.1:{self.port}/v1/stream"
        numbers = itertools.count()
        async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as stream:
            await stream.send_str('{"type":"subscribe","reqId":1,"orderId":null}')
            await stream.receive()
            listening = asyncio.create_task(self.listen(stream))
            begun = time.perf_counter()
            clients = [asyncio.create_task(self.client(numbers, begun)) for _ in range(self.clients)]
            await asyncio.gather(*clients)
            async with asyncio.timeout(120):
                await self.done.wait()
            seconds = time.perf_counter() - begun
            listening.cancel()
        return seconds

    async def listen(self, stream: aiohttp.ClientWebSocketResponse) -> None:
        decode = msgspec.json.Decoder(Frame).decode
        async for message in stream:
            if b'"cause":"landed"' in message.data.encode()[:400] or '"status":"failed"' in message.data[:300]:
                frame = decode(message.data)
                if frame.status in ENDED:
                    self.end(frame.orderId, frame.status)
        raise RuntimeError(f"the stream was closed with {stream.close_code}")

    def end(self, order_id: str, status: str) -> None:
        if order_id in self.sent:
            self.count(order_id, status, time.perf_counter())
        else:
            self.ended[order_id] = (status, time.perf_counter())

    def count(self, order_id: str, status: str, at: float) -> None:
        self.measured.confirmed_s.append(at - self.sent.pop(order_id))
        self.measured.statuses[status] = self.measured.statuses.get(status, 0) + 1
        self.left -= 1
        if (waiting := self.waiting.pop(order_id, None)) is not None:
            waiting.set_result(None)
        if self.left <= 0:
            self.done.set()

    async def client(self, numbers: Iterator[int], begun: float) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for number in numbers:
            if number >= self.orders:
                break
            due = begun + number / self.rate if self.rate else 0.0
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            asked = due if self.rate else time.perf_counter()
            writer.write(request_of(number, self.sizes))
            head = await reader.readuntil(b"\r\n\r\n")
            lower = head.lower()
            start = lower.index(b"content-length:") + 15
            body = await reader.readexactly(int(lower[start : lower.index(b"\r\n", start)]))
            if not head.startswith(b"HTTP/1.1 201"):
                raise RuntimeError(body.decode())
            self.measured.accepted_s.append(time.perf_counter() - asked)
            order_id = msgspec.json.decode(body, type=Created).id
            self.sent[order_id] = asked
            if order_id in self.ended:
                status, at = self.ended.pop(order_id)
                self.count(order_id, status, at)
            elif self.closed:
                self.waiting[order_id] = asyncio.get_running_loop().create_future()
                await self.waiting[order_id]
        writer.close()


def postgres_cpu_s(fleet: Fleet) -> float:
    """Of the server and all its processes, those that have ended included."""
    parent = fleet.postgres.pid
    total = 0.0
    for pid in [parent, *map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())]:
        total += cpu_s(pid)
    fields = Path(f"/proc/{parent}/stat").read_text().rsplit(")", 1)[1].split()
    return total + (int(fields[13]) + int(fields[14])) / os.sysconf("SC_CLK_TCK")


async def age(database: str) -> None:
    """Leave the server as one that has run for a while: its write-ahead log goes into files that exist already."""
    connection = await asyncpg.connect(database)
    await connection.execute("CREATE TABLE aged AS SELECT repeat('x', 1000) FROM generate_series(1, 400000)")
    await connection.execute("DROP TABLE aged")
    await connection.execute("CHECKPOINT")
    await connection.close()


def cpu_table(fleet: Fleet) -> dict[str, float]:
    table = {
        "API": fleet.apis[0].cpu_s(),
        "worker": fleet.workers[0].cpu_s(),
        "PostgreSQL": postgres_cpu_s(fleet),
        "simulated chain": fleet.chain.cpu_s(),
        "load generator": time.process_time(),
    }
    if fleet.redis is not None:
        table["Redis"] = cpu_s(fleet.redis.pid)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=20_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--concurrency", type=int, default=256, help="orders the worker drives at once")
    parser.add_argument("--rate", type=float, default=0.0, help="orders offered a second; 0: as fast as it goes")
    parser.add_argument("--closed", action="store_true", help="a client's next order waits for the end of its last")
    parser.add_argument("--sizes", type=int, default=1, help="different amounts; 1: all orders ask for the same swap")
    parser.add_argument("--without-redis", action="store_true")
    args = parser.parse_args()
    settings = {
        "FILLWRIGHT_SIM": "instant",
        "CONCURRENCY": str(args.concurrency),
        "FILLWRIGHT_QUEUE_MAX": "1000000",
        "FILLWRIGHT_QUEUE_AGE_MAX_S": "600",
    }
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}")
    with (
        tempfile.TemporaryDirectory(prefix="fillwright-bench-") as folder,
        Fleet(
            Path(folder),
            apis=1,
            workers=1,
            with_redis=not args.without_redis,
            settings=settings,
            postgres={"shared_buffers": "256MB", "max_wal_size": "2GB", "min_wal_size": "1GB"},
        ) as fleet,
    ):

        def load(**changes: Any) -> tuple[Measured, float]:
            async def go() -> tuple[Measured, float]:
                load = Load(fleet.apis[0].port, argparse.Namespace(**{**vars(args), **changes}))
                seconds = await load.run()
                return load.measured, seconds

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(go())

        asyncio.run(age(fleet.database))
        load(orders=1_000, rate=0, closed=False)  # warm up
        before = cpu_table(fleet)
        measured, seconds = load()
        used = {name: after - before[name] for name, after in cpu_table(fleet).items()}
        peaks = {"API": fleet.apis[0].peak_mb(), "worker": fleet.workers[0].peak_mb()}
    report(args, measured, seconds, used, peaks)


def report(
    args: argparse.Namespace, measured: Measured, seconds: float, used: dict[str, float], peaks: dict[str, float]
) -> None:
    orders = args.orders
    way = "closed loop" if args.closed else f"{args.rate:.0f} offered a second" if args.rate else "as fast as it goes"
    print(f"{orders} orders of {args.sizes} sizes, {args.clients} clients, {way}")
    print(f"  ends               {measured.statuses}")
    print(f"  throughput         {orders / seconds:10.0f} orders/s")
    for name, times in (("accepted", measured.accepted_s), ("confirmed", measured.confirmed_s)):
        print(f"  {name} p50 / p99 {quantile(times, 0.5) * 1e3:11.1f} / {quantile(times, 0.99) * 1e3:.1f} ms")
    for name, cpu in used.items():
        print(f"  CPU {name:<16}{cpu / orders * 1e6:8.0f} us/order")
    engine = sum(used.get(name, 0.0) for name in ("API", "worker", "PostgreSQL", "Redis"))
    print(f"  CPU engine          {engine / orders * 1e6:7.0f} us/order (API, worker, PostgreSQL, Redis)")
    for name, peak in peaks.items():
        print(f"  peak memory {name:<8}{peak:8.0f} MB")


if __name__ == "__main__":
    main()

"""The embedded engine under load: from POST over HTTP to the confirmed frame on the WebSocket stream.

Decides: what is measured and how. It starts the real server as its own process on a fresh folder, with preset
`instant`, and keeps a number of keep-alive connections busy, each with one order in flight (closed loop).
CPU and memory are the server's own, read from /proc; the load generator runs on the other core.

    python -m bench.engine --orders 20000 --clients 50 --runs 3
"""

import argparse
import asyncio
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import msgspec
import uvloop

BODY = b'{"tokenIn":"SOL","tokenOut":"USDC","amount":"0.001","slippageBps":500}'
REQUEST = (
    b"POST /v1/orders HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Result:
    seconds: float
    accepted_s: list[float]
    confirmed_s: list[float]
    cpu_s: float
    peak_mb: float


class Created(msgspec.Struct):
    id: str


class Frame(msgspec.Struct):
    type: str
    orderId: str = ""  # noqa: N815 - the name on the wire
    status: str = ""


async def post(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
    """One POST on a keep-alive connection; the new order's id."""
    writer.write(REQUEST)
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 201"):
        raise RuntimeError(head.decode())
    lower = head.lower()
    start = lower.index(b"content-length:") + 15
    length = int(lower[start : lower.index(b"\r\n", start)])
    return msgspec.json.decode(await reader.readexactly(length), type=Created).id


class Load:
    """`clients` connections, one order in flight on each, until `orders` are confirmed."""

    def __init__(self, port: int, orders: int, clients: int) -> None:
        self.port, self.left, self.clients = port, orders, clients
        self.orders = orders
        self.accepted_s: list[float] = []
        self.confirmed_s: list[float] = []
        self.ended: dict[str, asyncio.Future[str]] = {}
        self.early: dict[str, str] = {}

    async def run(self) -> float:
        """Seconds from the first POST to the last confirmation."""
        url = f"http://127.0.0.1:{self.port}/v1/stream"
        async with aiohttp.ClientSession() as session, session.ws_connect(url, max_msg_size=0) as stream:
            await stream.send_str('{"type":"subscribe","reqId":1,"orderId":null}')
            await stream.receive()
            listener = asyncio.create_task(self.listen(stream))
            begun = time.perf_counter()
            await asyncio.gather(*(self.client() for _ in range(self.clients)))
            seconds = time.perf_counter() - begun
            listener.cancel()
        return seconds

    async def listen(self, stream: aiohttp.ClientWebSocketResponse) -> None:
        decode = msgspec.json.Decoder(Frame).decode
        async for message in stream:
            frame = decode(message.data)
            if frame.status in ("confirmed", "failed", "expired", "canceled"):
                waiting = self.ended.pop(frame.orderId, None)
                if waiting is None:
                    self.early[frame.orderId] = frame.status
                else:
                    waiting.set_result(frame.status)
        raise RuntimeError(f"the stream was closed with {stream.close_code}")

    async def client(self) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        while self.left > 0:
            self.left -= 1
            sent = time.perf_counter()
            order_id = await post(reader, writer)
            self.accepted_s.append(time.perf_counter() - sent)
            status = self.early.pop(order_id, None) or await self.end_of(order_id)
            self.confirmed_s.append(time.perf_counter() - sent)
            if status != "confirmed":
                raise RuntimeError(f"order {order_id} ended {status}")
        writer.close()

    async def end_of(self, order_id: str) -> str:
        self.ended[order_id] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(60):
            return await self.ended[order_id]


def measure(orders: int, clients: int, concurrency: int) -> Result:
    with tempfile.TemporaryDirectory(prefix="fillwright-bench-") as folder:
        server, port = start(Path(folder), concurrency)
        try:
            run_load(port, 500, clients)  # warm up
            cpu = cpu_seconds(server.pid)
            load, seconds = run_load(port, orders, clients)
            cpu = cpu_seconds(server.pid) - cpu
            peak = peak_mb(server.pid)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait(30)
    return Result(seconds, load.accepted_s, load.confirmed_s, cpu, peak)


def start(folder: Path, concurrency: int) -> tuple[subprocess.Popen[str], int]:
    env = {
        "PATH": os.environ["PATH"],
        "PORT": "0",
        "FILLWRIGHT_DATA": str(folder),
        "FILLWRIGHT_SIM": "instant",
        "FILLWRIGHT_LOG_LEVEL": "WARNING",
        "CONCURRENCY": str(concurrency),
    }
    command = [sys.executable, "-m", "fillwright.cli", "serve"]
    server = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    for line in server.stdout:
        if "console" in line:
            return server, int(line.strip().rstrip("/").rsplit(":", 1)[1])
    raise RuntimeError("the server did not start")


def run_load(port: int, orders: int, clients: int) -> tuple[Load, float]:
    async def go() -> tuple[Load, float]:
        load = Load(port, orders, clients)
        return load, await load.run()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(go())


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def peak_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--concurrency", type=int, default=64, help="orders the worker drives at once")
    parser.add_argument("--runs", type=int, default=3)
    args = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}")
    print(f"{args.orders} orders, {args.clients} clients, concurrency {args.concurrency}; median of {args.runs} runs")
    results = [measure(args.orders, args.clients, args.concurrency) for _ in range(args.runs)]

    def row(name: str, unit: str, values: list[float]) -> None:
        print(f"  {name:<22}{statistics.median(values):>10.2f} {unit:<9} ({min(values):.2f} .. {max(values):.2f})")

    row("throughput", "orders/s", [args.orders / result.seconds for result in results])
    for share in (0.5, 0.99):
        row(f"accepted p{share * 100:.0f}", "ms", [quantile(r.accepted_s, share) * 1e3 for r in results])
    for share in (0.5, 0.99):
        row(f"confirmed p{share * 100:.0f}", "ms", [quantile(r.confirmed_s, share) * 1e3 for r in results])
    row("server CPU an order", "us", [result.cpu_s / args.orders * 1e6 for result in results])
    row("server peak memory", "MB", [result.peak_mb for result in results])


if __name__ == "__main__":
    main()

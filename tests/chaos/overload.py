"""Ten times more orders than the workers can do: what is accepted ends, the excess is refused at once, memory stays.

Decides: what is offered and measured. Must never: count a refusal that does not say when to come again.

The workers are few, so that what is offered is far from what this machine's API could take: the refusals are measured,
not the load generator.

    python -m tests.chaos.overload --seconds 60 [--without-redis]
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import asyncpg
import msgspec
import uvloop

from tests.chaos.memory import Findings, Memory, Wish
from tests.chaos.verdict import judge, settled
from tests.servers.fleet import Fleet, Process

CLIENTS: Final = 64
TIMES: Final = 10
WAITING_MAX: Final = 100
CONCURRENCY: Final = 100
REFUSAL_S_MAX: Final = 0.05
GROWTH_MB_MAX: Final = 64.0
_MEASURE_S: Final = 10.0
_BOUND_S: Final = 60.0
_GUESS: Final = 60.0
"""Orders a second that are offered while capacity is measured: more than these workers do."""
_HEAD: Final = (
    b"POST /v1/orders HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Idempotency-Key: key-%d\r\nContent-Length: %d\r\n\r\n"
)
_BODY: Final = b'{"tokenIn":"SOL","tokenOut":"USDC","amount":"0.001","slippageBps":500}'


class Created(msgspec.Struct):
    id: str


@dataclass
class Offered:
    """What became of the requests of one phase."""

    memory: Memory
    port: int
    rate: float
    seconds: float
    first: int
    """Number of the first request."""
    sent: int = 0
    refused_s: list[float] = field(default_factory=list)
    accepted_s: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)

    async def run(self) -> None:
        begun = asyncio.get_running_loop().time()
        due = self._due(begun)
        async with asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(self._client(due))

    def _due(self, begun: float) -> Iterator[tuple[int, float]]:
        for nth in range(int(self.rate * self.seconds)):
            yield self.first + nth, begun + nth / self.rate

    async def _client(self, due: Iterator[tuple[int, float]]) -> None:
        loop = asyncio.get_running_loop()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for number, at in due:
            await asyncio.sleep(max(0.0, at - loop.time()))
            asked = loop.time()
            self.sent += 1
            writer.write(_HEAD % (number, len(_BODY)) + _BODY)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            start = head.index(b"content-length:") + 15
            body = await reader.readexactly(int(head[start : head.index(b"\r\n", start)]))
            self._note(number, head, body, loop.time() - asked)
        writer.close()

    def _note(self, number: int, head: bytes, body: bytes, took_s: float) -> None:
        status = int(head[9:12])
        self.statuses[status] += 1
        if status == 201:
            self.accepted_s.append(took_s)
            wish = Wish(number, {}, f"key-{number}", None)
            self.memory.asked.append(wish)
            self.memory.acknowledge(wish, msgspec.json.decode(body, type=Created).id)
        elif status == 503 and b"\r\nretry-after:" in head and b"application/problem+json" in head:
            self.refused_s.append(took_s)
        else:
            self.memory.findings.violate("I13", f"answered {head[:60]!r} {body[:200]!r}")


def quantile(times: list[float], share: float) -> float:
    return sorted(times)[min(int(len(times) * share), len(times) - 1)] if times else 0.0


async def _capacity(fleet: Fleet, memory: Memory) -> float:
    """Orders a second that the workers do while there is always one to do."""
    offered = Offered(memory, fleet.apis[0].port, _GUESS, 2 * _MEASURE_S, 0)
    phase = asyncio.create_task(offered.run())
    await asyncio.sleep(_MEASURE_S)
    done, begun = await _done(fleet), time.monotonic()
    await asyncio.sleep(_MEASURE_S - 1)
    rate = (await _done(fleet) - done) / (time.monotonic() - begun)
    await phase
    return rate


async def _done(fleet: Fleet) -> int:
    connection = await asyncpg.connect(fleet.database)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM orders WHERE due_at IS NULL"))
    finally:
        await connection.close()


async def overload(fleet: Fleet, seconds: float, times: float) -> Findings:
    memory = Memory()
    findings = memory.findings
    capacity = await _capacity(fleet, memory)
    watched: list[Process] = [*fleet.apis, *fleet.workers]
    before = {process.name: process.memory_mb() for process in watched}
    offered = Offered(memory, fleet.apis[0].port, times * capacity, seconds, first=1_000_000)
    begun = time.monotonic()
    await offered.run()
    rate = offered.sent / (time.monotonic() - begun)
    growth = {process.name: process.peak_mb() - before[process.name] for process in watched}
    settled_s = await settled(fleet.database, _BOUND_S)
    totals = await judge(memory, fleet.database, fleet.ledger)
    p50, p99 = quantile(offered.refused_s, 0.5), quantile(offered.refused_s, 0.99)
    print(f"capacity             {capacity:8.1f} orders/s")
    print(
        f"offered              {rate:8.1f} orders/s for {seconds:.0f} s: {rate / max(capacity, 1e-9):.1f} times as many"
    )
    print(f"answers              {dict(sorted(offered.statuses.items()))}")
    print(f"refused, p50 / p99   {p50 * 1e3:8.1f} / {p99 * 1e3:.1f} ms")
    print(
        f"accepted, p50 / p99  {quantile(offered.accepted_s, 0.5) * 1e3:8.1f} / "
        f"{quantile(offered.accepted_s, 0.99) * 1e3:.1f} ms"
    )
    for name, grown in growth.items():
        print(f"memory of {name:<10} {before[name]:8.1f} MB, at most {grown:+.1f} MB")
    print(f"ended                {dict(sorted(totals.statuses.items()))}, the last after {settled_s or _BOUND_S:.1f} s")
    _demand(findings, rate=rate, capacity=capacity, times=times, refusals=len(offered.refused_s), p99=p99)
    for name, grown in growth.items():
        if grown > GROWTH_MB_MAX:
            findings.violate("I13", f"{name} grew by {grown:.0f} MB")
    return findings


def _demand(findings: Findings, *, rate: float, capacity: float, times: float, refusals: int, p99: float) -> None:
    if rate < 0.95 * times * capacity:
        findings.violate("harness", f"only {rate:.0f} a second were offered, of {times * capacity:.0f}")
    if not refusals:
        findings.violate("harness", "nothing was refused")
    if p99 > REFUSAL_S_MAX:
        findings.violate("I13", f"1 % of the refusals took longer than {p99 * 1e3:.0f} ms")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--times", type=float, default=TIMES, help="how many times what the workers can do")
    parser.add_argument("--without-redis", action="store_true")
    args = parser.parse_args()
    settings = {
        "FILLWRIGHT_SIM": "classic",
        "FILLWRIGHT_QUEUE_MAX": str(WAITING_MAX),
        "CONCURRENCY": str(CONCURRENCY),
    }
    with (
        tempfile.TemporaryDirectory(prefix="fillwright-overload-") as folder,
        Fleet(Path(folder), apis=1, workers=1, with_redis=not args.without_redis, settings=settings) as fleet,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        findings = runner.run(overload(fleet, args.seconds, args.times))
    for invariant, words in sorted(findings.words.items()):
        print(f"VIOLATED {invariant} ({findings.counts[invariant]} times)", *words, sep="\n  ")
    return 1 if findings.counts else 0


if __name__ == "__main__":
    sys.exit(main())

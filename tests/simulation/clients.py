"""The people outside: they submit, repeat themselves, cancel, watch, and remember what they were told.

Decides: what is asked for, when, and of which host; and what an answer must be like. Must never: be struck by
faults of its own: what a client was told is the measure of what was acknowledged.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from random import Random
from typing import Any, Final, Protocol

import msgspec

from fillwright.engine import Engine, Submission
from fillwright.errors import RETRYABLE, Code, FillwrightError
from fillwright.eventlog import Part
from fillwright.order import TERMINAL, Intent, Order, OrderType, Status
from fillwright.ports import News, Place, Stored
from fillwright.units import Atoms, OrderId
from tests.simulation.hosts import Host, answer
from tests.simulation.invariants import Witness
from tests.simulation.loop import SimLoop
from tests.simulation.tying import Tiers
from tests.simulation.wishes import ACCOUNT, fingerprinted, hunt, price_near, submission

CLIENT: Final = "client"
STRANGER: Final = "mallory"
PATIENCE_S: Final = 8.0
_MOVED_ON: Final = frozenset({Code.ORDER_NOT_OPEN, Code.ORDER_CHANGED})
_REUSED: Final = frozenset({Code.IDEMPOTENCY_KEY_REUSED, Code.ORDER_DUPLICATE_CLIENT_ID})


class Network(Protocol):
    """The hosts as clients can reach them."""

    def pick(self) -> Host | None: ...


class Connection:
    """A stream from a host to a watcher; it ends with its host, its order, or by being cut."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.open = True
        self.closed = asyncio.Event()

    def close(self) -> None:
        self.open = False
        self.closed.set()


class Clients:
    def __init__(self, loop: SimLoop, seed: int, network: Network, witness: Witness) -> None:
        self.random = Random(f"{seed}:clients")
        self.acknowledged: dict[str, OrderId] = {}
        self.connections: list[Connection] = []
        self._loop = loop
        self._network = network
        self._witness = witness
        self._orders = self.random.randint(2, 8)
        self._spread_s = self.random.choice((0.5, 5.0, 25.0))
        self._aside = Random(f"{seed}:aside")
        """For clients that came later, so that the others do as they always did."""
        self._hunting = Random(f"{seed}:hunting")
        self._seed = seed
        self._tiers = Tiers(seed, witness, self._ask, self.acknowledged)

    async def run(self) -> None:
        """Until every client has what it came for."""
        if self.random.random() < 0.5:
            _ = self._loop.spawn(CLIENT, self._watch_all())
        async with asyncio.TaskGroup() as group:
            for number in range(self._orders):
                group.create_task(self._trade(number, group))
            if self._aside.random() < 0.25:
                group.create_task(self._fall_silent())
            if self._aside.random() < 0.4:
                group.create_task(self._read_log())
            group.create_task(self._tiers.run())

    def cut(self, host: str | None = None) -> None:
        """Break the streams of one host, or all."""
        for connection in self.connections:
            if host is None or connection.host.name == host:
                connection.close()
        self.connections = [connection for connection in self.connections if connection.open]

    # --- one order ----------------------------------------------------------------------------------------

    async def _trade(self, number: int, group: asyncio.TaskGroup) -> None:
        random = self.random
        asked = submission(random, number)
        if self._hunting.random() < 0.15:
            asked = fingerprinted(asked, hunt(self._hunting, self._seed))
        await asyncio.sleep(random.uniform(0, self._spread_s))
        if asked.client_order_id is None and asked.idempotency_key is None:
            await self._ask(lambda engine: engine.submit(asked))  # it cannot be repeated, so it may be lost
            return
        if random.random() < 0.2:
            group.create_task(self._submit(asked))
        order_id = await self._submit(asked)
        for _ in range(random.choice((0, 0, 1, 1, 2))):
            group.create_task(self._watch(order_id))
        if random.random() < 0.4:
            for _ in range(random.choice((1, 1, 2))):
                group.create_task(self._cancel(order_id, random.choice((0.2, 1.0, 5.0, 15.0, 60.0))))
        if asked.intent.rests and random.random() < 0.4:
            group.create_task(self._amend(order_id))
        if random.random() < 0.3:
            group.create_task(self._repeat(asked))
        if random.random() < 0.1:
            group.create_task(self._pry(order_id))

    async def _submit(self, asked: Submission) -> OrderId:
        """Ask until there is an answer."""
        while True:
            reply = await self._ask(lambda engine: engine.submit(asked))
            if isinstance(reply, Stored):
                self._witness.told(reply.order)
                self._one_order(asked, reply.order)
                return reply.order.id
            if reply is not None and reply.code not in RETRYABLE:
                self._witness.violate("I7", f"a repetition was refused: {reply.code} {reply}")
            await asyncio.sleep(self.random.uniform(0.2, 3))

    def _one_order(self, asked: Submission, order: Order) -> None:
        name = f"{asked.idempotency_key}/{asked.client_order_id}"
        if self.acknowledged.setdefault(name, order.id) != order.id:
            self._witness.violate("I7", f"{name} names {order.id} and {self.acknowledged[name]}")

    async def _repeat(self, asked: Submission) -> None:
        """The same request again, and another request under the same name."""
        await asyncio.sleep(self.random.uniform(0, 40))
        await self._submit(asked)
        other = fingerprinted(asked, msgspec.structs.replace(asked.intent, amount=Atoms(asked.intent.amount + 1)))
        reply = await self._ask(lambda engine: engine.submit(other))
        if isinstance(reply, Stored) or (reply is not None and reply.code not in RETRYABLE | _REUSED):
            self._witness.violate("I7", f"another request under a used name was answered with {reply!r}")

    async def _cancel(self, order_id: OrderId, within_s: float) -> None:
        await asyncio.sleep(self.random.uniform(0, within_s))
        for _ in range(self.random.randint(1, 3)):
            await asyncio.gather(*(self._cancel_once(order_id) for _ in range(self.random.choice((1, 1, 2)))))
            await asyncio.sleep(self.random.uniform(0, 4))

    async def _cancel_once(self, order_id: OrderId) -> None:
        reply = await self._ask(lambda engine: engine.cancel(ACCOUNT, order_id))
        if isinstance(reply, Order):
            self._witness.told(reply)
            if reply.status is not Status.CANCELED and not reply.cancel_requested:
                self._witness.violate("I8", f"a cancel was answered with {reply.status} ({order_id})")
        elif reply is not None and reply.code is Code.CANCEL_TOO_LATE:
            if not self._witness.last(order_id).is_terminal:
                self._witness.violate("I8", f"too late to cancel {order_id}, which has not ended")
        elif reply is not None and reply.code not in RETRYABLE:
            self._witness.violate("I1", f"cancelling {order_id}: {reply.code} {reply}")

    async def _amend(self, order_id: OrderId) -> None:
        """Change its price and amount, as it was seen a moment ago; it may have moved on."""
        for _ in range(self.random.randint(1, 3)):
            await asyncio.sleep(self.random.uniform(0, 15))
            seen = await self._ask(lambda engine: engine.get(ACCOUNT, order_id))
            if not isinstance(seen, Order):
                continue
            await asyncio.sleep(self.random.choice((0.0, 0.0, 1.0)) * self.random.random())
            await asyncio.sleep(self._aside.choice((0.0, 0.0, 5.0)))  # long enough for the market to have moved it
            intent = self._amended(seen)
            reply = await self._ask(lambda engine: engine.amend(ACCOUNT, order_id, intent, seen.seq))  # noqa: B023
            if isinstance(reply, Order):
                self._witness.told(reply)
                self._witness.counts["amends"] += 1
                if (reply.seq, reply.intent, reply.status) != (seen.seq + 1, intent, Status.OPEN):
                    self._witness.violate("I10", f"an amendment of {seen} was answered with {reply}")
            elif reply is not None and reply.code not in RETRYABLE | _MOVED_ON:
                self._witness.violate("I1", f"amending {order_id}: {reply.code} {reply}")

    def _amended(self, seen: Order) -> Intent:
        intent, random = seen.intent, self.random
        changes: dict[str, Any] = {"amount": Atoms(max(1, int(intent.amount * random.uniform(0.3, 1.2))))}
        for name in ("limit", "trigger"):
            if getattr(intent, name) is not None:
                changes[name] = price_near(random, intent)
        if intent.type is not OrderType.LIMIT and intent.schedule is None and self._aside.random() < 0.3:
            changes["limit"] = None  # a triggered one that waited for it has nothing left to wait for
        return msgspec.structs.replace(intent, **changes)

    async def _pry(self, order_id: OrderId) -> None:
        """Another account must not find the order."""
        asks: list[Callable[[Engine], Coroutine[Any, Any, object]]] = [
            lambda engine: engine.get(STRANGER, order_id),
            lambda engine: engine.cancel(STRANGER, order_id),
            lambda engine: engine.history(STRANGER, order_id),
        ]
        for ask in asks:
            reply = await self._ask(ask)
            if reply is not None and (not isinstance(reply, FillwrightError) or reply.code in {Code.CANCEL_TOO_LATE}):
                self._witness.violate("I15", f"a stranger was answered {reply!r}")

    async def _fall_silent(self) -> None:
        """Arm the account's switch, now and then once more when it is about to fire, and let it."""
        seconds = self._aside.choice((1, 5, 30))
        await asyncio.sleep(self._aside.uniform(0, 30))
        for _ in range(self._aside.choice((1, 2, 4))):
            await self._ask(lambda engine: engine.cancel_after(ACCOUNT, seconds))
            await asyncio.sleep(seconds + self._aside.uniform(-0.5, 2))

    # --- streams ------------------------------------------------------------------------------------------

    async def _watch(self, order_id: OrderId) -> None:
        """Follow the order to its end over as many connections as it takes."""
        await asyncio.sleep(self.random.choice((0.0, 0.0, 30.0)) * self.random.random())
        seen: list[News] = []
        while not (seen and seen[-1].ended):
            host = self._network.pick()
            if host is not None:
                connection = Connection(host)
                await self._stay(connection, self._serve(connection, order_id, seen))
            await asyncio.sleep(self.random.uniform(0, 1))
        if len(seen) != len(self._witness.states[order_id]):
            self._witness.violate("I3", f"a watcher of {order_id} has not seen all of it")
        self._witness.counts["watches"] += 1

    async def _stay(self, connection: Connection, served: Coroutine[Any, Any, None]) -> None:
        """Until the stream ends, for whatever reason; the host then learns that nobody reads it."""
        self.connections.append(connection)
        task = self._loop.spawn(connection.host.name, served)
        await connection.closed.wait()
        connection.open = False
        if not task.done():
            task.cancel()

    async def _serve(self, connection: Connection, order_id: OrderId, seen: list[News]) -> None:
        """The host's side of a stream."""
        stream: AsyncIterator[News] = connection.host.engine.watch(ACCOUNT, order_id, len(seen))
        try:
            async for news in stream:
                if not connection.open:
                    return
                if news.seq != len(seen) + 1:
                    why = f"seq {news.seq} after {len(seen)}"
                    self._witness.violate("I3", f"a watcher of {order_id} was sent {why}")
                if not self._witness.knows(news):
                    self._witness.violate("I9", f"a watcher of {order_id} was sent what is not committed")
                seen.append(news)
        except FillwrightError as error:
            if error.code not in RETRYABLE:
                self._witness.violate("I1", f"watching {order_id}: {error.code} {error}")
        finally:
            connection.close()

    async def _watch_all(self) -> None:
        """Follow all orders for as long as the world lasts."""
        while True:
            host = self._network.pick()
            if host is not None:
                connection = Connection(host)
                await self._stay(connection, self._serve_all(connection))
            await asyncio.sleep(self.random.uniform(0.5, 3))

    async def _serve_all(self, connection: Connection) -> None:
        """The host's side of a stream of all orders: each order's events in order, without gap or repetition."""
        last: dict[OrderId, int] = {}
        try:
            async with connection.host.engine.watch_all(ACCOUNT) as arriving:
                async for news in (each async for batch in arriving for each in batch):
                    if news.seq != last.get(news.order_id, news.seq - 1) + 1:
                        why = f"seq {news.seq} after {last[news.order_id]}"
                        self._witness.violate("I3", f"a watcher of all was sent {why} of {news.order_id}")
                    if not self._witness.knows(news):
                        self._witness.violate("I9", "a watcher of all was sent what is not committed")
                    last[news.order_id] = news.seq
        except FillwrightError as error:
            if error.code not in RETRYABLE:
                self._witness.violate("I1", f"watching all: {error.code} {error}")
        finally:
            connection.close()

    async def _read_log(self) -> None:
        """The log of all events, from the first on and from host to host: each event once, and in its order's order."""
        place, seen = Place(0, 0), dict[OrderId, int]()
        for _ in range(self._aside.choice((10, 30))):
            before = {order_id: len(states) for order_id, states in self._witness.states.items()}
            part = await self._ask(partial(_part_of_log, place))
            if isinstance(part, Part):
                place = part.end
                self._one_part(part, seen)
                if part.is_last and any(seen.get(order_id, 0) < count for order_id, count in before.items()):
                    self._witness.violate(
                        "log", "a reader at the log's end has not seen what was committed before it asked"
                    )
            elif part is not None and part.code not in RETRYABLE:
                self._witness.violate("I1", f"reading the log: {part.code} {part}")
            await asyncio.sleep(self._aside.uniform(0.05, 4))

    def _one_part(self, part: Part, seen: dict[OrderId, int]) -> None:
        for told in part.told:
            frame = msgspec.json.decode(told.frame)
            order_id, seq = OrderId(frame["orderId"]), frame["seq"]
            if seq != seen.get(order_id, 0) + 1:
                self._witness.violate("log", f"seq {seq} of {order_id} follows {seen.get(order_id, 0)}")
            if not self._witness.knows(News(order_id, told.account, seq, frame["status"] in TERMINAL, told.frame)):
                self._witness.violate("I9", f"the log tells seq {seq} of {order_id}, which is not committed")
            seen[order_id] = seq

    # --- questions ----------------------------------------------------------------------------------------

    async def _ask(self, question: Callable[[Engine], Coroutine[Any, Any, Any]]) -> Any:
        """The answer of a host that is up, the error that it reported, or None after `PATIENCE_S`."""
        host = self._network.pick()
        if host is None:
            await asyncio.sleep(1)
            return None
        task = self._loop.spawn(host.name, answer(lambda: question(host.engine)))
        await asyncio.wait([task], timeout=PATIENCE_S)
        return task.result() if task.done() else None


async def _part_of_log(after: Place, engine: Engine) -> Part:
    return await engine.log.read(after, {ACCOUNT})

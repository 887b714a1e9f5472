"""The façade: everything that an interface may ask of the engine, and nothing else.

Decides: what submitting, cancelling and watching mean. Must never: know HTTP or JSON, or an adapter.
"""

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Final, Protocol

import msgspec

from fillwright.admission import Gate
from fillwright.cancels import Cancels, Withdrawal
from fillwright.courier import Courier
from fillwright.errors import Code, FillwrightError
from fillwright.eventlog import EventLog
from fillwright.executor import Executor
from fillwright.links import tie
from fillwright.market import Market
from fillwright.order import (
    Accepted,
    Intent,
    Link,
    Order,
    Recorded,
    Route,
    accept,
    amend,
    replay,
)
from fillwright.ports import Conflict, Entropy, Inbox, NewOrder, News, Page, Queue, Stored, Switch
from fillwright.resolving import Statement, settle_by_hand
from fillwright.routing import NoRoute
from fillwright.scout import Candidate, candidates
from fillwright.subscribers import Subscribers
from fillwright.tokens import Tokens
from fillwright.units import Millis, Mint, OrderId

_ENDED_MAX: Final = 10_000
"""Ended orders that one stream of all orders remembers, to know late repetitions of their events."""


class Submission(msgspec.Struct, frozen=True, kw_only=True):
    """A request for an order, by one account. `fingerprint` is a hash of what was asked."""

    account: str
    intent: Intent
    fingerprint: bytes
    client_order_id: str | None = None
    idempotency_key: str | None = None


class BracketAsked(msgspec.Struct, frozen=True, kw_only=True):
    """A request for orders that are tied to each other: see `links.tie`. The names are those of the first one."""

    account: str
    entry: Intent | None
    exits: tuple[Intent, ...]
    fingerprint: bytes
    client_order_id: str | None = None
    idempotency_key: str | None = None


class Bracket(msgspec.Struct, frozen=True):
    """The orders, the first one first: the entry where there is one, then the exits."""

    orders: tuple[Order, ...]
    is_new: bool


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """Where orders settle, as it was configured."""

    cluster: str = "simulation"
    wallet: str | None = None
    """The address that pays and is paid, where the money is real."""

    @property
    def is_live(self) -> bool:
        return self.wallet is not None


class Hands(Protocol):
    """Who works on the orders of this process: a worker, or several one after another."""

    async def run(self) -> None:
        """Work until `stop`."""

    def stop(self) -> None: ...


class Engine:
    """Submit, read, cancel and watch orders; `run` works on them."""

    def __init__(
        self,
        *,
        executor: Executor,
        queue: Queue,
        worker: Hands | None,
        entropy: Entropy,
        tokens: Tokens,
        subscribers: Subscribers,
        courier: Courier | None = None,
        network: Network | None = None,
    ) -> None:
        self.network = network or Network()
        self.tokens = tokens
        self.venues = tuple(venue.name for venue in executor.venues)
        self.policy = executor.policy
        self.clock = executor.clock
        self.gate = Gate(executor.store, executor.clock, executor.policy)
        self.market = Market(executor, tokens)
        self.log = EventLog(executor)
        self.subscribers = subscribers
        self._executor = executor
        self._cancels = Cancels(executor)
        self._store = executor.store
        self._bus = executor.bus
        self._queue = queue
        self._worker = worker
        self._courier = courier
        self._entropy = entropy
        self._draining = False
        self._stopping = asyncio.Event()

    # --- orders -------------------------------------------------------------------------------------------

    async def submit(self, asked: Submission) -> Stored:
        """Accept an order durably, or find the one that this request already made.

        Raises FillwrightError: IDEMPOTENCY_KEY_REUSED or ORDER_DUPLICATE_CLIENT_ID for another request under a
        used name; ENGINE_DRAINING; ENGINE_OVERLOADED; STORE_UNAVAILABLE (whether it was accepted is then unknown:
        repeat the request under the same key).
        """
        return await self._accept(asked, [(self._new_id(), asked.intent)])

    async def submit_bracket(self, asked: BracketAsked) -> Bracket:
        """The same for orders that are tied to each other: all are accepted, or none.

        They are one write rather than one after the other, so that an entry never runs without its exits, and there is
        no half of a bracket to find, complete or give up.
        """
        first = asked.entry or asked.exits[0]
        tied = tie(asked.entry, asked.exits, self._new_id)
        submission = Submission(
            account=asked.account,
            intent=first,
            fingerprint=asked.fingerprint,
            client_order_id=asked.client_order_id,
            idempotency_key=asked.idempotency_key,
        )
        stored = await self._accept(submission, list(zip(tied.ids, tied.intents, strict=True)))
        link = stored.order.intent.link or Link()
        others = [await self.get(asked.account, each) for each in (*link.children, *link.siblings)]
        return Bracket((stored.order, *others), stored.is_new)

    async def _accept(self, asked: Submission, wanted: Sequence[tuple[OrderId, Intent]]) -> Stored:
        """The first of these orders, which has the names, and those tied to it."""
        if self._stopping.is_set():
            raise FillwrightError(Code.ENGINE_DRAINING, "the engine is stopping; try again shortly")
        now = self.clock.now()
        names = [(asked.client_order_id, asked.idempotency_key), *((None, None) for _ in wanted[1:])]
        new = [
            NewOrder(
                accepted=accept(order_id, asked.account, Accepted(intent=intent, client_order_id=client_order_id), now),
                idempotency_key=idempotency_key,
                fingerprint=asked.fingerprint,
            )
            for (order_id, intent), (client_order_id, idempotency_key) in zip(wanted, names, strict=True)
        ]
        with self.gate.accepting():
            stored = await self._store.create(*new)
        if stored.is_new:
            await self._executor.announce([each.accepted for each in new])
            await self._queue.put([order_id for order_id, _ in wanted])
        elif stored.fingerprint != asked.fingerprint:
            raise _reused(asked, stored.order)
        return stored

    def _new_id(self) -> OrderId:
        return new_order_id(self.clock.now(), self._entropy)

    async def get(self, account: str, order_id: OrderId) -> Order:
        """Raises FillwrightError(ORDER_NOT_FOUND)."""
        return _found(await self._store.get(account, order_id))

    async def get_by_client_id(self, account: str, client_order_id: str) -> Order:
        """Raises FillwrightError(ORDER_NOT_FOUND)."""
        return _found(await self._store.get_by_client_id(account, client_order_id))

    async def is_named(self, account: str, *, client_order_id: str | None, idempotency_key: str | None) -> bool:
        """Whether an order has one of these names already: then submitting under them never makes a new one."""
        by_key = idempotency_key is not None and await self._store.get_by_key(account, idempotency_key) is not None
        if by_key or client_order_id is None:
            return by_key
        return await self._store.get_by_client_id(account, client_order_id) is not None

    async def page(self, page: Page) -> list[Order]:
        return await self._store.page(page)

    async def history(self, account: str, order_id: OrderId) -> list[Recorded]:
        """Every event with the order right after it, from the first on. Raises FillwrightError(ORDER_NOT_FOUND)."""
        stamped = await self._store.history(account, order_id)
        if not stamped:
            raise FillwrightError(Code.ORDER_NOT_FOUND, "no such order")
        return replay(order_id, account, stamped)

    async def cancel(self, account: str, order_id: OrderId) -> Order:
        """Cancel now, or as soon as the live transaction is proven over (the order is then still submitted).

        Raises FillwrightError: ORDER_NOT_FOUND; CANCEL_TOO_LATE where it ended otherwise.
        """
        return await self._cancels.one(account, order_id)

    async def amend(self, account: str, order_id: OrderId, intent: Intent, seq: int) -> Order:
        """Make this intent of an order that rests, if it still is as it was at `seq`.

        Raises FillwrightError: ORDER_NOT_FOUND; ORDER_NOT_OPEN; ORDER_CHANGED where it has moved on.
        """
        order = await self.get(account, order_id)
        recorded = amend(order, intent, self.clock.now())
        if order.seq != seq:
            raise _moved_on(order)
        try:
            await self._store.record(order, [recorded])
        except Conflict:
            raise _moved_on(await self.get(account, order_id)) from None
        await self._executor.announce([recorded])
        return recorded.order

    async def resolve(self, order: Order, told: Statement) -> Order:
        """Take somebody's word for what became of its transaction: see `resolving.settle_by_hand`."""
        return await settle_by_hand(self._executor, order, told)

    async def cancel_all(self, account: str, mints: frozenset[Mint] | None = None) -> list[Withdrawal]:
        """The same for every open order of the account, or of one pair of tokens; each with its own outcome."""
        return await self._cancels.all(account, mints)

    async def cancel_after(self, account: str, seconds: int) -> Switch | None:
        """Cancel all orders of the account in so many seconds, unless this is called again before; 0 calls it off.

        It is stored: it fires whatever becomes of this process, as soon as a worker is there. Asking again replaces
        what was asked before, also where that is overdue.
        """
        if seconds:
            return await self._store.arm(account, seconds)
        await self._store.disarm(account)
        return None

    async def quote(self, intent: Intent) -> Route | NoRoute:
        """What the venues offer for this intent now; nothing is stored."""
        return await self._executor.route(intent)

    async def candidates(self, order: Order) -> Sequence[Candidate] | None:
        """The latest new pools that a sniper waits for, judged now; None for any other order, or where nobody knows."""
        if order.intent.snipe is None:
            return None
        try:
            return await candidates(self._executor, order)
        except FillwrightError:
            return None

    # --- streams ------------------------------------------------------------------------------------------

    async def watch(self, account: str, order_id: OrderId, after: int = 0) -> AsyncGenerator[News, None]:
        """Every event of the order with seq > `after`, in order, without gap or repetition, until it ends.

        Raises FillwrightError(ORDER_NOT_FOUND) before the first event.
        """
        async with self._bus.subscribe(order_id) as inbox:
            last = after
            history = await self.history(account, order_id)
            while True:
                for recorded in history:
                    if recorded.order.seq > last:
                        last = recorded.order.seq
                        yield self._executor.news_of(recorded)
                    if recorded.order.is_terminal:
                        return
                whole = True
                while whole and (arrived := await inbox.take(self.policy.watch_s)):
                    for news in arrived:
                        if news.seq > last + 1:
                            whole = False  # a gap: read history again
                            break
                        if news.seq == last + 1:
                            last += 1
                            yield news
                            if news.ended:
                                return
                order = await self.get(account, order_id)  # a history may be long: it is not read again for nothing
                is_news = order.seq > last or order.is_terminal
                history = await self.history(account, order_id) if is_news else []

    @asynccontextmanager
    async def watch_all(self, account: str) -> AsyncIterator[AsyncGenerator[list[News], None]]:
        """Every event of the account's orders from entering on, in order and without gap for each order.

        It comes in lists, as it arrives, and ends when that is no longer sure (the reader was too slow, or the bus was
        cut): the reader then watches again.
        """
        async with self._bus.subscribe(None) as inbox, aclosing(self._arriving(account, inbox)) as arriving:
            yield arriving

    async def _arriving(self, account: str, inbox: Inbox) -> AsyncGenerator[list[News], None]:
        seen: dict[OrderId, int] = {}
        ended: deque[OrderId] = deque()
        while not inbox.lossy:
            fresh: list[News] = []
            for news in await inbox.take(self.policy.watch_s):
                if news.account == account:
                    fresh += await self._since(seen, news)
            if fresh:
                yield fresh
            ended.extend(each.order_id for each in fresh if each.ended)
            while len(ended) > _ENDED_MAX:  # the bus may still repeat their events: they are not forgotten at once
                del seen[ended.popleft()]

    async def _since(self, seen: dict[OrderId, int], news: News) -> list[News]:
        """What a reader of all orders has not seen of this one, up to this event. Updates `seen`."""
        last = seen.get(news.order_id, news.seq - 1)
        if news.seq <= last:
            return []
        seen[news.order_id] = news.seq
        if news.seq == last + 1:
            return [news]
        history = await self.history(news.account, news.order_id)
        return [self._executor.news_of(each) for each in history if last < each.order.seq <= news.seq]

    # --- life ---------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work on orders until `stop`; without a worker, just wait for it."""
        async with asyncio.TaskGroup() as group:
            counting = group.create_task(self.gate.run())
            if self._courier is not None:
                group.create_task(self._courier.run())
            try:
                await (self._worker.run() if self._worker is not None else self._stopping.wait())
            finally:
                counting.cancel()
                if self._courier is not None:
                    self._courier.stop()

    def announce_stop(self) -> None:
        """Report "not ready" from now on; everything else goes on as before."""
        self._draining = True

    def stop(self) -> None:
        """Accept and take no more; `run` returns when the orders being driven are done."""
        self._draining = True
        self._stopping.set()
        if self._worker is not None:
            self._worker.stop()

    @property
    def oldest_message_s(self) -> float:
        """How long the oldest message to a webhook has waited, as of lately, where this process sends them."""
        return 0.0 if self._courier is None else self._courier.oldest_s

    async def workers(self) -> int | None:
        """How many are alive, in all processes; None while the store does not tell."""
        try:
            return await self._store.alive()
        except FillwrightError:
            return None

    async def check(self) -> dict[str, str]:
        """Each thing the engine cannot do without: "ok" or what is wrong."""
        checks = {"store": self._store.ping, "chain": self._executor.chain.ping}
        results = {name: await _verdict(check) for name, check in checks.items()}
        results["intake"] = "draining" if self._draining else "ok"
        return results


def new_order_id(now: Millis, entropy: Entropy) -> OrderId:
    """A UUID version 7 (RFC 9562): 48 bits of time, then random bits; sorts by time of acceptance."""
    tail = int.from_bytes(entropy(10))
    value = (now << 80) | tail
    value = value & ~(0xF << 76) | (0x7 << 76)
    value = value & ~(0x3 << 62) | (0x2 << 62)
    return OrderId(str(uuid.UUID(int=value)))


def _found(order: Order | None) -> Order:
    if order is None:
        raise FillwrightError(Code.ORDER_NOT_FOUND, "no such order")
    return order


def _moved_on(order: Order) -> FillwrightError:
    return FillwrightError(Code.ORDER_CHANGED, f"the order has changed since: it is {order.status} at seq {order.seq}")


def _reused(asked: Submission, existing: Order) -> FillwrightError:
    if asked.client_order_id is not None and existing.client_order_id == asked.client_order_id:
        why = f"client order id already names order {existing.id}, which asked for something else"
        return FillwrightError(Code.ORDER_DUPLICATE_CLIENT_ID, why, pointer="/clientOrderId")
    return FillwrightError(Code.IDEMPOTENCY_KEY_REUSED, "this idempotency key was used for another request")


async def _verdict(check: Callable[[], Awaitable[None]]) -> str:
    try:
        async with asyncio.timeout(2):
            await check()
    except (TimeoutError, FillwrightError) as error:
        return str(error) or "no answer"
    return "ok"

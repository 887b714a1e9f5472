"""Put the parts together: the only file that names adapters.

Decides: which adapter stands behind each port for a given configuration. Must never: hold behaviour of its own.
"""

import asyncio
import fcntl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

from fillwright import __version__
from fillwright.adapters.local import LocalBus, LocalQueue, SystemClock, SystemEntropy
from fillwright.adapters.outbound import HttpMessenger
from fillwright.adapters.sim import PRESETS, Auditor, RemoteChain, SimChain, SimVenue, SimWorld, default_market
from fillwright.adapters.sim.chain import SLOT_MS
from fillwright.adapters.sim.market import HUBS, TOKENS
from fillwright.adapters.sqlite import SqliteStore
from fillwright.config import Config, Live, made_up_name, text_of
from fillwright.courier import Courier
from fillwright.engine import Engine, Network
from fillwright.errors import Code, FillwrightError
from fillwright.executor import Executor
from fillwright.guard import GuardedVenue
from fillwright.lab import Crew, Lab
from fillwright.observe import Observer
from fillwright.order import Recorded
from fillwright.policy import Policy
from fillwright.ports import Bus, Chain, Clock, Discovery, Entropy, Keys, Queue, Store, Venue, Webhooks
from fillwright.subscribers import Subscribers
from fillwright.tokens import Tokens
from fillwright.units import Mint
from fillwright.wire import rfc3339
from fillwright.wire.frames import news_of
from fillwright.worker import Worker

if TYPE_CHECKING:
    from fillwright.adapters.otlp import Traces
    from fillwright.adapters.postgres import PostgresStore
    from fillwright.adapters.solana.world import Solana

VENUES: Final = ("raydium", "meteora")
_EMBEDDED: Final = "embedded"
"""One process owns the embedded data (`owned`), so its worker keeps its name: after a crash its orders are its own."""
_LOAD_EVERY_S: Final = 1.0


class Assembled(msgspec.Struct, frozen=True):
    """An engine at work, and what its operator and its tests may look at."""

    engine: Engine
    worker: Worker | Crew | None
    chain: Chain
    registry: CollectorRegistry
    entropy: Entropy
    keys: Keys
    lab: Lab | None
    """Where everything is simulated in this process."""
    live: "Solana | None"
    """Where money is real."""


class _World(msgspec.Struct, frozen=True, kw_only=True):
    """What orders are executed on."""

    chain: Chain
    venues: Sequence[Venue]
    discovery: Discovery
    tokens: Tokens
    policy: Policy
    network: Network
    live: "Solana | None" = None


@asynccontextmanager
async def open_engine(config: Config) -> AsyncIterator[Assembled]:
    """The engine of this configuration, working until the context is left; then it drains.

    Raises FillwrightError: CONFIG_INVALID, also where another process works on the same folder; STORE_UNAVAILABLE.
    """
    async with AsyncExitStack() as parts:
        if config.database is None or (config.chain is None and config.live is None):
            parts.enter_context(owned(config.data))
        clock, entropy = SystemClock(), SystemEntropy()
        registry = _registry()
        observer = Observer(registry)
        store = await _store(config, clock, parts)
        queue, bus = await _queue_and_bus(config, parts)
        world = await _world(config, store, clock, entropy, parts)
        name = _EMBEDDED if config.database is None else config.worker or made_up_name()
        traces = await _traces(config, name, store, clock, parts)
        venues = [GuardedVenue(venue, clock, world.policy) for venue in world.venues]
        executor = Executor(
            store=store,
            bus=bus,
            venues=venues,
            chain=world.chain,
            discovery=world.discovery,
            clock=clock,
            policy=world.policy,
            hubs=_hubs(world.tokens),
            alarm=observer.alarm,
            observe=observer.recorded if traces is None else _each(observer.recorded, traces.recorded),
            news_of=news_of,
        )
        worker = _worker(config, name, lambda name: Worker(name, executor, queue, observer.failed))
        engine = Engine(
            executor=executor,
            queue=queue,
            worker=worker,
            entropy=entropy,
            tokens=world.tokens,
            subscribers=Subscribers(executor, store.webhooks, entropy, allow_private=config.webhooks_allow_private),
            courier=await _courier(config, executor, store.webhooks, entropy, observer, parts),
            network=world.network,
        )
        lab = _lab(config, clock, world, worker)
        refused: FillwrightError | None = None
        async with _plainly(), asyncio.TaskGroup() as group:
            group.create_task(engine.run())
            judging = group.create_task(world.live.judge_late()) if world.live is not None else None
            dropping: dict[str, Queue | Bus | Traces] = {"hints": queue, "events": bus}
            if traces is not None:
                dropping["traces"] = traces
            load = group.create_task(_watch_load(observer, engine, worker, queue, dropping, venues))
            try:
                yield Assembled(engine, worker, world.chain, registry, entropy, store.keys, lab, world.live)
            except FillwrightError as error:  # such as a port in use: the group would wrap it into one of its own
                refused = error
            finally:
                engine.stop()
                load.cancel()
                if judging is not None:
                    judging.cancel()
        if refused is not None:
            raise refused


@asynccontextmanager
async def _plainly() -> AsyncIterator[None]:
    """An expected failure of one task, such as a node of another cluster, is told as itself, not as a group of one."""
    try:
        yield
    except ExceptionGroup as group:
        if len(group.exceptions) == 1 and isinstance(group.exceptions[0], FillwrightError):
            raise group.exceptions[0] from None
        raise


@asynccontextmanager
async def open_store(config: Config) -> AsyncIterator["SqliteStore | PostgresStore"]:
    """The store alone, its tables brought up to date; nothing works on its orders. Raises as `open_engine` does."""
    async with AsyncExitStack() as parts:
        if config.database is None:
            config.data.mkdir(parents=True, exist_ok=True)
        yield await _store(config, SystemClock(), parts)


# --- one choice a port ------------------------------------------------------------------------------------


async def _store(config: Config, clock: Clock, parts: AsyncExitStack) -> "SqliteStore | PostgresStore":
    lease_s = config.policy.lease_s
    if config.database is None:
        return parts.enter_context(closing(SqliteStore(config.data / "orders.db", clock, lease_s=lease_s)))
    with _needs("production", "a database is configured"):
        from fillwright.adapters.postgres import PostgresStore
    url = config.database.reveal()
    store = await PostgresStore.open(url, lease_s=lease_s, allow_unsafe=config.allow_unsafe_database)
    parts.push_async_callback(store.close)
    return store


async def _queue_and_bus(config: Config, parts: AsyncExitStack) -> tuple[Queue, Bus]:
    if config.database is None:
        return LocalQueue(), LocalBus()
    with _needs("production", "a database is configured"):
        from fillwright.adapters.notify import PostgresBus, PostgresQueue
        from fillwright.adapters.redis import RedisBus, RedisQueue
    name = config.queue
    if config.redis is not None:
        url = config.redis.reveal()
        return (
            await parts.enter_async_context(RedisQueue.open(url, name)),
            await parts.enter_async_context(RedisBus.open(url, name)),
        )
    url = config.database.reveal()
    return (
        await parts.enter_async_context(PostgresQueue.open(url, name)),
        await parts.enter_async_context(PostgresBus.open(url, name)),
    )


async def _courier(
    config: Config,
    executor: Executor,
    webhooks: Webhooks,
    entropy: Entropy,
    observer: Observer,
    parts: AsyncExitStack,
) -> Courier | None:
    """One where orders are worked on, or where no other process could do it."""
    if not config.start_worker and config.database is not None:
        return None
    messenger = HttpMessenger(allow_private=config.webhooks_allow_private)
    parts.push_async_callback(messenger.close)
    return Courier(
        executor,
        webhooks,
        messenger,
        entropy,
        time_text=rfc3339,
        tried=observer.tried,
        report=observer.failed,
    )


async def _world(
    config: Config, store: "SqliteStore | PostgresStore", clock: Clock, entropy: Entropy, parts: AsyncExitStack
) -> _World:
    if config.live is not None:
        return await _real(config, config.live, store, clock, entropy, parts)
    chain: SimChain | RemoteChain
    if config.chain is None:
        chain = parts.enter_context(closing(sim_chain(config, clock)))
    else:
        chain = RemoteChain(config.chain, clock, entropy)
        parts.push_async_callback(chain.close)
    preset = PRESETS[config.sim]
    return _World(
        chain=chain,
        venues=[SimVenue(venue, chain, clock, preset, config.seed) for venue in VENUES],
        discovery=chain,
        tokens=Tokens(TOKENS),
        policy=config.policy,
        network=Network(),
    )


async def _real(
    config: Config,
    live: Live,
    store: "SqliteStore | PostgresStore",
    clock: Clock,
    entropy: Entropy,
    parts: AsyncExitStack,
) -> _World:
    from fillwright.live import live_policy, open_live  # what trades real money is not even loaded without need

    solana = await parts.enter_async_context(open_live(live, store.spending, clock, entropy))
    return _World(
        chain=solana.chain,
        venues=solana.venues,
        discovery=solana.discovery,
        tokens=solana.tokens,
        policy=live_policy(config.policy, live),
        network=Network(cluster=live.cluster, wallet=solana.rules.wallet),
        live=solana,
    )


def _hubs(tokens: Tokens) -> frozenset[Mint]:
    """Those of the usual hubs that may be traded here, wherever their mints are."""
    names = {token.symbol for token in TOKENS if token.mint in HUBS}
    return frozenset(token.mint for token in tokens.all if token.symbol in names)


def _worker(config: Config, name: str, hire: Callable[[str], Worker]) -> Worker | Crew | None:
    if not config.start_worker:
        return None
    return Crew(name, hire, lease_s=config.policy.lease_s) if config.database is None else hire(name)


def _lab(
    config: Config,
    clock: Clock,
    world: _World,
    worker: Worker | Crew | None,
) -> Lab | None:
    """Only where both the orders and the chain are this process's own."""
    if config.database is not None or not isinstance(world.chain, SimChain):
        return None
    policy = config.policy
    markets = [venue for venue in world.venues if isinstance(venue, SimVenue)]
    simulated = SimWorld(PRESETS[config.sim], world.chain, markets)
    auditor = Auditor(config.data, clock, lease_s=policy.lease_s, concurrency=policy.concurrency)
    return Lab(simulated, worker if isinstance(worker, Crew) else None, auditor.audit)


def sim_chain(config: Config, clock: Clock) -> SimChain:
    """The simulated network of this configuration; its folder must be `owned`."""
    every_slots = config.new_pools_s * 1_000 // SLOT_MS
    market = default_market(config.seed, text_of(config.prices, "FILLWRIGHT_PRICES"), newcomer_every_slots=every_slots)
    return SimChain(config.data / "chain.db", clock, market, PRESETS[config.sim], config.seed)


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold the folder for this process; the lock goes with the process, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            why = f"another engine is working on {folder}; FILLWRIGHT_DATA chooses another folder"
            raise FillwrightError(Code.CONFIG_INVALID, why) from error
        yield


@contextmanager
def _needs(extra: str, asked: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        why = f"{asked}, but {error.name} is not installed: pip install 'fillwright[{extra}]'"
        raise FillwrightError(Code.CONFIG_INVALID, why) from error


# --- what the operator sees -------------------------------------------------------------------------------


async def _traces(config: Config, name: str, store: Store, clock: Clock, parts: AsyncExitStack) -> "Traces | None":
    """Left before the store is closed: what is sent last comes from there."""
    if config.traces is None:
        return None
    with _needs("otel", "traces are asked for"):
        from fillwright.adapters.otlp import Traces
    service = {"service.name": config.service, "service.version": __version__, "service.instance.id": name}
    headers = {header: text.reveal() for header, text in config.trace_headers}
    return await parts.enter_async_context(
        Traces.open(config.traces, headers=headers, service=service, histories=store.history, clock=clock)
    )


def _each(*observers: Callable[[Recorded], None]) -> Callable[[Recorded], None]:
    def observe(recorded: Recorded) -> None:
        for observer in observers:
            observer(recorded)

    return observe


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


async def _watch_load(
    observer: Observer,
    engine: Engine,
    worker: Worker | Crew | None,
    queue: Queue,
    dropping: "Mapping[str, Queue | Bus | Traces]",
    venues: list[GuardedVenue],
) -> None:
    while True:
        driving = worker.running if worker else 0
        gate = engine.gate
        observer.load(
            driving=driving,
            hints=queue.depth(),
            waiting=gate.waiting,
            oldest_s=gate.oldest_s,
            workers=await engine.workers(),
        )
        observer.webhooks(oldest_s=engine.oldest_message_s)
        observer.trouble(
            resting={venue.name: venue.resting for venue in venues},
            dropped={what: each.dropped for what, each in dropping.items()},
        )
        await asyncio.sleep(_LOAD_EVERY_S)

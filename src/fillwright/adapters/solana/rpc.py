"""The chain's nodes, as one place to ask.

Decides: which node is asked, in which order others take over, and whose word is evidence. Must never: put one answer
together from two nodes, take a failure for a fact, or show an address, which may hold a key.

Nodes are asked in the order in which they are listed: the first that is well. A node that failed rests, one that asked
for a pause gets it, one that lags or contradicts itself or most others (vitals) is no witness. What every node says of
its finalized bank is asked for every few seconds, and again with each testimony.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit, urlunsplit

import msgspec

from fillwright.adapters.solana import protocol
from fillwright.adapters.solana.node import Node
from fillwright.adapters.solana.protocol import Call, Commitment, Failure, Filter, Told
from fillwright.adapters.solana.subscriptions import INBOX_MAX, Feed
from fillwright.adapters.solana.vitals import Vitals, behind, believed
from fillwright.errors import Code, FillwrightError
from fillwright.programs.program import Account

T = TypeVar("T")
NODES_MAX: Final = 8
REQUEST_S: Final = 2.0
"""One request to one node."""
CALL_S: Final = 5.0
"""One call, whoever answers it in the end."""
SEARCH_S: Final = 30.0
"""A search through all accounts of a program, which is the heaviest question there is."""
PROBE_S: Final = 2.0
_TURNS: Final = 3
"""How often each node is asked one question, with a pause before each turn but the first."""
_TURN_S: Final = 0.1
_BATCH_MAX: Final = 32

_epoch_of: Final = msgspec.json.Decoder(protocol.EpochInfo).decode
_held_of: Final = msgspec.json.Decoder(Told[list[protocol.RawAccount | None]]).decode
_found_of: Final = msgspec.json.Decoder(Told[list[protocol.Keyed]]).decode
_simulation_of: Final = msgspec.json.Decoder(Told[protocol.RawSimulation]).decode


class Testimony(msgspec.Struct, Generic[T], frozen=True):
    """What one node says, and where its finalized bank stood before it said so."""

    node: Node
    vitals: Vitals
    told: Told[T]


class Simulation(msgspec.Struct, frozen=True, kw_only=True):
    slot: int
    error: Any
    """As nodes tell it, for instance {"InstructionError": [2, {"Custom": 30}]}; None: it would succeed."""
    units: int
    logs: tuple[str, ...]
    accounts: Mapping[str, Account]
    """Those asked for, as they would be afterwards."""


class Rpc:
    """To be made inside the running loop, and closed in it. Every method raises FillwrightError(CHAIN_UNAVAILABLE)."""

    def __init__(self, urls: Sequence[str], *, sockets: Sequence[str] = (), probe_s: float = PROBE_S) -> None:
        """`sockets`: the WebSocket addresses in the same order; where one is missing it is the usual one of the URL."""
        if not 1 <= len(urls) <= NODES_MAX:
            raise FillwrightError(Code.CONFIG_INVALID, f"between 1 and {NODES_MAX} nodes")
        self._nodes = [
            Node(f"node {number}", url, sockets[number - 1] if number <= len(sockets) else socket_url(url))
            for number, url in enumerate(urls, 1)
        ]
        self._sends: set[asyncio.Task[None]] = set()
        self._probed = asyncio.Event()
        self._probing = asyncio.create_task(self._probe(probe_s))

    async def close(self) -> None:
        for task in (self._probing, *self._sends):
            task.cancel()
        await asyncio.gather(self._probing, *self._sends, return_exceptions=True)
        for node in self._nodes:
            await node.close()

    # --- questions ----------------------------------------------------------------------------------------

    async def call(
        self, method: str, params: Sequence[object], decode: Callable[[msgspec.Raw], T], *, within_s: float = CALL_S
    ) -> T:
        """The answer of the first node that gives one. `decode` raises ValueError for what it cannot read."""
        [told] = await self.many([(method, list(params))], lambda results: [decode(results[0])], within_s=within_s)
        return told

    async def many(
        self,
        calls: Sequence[Call],
        decode: Callable[[Sequence[msgspec.Raw]], T],
        *,
        node: Node | None = None,
        within_s: float = CALL_S,
    ) -> T:
        """The answers to all these calls, of one and the same node; where `node` is given, of that one."""

        async def ask(asked: Node, left_s: float) -> T:
            results: list[msgspec.Raw] = []
            for first in range(0, len(calls), _BATCH_MAX):
                results += _results(asked, await asked.ask(calls[first : first + _BATCH_MAX], left_s))
            return _read(asked, decode, results)

        return await self._first(ask, self._choice if node is None else lambda: [node], within_s)

    async def accounts(
        self, addresses: Sequence[str], *, min_slot: int = 0, commitment: Commitment = "confirmed"
    ) -> tuple[int, dict[str, Account]]:
        """What these addresses hold, at this slot or later, and never before `min_slot`; absent: nothing.

        Up to protocol.ACCOUNTS_MAX addresses are of one slot, the one that is told; more are asked for again if
        theirs differ, once, and then the earliest is told.
        """
        chunks = [
            list(addresses[first : first + protocol.ACCOUNTS_MAX])
            for first in range(0, len(addresses), protocol.ACCOUNTS_MAX)
        ]
        calls = [protocol.accounts(chunk, commitment, min_slot) for chunk in chunks]

        def read(results: Sequence[msgspec.Raw]) -> tuple[int, int, dict[str, Account]]:
            told = [_held_of(result) for result in results]
            slots = [each.context.slot for each in told]
            if min(slots) < min_slot or any(len(each.value) != len(c) for each, c in zip(told, chunks, strict=True)):
                raise ValueError(slots)
            pairs = [pair for c, each in zip(chunks, told, strict=True) for pair in zip(c, each.value, strict=True)]
            return min(slots), max(slots), {address: held.read() for address, held in pairs if held is not None}

        if not calls:
            return min_slot, {}
        first, last, held = await self.many(calls, read)
        if first != last:
            first, _, held = await self.many(calls, read)
        return first, held

    async def program_accounts(
        self,
        program: str,
        filters: Sequence[Filter],
        *,
        min_slot: int = 0,
        commitment: Commitment = "confirmed",
        within_s: float = SEARCH_S,
    ) -> tuple[int, dict[str, Account]]:
        """The accounts of a program that pass all filters. Heavy: many nodes limit or refuse it."""

        def read(results: Sequence[msgspec.Raw]) -> tuple[int, dict[str, Account]]:
            found = _found_of(results[0])
            if found.context.slot < min_slot:
                raise ValueError(found.context.slot)
            return found.context.slot, {keyed.pubkey: keyed.account.read() for keyed in found.value}

        call = protocol.program_accounts(program, list(filters), commitment, min_slot)
        return await self.many([call], read, within_s=within_s)

    async def simulate(self, raw: bytes, addresses: Sequence[str] = ()) -> Simulation:
        """What this transaction would do now, whatever its signatures and its blockhash."""

        def read(results: Sequence[msgspec.Raw]) -> Simulation:
            told = _simulation_of(results[0])
            held = told.value.accounts or []
            if len(held) != len(addresses) and told.value.err is None:
                raise ValueError(held)
            return Simulation(
                slot=told.context.slot,
                error=told.value.err,
                units=told.value.units_consumed or 0,
                logs=tuple(told.value.logs or ()),
                accounts={
                    address: each.read() for address, each in zip(addresses, held, strict=False) if each is not None
                },
            )

        return await self.many([protocol.simulation(raw, list(addresses))], read)

    async def broadcast(self, raw: bytes) -> None:
        """Hand these bytes to every node at once. Returns when the first has taken them; the others go on."""
        sends = {asyncio.create_task(self._send(node, raw)) for node in self._nodes if not node.paused}
        self._sends |= sends
        for send in sends:
            send.add_done_callback(self._sent)
        waiting = sends
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if any(not send.cancelled() and send.exception() is None for send in done):
                return
        raise FillwrightError(Code.CHAIN_UNAVAILABLE, "no node of the chain has taken the transaction")

    # --- evidence -----------------------------------------------------------------------------------------

    async def testify(
        self,
        call: Call,
        decode: Callable[[msgspec.Raw], Told[T]],
        *,
        besides: Collection[Node] = (),
        within_s: float = CALL_S,
    ) -> Testimony[T]:
        """What a node says that is well, beside where its finalized bank stands: of a bank not older than that one.

        Nodes that lag, that contradict themselves or most others, or whose answer is of an older bank, are no
        witnesses, and neither are those in `besides`.
        """
        try:
            async with asyncio.timeout(within_s):
                await self._probed.wait()
        except TimeoutError:
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, "no node of the chain has been asked yet") from None

        async def ask(node: Node, left_s: float) -> Testimony[T]:
            before = node.vitals
            results = _results(node, await node.ask([protocol.epoch_info(), call], left_s))
            epoch, told = _read(node, lambda both: (_epoch_of(both[0]), decode(both[1])), results)
            vitals = Vitals(epoch.absolute_slot, epoch.block_height)
            node.hear(vitals, before)
            if node not in self._witnesses():
                raise node.unavailable("it lags, or contradicts the others")
            if told.context.slot < vitals.slot:
                raise node.unavailable("its answer is older than it may be")
            return Testimony(node, vitals, told)

        return await self._first(ask, lambda: [node for node in self._choice() if node not in besides], within_s)

    @property
    def nodes(self) -> int:
        return len(self._nodes)

    @property
    def finalized_slot(self) -> int:
        """Where the chain is finalized, by the most advanced witness, seconds ago; 0: nobody has said yet."""
        return max((node.vitals.slot for node in self._witnesses() if node.vitals is not None), default=0)

    def _witnesses(self) -> frozenset[Node]:
        told = {node: node.vitals for node in self._nodes if node.vitals is not None}
        lagging = behind(told)
        return frozenset(node for node in believed(told) if node not in lagging and not node.distrusted)

    # --- subscriptions ------------------------------------------------------------------------------------

    def subscribe(self, inbox_max: int = INBOX_MAX) -> Feed:
        """A feed of its own socket: an asynchronous context manager, to be told what to follow."""
        return Feed(self._socket_urls, inbox_max)

    def _socket_urls(self) -> list[str]:
        return [node.socket_url for node in self._choice()]

    # --- who is asked -------------------------------------------------------------------------------------

    def _choice(self) -> list[Node]:
        """Those that are well first, each group in the order in which they are listed."""
        witnesses = self._witnesses()
        asked = [node for node in self._nodes if not node.paused]
        return sorted(asked, key=lambda node: (node.resting, node not in witnesses))

    async def _first(
        self, ask: Callable[[Node, float], Awaitable[T]], choose: Callable[[], Sequence[Node]], within_s: float
    ) -> T:
        """The answer of the first node that gives one, each asked a few times, within so many seconds in all."""
        loop = asyncio.get_running_loop()
        gives_up_at = loop.time() + within_s
        failure = FillwrightError(Code.CHAIN_UNAVAILABLE, "no node of the chain may be asked now")
        for turn in range(_TURNS):
            await asyncio.sleep(_TURN_S * turn)
            nodes = choose()
            for number, node in enumerate(nodes):
                left_s = gives_up_at - loop.time()
                if left_s <= 0:
                    raise failure
                # What may take long is shared out among those that are left to ask.
                limit_s = REQUEST_S if within_s <= CALL_S else left_s / (len(nodes) - number)
                try:
                    return await ask(node, min(left_s, limit_s))
                except Refused:
                    raise
                except FillwrightError as error:
                    failure = error
        raise failure

    # --- in the background --------------------------------------------------------------------------------

    async def _probe(self, every_s: float) -> None:
        while True:
            await asyncio.gather(*(self._sound(node) for node in self._nodes))
            self._probed.set()
            await asyncio.sleep(every_s)

    async def _sound(self, node: Node) -> None:
        before = node.vitals
        try:
            results = _results(node, await node.ask([protocol.epoch_info()], REQUEST_S))
            epoch = _read(node, lambda told: _epoch_of(told[0]), results)
            node.hear(Vitals(epoch.absolute_slot, epoch.block_height), before)
        except FillwrightError:
            return  # the node has kept what follows from it

    async def _send(self, node: Node, raw: bytes) -> None:
        _results(node, await node.ask([protocol.send(raw)], REQUEST_S))

    def _sent(self, send: "asyncio.Task[None]") -> None:
        self._sends.discard(send)
        if not send.cancelled():
            send.exception()  # a failure is no evidence


class Refused(FillwrightError):
    """The question itself is wrong, so no node will answer it."""

    def __init__(self, code: int) -> None:
        super().__init__(Code.CHAIN_UNAVAILABLE, f"the chain's nodes refuse the question with code {code}")


def socket_url(url: str) -> str:
    """Where validators listen for WebSockets: the port after the one for requests, where one is named."""
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    if parts.port is None:
        return urlunsplit(parts._replace(scheme=scheme))
    before, _, _ = parts.netloc.rpartition(":")
    return urlunsplit(parts._replace(scheme=scheme, netloc=f"{before}:{parts.port + 1}"))


def _results(node: Node, told: Sequence[msgspec.Raw | Failure]) -> list[msgspec.Raw]:
    results: list[msgspec.Raw] = []
    for each in told:
        if isinstance(each, Failure):
            if each.code == protocol.INVALID_PARAMS:
                raise Refused(each.code)
            raise node.unavailable(f"it refuses with code {each.code}")
        results.append(each)
    return results


def _read(node: Node, decode: Callable[[Sequence[msgspec.Raw]], T], results: Sequence[msgspec.Raw]) -> T:
    try:
        return decode(results)
    except ValueError as error:
        raise node.unavailable("its answer cannot be read") from error

"""A simulated chain in another process, seen through its node (see rpc).

Decides: what is asked for afresh, what is shared, and when an answer is too old to sign on. Must never: put together a
view from two nodes, or take an answer it cannot read for one that says nothing.

Concurrent calls share requests: transactions go out together, and looks at many of them are one height and one list of
statuses. The tip and the pools are asked for at most once a slot, whoever wants them.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec

from fillwright.adapters.kept import Kept
from fillwright.adapters.sim import rpc
from fillwright.adapters.sim.chain import SLOT_MS, Settlement
from fillwright.adapters.sim.line import Line
from fillwright.adapters.sim.market import SimPool
from fillwright.adapters.sim.transactions import NONCE_BITS, VALID_BLOCKS, signed
from fillwright.errors import Code, FillwrightError
from fillwright.order import Fill, SignedTx
from fillwright.pools import ChainTime
from fillwright.ports import Clock, Entropy, Instruction, Rejection, Sighting, Snapshot
from fillwright.sniping import Facts, Listing
from fillwright.units import Atoms, Mint, OrderId, Signature

T = TypeVar("T")
_SLOT_S: Final = (SLOT_MS - 1) / 1_000
"""A slot, less what clocks round."""
_SIGNABLE_S: Final = 2.0
"""A transaction is signed on a tip at most this old: a few of its blocks are gone then, of VALID_BLOCKS."""
_VIEWS_MAX: Final = 1_024
_POOLS_MAX: Final = 1_024

_integer_of: Final = msgspec.json.Decoder(int).decode
_text_of: Final = msgspec.json.Decoder(str).decode
_blockhash_of: Final = msgspec.json.Decoder(rpc.Told[rpc.Blockhash]).decode
_statuses_of: Final = msgspec.json.Decoder(rpc.Told[list[rpc.Status | None]]).decode
_pools_of: Final = msgspec.json.Decoder(rpc.Told[rpc.Pools]).decode
_pool_of: Final = msgspec.json.Decoder(SimPool).decode
_listings_of: Final = msgspec.json.Decoder(list[Listing]).decode
_facts_of: Final = msgspec.json.Decoder(Facts | None).decode
_settlements_of: Final = msgspec.json.Decoder(rpc.Told[list[Settlement]]).decode


class RemoteChain:
    """See ports.Chain, ports.Discovery and venue.PoolSource. To be made inside the running loop, and closed in it.

    `entropy` makes each transaction unlike any other of any process.
    """

    landed_is_final = True

    def __init__(self, url: str, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._entropy = entropy
        self._line = Line(url)
        self._tip = Kept(self._ask_tip, clock, fresh_s=_SLOT_S, usable_s=_SIGNABLE_S)
        self._views: dict[tuple[str, frozenset[Mint]], Kept[Snapshot]] = {}
        self._pools: dict[bytes, SimPool] = {}
        self._round: _Round | None = None
        self._rounds: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        await self._line.close()
        await asyncio.gather(*self._rounds, self._tip.ended(), *(view.ended() for view in self._views.values()))

    # --- port ---------------------------------------------------------------------------------------------

    async def sign(self, order_id: OrderId, attempt: int, instructions: Sequence[Instruction]) -> SignedTx:
        """Slot and height are of one answer of one node, so no later honest sighting contradicts them."""
        tip = await self._tip.get()
        nonce = int.from_bytes(self._entropy(8), "big") >> (64 - NONCE_BITS)
        return signed(order_id, attempt, instructions, nonce=nonce, slot=tip.slot, height=tip.height)

    async def broadcast(self, tx: SignedTx) -> None:
        await self._line.call("sendTransaction", tx.raw, rpc.Encoding("base64"))

    async def look(self, signature: Signature) -> Sighting:
        """Height, slot and outcome are of one node: a batch is worked through in order, and the height stands first."""
        if self._round is None:
            self._round = _Round(self._line, self._leave)
            task = asyncio.create_task(self._round.run())
            self._rounds.add(task)
            task.add_done_callback(self._rounds.discard)
        return await self._round.join(signature)

    async def ping(self) -> None:
        if _read(_text_of, await self._line.call("getHealth")) != "ok":
            raise _unreadable()

    # --- what venues see ----------------------------------------------------------------------------------

    async def pools_of(self, venue: str, mints: frozenset[Mint]) -> Snapshot:
        """See venue.PoolSource. A pool that has not changed is the same object as before."""
        view = self._views.get((venue, mints))
        if view is None:
            while len(self._views) >= _VIEWS_MAX:
                del self._views[next(iter(self._views))]
            view = self._views[venue, mints] = Kept(
                lambda: self._ask_pools(venue, mints), self._clock, fresh_s=_SLOT_S, usable_s=_SLOT_S
            )
        try:
            return await view.get()
        except FillwrightError as error:
            raise FillwrightError(Code.VENUE_UNAVAILABLE, str(error)) from error

    # --- what is new --------------------------------------------------------------------------------------

    async def new_pools(self, within_s: int) -> Sequence[Listing]:
        return _read(_listings_of, await self._line.call("fillwright_getNewPools", within_s))

    async def facts(self, listing: Listing) -> Facts | None:
        """Asked afresh each time: what a signature is judged by must not be older than it."""
        known: Facts | None = _read(_facts_of, await self._line.call("fillwright_getPoolFacts", listing.address))
        return known

    # --- the witness --------------------------------------------------------------------------------------

    async def settlements(self) -> list[Settlement]:
        """Every swap that happened, in order."""
        lines: list[Settlement] = []
        while True:
            after = lines[-1].number if lines else 0
            more = _read(_settlements_of, await self._line.call("fillwright_getSettlements", after)).value
            lines += more
            if len(more) < rpc.SETTLEMENTS_MAX:
                return lines

    async def quiet(self) -> bool:
        """Whether nothing that was ever broadcast can still land."""
        return _read(_integer_of, await self._line.call("fillwright_getInFlight")) == 0

    # --- asking -------------------------------------------------------------------------------------------

    def _leave(self) -> None:
        """The round is full or on its way: who comes now needs another."""
        self._round = None

    async def _ask_tip(self) -> "_Tip":
        tip = _read(_blockhash_of, await self._line.call("getLatestBlockhash"))
        return _Tip(tip.context.slot, tip.value.last_valid_block_height - VALID_BLOCKS)

    async def _ask_pools(self, venue: str, mints: frozenset[Mint]) -> Snapshot:
        view = _read(_pools_of, await self._line.call("fillwright_getPools", venue, mints))
        pools = tuple(self._pool(bytes(pool)) for pool in view.value.pools)
        return Snapshot(pools, ChainTime(slot=view.context.slot, unix_seconds=view.value.unix_seconds))

    def _pool(self, state: bytes) -> SimPool:
        pool = self._pools.get(state)
        if pool is None:
            while len(self._pools) >= _POOLS_MAX:
                del self._pools[next(iter(self._pools))]
            pool = self._pools[state] = _read(_pool_of, msgspec.Raw(state))
        return pool


class _Tip(msgspec.Struct, frozen=True):
    slot: int
    height: int


class _Round:
    """Looks that share one view: a height, and after it, on the same node, their statuses."""

    def __init__(self, line: Line, leave: Callable[[], None]) -> None:
        self._line = line
        self._leave = leave
        self._looks: list[tuple[Signature, asyncio.Future[Sighting]]] = []
        self._open = True

    async def join(self, signature: Signature) -> Sighting:
        sighting: asyncio.Future[Sighting] = asyncio.get_running_loop().create_future()
        self._looks.append((signature, sighting))
        if len(self._looks) == rpc.SIGNATURES_MAX:
            self._close()
        return await sighting

    async def run(self) -> None:
        """Every look ends with it: with a sighting, or with the failure of all."""
        why = "the connection was closed"
        try:
            height, told = await self._line.ask(self._calls)
            for (_, future), sighting in zip(self._looks, self._sightings(height, told), strict=True):
                if not future.done():
                    future.set_result(sighting)
        except FillwrightError as error:
            why = str(error)
        finally:
            self._close()
            for _, future in self._looks:
                if not future.done():
                    future.set_exception(FillwrightError(Code.CHAIN_UNAVAILABLE, why))

    def _calls(self) -> Sequence[tuple[str, Sequence[object]]]:
        self._close()
        signatures = [signature for signature, _ in self._looks]
        return [("getBlockHeight", ()), ("getSignatureStatuses", (signatures, rpc.History(True)))]

    def _sightings(self, height: msgspec.Raw, told: msgspec.Raw) -> list[Sighting]:
        blocks, statuses = _read(_integer_of, height), _read(_statuses_of, told)
        if len(statuses.value) != len(self._looks):
            raise _unreadable()
        return [
            Sighting(height=blocks, slot=statuses.context.slot, outcome=_outcome(signature, status))
            for (signature, _), status in zip(self._looks, statuses.value, strict=True)
        ]

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._leave()


def _outcome(signature: Signature, status: rpc.Status | None) -> Fill | Rejection | None:
    if status is None:
        return None
    told = status.fillwright
    if told.problem is not None and status.err is not None:
        return Rejection(status.slot, told.problem)
    if told.amount_in is None or told.amount_out is None or status.err is not None:
        raise _unreadable()
    return Fill(
        signature=signature, slot=status.slot, amount_in=Atoms(told.amount_in), amount_out=Atoms(told.amount_out)
    )


def _read(decode: Callable[[msgspec.Raw], T], told: msgspec.Raw) -> T:
    try:
        return decode(told)
    except ValueError as error:
        raise _unreadable() from error


def _unreadable() -> FillwrightError:
    return FillwrightError(Code.CHAIN_UNAVAILABLE, "the chain's node: its answer cannot be read")

"""The accounts of pools that the engine knows, kept fresh, and the pools they make.

Decides: which accounts are asked for and when, and which pools may be offered. Must never: make a pool of accounts of
two moments, go back behind what it has seen of it, offer one older than allowed, or ask for what nobody wants.

A swap writes a pool's account, its vaults and its arrays at once, but a node tells of them one by one. A pool put
together from such news would, for a moment, have a price that never was, and one that looks like a bargain. So news
(feed) only says *that* something has changed; all accounts of a pool are then asked for again together, in one
getMultipleAccounts, whose answer is of one bank. That costs a few unchanged accounts an answer, and no request more:
pools share requests as far as they fit, and are only asked for when somebody wants them, at most once a slot.
"""

import asyncio
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Final

import msgspec
from solders.sysvar import CLOCK

from fillwright.adapters.solana.feed import Changes
from fillwright.adapters.solana.protocol import ACCOUNTS_MAX
from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.search import Pair, Search, pair_of
from fillwright.errors import Code, FillwrightError
from fillwright.pools import ChainTime, Pool, PoolRefused
from fillwright.pools.pool import refused
from fillwright.ports import Snapshot
from fillwright.programs import Accounts, Program, by_id
from fillwright.units import Mint

SLOT_S: Final = 0.4
_POLL_S: Final = 4.0
"""What is followed, and quiet, is asked for all the same after so long: news may be lost without a sign."""
_SEARCH_S: Final = 2.0
"""So long a question waits for the first search for a pair; whoever asks has about a second more."""
_ROUNDS: Final = 4
"""Linked accounts are known after two; the price may move on to other arrays meanwhile."""
_AHEAD_SLOTS: Final = 150
_UNREAD_S: Final = 30.0
_UNUSED_S: Final = 60.0
_POOLS_MAX: Final = 1_024
_CLOCK: Final = str(CLOCK)
_CLOCK_BYTES: Final = 40


class MarketSettings(msgspec.Struct, frozen=True, kw_only=True):
    listed: tuple[str, ...] = ()
    """Pools that are known from the start."""
    search: bool = True
    """Whether pools of a pair are looked for among all accounts of the programs, which many nodes refuse."""
    each_max: int = 4
    """So many that were found of one program and pair: the deepest."""
    slots_max: int = 32
    """A pool whose accounts are older is not offered."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A pool as it was at one slot, and the accounts that it was made of. No pool: `problem` says why."""

    slot: int
    time: ChainTime
    read_at: float
    """By the loop's time, before it was asked for."""
    accounts: Accounts
    program: Program | None
    pool: Pool | None
    problem: str | None


class _Known:
    """One address that is, or may be, a pool."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.group: tuple[str, ...] = (address,)
        """All accounts that it is made of, as far as known."""
        self.besides: tuple[str, ...] = ()
        """Accounts that are of use with it."""
        self.mints: frozenset[Mint] | None = None
        self.venue: str | None = None
        self.held: Held | None = None
        self.asked_at = float("-inf")
        self.used_at = 0.0
        self.asking: asyncio.Task[None] | None = None
        self.failure: FillwrightError | None = None


class Market:
    """To be made inside the running loop, and closed in it."""

    def __init__(self, rpc: Rpc, settings: MarketSettings) -> None:
        self._rpc = rpc
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._changes = Changes(rpc)
        self._search = Search(rpc, each_max=settings.each_max)
        self._known: dict[str, _Known] = {}
        self._time: ChainTime | None = None
        self._time_at = float("-inf")
        self._leaves_at = 0.0
        self._unheard: FillwrightError | None = None
        self._reads: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None
        self._looked_for: dict[str, _Known] = {}
        self.add(*settings.listed)

    async def close(self) -> None:
        await self._search.close()
        await self._changes.close()
        for task in self._reads:
            task.cancel()
        await asyncio.gather(*self._reads, return_exceptions=True)

    def add(self, *addresses: str) -> None:
        """Pools to be known from now on, whatever is searched for."""
        for address in addresses:
            self._at(address)

    def search_for(self, mints: frozenset[Mint]) -> None:
        """Begin to look for the pools of these tokens, so that the first question need not wait for them."""
        if self._settings.search:
            for pair in _pairs(mints):
                self._search.known(pair)

    # --- what is offered ----------------------------------------------------------------------------------

    async def view(self, venue: str, mints: frozenset[Mint]) -> Snapshot:
        """This venue's pools among these tokens. Raises FillwrightError(VENUE_UNAVAILABLE)."""
        await self._read_new()
        pairs = _pairs(mints) if self._settings.search else []
        await self._look_for(pairs)
        ours = [known for known in self._known.values() if known.venue == venue]
        wanted = [known for known in ours if known.mints is not None and known.mints <= mints]
        await self._renew(wanted)
        if self._time is None:
            raise _unavailable(venue, self._unheard)
        offered = tuple(pool for pool in map(self._offer, wanted) if pool is not None)
        if not offered:
            unread = [known for known in self._known.values() if known.mints is None]
            failure = _failure([*wanted, *unread]) or next(filter(None, map(self._search.failure, pairs)), None)
            if failure is not None or any(known.held is not None and known.held.pool is not None for known in wanted):
                raise _unavailable(venue, failure)
        return Snapshot(offered, self._time)

    async def held(self, address: str) -> Held:
        """What is known of this pool, read now unless it is known to be unchanged; its pool may be missing.

        Raises FillwrightError(CHAIN_UNAVAILABLE).
        """
        known = self._at(address)
        await self._renew([known])
        if known.held is None or not self._is_young(known.held):
            raise known.failure or FillwrightError(Code.CHAIN_UNAVAILABLE, "the pool's accounts could not be read")
        return known.held

    async def look(self, address: str, besides: Sequence[str] = ()) -> Held:
        """What this pool is now, read after this call, with these accounts out of the same answer.

        Whoever asks at once shares requests. Raises FillwrightError(CHAIN_UNAVAILABLE).
        """
        known = self._at(address)
        known.besides = tuple(besides)
        if self._looking is None:
            self._looking = self._start(self._look())
        looking = self._looking
        self._looked_for[address] = known
        await asyncio.wait([looking])
        looking.result()
        if known.failure is not None or known.held is None:
            raise known.failure or FillwrightError(Code.CHAIN_UNAVAILABLE, "the pool's accounts could not be read")
        return known.held

    async def accounts_of(self, pool: str) -> Accounts:
        """All accounts that an instruction on this pool is made from, of one slot.

        Raises FillwrightError(CHAIN_UNAVAILABLE), also where the pool can no longer be used: another route may do.
        """
        held = await self.held(pool)
        if held.pool is None:
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, f"pool {pool} can no longer be used: {held.problem}")
        return held.accounts

    async def unix_seconds(self) -> int:
        """The chain's time, at most about a slot old. Raises FillwrightError(CHAIN_UNAVAILABLE)."""
        if self._loop.time() - self._time_at >= SLOT_S:
            await asyncio.wait([self._start(self._read(()))])
        if self._time is None:
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, "no node tells the chain's time")
        return self._time.unix_seconds

    @property
    def refused(self) -> Mapping[str, str]:
        """Why pools that are known are not offered, by address."""
        held = ((address, known.held) for address, known in self._known.items() if known.held is not None)
        return {address: each.problem for address, each in held if each.problem is not None}

    def _offer(self, known: _Known) -> Pool | None:
        held = known.held
        return held.pool if held is not None and self._is_young(held) else None

    def _is_young(self, held: Held) -> bool:
        """Within the allowed age, by our own time and by where the chain's final blocks have come to."""
        elapsed = (self._loop.time() - held.read_at) / SLOT_S
        return max(elapsed, self._rpc.finalized_slot - held.slot) <= self._settings.slots_max

    # --- which pools --------------------------------------------------------------------------------------

    def _at(self, address: str) -> _Known:
        known = self._known.get(address)
        if known is None:
            while len(self._known) >= _POOLS_MAX:
                self._forget()
            known = self._known[address] = _Known(address)
        known.used_at = self._loop.time()
        return known

    def _forget(self) -> None:
        """The one that was not asked for the longest; of those that were listed only where there are no others."""
        listed = frozenset(self._settings.listed)
        unused = min(self._known.values(), key=lambda known: (known.address in listed, known.used_at))
        del self._known[unused.address]
        self._changes.leave(unused.address)

    def _leave_unused(self, now: float) -> None:
        """Follow no longer what nobody asks for."""
        if now >= self._leaves_at:
            self._leaves_at = now + _UNUSED_S
            for known in self._known.values():
                if now - known.used_at >= _UNUSED_S:
                    self._changes.leave(known.address)

    async def _read_new(self) -> None:
        """Those of which it is not known whether they are pools, and of what; those that are none, now and then."""
        before = self._loop.time() - _UNREAD_S
        unread = [known for known in self._known.values() if known.mints is None]
        await self._renew([known for known in unread if known.held is None or known.held.read_at < before], once=True)

    async def _look_for(self, pairs: Sequence[Pair]) -> None:
        """The pools of these pairs; for a pair without any, the first time, this waits for them, within a limit."""
        have = {known.mints for known in self._known.values()}
        missing = [pair for pair in pairs if self._search.known(pair) is None and frozenset(pair) not in have]
        await self._search.wait(missing, _SEARCH_S)
        found = [self._search.known(pair) for pair in pairs]
        self.add(*(address for pools in found for address in pools or ()))
        await self._read_new()
        if any(self._search.known(pair) is None for pair in missing):
            raise FillwrightError(Code.VENUE_UNAVAILABLE, "the pools of these tokens are still being searched for")

    # --- keeping them fresh -------------------------------------------------------------------------------

    async def _renew(self, wanted: Sequence[_Known], *, once: bool = False) -> None:
        """Read those that may have changed, and follow them, unless it is for `once`; `failure` tells of each what
        could not be read."""
        now = self._loop.time()
        for known in wanted:
            known.used_at = now
        self._leave_unused(now)
        stale = [known for known in wanted if not self._is_fresh(known, now)]
        mine = [known for known in stale if known.asking is None]
        under_way = {known.asking for known in stale if known.asking is not None}
        if mine or self._time is None:
            task = self._start(self._read(mine))
            for known in mine:
                known.asking = task
            task.add_done_callback(lambda _: _settle(mine))
            under_way.add(task)
        if under_way:
            await asyncio.wait(under_way)
        for task in under_way:
            task.result()
        for known in stale:
            if known.mints is not None and not once:
                self._changes.follow(known.address, set(known.group) - {*known.mints, *known.besides})

    def _start(self, read: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """A reading of its own: whoever gives up waiting for it must not take it from the others."""
        task = asyncio.create_task(read)
        self._reads.add(task)
        task.add_done_callback(self._reads.discard)
        return task

    def _is_fresh(self, known: _Known, now: float) -> bool:
        held = known.held
        is_known = held is not None or known.failure is not None
        if is_known and known.asking is None and now - known.asked_at < SLOT_S:
            return True
        if held is None or known.failure is not None or now - held.read_at >= _POLL_S or not self._is_young(held):
            return False
        return self._changes.quiet(known.address, since=held.read_at, slot=held.slot)

    async def _look(self) -> None:
        await asyncio.sleep(0)  # all who ask in this turn of the loop
        together, self._looked_for, self._looking = list(self._looked_for.values()), {}, None
        await self._read(together)

    async def _read(self, wanted: Sequence[_Known]) -> None:
        left = list(wanted)
        for _ in range(_ROUNDS):
            left = [each for more in await asyncio.gather(*map(self._fill, _packed(left))) for each in more]
            if not left:
                return
        for known in left:
            known.failure = FillwrightError(Code.CHAIN_UNAVAILABLE, f"the accounts of pool {known.address} keep moving")

    async def _fill(self, together: Sequence[_Known]) -> list[_Known]:
        """Take these pools' accounts out of one answer. Returns those that turn out to need more of them."""
        read_at = self._loop.time()
        for known in together:
            known.asked_at = read_at
        addresses = list(dict.fromkeys((_CLOCK, *(address for known in together for address in known.group))))
        try:
            slot, told = await self._rpc.accounts(addresses, min_slot=max(map(self._floor, together), default=0))
            time = self._tick(told)
        except FillwrightError as error:
            self._unheard = error
            for known in together:
                known.failure = error
            return []
        return [known for known in together if not self._take(known, told, slot=slot, time=time, read_at=read_at)]

    def _floor(self, known: _Known) -> int:
        """No pool goes back to an earlier slot; but one far beyond what is final, or of which nothing comes any more,
        was never a true one."""
        held = known.held
        if held is None or not self._is_young(held):
            return 0
        slot = max(held.slot, self._changes.changed_at(known.address))
        return slot if slot <= self._rpc.finalized_slot + _AHEAD_SLOTS else 0

    def _take(self, known: _Known, told: Accounts, *, slot: int, time: ChainTime, read_at: float) -> bool:
        """Whether these accounts are all there is to the pool, and it was made of them."""
        accounts = {address: told[address] for address in known.group if address in told}
        before = known.held
        if before is not None and slot < before.slot and self._is_young(before):
            return True  # another answer has overtaken this one
        if before is not None and before.accounts == accounts and set(known.besides) <= set(known.group):
            known.held = msgspec.structs.replace(before, slot=slot, time=time, read_at=read_at)
        else:
            program, pool, problem = None, None, None
            try:
                program = _program_of(known.address, accounts)
                known.mints, known.venue = frozenset(program.mints(accounts[known.address])), program.venue
                links = program.linked(known.address, accounts)
                group = (known.address, *links, *sorted(known.mints), *known.besides)
                is_whole = set(group) <= set(known.group)
                known.group = group
                if not is_whole:
                    return False
                pool = program.decode(known.address, accounts)
            except PoolRefused as refusal:
                problem = str(refusal)
            except (ArithmeticError, LookupError, ValueError):  # one strange account must not take the others with it
                problem = f"pool {known.address} holds what its program would not write"
            known.held = Held(
                slot=slot,
                time=time,
                read_at=read_at,
                accounts=accounts,
                program=program,
                pool=pool,
                problem=problem,
            )
        known.failure = None
        return True

    def _tick(self, told: Accounts) -> ChainTime:
        """The chain's own time as of these accounts: the sysvar's slot u64 0, unix seconds i64 32."""
        account = told.get(_CLOCK)
        if account is None or len(account.data) != _CLOCK_BYTES:
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, "the node does not tell the chain's time")
        slot, seconds = account.data[:8], account.data[32:40]
        time = ChainTime(
            slot=int.from_bytes(slot, "little"), unix_seconds=int.from_bytes(seconds, "little", signed=True)
        )
        if self._time is None or not 0 <= self._time.slot - time.slot < self._settings.slots_max:
            self._time, self._time_at = time, self._loop.time()
        return time


def _pairs(mints: frozenset[Mint]) -> list[Pair]:
    return [pair_of(*both) for both in combinations(sorted(mints), 2)]


def _program_of(address: str, accounts: Accounts) -> Program:
    account = accounts.get(address)
    if account is None:
        raise refused(f"pool {address} is not there")
    program = by_id(account.owner)
    if program is None or not program.is_pool(account):
        raise refused(f"{address} is no pool of a program that is known")
    return program


def _packed(wanted: Sequence[_Known]) -> Iterator[list[_Known]]:
    """So many to a request as fit, each pool whole in one; one empty request where nothing is wanted but the time."""
    together: list[_Known] = []
    addresses = {_CLOCK}
    for known in wanted:
        if together and len(addresses | set(known.group)) > ACCOUNTS_MAX:
            yield together
            together, addresses = [], {_CLOCK}
        together.append(known)
        addresses |= set(known.group)
    yield together


def _settle(read: Iterable[_Known]) -> None:
    for known in read:
        known.asking = None


def _failure(wanted: Iterable[_Known]) -> FillwrightError | None:
    return next((known.failure for known in wanted if known.failure is not None), None)


def _unavailable(venue: str, why: FillwrightError | None) -> FillwrightError:
    return FillwrightError(Code.VENUE_UNAVAILABLE, f"{venue}: {why or 'what is known of its pools is too old'}")

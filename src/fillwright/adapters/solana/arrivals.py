"""New pools as the chain tells of them: who was created when, the latest kept.

Decides: which transactions are looked into for a creation. Must never: list a pool that no landed transaction created,
or look into more transactions than its limits allow.

Nodes tell unasked of transactions that name an address, with their logs; only those whose log may be that of a creation
are fetched. Behind it, each address is asked for its latest transactions every few seconds. Where creations have an
address of their own (creations.WATCHED: AMM v4, CPMM) that finds what the socket lost. Of the other three programs a
busy cluster makes far more swaps in that time than can be looked into, so none are: what a lost connection missed of
them then stays unseen. A sniper misses a pool; it never buys a wrong one.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from fillwright.adapters.solana.creations import WATCHED, Creation, Told, creations, may_create
from fillwright.adapters.solana.protocol import transaction
from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.subscriptions import Logged, Topic
from fillwright.errors import Code, FillwrightError
from fillwright.programs import by_id
from fillwright.sniping import Listing
from fillwright.units import Mint

KEPT_MAX: Final = 200
_POLL_S: Final = 3.0
_IDLE_S: Final = 120.0
"""Nobody has asked for so long: no node is asked either, until somebody does."""
_STALE_S: Final = 15.0
"""Without a poll that worked for so long, nothing can be said of what is new."""
_LATEST: Final = 40
"""Transactions of one address that a poll looks at: the newest."""
_BUSY_SLOTS: Final = 16
"""So many transactions of a program in fewer slots are too many to look through."""
_PENDING_MAX: Final = 1_000
_SEEN_MAX: Final = 20_000
_TRIES: Final = 5
_AT_ONCE: Final = 8
_TAKE_S: Final = 0.5

_told_of: Final = msgspec.json.Decoder(Told | None).decode


class _Line(msgspec.Struct, frozen=True):
    signature: str
    slot: int
    err: Any = None


_lines_of: Final = msgspec.json.Decoder(list[_Line]).decode


class Arrivals:
    """To be made inside the running loop, and closed in it. It begins when it is first asked."""

    def __init__(self, rpc: Rpc, paid: frozenset[Mint]) -> None:
        """`paid`: tokens that orders pay with. A pool of one of them and another token is a listing of the other."""
        self._rpc = rpc
        self._paid = paid
        self._loop = asyncio.get_running_loop()
        self._listings: OrderedDict[str, Listing] = OrderedDict()
        self._pending: OrderedDict[str, int] = OrderedDict()
        """Transactions to look into, and how often each could not be found."""
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._running: asyncio.Task[None] | None = None
        self._first: asyncio.Future[None] = self._loop.create_future()
        self._polled_at = float("-inf")
        self._asked_at = float("-inf")

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def latest(self) -> Sequence[Listing]:
        """The latest listings, newest first. Raises FillwrightError(CHAIN_UNAVAILABLE)."""
        self._asked_at = self._loop.time()
        if self._running is None or self._running.done():
            self._first = self._loop.create_future()
            self._running = asyncio.create_task(self._run(self._first))
        await asyncio.wait([self._first, self._running], return_when=asyncio.FIRST_COMPLETED)
        if self._running.done():
            self._running.result()
        if self._loop.time() - self._polled_at > _STALE_S:
            raise FillwrightError(Code.CHAIN_UNAVAILABLE, "no node tells which pools are new")
        return sorted(self._listings.values(), key=lambda listing: listing.slot, reverse=True)

    async def _run(self, first: "asyncio.Future[None]") -> None:
        """Until nobody has asked for a while. `first`: when the first poll is over, whatever came of it."""
        poll_at = self._loop.time()
        async with self._rpc.subscribe() as feed:
            feed.follow(Topic("logs", address) for address in WATCHED.values())
            while self._loop.time() - self._asked_at < _IDLE_S:
                if self._loop.time() >= poll_at:
                    await self._poll()
                    poll_at = self._loop.time() + _POLL_S
                    if not first.done():
                        first.set_result(None)
                heard = await feed.take(_TAKE_S)
                for notice in heard.notices:
                    if isinstance(notice, Logged) and not notice.failed and may_create(notice.lines):
                        self._note(notice.signature)
                await self._look()

    async def _poll(self) -> None:
        try:
            latest = await asyncio.gather(*(self._signatures(address) for address in WATCHED.values()))
        except FillwrightError:
            return  # once it has lasted, `latest` tells
        for signatures in latest:
            for signature in signatures:
                self._note(signature)
        await self._look()
        self._polled_at = self._loop.time()

    async def _signatures(self, address: str) -> list[str]:
        """Of the latest transactions that named this address and succeeded, oldest first."""
        setting = {"limit": _LATEST, "commitment": "confirmed"}
        lines = await self._rpc.call("getSignaturesForAddress", [address, setting], _lines_of)
        if by_id(address) and len(lines) == _LATEST and lines[0].slot - lines[-1].slot < _BUSY_SLOTS:
            return []
        return [line.signature for line in reversed(lines) if line.err is None]

    def _note(self, signature: str) -> None:
        if signature in self._seen:
            return
        self._seen[signature] = None
        while len(self._seen) > _SEEN_MAX:
            self._seen.popitem(last=False)
        while len(self._pending) >= _PENDING_MAX:
            self._pending.popitem(last=False)
        self._pending[signature] = 0

    async def _look(self) -> None:
        """Look into what is pending. What cannot be found yet stays for the next time."""
        pending, self._pending = self._pending, OrderedDict()
        room = asyncio.Semaphore(_AT_ONCE)

        async def look_into(signature: str, tries: int) -> None:
            async with room:
                if not await self._look_into(signature) and tries + 1 < _TRIES:
                    self._pending[signature] = tries + 1

        await asyncio.gather(*(look_into(signature, tries) for signature, tries in pending.items()))

    async def _look_into(self, signature: str) -> bool:
        """Whether the transaction was found."""
        try:
            told = await self._rpc.call(*transaction(signature, "confirmed"), _told_of)
            if told is None:
                return False
            found = creations(told)
        except (FillwrightError, ValueError):
            return False
        for creation in found:
            listing = self._listing(creation, told)
            if listing is not None:
                self._listings[listing.address] = listing
        while len(self._listings) > KEPT_MAX:
            self._listings.popitem(last=False)
        return True

    def _listing(self, creation: Creation, told: Told) -> Listing | None:
        """None for a pool of two tokens that orders pay with, or of none."""
        program = by_id(creation.program)
        new = [mint for mint in (creation.mint_0, creation.mint_1) if mint not in self._paid]
        if program is None or len(new) != 1 or told.block_time is None:
            return None
        return Listing(
            venue=program.venue,
            address=creation.pool,
            mint=new[0],
            against=creation.mint_1 if new[0] == creation.mint_0 else creation.mint_0,
            creator=creation.creator,
            slot=told.slot,
            unix_seconds=told.block_time,
        )

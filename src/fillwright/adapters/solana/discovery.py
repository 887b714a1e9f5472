"""New pools on the real chain, and what is known of each now: ports.Discovery.

Decides: what counts as sellable. Must never: tell what could not be found out for the better, or from an earlier moment
than the question's.

All facts come out of one answer of one node, that of the pool's own accounts (market.look). Whether what is bought can
be sold again is asked of the node: a purchase and the sale of all that it brought, as one transaction of the wallet,
simulated with small amounts on the chain as it is. The pool's own maths stands before it, and refuses for free. The
wallet must hold a little of what it pays with: for one that cannot pay, no token counts as sellable.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Final, TypeVar

from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from fillwright.adapters.solana.arrivals import KEPT_MAX, Arrivals
from fillwright.adapters.solana.market import Held, Market
from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.safety import besides, locked, mint_facts
from fillwright.order import Mode
from fillwright.pools import Pool, PoolRefused
from fillwright.programs import Accounts, Program, SwapCall, token
from fillwright.sniping import Facts, Listing
from fillwright.units import NATIVE_MINT, Atoms, Mint

T = TypeVar("T")
_SAMPLE: Final = 10_000
"""A sale is tried with what one part in so many of the pool's reserve buys."""
_UNITS: Final = 1_400_000
"""Compute units that a transaction may use at most."""
_TRIALS_AT_ONCE: Final = 8


class SolanaDiscovery:
    """See ports.Discovery. To be made inside the running loop, and closed in it."""

    def __init__(self, rpc: Rpc, market: Market, *, wallet: str, paid: frozenset[Mint]) -> None:
        """`paid`: the tokens that orders pay with."""
        self._rpc = rpc
        self._market = market
        self._wallet = wallet
        self._arrivals = Arrivals(rpc, paid)
        self._besides: OrderedDict[str, tuple[str, ...]] = OrderedDict()
        self._trials: OrderedDict[str, tuple[Accounts, bool]] = OrderedDict()
        """By pool: how a trial went, and on which accounts. On the same it would go the same way again."""
        self._room = asyncio.Semaphore(_TRIALS_AT_ONCE)

    async def close(self) -> None:
        """Before the market and the nodes."""
        await self._arrivals.close()

    async def new_pools(self, within_s: int) -> Sequence[Listing]:
        """Each is known to the market from then on."""
        latest = await self._arrivals.latest()
        since = await self._market.unix_seconds() - within_s
        listings = [listing for listing in latest if listing.unix_seconds >= since]
        self._market.add(*(listing.address for listing in listings))
        return listings

    async def facts(self, listing: Listing) -> Facts | None:
        held = await self._look(listing.address)
        minted = held.accounts.get(listing.mint)
        new = None if minted is None else mint_facts(minted.data)
        account = held.accounts.get(listing.address)
        if account is None or held.program is None or new is None:
            return None
        share = locked(account, held.accounts)
        return Facts(
            slot=held.slot,
            unix_seconds=held.time.unix_seconds,
            decimals=new.decimals,
            mint_authority=new.mint_authority,
            freeze_authority=new.freeze_authority,
            liquidity=Atoms(0) if held.pool is None else _reserve(held.pool, listing.against),
            locked_bps=share.locked_bps,
            burned_bps=share.burned_bps,
            extensions=new.extensions,
            sellable=await self._is_sellable(listing, held),
        )

    async def _look(self, address: str) -> Held:
        """The pool with the accounts that tell who holds its shares, which are known once it has been seen."""
        known = self._besides.get(address)
        held = await self._market.look(address, known or ())
        account = held.accounts.get(address)
        if known is not None or account is None or held.program is None:
            return held
        _keep(self._besides, address, besides(account))
        return await self._market.look(address, self._besides[address])

    async def _is_sellable(self, listing: Listing, held: Held) -> bool:
        if held.pool is None or held.program is None:
            return False
        before = self._trials.get(listing.address)
        if before is not None and before[0] == held.accounts:
            return before[1]
        instructions = _there_and_back(listing, held, held.pool, held.program, self._wallet)
        if instructions is None:
            return False
        message = MessageV0.try_compile(Pubkey.from_string(self._wallet), instructions, [], Hash.default())
        unsigned = VersionedTransaction.populate(message, [Signature.default()])
        async with self._room:
            went = (await self._rpc.simulate(bytes(unsigned))).error is None
        _keep(self._trials, listing.address, (held.accounts, went))
        return went


def _there_and_back(
    listing: Listing, held: Held, pool: Pool, program: Program, wallet: str
) -> list[Instruction] | None:
    """A purchase and the sale of what it brings; None where the pool's own maths refuses, or has no instruction."""
    amount = Atoms(max(1, _reserve(pool, listing.against) // _SAMPLE))
    paying, holding = token.associated(wallet, listing.against), token.associated(wallet, listing.mint)
    try:
        bought, after = pool.swap_in(amount, listing.against, held.time)
        after.quote_in(bought.amount_out, listing.mint, held.time)
        buy = SwapCall(
            pool=listing.address,
            mode=Mode.EXACT_IN,
            mint_in=listing.against,
            mint_out=listing.mint,
            amount=amount,
            limit=Atoms(1),
            owner=wallet,
            source=paying,
            destination=holding,
        )
        sell = SwapCall(
            pool=listing.address,
            mode=Mode.EXACT_IN,
            mint_in=listing.mint,
            mint_out=listing.against,
            amount=bought.amount_out,
            limit=Atoms(1),
            owner=wallet,
            source=holding,
            destination=paying,
        )
        swaps = [program.swap(buy, held.accounts), program.swap(sell, held.accounts)]
    except PoolRefused:
        return None
    wrapping = [token.pay(wallet, paying, amount), token.sync_native(paying)] if listing.against == NATIVE_MINT else []
    return [
        token.unit_limit(_UNITS),
        token.create_associated(wallet, wallet, listing.against),
        token.create_associated(wallet, wallet, listing.mint),
        *wrapping,
        *swaps,
    ]


def _reserve(pool: Pool, mint: Mint) -> Atoms:
    return pool.reserves()[pool.mint_1 == mint]


def _keep(kept: OrderedDict[str, T], address: str, value: T) -> None:
    kept[address] = value
    while len(kept) > KEPT_MAX:
        kept.popitem(last=False)

"""What every chain owes the engine (ports.Chain), at a time that the test moves."""

import itertools

import pytest

from fillwright.errors import Code
from fillwright.landing import proves_lapse
from fillwright.order import Fill, Mode, SignedTx
from fillwright.ports import Chain, Rejection
from fillwright.units import Atoms, OrderId, Signature
from tests.conformance.rigs import ChainRig, in_loop, wish
from tests.conformance.samples import SOL, USDC

ORDER = OrderId("o-1")
PAIR = frozenset({SOL.mint, USDC.mint})
AMOUNT = 1_000_000_000
WINDOW_SLOTS = 200
"""Longer than a transaction stays valid."""


async def signed(chain: Chain, *, limit: int = 1, mode: Mode = Mode.EXACT_IN, amount: int = AMOUNT) -> SignedTx:
    return await chain.sign(ORDER, 1, [wish(limit=limit, mode=mode, amount=amount)])


async def outcome(chain: Chain, tx: SignedTx) -> Fill | Rejection | None:
    return (await chain.look(tx.signature)).outcome


@in_loop
async def test_signing_has_no_effect(chains: ChainRig) -> None:
    async with chains.open() as chain:
        before = await chain.pools_of("raydium", PAIR)
        tx = await signed(chain)
        assert await outcome(chain, tx) is None
        assert await chain.pools_of("raydium", PAIR) == before
        assert chains.network.settlements() == []
        chains.pass_slots(5)
        assert await outcome(chain, tx) is None


@in_loop
async def test_no_two_signatures_are_alike(chains: ChainRig) -> None:
    """Not even of equal wishes in one slot, nor after the engine has started anew."""
    signatures: list[Signature] = []
    for _ in range(3):
        async with chains.open() as chain:
            signatures += [(await signed(chain)).signature for _ in range(20)]
    assert len(set(signatures)) == 60


@in_loop
async def test_a_signed_transaction_tells_how_long_it_is_valid(chains: ChainRig) -> None:
    async with chains.open() as chain:
        tx = await signed(chain, limit=77)
        sighting = await chain.look(tx.signature)
        assert (tx.signed_slot, tx.signed_height) == (sighting.slot, sighting.height)
        assert tx.last_valid_height > tx.signed_height
        assert tx.limit == 77
        assert len(tx.raw) > 0


@in_loop
async def test_a_broadcast_transaction_lands_and_is_told_by_the_chain(chains: ChainRig) -> None:
    async with chains.open() as chain:
        tx = await signed(chain)
        await chain.broadcast(tx)
        chains.pass_slots(1)
        fill = await outcome(chain, tx)
        assert isinstance(fill, Fill)
        assert fill.signature == tx.signature
        assert fill.amount_in == AMOUNT
        assert fill.amount_out > 0
        assert fill.slot >= tx.signed_slot
        chains.pass_slots(10_000)
        assert await outcome(chain, tx) == fill, "for ever"


@in_loop
async def test_the_same_bytes_settle_once_however_often_they_are_sent(chains: ChainRig) -> None:
    """I2 rests on this."""
    async with chains.open() as chain:
        tx = await signed(chain)
        for _ in range(3):
            await chain.broadcast(tx)
        chains.pass_slots(3)
        fill = await outcome(chain, tx)
        for _ in range(3):
            await chain.broadcast(tx)
            chains.pass_slots(60)
        assert await outcome(chain, tx) == fill
        assert len(chains.network.settlements()) == 1


@pytest.mark.parametrize("mode", list(Mode))
@in_loop
async def test_the_limit_is_enforced_to_the_atom(chains: ChainRig, mode: Mode) -> None:
    """On exactly the bound it lands; one atom tighter it reverts, swaps nothing, and says why."""
    async with chains.open() as chain:
        snapshot = await chain.pools_of("raydium", PAIR)
        pool = next(pool for pool in snapshot.pools if pool.kind == "amm_v4")
        if mode is Mode.EXACT_IN:
            bound, tighter = pool.quote_in(Atoms(AMOUNT), SOL.mint, snapshot.time).amount_out, 1
        else:
            bound, tighter = pool.quote_out(Atoms(AMOUNT), SOL.mint, snapshot.time).amount_in, -1
        too_tight = await signed(chain, mode=mode, limit=bound + tighter)
        exact = await signed(chain, mode=mode, limit=bound)
        await chain.broadcast(too_tight)
        rejection = await outcome(chain, too_tight)
        assert isinstance(rejection, Rejection)
        assert rejection.problem.code is Code.CHAIN_SLIPPAGE
        assert chains.network.settlements() == []
        await chain.broadcast(exact)
        fill = await outcome(chain, exact)
        assert isinstance(fill, Fill)
        assert (fill.amount_out if mode is Mode.EXACT_IN else fill.amount_in) == bound
        assert (fill.amount_in if mode is Mode.EXACT_IN else fill.amount_out) == AMOUNT


@in_loop
async def test_a_reverted_transaction_stays_reverted(chains: ChainRig) -> None:
    async with chains.open() as chain:
        tx = await signed(chain, limit=10**18)
        await chain.broadcast(tx)
        rejection = await outcome(chain, tx)
        assert isinstance(rejection, Rejection)
        await chain.broadcast(tx)
        chains.pass_slots(50)
        assert await outcome(chain, tx) == rejection


@in_loop
async def test_after_its_last_valid_height_a_transaction_can_never_land(chains: ChainRig) -> None:
    """The proof of a lapse is final, however often the bytes are sent afterwards."""
    async with chains.open() as chain:
        tx = await signed(chain)
        chains.pass_slots(WINDOW_SLOTS)
        sighting = await chain.look(tx.signature)
        assert sighting.height > tx.last_valid_height
        assert proves_lapse(tx, sighting)
        for _ in range(4):
            await chain.broadcast(tx)
            chains.pass_slots(WINDOW_SLOTS)
            assert await outcome(chain, tx) is None
        assert chains.network.settlements() == []
        assert chains.network.quiet()


@in_loop
async def test_up_to_its_last_valid_height_it_can(chains: ChainRig) -> None:
    async with chains.open() as chain:
        tx = await signed(chain)
        while (sighting := await chain.look(tx.signature)).height < tx.last_valid_height:
            assert not proves_lapse(tx, sighting)
            chains.pass_slots(1)
        assert sighting.height == tx.last_valid_height
        assert not proves_lapse(tx, sighting)
        await chain.broadcast(tx)
        assert isinstance(await outcome(chain, tx), Fill)


@in_loop
async def test_one_block_too_late_is_too_late(chains: ChainRig) -> None:
    async with chains.open() as chain:
        tx = await signed(chain)
        while (await chain.look(tx.signature)).height <= tx.last_valid_height:
            chains.pass_slots(1)
        await chain.broadcast(tx)
        chains.pass_slots(10)
        assert await outcome(chain, tx) is None


@in_loop
async def test_height_is_not_slot_and_neither_goes_back(chains: ChainRig) -> None:
    """Some slots have no block: who takes one for the other, declares live transactions dead."""
    async with chains.open() as chain:
        sightings = []
        for _ in range(200):
            sightings.append(await chain.look(Signature("unknown")))
            chains.pass_slots(1)
        for before, after in itertools.pairwise(sightings):
            assert after.slot == before.slot + 1
            assert after.height - before.height in (0, 1)
        first, last = sightings[0], sightings[-1]
        assert last.height - first.height < last.slot - first.slot
        assert all(sighting.height < sighting.slot for sighting in sightings)


@in_loop
async def test_an_unknown_signature_has_no_outcome(chains: ChainRig) -> None:
    async with chains.open() as chain:
        await chain.ping()
        assert (await chain.look(Signature("never signed"))).outcome is None


@in_loop
async def test_what_settled_is_remembered_by_the_next_engine(chains: ChainRig) -> None:
    async with chains.open() as chain:
        tx = await signed(chain)
        await chain.broadcast(tx)
        fill = await outcome(chain, tx)
        assert isinstance(fill, Fill)
    async with chains.open() as chain:
        assert await outcome(chain, tx) == fill
        await chain.broadcast(tx)
        chains.pass_slots(5)
        assert len(chains.network.settlements()) == 1

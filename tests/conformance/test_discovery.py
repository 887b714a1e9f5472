"""New pools as the simulated chain has them, in this process and behind its node: ports.Discovery, and their traps."""

from typing import Final

from fillwright.adapters.sim import default_market
from fillwright.adapters.sim.newcomers import Newcomer, Newcomers, Trap
from fillwright.order import Fill, Mode
from fillwright.ports import Instruction, Rejection
from fillwright.units import Atoms, OrderId
from tests.conformance.rigs import ChainRig, Network, in_loop
from tests.conformance.samples import LISTING

EVERY: Final = 5
SCHEDULE: Final = Newcomers(1, EVERY)
HOUR: Final = 3_600


def first(trap: Trap | None) -> Newcomer:
    return next(each for each in map(SCHEDULE.number, range(500)) if each.trap is trap)


def until(rig: ChainRig, offset: int) -> None:
    """Move the time to this slot of the chain, which began with the rig."""
    rig.market = default_market(1, newcomer_every_slots=EVERY)
    rig.pass_slots(offset)


async def swapped(chain: Network, newcomer: Newcomer, amount: int, *, sell: bool = False) -> Fill | Rejection | None:
    ends = (newcomer.token, newcomer.against) if sell else (newcomer.against, newcomer.token)
    wish = Instruction(
        venue=newcomer.pool.venue,
        pool=newcomer.pool.address,
        mint_in=ends[0].mint,
        mint_out=ends[1].mint,
        mode=Mode.EXACT_IN,
        amount=Atoms(amount),
        limit=Atoms(1),
    )
    tx = await chain.sign(OrderId("o-1"), 1, [wish])
    await chain.broadcast(tx)
    return (await chain.look(tx.signature)).outcome


@in_loop
async def test_pools_are_listed_when_their_time_has_come_newest_first(chains: ChainRig) -> None:
    until(chains, 0)
    async with chains.open() as chain:
        for _ in range(12):
            chains.pass_slots(7)
            offset = chains.network.slot() - 415_822_000
            listed = await chain.new_pools(HOUR)
            due = [each for each in map(SCHEDULE.number, range(100)) if each.offset <= offset]
            assert [each.address for each in listed] == [each.pool.address for each in reversed(due)]
            assert [each.slot for each in listed] == sorted((each.slot for each in listed), reverse=True)
        listed = await chain.new_pools(HOUR)
        newest = await chain.facts(listed[0])
        assert newest is not None
        brief = await chain.new_pools(10)
        assert brief == [each for each in listed if each.unix_seconds >= newest.unix_seconds - 10] != listed


@in_loop
async def test_facts_tell_the_pool_as_venues_offer_it(chains: ChainRig) -> None:
    until(chains, 0)
    async with chains.open() as chain:
        chains.pass_slots(200)
        for listing in await chain.new_pools(HOUR):
            facts = await chain.facts(listing)
            assert facts is not None
            assert facts.slot == chains.network.slot()
            snapshot = await chain.pools_of(listing.venue, frozenset({listing.mint, listing.against}))
            (pool,) = [each for each in snapshot.pools if each.address == listing.address]
            assert facts.liquidity == pool.reserves()[pool.mint_1 == listing.against]
        assert await chain.facts(LISTING) is None


@in_loop
async def test_pulled_liquidity_stays_pulled_whatever_was_swapped_and_whoever_restarts(chains: ChainRig) -> None:
    until(chains, 0)
    newcomer = first(Trap.PULLED)
    assert newcomer.pulled_at is not None
    async with chains.open() as chain:
        chains.pass_slots(newcomer.offset)
        listing = next(each for each in await chain.new_pools(HOUR) if each.address == newcomer.pool.address)
        assert isinstance(await swapped(chain, newcomer, 10**6), Fill)
        whole = await chain.facts(listing)
        chains.pass_slots(newcomer.pulled_at - newcomer.offset)
        pulled = await chain.facts(listing)
        assert whole is not None
        assert pulled is not None
        assert (whole.locked_bps, pulled.locked_bps) == (10_000, 0)
        assert pulled.liquidity <= whole.liquidity // 1_000 + 1
        assert isinstance(await swapped(chain, newcomer, 10**4), Fill)
        chains.pass_slots(1)
        after = await chain.facts(listing)
    async with chains.open() as chain:
        chains.pass_slots(1)
        again = await chain.facts(listing)
        assert after is not None
        assert again is not None
        assert again.liquidity == after.liquidity > pulled.liquidity


@in_loop
async def test_what_cannot_be_sold_can_be_bought_and_its_facts_say_so(chains: ChainRig) -> None:
    until(chains, 0)
    async with chains.open() as chain:
        for trap, result in ((Trap.UNSELLABLE, Rejection), (None, Fill)):
            newcomer = first(trap)
            chains.pass_slots(max(0, newcomer.offset - (chains.network.slot() - 415_822_000)))
            listed = await chain.new_pools(HOUR)
            listing = next(each for each in listed if each.address == newcomer.pool.address)
            facts = await chain.facts(listing)
            assert facts is not None
            assert facts.sellable == (trap is None)
            bought = await swapped(chain, newcomer, 10**6)
            assert isinstance(bought, Fill)
            assert isinstance(await swapped(chain, newcomer, bought.amount_out, sell=True), result)


@in_loop
async def test_only_so_many_new_pools_are_kept(chains: ChainRig) -> None:
    until(chains, 0)
    async with chains.open() as chain:
        before = len(chains.network.all_pools())
        chains.pass_slots(2_500 * EVERY)
        assert len(await chain.new_pools(10**6)) == 200
        assert len(chains.network.all_pools()) <= before + 200


@in_loop
async def test_a_market_without_newcomers_has_none(chains: ChainRig) -> None:
    async with chains.open() as chain:
        chains.pass_slots(10_000)
        assert list(await chain.new_pools(HOUR)) == []

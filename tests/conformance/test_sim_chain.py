"""What the simulated chain and its venues promise beyond the ports: contention, faults that strike, a lasting file."""

import pytest

from fillwright.adapters.sim import PRESETS, Preset
from fillwright.errors import Code, FillwrightError
from fillwright.landing import proves_lapse
from fillwright.order import Fill, Leg, Mode, SignedTx
from fillwright.ports import Rejection
from fillwright.units import Atoms, OrderId
from tests.conformance.rigs import ChainRig, Network, faulty, in_loop, wish
from tests.conformance.samples import BONK, SOL, USDC

AMOUNT = 1_000_000_000
SLOW = Preset(execute_ms=(2_000, 3_000))
PAIR = frozenset({SOL.mint, USDC.mint})


async def sent(chain: Network, order_id: str = "o-1", *, amount: int = AMOUNT, limit: int = 1) -> SignedTx:
    tx = await chain.sign(OrderId(order_id), 1, [wish(limit=limit, amount=amount)])
    await chain.broadcast(tx)
    return tx


async def outcome(chain: Network, tx: SignedTx) -> Fill | Rejection | None:
    return (await chain.look(tx.signature)).outcome


# --- contention -----------------------------------------------------------------------------------------------


@in_loop
async def test_slippage_comes_from_those_who_were_first(chains: ChainRig) -> None:
    async with chains.open() as chain:
        snapshot = await chain.pools_of("raydium", PAIR)
        promised = snapshot.pools[0].quote_in(Atoms(AMOUNT), SOL.mint, snapshot.time).amount_out
        first = await outcome(chain, await sent(chain, "o-1", limit=promised))
        second = await outcome(chain, await sent(chain, "o-2", limit=promised))
        assert isinstance(first, Fill)
        assert first.amount_out == promised
        assert isinstance(second, Rejection)
        assert second.problem.code is Code.CHAIN_SLIPPAGE


@in_loop
async def test_a_swap_moves_the_pools_that_quotes_of_the_next_slot_see(chains: ChainRig) -> None:
    async with chains.open() as chain:
        before = (await chain.pools_of("raydium", PAIR)).pools[0]
        fill = await outcome(chain, await sent(chain))
        assert (await chain.pools_of("raydium", PAIR)).pools[0] == before, "one view a slot"
        chains.pass_slots(1)
        after = (await chain.pools_of("raydium", PAIR)).pools[0]
        assert isinstance(fill, Fill)
        assert after.reserves() == (before.reserves()[0] + AMOUNT, before.reserves()[1] - fill.amount_out)


@in_loop
async def test_instructions_happen_together_or_not_at_all(chains: ChainRig) -> None:
    async with chains.open() as chain:
        before = chains.network.all_pools()
        second = wish(limit=10**18, amount=1_000, token_in=USDC, token_out=SOL)
        tx = await chain.sign(OrderId("o-1"), 1, [wish(limit=1), second])
        await chain.broadcast(tx)
        assert isinstance(await outcome(chain, tx), Rejection)
        assert chains.network.all_pools() == before
        snapshot = await chain.pools_of("raydium", PAIR)
        first, pushed = snapshot.pools[0].swap_in(Atoms(AMOUNT), SOL.mint, snapshot.time)
        expected = pushed.quote_in(first.amount_out, USDC.mint, snapshot.time).amount_out
        back = wish(limit=1, amount=50_000_000, token_in=USDC, token_out=SOL)
        tx = await chain.sign(OrderId("o-1"), 2, [wish(limit=1), back])
        await chain.broadcast(tx)
        fill = await outcome(chain, tx)
        assert isinstance(fill, Fill)
        assert fill.amount_in == AMOUNT, "in of the first"
        assert fill.amount_out == expected, "out of the last, for all that the first gave, from the pool as it left it"


@in_loop
async def test_a_transaction_over_a_pool_that_is_no_more_is_reverted(chains: ChainRig) -> None:
    async with chains.open() as chain:
        tx = await chain.sign(OrderId("o-1"), 1, [wish(limit=1, pool="sim-raydium-amm_v4-SOL-GONE")])
        await chain.broadcast(tx)
        rejection = await outcome(chain, tx)
        assert isinstance(rejection, Rejection)
        assert rejection.problem.code is Code.POOL_REFUSED
        assert isinstance(await outcome(chain, await sent(chain, "o-2")), Fill), "the chain goes on"


# --- time and the file ------------------------------------------------------------------------------------------


@in_loop
async def test_a_delayed_transaction_lands_when_its_slot_has_come(chains: ChainRig) -> None:
    async with chains.open(SLOW) as chain:
        tx = await sent(chain)
        assert not chains.network.quiet()
        chains.clock.at += 1_599
        assert await outcome(chain, tx) is None
        chains.clock.at += 2_000
        fill = await outcome(chain, tx)
        assert isinstance(fill, Fill)
        assert 5 <= fill.slot - tx.signed_slot <= 8
        assert chains.network.quiet()


@in_loop
async def test_what_was_on_its_way_lands_after_the_engine_s_death(chains: ChainRig) -> None:
    """The network does not die with the process that fed it."""
    async with chains.open(SLOW) as chain:
        flying = [await sent(chain, f"o-{n}") for n in range(3)]
    async with chains.open(SLOW) as chain:
        assert not chains.network.quiet()
        assert [await outcome(chain, tx) for tx in flying] == [None] * 3
        await chain.broadcast(flying[0])
        chains.pass_slots(10)
        fills = [await outcome(chain, tx) for tx in flying]
        assert all(isinstance(fill, Fill) for fill in fills)
        assert sorted(line.order_id for line in chains.network.settlements()) == ["o-0", "o-1", "o-2"]


@in_loop
async def test_a_transaction_on_its_way_beyond_its_validity_never_lands(chains: ChainRig) -> None:
    async with chains.open(Preset(execute_ms=(70_000, 70_000))) as chain:
        tx = await sent(chain)
        chains.pass_slots(170)
        assert proves_lapse(tx, await chain.look(tx.signature))
        chains.pass_slots(50)
        assert await outcome(chain, tx) is None
        assert chains.network.quiet()


@in_loop
async def test_pools_and_slots_go_on_where_they_were(chains: ChainRig) -> None:
    async with chains.open() as chain:
        await sent(chain, amount=10**12)  # so large that its fee is seen in the liquidity
        chains.pass_slots(3)
        pools, slot = chains.network.all_pools(), chains.network.slot()
        chains.pass_slots(1_000)
        later = chains.network.all_pools()
    async with chains.open() as chain:
        assert chains.network.slot() == slot + 1_000
        assert later != pools
        assert chains.network.all_pools() == later


@in_loop
async def test_after_a_sudden_death_the_ledger_knows_all_and_the_market_all_but_its_last_slot(chains: ChainRig) -> None:
    """Nobody closed the file: the next one to open it finds what was written by then."""
    async with chains.open() as dying:
        start = (await dying.pools_of("raydium", PAIR)).pools[0]
        first = await sent(dying, "o-1")
        async with chains.open() as chain:
            assert [line.signature for line in chains.network.settlements()] == [first.signature]
            assert (await chain.pools_of("raydium", PAIR)).pools[0] == start, "not written yet"
    chains.path.unlink()
    async with chains.open() as dying:
        await sent(dying, "o-1")
        chains.pass_slots(1)
        moved = (await dying.pools_of("raydium", PAIR)).pools[0]
        assert moved != start
        last = await sent(dying, "o-2")
        async with chains.open() as chain:
            assert chains.network.settlements()[-1].signature == last.signature
            assert (await chain.pools_of("raydium", PAIR)).pools[0] == moved


@in_loop
async def test_after_a_long_rest_only_the_latest_tick_is_traded(chains: ChainRig) -> None:
    """However long it was, the first answer does not take longer."""
    async with chains.open() as chain:
        chains.pass_slots(10_000_000)
        slots = 10_000_000
        tick = chains.market.tick(slots)
        snapshot = await chain.pools_of("meteora", PAIR)
        assert tick * 5 == slots
        assert snapshot.pools == tuple(
            chains.market.drift(pool, tick, snapshot.time)
            for pool in chains.market.pools
            if pool.venue == "meteora" and {pool.mint_0, pool.mint_1} == PAIR
        )


@in_loop
async def test_one_seed_one_world(embedded: ChainRig) -> None:
    """Two worlds of one seed, asked the same, answer the same; another seed answers otherwise."""
    preset = Preset(execute_ms=(0, 9_000), faults=faulty(revert=0.4, drop=0.3).faults)
    told = []
    for seed in (1, 1, 2):
        embedded.path.unlink(missing_ok=True)
        embedded.clock.at = 1_790_000_000_000
        async with embedded.open(preset, seed) as chain:
            transactions = [await sent(chain, f"o-{n}") for n in range(10)]
            embedded.pass_slots(40)
            told.append([await outcome(chain, tx) for tx in transactions])
    assert told[0] == told[1] != told[2]


# --- faults: each strikes, and does what its name says ------------------------------------------------------------


@in_loop
async def test_without_faults_nothing_goes_wrong(chains: ChainRig) -> None:
    async with chains.open() as chain:
        outcomes = [await outcome(chain, await sent(chain, f"o-{n}", amount=1_000_000)) for n in range(50)]
        assert all(isinstance(each, Fill) for each in outcomes)


@in_loop
async def test_a_dropped_broadcast_reaches_nobody_and_a_later_one_may(chains: ChainRig) -> None:
    async with chains.open(faulty(drop=1.0)) as chain:
        tx = await sent(chain)
        chains.pass_slots(100)
        assert await outcome(chain, tx) is None
        assert chains.network.quiet()
    async with chains.open() as chain:
        await chain.broadcast(tx)
        assert isinstance(await outcome(chain, tx), Fill)


@in_loop
async def test_late_transactions_land_late_or_lapse(chains: ChainRig) -> None:
    async with chains.open(faulty(late=1.0)) as chain:
        late = [await sent(chain, f"o-{n}", amount=1_000_000) for n in range(60)]
        assert [await outcome(chain, tx) for tx in late] == [None] * 60
        chains.pass_slots(250)
        outcomes = [await outcome(chain, tx) for tx in late]
        landed = [each for each in outcomes if isinstance(each, Fill)]
        assert 30 < len(landed) < 60, "most still land, some lapse"
        assert max(fill.slot for fill in landed) - late[0].signed_slot > 75
        assert chains.network.quiet()


@in_loop
async def test_a_revert_is_on_the_ledger_and_swaps_nothing(chains: ChainRig) -> None:
    async with chains.open(faulty(revert=1.0)) as chain:
        before = chains.network.all_pools()
        rejection = await outcome(chain, await sent(chain))
        assert isinstance(rejection, Rejection)
        assert rejection.problem.code is Code.CHAIN_REVERTED
        assert rejection.problem.retryable
        assert chains.network.settlements() == []
        assert chains.network.all_pools() == before


@in_loop
async def test_a_lost_answer_has_its_effect_all_the_same(chains: ChainRig) -> None:
    """The reason why an error of a broadcast is no evidence."""
    async with chains.open(faulty(lost_answer=1.0)) as chain:
        tx = await chain.sign(OrderId("o-1"), 1, [wish(limit=1)])
        with pytest.raises(FillwrightError) as lost:
            await chain.broadcast(tx)
        assert lost.value.code is Code.CHAIN_UNAVAILABLE
        with pytest.raises(FillwrightError):
            await chain.look(tx.signature)
        assert [line.signature for line in chains.network.settlements()] == [tx.signature]


@in_loop
async def test_a_lying_node_tells_its_slot_and_is_not_believed(chains: ChainRig) -> None:
    async with chains.open(faulty(lying_height=1.0)) as chain:
        tx = await chain.sign(OrderId("o-1"), 1, [wish(limit=1)])
        chains.pass_slots(300)
        sighting = await chain.look(tx.signature)
        assert sighting.height == sighting.slot > tx.last_valid_height
        assert not proves_lapse(tx, sighting)


@in_loop
async def test_a_failing_venue_says_so_in_the_engine_s_own_words(chains: ChainRig) -> None:
    async with chains.open() as chain:
        venue = chains.venue(chain, preset=faulty(quote_failure=1.0))
        with pytest.raises(FillwrightError) as failed:
            await venue.pools(PAIR)
        assert failed.value.code is Code.VENUE_UNAVAILABLE


# --- venues -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["raydium", "meteora"])
@in_loop
async def test_a_venue_offers_its_own_pools_among_the_tokens(chains: ChainRig, name: str) -> None:
    async with chains.open() as chain:
        venue = chains.venue(chain, name)
        snapshot = await venue.pools(PAIR)
        assert snapshot.pools
        assert {pool.venue for pool in snapshot.pools} == {name} == {venue.name}
        assert all({pool.mint_0, pool.mint_1} == {SOL.mint, USDC.mint} for pool in snapshot.pools)
        assert snapshot.time.slot == chains.network.slot()
        assert abs(snapshot.time.unix_seconds * 1_000 - chains.clock.now()) <= 1_400
        assert (await venue.pools(frozenset({BONK.mint, USDC.mint}))).pools == ()
        wider = (await venue.pools(PAIR | {BONK.mint})).pools
        assert {pool for pool in wider if BONK.mint not in (pool.mint_0, pool.mint_1)} == set(snapshot.pools)
        assert len(wider) > len(snapshot.pools)


@pytest.mark.parametrize("mode", list(Mode))
@in_loop
async def test_a_venue_s_instruction_lands_as_quoted(chains: ChainRig, mode: Mode) -> None:
    async with chains.open() as chain:
        venue = chains.venue(chain)
        snapshot = await venue.pools(PAIR)
        pool = snapshot.pools[0]
        ask = pool.quote_in if mode is Mode.EXACT_IN else pool.quote_out
        swap = ask(Atoms(50_000_000), SOL.mint, snapshot.time)
        leg = Leg(
            venue=venue.name,
            pool=pool.address,
            mint_in=SOL.mint,
            mint_out=USDC.mint,
            amount_in=swap.amount_in,
            amount_out=swap.amount_out,
        )
        limit = swap.amount_out if mode is Mode.EXACT_IN else swap.amount_in
        instruction = await venue.build(leg, mode=mode, limit=limit)
        assert (instruction.mode, instruction.limit) == (mode, limit)
        tx = await chain.sign(OrderId("o-1"), 1, [instruction])
        await chain.broadcast(tx)
        fill = await outcome(chain, tx)
        assert isinstance(fill, Fill)
        assert (fill.amount_in, fill.amount_out) == (swap.amount_in, swap.amount_out)


@in_loop
async def test_the_classic_delays_are_those_of_the_older_mocks(chains: ChainRig) -> None:
    classic = PRESETS["classic"]
    assert (classic.quote_ms, classic.execute_ms, classic.faults.revert) == ((100, 400), (2_000, 3_000), 0.08)
    async with chains.open(classic) as chain:
        venue = chains.venue(chain, preset=classic)
        took = []
        for _ in range(50):
            asked_at = chains.clock.now()
            await venue.pools(PAIR)
            took.append(chains.clock.now() - asked_at)
        assert min(took) >= 100
        assert max(took) <= 400
        assert max(took) - min(took) > 150

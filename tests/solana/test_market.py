"""The market on a chain: the same pools as decoded from the golden accounts, fresh, whole, never older than before."""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

import pytest
from solders.pubkey import Pubkey

from fillwright.adapters.solana.market import SLOT_S, MarketSettings
from fillwright.adapters.solana.venue import SolanaVenue
from fillwright.errors import Code, FillwrightError
from fillwright.localnet.faults import Faults
from fillwright.localnet.machine import Machine
from fillwright.localnet.server import serving
from fillwright.pools.cpmm import CpmmPool
from fillwright.programs import PROGRAMS, Account
from fillwright.programs.clmm import extension_of
from fillwright.units import Mint
from tests.solana.rig import SCENES, SECONDS, SLOT, Chain, in_loop, looking, serve

NEXT_SLOT: Final = SLOT_S * 1.1


def mints_of(*kinds: str) -> frozenset[Mint]:
    scenes = [SCENES[kind] for kind in kinds]
    return frozenset(mint for scene in scenes for mint in (scene.mint_in, scene.mint_out))


def listed(*kinds: str, slots_max: int = 32) -> MarketSettings:
    return MarketSettings(listed=tuple(SCENES[kind].pool for kind in kinds), search=False, slots_max=slots_max)


@in_loop
async def test_each_kind_of_pool_is_offered_as_its_accounts_decode() -> None:
    async with serve(*PROGRAMS) as chain, looking(chain.url, settings=listed(*PROGRAMS)) as market:
        for venue in ("raydium", "meteora"):
            snapshot = await SolanaVenue(venue, market).pools(mints_of(*PROGRAMS))
            kinds = [kind for kind, program in PROGRAMS.items() if program.venue == venue]
            expected = {
                SCENES[kind].pool: PROGRAMS[kind].decode(SCENES[kind].pool, SCENES[kind].known) for kind in kinds
            }
            assert {pool.address: pool for pool in snapshot.pools} == expected
            assert snapshot.time.slot == chain.bank.tip.slot
            assert snapshot.time.unix_seconds == chain.bank.tip.unix_seconds > SECONDS
        for kind, scene in SCENES.items():
            accounts = await market.accounts_of(scene.pool)
            assert PROGRAMS[kind].decode(scene.pool, accounts) == PROGRAMS[kind].decode(scene.pool, scene.known)


@in_loop
async def test_only_pools_of_two_of_the_tokens_are_offered() -> None:
    scene, other = SCENES["cpmm"], Mint(str(Pubkey.new_unique()))
    async with serve("cpmm", "amm_v4") as chain, looking(chain.url, settings=listed("cpmm", "amm_v4")) as market:
        chain.change(scene.pool, PROGRAMS["cpmm"].mint_offsets[0], bytes(Pubkey.from_string(other)))
        chain.change(PROGRAMS["cpmm"].linked(scene.pool, scene.known)[0], 0, bytes(Pubkey.from_string(other)))
        chain.pass_slots()
        mints = mints_of("amm_v4")
        assert [pool.address for pool in (await market.view("raydium", mints)).pools] == [SCENES["amm_v4"].pool]
        assert len((await market.view("raydium", mints | {other})).pools) == 2
        assert (await market.view("meteora", mints | {other})).pools == ()
        assert (await market.view("raydium", frozenset({other}))).pools == ()


@in_loop
async def test_a_pool_is_never_made_of_two_moments() -> None:
    """Pool and vault carry the same number in each block: an offer with two would be a price that never was."""
    scene = SCENES["cpmm"]
    vault_0 = PROGRAMS["cpmm"].linked(scene.pool, scene.known)[0]
    async with serve("cpmm") as chain, looking(chain.url, settings=listed("cpmm")) as market:

        async def trade() -> None:
            for number in range(1, 10_000):
                chain.change(scene.pool, 341, number.to_bytes(8, "little"))
                chain.change(vault_0, 64, (2**63 + number).to_bytes(8, "little"))
                chain.pass_slots()
                await asyncio.sleep(0.02)

        trading = asyncio.create_task(trade())
        seen = set()
        for _ in range(6):
            (pool,) = (await market.view("raydium", mints_of("cpmm"))).pools
            assert isinstance(pool, CpmmPool)
            if pool.protocol_fees_0 < 10**6:
                assert pool.vault_0_amount - 2**63 == pool.protocol_fees_0
                seen.add(pool.protocol_fees_0)
            await asyncio.sleep(NEXT_SLOT)
        trading.cancel()
        assert len(seen) > 3


@in_loop
async def test_arrays_are_followed_to_where_the_price_has_gone() -> None:
    """What a pool is linked to follows from its bytes: when they change, what is new comes with the same reading."""
    scene = SCENES["dlmm"]
    async with serve("dlmm") as chain, looking(chain.url, settings=listed("dlmm")) as market:
        await market.accounts_of(scene.pool)
        active = int.from_bytes(scene.known[scene.pool].data[76:80], "little", signed=True)
        chain.change(scene.pool, 76, (active + 70 * 6).to_bytes(4, "little", signed=True))
        chain.pass_slots()
        await asyncio.sleep(NEXT_SLOT)
        accounts = (await market.held(scene.pool)).accounts
        links = set(PROGRAMS["dlmm"].linked(scene.pool, accounts))
        assert links & set(scene.known) <= set(accounts)


@in_loop
async def test_what_is_no_pool_is_left_out_and_it_is_told_why() -> None:
    scene, nothing = SCENES["cpmm"], str(Pubkey.new_unique())
    token = SCENES["amm_v4"]
    settings = MarketSettings(listed=(nothing, scene.pool, token.pool, scene.mint_in), search=False)
    async with serve("cpmm", "amm_v4") as chain, looking(chain.url, settings=settings) as market:
        chain.change(token.pool, 0, (3).to_bytes(8, "little"))
        chain.write(PROGRAMS["amm_v4"].linked(token.pool, token.known)[0], Account(nothing, b"\0" * 170))
        snapshot = await market.view("raydium", mints_of("cpmm", "amm_v4"))
        assert [pool.address for pool in snapshot.pools] == [scene.pool]
        assert set(market.refused) == {nothing, token.pool, scene.mint_in}
        assert "not there" in market.refused[nothing]
        with pytest.raises(FillwrightError) as refusal:
            await market.accounts_of(token.pool)
        assert refusal.value.code is Code.CHAIN_UNAVAILABLE
        chain.place(token.known)
        chain.pass_slots()
        await asyncio.sleep(NEXT_SLOT)
        snapshot = await market.view("raydium", mints_of("cpmm", "amm_v4"))
        assert {pool.address for pool in snapshot.pools} == {scene.pool, token.pool}


@in_loop
async def test_whatever_a_pool_holds_the_others_are_offered() -> None:
    """A spacing, a price and a bitmap that lead to arrays where none can be: it is one pool less, and no more."""
    kinds, pool = ("cpmm", "clmm"), SCENES["clmm"].pool
    async with serve(*kinds) as chain, looking(chain.url, settings=listed(*kinds)) as market:
        chain.change(pool, 235, b"\xff\xff")
        chain.change(pool, 269, bytes.fromhex("fb3d9e7f"))
        chain.change(extension_of(pool), 40, b"\xff" * 1_792)
        offered = (await market.view("raydium", mints_of(*kinds))).pools
        assert [each.address for each in offered] == [SCENES["cpmm"].pool]
        assert pool in market.refused
        chain.place(SCENES["clmm"].known)
        chain.pass_slots()
        await asyncio.sleep(NEXT_SLOT)
        assert len((await market.view("raydium", mints_of(*kinds))).pools) == 2


@in_loop
async def test_a_pool_that_is_too_old_is_not_offered() -> None:
    """While no node answers, an earlier reading serves only for as long as it is allowed to."""
    settings = listed("cpmm", slots_max=2)
    async with serve("cpmm") as chain, looking(chain.url + "/flaky", settings=settings) as market:
        chain.network.dice.faults = Faults(skipped_slots=0.0, flaky=0.0)
        assert (await market.view("raydium", mints_of("cpmm"))).pools
        chain.network.dice.faults = Faults(skipped_slots=0.0, flaky=1.0)
        await asyncio.sleep(NEXT_SLOT)
        assert (await market.view("raydium", mints_of("cpmm"))).pools
        await asyncio.sleep(2 * SLOT_S)
        with pytest.raises(FillwrightError) as gone:
            await market.view("raydium", mints_of("cpmm"))
        assert gone.value.code is Code.VENUE_UNAVAILABLE
        with pytest.raises(FillwrightError):
            await market.accounts_of(SCENES["cpmm"].pool)


@in_loop
async def test_a_node_that_falls_behind_takes_no_pool_back() -> None:
    scene = SCENES["cpmm"]
    async with serve("cpmm") as chain, looking(chain.url + "/lagging", settings=listed("cpmm")) as market:
        chain.network.dice.faults = Faults(skipped_slots=0.0, lagging_blocks=0)
        chain.change(scene.pool, 341, (777).to_bytes(8, "little"))
        chain.pass_slots(3)
        now = await market.held(scene.pool)
        chain.network.dice.faults = Faults(skipped_slots=0.0, lagging_blocks=6)
        await asyncio.sleep(NEXT_SLOT)
        then = await market.held(scene.pool)
        assert then.slot == now.slot == chain.bank.tip.slot
        assert then.accounts[scene.pool].data[341:349] == (777).to_bytes(8, "little")


@in_loop
async def test_a_pool_seen_from_far_behind_the_chain_is_not_offered() -> None:
    """The one node that still answers lies far behind what another has told to be final."""
    async with serve("cpmm") as chain, AsyncExitStack() as honest:
        other = await honest.enter_async_context(serving(chain.network, "127.0.0.1", 0, block_s=None))
        chain.network.dice.faults = Faults(skipped_slots=0.0, lagging_blocks=40)
        chain.pass_slots(60)
        async with looking(chain.url + "/lagging", other, settings=listed("cpmm", slots_max=16)) as market:
            await asyncio.sleep(0.3)  # both have told how far they are
            await honest.aclose()
            with pytest.raises(FillwrightError) as behind:
                await market.view("raydium", mints_of("cpmm"))
            assert behind.value.code is Code.VENUE_UNAVAILABLE
            assert "too old" in behind.value.problem.detail


@in_loop
async def test_what_is_followed_and_quiet_is_not_asked_for_again_until_it_changes() -> None:
    scene = SCENES["cpmm"]
    vault = PROGRAMS["cpmm"].linked(scene.pool, scene.known)[1]
    async with serve("cpmm") as chain, looking(chain.url, settings=listed("cpmm")) as market:
        await market.held(scene.pool)
        await asyncio.sleep(NEXT_SLOT)  # followed by now
        before = await market.held(scene.pool)
        await asyncio.sleep(NEXT_SLOT)
        chain.pass_slots()
        assert (await market.held(scene.pool)).read_at == before.read_at
        chain.touch(vault)
        chain.pass_slots(2)
        chain.change(vault, 64, (2**62).to_bytes(8, "little"))
        await asyncio.sleep(0.1)
        after = await market.held(scene.pool)
        assert after.slot >= chain.bank.tip.slot - 1
        assert after.accounts[vault].data[64:72] == (2**62).to_bytes(8, "little")
        await asyncio.sleep(NEXT_SLOT)
        later = await market.held(scene.pool)
        await asyncio.sleep(NEXT_SLOT)
        assert (await market.held(scene.pool)).read_at == later.read_at


@in_loop
async def test_news_of_a_slot_that_cannot_be_stop_nobody_from_reading() -> None:
    """One node tells of a change far in the future: nobody could ever answer from there."""
    scene, beyond = SCENES["cpmm"], Chain(Machine(), SLOT + 10**6)
    async with (
        serve("cpmm") as chain,
        serving(beyond.network, "127.0.0.1", 0, block_s=None) as socket,
        looking(chain.url, settings=listed("cpmm"), socket=socket) as market,
    ):
        for number in range(1, 5):
            chain.change(scene.pool, 341, number.to_bytes(8, "little"))
            assert (await market.held(scene.pool)).accounts[scene.pool].data[341] == number
            await asyncio.sleep(NEXT_SLOT / 2)
            beyond.touch(scene.pool)
            beyond.pass_slots()
            await asyncio.sleep(NEXT_SLOT / 2)


@in_loop
async def test_what_is_quiet_but_old_is_asked_for_again() -> None:
    async with serve("cpmm") as chain, looking(chain.url, settings=listed("cpmm", slots_max=2)) as market:
        await market.held(SCENES["cpmm"].pool)
        await asyncio.sleep(NEXT_SLOT)  # followed by now
        assert (await market.view("raydium", mints_of("cpmm"))).pools
        await asyncio.sleep(3 * SLOT_S)
        assert (await market.view("raydium", mints_of("cpmm"))).pools


@in_loop
async def test_a_market_that_could_not_be_read_is_not_an_empty_one() -> None:
    """Told that there is nothing, an order would end for good; told that nobody knows, it tries again."""
    async with serve("cpmm") as chain, looking(chain.url + "/flaky", settings=listed("cpmm")) as market:
        chain.network.dice.faults = Faults(skipped_slots=0.0, flaky=0.0)
        await market.unix_seconds()
        chain.network.dice.faults = Faults(skipped_slots=0.0, flaky=1.0)
        with pytest.raises(FillwrightError) as unread:
            await market.view("raydium", mints_of("cpmm"))
        assert unread.value.code is Code.VENUE_UNAVAILABLE


@in_loop
async def test_a_search_that_failed_has_not_found_that_there_is_nothing() -> None:
    async with serve("cpmm") as chain, looking(chain.url + "/flaky", settings=MarketSettings()) as market:
        chain.network.dice.faults = Faults(skipped_slots=0.0, flaky=0.0)
        await market.unix_seconds()
        chain.network.dice.faults = Faults(skipped_slots=0.0, flaky=1.0)
        for _ in range(2):  # while it is under way, and when it has ended
            with pytest.raises(FillwrightError) as unknown:
                await market.view("raydium", mints_of("cpmm"))
            assert unknown.value.code is Code.VENUE_UNAVAILABLE
            await asyncio.sleep(3)


@in_loop
async def test_pools_of_a_pair_are_found_among_the_programs_accounts_the_deepest_first() -> None:
    kind = "amm_v4"
    scene, program = SCENES[kind], PROGRAMS[kind]
    vaults = program.linked(scene.pool, scene.known)[:2]
    async with serve(*PROGRAMS) as chain:
        for depth in (1, 5, 3, 2):
            pool = Pubkey.new_unique()
            data = bytearray(scene.known[scene.pool].data)
            for offset, vault in zip((336, 368), vaults, strict=True):
                own = Pubkey.new_unique()
                data[offset : offset + 32] = bytes(own)
                chain.write(str(own), scene.known[vault])
                amount = depth * 10**15
                chain.change(str(own), 64, amount.to_bytes(8, "little"))
            chain.write(str(pool), Account(program.id, bytes(data)))
        chain.pass_slots()
        async with looking(chain.url, settings=MarketSettings(each_max=3)) as market:
            found = (await market.view("raydium", mints_of(kind))).pools
            depths = [round(pool.reserves()[0] / 10**15) for pool in found if pool.kind == kind]
            assert sorted(depths) == [2, 3, 5]
            assert {pool.kind for pool in found} == {"amm_v4", "cpmm", "clmm"}
            meteora = (await market.view("meteora", mints_of("dlmm"))).pools
            assert [pool.address for pool in meteora] == [SCENES["dlmm"].pool]

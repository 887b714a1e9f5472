"""New pools: seen in whatever way they were created, and nothing told of them for the better."""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from fillwright.adapters.sim.listing import SOL, USDC, SimPool, cpmm, damm_v2
from fillwright.adapters.solana.creations import WATCHED, Told, creation, creations, may_create
from fillwright.adapters.solana.discovery import SolanaDiscovery
from fillwright.adapters.solana.market import Market, MarketSettings
from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.safety import INCINERATOR, LOCK_AUTHORITY, mint_facts
from fillwright.localnet.planting import Planted, mint_account, plant, token_account
from fillwright.order import Mode
from fillwright.pools.pool import TOKEN_PROGRAM
from fillwright.programs import PROGRAMS, Account, SwapCall
from fillwright.programs.token import associated
from fillwright.sniping import Facts, Listing
from fillwright.units import Atoms, Mint, Token
from tests.solana.making import FORMS, LAUNCHPAD, Form, Made, Taking, instruction, made_up, transaction
from tests.solana.rig import SCENES, Chain, in_loop, serve

HOUR: Final = 3_600
WALLET: Final = Keypair.from_seed(b"w" * 32)
NEW: Final = Token("NEW", Mint(str(Pubkey.from_bytes(b"A token that nobody has seen yet"))), 6)


# --- which instructions create ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.log)
def test_a_creation_is_read_as_its_program_lays_it_out(form: Form) -> None:
    made = made_up()
    written = instruction(form, made)
    accounts = [str(meta.pubkey) for meta in written.accounts]
    found = creation(form.program, accounts, bytes(written.data))
    assert found is not None
    assert (found.pool, found.mint_0, found.mint_1, found.creator) == made
    assert may_create(["Program log: Instruction: Transfer", form.log])
    assert creation(form.program, accounts[:4], bytes(written.data)) is None
    assert creation(LAUNCHPAD, accounts, bytes(written.data)) is None


@pytest.mark.parametrize("kind", PROGRAMS)
def test_a_swap_creates_nothing(kind: str) -> None:
    scene = SCENES[kind]
    call = SwapCall(
        pool=scene.pool,
        mode=Mode.EXACT_IN,
        mint_in=scene.mint_in,
        mint_out=scene.mint_out,
        amount=Atoms(1_000),
        limit=Atoms(1),
        owner=str(WALLET.pubkey()),
        source=associated(str(WALLET.pubkey()), scene.mint_in),
        destination=associated(str(WALLET.pubkey()), scene.mint_out),
    )
    swap = PROGRAMS[kind].swap(call, scene.known)
    assert creation(str(swap.program_id), [str(meta.pubkey) for meta in swap.accounts], bytes(swap.data)) is None
    assert not may_create(["Program log: Instruction: Swap", "Program log: Instruction: InitializeAccount3"])


@given(st.sampled_from([form.program for form in FORMS]), st.binary(max_size=40), st.integers(0, 30))
def test_any_bytes_are_a_creation_or_none(program: str, data: bytes, accounts: int) -> None:
    found = creation(program, ["11111111111111111111111111111111"] * accounts, data)
    starts = [bytes.fromhex(form.data)[: 1 if form.data.startswith("01") else 8] for form in FORMS]
    assert found is None or any(data.startswith(start) for start in starts)


@given(st.binary(max_size=300), st.text(max_size=20), st.lists(st.integers(0, 40), max_size=9))
def test_a_transaction_is_read_or_refused_whatever_it_holds(raw: bytes, text: str, places: list[int]) -> None:
    """Nothing but ValueError: one answer that cannot be read must not end the watch for others."""
    called = [{"instructions": [{"programIdIndex": 0, "accounts": places, "data": text}]}]
    made = transaction([instruction(FORMS[1], made_up())], WALLET, Hash.default())
    for sent in (raw, bytes(made)):
        answer = {"slot": 1, "transaction": [b64encode(sent).decode(), "base64"], "meta": {"innerInstructions": called}}
        try:
            found = creations(msgspec.convert(answer, Told))
        except ValueError:
            continue
        assert len(found) == (sent != raw)


# --- what a mint can do -----------------------------------------------------------------------------------


def test_a_mint_tells_its_decimals_and_who_has_power_over_it() -> None:
    plain = mint_facts(mint_account(1_000, 6).data)
    assert plain is not None
    assert (plain.decimals, plain.supply, plain.mint_authority, plain.freeze_authority, plain.extensions) == (
        6,
        1_000,
        False,
        False,
        (),
    )
    somebody = str(Pubkey.new_unique())
    assert getattr(mint_facts(mint_account(1, 6, authority=somebody).data), "mint_authority", None) is True
    assert getattr(mint_facts(mint_account(1, 6, freezer=somebody).data), "freeze_authority", None) is True
    assert mint_facts(b"") is None
    assert mint_facts(bytes(82)) is None  # never initialised
    assert mint_facts(token_account(somebody, SOL.mint, 1).data) is None


def test_extensions_that_have_a_say_are_told_and_unknown_ones_too() -> None:
    def extended(*kinds: int) -> bytes:
        body = b"".join(kind.to_bytes(2, "little") + (4).to_bytes(2, "little") + b"data" for kind in kinds)
        return mint_account(1, 6).data + bytes(165 - 82) + b"\x01" + body

    def told(*kinds: int) -> tuple[str, ...]:
        facts = mint_facts(extended(*kinds))
        assert facts is not None
        return facts.extensions

    assert told(18, 19) == ()
    assert told(18, 1, 14, 12) == ("transferFeeConfig", "transferHook", "permanentDelegate")
    assert told(4_000) == ("extension 4000",)


# --- over sockets -----------------------------------------------------------------------------------------


class Hunt(NamedTuple):
    chain: Chain
    machine: Taking
    market: Market
    discovery: SolanaDiscovery

    def land(self, form: Form, made: Made, *, inner: bool = False, error: object = None) -> None:
        """A transaction of this form, in the next block."""
        written = instruction(form, made)
        self.machine.logs, self.machine.inner, self.machine.error = (form.log,), None, error
        if inner:
            self.machine.inner = form.program
            written = type(written)(Pubkey.from_string(LAUNCHPAD), written.data, written.accounts)
            beside = type(written)(Pubkey.from_string(form.program), b"", [])
            self._send([written, beside])
        else:
            self._send([written])

    def _send(self, instructions: list[Instruction]) -> None:
        self.chain.bank.receive(transaction(instructions, WALLET, self.chain.bank.tip.hash))
        self.chain.pass_slots()

    def queue(self, form: Form, count: int) -> None:
        """So many of this form in one block."""
        self.machine.logs = (form.log,)
        for _ in range(count):
            one = [instruction(form, made_up(SOL.mint))]
            self.chain.bank.receive(transaction(one, WALLET, self.chain.bank.tip.hash))
        self.chain.pass_slots()

    async def listed(self, count: int, within_s: float = 6.0) -> list[Listing]:
        """As soon as there are so many."""
        for _ in range(round(within_s / 0.05)):
            found = list(await self.discovery.new_pools(HOUR))
            if len(found) >= count:
                return found
            await asyncio.sleep(0.05)
        raise TimeoutError


@asynccontextmanager
async def hunting() -> AsyncIterator[Hunt]:
    machine = Taking()
    async with serve(machine=machine) as chain:
        chain.bank.airdrop(WALLET.pubkey(), 10**11)
        chain.pass_slots()
        rpc = Rpc([chain.url], sockets=[chain.url.replace("http", "ws", 1)], probe_s=0.1)
        market = Market(rpc, MarketSettings(search=False))
        paid = frozenset({SOL.mint, USDC.mint})
        discovery = SolanaDiscovery(rpc, market, wallet=str(WALLET.pubkey()), paid=paid)
        try:
            yield Hunt(chain, machine, market, discovery)
        finally:
            await discovery.close()
            await market.close()
            await rpc.close()


def planted(pool: SimPool, chain: Chain, **mint: str) -> Planted:
    """The pool on the chain, and its new token."""
    found = plant(pool, {SOL.mint: SOL.decimals, USDC.mint: USDC.decimals, NEW.mint: NEW.decimals})
    chain.place(found.accounts)
    chain.write(NEW.mint, mint_account(10**18, NEW.decimals, **mint))
    chain.write(SOL.mint, mint_account(0, SOL.decimals))
    chain.write(USDC.mint, mint_account(10**18, USDC.decimals))
    return found


@in_loop
async def test_whatever_creates_a_pool_is_listed_newest_first() -> None:
    async with hunting() as hunt:
        assert await hunt.listed(0) == []
        mades = [made_up(mint_1=SOL.mint) for _ in FORMS]
        for form, made in zip(FORMS, mades, strict=True):
            hunt.land(form, made, inner=form is FORMS[1])
        found = await hunt.listed(len(FORMS), within_s=1.5)  # told, before it is asked for again
        assert [(each.address, each.mint, each.against, each.creator) for each in found] == [
            (made.pool, made.mint_0, SOL.mint, made.creator) for made in reversed(mades)
        ]
        assert {each.venue for each in found} == {"raydium", "meteora"}
        assert all(hunt.chain.bank.tip.unix_seconds - each.unix_seconds < HOUR for each in found)
        assert await hunt.discovery.new_pools(-HOUR) == []


@in_loop
async def test_what_was_there_before_anybody_asked_is_found_as_well() -> None:
    async with hunting() as hunt:
        made = made_up(SOL.mint)
        hunt.land(FORMS[9], made)
        (found,) = await hunt.listed(1)
        assert (found.address, found.mint, found.against) == (made.pool, made.mint_1, SOL.mint)


@in_loop
async def test_a_creation_that_failed_or_that_nobody_pays_for_is_not_listed() -> None:
    async with hunting() as hunt:
        await hunt.listed(0)
        hunt.land(FORMS[1], made_up(SOL.mint), error={"InstructionError": [0, {"Custom": 1}]})
        hunt.land(FORMS[1], made_up())
        hunt.land(FORMS[1], made_up(SOL.mint, USDC.mint))
        hunt.land(FORMS[1], good := made_up(USDC.mint))
        assert [each.address for each in await hunt.listed(1)] == [good.pool]
        await asyncio.sleep(0.3)
        assert len(await hunt.listed(1)) == 1


@in_loop
async def test_what_no_log_told_is_found_by_asking() -> None:
    """The socket lost it, or the program logs otherwise: the addresses that creations mention are asked for theirs."""
    async with hunting() as hunt:
        await hunt.listed(0)
        form = FORMS[0]._replace(log="Program log: something else")
        assert WATCHED[form.program] in [str(meta.pubkey) for meta in instruction(form, made_up()).accounts]
        hunt.land(form, made := made_up(NEW.mint, SOL.mint))
        assert [each.address for each in await hunt.listed(1)] == [made.pool]


def listing_of(found: Planted) -> Listing:
    pool = found.pool
    against = pool.mint_1 if pool.mint_0 == NEW.mint else pool.mint_0
    return Listing(
        venue=pool.venue,
        address=pool.address,
        mint=NEW.mint,
        against=against,
        creator=str(Pubkey.new_unique()),
        slot=1,
        unix_seconds=1,
    )


async def known(hunt: Hunt, listing: Listing) -> Facts:
    facts = await hunt.discovery.facts(listing)
    assert facts is not None
    return facts


@in_loop
async def test_facts_are_those_of_the_accounts_now() -> None:
    async with hunting() as hunt:
        found = planted(cpmm(NEW, SOL, 10**15, 50 * 10**9), hunt.chain)
        listing = listing_of(found)
        facts = await known(hunt, listing)
        assert facts.slot == hunt.chain.bank.tip.slot
        assert facts.unix_seconds == hunt.chain.bank.tip.unix_seconds
        assert (facts.decimals, facts.mint_authority, facts.freeze_authority, facts.extensions) == (6, False, False, ())
        assert facts.liquidity == 50 * 10**9
        assert (facts.locked_bps, facts.burned_bps) == (0, 0)
        assert facts.sellable
        hunt.chain.write(NEW.mint, mint_account(10**18, 6, authority=INCINERATOR, freezer=INCINERATOR))
        hunt.chain.pass_slots()
        after = await known(hunt, listing)  # at once: what is signed is judged by facts of a later slot
        assert after.mint_authority
        assert after.freeze_authority
        assert after.slot > facts.slot
        hunt.chain.write(listing.address, None)
        assert await hunt.discovery.facts(listing) is None


@in_loop
async def test_shares_count_as_burned_or_locked_only_where_that_can_be_seen() -> None:
    async with hunting() as hunt:
        found = planted(cpmm(NEW, SOL, 10**15, 50 * 10**9), hunt.chain)
        listing = listing_of(found)
        data = found.accounts[listing.address].data
        issued, lp = int.from_bytes(data[333:341], "little"), Mint(str(Pubkey.from_bytes(data[136:168])))

        async def shares(supply: int, **held: int) -> tuple[int, int]:
            hunt.chain.write(lp, mint_account(supply, 9))
            for owner in (INCINERATOR, LOCK_AUTHORITY, str(WALLET.pubkey())):
                amount = held.get(owner, 0)
                hunt.chain.write(associated(owner, lp), token_account(owner, lp, amount) if amount else None)
            facts = await known(hunt, listing)
            return facts.locked_bps, facts.burned_bps

        part = issued // 4
        assert await shares(issued) == (0, 0)
        assert await shares(issued, **{str(WALLET.pubkey()): issued}) == (0, 0)
        assert await shares(issued - part) == (2_500, 2_500) or part * 4 != issued
        locked, burned = await shares(issued, **{INCINERATOR: part, LOCK_AUTHORITY: 2 * part})
        assert (locked + 1) // 10 == 750
        assert (burned + 1) // 10 == 250
        assert await shares(0) == (10_000, 10_000)
        assert await shares(issued + 1, **{INCINERATOR: issued}) == (0, 0)  # more than the program knows of


@in_loop
async def test_positions_locked_for_ever_count_as_locked() -> None:
    async with hunting() as hunt:
        found = planted(damm_v2(NEW, USDC, 10**15, 50 * 10**9), hunt.chain)
        listing = listing_of(found)
        assert (await known(hunt, listing)).locked_bps == 0
        whole = int.from_bytes(found.accounts[listing.address].data[360:376], "little")
        hunt.chain.change(listing.address, 552, (whole * 96 // 100).to_bytes(16, "little"))
        facts = await known(hunt, listing)
        assert 9_599 <= facts.locked_bps <= 9_600
        assert facts.burned_bps == 0


@in_loop
async def test_only_what_a_simulated_sale_sells_is_sellable() -> None:
    async with hunting() as hunt:
        found = planted(damm_v2(NEW, USDC, 10**15, 50 * 10**9), hunt.chain)
        listing = listing_of(found)
        assert not (await known(hunt, listing)).sellable  # the wallet has no USDC: nothing could be tried
        purse = associated(str(WALLET.pubkey()), USDC.mint)
        hunt.chain.write(purse, token_account(str(WALLET.pubkey()), USDC.mint, 10**9))
        hunt.chain.change(listing.address, 552, (1).to_bytes(16, "little"))  # something has changed: tried anew
        assert (await known(hunt, listing)).sellable
        hunt.chain.change(listing.address, 481, b"\x01")  # the pool's maths refuses: no trial is needed
        facts = await known(hunt, listing)
        assert not facts.sellable
        assert facts.liquidity > 0


@in_loop
async def test_a_holder_who_is_frozen_cannot_sell() -> None:
    """What neither the pool's maths nor the mint tells beforehand, the simulated sale does."""
    async with hunting() as hunt:
        found = planted(cpmm(NEW, SOL, 10**15, 50 * 10**9), hunt.chain)
        listing = listing_of(found)
        holding = token_account(str(WALLET.pubkey()), NEW.mint, 5).data
        frozen = holding[:108] + b"\x02" + holding[109:]
        hunt.chain.write(associated(str(WALLET.pubkey()), NEW.mint), Account(TOKEN_PROGRAM, frozen))
        assert not (await known(hunt, listing)).sellable


@in_loop
async def test_a_program_too_busy_to_look_through_is_not_looked_through() -> None:
    """Where nothing but its swaps could be found, hundreds of questions a second would find nothing else."""
    async with hunting() as hunt:
        loud = FORMS[9]._replace(log="Program log: something else")
        for _ in range(8):
            hunt.land(loud, made_up(SOL.mint))
        assert len(await hunt.listed(8)) == 8
    async with hunting() as hunt:
        for _ in range(8):
            hunt.queue(loud, 5)
        assert await hunt.listed(0) == []

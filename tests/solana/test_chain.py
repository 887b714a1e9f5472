"""Transactions on a localnet, driven by hand: what is told of them is what the chain's own accounts show."""

from collections.abc import Sequence
from typing import Any

import aiohttp
import pytest
from solders.account import Account as ChainAccount
from solders.address_lookup_table_account import ID as LOOKUP_TABLES
from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.instruction import AccountMeta
from solders.instruction import Instruction as Written
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from fillwright.adapters.solana.building import BYTES_MAX, Terms
from fillwright.adapters.solana.chain import SolanaSettings
from fillwright.adapters.solana.protocol import transaction
from fillwright.adapters.solana.rpc import Rpc
from fillwright.adapters.solana.world import tables_of
from fillwright.errors import Code, FillwrightError
from fillwright.landing import proves_lapse
from fillwright.localnet.bank import price_of
from fillwright.localnet.control import give_tokens
from fillwright.localnet.faults import Faults
from fillwright.order import Fill, Mode, SignedTx
from fillwright.ports import Chain as ChainPort
from fillwright.ports import Rejection
from fillwright.programs import PROGRAMS, Account
from fillwright.units import NATIVE_MINT, Atoms, Mint, OrderId, Signature
from tests.solana.nodes import ScriptedNode, scripted
from tests.solana.rig import SCENES, Chain, in_loop, serve
from tests.solana.wallet import RENT, WALLET, atoms, fund, lamports, trading, wish

ORDER = OrderId("o-1")
AMOUNT = 1_000_000
USDC = Mint("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
POOL = SCENES["amm_v4"].pool
"""Its golden pool is SOL against USDC."""
STRANGER = str(Pubkey.from_bytes(b"s" * 32))


async def unavailable(chain: ChainPort, signature: Signature) -> str:
    with pytest.raises(FillwrightError) as failed:
        await chain.look(signature)
    assert failed.value.code is Code.CHAIN_UNAVAILABLE
    return str(failed.value)


async def sold(live: ChainPort, *, limit: int = 1, amount: int = AMOUNT) -> SignedTx:
    """SOL for USDC, exact in, signed."""
    return await live.sign(ORDER, 1, [wish("amm_v4", NATIVE_MINT, amount=amount, limit=limit)])


def fee_of(chain: Chain, tx: SignedTx) -> int:
    """As the chain's own record has it."""
    landed = chain.bank.view("processed").landed(tx.signature)
    assert landed is not None
    return landed.executed.fee


def held(chain: Chain, mint: Mint) -> int:
    return lamports(chain) if mint == NATIVE_MINT else atoms(chain, mint)


def crowd(chain: Chain, writing: Sequence[Pubkey], *, micro_lamports: int) -> None:
    """A block with a stranger's transaction that writes these accounts at this price."""
    stranger = Keypair()
    chain.bank.write(stranger.pubkey(), ChainAccount(10**9, b"", Pubkey.default()))
    pays = transfer(TransferParams(from_pubkey=stranger.pubkey(), to_pubkey=stranger.pubkey(), lamports=1))
    writes = [AccountMeta(key, is_signer=False, is_writable=True) for key in writing]
    price = Written(COMPUTE_BUDGET, b"\x03" + micro_lamports.to_bytes(8, "little"), [])
    touches = Written(pays.program_id, bytes(pays.data), [*pays.accounts, *writes])
    message = MessageV0.try_compile(stranger.pubkey(), [price, touches], [], chain.bank.tip.hash)
    chain.bank.receive(VersionedTransaction(message, [stranger]))
    chain.pass_slots(1)
    assert chain.bank.tip.transactions, "it has landed"


async def told(url: str, method: str, params: list[Any]) -> Any:
    """A node's own answer."""
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    async with aiohttp.ClientSession() as session, session.post(url, json=call) as response:
        return (await response.json())["result"]


async def filled(live: ChainPort, chain: Chain, tx: SignedTx) -> Fill:
    await live.broadcast(tx)
    chain.pass_slots(1)
    fill = (await live.look(tx.signature)).outcome
    assert isinstance(fill, Fill)
    return fill


# --- fills --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("is_reversed", [False, True])
@pytest.mark.parametrize("kind", PROGRAMS)
@in_loop
async def test_a_fill_is_what_the_wallet_gained_and_lost(kind: str, is_reversed: bool, mode: Mode) -> None:
    """Each program, both directions, to the atom; SOL is wrapped and unwrapped on the way and leaves no account."""
    scene = SCENES[kind]
    mint_in, mint_out = (scene.mint_out, scene.mint_in) if is_reversed else (scene.mint_in, scene.mint_out)
    async with serve(kind) as chain, trading(chain.url, pools=(scene.pool,)) as live:
        fund(chain, kind)
        limit = 1 if mode is Mode.EXACT_IN else 10**12
        tx = await live.sign(ORDER, 1, [wish(kind, mint_in, amount=AMOUNT, limit=limit, mode=mode)])
        before = held(chain, mint_in), held(chain, mint_out)
        fill = await filled(live, chain, tx)
        fee = fee_of(chain, tx)
        assert fill.amount_in == before[0] - held(chain, mint_in) - fee * (mint_in == NATIVE_MINT)
        assert fill.amount_out == held(chain, mint_out) - before[1] + fee * (mint_out == NATIVE_MINT)
        assert (fill.amount_in if mode is Mode.EXACT_IN else fill.amount_out) == AMOUNT
        assert fill.signature == tx.signature
        assert fill.slot == chain.bank.tip.slot
        assert atoms(chain, NATIVE_MINT) == 0


@in_loop
async def test_fee_tip_rent_and_sol_that_was_wrapped_before_are_no_part_of_a_fill() -> None:
    """The account of wrapped SOL is there already, with rent and SOL in it; the one for what arrives is made."""
    tip = 77_777
    terms = Terms(wallet=WALLET, tip=Atoms(tip), tip_to=STRANGER)
    async with serve("amm_v4") as chain:
        fund(chain, "amm_v4")
        async with trading(chain.url, pools=(POOL,)) as live:
            plain = await filled(live, chain, await sold(live))
        async with serve("amm_v4") as again, trading(again.url, terms=terms, pools=(POOL,)) as live:
            fund(again, "amm_v4", atoms=0)
            wrapped = give_tokens(
                again.bank,
                owner=Pubkey.from_string(WALLET),
                mint=Pubkey.from_string(NATIVE_MINT),
                amount=5_000_000,
            )
            with pytest.raises(FillwrightError, match="InsufficientFundsForRent"):
                await sold(live)  # no account may hold so little: a tip cannot make one
            again.bank.write(Pubkey.from_string(STRANGER), ChainAccount(RENT, b"", Pubkey.default()))
            again.pass_slots(4)
            before = lamports(again) + lamports(again, str(wrapped))
            tx = await sold(live)
            fill = await filled(live, again, tx)
            assert (fill.amount_in, fill.amount_out) == (plain.amount_in, plain.amount_out)
            assert before - lamports(again) == AMOUNT + tip + fee_of(again, tx)
            assert lamports(again, STRANGER) == RENT + tip


@in_loop
async def test_an_account_made_on_the_way_costs_rent_but_not_the_fill() -> None:
    async with serve("amm_v4") as chain, trading(chain.url, pools=(POOL,)) as live:
        fund(chain, "amm_v4", atoms=None)
        before = lamports(chain)
        tx = await sold(live)
        fill = await filled(live, chain, tx)
        assert fill.amount_in == AMOUNT
        assert fill.amount_out == atoms(chain, USDC)
        assert before - lamports(chain) == AMOUNT + RENT + fee_of(chain, tx)


# --- limits -------------------------------------------------------------------------------------------------


@in_loop
async def test_what_would_fail_now_is_not_signed() -> None:
    """So that no fee is paid for it."""
    async with serve("amm_v4") as chain, trading(chain.url, pools=(POOL,)) as live:
        fund(chain, "amm_v4")
        with pytest.raises(FillwrightError) as failed:
            await sold(live, limit=10**15)
        assert failed.value.code is Code.CHAIN_SLIPPAGE
        with pytest.raises(FillwrightError) as failed:
            await live.sign(ORDER, 1, [wish("amm_v4", USDC, amount=10**16, limit=1)])
        assert failed.value.code is Code.CHAIN_REVERTED
        assert chain.bank.landed_ever == 0


@in_loop
async def test_the_limit_is_enforced_by_the_chain_to_the_atom() -> None:
    """Two that would each get just enough: the second finds the market moved by the first."""
    async with serve("amm_v4") as chain, trading(chain.url, pools=(POOL,)) as live:
        fund(chain, "amm_v4")
        pool = PROGRAMS["amm_v4"].decode(POOL, SCENES["amm_v4"].known)
        amount = 10**12
        bound = pool.quote_in(Atoms(amount), NATIVE_MINT, SCENES["amm_v4"].now).amount_out
        first = await sold(live, limit=bound, amount=amount)
        second = await sold(live, limit=bound, amount=amount)
        assert first.limit == bound
        fill = await filled(live, chain, first)
        assert fill.amount_out == bound
        await live.broadcast(second)
        before = atoms(chain, USDC)
        chain.pass_slots(1)
        slot = chain.bank.tip.slot
        assert "may still be undone" in await unavailable(live, second.signature), "another attempt needs more proof"
        chain.pass_slots(2)
        outcome = (await live.look(second.signature)).outcome
        assert isinstance(outcome, Rejection)
        assert outcome.problem.code is Code.CHAIN_SLIPPAGE
        assert outcome.slot == slot
        assert atoms(chain, USDC) == before
        chain.pass_slots(200)
        assert (await live.look(second.signature)).outcome == outcome, "for ever"


# --- evidence -----------------------------------------------------------------------------------------------


@in_loop
async def test_no_two_transactions_are_alike() -> None:
    async with serve("amm_v4") as chain, trading(chain.url, pools=(POOL,)) as live:
        fund(chain, "amm_v4")
        assert len({(await sold(live)).signature for _ in range(20)}) == 20


@in_loop
async def test_signing_has_no_effect() -> None:
    async with serve("amm_v4") as chain, trading(chain.url, pools=(POOL,)) as live:
        fund(chain, "amm_v4")
        before = lamports(chain), atoms(chain, USDC)
        tx = await sold(live)
        chain.pass_slots(5)
        assert (lamports(chain), atoms(chain, USDC)) == before
        assert (await live.look(tx.signature)).outcome is None
        assert chain.bank.landed_ever == 0


@in_loop
async def test_others_fees_are_paid_up_to_the_cap() -> None:
    """What lately let transactions in that write the same accounts: a stranger's, of the pool that is swapped on."""
    asked = [Pubkey.from_string(POOL)]
    async with serve("amm_v4") as chain:
        fund(chain, "amm_v4")
        for cap, paid in ((10_000, 7_000), (5_000, 5_000)):
            for _ in range(20):
                crowd(chain, asked, micro_lamports=7_000)
            async with trading(chain.url, settings=SolanaSettings(priority_fee_max=cap), pools=(POOL,)) as live:
                tx = await sold(live)
                assert price_of(VersionedTransaction.from_bytes(tx.raw)) == paid


@in_loop
async def test_the_same_bytes_settle_once_however_often_they_are_sent() -> None:
    async with serve("amm_v4") as chain, trading(chain.url, chain.url + "/flaky", pools=(POOL,)) as live:
        fund(chain, "amm_v4")
        tx = await sold(live)
        before = lamports(chain)
        for _ in range(3):
            await live.broadcast(tx)
            chain.pass_slots(1)
        assert before - lamports(chain) == AMOUNT + fee_of(chain, tx)


@in_loop
async def test_a_transaction_lapses_after_its_last_valid_height_and_not_before() -> None:
    """Told by finalized blocks, which lie behind."""
    async with serve("amm_v4") as chain, trading(chain.url, pools=(POOL,)) as live:
        fund(chain, "amm_v4")
        tx = await sold(live)
        assert tx.last_valid_height == tx.signed_height + 150
        assert tx.signed_height <= chain.bank.tip.height
        while (sighting := await live.look(tx.signature)).height <= tx.last_valid_height:
            assert not proves_lapse(tx, sighting)
            assert sighting.height <= chain.bank.view("finalized").block.height
            chain.pass_slots(10)
        assert proves_lapse(tx, sighting)
        await live.broadcast(tx)
        chain.pass_slots(5)
        assert proves_lapse(tx, await live.look(tx.signature))
        assert chain.bank.landed_ever == 0


@in_loop
async def test_up_to_its_last_valid_height_it_can_land() -> None:
    async with serve("amm_v4") as chain, trading(chain.url, pools=(POOL,)) as live:
        fund(chain, "amm_v4")
        tx = await sold(live)
        chain.pass_slots(tx.last_valid_height - chain.bank.tip.height - 1)
        assert not proves_lapse(tx, await live.look(tx.signature))
        fill = await filled(live, chain, tx)
        assert chain.bank.tip.height == tx.last_valid_height
        assert fill.amount_in == AMOUNT


@in_loop
async def test_what_is_not_firm_is_neither_an_outcome_nor_absent() -> None:
    """Landed counts from the block on that the setting names; until then nothing is told, and a fork may undo it."""
    settings = SolanaSettings(landed_at="finalized")
    async with serve("amm_v4") as chain, trading(chain.url, settings=settings, pools=(POOL,)) as live:
        fund(chain, "amm_v4")
        tx = await sold(live)
        await live.broadcast(tx)
        chain.pass_slots(1)
        assert "may still be undone" in await unavailable(live, tx.signature)
        chain.bank.fork(1)
        chain.pass_slots(1)
        assert (await live.look(tx.signature)).outcome is None
        await live.broadcast(tx)
        chain.pass_slots(1)
        assert "may still be undone" in await unavailable(live, tx.signature)
        chain.pass_slots(2)
        assert isinstance((await live.look(tx.signature)).outcome, Fill)


@in_loop
async def test_a_revert_that_a_fork_takes_back_was_never_told() -> None:
    """The same bytes may land after all once the block is gone: had an attempt followed the revert, both would."""
    async with serve("amm_v4") as chain, trading(chain.url, pools=(POOL,)) as live:
        fund(chain, "amm_v4")
        tx = await sold(live)
        before = chain.bank.machine.account(Pubkey.from_string(WALLET))
        chain.bank.write(Pubkey.from_string(WALLET), ChainAccount(1_000_000, b"", Pubkey.default()))
        await live.broadcast(tx)
        chain.pass_slots(1)
        assert "may still be undone" in await unavailable(live, tx.signature)
        chain.bank.fork(1)
        chain.bank.write(Pubkey.from_string(WALLET), before)
        fill = await filled(live, chain, tx)
        assert fill.amount_in == AMOUNT


@in_loop
async def test_a_transaction_that_a_fork_moved_between_two_questions_is_not_told() -> None:
    """Its status is of one block, what it did of another: neither may pass for both."""
    node = ScriptedNode()
    async with serve("amm_v4") as chain, scripted(node) as [url]:
        fund(chain, "amm_v4")
        async with trading(chain.url, pools=(POOL,)) as live:
            tx = await sold(live)
            fill = await filled(live, chain, tx)
            done = await told(chain.url, *transaction(tx.signature, "confirmed"))
        status = {"slot": fill.slot, "err": None, "confirmationStatus": "confirmed"}
        node.slot, node.height = fill.slot, fill.slot - 20_000_000
        node.replies["getSignatureStatuses"] = lambda _: node.context([status])
        async with trading(url) as live:
            undone = done | {"meta": done["meta"] | {"err": "AccountInUse"}}
            for moved in (done | {"slot": fill.slot + 1}, undone, None):
                node.says("getTransaction", moved)
                assert "cannot be read" in await unavailable(live, tx.signature)
            node.says("getTransaction", done)
            assert (await live.look(tx.signature)).outcome == fill


@in_loop
async def test_one_node_alone_cannot_declare_a_transaction_dead() -> None:
    """Where several are named: the one that is left does not prove a lapse, but a landing it does."""
    nowhere = "http://127.0.0.1:9"
    async with serve("amm_v4") as chain, trading(chain.url, nowhere, pools=(POOL,)) as live:
        fund(chain, "amm_v4")
        landed, lost = await sold(live), await sold(live)
        await live.broadcast(landed)
        chain.pass_slots(200)
        assert isinstance((await live.look(landed.signature)).outcome, Fill)
        await unavailable(live, lost.signature)


@in_loop
async def test_a_node_that_tells_its_slot_as_its_height_is_not_believed() -> None:
    """The lying node stands first in the list, and lies each time."""
    async with serve("amm_v4") as chain:
        chain.network.dice.faults = Faults(lies=1.0, skipped_slots=0.0)
        async with trading(chain.url + "/lying", chain.url, chain.url + "/lagging", pools=(POOL,)) as live:
            fund(chain, "amm_v4")
            tx = await sold(live)
            for _ in range(4):
                sighting = await live.look(tx.signature)
                assert sighting.height < tx.last_valid_height
                assert sighting.slot - sighting.height == 20_000_000
                chain.pass_slots(3)
            fill = await filled(live, chain, tx)
            assert fill.amount_in == AMOUNT


@in_loop
async def test_a_node_whose_history_is_too_short_does_not_prove_absence() -> None:
    """It began after the transaction had landed elsewhere: of that it knows nothing."""
    async with serve("amm_v4") as chain, serve("amm_v4") as younger:
        fund(chain, "amm_v4")
        async with trading(chain.url, pools=(POOL,)) as live:
            tx = await sold(live)
        younger.bank.first_slot = tx.signed_slot + 50
        younger.pass_slots(200)
        async with trading(younger.url, pools=(POOL,)) as live:
            await live.broadcast(tx)
            assert "history" in await unavailable(live, tx.signature)


@in_loop
async def test_what_was_signed_by_an_earlier_process_is_found() -> None:
    async with serve("amm_v4") as chain:
        fund(chain, "amm_v4")
        async with trading(chain.url, pools=(POOL,)) as live:
            tx = await sold(live)
            fill = await filled(live, chain, tx)
        async with trading(chain.url, pools=(POOL,)) as live:
            assert (await live.look(tx.signature)).outcome == fill
            assert (await live.look(Signature("1" * 64))).outcome is None
            await live.ping()


# --- lookup tables -------------------------------------------------------------------------------------------

TABLE = str(Pubkey.from_bytes(b"t" * 32))
_ALIVE = (2**64 - 1).to_bytes(8, "little")


def table_bytes(addresses: Sequence[str], closing: bytes = _ALIVE) -> bytes:
    listed = b"".join(bytes(Pubkey.from_string(address)) for address in addresses)
    return (1).to_bytes(4, "little") + closing + bytes(44) + listed


@in_loop
async def test_what_is_too_large_for_a_transaction_lands_by_a_lookup_table() -> None:
    """Four pools of four kinds at once, each SOL against USDC; the chain looks the accounts up by itself."""
    kinds = ("amm_v4", "cpmm", "clmm", "damm_v2")
    pools = tuple(SCENES[kind].pool for kind in kinds)
    asked = [wish(kind, NATIVE_MINT, amount=AMOUNT, limit=1) for kind in kinds]
    async with serve(*kinds) as chain:
        fund(chain, *kinds)
        async with trading(chain.url, pools=pools) as live:
            with pytest.raises(FillwrightError, match="4 swaps") as refused:
                await live.sign(ORDER, 1, asked)
            assert refused.value.code is Code.ROUTE_UNAVAILABLE
        chain.write(
            TABLE, Account(str(LOOKUP_TABLES), table_bytes([at for kind in kinds for at in SCENES[kind].known]))
        )
        chain.pass_slots(4)
        rpc = Rpc([chain.url])
        terms = Terms(wallet=WALLET, tables=await tables_of([TABLE], rpc))
        await rpc.close()
        async with trading(chain.url, terms=terms, pools=pools) as live:
            before = held(chain, NATIVE_MINT), held(chain, USDC)
            tx = await live.sign(ORDER, 1, asked)
            fill = await filled(live, chain, tx)
            assert len(tx.raw) <= BYTES_MAX
            assert fill.amount_in == before[0] - held(chain, NATIVE_MINT) - fee_of(chain, tx) == 4 * AMOUNT
            assert fill.amount_out == held(chain, USDC) - before[1] > 0


@pytest.mark.parametrize(
    ("owner", "data", "why"),
    [
        (str(LOOKUP_TABLES), table_bytes([WALLET], closing=bytes(8)), "about to be closed"),
        (str(LOOKUP_TABLES), bytes(56), "no lookup table"),
        (STRANGER, table_bytes([WALLET]), "no lookup table"),
        (None, b"", "no lookup table"),
    ],
)
@in_loop
async def test_what_is_no_lookup_table_is_refused_by_name(owner: str | None, data: bytes, why: str) -> None:
    async with serve() as chain:
        chain.write(TABLE, Account(owner, data) if owner else None)
        chain.pass_slots(4)
        rpc = Rpc([chain.url])
        try:
            with pytest.raises(FillwrightError, match=f"FILLWRIGHT_LOOKUP_TABLES: {TABLE} is {why}") as refused:
                await tables_of([TABLE], rpc)
        finally:
            await rpc.close()
        assert refused.value.code is Code.CONFIG_INVALID

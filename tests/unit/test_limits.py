"""What the wallet may sign: swaps between its own accounts and what they need, within the caps; nothing else."""

import asyncio
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.hash import Hash
from solders.instruction import AccountMeta, CompiledInstruction, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from fillwright.adapters.solana.limits import Cap, Draft, Guard, Rules, outflow
from fillwright.adapters.sqlite import SqliteStore
from fillwright.errors import Code, FillwrightError
from fillwright.order import Mode, Status
from fillwright.programs import PROGRAMS, SwapCall, token
from fillwright.units import NATIVE_MINT, Atoms, Mint, OrderId, Token
from tests.conformance.samples import HandClock, accepted, way_to
from tests.conformance.test_store import keep
from tests.vectors.accounts import Scene, scenes

change: Final = msgspec.structs.replace
WALLET: Final = str(Keypair.from_seed(bytes(32)).pubkey())
STRANGER: Final = str(Keypair.from_seed(bytes([1] * 32)).pubkey())
TIPPED: Final = str(Keypair.from_seed(bytes([2] * 32)).pubkey())
ORDER: Final = OrderId("o-1")
RULES: Final = Rules(
    wallet=WALLET,
    programs={program.id: program for program in PROGRAMS.values()},
    priority_fee_max=1_000,
    tip=(TIPPED, 10_000),
)
WRAPPED: Final = token.associated(WALLET, NATIVE_MINT)
SCENES: Final = [next(scene for scene in scenes(kind) if not scene.error) for kind in PROGRAMS]


def call_of(scene: Scene, **changed: Any) -> SwapCall:
    told: dict[str, Any] = {
        "pool": scene.pool,
        "mode": Mode.EXACT_IN,
        "mint_in": scene.mint_in,
        "mint_out": scene.mint_out,
        "amount": scene.amount,
        "limit": Atoms(1),
        "owner": WALLET,
        "source": token.associated(WALLET, scene.mint_in),
        "destination": token.associated(WALLET, scene.mint_out),
    }
    return SwapCall(**{**told, **changed})


def swap(scene: Scene, **changed: Any) -> Instruction:
    return PROGRAMS[scene.kind].swap(call_of(scene, **changed), scene.known)


def draft(*instructions: Instruction, mints: Sequence[Mint] = (), payer: str = WALLET) -> Draft:
    message = MessageV0.try_compile(Pubkey.from_string(payer), list(instructions), [], Hash.default())
    known = {mint for scene in SCENES for mint in (scene.mint_in, scene.mint_out)}
    return Draft(order_id=ORDER, message=message, mints=frozenset(mints or known))


def refusal(asked: Draft, rules: Rules = RULES) -> str:
    with pytest.raises(FillwrightError) as caught:
        outflow(rules, asked)
    assert caught.value.code is Code.LIMIT_EXCEEDED
    assert not caught.value.problem.retryable
    return str(caught.value)


def pay(to: str, lamports: int, source: str = WALLET) -> Instruction:
    return transfer(
        TransferParams(from_pubkey=Pubkey.from_string(source), to_pubkey=Pubkey.from_string(to), lamports=lamports)
    )


BESIDE: Final = (
    token.unit_limit(200_000),
    token.unit_price(1_000),
    token.create_associated(WALLET, WALLET, NATIVE_MINT),
    pay(WRAPPED, 5_000_000),
    token.sync_native(WRAPPED),
    token.close_account(WRAPPED, WALLET),
    pay(TIPPED, 10_000),
    token.memo("fw o-1 1 00000000"),
)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.kind)
def test_a_swap_and_what_it_needs_are_let_through(scene: Scene) -> None:
    assert outflow(RULES, draft(*BESIDE, swap(scene))) == {scene.mint_in: scene.amount}


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.kind)
def test_of_an_exact_output_the_most_that_may_go_in_counts(scene: Scene) -> None:
    asked = draft(swap(scene, mode=Mode.EXACT_OUT, amount=Atoms(5), limit=Atoms(777)))
    assert outflow(RULES, asked) == {scene.mint_in: 777}


def test_swaps_of_one_message_add_up() -> None:
    scene = SCENES[0]
    assert outflow(RULES, draft(swap(scene), swap(scene))) == {scene.mint_in: 2 * scene.amount}


def test_what_one_swap_must_pay_out_another_may_take_in() -> None:
    scene = SCENES[0]
    back = swap(
        scene,
        mint_in=scene.mint_out,
        mint_out=scene.mint_in,
        source=token.associated(WALLET, scene.mint_out),
        destination=token.associated(WALLET, scene.mint_in),
        amount=Atoms(900),
    )
    first = swap(scene, mode=Mode.EXACT_OUT, amount=Atoms(900), limit=Atoms(1_000))
    assert outflow(RULES, draft(first, back)) == {scene.mint_in: 999}
    promised_less = swap(scene, amount=Atoms(1_000), limit=Atoms(899))
    assert outflow(RULES, draft(promised_less, back))[scene.mint_out] == 1


# --- refused ----------------------------------------------------------------------------------------------

_SYSTEM: Final = Pubkey.from_string("11111111111111111111111111111111")


def other(program: Pubkey, data: bytes, *accounts: str) -> Instruction:
    metas = [AccountMeta(Pubkey.from_string(each), is_signer=False, is_writable=True) for each in accounts]
    return Instruction(program, data, metas)


WRONG: Final[dict[str, tuple[Instruction, str]]] = {
    "another program": (other(Pubkey.from_string(STRANGER), b"\x01", WALLET), f"program {STRANGER} is not allowed"),
    "lamports to a stranger": (pay(STRANGER, 1), "not one that swaps need"),
    "too large a tip": (pay(TIPPED, 10_001), "not one that swaps need"),
    "lamports by another instruction": (other(_SYSTEM, b"\x03\0\0\0" + b"\1" * 8, WALLET, TIPPED), "swaps need"),
    "a price beyond the cap": (token.unit_price(1_001), "not one that swaps need"),
    "another budget instruction": (Instruction(token.BUDGET, b"\x01\0\0\0\0", []), "not one that swaps need"),
    "an account for a stranger": (token.create_associated(WALLET, STRANGER, NATIVE_MINT), "swaps need"),
    "an account closed to a stranger": (
        other(token.TOKEN_PROGRAM, b"\x09", WRAPPED, STRANGER, WALLET),
        "not one that swaps need",
    ),
    "another account closed": (
        token.close_account(token.associated(WALLET, SCENES[0].mint_in), WALLET),
        "not one that swaps need",
    ),
    "tokens sent": (other(token.TOKEN_PROGRAM, b"\x03" + b"\1" * 8, WRAPPED, STRANGER, WALLET), "swaps need"),
    "a delegate": (other(token.TOKEN_PROGRAM, b"\x04" + b"\1" * 8, WRAPPED, STRANGER, WALLET), "swaps need"),
    "paid out to a stranger": (
        swap(SCENES[1], destination=token.associated(STRANGER, SCENES[1].mint_out)),
        "own token accounts",
    ),
    "paid out to a stranger, direction by accounts": (
        swap(SCENES[0], destination=token.associated(STRANGER, SCENES[0].mint_out)),
        "cannot be read",
    ),
    "not a swap": (
        Instruction(Pubkey.from_string(PROGRAMS["cpmm"].id), b"\0" * 24, swap(SCENES[1]).accounts),
        "is no swap",
    ),
    "cut short": (
        Instruction(
            Pubkey.from_string(PROGRAMS["cpmm"].id), bytes(swap(SCENES[1]).data)[:10], swap(SCENES[1]).accounts
        ),
        "cannot be read",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_anything_else_is_refused_beside_a_good_swap(name: str) -> None:
    instruction, why = WRONG[name]
    if name == "too large a tip":
        refusal(draft(pay(TIPPED, 6_000), pay(TIPPED, 6_000)))  # in two parts
    assert why in refusal(draft(swap(SCENES[0]), instruction))


def test_another_signature_is_refused() -> None:
    assert "signatures" in refusal(draft(swap(SCENES[0]), pay(TIPPED, 1, source=STRANGER)))
    assert "signatures" in refusal(draft(token.memo("paid by somebody else"), payer=STRANGER))


def test_an_account_that_is_not_there_is_refused() -> None:
    """Looked up in a table that nobody told of."""
    good = draft(swap(SCENES[0])).message
    fewer = MessageV0(
        good.header, list(good.account_keys)[:4], good.recent_blockhash, good.instructions, good.address_table_lookups
    )
    assert "does not have" in refusal(Draft(order_id=ORDER, message=fewer, mints=frozenset()))


def test_a_program_or_a_token_that_is_not_listed_is_refused() -> None:
    scene = SCENES[2]
    others = {program.id: program for kind, program in PROGRAMS.items() if kind != scene.kind}
    assert f"program {PROGRAMS[scene.kind].id} is not allowed" in refusal(
        draft(swap(scene)), change(RULES, programs=others)
    )
    only = change(RULES, mints=frozenset({scene.mint_in}))
    assert f"token {scene.mint_out} is not allowed" in refusal(draft(swap(scene)), only)
    assert outflow(change(RULES, mints=frozenset({scene.mint_in, scene.mint_out})), draft(swap(scene)))


@given(st.data())
@settings(max_examples=400, deadline=None)
def test_whatever_a_message_says_it_is_judged_or_refused(data: st.DataObject) -> None:
    """One instruction of a good message is replaced by any bytes and accounts: nothing but a refusal may come of it, or
    a swap from and to the wallet's own accounts."""
    scene = data.draw(st.sampled_from(SCENES))
    good = draft(*BESIDE, swap(scene)).message
    keys = len(good.account_keys)
    at = data.draw(st.integers(0, len(good.instructions) - 1))
    broken = list(good.instructions)
    kept = bytes(broken[at].data)
    head = kept[: data.draw(st.integers(0, len(kept)))]
    told = head + data.draw(st.binary(max_size=40))
    accounts = data.draw(st.one_of(st.just(bytes(broken[at].accounts)), st.binary(max_size=24)))
    program = data.draw(st.one_of(st.just(broken[at].program_id_index), st.integers(0, 255)))
    broken[at] = CompiledInstruction(program, told, accounts)
    message = MessageV0(good.header, list(good.account_keys), good.recent_blockhash, broken, good.address_table_lookups)
    refused: Code | None = None
    try:
        spent = outflow(RULES, change(draft(swap(scene)), message=message))
    except FillwrightError as error:
        refused = error.code
    else:
        assert keys > program
        assert spent.keys() <= {scene.mint_in, scene.mint_out}
    assert refused in (None, Code.LIMIT_EXCEEDED)


# --- caps -------------------------------------------------------------------------------------------------


async def judged(store: SqliteStore, rules: Rules, amount: int, order_id: str) -> str:
    """What an order of so much is told."""
    await keep(store, way_to(Status.BUILDING, accepted(order_id)))
    asked = change(draft(swap(SCENES[0], amount=Atoms(amount))), order_id=OrderId(order_id))
    try:
        await Guard(rules, store.spending).allow(asked)
    except FillwrightError as error:
        return f"{error.code}: {error}"
    return ""


def test_caps_hold_for_each_order_and_for_the_day(tmp_path: Path) -> None:
    mint = SCENES[0].mint_in
    coin = Token("COIN", mint, 2)
    rules = change(RULES, caps={mint: Cap(coin, order=Atoms(600), day=Atoms(1_000))})

    async def main() -> None:
        with closing(SqliteStore(tmp_path / "orders.db", HandClock(), lease_s=10.0)) as store:
            assert await judged(store, rules, 601, "o-1") == (
                "LIMIT_EXCEEDED: not signed: 6.01 COIN more is beyond the cap of 6 COIN for one order"
            )
            assert await judged(store, rules, 600, "o-2") == ""
            assert await judged(store, rules, 401, "o-3") == (
                "LIMIT_EXCEEDED: not signed: 4.01 COIN more is beyond the cap of 10 COIN for the wallet in 24 hours,"
                " of which 6 COIN is spent or may be yet"
            )
            assert await judged(store, rules, 400, "o-4") == ""
            assert (
                await judged(store, change(RULES, caps={}), 1, "o-5")
                == f"LIMIT_EXCEEDED: not signed: no cap allows spending {mint}"
            )
            assert await judged(store, RULES, 10**9, "o-6") == ""

    asyncio.run(main())

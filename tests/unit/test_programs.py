"""The programs' accounts and instructions: what is written is read again, and nothing is left out a swap looks into.

That the programs themselves accept them is what `make test-programs` shows; here there is no binary.
"""

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.account import Account as MachineAccount
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import TransactionMetadata

from fillwright.errors import Code
from fillwright.order import Mode
from fillwright.pools import Pool, PoolRefused
from fillwright.pools import pool as p
from fillwright.pools.amm_v4 import AmmV4Pool
from fillwright.pools.clmm import ClmmPool
from fillwright.pools.cpmm import CpmmPool
from fillwright.pools.damm_v2 import DammV2Pool
from fillwright.pools.dlmm import DlmmPool
from fillwright.programs import PROGRAMS, Account, Accounts, SwapCall, by_id, clmm, damm_v2, token
from fillwright.programs.token import TOKEN_2022, associated
from fillwright.units import NATIVE_MINT, Atoms, Mint
from tests.vectors.accounts import Scene, scenes

SCENES = {kind: scenes(kind) for kind in PROGRAMS}
WALLET = str(Keypair.from_seed(bytes(32)).pubkey())
SYSTEM = "11111111111111111111111111111111"
MEMO = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"
TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"

FINE = {kind: next(scene for scene in found if not scene.error) for kind, found in SCENES.items()}

some_scene = st.sampled_from([scene for found in SCENES.values() for scene in found if not scene.error])
some_key = st.binary(min_size=32, max_size=32).map(lambda key: str(Pubkey.from_bytes(key)))
u64 = st.integers(0, 2**64 - 1)


def call_of(scene: Scene, limit: int = 1, owner: str = WALLET) -> SwapCall:
    return SwapCall(
        pool=scene.pool,
        mode=scene.mode,
        mint_in=scene.mint_in,
        mint_out=scene.mint_out,
        amount=scene.amount,
        limit=Atoms(limit),
        owner=owner,
        source=associated(owner, scene.mint_in),
        destination=associated(owner, scene.mint_out),
    )


def keys_of(instruction: Instruction) -> list[Pubkey]:
    return [account.pubkey for account in instruction.accounts]


def shown(instruction: Instruction) -> list[str]:
    """The accounts as text: "w" before what is written, "s" before who signs."""
    return [f"{'w ' * each.is_writable}{'s ' * each.is_signer}{each.pubkey}" for each in instruction.accounts]


def quote(pool: Pool, call: SwapCall, scene: Scene) -> p.Swap:
    ask = pool.quote_in if call.mode is Mode.EXACT_IN else pool.quote_out
    return ask(call.amount, call.mint_in, scene.now)


def amounts_in(data: bytes) -> list[int]:
    return [p.u64(data, at) for at in range(len(data) - 7)]


def with_arrays() -> Iterator[tuple[Scene, Pool]]:
    """Swaps that went through, on pools that have arrays."""
    for kind in ("clmm", "dlmm"):
        for scene in SCENES[kind]:
            if not scene.error:
                yield scene, PROGRAMS[kind].decode(scene.pool, scene.known)


TAGS = {kind: bytes(PROGRAMS[kind].swap(call_of(scene), scene.known).data)[:8] for kind, scene in FINE.items()}
TAGS["amm_v4"] = TAGS["amm_v4"][:1]


# ---- writing and reading


@given(some_scene, u64, some_key, st.sampled_from(Mode), st.integers(0, 10**6))
def test_what_was_written_is_read_again(scene: Scene, limit: int, owner: str, mode: Mode, less: int) -> None:
    program = PROGRAMS[scene.kind]
    call = msgspec.structs.replace(
        call_of(scene, limit, owner), mode=mode, amount=Atoms(max(1, scene.amount * (10**6 - less) // 10**6))
    )
    try:
        written = program.swap(call, scene.known)
    except PoolRefused:
        return  # the other mode asks for more than there is
    holds = {call.source: call.mint_in, call.destination: call.mint_out}
    assert str(written.program_id) == program.id
    assert program.read(keys_of(written), bytes(written.data), holds) == call


@given(st.sampled_from(sorted(PROGRAMS)), st.booleans(), st.binary(max_size=48), st.integers(0, 20))
def test_bytes_that_are_no_swap_are_none_or_refused(kind: str, tagged: bool, data: bytes, accounts: int) -> None:
    """Whatever a stranger writes to the program's address: no other error, and no call that was not asked for."""
    keys = [Pubkey.from_bytes(bytes([number]) * 32) for number in range(accounts)]
    begin = TAGS[kind] if tagged else b""
    try:
        call = PROGRAMS[kind].read(keys, begin + data, {})
    except PoolRefused:
        return
    assert call is None or (tagged and call.amount in amounts_in(begin + data) and accounts >= 8)


def test_amm_v4_names_what_the_program_expects() -> None:
    scene = SCENES["amm_v4"][0]
    pool, call = scene.known[scene.pool].data, call_of(scene)
    assert shown(PROGRAMS["amm_v4"].swap(call, scene.known)) == [
        TOKEN,
        f"w {scene.pool}",
        "5Q544fKrFoe6tsEbD7S8EmxGTJYAKtTVhAW5Q5pge4j1",
        f"w {p.pubkey(pool, 336)}",
        f"w {p.pubkey(pool, 368)}",
        f"w {call.source}",
        f"w {call.destination}",
        f"s {WALLET}",
    ]


def test_cpmm_names_what_the_program_expects() -> None:
    scene = SCENES["cpmm"][0]
    pool, call = scene.known[scene.pool].data, call_of(scene)
    first = call.mint_in == PROGRAMS["cpmm"].mints(scene.known[scene.pool])[0]
    vault_in, vault_out = (72, 104) if first else (104, 72)
    assert shown(PROGRAMS["cpmm"].swap(call, scene.known)) == [
        f"s {WALLET}",
        "GpMZbSM2GgvTKHJirzeGfMFoaZ8UR2X7F4v8vHTvxFbL",
        p.pubkey(pool, 8),
        f"w {scene.pool}",
        f"w {call.source}",
        f"w {call.destination}",
        f"w {p.pubkey(pool, vault_in)}",
        f"w {p.pubkey(pool, vault_out)}",
        TOKEN,
        TOKEN,
        call.mint_in,
        call.mint_out,
        f"w {p.pubkey(pool, 296)}",
    ]


def test_clmm_names_what_the_program_expects() -> None:
    scene = FINE["clmm"]
    pool, call = scene.known[scene.pool].data, call_of(scene)
    first = call.mint_in == PROGRAMS["clmm"].mints(scene.known[scene.pool])[0]
    vault_in, vault_out = (137, 169) if first else (169, 137)
    written = shown(PROGRAMS["clmm"].swap(call, scene.known))
    assert written[:13] == [
        f"s {WALLET}",
        p.pubkey(pool, 9),
        f"w {scene.pool}",
        f"w {call.source}",
        f"w {call.destination}",
        f"w {p.pubkey(pool, vault_in)}",
        f"w {p.pubkey(pool, vault_out)}",
        f"w {p.pubkey(pool, 201)}",
        TOKEN,
        str(TOKEN_2022),
        MEMO,
        call.mint_in,
        call.mint_out,
    ]
    assert written[13:]
    assert all(account.removeprefix("w ") in scene.known for account in written[13:])


def test_dlmm_names_what_the_program_expects() -> None:
    scene = FINE["dlmm"]
    program, pool, call = PROGRAMS["dlmm"], scene.known[scene.pool].data, call_of(scene)
    written = shown(program.swap(call, scene.known))
    assert written[:16] == [
        f"w {scene.pool}",
        program.id,
        f"w {p.pubkey(pool, 152)}",
        f"w {p.pubkey(pool, 184)}",
        f"w {call.source}",
        f"w {call.destination}",
        p.pubkey(pool, 88),
        p.pubkey(pool, 120),
        f"w {p.pubkey(pool, 552)}",
        program.id,
        f"s {WALLET}",
        TOKEN,
        TOKEN,
        MEMO,
        "D1ZN9Wj1fRSUQfCjhvnu1hqDMT7hzjzBBpi12nVniYD6",
        program.id,
    ]
    assert written[16:]
    assert all(account.removeprefix("w ") in scene.known for account in written[16:])


def test_damm_v2_names_what_the_program_expects() -> None:
    limited = 0
    for scene in SCENES["damm_v2"]:
        program, pool, call = PROGRAMS["damm_v2"], scene.known[scene.pool].data, call_of(scene)
        mint_a, mint_b = program.mints(scene.known[scene.pool])
        sees_amounts = pool[16] == 2 and call.mint_in == mint_b
        limited += sees_amounts
        assert shown(program.swap(call, scene.known)) == [
            damm_v2.AUTHORITY,
            f"w {scene.pool}",
            f"w {call.source}",
            f"w {call.destination}",
            f"w {p.pubkey(pool, 232)}",
            f"w {p.pubkey(pool, 264)}",
            mint_a,
            mint_b,
            f"s {WALLET}",
            TOKEN,
            TOKEN,
            program.id,
            damm_v2.EVENT_AUTHORITY,
            program.id,
            *(["Sysvar1nstructions1111111111111111111111111"] if sees_amounts else []),
        ]
    assert limited


# ---- accounts


@pytest.mark.parametrize("kind", PROGRAMS)
def test_every_program_is_found_by_kind_and_by_address(kind: str) -> None:
    program, scene = PROGRAMS[kind], SCENES[kind][0]
    assert program.kind == kind
    assert by_id(program.id) is program
    assert by_id(SYSTEM) is None
    pool = scene.known[scene.pool]
    assert program.is_pool(pool)
    assert not program.is_pool(Account(SYSTEM, pool.data))
    assert not program.is_pool(Account(program.id, pool.data[:-1]))
    assert [other.kind for other in PROGRAMS.values() if other.is_pool(pool)] == [kind]
    assert len(pool.data) == program.pool_bytes
    assert program.mints(pool) == tuple(Mint(p.pubkey(pool.data, at)) for at in program.mint_offsets)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_two_rounds_of_asking_find_all_that_is_needed(kind: str) -> None:
    """As an adapter does: what is told is fetched, until nothing new is told."""
    program = PROGRAMS[kind]
    assert program.linked(SCENES[kind][0].pool, {}) == ()
    for scene in SCENES[kind]:
        known, told = {scene.pool: scene.known[scene.pool]}, list[tuple[str, ...]]()
        for _ in range(3):
            told.append(program.linked(scene.pool, known))
            known |= {address: scene.known[address] for address in told[-1] if address in scene.known}
        assert set(told[1]) == set(told[2])
        try:
            assert program.decode(scene.pool, known) == direct(scene, known)
        except PoolRefused:
            with pytest.raises(PoolRefused):
                direct(scene, known)


CURVES = {"amm_v4": AmmV4Pool, "cpmm": CpmmPool, "clmm": ClmmPool, "dlmm": DlmmPool, "damm_v2": DammV2Pool}


def direct(scene: Scene, known: Accounts) -> Pool:
    """By the curve's own decode, with the accounts picked here."""
    owner, pool = known[scene.pool].owner, known[scene.pool].data
    arrays = [each.data for each in known.values() if is_array(each)]
    extension = next((each.data for each in known.values() if len(each.data) == 1_832), None)
    curve: Any = CURVES[scene.kind]
    named = dict(zip(("vault_0_account", "vault_1_account", "config_account"), curve.linked(pool), strict=False))
    parts: dict[str, Any] = {name: known[address].data for name, address in named.items()}
    if curve is ClmmPool:
        parts |= {"tick_array_accounts": arrays, "extension_account": extension}
    if curve is DlmmPool:
        parts |= {"bin_array_accounts": arrays}
    decoded: Pool = curve.decode(address=scene.pool, owner=owner, pool_account=pool, **parts)
    return decoded


def test_a_swap_needs_no_array_that_it_does_not_name() -> None:
    """With the named ones alone the pool gives the same quote: the curve refuses what looks into another one."""
    checked = 0
    for scene, pool in with_arrays():
        program, call = PROGRAMS[scene.kind], call_of(scene)
        named = {str(key) for key in keys_of(program.swap(call, scene.known, spare=0))}
        seen = {at: each for at, each in scene.known.items() if at in named or not is_array(each)}
        assert quote(program.decode(scene.pool, seen), call, scene) == quote(pool, call, scene)
        checked += 1
    assert checked > 200


def test_a_swap_names_no_array_that_it_does_not_need() -> None:
    """But for the one of the price itself, and those to spare: one beyond the others, then one before them."""
    several = beyond = before = 0
    for scene, _ in with_arrays():
        program, call = PROGRAMS[scene.kind], call_of(scene)
        least, more, most = (
            [str(key) for key in keys_of(program.swap(call, scene.known, spare=spare)) if is_named_array(scene, key)]
            for spare in (0, 1, 2)
        )
        assert more[: len(least)] == least
        assert most[-len(more) :] == more
        assert len(most) <= len(more) + 1 <= len(least) + 2
        assert most == sorted(most, key=lambda each: index_of(scene.known[each]), reverse=is_down(scene))
        beyond, before = beyond + (more != least), before + (most != more)
        if len(least) > 1:
            several += 1
            short = {at: each for at, each in scene.known.items() if at != least[-1]}
            with pytest.raises(PoolRefused):
                quote(program.decode(scene.pool, short), call, scene)
    assert several > 20
    assert beyond > 20
    assert before > 20


def is_down(scene: Scene) -> bool:
    return scene.mint_in == PROGRAMS[scene.kind].mints(scene.known[scene.pool])[0]


def index_of(array: Account) -> int:
    """A tick array's first tick, a bin array's number."""
    at, size = (40, 4) if len(array.data) == 10_240 else (8, 8)
    return int.from_bytes(array.data[at : at + size], "little", signed=True)


def is_array(account: Account) -> bool:
    return len(account.data) in (10_240, 10_136)


def is_named_array(scene: Scene, key: Pubkey) -> bool:
    return str(key) in scene.known and is_array(scene.known[str(key)])


def test_arrays_beyond_the_pools_own_bitmap_come_with_its_extension() -> None:
    with_it = without = 0
    for scene, pool in with_arrays():
        if not isinstance(pool, ClmmPool) or clmm.extension_of(scene.pool) not in scene.known:
            continue
        named = [str(key) for key in keys_of(PROGRAMS["clmm"].swap(call_of(scene), scene.known))]
        starts = [
            int.from_bytes(scene.known[each].data[40:44], "little", signed=True) // (60 * pool.tick_spacing)
            for each in named
            if each in scene.known and is_array(scene.known[each])
        ]
        far = any(not -512 <= number < 512 for number in (*starts, pool.tick_current // (60 * pool.tick_spacing)))
        assert (named[13] == clmm.extension_of(scene.pool)) is far
        with_it, without = with_it + far, without + (not far)
    assert with_it
    assert without


# ---- refusals


@pytest.mark.parametrize("kind", PROGRAMS)
def test_what_is_not_known_is_refused(kind: str) -> None:
    program = PROGRAMS[kind]
    scene = FINE[kind]
    call, pool = call_of(scene), scene.known[scene.pool]
    vault = program.linked(scene.pool, scene.known)[0]
    theirs = Account(str(TOKEN_2022), scene.known[vault].data)
    without = {at: each for at, each in scene.known.items() if at != vault}
    for known in (without, {**scene.known, vault: theirs}, {**scene.known, scene.pool: Account(SYSTEM, pool.data)}, {}):
        with pytest.raises(PoolRefused) as refusal:
            program.decode(scene.pool, known)
        assert refusal.value.code is Code.POOL_REFUSED
    wrong = (
        msgspec.structs.replace(call, mint_out=call.mint_in),
        msgspec.structs.replace(call, mint_in=Mint(WALLET)),
        msgspec.structs.replace(call, limit=Atoms(2**64)),
        msgspec.structs.replace(call, pool=WALLET),
    )
    for each in wrong:
        with pytest.raises(PoolRefused):
            program.swap(each, scene.known)


def test_a_direction_that_nothing_tells_is_refused() -> None:
    for kind in ("amm_v4", "dlmm", "damm_v2"):
        scene = FINE[kind]
        written = PROGRAMS[kind].swap(call_of(scene), scene.known)
        with pytest.raises(PoolRefused):
            PROGRAMS[kind].read(keys_of(written), bytes(written.data), {})


def test_a_price_limit_is_refused_and_a_partial_fill_is_no_swap_of_ours() -> None:
    scene = FINE["clmm"]
    written = PROGRAMS["clmm"].swap(call_of(scene), scene.known)
    limited = bytes(written.data)[:24] + b"\x01" + bytes(written.data)[25:]
    with pytest.raises(PoolRefused):
        PROGRAMS["clmm"].read(keys_of(written), limited, {})
    scene = SCENES["damm_v2"][0]
    written = PROGRAMS["damm_v2"].swap(call_of(scene), scene.known)
    assert PROGRAMS["damm_v2"].read(keys_of(written), bytes(written.data)[:24] + b"\x01", {}) is None


def test_lamports_sent_to_an_unused_address_do_not_make_it_an_array() -> None:
    """Anyone may do that; the pool then must not be refused."""
    scene = next(scene for scene in SCENES["clmm"] if not scene.error and len(scene.known) > 5)
    extension = clmm.extension_of(scene.pool)
    without = {at: each for at, each in scene.known.items() if at != extension}
    program = PROGRAMS["clmm"]
    assert program.decode(scene.pool, without | {extension: Account(SYSTEM, b"")}) == program.decode(
        scene.pool, without
    )


# ---- the instructions around a swap, run by the token programs that every virtual machine has


def test_sol_is_wrapped_and_unwrapped() -> None:
    machine, keypair = LiteSVM(), Keypair.from_seed(b"\x01" * 32)
    owner, lamports = str(keypair.pubkey()), 3_000_000_000
    machine.airdrop(keypair.pubkey(), lamports)
    native = bytes(44) + bytes([9, 1]) + bytes(36)
    machine.set_account(Pubkey.from_string(NATIVE_MINT), MachineAccount(10**9, native, token.TOKEN_PROGRAM))
    wrapped = associated(owner, NATIVE_MINT)

    def send(*instructions: Instruction) -> None:
        message = MessageV0.try_compile(keypair.pubkey(), instructions, [], machine.latest_blockhash())
        result = machine.send_transaction(VersionedTransaction(message, [keypair]))
        assert isinstance(result, TransactionMetadata), result.err()

    create = token.create_associated(owner, owner, NATIVE_MINT)
    send(token.unit_limit(100_000), token.unit_price(1), create, token.memo("once"))
    send(create, token.pay(owner, wrapped, Atoms(1_000_000_000)), token.sync_native(wrapped), token.memo("again"))
    account = machine.get_account(Pubkey.from_string(wrapped))
    assert account is not None
    assert p.u64(account.data, 64) == 1_000_000_000
    assert p.pubkey(account.data, 0) == NATIVE_MINT
    send(token.close_account(wrapped, owner))
    closed = machine.get_account(Pubkey.from_string(wrapped))
    assert closed is None or closed.lamports == 0
    assert machine.get_balance(keypair.pubkey()) == lamports - 3 * 5_000 - 1


def test_an_account_of_token_2022_lies_elsewhere() -> None:
    assert associated(WALLET, NATIVE_MINT) != associated(WALLET, NATIVE_MINT, TOKEN_2022)

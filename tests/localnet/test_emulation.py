"""Swaps of programs that are not there: what a transaction moves, what it leaves, and that a failed one leaves nothing.

The chain is a real bank over the virtual machine, without any program's binary; pools are the planted market. That the
binaries themselves do the same, byte for byte, is tests/programs' to show.
"""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.account import Account as Held
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from fillwright.adapters.sim.listing import BONK, MSOL, SOL, USDC, USDT
from fillwright.localnet import genesis
from fillwright.localnet.bank import Bank, Landed, Rules
from fillwright.localnet.emulation import emulate
from fillwright.localnet.machine import Machine
from fillwright.localnet.planting import Planted, token_account
from fillwright.order import Mode
from fillwright.pools import ChainTime, Pool
from fillwright.programs import PROGRAMS, Account, Accounts, SwapCall, token
from fillwright.units import NATIVE_MINT, Atoms, Mint

KINDS = ("amm_v4", "cpmm", "clmm", "dlmm", "damm_v2")
START = 1_780_000_000
FEE = 5_000


class Chain:
    """A bank with the market, and a wallet with tokens."""

    def __init__(self) -> None:
        rules = Rules(confirmed_after=1, finalized_after=4)
        self.bank = Bank(
            Machine(), rules=rules, first_slot=400_000_000, first_height=370_000_000, unix_seconds=START, seed=b"1"
        )
        self.planted = genesis.plant_market(self.bank)
        self.wallet = Keypair.from_seed(bytes(32))
        self.me = str(self.wallet.pubkey())
        self.bank.write(self.wallet.pubkey(), Held(10**12, b"", Pubkey.default()))
        for mint in genesis.DECIMALS:
            if mint != NATIVE_MINT:
                genesis.put(self.bank, {self.holding(mint): token_account(self.me, mint, 10**13)})
        self.bank.produce(START)

    def holding(self, mint: Mint) -> str:
        return token.associated(self.me, mint)

    def read(self, address: str) -> Account | None:
        found = self.bank.machine.account(Pubkey.from_string(address))
        return Account(str(found.owner), bytes(found.data)) if found else None

    def lamports(self, address: str) -> int:
        found = self.bank.machine.account(Pubkey.from_string(address))
        return found.lamports if found else 0

    def amount(self, mint: Mint) -> int:
        account = self.read(self.holding(mint))
        return int.from_bytes(account.data[64:72], "little") if account else 0

    def find(self, kind: str, mint_0: Mint, mint_1: Mint) -> Planted:
        pair = {mint_0, mint_1}
        return next(p for p in self.planted if p.pool.kind == kind and {p.pool.mint_0, p.pool.mint_1} == pair)

    def known(self, planted: Planted) -> Accounts:
        found = {address: self.read(address) for address in planted.accounts}
        return {address: account for address, account in found.items() if account}

    def pool(self, planted: Planted) -> Pool:
        return PROGRAMS[planted.pool.kind].decode(planted.pool.address, self.known(planted))

    @property
    def next_time(self) -> ChainTime:
        return ChainTime(slot=self.bank.tip.slot + 1, unix_seconds=START)

    def swap(self, planted: Planted, mint_in: Mint, amount: int, limit: int, mode: Mode = Mode.EXACT_IN) -> Instruction:
        pool = planted.pool
        call = SwapCall(
            pool=pool.address,
            mode=mode,
            mint_in=mint_in,
            mint_out=pool.mint_1 if mint_in == pool.mint_0 else pool.mint_0,
            amount=Atoms(amount),
            limit=Atoms(limit),
            owner=self.me,
            source=self.holding(mint_in),
            destination=self.holding(pool.mint_1 if mint_in == pool.mint_0 else pool.mint_0),
        )
        return PROGRAMS[pool.kind].swap(call, self.known(planted))

    def send(self, *instructions: Instruction) -> Landed:
        """In the next block."""
        message = MessageV0.try_compile(self.wallet.pubkey(), instructions, [], self.bank.tip.hash)
        self.bank.receive(VersionedTransaction(message, [self.wallet]))
        (landed,) = self.bank.produce(START).transactions
        return landed

    def everything(self) -> dict[str, bytes]:
        """Of wallet and market, but for the lamports that the fee takes."""
        found = {address: self.read(address) for planted in self.planted for address in planted.accounts}
        found |= {mint: self.read(self.holding(mint)) for mint in genesis.DECIMALS}
        return {address: account.data for address, account in found.items() if account}


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("kind", KINDS)
def test_a_swap_pays_and_gives_what_was_quoted_and_moves_the_pool(chain: Chain, kind: str, mode: Mode) -> None:
    mints = (MSOL.mint, USDC.mint) if kind in ("amm_v4", "dlmm") else (USDC.mint, USDT.mint)
    planted = chain.find(kind, *mints) if kind != "clmm" else chain.find(kind, SOL.mint, USDC.mint)
    if kind == "clmm":
        genesis.put(chain.bank, {chain.holding(SOL.mint): token_account(chain.me, SOL.mint, 10**10)})
    mint_in, pool = planted.pool.mint_0, chain.pool(planted)
    mint_out = planted.pool.mint_1
    ask, act = (pool.quote_in, pool.swap_in) if mode is Mode.EXACT_IN else (pool.quote_out, pool.swap_out)
    amount = Atoms(1_000_000)
    quote = ask(amount, mint_in, chain.next_time)
    limit = quote.amount_out if mode is Mode.EXACT_IN else quote.amount_in
    paid, got, lamports = chain.amount(mint_in), chain.amount(mint_out), chain.lamports(chain.me)

    landed = chain.send(chain.swap(planted, mint_in, amount, limit, mode))

    assert landed.executed.err is None
    assert (paid - chain.amount(mint_in), chain.amount(mint_out) - got) == (quote.amount_in, quote.amount_out)
    assert (landed.executed.fee, lamports - chain.lamports(chain.me)) == (FEE, FEE)
    now = ChainTime(slot=landed.slot, unix_seconds=landed.unix_seconds)
    assert chain.pool(planted) == act(amount, mint_in, now)[1]
    assert (
        str(landed.transaction.signatures[0])
        == landed.signature
        == str(chain.wallet.sign_message(bytes(landed_message(landed))))
    )


def landed_message(landed: Landed) -> bytes:
    """What the wallet signed: a versioned message begins with its version."""
    return b"\x80" + bytes(landed.transaction.message)


def test_two_swaps_of_one_transaction_see_each_other_and_the_tokens_between_them(chain: Chain) -> None:
    first, second = chain.find("cpmm", USDC.mint, USDT.mint), chain.find("damm_v2", USDC.mint, USDT.mint)
    mint_in, mint_out = first.pool.mint_0, first.pool.mint_1
    once, pool = chain.pool(first).swap_in(Atoms(5_000_000), mint_in, chain.next_time)
    twice, _ = pool.swap_in(Atoms(5_000_000), mint_in, chain.next_time)
    assert twice.amount_out < once.amount_out
    bought = once.amount_out + twice.amount_out
    back = chain.pool(second).quote_in(Atoms(bought), mint_out, chain.next_time)
    genesis.put(chain.bank, {chain.holding(mint_out): token_account(chain.me, mint_out, 0)})
    before = chain.amount(mint_in)

    landed = chain.send(
        chain.swap(first, mint_in, 5_000_000, once.amount_out),
        chain.swap(first, mint_in, 5_000_000, twice.amount_out),
        chain.swap(second, mint_out, bought, back.amount_out),
    )

    assert landed.executed.err is None
    assert chain.amount(mint_out) == 0
    assert chain.amount(mint_in) == before - 10_000_000 + back.amount_out


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize(
    ("kind", "codes"),
    [
        ("amm_v4", (30, 30)),
        ("cpmm", (6005, 6005)),
        ("clmm", (6022, 6023)),
        ("dlmm", (6003, 6104)),
        ("damm_v2", (6002, 6002)),
    ],
)
def test_a_limit_that_is_missed_by_one_atom_undoes_everything_but_the_fee(
    chain: Chain, kind: str, codes: tuple[int, int], mode: Mode
) -> None:
    genesis.put(chain.bank, {chain.holding(SOL.mint): token_account(chain.me, SOL.mint, 10**10)})
    planted = chain.find(kind, SOL.mint, USDC.mint)
    good = chain.find("dlmm" if kind == "cpmm" else "cpmm", SOL.mint, USDC.mint)
    ask = chain.pool(planted).quote_in if mode is Mode.EXACT_IN else chain.pool(planted).quote_out
    quote = ask(Atoms(1_000_000), SOL.mint, chain.next_time)
    limit = quote.amount_out + 1 if mode is Mode.EXACT_IN else quote.amount_in - 1
    before, lamports = chain.everything(), chain.lamports(chain.me)

    landed = chain.send(
        token.memo("first"),
        chain.swap(good, SOL.mint, 1_000, 0),
        chain.swap(planted, SOL.mint, 1_000_000, limit, mode),
        token.memo("last"),
    )

    code = codes[0] if mode is Mode.EXACT_IN else codes[1]
    assert code in PROGRAMS[kind].limit_codes
    assert landed.executed.err == {"InstructionError": [2, {"Custom": code}]}
    assert chain.everything() == before
    assert lamports - chain.lamports(chain.me) == landed.executed.fee == FEE


def test_who_has_too_little_fails_as_the_token_program_says_and_pays_the_fee(chain: Chain) -> None:
    planted = chain.find("amm_v4", MSOL.mint, USDC.mint)
    genesis.put(chain.bank, {chain.holding(MSOL.mint): token_account(chain.me, MSOL.mint, 999_999)})
    before, lamports = chain.everything(), chain.lamports(chain.me)
    landed = chain.send(token.memo("first"), chain.swap(planted, MSOL.mint, 1_000_000, 0))
    assert landed.executed.err == {"InstructionError": [1, {"Custom": 1}]}
    assert chain.everything() == before
    assert lamports - chain.lamports(chain.me) == FEE


@pytest.mark.parametrize(("lamports", "left"), [(FEE - 1, FEE - 1), (FEE, 0)])
def test_what_emulation_costs_is_lent_and_never_given(chain: Chain, lamports: int, left: int) -> None:
    planted = chain.find("amm_v4", MSOL.mint, USDC.mint)
    swap = chain.swap(planted, MSOL.mint, 10**9, 1)
    chain.bank.write(chain.wallet.pubkey(), Held(lamports, b"", Pubkey.default()))
    message = MessageV0.try_compile(chain.wallet.pubkey(), [swap], [], chain.bank.tip.hash)
    transaction = VersionedTransaction(message, [chain.wallet])
    chain.bank.machine.simulate(transaction, chain.bank.machine.named(transaction))
    assert chain.lamports(chain.me) == lamports
    chain.bank.receive(transaction)
    chain.bank.produce(START)
    assert len(chain.bank.tip.transactions) == (left == 0)
    assert chain.lamports(chain.me) == left


def test_sol_is_wrapped_swapped_and_unwrapped_in_one_transaction(chain: Chain) -> None:
    """Lamports become BONK, and BONK lamports; accounts of wrapped SOL are made and closed on the way."""
    planted = chain.find("amm_v4", BONK.mint, SOL.mint)
    lamports, bonk = chain.lamports(chain.me), chain.amount(BONK.mint)
    quote = chain.pool(planted).quote_in(Atoms(10**9), SOL.mint, chain.next_time)
    wrapped = chain.holding(SOL.mint)

    sold = chain.send(
        token.create_associated(chain.me, chain.me, SOL.mint),
        token.pay(chain.me, wrapped, Atoms(10**9)),
        token.sync_native(wrapped),
        chain.swap(planted, SOL.mint, 10**9, quote.amount_out),
        token.close_account(wrapped, chain.me),
    )

    assert sold.executed.err is None
    assert chain.amount(BONK.mint) - bonk == quote.amount_out
    assert lamports - chain.lamports(chain.me) == 10**9 + FEE
    assert chain.read(wrapped) is None

    quote = chain.pool(planted).quote_in(Atoms(bonk), BONK.mint, chain.next_time)
    lamports = chain.lamports(chain.me)
    bought = chain.send(
        token.create_associated(chain.me, chain.me, SOL.mint),
        chain.swap(planted, BONK.mint, bonk, quote.amount_out),
        token.close_account(wrapped, chain.me),
    )
    assert bought.executed.err is None
    assert chain.lamports(chain.me) - lamports == quote.amount_out - FEE


def test_the_log_tells_of_the_programs_that_were_asked_for(chain: Chain) -> None:
    planted = chain.find("damm_v2", USDC.mint, USDT.mint)
    program, mint_in = PROGRAMS["damm_v2"].id, planted.pool.mint_0
    landed = chain.send(token.memo("x"), chain.swap(planted, mint_in, 1_000_000, 0), token.memo("y"))
    top = [line for line in landed.executed.logs if line.endswith("invoke [1]")]
    assert top == [f"Program {each} invoke [1]" for each in (token.MEMO, program, token.MEMO)]
    assert landed.executed.logs.count(f"Program {token.TOKEN_PROGRAM} invoke [2]") == 2
    assert f"Program {program} success" in landed.executed.logs

    landed = chain.send(chain.swap(planted, mint_in, 1_000_000, 10**12))
    assert landed.executed.logs[0] == f"Program {program} invoke [1]"
    assert landed.executed.logs[-1] == f"Program {program} failed: custom program error: 0x1772"


def test_a_lookup_table_tells_the_accounts_as_well(chain: Chain) -> None:
    planted = chain.find("cpmm", USDC.mint, USDT.mint)
    swap = chain.swap(planted, planted.pool.mint_0, 1_000_000, 0)
    table = Pubkey.from_string("TabLe11111111111111111111111111111111111111")
    named = [meta.pubkey for meta in swap.accounts if not meta.is_signer]
    head = (1).to_bytes(4, "little") + b"\xff" * 8 + bytes(44)
    owner = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
    chain.bank.write(table, Held(10**9, head + b"".join(map(bytes, named)), owner))
    tables = [AddressLookupTableAccount(table, named)]
    message = MessageV0.try_compile(chain.wallet.pubkey(), [swap], tables, chain.bank.tip.hash)
    assert message.address_table_lookups
    before = chain.amount(planted.pool.mint_0)
    chain.bank.receive(VersionedTransaction(message, [chain.wallet]))
    (landed,) = chain.bank.produce(START).transactions
    assert landed.executed.err is None
    assert chain.amount(planted.pool.mint_0) == before - 1_000_000


def cut_short(swap: Instruction) -> Instruction:
    return Instruction(swap.program_id, swap.data[:-1], swap.accounts)


def other_vault(swap: Instruction) -> Instruction:
    accounts = list(swap.accounts)
    accounts[3] = accounts[4]
    return Instruction(swap.program_id, swap.data, accounts)


def unknown(swap: Instruction) -> Instruction:
    return Instruction(swap.program_id, b"\xff" + swap.data[1:], swap.accounts)


@pytest.mark.parametrize("mangled", [cut_short, other_vault, unknown])
def test_what_is_no_swap_of_the_program_fails_and_moves_nothing(
    chain: Chain, mangled: Callable[[Instruction], Instruction]
) -> None:
    planted = chain.find("amm_v4", MSOL.mint, USDC.mint)
    before = chain.everything()
    landed = chain.send(mangled(chain.swap(planted, MSOL.mint, 1_000_000, 0)))
    assert landed.executed.err is not None
    assert landed.executed.err["InstructionError"][0] == 0
    assert chain.everything() == before


def test_an_array_that_is_not_named_is_not_swapped_with(chain: Chain) -> None:
    """As the program would: it knows no more than the accounts that it is given."""
    planted = chain.find("dlmm", MSOL.mint, USDC.mint)
    whole = chain.swap(planted, MSOL.mint, 1_000_000, 0)
    landed = chain.send(Instruction(whole.program_id, whole.data, whole.accounts[:16]))
    assert landed.executed.err is not None
    assert chain.send(whole).executed.err is None


def test_a_fork_takes_swaps_back(chain: Chain) -> None:
    planted = chain.find("dlmm", MSOL.mint, USDC.mint)
    before = chain.everything()
    assert chain.send(chain.swap(planted, MSOL.mint, 1_000_000, 0)).executed.err is None
    assert chain.everything() != before
    chain.bank.fork(1)
    assert chain.everything() == before


HOSTILE = Chain()


@settings(max_examples=300, deadline=None)
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_whatever_a_swap_program_is_asked_is_answered(kind: str, data: st.DataObject) -> None:
    """Bytes and accounts in any disorder: what comes of it is a transaction, at worst one that fails."""
    chain = HOSTILE
    whole = chain.swap(chain.find(kind, SOL.mint, USDC.mint), SOL.mint, 1_000_000, 0)
    at = data.draw(st.integers(0, len(whole.data)))
    mangled = whole.data[:at] + data.draw(st.binary(max_size=24)) + whole.data[at + data.draw(st.integers(0, 24)) :]
    accounts = list(whole.accounts)
    for _ in range(data.draw(st.integers(0, 3))):
        one, other = (data.draw(st.integers(0, len(accounts) - 1)) for _ in range(2))
        accounts[one] = accounts[other]
    asked = Instruction(whole.program_id, mangled, accounts[: data.draw(st.integers(0, len(accounts)))])
    message = MessageV0.try_compile(chain.wallet.pubkey(), [asked], [], chain.bank.tip.hash)
    emulated = emulate(message, chain.read, chain.next_time, lambda program: False)
    assert emulated is not None
    assert set(emulated.origin) == {0}
    assert emulated.refusal is None or not emulated.writes


@settings(max_examples=400, deadline=None)
@given(kind=st.sampled_from(KINDS), down=st.booleans(), mode=st.sampled_from(Mode), data=st.data())
def test_whatever_a_pools_accounts_hold_a_swap_is_answered(
    kind: str, down: bool, mode: Mode, data: st.DataObject
) -> None:
    """Whoever runs a localnet may set accounts to anything."""
    chain = HOSTILE
    planted = chain.find(kind, SOL.mint, USDC.mint)
    swap = chain.swap(planted, SOL.mint if down else USDC.mint, 1_000_000, 0 if mode is Mode.EXACT_IN else 10**12, mode)
    broken: dict[str, Account] = {}
    for _ in range(data.draw(st.integers(1, 3))):
        address = data.draw(st.sampled_from(sorted(planted.accounts)))
        account = broken.get(address) or chain.read(address)
        assert account is not None
        at = data.draw(st.integers(0, min(len(account.data) - 1, 1_200)))
        piece = data.draw(st.binary(min_size=1, max_size=16))
        broken[address] = Account(account.owner, (account.data[:at] + piece + account.data[at:])[: len(account.data)])
        if data.draw(st.booleans()):
            filled = account.data[:at] + piece + account.data[at + len(piece) :]
            broken[address] = Account(account.owner, filled[: len(account.data)])
    message = MessageV0.try_compile(chain.wallet.pubkey(), [swap], [], chain.bank.tip.hash)
    assert emulate(message, lambda of: broken.get(of) or chain.read(of), chain.next_time, lambda _: False) is not None


def test_a_program_whose_binary_is_there_is_left_alone(chain: Chain) -> None:
    swap = chain.swap(chain.find("cpmm", USDC.mint, USDT.mint), USDC.mint, 1_000_000, 0)
    message = MessageV0.try_compile(chain.wallet.pubkey(), [swap], [], chain.bank.tip.hash)
    assert emulate(message, chain.read, chain.next_time, lambda program: program == PROGRAMS["cpmm"].id) is None

"""What a localnet begins with, and who else is about: pools that are whole, prices that move, newcomers and traps."""

from collections import Counter

import pytest
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from fillwright.adapters.sim.market import default_market
from fillwright.localnet import genesis
from fillwright.localnet.balances import holding_of, is_mint, supply_of
from fillwright.localnet.bank import WAITING_MAX, Bank, Block, Refused
from fillwright.localnet.crowd import Crowd, prepare
from fillwright.localnet.emulation import SYSTEM
from fillwright.localnet.newcomers import Newcomer, Trap, newcomer
from fillwright.localnet.planting import Planted, token_account
from fillwright.order import Mode
from fillwright.pools import ChainTime, Pool
from fillwright.pools.pool import TOKEN_PROGRAM, pubkey, u64, u128
from fillwright.programs import PROGRAMS, Account, SwapCall, token
from fillwright.units import NATIVE_MINT, Atoms, Mint
from tests.localnet.chain import funded, make_bank, payment, produce, signed


def read(bank: Bank, address: str) -> Account | None:
    held = bank.machine.account(Pubkey.from_string(address))
    return Account(str(held.owner), held.data) if held else None


def pool_of(bank: Bank, planted: Planted) -> Pool:
    known = {address: account for address in planted.accounts if (account := read(bank, address))}
    return PROGRAMS[planted.pool.kind].decode(planted.pool.address, known)


def price(bank: Bank, planted: Planted) -> float:
    pool = pool_of(bank, planted)
    amount_1, amount_0 = pool.spot(pool.mint_0)
    return amount_1 / amount_0


def unbalanced(bank: Bank) -> list[str]:
    """Mints of which there is more or less than accounts hold."""
    accounts = bank.machine.owned(Pubkey.from_string(TOKEN_PROGRAM))
    held: Counter[Pubkey] = Counter()
    for _, account in accounts:
        if holding := holding_of(account):
            held[holding.mint] += holding.amount
    mints = [(key, supply_of(account)) for key, account in accounts if is_mint(account) and str(key) != NATIVE_MINT]
    return [str(key) for key, supply in mints if supply != held[key]]


def run(bank: Bank, crowd: Crowd, blocks: int) -> list[Block]:
    found = []
    for _ in range(blocks):
        crowd.act()
        found.append(bank.produce(bank.tip.unix_seconds + 1))
    return found


def test_every_pool_of_the_market_is_whole_at_the_addresses_that_its_program_derives() -> None:
    """`linked` asks for what the program would; decoding it gives the pool that was planted."""
    bank = make_bank()
    planted = genesis.plant_market(bank)
    assert Counter(each.pool.kind for each in planted) == {"amm_v4": 5, "cpmm": 4, "clmm": 1, "dlmm": 3, "damm_v2": 6}
    for each in planted:
        program, address = PROGRAMS[each.pool.kind], each.pool.address
        known: dict[str, Account] = {}
        asked = {address}
        while asked - known.keys():
            known |= {one: account for one in asked if (account := read(bank, one))}
            asked = {one for one in program.linked(address, known) if read(bank, one)} | {address}
        assert program.decode(address, known) == each.pool
    assert unbalanced(bank) == []


def test_the_trader_moves_prices_and_venues_apart_by_transactions_that_all_succeed() -> None:
    bank, market = make_bank(), default_market(7)
    planted = genesis.plant_market(bank)
    before = [price(bank, each) for each in planted]
    blocks = run(bank, Crowd(bank, planted, seed=7, trade_blocks=1), 12 * len(planted))
    landed = [each for block in blocks for each in block.transactions]
    assert len(landed) > 4 * len(planted)
    assert [each.executed.err for each in landed if each.executed.err] == []
    tick = market.tick(bank.tip.slot - bank.first_slot)
    off = [abs(price(bank, each) / float(market.target(each.pool, tick)) - 1) for each in planted]
    assert max(off) < 0.006, "no further than the fee keeps an arbitrageur away"
    moved = [abs(price(bank, each) / was - 1) for each, was in zip(planted, before, strict=True)]
    assert len([by for by in moved if by > 0.005]) > len(planted) // 2
    sol_usdc = {each.pool.kind: price(bank, each) for each in planted[:5]}
    assert 0.01 < abs(sol_usdc["cpmm"] / sol_usdc["damm_v2"] - 1) < 0.06
    assert unbalanced(bank) == []


def test_the_same_seed_trades_the_same() -> None:
    def traded(seed: int) -> list[bytes]:
        bank = make_bank()
        blocks = run(bank, Crowd(bank, genesis.plant_market(bank), seed=seed, newcomer_blocks=7), 40)
        return [bytes(each.transaction) for block in blocks for each in block.transactions]

    assert traded(1) == traded(1)
    assert traded(1) != traded(2)


def test_nobody_acts_where_nobody_is_asked_for() -> None:
    bank = make_bank()
    blocks = run(bank, Crowd(bank, genesis.plant_market(bank), seed=1, trade_blocks=0), 10)
    assert not any(block.transactions for block in blocks)


def test_a_chain_that_is_too_busy_refuses_the_crowd_and_lives_on() -> None:
    bank = make_bank()
    crowd = Crowd(bank, genesis.plant_market(bank), seed=1)
    wallet = funded(bank)
    sent = signed(wallet, bank.tip.hash, payment(wallet, wallet.pubkey(), 1))
    for _ in range(WAITING_MAX):
        bank.receive(sent)
    with pytest.raises(Refused):
        bank.receive(sent)
    for _ in range(3):
        crowd.act()
    assert len(bank.produce(bank.tip.unix_seconds + 1).transactions) == 1


# --- new pools --------------------------------------------------------------------------------------------


def created(number: int) -> tuple[Bank, Newcomer]:
    """A chain on which this one's pool, and no other, was created in the last block."""
    bank = make_bank()
    new = newcomer(3, number)
    genesis.plant_market(bank)
    prepare(bank, new, is_native=False)
    bank.airdrop(new.creator.pubkey(), 10**9)
    produce(bank)
    assert read(bank, new.planted.pool.address) == Account(SYSTEM, new.planted.accounts[new.planted.pool.address].data)
    send(bank, new)
    return bank, new


def send(bank: Bank, new: Newcomer) -> None:
    message = MessageV0.try_compile(new.creator.pubkey(), [new.creation], [], bank.tip.hash)
    bank.receive(VersionedTransaction(message, [new.creator]))
    produce(bank)


NUMBERS = {trap: next(n for n in range(200) if newcomer(3, n).trap is trap) for trap in (None, *Trap)}
KINDS = {kind: next(n for n in range(50) if newcomer(3, n).planted.pool.kind == kind) for kind in ("cpmm", "damm_v2")}


@pytest.mark.parametrize("kind", KINDS)
def test_a_newcomer_is_created_once_by_its_programs_own_instruction(kind: str) -> None:
    bank, new = created(KINDS[kind])
    address, program = new.planted.pool.address, PROGRAMS[kind]
    (landed,) = bank.tip.transactions
    assert landed.executed.err is None
    assert landed.executed.logs[0] == f"Program {program.id} invoke [1]"
    assert landed.executed.logs[1].startswith("Program log: Instruction: Initialize")
    assert read(bank, address) == new.planted.accounts[address]
    assert pool_of(bank, new.planted) == new.planted.pool

    send(bank, new)
    (again,) = bank.tip.transactions
    assert again.executed.err == {"InstructionError": [0, {"Custom": 101}]}

    bank.fork(2)
    waiting = read(bank, address)
    assert waiting is not None
    assert waiting.owner == SYSTEM


@pytest.mark.parametrize("kind", KINDS)
def test_a_newcomer_can_be_bought_and_sold(kind: str) -> None:
    bank, new = created(KINDS[kind])
    me = str(new.creator.pubkey())
    genesis.put(bank, {token.associated(me, new.against): token_account(me, new.against, 10**6)})
    genesis.put(bank, {token.associated(me, new.mint): token_account(me, new.mint, 0)})
    now = ChainTime(slot=bank.tip.slot + 1, unix_seconds=bank.tip.unix_seconds + 1)
    bought, after = pool_of(bank, new.planted).swap_in(Atoms(10**6), new.against, now)
    sold = after.quote_in(bought.amount_out, new.mint, now)
    known = {address: account for address in new.planted.accounts if (account := read(bank, address))}
    instructions = []
    for mint_in, mint_out, amount in ((new.against, new.mint, 10**6), (new.mint, new.against, bought.amount_out)):
        call = SwapCall(
            pool=after.address,
            mode=Mode.EXACT_IN,
            mint_in=mint_in,
            mint_out=mint_out,
            amount=Atoms(amount),
            limit=Atoms(1),
            owner=me,
            source=token.associated(me, mint_in),
            destination=token.associated(me, mint_out),
        )
        instructions.append(PROGRAMS[kind].swap(call, known))
    message = MessageV0.try_compile(new.creator.pubkey(), instructions, [], bank.tip.hash)
    bank.receive(VersionedTransaction(message, [new.creator]))
    produce(bank)
    assert [each.executed.err for each in bank.tip.transactions] == [None]
    assert amount_of(bank, me, new.mint) == 0
    assert amount_of(bank, me, new.against) == sold.amount_out


def amount_of(bank: Bank, owner: str, mint: Mint) -> int:
    account = read(bank, token.associated(owner, mint))
    assert account is not None
    return u64(account.data, 64)


@pytest.mark.parametrize("trap", NUMBERS)
def test_what_a_newcomer_is_stands_in_its_accounts(trap: Trap | None) -> None:
    bank, new = created(NUMBERS[trap])
    mint, pool = read(bank, new.mint), read(bank, new.planted.pool.address)
    assert mint is not None
    assert pool is not None
    assert bool(mint.data[0]) == (trap is Trap.MINTABLE)
    assert bool(mint.data[46]) == (trap is Trap.FREEZABLE)
    assert locked(bank, new, pool.data) == (trap is not Trap.UNLOCKED)
    deep = 20 * 10**9 if new.against == NATIVE_MINT else 2_000 * 10**6
    reserves = new.planted.pool.reserves()
    reserve = reserves[0] if new.planted.pool.mint_0 == new.against else reserves[1]
    assert (reserve < deep // 100) == (trap is Trap.SHALLOW)
    assert unbalanced(bank) == []


def locked(bank: Bank, new: Newcomer, pool: bytes) -> bool:
    if new.planted.pool.kind == "damm_v2":
        return u128(pool, 552) == u128(pool, 360) > 0
    shares = read(bank, pubkey(pool, 136))
    assert shares is not None
    assert u64(pool, 333) > 0
    return u64(shares.data, 36) == 0


def test_the_crowd_creates_newcomers_as_time_goes_by() -> None:
    bank = make_bank()
    crowd = Crowd(bank, genesis.plant_market(bank), seed=3, trade_blocks=0, newcomer_blocks=5)
    landed = [each for block in run(bank, crowd, 50) for each in block.transactions]
    assert [each.executed.err for each in landed] == [None] * 10
    assert len({each.signature for each in landed}) == 10

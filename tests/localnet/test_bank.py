"""The chain's own rules: when a transaction lands, that it lands once, and what a fork takes back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from fillwright.localnet.bank import VALID_BLOCKS, Bank, Commitment, Refused
from fillwright.localnet.control import executed_orders
from tests.localnet.chain import (
    FIRST_HEIGHT,
    SOL,
    bid,
    funded,
    lamports,
    lookup_table,
    make_bank,
    payment,
    produce,
    signed,
)

FEE = 5_000


def test_what_was_received_lands_in_the_next_block_and_pays_its_fee() -> None:
    bank = make_bank()
    wallet, friend = funded(bank), Keypair().pubkey()
    sent = signed(wallet, bank.tip.hash, payment(wallet, friend, SOL))
    bank.receive(sent)
    assert lamports(bank, friend) == 0
    produce(bank)
    assert lamports(bank, friend) == SOL
    assert lamports(bank, wallet.pubkey()) == 9 * SOL - FEE
    landed = bank.view("processed").landed(str(sent.signatures[0]))
    assert landed is not None
    assert landed.executed.err is None
    assert landed.executed.fee == FEE
    assert (landed.lamports_before[:2], landed.lamports_after[:2]) == ([10 * SOL, 0], [9 * SOL - FEE, SOL])


def test_a_priority_fee_is_taken_and_told() -> None:
    bank = make_bank()
    wallet = funded(bank)
    bank.receive(signed(wallet, bank.tip.hash, *bid(2_000_000), payment(wallet, Keypair().pubkey(), SOL)))
    produce(bank)
    (landed,) = bank.tip.transactions
    assert landed.executed.fee == FEE + 2_000
    assert bank.priority_fees(frozenset([wallet.pubkey()]))[-1] == (bank.tip.slot, 2_000_000)
    of_the_block = bank.priority_fees(frozenset([Keypair().pubkey()]))[-1]
    assert of_the_block == (bank.tip.slot, 2_000_000), "nothing cheaper was let in"


@pytest.mark.parametrize(("blocks_before", "lands"), [(0, True), (VALID_BLOCKS - 1, True), (VALID_BLOCKS, False)])
def test_a_hash_is_good_for_150_blocks_and_no_more(blocks_before: int, lands: bool) -> None:
    bank = make_bank()
    wallet = funded(bank)
    blockhash, last = bank.tip.hash, bank.tip.height + VALID_BLOCKS
    produce(bank, blocks_before)
    sent = signed(wallet, blockhash, payment(wallet, Keypair().pubkey(), SOL))
    bank.receive(sent)
    produce(bank)
    assert (bank.view("processed").landed(str(sent.signatures[0])) is not None) is lands
    assert (bank.tip.height <= last) is lands


def test_an_unknown_hash_and_an_empty_wallet_leave_no_trace() -> None:
    bank = make_bank()
    wallet, pauper = funded(bank), Keypair()
    for sent in (
        signed(wallet, Hash.new_unique(), payment(wallet, Keypair().pubkey(), SOL)),
        signed(pauper, bank.tip.hash, payment(pauper, Keypair().pubkey(), 1)),
    ):
        bank.receive(sent)
        produce(bank)
        assert bank.view("processed").landed(str(sent.signatures[0])) is None
    assert lamports(bank, wallet.pubkey()) == 10 * SOL


def test_the_same_transaction_lands_once_however_often_it_is_sent() -> None:
    bank = make_bank()
    wallet, friend = funded(bank), Keypair().pubkey()
    sent = signed(wallet, bank.tip.hash, payment(wallet, friend, SOL))
    for late in (0, 0, 1, 3, 7):
        bank.receive(sent, late_blocks=late)
    produce(bank, 10)
    assert lamports(bank, friend) == SOL


def test_a_late_send_lands_late() -> None:
    bank = make_bank()
    wallet, friend = funded(bank), Keypair().pubkey()
    bank.receive(signed(wallet, bank.tip.hash, payment(wallet, friend, SOL)), late_blocks=3)
    produce(bank, 3)
    assert lamports(bank, friend) == 0
    produce(bank)
    assert lamports(bank, friend) == SOL


def test_a_signature_by_somebody_else_is_refused() -> None:
    bank = make_bank()
    wallet, thief = funded(bank), Keypair()
    honest = signed(wallet, bank.tip.hash, payment(wallet, thief.pubkey(), SOL))
    forged = VersionedTransaction.populate(honest.message, [thief.sign_message(b"anything")])
    with pytest.raises(Refused, match="SignatureFailure"):
        bank.receive(forged)
    produce(bank)
    assert lamports(bank, thief.pubkey()) == 0


def test_more_bytes_than_a_packet_holds_are_refused() -> None:
    bank = make_bank()
    wallet = funded(bank)
    with pytest.raises(Refused, match="SanitizeFailure"):
        bank.receive(signed(wallet, bank.tip.hash, Instruction(Pubkey.default(), bytes(1_200), [])))


def test_a_failed_transaction_lands_pays_its_fee_and_changes_nothing_else() -> None:
    bank = make_bank()
    wallet, friend = funded(bank), Keypair().pubkey()
    sent = signed(wallet, bank.tip.hash, payment(wallet, friend, SOL), payment(wallet, friend, 1_000 * SOL))
    bank.receive(sent)
    produce(bank)
    landed = bank.view("processed").landed(str(sent.signatures[0]))
    assert landed is not None
    assert landed.executed.err == {"InstructionError": [1, {"Custom": 1}]}
    assert (lamports(bank, wallet.pubkey()), lamports(bank, friend)) == (10 * SOL - FEE, 0)


# --- firmness and forks -----------------------------------------------------------------------------------


def test_a_block_is_confirmed_then_final_by_what_lies_above_it() -> None:
    bank = make_bank(confirmed_after=1, finalized_after=4)
    wallet = funded(bank)
    bank.receive(signed(wallet, bank.tip.hash, payment(wallet, Keypair().pubkey(), SOL)))
    produce(bank)
    (landed,) = bank.tip.transactions
    firm = []
    for _ in range(6):
        firm.append(bank.firmness(landed, bank.tip)[0])
        produce(bank)
    assert firm == ["processed", "confirmed", "confirmed", "confirmed", "finalized", "finalized"]


def test_a_reader_at_an_older_block_finds_the_accounts_as_they_were() -> None:
    bank = make_bank(finalized_after=4)
    wallet = funded(bank)
    friend = Keypair().pubkey()
    held = []
    for number in range(1, 9):
        bank.receive(signed(wallet, bank.tip.hash, payment(wallet, friend, number * SOL // 10)))
        produce(bank)
        held.append(lamports(bank, friend))
        depths: tuple[tuple[Commitment, int], ...] = (("processed", 0), ("confirmed", 1), ("finalized", 4))
        for commitment, above in depths:
            view = bank.view(commitment)
            account = view.account(friend)
            expected = held[-1 - above] if above < len(held) else 0
            assert (account.lamports if account else 0) == expected
            assert view.block.height == bank.tip.height - above or view.block.height <= FIRST_HEIGHT + 1
            found = dict(view.owned(Pubkey.default()))
            assert (found[friend].lamports if friend in found else 0) == expected


def test_a_fork_takes_back_what_the_blocks_did_and_the_slots_go_on() -> None:
    bank = make_bank()
    wallet, friend = funded(bank), Keypair().pubkey()
    produce(bank)
    before = lamports(bank, wallet.pubkey())
    height, sent = bank.tip.height, []
    for amount in (SOL, 2 * SOL):
        sent.append(signed(wallet, bank.tip.hash, payment(wallet, friend, amount)))
        bank.receive(sent[-1])
        produce(bank)
    slot = bank.tip.slot
    taken = bank.fork(2)
    assert [landed.signature for landed in taken] == [str(each.signatures[0]) for each in sent]
    assert (lamports(bank, wallet.pubkey()), lamports(bank, friend)) == (before, 0)
    assert bank.tip.height == height
    produce(bank)
    assert (bank.tip.height, bank.tip.slot) == (height + 1, slot + 1)
    assert all(bank.view("processed").landed(str(each.signatures[0])) is None for each in sent)


def test_what_a_fork_took_back_may_land_again_if_its_hash_is_of_the_chain() -> None:
    bank = make_bank()
    wallet, friend = funded(bank), Keypair().pubkey()
    bank.receive(signed(wallet, bank.tip.hash, payment(wallet, friend, SOL)))
    produce(bank)
    of_the_lost_block = signed(wallet, bank.tip.hash, payment(wallet, friend, 2 * SOL))
    bank.receive(of_the_lost_block)
    produce(bank)
    bank.fork(2, again=True)
    produce(bank, 3)
    assert lamports(bank, friend) == SOL


def test_nothing_final_can_be_taken_back() -> None:
    bank = make_bank(finalized_after=4)
    wallet, friend = funded(bank), Keypair().pubkey()
    bank.receive(signed(wallet, bank.tip.hash, payment(wallet, friend, SOL)))
    produce(bank, 5)
    assert len(bank.fork(1_000)) == 0
    assert lamports(bank, friend) == SOL


def test_what_was_final_is_told_so_after_a_fork_as_well() -> None:
    bank = make_bank(finalized_after=4)
    wallet = funded(bank)
    (landed,) = bank.history()
    produce(bank, 6)
    final = bank.view("finalized").block
    assert bank.firmness(landed, bank.tip)[0] == "finalized"
    bank.fork(4)
    assert bank.view("finalized").block == final
    assert bank.firmness(landed, bank.tip)[0] == "finalized"
    account = bank.view("finalized").account(wallet.pubkey())
    assert account is not None
    assert account.lamports == 10 * SOL


def test_a_fork_leaves_no_trace_in_what_names_an_account() -> None:
    bank = make_bank()
    wallet, friend = funded(bank), Keypair().pubkey()
    for _ in range(2):
        bank.receive(signed(wallet, bank.tip.hash, payment(wallet, friend, SOL)))
        produce(bank)
        bank.fork(1)
        produce(bank)
    assert list(bank.view("processed").naming(friend)) == []


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["pay", "block", "fork", "again", "late"]), max_size=40))
def test_whatever_happens_lamports_only_move(steps: list[str]) -> None:
    bank = make_bank()
    wallets = [funded(bank) for _ in range(2)]
    produce(bank, 5)  # what was funded is final
    for number, step in enumerate(steps):
        payer, payee = wallets[number % 2], wallets[1 - number % 2]
        match step:
            case "pay" | "late":
                sent = signed(payer, bank.tip.hash, payment(payer, payee.pubkey(), 10_000 + number))
                bank.receive(sent, late_blocks=5 if step == "late" else 0)
            case "fork" | "again":
                bank.fork(number % 5 + 1, again=step == "again")
            case _:
                produce(bank)
    produce(bank, 6)
    fees = sum(landed.executed.fee for landed in bank.history() if landed.lamports_before[0] < 100 * SOL)
    assert sum(lamports(bank, wallet.pubkey()) for wallet in wallets) + fees == 20 * SOL
    signatures = [landed.signature for landed in bank.history()]
    assert len(signatures) == len(set(signatures))


# --- the rest ---------------------------------------------------------------------------------------------


def test_a_lookup_table_is_followed() -> None:
    bank = make_bank()
    wallet, friend, table = funded(bank), Keypair().pubkey(), Keypair().pubkey()
    bank.write(table, lookup_table([Keypair().pubkey(), friend]))
    known = AddressLookupTableAccount(table, [Keypair().pubkey(), friend])
    message = MessageV0.try_compile(wallet.pubkey(), [payment(wallet, friend, SOL)], [known], bank.tip.hash)
    bank.receive(VersionedTransaction(message, [wallet]))
    produce(bank)
    (landed,) = bank.tip.transactions
    assert (landed.executed.err, lamports(bank, friend)) == (None, SOL)
    assert landed.named.keys[-1] == friend
    assert (landed.named.loaded_writable, landed.named.loaded_readonly) == (1, 0)
    bank.fork(1)
    assert lamports(bank, friend) == 0


def test_only_so_much_waits() -> None:
    bank = make_bank()
    wallet = funded(bank)
    sent = signed(wallet, bank.tip.hash, payment(wallet, Keypair().pubkey(), SOL))
    bank._waiting = [(0, sent)] * 20_000
    with pytest.raises(Refused):
        bank.receive(sent)


def test_orders_that_were_executed_several_times_are_found_by_their_memos() -> None:
    bank = make_bank()
    wallet = funded(bank)
    memo = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
    for text in (b"fw A 1 00000000", b"fw B 1 00000001", b"fw A 2 00000002", b"hello"):
        bank.receive(signed(wallet, bank.tip.hash, Instruction(memo, text, [])))
    produce(bank)
    assert {order: len(found) for order, found in executed_orders(bank).items()} == {"A": 2, "B": 1}


def test_history_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fillwright.localnet.bank.HISTORY_MAX", 50)
    bank = make_bank()
    wallet = funded(bank)
    _pay(bank, wallet, 120)
    assert len(list(bank.history())) == 50
    assert len(list(bank.view("processed").naming(wallet.pubkey()))) == 50


def _pay(bank: Bank, wallet: Keypair, times: int) -> None:
    for number in range(times):
        bank.receive(signed(wallet, bank.tip.hash, payment(wallet, Keypair().pubkey(), 10**6 + number)))
        produce(bank)

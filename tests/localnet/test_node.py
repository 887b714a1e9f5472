"""What a node answers: in Solana's shapes, as firm as it is asked for, and an error for whatever is no question."""

import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from fillwright.adapters.jsonrpc import Dispatcher
from fillwright.localnet.bank import VALID_BLOCKS, Bank
from fillwright.localnet.control import Control, give_tokens
from fillwright.localnet.faults import Dice, Faults
from fillwright.localnet.genesis import plant_market
from fillwright.localnet.node import Node, Personality
from fillwright.localnet.shapes import base58, from_base58
from tests.localnet.chain import CALM, SOL, bid, funded, lamports, lookup_table, make_bank, payment, produce, signed

USDC = Pubkey.from_string("EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v")
TOKEN = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"


class Asker:
    """Asks one node, as JSON."""

    def __init__(self, bank: Bank, personality: Personality = "honest", faults: Faults = CALM) -> None:
        self.bank = bank
        dice = Dice(1, faults)
        own = Control(bank, dice, lambda: produce(bank)).methods() if personality == "honest" else {}
        self._dispatcher = Dispatcher(Node(bank, dice, personality).methods() | own)

    def raw(self, body: bytes) -> Any:
        return json.loads(self._dispatcher.answer(body))

    def whole(self, method: str, *params: object) -> dict[str, Any]:
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        answer: dict[str, Any] = self.raw(json.dumps(asked).encode())
        return answer

    def __call__(self, method: str, *params: object) -> Any:
        answer = self.whole(method, *params)
        assert "error" not in answer, answer
        return answer["result"]

    def error(self, method: str, *params: object) -> dict[str, Any]:
        error: dict[str, Any] = self.whole(method, *params)["error"]
        return error

    def send(self, transaction: VersionedTransaction, **options: object) -> Any:
        return self.whole("sendTransaction", text(transaction), {"encoding": "base64", **options})


def text(transaction: VersionedTransaction) -> str:
    return b64encode(bytes(transaction)).decode()


# --- the chain --------------------------------------------------------------------------------------------


def test_height_and_slot_of_one_bank_are_told_together() -> None:
    ask = Asker(make_bank(finalized_after=4))
    for _ in range(9):
        ask.bank.produce(ask.bank.tip.unix_seconds + 1, skipped_slots=2)
    for commitment, above in (("processed", 0), ("confirmed", 1), ("finalized", 4)):
        told = ask("getEpochInfo", {"commitment": commitment})
        assert told["blockHeight"] == ask.bank.tip.height - above == ask("getBlockHeight", {"commitment": commitment})
        assert told["absoluteSlot"] == ask.bank.tip.slot - 3 * above == ask("getSlot", {"commitment": commitment})
        assert told["epoch"] * told["slotsInEpoch"] + told["slotIndex"] == told["absoluteSlot"]
        blockhash = ask("getLatestBlockhash", {"commitment": commitment})
        assert blockhash["context"]["slot"] == told["absoluteSlot"]
        assert blockhash["value"]["lastValidBlockHeight"] == told["blockHeight"] + VALID_BLOCKS


def test_a_context_slot_that_the_node_has_not_reached_is_refused() -> None:
    ask = Asker(make_bank())
    produce(ask.bank)
    assert ask("getSlot", {"commitment": "processed", "minContextSlot": ask.bank.tip.slot}) == ask.bank.tip.slot
    error = ask.error("getSlot", {"commitment": "processed", "minContextSlot": ask.bank.tip.slot + 1})
    assert (error["code"], error["data"]) == (-32016, {"contextSlot": ask.bank.tip.slot})


def test_a_hash_is_valid_for_as_long_as_it_can_land() -> None:
    ask = Asker(make_bank())
    blockhash = str(ask.bank.tip.hash)
    produce(ask.bank, VALID_BLOCKS - 1)
    assert ask("isBlockhashValid", blockhash, {"commitment": "processed"})["value"] is True
    produce(ask.bank)
    assert ask("isBlockhashValid", blockhash, {"commitment": "processed"})["value"] is False
    assert ask("isBlockhashValid", str(Hash.new_unique()), {"commitment": "processed"})["value"] is False


# --- transactions -----------------------------------------------------------------------------------------


def test_a_transaction_is_told_as_it_grows_firm() -> None:
    ask = Asker(make_bank(finalized_after=4))
    wallet, friend = funded(ask.bank), Keypair().pubkey()
    sent = signed(wallet, ask.bank.tip.hash, *bid(1_000_000), payment(wallet, friend, SOL))
    signature = ask.send(sent, preflightCommitment="processed")["result"]
    assert signature == str(sent.signatures[0])
    fetch = {"commitment": "confirmed", "maxSupportedTransactionVersion": 0}
    seen = []
    for _ in range(7):
        status = ask("getSignatureStatuses", [signature])["value"][0]
        seen.append((status and status["confirmationStatus"], ask("getTransaction", signature, fetch) is not None))
        produce(ask.bank)
    assert seen == [
        (None, False),
        ("processed", False),
        *[("confirmed", True)] * 3,
        *[("finalized", True)] * 2,
    ]
    told = ask("getTransaction", signature, fetch)
    assert (told["version"], told["meta"]["err"], told["meta"]["fee"]) == (0, None, 6_000)
    assert told["transaction"]["message"]["accountKeys"][0] == str(wallet.pubkey())
    change = [
        after - before for before, after in zip(told["meta"]["preBalances"], told["meta"]["postBalances"], strict=True)
    ]
    assert change[:2] == [-SOL - 6_000, SOL]
    raw = ask("getTransaction", signature, {**fetch, "encoding": "base64"})["transaction"]
    assert raw == [text(sent), "base64"]
    parsed = ask("getTransaction", signature, {**fetch, "encoding": "jsonParsed"})["transaction"]["message"]
    assert parsed["accountKeys"][0] == {
        "pubkey": str(wallet.pubkey()),
        "signer": True,
        "writable": True,
        "source": "transaction",
    }
    (line,) = ask("getSignaturesForAddress", str(friend))
    assert (line["signature"], line["err"], line["confirmationStatus"]) == (signature, None, "finalized")


def test_an_old_status_is_found_only_by_who_searches_the_history() -> None:
    ask = Asker(make_bank())
    wallet = funded(ask.bank)
    sent = signed(wallet, ask.bank.tip.hash, payment(wallet, Keypair().pubkey(), SOL))
    signature = ask.send(sent, skipPreflight=True)["result"]
    produce(ask.bank, VALID_BLOCKS + 2)
    assert ask("getSignatureStatuses", [signature])["value"] == [None]
    found = ask("getSignatureStatuses", [signature], {"searchTransactionHistory": True})["value"][0]
    assert found["confirmationStatus"] == "finalized"


def test_preflight_refuses_what_would_fail_and_says_why() -> None:
    ask = Asker(make_bank())
    wallet, friend = funded(ask.bank), Keypair().pubkey()
    too_much = signed(wallet, ask.bank.tip.hash, payment(wallet, friend, 100 * SOL))
    error = ask.send(too_much, preflightCommitment="processed")["error"]
    assert error["code"] == -32002
    assert error["data"]["err"] == {"InstructionError": [0, {"Custom": 1}]}
    assert "insufficient lamports" in "".join(error["data"]["logs"])
    unknown = signed(wallet, Hash.new_unique(), payment(wallet, friend, SOL))
    assert ask.send(unknown)["error"]["message"] == "Transaction simulation failed: Blockhash not found"
    produce(ask.bank)
    assert lamports(ask.bank, friend) == 0


def test_without_preflight_the_signature_is_still_looked_at() -> None:
    ask = Asker(make_bank())
    wallet = funded(ask.bank)
    honest = signed(wallet, ask.bank.tip.hash, payment(wallet, Keypair().pubkey(), SOL))
    forged = VersionedTransaction.populate(honest.message, [Keypair().sign_message(b"")])
    assert ask.send(forged, skipPreflight=True)["error"]["code"] == -32003


def test_simulation_changes_nothing_and_may_have_another_hash_and_no_signature() -> None:
    ask = Asker(make_bank())
    wallet, friend = funded(ask.bank), Keypair().pubkey()
    unsigned = VersionedTransaction.populate(
        signed(wallet, Hash.default(), payment(wallet, friend, SOL)).message, [Keypair().sign_message(b"")]
    )
    options = {"encoding": "base64", "commitment": "processed", "replaceRecentBlockhash": True}
    watched = {"addresses": [str(friend)], "encoding": "base64"}
    told = ask("simulateTransaction", text(unsigned), {**options, "accounts": watched})["value"]
    assert (told["err"], told["accounts"][0]["lamports"]) == (None, SOL)
    assert told["unitsConsumed"] > 0
    assert told["replacementBlockhash"]["blockhash"] == str(ask.bank.tip.hash)
    assert lamports(ask.bank, friend) == 0
    kept = ask("simulateTransaction", text(unsigned), {"encoding": "base64", "commitment": "processed"})["value"]
    assert kept["err"] == "BlockhashNotFound"
    checked = ask.error("simulateTransaction", text(unsigned), {"encoding": "base64", "sigVerify": True})
    assert checked["code"] == -32003


def test_another_hash_fits_into_a_message_with_a_lookup_table() -> None:
    ask = Asker(make_bank())
    wallet, friend, table = funded(ask.bank), Keypair().pubkey(), Keypair().pubkey()
    ask.bank.write(table, lookup_table([friend]))
    known = AddressLookupTableAccount(table, [friend])
    message = MessageV0.try_compile(wallet.pubkey(), [payment(wallet, friend, SOL)], [known], Hash.default())
    options = {
        "encoding": "base64",
        "commitment": "processed",
        "replaceRecentBlockhash": True,
        "accounts": {"addresses": [str(friend)], "encoding": "base64"},
    }
    told = ask("simulateTransaction", text(VersionedTransaction(message, [wallet])), options)["value"]
    assert (told["err"], told["accounts"][0]["lamports"]) == (None, SOL)


def test_a_message_has_its_price() -> None:
    ask = Asker(make_bank())
    wallet = funded(ask.bank)
    sent = signed(wallet, ask.bank.tip.hash, *bid(5_000_000), payment(wallet, Keypair().pubkey(), SOL))
    message = b64encode(to_bytes_versioned(sent.message)).decode()
    produce(ask.bank)
    assert ask("getFeeForMessage", message, {"commitment": "processed"})["value"] == 5_000 + 5_000
    produce(ask.bank, VALID_BLOCKS)
    assert ask("getFeeForMessage", message, {"commitment": "processed"})["value"] is None


# --- accounts ---------------------------------------------------------------------------------------------


def test_tokens_are_told_in_words_and_in_bytes() -> None:
    ask = Asker(make_bank())
    plant_market(ask.bank)
    owner = Keypair().pubkey()
    key = str(give_tokens(ask.bank, owner=owner, mint=USDC, amount=1_234_500))
    produce(ask.bank, 6)
    (line,) = ask("getTokenAccountsByOwner", str(owner), {"mint": str(USDC)}, {"encoding": "jsonParsed"})["value"]
    assert line["pubkey"] == key
    amount = {"amount": "1234500", "decimals": 6, "uiAmount": 1.2345, "uiAmountString": "1.2345"}
    assert line["account"]["data"]["parsed"]["info"]["tokenAmount"] == amount
    assert ask("getTokenAccountBalance", key)["value"] == amount
    mint = ask("getAccountInfo", str(USDC), {"encoding": "jsonParsed"})["value"]["data"]["parsed"]
    assert (mint["type"], mint["info"]["decimals"]) == ("mint", 6)
    assert ask("getTokenSupply", str(USDC))["value"]["amount"] == mint["info"]["supply"]
    raw = ask("getMultipleAccounts", [key, str(Keypair().pubkey())], {"encoding": "base64"})["value"]
    assert raw[1] is None
    assert raw[0]["space"] == 165
    assert ask.error("getTokenSupply", key)["code"] == -32602


def test_a_programs_accounts_are_found_by_size_and_content() -> None:
    ask = Asker(make_bank())
    plant_market(ask.bank)
    owner = Keypair().pubkey()
    key = str(give_tokens(ask.bank, owner=owner, mint=USDC, amount=5))
    produce(ask.bank, 6)
    filters = [{"dataSize": 165}, {"memcmp": {"offset": 32, "bytes": str(owner)}}]
    options = {"encoding": "base64", "filters": filters, "dataSlice": {"offset": 64, "length": 8}}
    assert [(line["pubkey"], line["account"]["data"][0]) for line in ask("getProgramAccounts", TOKEN, options)] == [
        (key, b64encode((5).to_bytes(8, "little")).decode())
    ]
    assert ask("getProgramAccounts", TOKEN, {"encoding": "base64", "filters": [{"dataSize": 7}]}) == []
    assert ask.error("getProgramAccounts", TOKEN, {"filters": [{"memcmp": {"offset": 0, "bytes": "0OIl"}}]})


def test_base58_is_refused_for_more_than_128_bytes_as_nodes_do() -> None:
    ask = Asker(make_bank())
    plant_market(ask.bank)
    assert ask("getAccountInfo", str(USDC), {"encoding": "base58", "commitment": "processed"})["value"]
    key = give_tokens(ask.bank, owner=Keypair().pubkey(), mint=USDC, amount=5)
    assert "base 58" in ask.error("getAccountInfo", str(key), {"commitment": "processed"})["message"]


@given(st.binary(max_size=80))
def test_base58_there_and_back(data: bytes) -> None:
    assert from_base58(base58(data)) == data
    if len(data) == 32:
        assert base58(data) == str(Pubkey(data))


# --- other characters -------------------------------------------------------------------------------------


def test_the_lagging_node_tells_the_chain_as_it_was() -> None:
    bank = make_bank(finalized_after=4)
    honest, lagging = Asker(bank), Asker(bank, "lagging", Faults(lagging_blocks=10))
    wallet, friend = funded(bank), Keypair().pubkey()
    produce(bank, 12)
    signature = honest.send(signed(wallet, bank.tip.hash, payment(wallet, friend, SOL)), skipPreflight=True)["result"]
    produce(bank, 10)
    assert lagging("getBlockHeight", {"commitment": "processed"}) == bank.tip.height - 10
    assert honest("getSignatureStatuses", [signature])["value"][0]["confirmationStatus"] == "finalized"
    assert lagging("getSignatureStatuses", [signature], {"searchTransactionHistory": True})["value"] == [None]
    assert lagging("getBalance", str(friend), {"commitment": "processed"})["value"] == 0
    assert lagging.error("getHealth")["code"] == -32005
    produce(bank, 10)
    assert lagging("getBalance", str(friend), {"commitment": "processed"})["value"] == SOL


def test_the_lying_node_tells_slots_as_heights_heights_that_fall_and_hides_what_landed() -> None:
    bank = make_bank(finalized_after=4)
    honest, lying = Asker(bank), Asker(bank, "lying")
    wallet = funded(bank)
    sent = signed(wallet, bank.tip.hash, payment(wallet, Keypair().pubkey(), SOL))
    signature = honest.send(sent, skipPreflight=True)["result"]
    produce(bank, 40)
    told = [lying("getEpochInfo", {"commitment": "finalized"}) for _ in range(50)]
    assert any(each["blockHeight"] == each["absoluteSlot"] for each in told)
    slots = [each["absoluteSlot"] for each in told]
    assert slots != sorted(slots)
    hidden = [lying("getSignatureStatuses", [signature])["value"][0] is None for _ in range(50)]
    assert any(hidden)


def test_blocks_are_made_on_command() -> None:
    ask = Asker(make_bank())
    height = ask.bank.tip.height
    assert ask("localnet_produceBlocks", 7)["blockHeight"] == height + 7


# --- commands ---------------------------------------------------------------------------------------------


def test_tokens_that_come_from_nothing_are_found_by_the_audit_those_of_the_faucet_are_not() -> None:
    bank = make_bank()
    plant_market(bank)
    ask = Asker(bank)
    owner = str(Keypair().pubkey())
    key = ask("localnet_fundToken", owner, str(USDC), 1_000)
    assert ask("localnet_audit")["unbalanced"] == []
    account = bank.machine.account(Pubkey.from_string(key))
    assert account is not None
    data = bytearray(account.data)
    data[64] += 1
    contents = {"lamports": account.lamports, "owner": str(account.owner), "data": b64encode(data).decode()}
    ask("localnet_setAccount", key, contents)
    assert ask("localnet_audit")["unbalanced"] == [str(USDC)]
    ask("localnet_setAccount", key, None)
    assert bank.machine.account(Pubkey.from_string(key)) is None


def test_a_fork_is_commanded_and_told() -> None:
    ask = Asker(make_bank(finalized_after=4))
    wallet = funded(ask.bank)
    signature = ask.send(
        signed(wallet, ask.bank.tip.hash, payment(wallet, Keypair().pubkey(), SOL)), skipPreflight=True
    )["result"]
    ask("localnet_produceBlocks", 2)
    assert ask("localnet_fork", 2)["signatures"] == [signature]
    assert ask("getSignatureStatuses", [signature])["value"] == [None]


def test_an_option_that_is_null_counts_as_absent() -> None:
    ask = Asker(make_bank())
    assert ask("getSlot", {"commitment": None, "minContextSlot": None}) == ask("getSlot")
    assert ask("getProgramAccounts", TOKEN, {"withContext": None, "filters": [{"dataSize": 7, "memcmp": None}]}) == []


# --- hostile ----------------------------------------------------------------------------------------------

METHODS = sorted(set(Node(make_bank(), Dice(1, CALM)).methods()) | {"localnet_setAccount", "localnet_fundToken"})
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.just(str(USDC)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=200)
@given(st.sampled_from(METHODS), JSON)
def test_whatever_the_parameters_are_there_is_an_answer_and_no_internal_error(method: str, params: object) -> None:
    ask = _ASK
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}, allow_nan=False, default=str)
    answer = ask.raw(body.encode())
    assert ("result" in answer) != ("error" in answer)
    assert answer.get("error", {}).get("code") != -32603


@given(st.binary(max_size=200))
def test_whatever_the_bytes_are_there_is_an_answer(body: bytes) -> None:
    answer = _ASK._dispatcher.answer(body)
    assert answer == b"" or json.loads(answer)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b"7", -32600),
        (b'{"jsonrpc":"2.0","id":1}', -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"getSlot"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"getEverything"}', -32601),
        (b'{"jsonrpc":"2.0","id":1,"method":"getBalance"}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"getBalance","params":["x"]}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"sendTransaction","params":["AAAA",{"encoding":"base64"}]}', -32602),
        (b'{"jsonrpc":"2.0","id":1,"method":"getMultipleAccounts","params":[[' + b'"x",' * 100 + b'"x"]]}', -32602),
    ],
)
def test_what_is_no_call_is_an_error(body: bytes, code: int) -> None:
    assert _ASK.raw(body)["error"]["code"] == code


@settings(max_examples=200)
@given(st.data())
def test_a_transaction_with_other_bytes_is_refused_or_harmless(data: st.DataObject) -> None:
    wallet = _WALLET
    raw = bytearray(bytes(signed(wallet, _ASK.bank.tip.hash, payment(wallet, Keypair().pubkey(), SOL))))
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    options = {"encoding": "base64", "skipPreflight": data.draw(st.booleans())}
    for method in ("sendTransaction", "simulateTransaction"):
        answer = _ASK.whole(method, b64encode(raw).decode(), options)
        assert answer.get("error", {}).get("code") != -32603
    message = b64encode(raw[65:]).decode()
    assert _ASK.whole("getFeeForMessage", message).get("error", {}).get("code") != -32603
    produce(_ASK.bank)


_ASK = Asker(make_bank())
_WALLET = funded(_ASK.bank, 1_000 * SOL)

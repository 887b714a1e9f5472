"""What a transaction costs the localnet: CPU of the process, by what is done with it, without HTTP.

Decides: the transactions, and what a client asks about each. A block takes a hundred; the client sends without
preflight, then asks for each status and each transaction once. Every signature is a real one.

    python -m bench.localnet --transactions 2000 --programs DIR
"""

import argparse
import json
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from fillwright.adapters.jsonrpc import Dispatcher
from fillwright.localnet.bank import Bank, Rules
from fillwright.localnet.control import give_tokens
from fillwright.localnet.faults import Dice, Faults
from fillwright.localnet.genesis import plant_market
from fillwright.localnet.machine import Machine
from fillwright.localnet.node import Node
from fillwright.localnet.planting import Planted
from fillwright.order import Mode
from fillwright.programs import PROGRAMS, Account, SwapCall, token
from fillwright.units import Atoms

PER_BLOCK = 100
NOON = 1_780_000_000
MEMO = Pubkey.from_string("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
STEPS = ("send", "land", "status", "fetch")
Make = Callable[[int], Sequence[Instruction]]


class Bench:
    """A chain with the market, and a wallet that is rich in everything."""

    def __init__(self, programs: Path | None) -> None:
        self.bank = Bank(
            Machine(programs), rules=Rules(), first_slot=5 * 10**8, first_height=10**8, unix_seconds=NOON, seed=b"bench"
        )
        self.planted = plant_market(self.bank)
        self.wallet = Keypair()
        self.me = str(self.wallet.pubkey())
        self.bank.airdrop(self.wallet.pubkey(), 10**15)
        for mint in {mint for each in self.planted for mint in (each.pool.mint_0, each.pool.mint_1)}:
            give_tokens(self.bank, owner=self.wallet.pubkey(), mint=Pubkey.from_string(mint), amount=10**13)
        self.bank.produce(NOON)
        self._dispatcher = Dispatcher(Node(self.bank, Dice(1, Faults())).methods())

    def run(self, make: Make, transactions: int) -> dict[str, float]:
        """Microseconds a transaction, by step."""
        spent = dict.fromkeys(STEPS, 0.0)
        number = count()
        for _ in range(transactions // PER_BLOCK):
            sent = [self._signed(make(next(number)), self.bank.tip.hash) for _ in range(PER_BLOCK)]
            raw = [b64encode(bytes(each)).decode() for each in sent]
            signatures = [str(each.signatures[0]) for each in sent]
            spent["send"] += self._ask("sendTransaction", ([each, SENDING] for each in raw))
            begun = time.process_time()
            block = self.bank.produce(NOON)
            spent["land"] += time.process_time() - begun
            assert sum(landed.executed.err is None for landed in block.transactions) == PER_BLOCK
            self.bank.produce(NOON)
            spent["status"] += self._ask("getSignatureStatuses", ([[each], SEARCHING] for each in signatures))
            spent["fetch"] += self._ask("getTransaction", ([each, FETCHING] for each in signatures))
        return {step: seconds / transactions * 1e6 for step, seconds in spent.items()}

    def _ask(self, method: str, asked: Iterator[list[object]]) -> float:
        bodies = [json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": each}).encode() for each in asked]
        begun = time.process_time()
        answers = [self._dispatcher.answer(body) for body in bodies]
        spent = time.process_time() - begun
        assert all(b'"error"' not in answer for answer in answers)
        return spent

    def _signed(self, instructions: Sequence[Instruction], blockhash: Hash) -> VersionedTransaction:
        message = MessageV0.try_compile(self.wallet.pubkey(), instructions, [], blockhash)
        return VersionedTransaction(message, [self.wallet])

    # --- transactions -------------------------------------------------------------------------------------

    def transfers(self, number: int) -> Sequence[Instruction]:
        paid = TransferParams(
            from_pubkey=self.wallet.pubkey(), to_pubkey=self.bank.faucet.pubkey(), lamports=number + 1
        )
        return [transfer(paid), *_around(number)]

    def swaps(self, planted: Planted) -> Make:
        """All in one direction, so that a pool's price creeps and no block leaves the accounts that were named."""
        pool = planted.pool
        call = SwapCall(
            pool=pool.address,
            mode=Mode.EXACT_IN,
            mint_in=pool.mint_0,
            mint_out=pool.mint_1,
            amount=Atoms(1_000_000),
            limit=Atoms(1),
            owner=self.me,
            source=token.associated(self.me, pool.mint_0),
            destination=token.associated(self.me, pool.mint_1),
        )
        known: dict[str, Account] = {}

        def make(number: int) -> Sequence[Instruction]:
            if number % PER_BLOCK == 0:
                found = {each: self.bank.machine.account(Pubkey.from_string(each)) for each in planted.accounts}
                known.update({each: Account(str(held.owner), held.data) for each, held in found.items() if held})
            return [PROGRAMS[pool.kind].swap(call, known), *_around(number)]

        return make


def _around(number: int) -> list[Instruction]:
    budget = [set_compute_unit_limit(400_000), set_compute_unit_price(1_000)]
    return [*budget, Instruction(MEMO, b"fw bench %d" % number, [])]


SENDING = {"encoding": "base64", "skipPreflight": True, "maxRetries": 0}
SEARCHING = {"searchTransactionHistory": True}
FETCHING = {"encoding": "base64", "commitment": "confirmed", "maxSupportedTransactionVersion": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transactions", type=int, default=2_000)
    parser.add_argument("--programs", type=Path, help="binaries, each PROGRAM_ID.so, to compare with")
    asked = parser.parse_args()
    print("µs of CPU a transaction".ljust(30), *(step.rjust(8) for step in (*STEPS, "sum")))
    for how, programs in (("emulated", None), ("binary", asked.programs)):
        if how == "binary" and programs is None:
            continue
        bench = Bench(programs)
        if how == "emulated":
            _show("transfer", bench.run(bench.transfers, asked.transactions))
        for kind in PROGRAMS:
            planted = next(each for each in bench.planted if each.pool.kind == kind)
            _show(f"swap, {kind}, {how}", bench.run(bench.swaps(planted), asked.transactions))


def _show(name: str, spent: dict[str, float]) -> None:
    print(name.ljust(30), *(f"{spent[step]:8.1f}" for step in STEPS), f"{sum(spent.values()):8.1f}", flush=True)


if __name__ == "__main__":
    main()

"""Transactions that create pools, by the account lists of the programs' published sources; a machine that takes them.

Decides: how such a transaction looks. Must never: use the adapter's own tables: they are what is judged.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from fillwright.localnet.machine import Executed, Machine, Named
from fillwright.units import Mint

AMM_V4: Final = "675kPX9MHTjS2zt1qfr1NYHuzeLXfQM9H24wFSUt1Mp8"
CPMM: Final = "CPMMoo8L3F4NbTegBCKVNunggL7H1ZpdTHKxQB5qKP1C"
CLMM: Final = "CAMMCzo5YL8w4VFF8KVHrK22GGUsp5VTaW7grrKgrWqK"
DLMM: Final = "LBUZKhRxPF3XUpBCjp4YzTKgLccjZhTSDM9YuVaPwxo"
DAMM_V2: Final = "cpamdpZCGKUy5JxQXB4dcpGPiikHawvSWAd6mEn1sGG"
LAUNCHPAD: Final = str(Pubkey.from_bytes(b"a program that calls the others."))
_KNOWN: Final = {
    "amm_config_account": "9DCxsMizn3H1hprZ7xWe6LDzeUeZBksYFpBWBtSf1PQX",
    "create_pool_fee_receiver": "DNXgeM9EiiaAbaWvwjHj9fQQLAX5ZsfHyvmYUNRAdNC8",
}


class Form(NamedTuple):
    program: str
    log: str
    data: str
    accounts: str


_LB_PAIR: Final = "pool extension mint_0 mint_1 reserve_x reserve_y oracle preset creator"
FORMS: Final = (
    Form(
        AMM_V4,
        "Program log: initialize2: InitializeInstruction2 { nonce: 254, open_time: 0 }",
        "01fe" + "00" * 24,
        "token associated system rent pool authority open_orders lp_mint mint_0 mint_1 vault_0 vault_1 target"
        " amm_config_account fee_destination market_program market creator user_0 user_1 user_lp",
    ),
    Form(
        CPMM,
        "Program log: Instruction: Initialize",
        "afaf6d1f0d989bed" + "00" * 24,
        "creator config authority pool mint_0 mint_1 lp_mint user_0 user_1 user_lp vault_0 vault_1"
        " create_pool_fee_receiver observation token token_0 token_1 associated system rent",
    ),
    Form(
        CPMM,
        "Program log: Instruction: InitializeWithPermission",
        "3f37fe4131b25979" + "00" * 25,
        "payer creator config authority pool mint_0 mint_1 lp_mint user_0 user_1 user_lp vault_0 vault_1"
        " create_pool_fee_receiver observation permission token token_0 token_1 associated system",
    ),
    Form(
        CLMM,
        "Program log: Instruction: CreatePool",
        "e992d18ecf6840bc" + "00" * 24,
        "creator config pool mint_0 mint_1 vault_0 vault_1 observation bitmap token_0 token_1 system rent",
    ),
    Form(
        CLMM,
        "Program log: Instruction: CreateCustomizablePool",
        "2b44d4a7592fa401" + "00" * 18,
        "creator config pool mint_0 mint_1 vault_0 vault_1 observation bitmap token_0 token_1 system rent",
    ),
    Form(DLMM, "Program log: Instruction: InitializeLbPair", "2d9aedd2dd0fa65c" + "00" * 6, f"{_LB_PAIR} token system"),
    Form(
        DLMM,
        "Program log: Instruction: InitializeLbPair2",
        "493b2478ed536cc6" + "00" * 100,
        f"{_LB_PAIR} badge_x badge_y token_x token_y system events program",
    ),
    Form(
        DLMM,
        "Program log: Instruction: InitializeCustomizablePermissionlessLbPair2",
        "f349817e3313f16b" + "00" * 60,
        "pool extension mint_0 mint_1 reserve_x reserve_y oracle user_x creator badge_x badge_y token_x token_y",
    ),
    Form(
        DLMM,
        "Program log: Instruction: InitializePermissionLbPair",
        "6c66d555fb033515" + "00" * 60,
        "base pool extension mint_0 mint_1 reserve_x reserve_y oracle creator operator signer badge_x badge_y",
    ),
    Form(
        DAMM_V2,
        "Program log: Instruction: InitializePool",
        "5fb40aac54aee828" + "00" * 33,
        "creator nft_mint nft payer config authority pool position mint_0 mint_1 vault_0 vault_1 user_0 user_1",
    ),
    Form(
        DAMM_V2,
        "Program log: Instruction: InitializeCustomizablePool",
        "14a1f118bdddb402" + "00" * 90,
        "creator nft_mint nft payer authority pool position mint_0 mint_1 vault_0 vault_1 user_0 user_1",
    ),
    Form(
        DAMM_V2,
        "Program log: Instruction: InitializePoolWithDynamicConfig",
        "955248c5fdfc440f" + "00" * 90,
        "creator nft_mint nft payer creator_authority config authority pool position mint_0 mint_1 vault_0 vault_1",
    ),
)


class Made(NamedTuple):
    pool: str
    mint_0: Mint
    mint_1: Mint
    creator: str


def made_up(mint_0: Mint | None = None, mint_1: Mint | None = None, pool: str | None = None) -> Made:
    return Made(pool or _key(), mint_0 or Mint(_key()), mint_1 or Mint(_key()), _key())


def _key() -> str:
    return str(Pubkey.new_unique())


def instruction(form: Form, made: Made) -> Instruction:
    metas = []
    for name in form.accounts.split():
        told = made._asdict().get(name) or _KNOWN.get(name) or str(Pubkey.new_unique())
        metas.append(AccountMeta(Pubkey.from_string(told), is_signer=False, is_writable=name == "pool"))
    return Instruction(Pubkey.from_string(form.program), bytes.fromhex(form.data), metas)


def transaction(instructions: Sequence[Instruction], payer: Keypair, blockhash: Hash) -> VersionedTransaction:
    return VersionedTransaction(MessageV0.try_compile(payer.pubkey(), list(instructions), [], blockhash), [payer])


class Taking(Machine):
    """Takes every transaction that names one of these programs, and does nothing; `logs` is what it then logs.

    With `inner` its first instruction is said to have called itself on that program, as a launchpad does.
    """

    logs: tuple[str, ...] = ()
    inner: str | None = None
    error: object = None

    def execute(self, transaction: VersionedTransaction, named: Named) -> Executed:
        keys = [str(key) for key in named.keys]
        if not {form.program for form in FORMS} & set(keys):
            return super().execute(transaction, named)
        first = transaction.message.instructions[0]
        called: list[list[tuple[int, bytes, bytes, int | None]]] = []
        if self.inner is not None:
            called = [[(keys.index(self.inner), bytes(first.accounts), bytes(first.data), 2)]]
        return Executed(
            err=self.error, charged=True, fee=5_000, units=0, logs=list(self.logs), inner=called, returned=None
        )

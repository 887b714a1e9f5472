"""Raydium CPMM on chain: its accounts and its swap instructions.

Decides: which accounts and bytes its swap is made of (raydium-io/raydium-cp-swap,
programs/cp-swap/src/instructions/swap_base_*.rs). Must never: compute an amount.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from fillwright.order import Mode
from fillwright.pools import pool as p
from fillwright.pools.cpmm import PROGRAM, CpmmPool
from fillwright.programs import layout
from fillwright.programs.layout import Layout, account_at, readonly, signer, u64_bytes, vault_at, writable
from fillwright.programs.program import Accounts, SwapCall
from fillwright.programs.token import TOKEN_PROGRAM
from fillwright.units import Mint

AUTHORITY: Final = layout.derived(PROGRAM, b"vault_and_lp_mint_auth_seed")
_TAGS: Final = {Mode.EXACT_IN: bytes.fromhex("8fbe5adac41e33de"), Mode.EXACT_OUT: bytes.fromhex("37d96256a34ab4ad")}
_MODES: Final = {tag: mode for mode, tag in _TAGS.items()}
_TAG_BYTES: Final = 8
_DATA_BYTES: Final = 24
_ACCOUNTS: Final = 13


class Cpmm(Layout):
    """See program.Program."""

    id: ClassVar[str] = PROGRAM
    kind: ClassVar[str] = "cpmm"
    venue: ClassVar[str] = "raydium"
    pool_bytes: ClassVar[int] = 637
    mint_offsets: ClassVar[tuple[int, int]] = (168, 200)
    discriminator: ClassVar[bytes] = bytes.fromhex("f7ede3f5d7c3de46")
    limit_codes: ClassVar[frozenset[int]] = frozenset({6005})
    """ExceededSlippage."""

    def linked(self, address: str, known: Accounts) -> tuple[str, ...]:
        return CpmmPool.linked(known[address].data) if address in known else ()

    def decode(self, address: str, known: Accounts) -> CpmmPool:
        account = self.pool_at(address, known)
        vault_0, vault_1, config = CpmmPool.linked(account.data)
        return CpmmPool.decode(
            address=address,
            owner=account.owner,
            pool_account=account.data,
            config_account=account_at(config, known).data,
            vault_0_account=vault_at(vault_0, known),
            vault_1_account=vault_at(vault_1, known),
        )

    def swap(self, call: SwapCall, known: Accounts, *, spare: int = 2) -> Instruction:
        pool = self.pool_at(call.pool, known)
        vault_in, vault_out, config = CpmmPool.linked(pool.data)
        if not self.pays_first(call, pool):
            vault_in, vault_out = vault_out, vault_in
        accounts = [
            *signer(call.owner),
            *readonly(AUTHORITY, config),
            *writable(call.pool, call.source, call.destination, vault_in, vault_out),
            *readonly(str(TOKEN_PROGRAM), str(TOKEN_PROGRAM), call.mint_in, call.mint_out),
            *writable(p.pubkey(pool.data, 296)),
        ]
        amounts = (call.amount, call.limit) if call.mode is Mode.EXACT_IN else (call.limit, call.amount)
        return Instruction(Pubkey.from_string(PROGRAM), _TAGS[call.mode] + u64_bytes(*amounts), accounts)

    def read(self, accounts: Sequence[Pubkey], data: bytes, holds: Mapping[str, Mint]) -> SwapCall | None:
        mode = _MODES.get(data[:_TAG_BYTES])
        if mode is None:
            return None
        layout.check_shape(accounts, data, least=_ACCOUNTS, size=_DATA_BYTES)
        named = [str(account) for account in accounts]
        amount, limit = layout.two_amounts(data, _TAG_BYTES)[:: 1 if mode is Mode.EXACT_IN else -1]
        return SwapCall(
            pool=named[3],
            mode=mode,
            mint_in=Mint(named[10]),
            mint_out=Mint(named[11]),
            amount=amount,
            limit=limit,
            owner=named[0],
            source=named[4],
            destination=named[5],
        )

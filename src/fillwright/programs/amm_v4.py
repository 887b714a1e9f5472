"""Raydium AMM v4 on chain: its accounts and its swap instruction in the form of 8 accounts.

Decides: which accounts and bytes its swap is made of (raydium-io/raydium-amm, program/src/instruction.rs
SwapBaseInV2, SwapBaseOutV2). Must never: compute an amount.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from fillwright.order import Mode
from fillwright.pools import pool as p
from fillwright.pools.amm_v4 import PROGRAM, AmmV4Pool
from fillwright.programs import layout
from fillwright.programs.layout import Layout, readonly, signer, u64_bytes, vault_at, writable
from fillwright.programs.program import Accounts, SwapCall
from fillwright.programs.token import TOKEN_PROGRAM
from fillwright.units import Mint

AUTHORITY: Final = layout.derived(PROGRAM, b"amm authority")
_TAGS: Final = {Mode.EXACT_IN: 16, Mode.EXACT_OUT: 17}
_MODES: Final = {tag: mode for mode, tag in _TAGS.items()}
_DATA_BYTES: Final = 17
_ACCOUNTS: Final = 8


class AmmV4(Layout):
    """See program.Program."""

    id: ClassVar[str] = PROGRAM
    kind: ClassVar[str] = "amm_v4"
    venue: ClassVar[str] = "raydium"
    pool_bytes: ClassVar[int] = 752
    mint_offsets: ClassVar[tuple[int, int]] = (400, 432)
    discriminator: ClassVar[bytes] = b""
    limit_codes: ClassVar[frozenset[int]] = frozenset({30, 40})
    """ExceededSlippage; InsufficientFunds: it asks first whether the input is there, and of SOL no more than the limit
    was wrapped."""

    def linked(self, address: str, known: Accounts) -> tuple[str, ...]:
        return AmmV4Pool.linked(known[address].data) if address in known else ()

    def decode(self, address: str, known: Accounts) -> AmmV4Pool:
        account = self.pool_at(address, known)
        vault_0, vault_1 = AmmV4Pool.linked(account.data)
        return AmmV4Pool.decode(
            address=address,
            owner=account.owner,
            pool_account=account.data,
            vault_0_account=vault_at(vault_0, known),
            vault_1_account=vault_at(vault_1, known),
        )

    def swap(self, call: SwapCall, known: Accounts, *, spare: int = 2) -> Instruction:
        pool = self.pool_at(call.pool, known)
        self.pays_first(call, pool)
        accounts = [
            *readonly(str(TOKEN_PROGRAM)),
            *writable(call.pool),
            *readonly(AUTHORITY),
            *writable(*AmmV4Pool.linked(pool.data), call.source, call.destination),
            *signer(call.owner),
        ]
        amounts = (call.amount, call.limit) if call.mode is Mode.EXACT_IN else (call.limit, call.amount)
        return Instruction(Pubkey.from_string(PROGRAM), bytes([_TAGS[call.mode]]) + u64_bytes(*amounts), accounts)

    def read(self, accounts: Sequence[Pubkey], data: bytes, holds: Mapping[str, Mint]) -> SwapCall | None:
        """Its instruction names no mint: both are told by the taker's accounts."""
        mode = _MODES.get(data[0]) if data else None
        if mode is None:
            return None
        layout.check_shape(accounts, data, least=_ACCOUNTS, size=_DATA_BYTES)
        _, pool, _, _, _, source, destination, owner = (str(account) for account in accounts[:_ACCOUNTS])
        if source not in holds or destination not in holds:
            raise p.refused(f"what {source} or {destination} holds is not known")
        amount, limit = layout.two_amounts(data, 1)[:: 1 if mode is Mode.EXACT_IN else -1]
        return SwapCall(
            pool=pool,
            mode=mode,
            mint_in=holds[source],
            mint_out=holds[destination],
            amount=amount,
            limit=limit,
            owner=owner,
            source=source,
            destination=destination,
        )

"""Meteora DAMM v2 on chain: its accounts and its swap instruction.

Decides: which accounts and bytes its swap is made of (the package @meteora-ag/cp-amm-sdk: swap2). Must never: compute
an amount, or name somebody who earns of the fee.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from fillwright.order import Mode
from fillwright.pools.damm_v2 import PROGRAM, DammV2Pool
from fillwright.programs import layout
from fillwright.programs.layout import Layout, readonly, signer, u64_bytes, vault_at, writable
from fillwright.programs.program import Accounts, SwapCall
from fillwright.programs.token import TOKEN_PROGRAM
from fillwright.units import Mint

AUTHORITY: Final = layout.derived(PROGRAM, b"pool_authority")
EVENT_AUTHORITY: Final = layout.derived(PROGRAM, b"__event_authority")
INSTRUCTIONS_SYSVAR: Final = "Sysvar1nstructions1111111111111111111111111"
_TAG: Final = bytes.fromhex("414b3f4ceb5b5b88")
_MODES: Final = {0: Mode.EXACT_IN, 2: Mode.EXACT_OUT}
_CODES: Final = {mode: code for code, mode in _MODES.items()}
_DATA_BYTES: Final = 25
_ACCOUNTS: Final = 14
_FEE_MODE: Final = 16
_RATE_LIMITER: Final = 2


class DammV2(Layout):
    """See program.Program."""

    id: ClassVar[str] = PROGRAM
    kind: ClassVar[str] = "damm_v2"
    venue: ClassVar[str] = "meteora"
    pool_bytes: ClassVar[int] = 1112
    mint_offsets: ClassVar[tuple[int, int]] = (168, 200)
    discriminator: ClassVar[bytes] = bytes.fromhex("f19a6d0411b16dbc")
    limit_codes: ClassVar[frozenset[int]] = frozenset({6002})
    """ExceededSlippage."""

    def linked(self, address: str, known: Accounts) -> tuple[str, ...]:
        return DammV2Pool.linked(known[address].data) if address in known else ()

    def decode(self, address: str, known: Accounts) -> DammV2Pool:
        account = self.pool_at(address, known)
        vault_0, vault_1 = DammV2Pool.linked(account.data)
        return DammV2Pool.decode(
            address=address,
            owner=account.owner,
            pool_account=account.data,
            vault_0_account=vault_at(vault_0, known),
            vault_1_account=vault_at(vault_1, known),
        )

    def swap(self, call: SwapCall, known: Accounts, *, spare: int = 2) -> Instruction:
        """A rate limiter lets only one swap of its pool into a transaction, and has to see all of them to tell."""
        pool = self.pool_at(call.pool, known)
        pays_a = self.pays_first(call, pool)
        is_limited = pool.data[_FEE_MODE] == _RATE_LIMITER and not pays_a
        accounts = [
            *readonly(AUTHORITY),
            *writable(call.pool, call.source, call.destination, *DammV2Pool.linked(pool.data)),
            *readonly(*self.mints(pool)),
            *signer(call.owner),
            *readonly(str(TOKEN_PROGRAM), str(TOKEN_PROGRAM)),
            *readonly(PROGRAM),  # nobody else earns of the fee
            *readonly(EVENT_AUTHORITY, PROGRAM, *((INSTRUCTIONS_SYSVAR,) if is_limited else ())),
        ]
        data = _TAG + u64_bytes(call.amount, call.limit) + bytes([_CODES[call.mode]])
        return Instruction(Pubkey.from_string(PROGRAM), data, accounts)

    def read(self, accounts: Sequence[Pubkey], data: bytes, holds: Mapping[str, Mint]) -> SwapCall | None:
        """Both mints are named, but which of them goes in only the paying account tells.

        None for a swap that may be filled in part.
        """
        if not data.startswith(_TAG):
            return None
        layout.check_shape(accounts, data, least=_ACCOUNTS, size=_DATA_BYTES)
        mode = _MODES.get(data[-1])
        if mode is None:
            return None
        named = [str(account) for account in accounts[:_ACCOUNTS]]
        mint_in, mint_out = layout.direction(named[2], Mint(named[6]), Mint(named[7]), holds)
        amount, limit = layout.two_amounts(data, len(_TAG))
        return SwapCall(
            pool=named[1],
            mode=mode,
            mint_in=mint_in,
            mint_out=mint_out,
            amount=amount,
            limit=limit,
            owner=named[8],
            source=named[2],
            destination=named[3],
        )

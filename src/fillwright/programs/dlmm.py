"""Meteora DLMM on chain: its accounts, which bin arrays a swap looks into, and its swap instructions.

Decides: which accounts and bytes its swap is made of (MeteoraAg/dlmm-sdk, idls/dlmm.json swap2, swap_exact_out2).
Must never: compute an amount, or reach beyond the pool's own bitmap, as the curve does not either.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from fillwright.order import Mode
from fillwright.pools import pool as p
from fillwright.pools.dlmm import PROGRAM, DlmmPool
from fillwright.pools.dlmm_accounts import BINS_PER_ARRAY
from fillwright.programs import layout
from fillwright.programs.layout import (
    ARRAYS_EACH_WAY,
    Layout,
    key_bytes,
    optional_at,
    readonly,
    signer,
    u64_bytes,
    vault_at,
    writable,
)
from fillwright.programs.program import Accounts, SwapCall
from fillwright.programs.token import MEMO, TOKEN_PROGRAM
from fillwright.units import Mint

EVENT_AUTHORITY: Final = layout.derived(PROGRAM, b"__event_authority")
_TAGS: Final = {Mode.EXACT_IN: bytes.fromhex("414b3f4ceb5b5b88"), Mode.EXACT_OUT: bytes.fromhex("2bd7f784893cf351")}
_MODES: Final = {tag: mode for mode, tag in _TAGS.items()}
_TAG_BYTES: Final = 8
_NO_SLICES: Final = bytes(4)
"""No transfer hooks have accounts of their own here."""
_DATA_BYTES: Final = 28
_ACCOUNTS: Final = 16


class Dlmm(Layout):
    """See program.Program."""

    id: ClassVar[str] = PROGRAM
    kind: ClassVar[str] = "dlmm"
    venue: ClassVar[str] = "meteora"
    pool_bytes: ClassVar[int] = 904
    mint_offsets: ClassVar[tuple[int, int]] = (88, 120)
    discriminator: ClassVar[bytes] = bytes.fromhex("210b3162b565b10d")
    limit_codes: ClassVar[frozenset[int]] = frozenset({6003, 6039, 6057, 6104})
    """ExceededAmountSlippageTolerance; and for exact out, where the most in does not buy it: InsufficientOutAmount,
    NotExactAmountOut, InsufficientInAmount."""

    def linked(self, address: str, known: Accounts) -> tuple[str, ...]:
        if address not in known:
            return ()
        pool = known[address].data
        return (*DlmmPool.linked(pool), *_arrays(address, pool))

    def decode(self, address: str, known: Accounts) -> DlmmPool:
        account = self.pool_at(address, known)
        vault_0, vault_1 = DlmmPool.linked(account.data)
        arrays = (optional_at(array, known, PROGRAM) for array in _arrays(address, account.data))
        return DlmmPool.decode(
            address=address,
            owner=account.owner,
            pool_account=account.data,
            vault_0_account=vault_at(vault_0, known),
            vault_1_account=vault_at(vault_1, known),
            bin_array_accounts=[array for array in arrays if array is not None],
        )

    def swap(self, call: SwapCall, known: Accounts, *, spare: int = 2) -> Instruction:
        pool = self.pool_at(call.pool, known)
        down, (mint_x, mint_y) = self.pays_first(call, pool), self.mints(pool)
        accounts = [
            *writable(call.pool),
            *readonly(PROGRAM),  # no bitmap extension
            *writable(*DlmmPool.linked(pool.data), call.source, call.destination),
            *readonly(mint_x, mint_y),
            *writable(p.pubkey(pool.data, 552)),
            *readonly(PROGRAM),  # nobody else earns of the fee
            *signer(call.owner),
            *readonly(str(TOKEN_PROGRAM), str(TOKEN_PROGRAM), str(MEMO), EVENT_AUTHORITY, PROGRAM),
            *writable(*self._looked_into(call, known, down=down, spare=spare)),
        ]
        amounts = (call.amount, call.limit) if call.mode is Mode.EXACT_IN else (call.limit, call.amount)
        data = _TAGS[call.mode] + u64_bytes(*amounts) + _NO_SLICES
        return Instruction(Pubkey.from_string(PROGRAM), data, accounts)

    def read(self, accounts: Sequence[Pubkey], data: bytes, holds: Mapping[str, Mint]) -> SwapCall | None:
        """Both mints are named, but which of them goes in only the paying account tells."""
        mode = _MODES.get(data[:_TAG_BYTES])
        if mode is None:
            return None
        layout.check_shape(accounts, data, least=_ACCOUNTS, size=_DATA_BYTES)
        named = [str(account) for account in accounts[:_ACCOUNTS]]
        mint_in, mint_out = layout.direction(named[4], Mint(named[6]), Mint(named[7]), holds)
        amount, limit = layout.two_amounts(data, _TAG_BYTES)[:: 1 if mode is Mode.EXACT_IN else -1]
        return SwapCall(
            pool=named[0],
            mode=mode,
            mint_in=mint_in,
            mint_out=mint_out,
            amount=amount,
            limit=limit,
            owner=named[10],
            source=named[4],
            destination=named[5],
        )

    def _looked_into(self, call: SwapCall, known: Accounts, *, down: bool, spare: int) -> Iterator[str]:
        """Paying with X, the price falls."""
        pool = self.decode(call.pool, known)
        used = DlmmPool.array_indices(known[call.pool].data, each_way=ARRAYS_EACH_WAY)
        last = layout.after(pool, call).active_id // BINS_PER_ARRAY
        for number in layout.on_the_way(used, pool.active_id // BINS_PER_ARRAY, last, down=down, spare=spare):
            yield bin_array_of(call.pool, number)


def bin_array_of(pool: str, index: int) -> str:
    return layout.derived(PROGRAM, b"bin_array", key_bytes(pool), index.to_bytes(8, "little", signed=True))


def _arrays(address: str, pool: bytes) -> Iterator[str]:
    for index in DlmmPool.array_indices(pool, each_way=ARRAYS_EACH_WAY):
        yield bin_array_of(address, index)

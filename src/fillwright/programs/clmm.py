"""Raydium CLMM on chain: its accounts, which tick arrays a swap looks into, and its swap instruction.

Decides: which accounts and bytes its swap is made of (raydium-io/raydium-clmm,
programs/amm/src/{instructions/swap_v2.rs,states/*}). Must never: compute an amount.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Final

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from fillwright.order import Mode
from fillwright.pools import pool as p
from fillwright.pools.clmm import PROGRAM, ClmmPool
from fillwright.pools.clmm_ticks import TICKS_PER_ARRAY
from fillwright.programs import layout
from fillwright.programs.layout import (
    ARRAYS_EACH_WAY,
    Layout,
    account_at,
    key_bytes,
    optional_at,
    readonly,
    signer,
    u64_bytes,
    vault_at,
    writable,
)
from fillwright.programs.program import Accounts, SwapCall
from fillwright.programs.token import MEMO, TOKEN_2022, TOKEN_PROGRAM
from fillwright.units import Mint

_TAG: Final = bytes.fromhex("2b04ed0b1ac91e62")
_DATA_BYTES: Final = 41
_ACCOUNTS: Final = 13
_NO_PRICE_LIMIT: Final = bytes(16)
_BITMAP_ARRAYS: Final = 512
"""Arrays on each side of price 1 that the pool's own bitmap tells of; beyond them its extension does."""


class Clmm(Layout):
    """See program.Program."""

    id: ClassVar[str] = PROGRAM
    kind: ClassVar[str] = "clmm"
    venue: ClassVar[str] = "raydium"
    pool_bytes: ClassVar[int] = 1544
    mint_offsets: ClassVar[tuple[int, int]] = (73, 105)
    discriminator: ClassVar[bytes] = bytes.fromhex("f7ede3f5d7c3de46")
    limit_codes: ClassVar[frozenset[int]] = frozenset({1, 6022, 6023})
    """TooLittleOutputReceived, TooMuchInputPaid; and the token program's own: the input is taken before it is judged,
    and of SOL no more than the limit was wrapped."""

    def linked(self, address: str, known: Accounts) -> tuple[str, ...]:
        if address not in known:
            return ()
        pool, extension = known[address].data, extension_of(address)
        return (*ClmmPool.linked(pool), extension, *_arrays(address, pool, optional_at(extension, known, PROGRAM)))

    def decode(self, address: str, known: Accounts) -> ClmmPool:
        account = self.pool_at(address, known)
        vault_0, vault_1, config = ClmmPool.linked(account.data)
        extension = optional_at(extension_of(address), known, PROGRAM)
        arrays = (optional_at(array, known, PROGRAM) for array in _arrays(address, account.data, extension))
        return ClmmPool.decode(
            address=address,
            owner=account.owner,
            pool_account=account.data,
            config_account=account_at(config, known).data,
            vault_0_account=vault_at(vault_0, known),
            vault_1_account=vault_at(vault_1, known),
            tick_array_accounts=[array for array in arrays if array is not None],
            extension_account=extension,
        )

    def swap(self, call: SwapCall, known: Accounts, *, spare: int = 2) -> Instruction:
        pool = self.pool_at(call.pool, known)
        down = self.pays_first(call, pool)
        vault_in, vault_out, config = ClmmPool.linked(pool.data)
        if not down:
            vault_in, vault_out = vault_out, vault_in
        accounts = [
            *signer(call.owner),
            *readonly(config),
            *writable(call.pool, call.source, call.destination, vault_in, vault_out, p.pubkey(pool.data, 201)),
            *readonly(str(TOKEN_PROGRAM), str(TOKEN_2022), str(MEMO), call.mint_in, call.mint_out),
            *writable(*self._looked_into(call, known, down=down, spare=spare)),
        ]
        exact_in = call.mode is Mode.EXACT_IN
        data = _TAG + u64_bytes(call.amount, call.limit) + _NO_PRICE_LIMIT + bytes([exact_in])
        return Instruction(Pubkey.from_string(PROGRAM), data, accounts)

    def read(self, accounts: Sequence[Pubkey], data: bytes, holds: Mapping[str, Mint]) -> SwapCall | None:
        """With a limit of price it may stop half-way, which `swap` never asks for: that is refused."""
        if not data.startswith(_TAG):
            return None
        layout.check_shape(accounts, data, least=_ACCOUNTS, size=_DATA_BYTES)
        if data[24:40] != _NO_PRICE_LIMIT:
            raise p.refused("a swap with a limit of price is not understood")
        named = [str(account) for account in accounts[:_ACCOUNTS]]
        amount, limit = layout.two_amounts(data, len(_TAG))
        return SwapCall(
            pool=named[2],
            mode=Mode.EXACT_IN if data[40] else Mode.EXACT_OUT,
            mint_in=Mint(named[11]),
            mint_out=Mint(named[12]),
            amount=amount,
            limit=limit,
            owner=named[0],
            source=named[3],
            destination=named[4],
        )

    def _looked_into(self, call: SwapCall, known: Accounts, *, down: bool, spare: int) -> Iterator[str]:
        """The bitmap extension, if the swap's way leads out of the pool's own bitmap, then the arrays in travel order.

        The program looks for the next tick from where the swap ends, too: that tick's array is needed as well.
        """
        pool, account = self.decode(call.pool, known), known[call.pool].data
        extension, span = extension_of(call.pool), TICKS_PER_ARRAY * pool.tick_spacing
        bitmap = optional_at(extension, known, PROGRAM)
        used = [start // span for start in ClmmPool.tick_arrays(account, bitmap, each_way=ARRAYS_EACH_WAY)]
        end = layout.after(pool, call).tick_current
        beyond = [tick.index for tick in pool.ticks if (tick.index <= end if down else tick.index > end)]
        last = (beyond[-1 if down else 0] if beyond else end) // span
        here = pool.tick_current // span
        numbers = layout.on_the_way(used, here, last, down=down, spare=spare)
        if bitmap is not None and any(not -_BITMAP_ARRAYS <= number < _BITMAP_ARRAYS for number in (here, *numbers)):
            yield extension
        for number in numbers:
            yield tick_array_of(call.pool, number * span)


def extension_of(pool: str) -> str:
    """Where the bitmap lies that tells of tick arrays beyond the pool's own; it need not be there."""
    return layout.derived(PROGRAM, b"pool_tick_array_bitmap_extension", key_bytes(pool))


def tick_array_of(pool: str, start: int) -> str:
    return layout.derived(PROGRAM, b"tick_array", key_bytes(pool), start.to_bytes(4, "big", signed=True))


def _arrays(address: str, pool: bytes, extension: bytes | None) -> Iterator[str]:
    for start in ClmmPool.tick_arrays(pool, extension, each_way=ARRAYS_EACH_WAY):
        yield tick_array_of(address, start)

"""The programs that swap on Solana: accounts in, pools out; a call in, an instruction out. Pure."""

from collections.abc import Mapping
from typing import Final

from fillwright.programs.amm_v4 import AmmV4
from fillwright.programs.clmm import Clmm
from fillwright.programs.cpmm import Cpmm
from fillwright.programs.damm_v2 import DammV2
from fillwright.programs.dlmm import Dlmm
from fillwright.programs.program import Account, Accounts, Program, SwapCall

_ALL: Final[tuple[Program, ...]] = (AmmV4(), Cpmm(), Clmm(), Dlmm(), DammV2())
PROGRAMS: Final[Mapping[str, Program]] = {program.kind: program for program in _ALL}
"""By the kind of their pools."""
_BY_ID: Final[Mapping[str, Program]] = {program.id: program for program in _ALL}

__all__ = ["PROGRAMS", "Account", "Accounts", "Program", "SwapCall", "by_id"]


def by_id(address: str) -> Program | None:
    """The program at this address; None if it is none of ours."""
    return _BY_ID.get(address)

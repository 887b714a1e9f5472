"""The options of `fillwright localnet`.

Decides: what a localnet is planned to be. Must never: start it.
"""

import argparse

import msgspec

from fillwright.errors import Code, FillwrightError
from fillwright.localnet.bank import Rules
from fillwright.localnet.faults import Faults
from fillwright.localnet.world import Plan, funds_of


def plan_of(asked: argparse.Namespace) -> tuple[Plan, float | None]:
    """The plan, and the seconds between blocks; None: by hand. Raises FillwrightError(CONFIG_INVALID)."""
    try:
        funds = tuple(fund for text in asked.fund for fund in funds_of(text))
    except ValueError as error:
        raise FillwrightError(Code.CONFIG_INVALID, f"--fund {error}") from error
    try:
        faults = msgspec.json.decode(asked.faults, type=Faults) if asked.faults else Faults()
    except ValueError as error:
        raise FillwrightError(Code.CONFIG_INVALID, f"--faults: {error}") from error
    plan = Plan(
        programs=asked.programs,
        accounts=asked.accounts,
        seed=asked.seed,
        rules=Rules(finalized_after=max(asked.final_after, Rules().confirmed_after)),
        funds=funds,
        faults=faults,
        trade_blocks=asked.trade_blocks,
        newcomer_blocks=asked.newcomer_blocks,
    )
    return plan, None if asked.manual else asked.block_ms / 1_000

"""`make localnet-faults`: the engine on a localnet under fire, killed again and again, and what became of every order.

Decides: how many orders, and by which seed. Must never: end with success where a promise was broken, or a fault never
struck.
"""

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.solana.campaign import Plan, Result, run
from tests.solana.verdict import broken

FELT = ("dropped", "late", "lost", "forked", "skipped", "flaky", "lies")


def report(result: Result) -> Iterator[str]:
    record = result.record
    statuses = Counter(order.status for order in record.orders)
    yield f"seed {result.plan.seed}, {result.plan.orders} orders, {result.seconds:.0f} s"
    yield f"kills (kill -9)   {result.kills}"
    yield f"faults struck     {dict(result.struck)}"
    yield f"answers           {dict(sorted(result.answers.items()))}"
    yield f"acknowledged      {len(record.acknowledged)}"
    yield f"ended             {dict(sorted(statuses.items()))}"
    undone = sum(each.failed for each in record.executed)
    yield f"on chain          {len(record.executed) - undone} executed, {undone} undone"
    for mint, amount in record.before.items():
        yield f"wallet            {record.after[mint] - amount:+d} atoms of {mint}"


def unfelt(result: Result) -> list[str]:
    """Faults that never struck prove nothing."""
    missing = [f"fault {name} never struck" for name in FELT if not result.struck.get(name)]
    return missing + ([] if result.kills else ["the engine was never killed"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--gullible", action="store_true", help="a control that must settle some orders twice")
    parser.add_argument("--fork-depth", type=int, default=1, help="blocks; more than one, and confirmed swaps vanish")
    parser.add_argument("--folder", type=Path, help="where the files stay afterwards; unless given they are deleted")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        plan = Plan(orders=args.orders, seed=args.seed, fork_depth_max=args.fork_depth, gullible=args.gullible)
        result = asyncio.run(run(plan, folder))
    found = broken(result.record) + unfelt(result)
    print("\n".join([*report(result), f"promises broken   {len(found)}", *found[:50]]))
    return int(bool(found) is not args.gullible)


if __name__ == "__main__":
    sys.exit(main())

"""`python -m tests.power`: cut the power under the SQLite store, many times.

Decides: what is printed, and the exit code: 0 only where the store as shipped kept every promise, on disks that fail
as well, every kind of strike has happened in a big campaign, and both controls have lost orders.
"""

import argparse
import multiprocessing
import sys
import time
from collections import Counter
from functools import partial

from tests.power.campaign import CUTS_PER_DISK, Kind, Outcome, run_disk
from tests.progress import Bar

BIG = 1_000
"""So many cuts must have met every kind of strike."""


def main() -> int:
    asked = _arguments()
    sizes = {Kind.SHIPPED: asked.cuts, Kind.FAULTS: asked.cuts // 5, Kind.NORMAL: 1_000, Kind.LIAR: 1_000}
    broken = False
    with multiprocessing.get_context("spawn").Pool(asked.jobs) as pool:
        for kind, cuts in sizes.items():
            began = time.monotonic()
            seeds = [asked.seed] if asked.seed is not None else range(max(1, -(-cuts // CUTS_PER_DISK)))
            total, bar = Outcome(), Bar(len(seeds), f"{kind}: disks")
            for done, outcome in enumerate(pool.imap_unordered(partial(run_disk, kind=kind), seeds), 1):
                total.add(outcome)
                bar.show(done, f"{total.cuts} cuts")
            _tell(kind, total, time.monotonic() - began)
            broken |= _is_broken(kind, total, is_big=total.cuts >= BIG)
    return 1 if broken else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.power", description=__doc__)
    parser.add_argument("--cuts", type=int, default=1_000, metavar="N", help="of the store as shipped (1000)")
    parser.add_argument("--seed", type=int, metavar="K", help="replay this one disk of each kind")
    parser.add_argument(
        "--jobs", type=int, default=multiprocessing.cpu_count(), metavar="J", help="processes (all cores)"
    )
    return parser.parse_args()


def _tell(kind: Kind, total: Outcome, seconds: float) -> None:
    answered = total.counts.pop("acknowledged", 0)
    print(f"\n{kind}: {total.cuts} power cuts, {total.disks} disks, {answered} changes acknowledged ({seconds:.0f} s)")
    print(f"  lost {len(total.lost)}, torn {len(total.torn)}, wrong answers {len(total.wrong)}")
    print(f"  cut at    {_listed(total.moments)}")
    print(f"  happened  {_listed(total.counts)}")
    print(f"  disk      {_listed(total.struck)}", flush=True)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count)


def _is_broken(kind: Kind, total: Outcome, *, is_big: bool) -> bool:
    if kind in {Kind.NORMAL, Kind.LIAR}:
        if not total.lost:
            print("  this control should have lost orders: the audit sees nothing")
        return not total.lost
    missing = total.missing(kind) if is_big else []
    if missing:
        print(f"  never happened: {', '.join(missing)}")
    complaints = total.lost + total.torn + total.wrong
    for complaint in complaints[:10]:
        print(f"  VIOLATION {complaint}")
    return bool(complaints or missing)


if __name__ == "__main__":
    sys.exit(main())

"""`make chaos`: real processes under fire, and what became of every order.

Decides: how long, and by which seed. Must never: end with success where a promise was broken, or a fault never struck.
"""

import argparse
import asyncio
import sys

import uvloop

from tests.chaos.campaign import Plan, Result, run
from tests.chaos.report import report
from tests.progress import Bar


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=80, help="orders offered a second")
    parser.add_argument("--chain", choices=("instant", "classic"), default="instant", help="classic: 2-3 s, 8 %% fail")
    parser.add_argument("--without-redis", action="store_true")
    args = parser.parse_args()
    plan = Plan(
        seconds=args.seconds, seed=args.seed, rate=args.rate, chain=args.chain, with_redis=not args.without_redis
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(_shown(plan))
    print("\n".join(report(result)))
    return 1 if result.findings.counts else 0


async def _shown(plan: Plan) -> Result:
    """The campaign, and on a terminal how far its time under fire is. What comes before and after takes its own."""
    bar, campaign = Bar(plan.seconds, "under fire"), asyncio.create_task(run(plan))
    began = asyncio.get_running_loop().time()
    while not campaign.done():
        bar.show(asyncio.get_running_loop().time() - began)
        await asyncio.wait([campaign], timeout=1)
    return await campaign


if __name__ == "__main__":
    sys.exit(main())

"""A short campaign: every kind of kill and the main faults strike real processes, and every promise holds."""

import asyncio

import pytest
import uvloop

from tests.chaos.campaign import Plan, run
from tests.chaos.report import report
from tests.chaos.strikes import STALE

KILLS = {"kill worker": 2, "kill api": 2, "kill redis": 2, "kill chain": 1, "kill backend": 1, "kill postgres": 1}
FAULTS = {STALE: 0, "stop worker": 1, "flush redis": 1, "pause postgres": 1, "link reset": 1, "link silent": 1}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("with_redis", [True, False], ids=["redis", "postgres alone"])
def test_under_fire_nothing_is_lost_and_nothing_settles_twice(with_redis: bool) -> None:
    plan = Plan(
        seconds=9,
        seed=7,
        with_redis=with_redis,
        rate=40,
        kills=KILLS,
        faults=FAULTS,
        every_s=(0.8, 1.0),
        warm_up_s=1,
        workers=2,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(run(plan))
    assert not result.findings.counts, "\n".join(report(result))

"""A campaign's figures, as a table.

Decides: what is shown. Must never: judge: the findings are the verdict's.
"""

import statistics
from collections.abc import Iterator

from tests.chaos.campaign import Result
from tests.chaos.strikes import FAULTS, KILLS


def report(result: Result) -> Iterator[str]:
    plan, strikes, totals, clients = result.plan, result.strikes, result.totals, result.clients
    counts = result.findings.counts
    servers = "PostgreSQL and Redis" if plan.with_redis else "PostgreSQL alone"
    yield f"seed {plan.seed}, {plan.seconds:.0f} s, {plan.rate:.0f} orders/s offered, {servers}, chain {plan.chain}"
    yield f"kills (kill -9)        {strikes.kills}"
    for kind in KILLS:
        share = strikes.struck[f"kill {kind}"] / max(strikes.kills, 1)
        yield f"  {kind:<20} {strikes.struck[f'kill {kind}']:>6} {share:>6.1%}"
    yield f"other faults           {sum(strikes.struck[kind] for kind in FAULTS)}"
    for kind in FAULTS:
        yield f"  {kind:<20} {strikes.struck[kind]:>6}  (not felt: {strikes.missed[kind]})"
    for kind, times in sorted(strikes.links_struck.items()):
        yield f"    {kind:<24} {times}"
    yield f"submitted              {len(result.memory.asked)} (held back: {clients.held_back})"
    yield f"acknowledged           {len(result.memory.acknowledged)}"
    yield f"answers                {dict(sorted(clients.statuses.items()))}, none: {clients.broken}"
    yield f"ended                  {dict(sorted(totals.statuses.items()))}"
    yield f"of these               {dict(sorted(totals.types.items()))}"
    yield f"the last one           {result.settled_s:.1f} s after the last request was answered"
    yield f"lost or stuck (I1)     {counts['I1']}"
    yield f"settled twice (I2)     {counts['I2']}"
    yield f"ledger differs (I5)    {counts['I5']}, after a final word (I8) {counts['I8']}"
    yield f"ties broken            {counts['OCO']} (one of two), {counts['OTO']} (after the entry)"
    yield f"gaps, repeats (I3)     {counts['I3']} in {sum(map(len, result.memory.frames.values()))} frames"
    yield f"followed orders        {len(result.memory.followed)} over {result.watchers.connections} connections"
    yield f"take-overs             {totals.taken_over}, of paused workers {strikes.taken_over}"
    over = {cause: totals.events[cause] for cause in ("reverted", "lapsed", "aborted")}
    yield f"attempts               {totals.events['started']}, of these {over}"
    yield from _recovery(result)
    for note, times in sorted(result.findings.notes.items()):
        yield f"{note}: {times}"
    for invariant, words in sorted(result.findings.words.items()):
        yield f"VIOLATED {invariant} ({counts[invariant]} times)"
        yield from (f"  {each}" for each in words)


def _recovery(result: Result) -> Iterator[str]:
    measured = zip(result.outages, result.recoveries(), strict=True)
    seen = [(seconds, seconds + each.back_at - each.killed_at) for each, seconds in measured if seconds is not None]
    yield f"steady throughput      {result.steady:.1f} confirmed/s"
    if result.outages:
        away = statistics.median(outage.back_at - outage.killed_at for outage in result.outages)
        yield f"PostgreSQL outages     {len(result.outages)} measured, away for {away:.1f} s (p50)"
    if seen:
        after_return, after_kill = zip(*seen, strict=True)
        for since, times in (("return", after_return), ("death", after_kill)):
            p50 = statistics.median(times)
            yield f"throughput at 90 %     p50 {p50:.1f} s, max {max(times):.1f} s after its {since}"

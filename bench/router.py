"""The router beside simpler ones: time and certified gap over networks of 2 to 10,000 pools.

Decides: the networks, the rival methods, and what is measured. All methods route the same orders over the same pools
(constant products, prices within 2 % of each other, two intermediates) without a cost of a leg, so that a number is
the method's own; only the rows that say so keep to four legs, as one transaction must. `gap`: basis points below the
certified bound. CPU time, median over the networks.

    python -m bench.router --networks 20
"""

import argparse
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import combinations

from fillwright.errors import FillwrightError
from fillwright.order import Intent, Mode, Route, Side
from fillwright.pools import ChainTime
from fillwright.pools.cpmm import CpmmPool
from fillwright.routing import Limits, Offer, Router, best_route
from fillwright.units import Atoms, Bps, Millis, Mint, Token

IN, OUT, *BETWEEN = (Token(f"T{i}", Mint(f"mint{i}"), 6) for i in range(4))
TIME = ChainTime(slot=1, unix_seconds=1_790_000_000)
NOW = Millis(1_790_000_000_000)
FREE = Limits(legs_max=1_000, leg_cost_lamports=0)
FOUR = Limits(legs_max=4, leg_cost_lamports=0)
SIZES = (2, 10, 100, 1_000, 10_000)
BRUTE_MAX = 10
BRUTE_NETWORKS = 5

Way = tuple[CpmmPool, ...]
"""One or two pools in a row."""


class Network:
    """Pools between four tokens and an order that moves the price by about as much as the pools differ."""

    def __init__(self, size: int, seed: int) -> None:
        draw = random.Random(f"{size}/{seed}")
        values = [1.0, *(10 ** draw.uniform(-2, 2) for _ in range(3))]
        pairs = [(0, 1), (0, 1), (0, 2), (2, 1), (0, 3), (3, 1)] if size > 2 else [(0, 1)]
        self.pools = tuple(self._pool(draw, i, *pairs[i % len(pairs)], values) for i in range(size))
        self.amount = int(10 ** draw.uniform(10, 11.5))
        self.intent = Intent(
            side=Side.SELL,
            token_in=IN,
            token_out=OUT,
            amount=Atoms(self.amount),
            mode=Mode.EXACT_IN,
            slippage_bps=Bps(50),
        )
        self.offers = (Offer(venue="sim", latency_ms=Millis(0), pools=self.pools, time=TIME),)

    @staticmethod
    def _pool(draw: random.Random, i: int, a: int, b: int, values: Sequence[float]) -> CpmmPool:
        depth, tokens = 10 ** draw.uniform(11, 13.5), (IN, OUT, *BETWEEN)
        return CpmmPool(
            address=f"p{i}",
            venue="sim",
            mint_0=tokens[a].mint,
            mint_1=tokens[b].mint,
            vault_0_amount=Atoms(int(depth / values[a])),
            vault_1_amount=Atoms(int(depth / values[b] * draw.uniform(0.98, 1.02))),
            trade_fee_rate=draw.choice([100, 500, 2_500, 10_000]),
        )

    def between(self, a: Token, b: Token) -> list[CpmmPool]:
        return [pool for pool in self.pools if (pool.mint_0, pool.mint_1) == (a.mint, b.mint)]

    def ways(self) -> Iterator[Way]:
        """Every single pool, and for each intermediate the pairs of its best few pools."""
        yield from ((pool,) for pool in self.between(IN, OUT))
        for middle in BETWEEN:
            firsts = best(self.between(IN, middle), self.amount)
            for first in firsts:
                out = give((first,), self.amount)
                yield from ((first, second) for second in best(self.between(middle, OUT), out))


def best(pools: Sequence[CpmmPool], amount: int, count: int = 4) -> list[CpmmPool]:
    return sorted(pools, key=lambda pool: -give((pool,), amount))[:count]


def give(way: Way, amount: int) -> int:
    for pool in way:
        try:
            amount = pool.quote_in(Atoms(amount), pool.mint_0, TIME).amount_out
        except FillwrightError:
            return 0
    return amount


def moved(way: Way, amount: int) -> tuple[Way, int]:
    """The pools after the swap, and what came out."""
    after: list[CpmmPool] = []
    for pool in way:
        swap, next_pool = pool.swap_in(Atoms(amount), pool.mint_0, TIME)
        after.append(next_pool)
        amount = swap.amount_out
    return tuple(after), amount


# --- the methods ------------------------------------------------------------------------------------------


def best_single(network: Network) -> int:
    return max((give((pool,), network.amount) for pool in network.between(IN, OUT)), default=0)


def five_per_cent(network: Network) -> int:
    """The widespread way: quote every way at 5 %, 10 %, ..., 100 %, and combine them best (no way used twice)."""
    steps = 20
    table = [0] + [-1] * steps
    taken: list[frozenset[str]] = [frozenset()] * (steps + 1)
    quoted = [(way, [give(way, network.amount * k // steps) for k in range(steps + 1)]) for way in network.ways()]
    quoted = sorted(quoted, key=lambda entry: -entry[1][1])[:32]
    for way, outs in quoted:
        names = frozenset(pool.address for pool in way)
        for total in range(steps, 0, -1):
            for k in range(1, total + 1):
                before = table[total - k]
                if before >= 0 and not names & taken[total - k] and before + outs[k] > table[total]:
                    table[total], taken[total] = before + outs[k], taken[total - k] | names
    return table[steps]


def greedy(network: Network, chunks: int = 256) -> int:
    """Chunk by chunk to whichever way gives most for it."""
    state: dict[str, CpmmPool] = {pool.address: pool for pool in network.pools}
    names = [tuple(pool.address for pool in way) for way in network.ways()]
    touching = {address: [n for n in names if address in n] for n in names for address in n}
    chunk = network.amount // chunks
    gives = {n: give(tuple(state[a] for a in n), chunk) for n in names}
    out = 0
    for _ in range(chunks):
        chosen = max(gives, key=gives.__getitem__)
        after, got = moved(tuple(state[a] for a in chosen), chunk)
        out += got
        state.update({pool.address: pool for pool in after})
        for n in {n for a in chosen for n in touching[a]}:
            gives[n] = give(tuple(state[a] for a in n), chunk)
    return out


def routed(network: Network, router: Router, limits: Limits) -> int:
    return route_of(network, router, limits).amount_out


def brute_force(network: Network) -> int:
    """The best of every choice of at most four pools, each choice split optimally."""
    most = 0
    for count in range(1, FOUR.legs_max + 1):
        for choice in combinations(network.pools, count):
            offers = (Offer(venue="sim", latency_ms=Millis(0), pools=choice, time=TIME),)
            route = best_route(network.intent, offers, NOW, FOUR)
            most = max(most, route.amount_out if isinstance(route, Route) else 0)
    return most


# --- the table --------------------------------------------------------------------------------------------


def timed(method: Callable[[], int]) -> tuple[int, float]:
    begun = time.process_time()
    out = method()
    return out, (time.process_time() - begun) * 1e3


def route_of(network: Network, router: Router, limits: Limits) -> Route:
    route = router.best_route(network.intent, network.offers, NOW, limits)
    assert isinstance(route, Route)
    return route


def measure(size: int, networks: int) -> None:
    gaps: dict[str, list[float]] = {}
    times: dict[str, list[float]] = {}
    for seed in range(networks):
        network, router = Network(size, seed), Router()
        bound = route_of(network, router, FREE).bound
        methods: dict[str, Callable[[], int]] = {
            "router, any legs": partial(routed, network, router, FREE),
            "router, 4 legs": partial(routed, network, router, FOUR),
            "best single": partial(best_single, network),
            "5 % steps": partial(five_per_cent, network),
            "greedy, 256 chunks": partial(greedy, network),
        }
        if size <= BRUTE_MAX and seed < BRUTE_NETWORKS:
            methods["brute force, 4 legs"] = partial(brute_force, network)
        for name, method in methods.items():
            out, took = timed(method)
            gaps.setdefault(name, []).append((bound - out) / bound * 1e4)
            times.setdefault(name, []).append(took)
    for name, gap in gaps.items():
        middle = statistics.median
        print(f"{size:>7}  {name:<20}{middle(times[name]):>11.3f}{middle(gap):>14.5f}{max(gap):>14.5f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=15, help="of each size")
    args = parser.parse_args()
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}")
    print(f"{args.networks} networks of each size; exact in, no cost of a leg, pools already seen once")
    print(f"{'pools':>7}  {'method':<20}{'CPU ms':>11}{'gap bp, p50':>14}{'worst':>14}")
    for size in SIZES:
        measure(size, args.networks)


if __name__ == "__main__":
    main()

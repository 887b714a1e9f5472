"""The bins of a DLMM pool: what one costs, gives, and holds after a swap.

Decides: a bin's price, its three layers of output (liquidity, orders being processed, open orders), and whose each
atom of its fee is, as MeteoraAg/dlmm-sdk, commons/src/{quote.rs,extensions/bin.rs,math/*} and the program do it.
Must never: know which bin comes next, or what the fee rate is.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

import msgspec

from fillwright.pools import pool as p
from fillwright.pools.pool import U64_MAX
from fillwright.units import ceil_div

_BPS: Final = 10_000
_ORDERS_SHARE_BPS: Final = 5_000
"""What limit orders keep of the fees they earn; the rest is the protocol's: constants.rs LIMIT_ORDER_FEE_SHARE."""
_U128_MAX: Final = 2**128 - 1

U128: TypeAlias = str
"""Decimal text: JSON and msgpack end at 64 bits, and no quote reads one."""


class Bin(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One price level, as the program stores it. `amount_*` are the liquidity providers' alone.

    Limit orders sell token 0 (`ask_side` 1) or token 1 (0): what is left of the batch that is being `processing`,
    then `open_orders`. `fulfilled_*` and `order_fees_*` are totals that only order owners read.
    """

    id: int
    amount_0: int
    amount_1: int
    price: U128
    liquidity: U128 = "0"
    fees_per_share_0: U128 = "0"
    fees_per_share_1: U128 = "0"
    open_orders: int = 0
    processing: int = 0
    processed_left: int = 0
    order_age: int = 0
    ask_side: int = 0
    fulfilled_0: int = 0
    fulfilled_1: int = 0
    order_fees_ask: int = 0
    order_fees_bid: int = 0


class Rung(NamedTuple):
    """A bin seen from one direction: the output of its three layers in the order of use, and what all of it costs."""

    id: int
    price: int
    providers: int
    processed: int
    opened: int
    output: int
    cost: int


class Fill(NamedTuple):
    """What one bin did: `net_in` without a fee on the input; `surplus` is fee that only the protocol gets."""

    rung: Rung
    net_in: int
    fee: int
    surplus: int


def cost_of(output: int, price: int, from_0: bool) -> int:
    """Net input that buys `output`, rounded up: bin.rs get_amount_in."""
    return -(-(output << 64) // price) if from_0 else -(-output * price >> 64)


def _layers(rung: Rung, net_in: int, from_0: bool) -> list[tuple[int, int]]:
    """What each layer takes and gives: quote.rs get_exact_in_fill_amount_result. A layer is used up or the last."""
    done = []
    for output in (rung.providers, rung.processed, rung.opened):
        cost = cost_of(output, rung.price, from_0)
        if net_in >= cost:
            done.append((cost, output))
            net_in -= cost
        else:
            done.append((net_in, net_in * rung.price >> 64 if from_0 else (net_in << 64) // rung.price))
            net_in = 0
    return done


def filled(rung: Rung, net_in: int, from_0: bool) -> int:
    """Output of all layers for an input that need not pay for all of them."""
    if net_in >= rung.cost:
        return rung.output
    if rung.output == rung.providers:
        return net_in * rung.price >> 64 if from_0 else (net_in << 64) // rung.price
    return sum(output for _, output in _layers(rung, net_in, from_0))


def bin_after(b: Bin, fill: Fill, *, protocol_share: int, from_0: bool, fee_in_0: bool) -> tuple[Bin, int]:
    """The bin, and the protocol's part of the fee. Providers' fees are kept as a growth per unit of liquidity.

    quote.rs split_fee: providers and orders share the fee by their part of the net input, rounded up for the
    providers. Of their part the protocol takes `protocol_share`, of the orders' part half.
    """
    layers = _layers(fill.rung, fill.net_in, from_0)
    (paid, bought), (_, from_processed), (_, from_opened) = layers
    total = sum(layer[0] for layer in layers)
    providers_fee = ceil_div(fill.fee * paid, total) if total else 0
    orders_fee = fill.fee - providers_fee
    orders_keep = orders_fee * _ORDERS_SHARE_BPS // _BPS
    protocol_fee = providers_fee * protocol_share // _BPS
    growth = _growth(providers_fee - protocol_fee, b.liquidity)
    side = "0" if fee_in_0 else "1"
    changes: dict[str, object] = {f"fees_per_share_{side}": _wrapped(getattr(b, f"fees_per_share_{side}"), growth)}
    if from_0:
        changes |= {"amount_0": b.amount_0 + paid, "amount_1": b.amount_1 - bought}
    else:
        changes |= {"amount_1": b.amount_1 + paid, "amount_0": b.amount_0 - bought}
    if orders_keep or from_processed or from_opened:
        changes |= _orders_after(b, from_processed, from_opened, orders_keep, from_0=from_0)
    return msgspec.structs.replace(b, **changes), protocol_fee + orders_fee - orders_keep + fill.surplus


def _orders_after(b: Bin, from_processed: int, from_opened: int, fee: int, *, from_0: bool) -> dict[str, object]:
    """Open orders become the batch being processed as soon as one of them is touched."""
    fulfilled, fees = ("fulfilled_1", "order_fees_bid") if from_0 else ("fulfilled_0", "order_fees_ask")
    changes: dict[str, object] = {
        fulfilled: getattr(b, fulfilled) + from_processed + from_opened,
        fees: getattr(b, fees) + fee,
        "processed_left": b.processed_left - from_processed,
    }
    if from_opened:
        changes |= {
            "open_orders": 0,
            "processing": b.open_orders,
            "processed_left": b.open_orders - from_opened,
            "order_age": b.order_age + 1,
        }
    return changes


def _growth(fee: int, liquidity: U128) -> int:
    shares = int(liquidity) >> 64
    return (fee << 64) // shares if shares else 0


def _wrapped(total: U128, growth: int) -> U128:
    return str(int(total) + growth & _U128_MAX)


def ladder(bins: Iterable[Bin], limit_orders: bool, *, from_0: bool) -> Iterator[Rung]:
    """Bins with output, in the order of travel. Ends before a bin whose cost is beyond u64: the program fails there."""
    for b in bins:
        providers = b.amount_1 if from_0 else b.amount_0
        processed, opened = (b.processed_left, b.open_orders) if limit_orders and bool(b.ask_side) != from_0 else (0, 0)
        output = providers + processed + opened
        if not output:
            continue
        price = int(b.price)
        cost = cost_of(providers, price, from_0)
        if processed or opened:
            cost += cost_of(processed, price, from_0) + cost_of(opened, price, from_0)
        if cost > U64_MAX:
            return
        yield Rung(b.id, price, providers, processed, opened, output, cost)


@lru_cache(maxsize=65_536)
def bin_price(bin_id: int, bin_step: int) -> int:
    """(1 + step / 10,000) ** id in Q64.64: price_math.rs get_price_from_id, u64x64_math.rs pow."""
    square, result, exponent = _U128_MAX // ((1 << 64) + (bin_step << 64) // _BPS), 1 << 64, abs(bin_id)
    while exponent:
        if exponent & 1:
            result = result * square >> 64
        square = square * square >> 64
        exponent >>= 1
    if not result:
        raise p.refused(f"bin {bin_id} of step {bin_step} has no price")
    return _U128_MAX // result if bin_id > 0 else result

"""Pools: one file a curve, each a frozen value that answers exactly what its on-chain program would do."""

from fillwright.pools.pool import ChainTime, Pool, PoolRefused, Segment, Swap

__all__ = ["ChainTime", "Pool", "PoolRefused", "Segment", "Swap"]

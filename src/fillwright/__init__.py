"""Fillwright: a self-hosted order execution engine for Solana venues."""

__version__ = "0.1.0"

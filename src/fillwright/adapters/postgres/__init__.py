"""The production store: PostgreSQL, one write connection a process with group commit, a small pool for reads.

Decides: what is public here. Must never: hold behaviour of its own.
"""

from fillwright.adapters.postgres.store import PostgresStore

__all__ = ["PostgresStore"]

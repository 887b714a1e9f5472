"""A Solana of one's own to rehearse on: blocks, accounts, programs, nodes, and all that can go wrong with them.

Decides: nothing; `serving` (server) is what the outside starts, `Bank` (bank) what tests drive by hand. Must never: be
needed by the engine, which knows a localnet only as the address of a node.
"""

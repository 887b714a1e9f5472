"""Servers that tests start, own and end.

Decides: nothing; each file is one kind of server. Must never: touch a server that a test did not start.
"""

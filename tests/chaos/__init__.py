"""Real processes under fire: an accepted order is never lost, and none settles twice.

Decides: nothing; __main__ is the campaign. Must never: touch a server or a process that it did not start.
"""

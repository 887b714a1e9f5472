"""The console in a real browser, against the real server as its own process.

Decides: what a person at the console may rely on, with a mouse, a keyboard or a screen reader. Must never: reach
into the page's own code.
"""

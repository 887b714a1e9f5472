"""Implementations of the ports. They do not know each other; only app.py knows them."""

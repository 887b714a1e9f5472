"""What an operator may decide, below the one table that config.py reads."""

"""The documentation does what it says: its blocks run, its links lead somewhere, its site builds."""

"""Swaps that our instructions ask of the programs' own binaries: `make test-programs DIR=…`, see __main__.py."""

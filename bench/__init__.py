"""Benchmarks. They measure and print; they judge nothing."""

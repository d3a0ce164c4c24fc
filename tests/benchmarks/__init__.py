"""Benchmarks: run by hand, one command each; no default test asserts a time."""

"""Comparison of two runs: the numbers of their tables, and their settings, code and machines."""

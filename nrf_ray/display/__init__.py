"""Formatting of numbers, durations, tables and drawings, independent of experiments."""

"""Constructed datasets: specs as plain data, crafting methods, stored sets and leakage-only controls."""

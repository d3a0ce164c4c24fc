"""Stored tables of a sweep, access to stored sweeps by name, and the printed summary."""

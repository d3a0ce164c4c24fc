"""Tests of the graph: stages, keys, store, plan."""

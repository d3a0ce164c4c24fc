"""The graph: stages, keys, store, plan. Imports neither torch nor ray."""

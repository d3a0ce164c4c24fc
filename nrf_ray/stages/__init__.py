"""The stages: one file a kind, the only place where the science meets the graph.

Configs and stage functions can be imported without torch; a stage imports what it works with when it runs.
"""

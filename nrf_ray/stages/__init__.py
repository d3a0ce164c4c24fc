"""Stages, one file per kind: the only modules that connect the science to the graph.

Configs and stage functions can be imported without torch; a stage imports what it needs when it runs.
"""

"""Run a sweep on Ray. Only this package imports ray."""

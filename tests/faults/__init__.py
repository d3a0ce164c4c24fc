"""Faults: kills, errors of the system, damage, drivers that run at once; what is wrong after them is counted."""

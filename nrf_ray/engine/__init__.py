"""Computation of networks: the twin that attacks use, precision, memory, work counters."""

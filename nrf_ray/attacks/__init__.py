"""Threat models, attacks as plain data, the PGD loop and the others, robust accuracy, checks and trust."""

"""Threat models, attacks as plain data, the PGD loop and other attacks, robust accuracy, checks and trust levels."""

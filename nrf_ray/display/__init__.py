"""How numbers, durations, tables and drawings look; it knows nothing of experiments."""

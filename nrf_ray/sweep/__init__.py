"""Building blocks of sweeps: tables and rows, grids and their flags, models and sets as stages with readable names."""

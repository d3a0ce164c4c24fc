"""Features that are useful or robustly useful, and linear features, whose robustness is certified."""

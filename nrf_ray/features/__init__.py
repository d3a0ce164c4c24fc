"""What features are: useful, robustly useful; those of linear models, whose robustness is certified."""

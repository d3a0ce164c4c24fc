"""Constructed datasets: what can be made, as plain data, and how each kind is made, kept and controlled."""

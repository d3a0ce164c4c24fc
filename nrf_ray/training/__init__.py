"""Recipes as plain data, and the one training loop."""

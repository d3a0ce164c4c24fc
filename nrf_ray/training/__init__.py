"""Recipes as plain data, and the one loop that trains."""

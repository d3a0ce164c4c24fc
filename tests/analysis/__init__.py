"""Tests of what is made of the tables: statistics, figures, the notebooks."""

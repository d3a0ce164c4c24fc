"""Tests of what is said to have changed between two stores."""

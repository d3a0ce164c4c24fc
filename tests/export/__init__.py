"""Tests of what leaves a store for other people."""

"""Architectures: a catalogue without torch, and the zoo that builds them. Imports nothing of nrf_ray."""

"""Settings of all tests: hypothesis is the same on every run, and short."""

from hypothesis import settings

settings.register_profile("nrf", max_examples=50, deadline=None, derandomize=True)
settings.load_profile("nrf")

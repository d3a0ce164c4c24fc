"""Architectures: a list without torch, and the functions that build them. Imports only `errors` of nrf_ray."""

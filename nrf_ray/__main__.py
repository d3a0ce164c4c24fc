"""`python -m nrf_ray` is the `nrf` command."""

from nrf_ray.cli import nrf_main

if __name__ == "__main__":
    nrf_main()

"""Commands of `nrf` on a store: show and explain its contents, verify them, clean up."""

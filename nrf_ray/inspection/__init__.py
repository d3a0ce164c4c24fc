"""What `nrf` does with a store: say what is there and why, verify it, clean it up."""

"""What changed between two runs: the numbers of their tables, and what was behind them."""

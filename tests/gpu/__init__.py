"""What only a CUDA device can show: `pytest -m gpu` on a machine that has one."""

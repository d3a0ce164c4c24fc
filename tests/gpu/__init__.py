"""What only a CUDA device can show: `pytest -n 0 -m gpu` on a machine that has one."""

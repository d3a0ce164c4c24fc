"""Where data lie on this machine: one folder for downloads, prepared copies and what is known of files.

It is `$NRF_DATA`, or `~/.cache/nrf_ray` where that is not set. Everything in it can be deleted and comes back.
"""

import os
from pathlib import Path

from nrf_ray.errors import expanded

VARIABLE = "NRF_DATA"
STORE = "nrf-store.json"
"""The file that marks a store of results, whose parquet files are no data of anybody's."""


def data_home() -> Path:
    """Return the folder, which may not exist yet."""
    return expanded(os.environ.get(VARIABLE) or "~/.cache/nrf_ray").absolute()

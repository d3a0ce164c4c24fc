"""The data home of this machine: one folder for downloads, prepared copies and file metadata.

It is `$NRF_DATA`, or `~/.cache/nrf_ray` if that is not set. Everything in it can be deleted: downloads are repeated by
`nrf fetch`, and the rest is computed again when needed.
"""

import os
from pathlib import Path

from nrf_ray.errors import expanded

VARIABLE = "NRF_DATA"
STORE = "nrf-store.json"
"""Name of the file that marks a store of results, whose parquet files are not a dataset."""


def data_home() -> Path:
    """Return the data home, which may not exist yet."""
    return expanded(os.environ.get(VARIABLE) or "~/.cache/nrf_ray").absolute()

"""Datasets of a stage on a machine without their files: brought from the store, if they were pushed into it."""

from nrf_ray.data.catalogue import DatasetRef
from nrf_ray.data.published import PREFIX
from nrf_ray.data.pushed import are_here, pull, pulled
from nrf_ray.graph.blobs import Blobs
from nrf_ray.graph.stage import Stage


def bring(stage: Stage, blobs: Blobs) -> None:
    """Pull the datasets in the config of `stage` that are not on this machine; do nothing for sets that are not pushed.

    Every process that works on a stage calls this first.
    """
    for ref in {value for value in vars(stage.config).values() if isinstance(value, DatasetRef)}:
        of_files = ref.location and not ref.location.startswith(PREFIX)
        if of_files and not are_here(ref.location) and pulled(ref.digest) is None:
            pull(ref.digest, blobs)

"""Download a known dataset to its default place, by torchvision's addresses and checksums.

Only `nrf fetch` does this: no plan and no run downloads anything. What arrives is checked against torchvision's digest
and neither unpacked nor unpickled; the readers take it as it is.
"""

from pathlib import Path

from nrf_ray.data.places import data_home
from nrf_ray.errors import ConfigError, lookup


def fetch_dataset(name: str) -> Path:
    """Return the folder that holds the dataset `name`, after downloading what is missing there.

    Raises ConfigError where the dataset is none that can be downloaded, or the download does not succeed.
    """
    lookup(dict.fromkeys(("fashion-mnist", "cifar10", "cifar100")), name, "dataset to fetch")
    from torchvision.datasets.utils import download_url

    folder = data_home() / name
    for address, md5 in _sources(name):
        try:
            download_url(address, str(folder), address.rpartition("/")[2], md5)
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"{address} cannot be downloaded: {error}; put the file into {folder} by hand, or say where the set "
                f"is as {name}:PATH"
            ) from error
    return folder


def _sources(name: str) -> list[tuple[str, str]]:
    """Return address and digest of every file of the dataset `name`."""
    from torchvision import datasets

    if name == "fashion-mnist":
        mirror = datasets.FashionMNIST.mirrors[0]
        return [(f"{mirror.rstrip('/')}/{file}", md5) for file, md5 in datasets.FashionMNIST.resources]
    archive = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    return [(archive.url, archive.tgz_md5)]

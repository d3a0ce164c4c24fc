"""Download a dataset to its default folder, by torchvision's URLs and checksums; or texts or a model of the hub.

Only `nrf fetch` does this: no plan and no run downloads anything. Every file is checked against torchvision's digest
and neither unpacked nor unpickled; the readers read it as it is. Only the files of torchvision:NAME are downloaded
and unpacked by torchvision itself, as its class lays them out, and those of hf:NAME by Hugging Face's `datasets`. From
a set of texts on the Hugging Face hub only the parquet files are downloaded, and no code; of a model only its weights
and its config, to the cache of the hub.
"""

import importlib.util
from pathlib import Path
from typing import Any

from nrf_ray.data.places import data_home
from nrf_ray.data.readers import hf_cache
from nrf_ray.data.readers.torchvision_sets import LIBRARY, SETS
from nrf_ray.errors import ConfigError, lookup, one_line

TEXTS = "texts:"
"""Prefix of the name of a set of texts on the hub."""
HUB = "hf:"
"""Prefix of the name of a set of images on the hub."""
MODEL = "model:hf:"
"""Prefix of the name of a model on the hub."""
OF_A_MODEL = ("*.json", "*.safetensors", "pytorch_model.bin")
"""Files of a model that are downloaded."""


def fetch_dataset(name: str) -> Path:
    """Download the missing files of the dataset `name`, and return their folder.

    The texts of `texts:NAME` are then the dataset text-parquet:FOLDER, and the model `model:hf:REPO[@REVISION]` is
    hf:REPO[@REVISION]. torchvision downloads `torchvision:NAME` itself, and the library `datasets` `hf:NAME[:CONFIG]`.

    Raises ConfigError if the dataset cannot be downloaded by name, or the download fails.
    """
    if name.startswith(TEXTS):
        return _fetch_texts(name.removeprefix(TEXTS))
    if name.startswith(MODEL):
        return _fetch_model(name.removeprefix(MODEL))
    if name.startswith(HUB):
        return _fetch_of_datasets(name.removeprefix(HUB))
    if name.startswith(f"{LIBRARY}:"):
        return _fetch_of_torchvision(name.removeprefix(f"{LIBRARY}:"))
    lookup(dict.fromkeys(("fashion-mnist", "cifar10", "cifar100")), name, "dataset to fetch")
    from torchvision.datasets.utils import download_url

    folder = data_home() / name
    for address, md5 in _sources(name):
        try:
            download_url(address, str(folder), address.rpartition("/")[2], md5)
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"{address} cannot be downloaded: {error}; put the file into {folder} by hand, or give the path of "
                f"the set as {name}:PATH"
            ) from error
    return folder


def _fetch_of_torchvision(name: str) -> Path:
    """Let torchvision download its dataset `name`, and return its root."""
    known = lookup(SETS, name, f"dataset of {LIBRARY}")
    from torchvision import datasets

    root = data_home() / LIBRARY
    root.mkdir(parents=True, exist_ok=True)
    for given in filter(None, (known.train or {"transform": None}, known.test)):
        try:
            getattr(datasets, known.kind)(str(root), **given, download=True)
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"{LIBRARY} cannot download {name}: {one_line(error)}; put its files into {root} by hand, as {LIBRARY} "
                f"lays them out, or write {LIBRARY}:{name}=PATH with a root that has them"
            ) from error
    return root


def _fetch_of_datasets(name: str) -> Path:
    """Let Hugging Face's `datasets` download the set NAME or NAME:CONFIG to its cache, and return the cache."""
    if importlib.util.find_spec("datasets") is None:
        raise ConfigError(f"fetching {HUB}{name} needs the package datasets: pip install 'nrf_ray[hf]'")
    import datasets

    repository, _, config = name.partition(":")
    try:
        datasets.load_dataset(repository, config or None)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"{name} cannot be downloaded: {one_line(error)}; get its files by hand, and name them as folder:PATH or "
            "parquet:PATH"
        ) from error
    return hf_cache.cache()


def _fetch_texts(name: str) -> Path:
    """Download the parquet files of the set `name` on the hub, and return their folder."""
    hub, error_of_hub = _hub("texts")
    folder = data_home() / "texts" / name.replace("/", "--")
    try:
        hub.snapshot_download(name, repo_type="dataset", allow_patterns="*.parquet", local_dir=folder)
    except (error_of_hub, OSError, ValueError) as error:
        raise ConfigError(
            f"the texts {name} cannot be downloaded: {one_line(error)}; put their parquet files into a "
            "folder by hand, and name it as text-parquet:FOLDER"
        ) from error
    if not any(folder.rglob("*.parquet")):
        raise ConfigError(f"the texts {name} are not stored as parquet on the hub; convert them by hand")
    return folder


def _fetch_model(name: str) -> Path:
    """Download the weights and the config of a model on the hub to its cache, and return their folder there."""
    hub, error_of_hub = _hub("a model")
    repository, _, revision = name.partition("@")
    try:
        folder = hub.snapshot_download(repository, revision=revision or None, allow_patterns=OF_A_MODEL)
    except (error_of_hub, OSError, ValueError) as error:
        raise ConfigError(
            f"the model {name} cannot be downloaded: {one_line(error)}; get its weights by hand, and name them as "
            "file:PATH#arch=NAME"
        ) from error
    return Path(folder)


def _hub(what: str) -> tuple[Any, type[Exception]]:
    """Return the library of the hub and its error, or raise ConfigError that says how to install it."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError(f"fetching {what} needs the package huggingface_hub: pip install 'nrf_ray[text]'")
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError

    return huggingface_hub, HfHubHTTPError


def _sources(name: str) -> list[tuple[str, str]]:
    """Return URL and MD5 digest of every file of the dataset `name`."""
    from torchvision import datasets

    if name == "fashion-mnist":
        mirror = datasets.FashionMNIST.mirrors[0]
        return [(f"{mirror.rstrip('/')}/{file}", md5) for file, md5 in datasets.FashionMNIST.resources]
    archive = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    return [(archive.url, archive.tgz_md5)]

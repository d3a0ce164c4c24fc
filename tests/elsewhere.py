"""What tests of models from elsewhere share: the caches that downloads leave, and a set of 32 x 32 colour images.

A plugin of `tests/conftest.py`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nrf_ray.data.catalogue import DatasetInfo


def cached(hub: Path, repository: str, files: Mapping[str, bytes]) -> None:
    """Put `files` of a model into the cache `hub`."""
    folder = hub / f"models--{repository.replace('/', '--')}"
    snapshot = folder / "snapshots" / ("0" * 40)
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    snapshot.mkdir(parents=True)
    for name, data in files.items():
        (snapshot / name).write_bytes(data)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache of the hub."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder of torch's downloaded weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> "DatasetInfo":
    """Return a set like CIFAR-10 of random pixels: 80 images, 64 of them for testing."""
    import numpy as np

    from nrf_ray.data.catalogue import dataset_named
    from tests.data.files import pixels, write_parquet

    path = tmp_path_factory.mktemp("colours") / "colours.parquet"
    split = np.array(["train", "test"]).repeat([16, 64])
    write_parquet(path, pixels(80, (3, 32, 32)), np.arange(80) % 10, split=split)
    return dataset_named(f"parquet:{path}")

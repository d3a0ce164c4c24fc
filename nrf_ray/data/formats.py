"""Every kind of files that a dataset can be read from, by its name on the command line."""

from pathlib import Path

from nrf_ray.data.outline import Format
from nrf_ray.data.places import data_home
from nrf_ray.data.readers import (
    arrays,
    cifar,
    folder,
    hf_cache,
    idx,
    imagenet,
    parquet,
    tensors,
    text,
    torchvision_sets,
)
from nrf_ray.data.readers.guarded import guarded
from nrf_ray.errors import Registry

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Folder of the files of Debian's package dataset-fashion-mnist."""

_OWN: dict[str, Format] = {
    "fashion-mnist": Format(
        files=idx.files,
        outline=idx.outline,
        read=idx.read,
        known=True,
        places=(lambda: DEBIAN, lambda: data_home() / "fashion-mnist"),
        remedy="install Debian's dataset-fashion-mnist or run `nrf fetch fashion-mnist`",
    ),
    "cifar10": Format(
        files=cifar.CIFAR10.files,
        outline=cifar.CIFAR10.outline,
        read=cifar.CIFAR10.read,
        known=True,
        places=(lambda: data_home() / "cifar10",),
        remedy="run `nrf fetch cifar10`",
        # The std is from the authors' library, and is not the std of the pixels (paper.md 2.5).
        normalisation=((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    ),
    "cifar100": Format(
        files=cifar.CIFAR100.files,
        outline=cifar.CIFAR100.outline,
        read=cifar.CIFAR100.read,
        known=True,
        places=(lambda: data_home() / "cifar100",),
        remedy="run `nrf fetch cifar100`",
    ),
    "restricted-imagenet": Format(
        files=imagenet.files,
        outline=imagenet.outline,
        read=imagenet.read,
        pictures=imagenet.pictures,
        known=True,
        places=(lambda: data_home() / "imagenet",),
        remedy="put ImageNet's folders train and val there",
        chosen_by=lambda choices: imagenet.by_index(FORMATS["restricted-imagenet"], choices),
        choices=("classes",),
        normalisation=((0.4717, 0.4499, 0.3837), (0.2600, 0.2516, 0.2575)),
    ),
    "folder": folder.format_of(),
    "parquet": parquet.format_of(),
    "torchvision": Format.library(torchvision_sets.format_of, torchvision_sets.CHOICES),
    "hf": Format.library(hf_cache.format_of, hf_cache.CHOICES),
    "tensors": Format(files=tensors.files, outline=tensors.outline, read=tensors.read, passed_over=tensors.passed_over),
    "text-parquet": text.format_of("parquet"),
    "text-csv": text.format_of("csv"),
    "cifar10.1": Format(
        files=arrays.CIFAR10_1.files,
        outline=arrays.CIFAR10_1.outline,
        read=arrays.CIFAR10_1.read,
        known=True,
        places=(lambda: data_home() / "cifar10.1",),
        remedy="put cifar10.1_v6_data.npy and cifar10.1_v6_labels.npy there",
    ),
    **{
        f"cifar10-c.{corruption}": Format(
            files=made.files,
            outline=made.outline,
            read=made.read,
            known=True,
            listed=False,
            places=(lambda: data_home() / "cifar10-c",),
            remedy=f"put {corruption}.npy and labels.npy there",
        )
        for corruption, made in ((name, arrays.cifar10_c(name)) for name in arrays.CORRUPTIONS)
    },
}

FORMATS: Registry[Format] = Registry("dataset format", _OWN, prepare=guarded)
"""The formats by name; the readers document the files that each accepts."""

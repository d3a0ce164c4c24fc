"""Trained weights as safetensors, with the metadata needed to build their network; no pickle is ever read back."""

import json

import safetensors.torch
import torch

from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.data.load import encoder_of, normalisation
from nrf_ray.graph.record import check_loaded
from nrf_ray.graph.store import Artifact
from nrf_ray.models import zoo
from nrf_ray.models.catalogue import ENCODER, architecture_named
from nrf_ray.models.classifier import Classifier
from nrf_ray.models.from_transformers import EncoderBody

FILE = "weights.safetensors"


def save_weights(
    model: Classifier,
    *,
    arch: str,
    shape: tuple[int, int, int],
    num_classes: int,
    size: tuple[int, int] | None = None,
) -> bytes:
    """Return the weights of `model`, of architecture `arch` for images of `shape` (c, h, w), as a safetensors file.

    `size` is the height and width to which the model resizes its images, if it does.
    """
    tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    encoder = {"encoder": model.body.config} if isinstance(model.body, EncoderBody) else {}
    resized = {"size": size} if size else {}
    about = json.dumps({"arch": arch, "shape": shape, "num_classes": num_classes, **encoder, **resized})
    # One entry only: safetensors writes several in random order, and the same weights must give the same bytes.
    return bytes(safetensors.torch.save(tensors, {"nrf_ray": about}))


def load_model(artifact: Artifact, device: str) -> Classifier:
    """Return the trained model of a `train` artifact, in eval mode on `device`.

    Raises PluginMissing if its architecture is of a plug-in that this process has not loaded.
    """
    check_loaded(artifact.record)
    return place(model_of(artifact.read(FILE)), device).eval()


def model_of(data: bytes) -> Classifier:
    """Return the model of the weights file `data` that `save_weights` returned."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    about = json.loads(header["__metadata__"]["nrf_ray"])
    shape: tuple[int, int, int] = tuple(about["shape"])
    # Mean and std come with the weights.
    ones = (1.0,) * (shape[2] if architecture_named(about["arch"]).reads == "texts" else shape[0])
    model = zoo.build(
        about["arch"],
        shape=shape,
        num_classes=about["num_classes"],
        mean=ones,
        std=ones,
        seed=0,
        encoder=about.get("encoder"),
        size=about.get("size"),
    )
    model.load_state_dict(safetensors.torch.load(data))
    return model


def place(model: Classifier, device: str) -> Classifier:
    """Return `model` on `device`, its convolutions laid out channels last."""
    return model.to(device).to(memory_format=torch.channels_last)


def new_model(arch: str, dataset: DatasetRef, *, seed: int) -> Classifier:
    """Return a new model of architecture `arch` for `dataset`, untrained except for a pretrained encoder."""
    info = info_of(dataset)
    mean, std = normalisation(dataset)
    encoder = encoder_of(dataset) if arch == ENCODER else None
    return zoo.build(
        arch, shape=info.shape, num_classes=info.num_classes, mean=mean, std=std, seed=seed, encoder=encoder
    )

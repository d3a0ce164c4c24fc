"""The small networks: catalogue and zoo agree, sizes are as promised, and weights come back as they were saved."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.errors import ConfigError, Registry
from nrf_ray.models import catalogue
from nrf_ray.models.catalogue import ARCHITECTURES, Architecture
from nrf_ray.models.classifier import Classifier
from nrf_ray.models.zoo import BUILDERS, build
from nrf_ray.stages.weights import FILE, load_model, new_model, save_weights

DIGITS = dataset_named("digits").ref
SMALL = [arch for arch in BUILDERS if arch.endswith(("_s", "_m", "_b"))]
every_arch = pytest.mark.parametrize("arch", SMALL)
SHAPES = [(1, 8, 8), (3, 32, 32)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=["digits", "cifar"])


def made(arch, shape=(1, 8, 8), *, classes=10, seed=0):
    channels = shape[0]
    return build(arch, shape=shape, num_classes=classes, mean=[0.4] * channels, std=[0.3] * channels, seed=seed)


def pictures(shape, n=4):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))


def test_catalogue_and_zoo_have_the_same_names():
    assert list(BUILDERS) == list(ARCHITECTURES)
    assert all(architecture.name == name for name, architecture in ARCHITECTURES.items())
    assert all(architecture.family for architecture in ARCHITECTURES.values())


@every_arch
@every_shape
def test_shapes(arch, shape):
    model = made(arch, shape, classes=7).eval()
    with torch.no_grad():
        images = pictures(shape)
        representation, logits = model.representation(images), model(images)
    assert representation.shape == (4, model.head.in_features)
    assert logits.shape == (4, 7)
    torch.testing.assert_close(model.head(representation), logits)
    assert logits.isfinite().all()


@every_arch
@every_shape
def test_fewer_than_200_000_parameters(arch, shape):
    assert sum(parameter.numel() for parameter in made(arch, shape).parameters()) < 200_000


def test_architectures_differ():
    sizes = {arch: sum(parameter.numel() for parameter in made(arch).parameters()) for arch in SMALL}
    assert len(set(sizes.values())) == len(SMALL), sizes


@every_arch
def test_weights_come_from_the_seed_and_the_random_state_is_left_alone(arch):
    state = torch.random.get_rng_state()
    first, again, other = (made(arch, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)
    torch.rand(5)
    assert all(torch.equal(first[name], value) for name, value in made(arch, seed=1).state_dict().items())


@every_arch
@pytest.mark.parametrize("training", [False, True], ids=["eval", "train"])
def test_gradients_flow_to_every_image_and_every_parameter(arch, training):
    model = made(arch).train(training)
    images = pictures((1, 8, 8), 8).requires_grad_(True)
    nn.functional.cross_entropy(model(images), torch.arange(8)).backward()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_images_are_normalised_inside_the_network():
    model = Classifier(nn.Flatten(), width=8, num_classes=2, mean=(0.5, 0.25), std=(0.5, 0.125))
    images = torch.cat([torch.full((1, 1, 2, 2), 1.0), torch.full((1, 1, 2, 2), 0.5)], dim=1)
    assert model.representation(images).tolist() == [[1.0] * 4 + [2.0] * 4]
    assert {"mean", "std"} <= set(model.state_dict())
    assert {"mean", "std"}.isdisjoint(dict(model.named_parameters()))


@every_arch
def test_weights_come_back_as_they_were_saved(arch):
    model = new_model(arch, DIGITS, seed=3)
    images = pictures((1, 8, 8), 8)
    model.train()(images)  # moves BatchNorm's running statistics, which are part of the weights
    data = save_weights(model, arch=arch, shape=(1, 8, 8), num_classes=10)
    record = SimpleNamespace(provenance={})
    loaded = load_model(SimpleNamespace(read={FILE: data}.__getitem__, record=record), "cpu")
    assert not any(module.training for module in loaded.modules())
    assert list(loaded.state_dict()) == list(model.state_dict())
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
    with torch.no_grad():
        torch.testing.assert_close(loaded(images), model.eval()(images), rtol=0, atol=1e-5)
    assert save_weights(loaded, arch=arch, shape=(1, 8, 8), num_classes=10) == data, (
        "the same weights are the same bytes"
    )


def test_saved_weights_are_safetensors_and_no_pickle():
    data = save_weights(new_model("vgg_s", DIGITS, seed=0), arch="vgg_s", shape=(1, 8, 8), num_classes=10)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert json.loads(header["__metadata__"]["nrf_ray"]) == {"arch": "vgg_s", "shape": [1, 8, 8], "num_classes": 10}
    assert data[:4] != b"PK\x03\x04"
    assert data[:1] != b"\x80"


def test_an_architecture_of_ones_own_is_one_entry_with_its_builder(monkeypatch):
    architectures = Registry("architecture", ARCHITECTURES)
    monkeypatch.setattr(catalogue, "ARCHITECTURES", architectures)
    flat = Architecture(name="flat", family="linear", mmacs={8: 0.001})
    of_one = {"shape": (1, 8, 8), "num_classes": 10, "mean": [0.0], "std": [1.0], "seed": 0}
    architectures["flat"] = flat
    with pytest.raises(ConfigError, match="unknown builder of an architecture 'flat'; known: vgg_s"):
        build("flat", **of_one)
    architectures["flat"] = replace(flat, builder=lambda channels, height: (nn.Flatten(), channels * height * height))
    assert build("flat", **of_one)(torch.rand(3, 1, 8, 8)).shape == (3, 10)
    with pytest.raises(ConfigError, match="there is another architecture called 'vgg_s'"):
        architectures.register("vgg_s")(replace(flat, name="vgg_s"))

"""The paper's architectures: published sizes, shapes of every kind of image, and costs as the catalogue says."""

import sys

import pytest
import torch
from torch import nn

from nrf_ray.errors import ConfigError
from nrf_ray.models import from_timm
from nrf_ray.models.catalogue import ARCHITECTURES, architecture_named
from nrf_ray.models.classifier import Classifier, forward_macs, parameter_count
from nrf_ray.models.zoo import BUILDERS, build
from nrf_ray.stages import costs

PUBLISHED = ("vgg16", "inception_v3", "resnet18", "resnet50", "densenet121")
CIFAR, FASHION, IMAGENET = (3, 32, 32), (1, 28, 28), (3, 224, 224)
PARAMETERS = {"vgg16": 14728266, "resnet18": 11173962, "resnet50": 23520842, "densenet121": 6956426}
"""With 10 classes: kuangliu/pytorch-cifar has the first three, and DenseNet without its first BatchNorm's 128."""
TORCHVISION_PARAMETERS = {
    "vgg16": 138365992,
    "inception_v3": 23834568,
    "resnet18": 11689512,
    "resnet50": 25557032,
    "densenet121": 7978856,
}
"""With 1000 classes, as torchvision's documentation says (Inception without its auxiliary head)."""


def made(arch, shape, *, classes=10, seed=0):
    channels = shape[0]
    return build(arch, shape=shape, num_classes=classes, mean=[0.4] * channels, std=[0.3] * channels, seed=seed)


def pictures(shape, n=2):
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=PUBLISHED)
def network(request):
    """Return the name and the CIFAR form of each architecture, in eval mode. Tests must leave it as it is."""
    return request.param, made(request.param, CIFAR).eval()


def test_cifar_forms_have_their_published_sizes(network):
    arch, model = network
    if arch in PARAMETERS:
        assert parameter_count(model) == PARAMETERS[arch]


def test_the_representation_is_what_the_head_reads_and_gradients_flow_to_every_image(network):
    _, model = network
    images = pictures(CIFAR).requires_grad_(True)
    representation, logits = model.representation(images), model(images)
    assert representation.shape == (2, model.head.in_features)
    assert logits.shape == (2, 10)
    torch.testing.assert_close(model.head(representation), logits)
    (gradient,) = torch.autograd.grad(nn.functional.cross_entropy(logits, torch.arange(2)), images)
    assert (gradient.flatten(1).abs().sum(1) > 0).all()


def test_the_representation_is_behind_a_relu(network):
    _, model = network
    with torch.no_grad():
        assert model.representation(pictures(CIFAR)).min() >= 0


def test_in_eval_mode_an_image_does_not_see_the_others(network):
    _, model = network
    images = pictures(CIFAR)
    with torch.no_grad():
        torch.testing.assert_close(model(images)[:1], model(images[:1]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("arch", PUBLISHED)
def test_fashion_mnist_fits_and_trains(arch):
    model = made(arch, FASHION, classes=7).train()
    logits = model(pictures(FASHION))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("arch", ["resnet18", "densenet121"])
def test_weights_come_from_the_seed(arch):
    state = torch.random.get_rng_state()
    first, again, other = (made(arch, CIFAR, seed=seed).state_dict() for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize("arch", ["resnet18", pytest.param("vgg16", marks=pytest.mark.slow), *PUBLISHED[3:]])
def test_imagenet_forms_are_those_of_torchvision(arch):
    model = made(arch, IMAGENET, classes=1000).eval()
    assert parameter_count(model) == TORCHVISION_PARAMETERS[arch]
    assert forward_macs(model, IMAGENET) == pytest.approx(architecture_named(arch).macs(224, 224), rel=0.02)
    with torch.no_grad():
        assert model(pictures(IMAGENET, 1)).shape == (1, 1000)


def test_the_imagenet_form_of_inception_is_that_of_torchvision():
    model = made("inception_v3", IMAGENET, classes=1000)
    assert parameter_count(model) == TORCHVISION_PARAMETERS["inception_v3"]
    assert forward_macs(model, (3, 299, 299)) == pytest.approx(5.71e9, rel=0.01), "torchvision's documentation: 5.71"
    grey = made("inception_v3", (1, 224, 224))
    assert forward_macs(grey, (1, 224, 224)) < forward_macs(model, IMAGENET)


def test_multiply_adds_of_a_network_counted_by_hand():
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1, bias=False),  # 4 x 4 x 4 outputs, 27 each
        nn.BatchNorm2d(4),
        nn.Conv2d(4, 8, 1, groups=2),  # 8 x 4 x 4 outputs, 2 each
        nn.Dropout(0.5),
        nn.Flatten(),
    )
    model = Classifier(body, width=128, num_classes=10, mean=[0.0] * 3, std=[1.0] * 3)
    body[1].eval()
    assert forward_macs(model, (3, 8, 8)) == 64 * 27 + 128 * 2 + 128 * 10
    assert parameter_count(model) == 108 + 8 + 24 + 1290
    assert [module.training for module in body] == [True, False, True, True, True], "left as it was found"
    assert body[1].num_batches_tracked == 0


SIZES = [(1, 8, 8), FASHION, CIFAR]
PICTURES = [arch for arch in BUILDERS if architecture_named(arch).reads == "images"]
MEASURED = [(arch, size) for arch in PICTURES for size in SIZES if arch not in PUBLISHED or size[1] > 8]


@pytest.mark.parametrize(("arch", "shape"), MEASURED)
def test_the_catalogue_knows_the_multiply_adds(arch, shape):
    measured = forward_macs(made(arch, shape), shape)
    assert architecture_named(arch).macs(*shape[1:]) == pytest.approx(measured, rel=0.1)


def test_seconds_follow_the_work_and_the_device():
    resnet = costs.image_seconds("resnet50", CIFAR)
    assert resnet == pytest.approx(3 * 1.298e9 / 4.5e10 + 2e-5)
    assert costs.image_seconds("resnet50", CIFAR, batch=1) == pytest.approx(3 * 1.298e9 / 4.5e10 + 2.56e-3)
    assert costs.image_seconds("resnet50", CIFAR, "a100") == pytest.approx(3 * 1.298e9 / (19.5e12 * 0.57 / 2) + 2e-5)
    assert costs.image_seconds("resnet50", CIFAR, "a100", mode="fast") == pytest.approx(
        3 * 1.298e9 / (312e12 * 0.19 / 2) + 2e-5
    )
    assert (
        costs.image_seconds("resnet50", CIFAR, "cuda") == costs.image_seconds("resnet50", CIFAR, "a100") < resnet / 99
    )
    assert costs.image_seconds("densenet_s", CIFAR) > costs.image_seconds("resnet_s", CIFAR)
    with pytest.raises(ConfigError, match=r"unknown device 'tpu'; known: cpu, a100, h100, .*, mi300x"):
        costs.image_seconds("resnet50", CIFAR, "tpu")


def test_what_others_published_on_an_a100_is_between_the_modes():
    """paper.md 3.6: D_rand of CIFAR-10 with a ResNet-50 in 20 minutes, a training in about an hour.

    Their precision is not stated; torch's default on an A100 is TF32, which is faster than float32 and slower than
    bfloat16.
    """
    faithful, fast = (costs.image_seconds("resnet50", CIFAR, "a100", mode=mode) for mode in ("faithful", "fast"))
    for published, images in ((3600, 200 * 50_000), (1200, costs.ATTACK_SHARE * 100 * 50_000)):
        assert images * fast < published < images * faithful
        assert images * faithful < 2.5 * published


@pytest.mark.parametrize("name", ["resnet_xl", "timm:", "timm:ResNet 50", "TIMM:resnet18", ""])
def test_unknown_names_are_refused_with_the_known_ones(name):
    with pytest.raises(ConfigError, match=r"known: vgg_s, .*, vgg16, .*, timm:NAME"):
        costs.architecture_named(name)


def test_a_name_of_timm_is_taken_at_its_word_when_planning():
    assert "timm:no_such_thing" not in ARCHITECTURES
    assert costs.architecture_named("timm:no_such_thing").family == "no_such_thing"
    assert costs.image_seconds("timm:no_such_thing", IMAGENET) > costs.image_seconds("resnet18", IMAGENET)


@pytest.mark.parametrize(
    ("name", "shape"),
    [("test_resnet", FASHION), ("test_resnet", (3, 96, 96)), ("test_vit", CIFAR), ("test_efficientnet", FASHION)],
)
def test_networks_of_timm(name, shape):
    pytest.importorskip("timm")
    model = made(f"timm:{name}", shape, classes=5)
    assert all(module.training for module in model.modules())
    images = pictures(shape).requires_grad_(True)
    representation = model.eval().representation(images)
    assert representation.shape == (2, model.head.in_features)
    model(images).sum().backward()
    assert (images.grad.flatten(1).abs().sum(1) > 0).all()
    again = made(f"timm:{name}", shape, classes=5).state_dict()
    assert all(torch.equal(value, again[key]) for key, value in model.state_dict().items())


def test_what_timm_does_not_have_is_refused_with_what_is_close():
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=r"has no model 'resnet18x'; close: .*resnet18"):
        made("timm:resnet18x", CIFAR)


def test_what_timm_cannot_build_is_refused():
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match="timm:test_vit cannot be built for 1 x 8 x 8 images"):
        made("timm:test_vit", (1, 8, 8))


def test_without_timm_the_way_to_it_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    monkeypatch.setattr(from_timm.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'nrf_ray\[timm\]'"):
        made("timm:resnet18", CIFAR)


def takes(body, height, width):
    """Return whether a network on "meta" takes images of that size; nothing is computed."""
    try:
        body(torch.zeros(2, 3, height, width, device="meta"))
    except RuntimeError:
        return False
    return True


@pytest.mark.parametrize("arch", [name for name, known in ARCHITECTURES.items() if known.reads == "images"])
def test_the_smallest_image_of_an_architecture_is_as_its_catalogue_says(arch):
    for height, side in ARCHITECTURES[arch].smallest.items():
        tall = max(height, side)
        with torch.device("meta"):
            body = BUILDERS[arch](3, tall)[0].eval()
        assert takes(body, tall, side)
        assert side == 1 or not takes(body, tall, side - 1)
        assert ARCHITECTURES[arch].smallest_side(tall) == side


@pytest.mark.parametrize("arch", [name for name, known in ARCHITECTURES.items() if known.multiple > 1])
def test_the_sides_of_its_images_are_multiples_of_what_its_catalogue_says(arch):
    multiple = ARCHITECTURES[arch].multiple
    with torch.device("meta"):
        body = BUILDERS[arch](3, 32)[0].eval()
    sides = range(2 * multiple, 9 * multiple)
    assert [side for side in sides if takes(body, side, side)] == [side for side in sides if side % multiple == 0]

"""Pretrained networks of timm and torchvision: found in the places where their libraries keep weights, or refused."""

import pytest
import safetensors.torch
import torch
from torch import nn

from nrf_ray.errors import ConfigError
from nrf_ray.models.classifier import Classifier, Resized
from nrf_ray.models.pretrained import timm_classifier, torchvision_classifier, weights_of
from nrf_ray.models.weight_files import WeightsError
from nrf_ray.models.zoo import build
from tests.elsewhere import cached

TIMM_NAME, HUB_ID = "test_resnet", "timm/test_resnet.r160_in1k"
TORCHVISION_NAME, WEIGHTS = "shufflenet_v2_x0_5", "shufflenetv2_x0.5-f707e7126e.pth"


def test_images_are_resized_after_they_are_normalised_and_every_pixel_has_a_gradient():
    network = Classifier(Resized(nn.Flatten(), (4, 4)), width=32, num_classes=2, mean=(0.5, 0.25), std=(0.5, 0.25))
    images = torch.rand((3, 2, 4, 4), generator=torch.Generator().manual_seed(0))
    expected = torch.stack([(images[:, 0] - 0.5) / 0.5, (images[:, 1] - 0.25) / 0.25], dim=1)
    assert torch.equal(network.representation(images), expected.flatten(1))
    larger = torch.tensor([0.75, 0.5]).view(1, 2, 1, 1).expand(1, 2, 9, 13).clone().requires_grad_(True)
    resized = network.representation(larger)
    assert torch.allclose(resized, torch.tensor([0.5, 1.0]).repeat_interleave(16), atol=1e-6)
    resized.sum().backward()
    assert (larger.grad > 0).all(), "resizing leaves no pixel out"


def test_a_network_of_timm_is_its_library_s_behind_its_own_normalisation(hub):
    timm = pytest.importorskip("timm")
    theirs = timm.create_model(TIMM_NAME, pretrained=False).eval()
    cached(hub, HUB_ID, {"model.safetensors": (data := safetensors.torch.save(theirs.state_dict()))})
    found, config = weights_of(f"timm:{TIMM_NAME}"), timm.get_pretrained_cfg(TIMM_NAME)
    assert (found.mean, found.std, found.size) == (config.mean, config.std, config.input_size[1:])
    ours, library = timm_classifier(TIMM_NAME, data, mean=found.mean, std=found.std)
    assert not any(module.training for module in ours.modules())
    images = torch.rand((2, *config.input_size), generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (config.mean, config.std))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs((images - mean) / std), rtol=0, atol=1e-5)
        torch.testing.assert_close(library(images), theirs((images - mean) / std), rtol=0, atol=0)


def test_a_network_of_torchvision_is_its_library_s_behind_its_own_normalisation(checkpoints):
    from torchvision import models

    theirs = models.get_model(TORCHVISION_NAME).eval()
    torch.save(theirs.state_dict(), checkpoints / WEIGHTS)
    name = f"{TORCHVISION_NAME}.IMAGENET1K_V1"
    found = weights_of(f"torchvision:{name}")
    assert found == (str(checkpoints / WEIGHTS), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (224, 224))
    ours, _ = torchvision_classifier(name, mean=found.mean, std=found.std)
    images = torch.rand((2, 3, 224, 224), generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in (found.mean, found.std))
    with torch.no_grad():
        torch.testing.assert_close(ours(images), theirs((images - mean) / std), rtol=0, atol=1e-5)
    again = build(f"torchvision:{name}", shape=(3, 224, 224), num_classes=1000, mean=(0,) * 3, std=(1,) * 3, seed=0)
    again.load_state_dict(ours.state_dict())


@pytest.mark.filterwarnings("ignore:The default weight initialization:FutureWarning")
@pytest.mark.parametrize("name", ["squeezenet1_0", "googlenet", "inception_v3"])
def test_a_network_without_one_linear_layer_at_its_end_is_refused(name):
    with pytest.raises(
        ConfigError, match=f"torchvision:{name} does not end in one linear layer, so it has no represen"
    ):
        build(f"torchvision:{name}", shape=(3, 224, 224), num_classes=1000, mean=(0,) * 3, std=(1,) * 3, seed=0)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (TIMM_NAME, rf"not in the hub's cache, and no run downloads anything; run: nrf fetch model:hf:{HUB_ID}"),
        (f"{TIMM_NAME}.of_mars", "timm has no weights 'test_resnet.of_mars': Invalid pretrained tag"),
        ("test_resnt", "has no model 'test_resnt'; close: .*test_resnet"),
    ],
)
def test_what_timm_has_not_is_refused_in_one_line(name, said, hub, checkpoints):
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=said) as told:
        weights_of(f"timm:{name}")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (TORCHVISION_NAME, rf"not in .*checkpoints, and no run downloads anything; put the file .*{WEIGHTS} there"),
        (f"{TORCHVISION_NAME}.V7", "no weights 'V7' of shufflenet_v2_x0_5; known: IMAGENET1K_V1"),
        ("fcn_resnet50", "torchvision has no classifier 'fcn_resnet50'"),
    ],
)
def test_what_torchvision_has_not_is_refused_in_one_line(name, said, checkpoints):
    with pytest.raises(ConfigError, match=said) as told:
        weights_of(f"torchvision:{name}")
    assert "\n" not in str(told.value)


def test_damaged_weights_are_refused():
    pytest.importorskip("timm")
    with pytest.raises(WeightsError, match="neither safetensors nor an intact file of torch"):
        timm_classifier(TIMM_NAME, b"these are no weights", mean=(0,) * 3, std=(1,) * 3)

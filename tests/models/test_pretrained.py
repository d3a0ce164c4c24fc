"""Pretrained networks of timm and torchvision: found in the places where their libraries keep weights, or refused."""

import pytest
import safetensors.torch
import torch
from torch import nn

from nrf_ray.errors import ConfigError
from nrf_ray.models.pretrained import Pretrained, pretrained_timm, pretrained_torchvision

TIMM_NAME, HUB_ID = "test_resnet", "timm/test_resnet.r160_in1k"
TORCHVISION_NAME, WEIGHTS = "shufflenet_v2_x0_5", "shufflenetv2_x0.5-f707e7126e.pth"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return an empty cache of the Hugging Face hub."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    """Return an empty folder of torch's downloaded weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def put_into(hub, data: bytes) -> None:
    """Put a file of weights where a download from the hub would leave it."""
    folder = hub / f"models--{HUB_ID.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (folder / "snapshots" / ("0" * 40) / "model.safetensors").write_bytes(data)


def test_images_are_resized_and_normalised_as_the_network_expects():
    network = Pretrained(nn.Flatten(), mean=(0.5, 0.25), std=(0.5, 0.25), size=(4, 4))
    images = torch.rand((3, 2, 4, 4), generator=torch.Generator().manual_seed(0))
    expected = torch.stack([(images[:, 0] - 0.5) / 0.5, (images[:, 1] - 0.25) / 0.25], dim=1)
    assert torch.equal(network(images), expected.flatten(1))
    larger = torch.tensor([0.75, 0.5]).view(1, 2, 1, 1).expand(1, 2, 9, 13).clone().requires_grad_(True)
    resized = network(larger)
    assert torch.allclose(resized, torch.tensor([0.5, 1.0]).repeat_interleave(16), atol=1e-6)
    resized.sum().backward()
    assert (larger.grad > 0).all(), "every pixel has a gradient, as resizing leaves none out"


def test_a_network_of_timm_is_its_library_s_behind_its_own_normalisation(hub):
    timm = pytest.importorskip("timm")
    theirs = timm.create_model(TIMM_NAME, pretrained=False).eval()
    put_into(hub, safetensors.torch.save(theirs.state_dict()))
    ours, config = pretrained_timm(TIMM_NAME), timm.get_pretrained_cfg(TIMM_NAME)
    assert not ours.training
    images = torch.rand((2, *config.input_size), generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (config.mean, config.std))
    with torch.no_grad():
        assert torch.equal(ours(images), theirs((images - mean) / std))
        assert ours(images[:, :, ::2, ::2]).shape == (2, config.num_classes), "images of any size"


def test_a_network_of_torchvision_is_its_library_s_behind_its_own_normalisation(checkpoints):
    from torchvision import models

    theirs = models.get_model(TORCHVISION_NAME).eval()
    torch.save(theirs.state_dict(), checkpoints / WEIGHTS)
    ours = pretrained_torchvision(f"{TORCHVISION_NAME}.IMAGENET1K_V1")
    assert not ours.training
    images = torch.rand((2, 3, 224, 224), generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(x).view(1, 3, 1, 1) for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        assert torch.equal(ours(images), theirs((images - mean) / std))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (TIMM_NAME, rf"not in the hub's cache, and nothing is downloaded; run: hf download {HUB_ID}, or write a func"),
        (f"{TIMM_NAME}.of_mars", "timm has no weights 'test_resnet.of_mars': Invalid pretrained tag"),
        ("test_resnt", "has no model 'test_resnt'; close: .*test_resnet"),
    ],
)
def test_what_timm_has_not_is_refused_in_one_line(name, said, hub, checkpoints):
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=said) as told:
        pretrained_timm(name)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (TORCHVISION_NAME, rf"not in .*checkpoints, and nothing is downloaded; put the file .*{WEIGHTS} there, or"),
        (f"{TORCHVISION_NAME}.V7", "no weights 'V7' of shufflenet_v2_x0_5; known: IMAGENET1K_V1"),
        ("fcn_resnet50", "torchvision has no classifier 'fcn_resnet50'"),
    ],
)
def test_what_torchvision_has_not_is_refused_in_one_line(name, said, checkpoints):
    with pytest.raises(ConfigError, match=said) as told:
        pretrained_torchvision(name)
    assert "\n" not in str(told.value)


def test_damaged_weights_are_refused_in_one_line(hub, checkpoints):
    pytest.importorskip("timm")
    put_into(hub, b"these are no weights")
    (checkpoints / WEIGHTS).write_bytes(b"these are no weights")
    for load, name in ((pretrained_timm, TIMM_NAME), (pretrained_torchvision, TORCHVISION_NAME)):
        with pytest.raises(ConfigError, match="cannot be read: ") as told:
            load(name)
        assert "\n" not in str(told.value)

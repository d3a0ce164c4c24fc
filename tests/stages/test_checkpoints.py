"""Checkpoints as people and libraries save them: read so that logits are the original's, or refused by name.

Every file is written by the library's own code from a network with random weights and statistics that are not those of
a new one. Those of RobustBench and transformers need these libraries, and are skipped without them.
"""

import importlib.util
import json
from functools import cache
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision import models

from nrf_ray.errors import ConfigError
from nrf_ray.stages.given_model import import_spec
from nrf_ray.stages.imported import imported
from tests.elsewhere import cached
from tests.models.test_cifar import architectures, needs_robustbench

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
SAID = f"mean={':'.join(map(str, MEAN))},std={':'.join(map(str, STD))}"
IMAGES = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def worn(network: nn.Module) -> nn.Module:
    """Return `network` in eval mode with statistics of some images."""
    network.train()(torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1)))
    return network.eval()


class Normalise(nn.Module):
    """The usual layer in front of a network."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1))

    def forward(self, images):
        return (images - self.mean) / self.std


@cache
def resnet() -> nn.Module:
    """Return torchvision's ResNet-18 with the usual stem for CIFAR."""
    torch.manual_seed(5)
    network = models.resnet18(num_classes=10)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return worn(network)


@cache
def expected() -> torch.Tensor:
    with torch.no_grad():
        return resnet()(Normalise()(IMAGES))


def state() -> dict[str, torch.Tensor]:
    return resnet().state_dict()


def kuangliu(found):
    """Return a state under the names of the usual CIFAR code."""
    renamed = {name.replace(".downsample.", ".shortcut."): tensor for name, tensor in found.items()}
    return {name.replace("fc.", "linear."): tensor for name, tensor in renamed.items()}


def training_state() -> dict:
    """Return what a training keeps beside its weights."""
    network = nn.Linear(3, 2)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.rand(1, 3)).sum().backward()
    optimizer.step()
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    return {"optimizer": optimizer.state_dict(), "scheduler": schedule.state_dict(), "epoch": 3, "best_acc": 95.1}


def plain(path: Path) -> str:
    torch.save(state(), path)
    return "#arch=resnet18," + SAID


def compiled(path: Path) -> str:
    torch.save(torch.compile(nn.DataParallel(resnet())).state_dict(), path)
    return "#arch=resnet18," + SAID


def lightning(path: Path) -> str:
    class Module(nn.Module):
        def __init__(self):
            super().__init__()
            self.model = nn.ModuleDict({"net": resnet()})

    saved = {"state_dict": Module().state_dict(), "optimizer_states": [training_state()["optimizer"]], "epoch": 3}
    torch.save({**saved, "pytorch-lightning_version": "2.5", "callbacks": {}, "loops": {}}, path)
    return "#arch=resnet18," + SAID


def averaged(path: Path) -> str:
    average = AveragedModel(resnet(), multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    worse = {name: torch.zeros_like(tensor) for name, tensor in state().items()}
    torch.save({"model": worse, "model_ema": average.state_dict(), **training_state()}, path)
    return "#arch=resnet18,weights=ema," + SAID


def in_front(path: Path) -> str:
    torch.save({"net": nn.DataParallel(nn.Sequential(Normalise(), resnet())).state_dict(), **training_state()}, path)
    return "#arch=resnet18"


def cifar_code(path: Path) -> str:
    named = kuangliu(nn.DataParallel(resnet()).state_dict())
    torch.save({"net": named, "acc": 95.1, "epoch": 199}, path)
    return "#arch=resnet18," + SAID


def backbone(path: Path) -> str:
    body = {f"backbone.{name}": tensor for name, tensor in state().items() if not name.startswith("fc.")}
    safetensors.torch.save_file(body | {f"head.{leaf}": state()[f"fc.{leaf}"] for leaf in ("weight", "bias")}, path)
    return "#arch=resnet18," + SAID


def robustness(path: Path) -> str:
    held = {f"model.{name}": tensor for name, tensor in kuangliu(state()).items()}
    shown = {name: torch.tensor(values).view(3, 1, 1) for name, values in (("new_mean", MEAN), ("new_std", STD))}
    held |= {f"normalizer.{name}": value for name, value in shown.items()}
    held |= {f"attacker.{name}": value for name, value in held.items()}
    held |= {f"attacker.normalize.{name}": value for name, value in shown.items()}
    torch.save({"model": {f"module.{name}": value for name, value in held.items()}, **training_state()}, path)
    return "#arch=resnet18,norm=l2,eps=0.5"


LOADED = (plain, compiled, lightning, averaged, in_front, cifar_code, backbone, robustness)


@pytest.mark.parametrize("write", LOADED, ids=lambda write: write.__name__)
def test_a_checkpoint_is_read_as_it_was_meant(write, colours, tmp_path):
    text = f"file:{tmp_path / 'a.pt'}{write(tmp_path / 'a.pt')}"
    found = imported(import_spec(text, colours, "./runs"), None)
    with torch.no_grad():
        torch.testing.assert_close(found.model(IMAGES), expected(), rtol=0, atol=1e-5)
    assert expected().std() > 0.01
    where = "the file" if write in (in_front, robustness) else "the name"
    assert found.normalisation == f"mean 0.4914:0.4822:0.4465, std 0.2023:0.1994:0.201, from {where}"


def theirs(entry: str) -> nn.Module:
    """Return RobustBench's own network of an entry, behind the normalisation that its code has."""
    dm, resnets, wide = map(architectures, ("dm_wide_resnet", "resnet", "wide_resnet"))
    torch.manual_seed(7)
    v2 = resnets.PreActBlockV2
    made = {
        "l2/Engstrom2019Robustness": lambda: resnets.ResNet(resnets.Bottleneck, [3, 4, 6, 3]),
        "linf/Sehwag2021Proxy_R18": lambda: resnets.ResNet18(),
        "l2/Rice2020Overfitting": lambda: resnets.PreActResNet(v2, [2, 2, 2, 2], bn_before_fc=True),
        "linf/Wong2020Fast": lambda: resnets.PreActResNet(resnets.PreActBlock, [2, 2, 2, 2]),
        "linf/Rebuffi2021Fixing_R18_ddpm": lambda: dm.DMPreActResNet(
            activation_fn=dm.Swish, mean=(0.0,) * 3, std=(1.0,) * 3
        ),
        "linf/Carmon2019Unlabeled": lambda: wide.WideResNet(depth=28, widen_factor=10, sub_block1=True),
    }
    return worn(made[entry]())


@needs_robustbench
@pytest.mark.parametrize(
    ("entry", "normalisation"),
    [
        ("l2/Engstrom2019Robustness", (MEAN, STD)),
        ("linf/Sehwag2021Proxy_R18", ((0.0,) * 3, (1.0,) * 3)),
        ("l2/Rice2020Overfitting", (MEAN, (0.2471, 0.2435, 0.2616))),
        ("linf/Wong2020Fast", (MEAN, (0.2471, 0.2435, 0.2616))),
        ("linf/Rebuffi2021Fixing_R18_ddpm", (MEAN, (0.2471, 0.2435, 0.2616))),
        pytest.param("linf/Carmon2019Unlabeled", ((0.0,) * 3, (1.0,) * 3), marks=pytest.mark.slow),
    ],
)
def test_a_file_of_a_leaderboard_is_read_as_robustbench_reads_it(entry, normalisation, colours, tmp_path):
    network, path = theirs(entry), tmp_path / "entry.pt"
    torch.save({"state_dict": nn.DataParallel(network).state_dict(), "epoch": 100}, path)
    found = imported(import_spec(f"robustbench:{entry}={path}", colours, "./runs"), None)
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in normalisation)
    with torch.no_grad():
        torch.testing.assert_close(found.model(IMAGES), network((IMAGES - mean) / std), rtol=0, atol=1e-5)


def script(path: Path) -> str:
    torch.jit.save(torch.jit.trace(resnet(), IMAGES[:1]), path)
    return "#arch=resnet18," + SAID


def whole(path: Path) -> str:
    torch.save(resnet(), path)
    return "#arch=resnet18," + SAID


def two(path: Path) -> str:
    torch.save({"student": state(), "teacher": state()}, path)
    return "#arch=resnet18," + SAID


def headless(path: Path) -> str:
    torch.save({f"encoder_q.{name}": value for name, value in state().items() if not name.startswith("fc.")}, path)
    return "#arch=resnet18," + SAID


def unsaid(path: Path) -> str:
    torch.save(state(), path)
    return "#arch=resnet18"


def deeper(path: Path) -> str:
    torch.save(models.resnet34(num_classes=10).state_dict(), path)
    return "#arch=resnet18," + SAID


def large(path: Path) -> str:
    torch.save(models.resnet18(num_classes=1000).state_dict(), path)
    return "#arch=resnet18," + SAID


REFUSED = {
    script: "a TorchScript program",
    whole: "reading it would run its code, which is never done",
    two: r"2 sets of weights \(student, teacher\)",
    headless: r"missing: body\.conv1\.weight",
    unsaid: "do not include the normalisation of images",
    deeper: r"unexpected: layer1\.2\.conv1\.weight",
    large: r"of another shape: body\.conv1\.weight is \(64, 3, 7, 7\), not \(64, 3, 3, 3\), head\.weight is",
}


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning", "ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.parametrize("write", REFUSED, ids=lambda write: write.__name__)
def test_what_cannot_be_read_as_it_was_meant_is_refused_by_name(write, colours, tmp_path):
    text = f"file:{tmp_path / 'a.pt'}{write(tmp_path / 'a.pt')}"
    with pytest.raises(ConfigError, match=REFUSED[write]) as told:
        imported(import_spec(text, colours, "./runs"), None)
    assert "\n" not in str(told.value)


def test_a_network_of_other_classes_is_refused_by_name(checkpoints, colours):
    torch.save(models.shufflenet_v2_x0_5().state_dict(), checkpoints / "shufflenetv2_x0.5-f707e7126e.pth")
    with pytest.raises(ConfigError, match="tells 1000 classes apart, and colours has 10; give a dataset with"):
        imported(import_spec("torchvision:shufflenet_v2_x0_5", colours, "./runs"), None)


@pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers is not installed")
def test_a_model_of_transformers_is_refused_by_name(hub, colours, tmp_path):
    from transformers import ViTConfig, ViTForImageClassification

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    ViTForImageClassification(ViTConfig(**sizes, image_size=32, patch_size=8)).save_pretrained(tmp_path / "vit")
    files = {name: (tmp_path / "vit" / name).read_bytes() for name in ("model.safetensors", "config.json")}
    assert "architecture" not in json.loads(files["config.json"])
    cached(hub, "me/vit", files)
    with pytest.raises(ConfigError, match="hf:me/vit is not a model of timm or of nrf_ray"):
        import_spec("hf:me/vit", colours, "./runs")

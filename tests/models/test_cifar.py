"""The networks of RobustBench's files: the same logits as other implementations, and names that no file confuses.

The references here are written from the papers as plain functions of a state_dict; if RobustBench is installed, its own
classes are compared too.
"""

import importlib.util
from copy import deepcopy
from functools import cache, partial
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from nrf_ray.models import cifar
from nrf_ray.models.classifier import Classifier
from nrf_ray.models.importing import load_state
from nrf_ray.models.weight_files import WeightsError

needs_robustbench = pytest.mark.skipif(
    importlib.util.find_spec("robustbench") is None, reason="robustbench is not installed"
)
NARROW = {"depth": 16, "widening": 2}
BODIES = {
    "wrn": partial(cifar.wide_resnet, **NARROW),
    "wrn_silu": partial(cifar.wide_resnet_silu, **NARROW),
    "preact_resnet18": cifar.preact_resnet18,
    "preact_resnet18_raw": partial(cifar.preact_resnet18, raw_shortcut=True),
    "preact_resnet18_bn": partial(cifar.preact_resnet18, last_norm=True),
    "preact_resnet18_silu": cifar.preact_resnet18_silu,
}


@cache
def made(name, seed=0):
    """Return a network with statistics that are not those of a new one; tests must leave it as it is."""
    torch.manual_seed(seed)
    body, width = BODIES[name](3, 32)
    model = Classifier(body, width=width, num_classes=10, mean=(0.0,) * 3, std=(1.0,) * 3)
    model.train()(torch.rand(4, 3, 32, 32))
    return model.eval()


class By:
    """Layers by their names in a state_dict."""

    def __init__(self, state):
        self.state = state

    def norm(self, name, x):
        mean, var, weight, bias = (
            self.state[f"{name}.{leaf}"] for leaf in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias, training=False)

    def conv(self, name, x, stride=1, padding=1):
        return F.conv2d(x, self.state[f"{name}.weight"], stride=stride, padding=padding)

    def has(self, name):
        return f"{name}.weight" in self.state

    def head(self, name, x):
        return F.linear(x.mean(dim=(2, 3)), self.state[f"{name}.weight"], self.state[f"{name}.bias"])


def wrn(by, x):
    x = by.conv("conv1", x)
    for block, stride in ((1, 1), (2, 2), (3, 2)):
        for number in range(2):
            name, step = f"block{block}.layer.{number}", stride if number == 0 else 1
            active = F.relu(by.norm(f"{name}.bn1", x))
            found = by.conv(f"{name}.conv2", F.relu(by.norm(f"{name}.bn2", by.conv(f"{name}.conv1", active, step))))
            x = found + (by.conv(f"{name}.convShortcut", active, step, 0) if by.has(f"{name}.convShortcut") else x)
    return by.head("fc", F.relu(by.norm("bn1", x)))


def wrn_silu(by, x):
    x = by.conv("init_conv", x)
    for group, stride in enumerate((1, 2, 2)):
        for number in range(2):
            name, step = f"layer.{group}.block.{number}", stride if number == 0 else 1
            active = by.norm(f"{name}.batchnorm_0", x)
            active = active * torch.sigmoid(active)
            padded = F.pad(active, (0, 1, 0, 1)) if step == 2 else F.pad(active, (1, 1, 1, 1))
            middle = by.norm(f"{name}.batchnorm_1", by.conv(f"{name}.conv_0", padded, step, 0))
            found = by.conv(f"{name}.conv_1", middle * torch.sigmoid(middle))
            x = found + (by.conv(f"{name}.shortcut", active, step, 0) if by.has(f"{name}.shortcut") else x)
    x = by.norm("batchnorm", x)
    return by.head("logits", x * torch.sigmoid(x))


def preact(by, x, *, raw=False, last=False):
    x = by.conv("conv1", x)
    for layer, stride in ((1, 1), (2, 2), (3, 2), (4, 2)):
        for number in range(2):
            name, step = f"layer{layer}.{number}", stride if number == 0 else 1
            active = F.relu(by.norm(f"{name}.bn1", x))
            passed = by.conv(f"{name}.shortcut.0", x if raw else active, step, 0) if by.has(f"{name}.shortcut.0") else x
            x = passed + by.conv(
                f"{name}.conv2", F.relu(by.norm(f"{name}.bn2", by.conv(f"{name}.conv1", active, step)))
            )
    return by.head("linear", F.relu(by.norm("bn", x)) if last else x)


def preact_silu(by, x):
    def same(x, step):
        return F.pad(x, (0, 1, 0, 1)) if step == 2 else F.pad(x, (1, 1, 1, 1))

    x = by.conv("conv_2d", x)
    for layer, stride in enumerate((1, 2, 2, 2)):
        for number in range(2):
            name, step = f"layer_{layer}.{number}", stride if number == 0 else 1
            active = F.silu(by.norm(f"{name}.batchnorm_0", x))
            passed = by.conv(f"{name}.shortcut", same(x, step), step, 0) if by.has(f"{name}.shortcut") else x
            middle = F.silu(by.norm(f"{name}.batchnorm_1", by.conv(f"{name}.conv_2d_1", same(active, step), step, 0)))
            x = by.conv(f"{name}.conv_2d_2", middle) + passed
    return by.head("logits", F.silu(by.norm("batchnorm", x)))


REFERENCES = {
    "wrn": (wrn, "fc"),
    "wrn_silu": (wrn_silu, "logits"),
    "preact_resnet18": (preact, "linear"),
    "preact_resnet18_raw": (partial(preact, raw=True), "linear"),
    "preact_resnet18_bn": (partial(preact, last=True), "linear"),
    "preact_resnet18_silu": (preact_silu, "logits"),
}


def named(model, head):
    """Return the state of `model` under the names of a file."""
    renamed = {
        name.removeprefix("body.").replace("head.", f"{head}."): value for name, value in model.state_dict().items()
    }
    return {name: value for name, value in renamed.items() if name not in ("mean", "std")}


@pytest.mark.parametrize("name", BODIES)
def test_logits_are_those_of_the_reference(name):
    model, (reference, head) = made(name), REFERENCES[name]
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = reference(By(named(model, head)), images)
        torch.testing.assert_close(model(images), expected, rtol=0, atol=1e-5)
    assert expected.std() > 1e-2, "the networks say something"


@pytest.mark.parametrize("theirs", BODIES)
def test_a_file_is_taken_by_its_own_form_or_refused_unless_no_name_can_tell(theirs):
    state = named(made(theirs), REFERENCES[theirs][1])
    alike = {("preact_resnet18", "preact_resnet18_raw"), ("preact_resnet18_raw", "preact_resnet18")}
    for ours in BODIES:
        if ours == theirs or (ours, theirs) in alike:
            load_state(deepcopy(made(ours)), state)
        else:
            with pytest.raises(WeightsError, match=r"missing: body|unexpected: bn\."):
                load_state(made(ours), state)


def architectures(module):
    """Return a module of RobustBench's architectures by its file; the package as a whole does not import."""
    root = Path(importlib.util.find_spec("robustbench").origin).parent
    spec = importlib.util.spec_from_file_location(module, root / "model_zoo" / "architectures" / f"{module}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def theirs_of(name):
    """Return RobustBench's own network of a form, and its module of architectures."""
    wide, dm, resnet = map(architectures, ("wide_resnet", "dm_wide_resnet", "resnet"))
    blocks = {"preact_resnet18": resnet.PreActBlockV2, "preact_resnet18_raw": resnet.PreActBlock}
    block = blocks.get(name, resnet.PreActBlockV2)
    plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    return {
        "wrn": lambda: wide.WideResNet(depth=16, widen_factor=2, sub_block1=True),
        "wrn_silu": lambda: dm.DMWideResNet(depth=16, width=2, activation_fn=dm.Swish, **plain),
        "preact_resnet18_silu": lambda: dm.DMPreActResNet(activation_fn=dm.Swish, **plain),
    }.get(name, lambda: resnet.PreActResNet(block, [2, 2, 2, 2], bn_before_fc=name.endswith("_bn")))()


@needs_robustbench
@pytest.mark.parametrize("name", BODIES)
def test_a_file_of_robustbench_s_own_network_is_read_and_decides_as_there(name):
    torch.manual_seed(3)
    theirs = theirs_of(name)
    theirs.train()(torch.rand(8, 3, 32, 32))
    model = deepcopy(made(name))
    mapped = load_state(model, {f"module.{key}": value for key, value in theirs.state_dict().items()})
    assert all(key.startswith("module.sub_block1.") for key in mapped.left_out)
    assert bool(mapped.left_out) == (name == "wrn")
    images = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(model(images), theirs.eval()(images), rtol=0, atol=1e-5)

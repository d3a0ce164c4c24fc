"""`nrf import`: how a model's name is read, and whether the model knows a dataset."""

import pytest
import safetensors.torch
import torch

from nrf_ray.stages.weights import save_weights
from tests.commands import nrf


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """Return the working folder, with a file of ours, one of others, and one whose classes are in another order."""
    (tmp_path / "ours.safetensors").write_bytes(save_weights(trained, arch="resnet_s", shape=(1, 8, 8), num_classes=10))
    state = {
        f"module.{name.removeprefix('body.')}": tensor.contiguous()
        for name, tensor in trained.state_dict().items()
        if name not in ("mean", "std")
    }
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "theirs.pt")
    mixed = dict(state)
    for leaf in ("weight", "bias"):
        mixed[f"module.head.{leaf}"] = mixed[f"module.head.{leaf}"].roll(1, 0)
    (tmp_path / "mixed.safetensors").write_bytes(safetensors.torch.save(mixed))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_mapping_and_normalisation_are_printed(folder, monkeypatch, capsys):
    name = "file:theirs.pt#arch=resnet_s,mean=0.3,std=0.35,norm=l2,eps=0.5"
    code, out, _ = nrf(monkeypatch, capsys, "import", name, "--data", "digits")
    assert code == 0
    assert "resnet_s for digits; adversarial training within l2 0.5" in out
    assert "tensors, module." in out
    assert "-> body." in out
    assert "normalisation  mean 0.3, std 0.35, from the name" in out
    assert "accuracy" not in out, "nothing is measured without --check"


def test_the_accuracy_of_every_class_is_printed(folder, monkeypatch, capsys):
    code, out, _ = nrf(monkeypatch, capsys, "import", "file:ours.safetensors", "--data", "digits", "--check")
    assert code == 0
    assert "std 0.35, from the file" in out
    lines = [line.split() for line in out.splitlines()]
    classes = [words for words in lines if words and words[0] in map(str, range(10)) and words[-1] == words[0]]
    assert len(classes) == 10, "each class is mostly taken for itself"


def test_a_wrong_order_of_classes_shows_and_is_refused(folder, monkeypatch, capsys):
    name = "file:mixed.safetensors#arch=resnet_s,mean=0.3,std=0.35"
    code, out, err = nrf(monkeypatch, capsys, "import", name, "--data", "digits", "--check")
    assert code == 2
    lines = [line.split() for line in out.splitlines()]
    shifted = [words for words in lines if words and words[0].isdigit() and int(words[-1]) == (int(words[0]) + 1) % 10]
    assert len(shifted) >= 9, "each class is taken for the next"
    assert "does not know digits: accuracy 0." in err
    assert "look at its normalisation, the order of its classes" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("file:theirs.pt#arch=resnet_s",),
            "do not include the normalisation of images; give the mean and std used in",
        ),
        (
            ("file:theirs.pt#arch=vgg_s,mean=0.3,std=0.35",),
            "does not fit vgg_s for images of 1 x 8 x 8 and 10 classes: ",
        ),
        (("file:ours.safetensors", "--images", "0"), "--images must be 1 or more, not 0"),
        (("ours.safetensors",), "'ours.safetensors' is not a model; write KEY, file:PATH"),
    ],
)
def test_mistakes_are_one_line(words, said, folder, monkeypatch, capsys):
    code, _, err = nrf(monkeypatch, capsys, "import", *words, "--data", "digits")
    assert code == 2
    assert said in err
    assert err.count("\n") == 1

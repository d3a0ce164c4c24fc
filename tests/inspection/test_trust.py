"""`nrf trust` on models by every name that people can give them, and what it refuses."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from nrf_ray import cli
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.display.printing import make_console
from nrf_ray.engine.predict import predict
from nrf_ray.errors import ConfigError
from nrf_ray.graph.store import Artifact
from nrf_ray.inspection import trust
from nrf_ray.inspection.given_model import given_model
from nrf_ray.stages.weights import FILE, save_weights

DIGITS = dataset_named("digits")
needs_timm = pytest.mark.skipif(find_spec("timm") is None, reason="timm is not installed")
CODE = """
import torch
from torch import nn

from tests.trust.defence import Behind, turned

def network():
    from neighbour import WEIGHTS
    from nrf_ray.data.catalogue import dataset_named
    from nrf_ray.inspection.given_model import given_model
    return given_model("file:" + WEIGHTS, dataset_named("digits"), "./runs")

def honest():
    return Behind(network())

def reversed_gradient():
    return Behind(network(), before=turned(torch.neg))

def number():
    return 3

def of_colours():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(10))

def of_nine():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 9))

def refusing():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 11))

def failing():
    raise ValueError("no such file")
"""


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """Return the working folder: a file of weights, and a file of code that reads it by a neighbour."""
    data = save_weights(trained, arch="resnet_s", shape=(1, 8, 8), num_classes=10)
    (tmp_path / "weights.safetensors").write_bytes(data)
    (tmp_path / "mine.py").write_text(CODE)
    (tmp_path / "neighbour.py").write_text(f"WEIGHTS = {str(tmp_path / 'weights.safetensors')!r}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["nrf", "trust", *words])
    with pytest.raises(SystemExit) as ended:
        cli.nrf_main()
    code = ended.value.code
    return code if isinstance(code, int) else 0


@pytest.mark.parametrize(
    "name", ["file:weights.safetensors", "file:weights.safetensors#arch=resnet_s", "mine.py:honest"]
)
def test_a_model_is_found_by_its_name(name, folder, trained, digits):
    model = given_model(name, DIGITS, "./runs")
    assert not model.training
    assert torch.equal(predict(model, digits[1].images), predict(trained, digits[1].images))


def test_a_model_of_the_store_is_found_by_its_key(store, digits):
    place = next(place for place in store.places() if place.stage == "train")
    record = store.record(place)
    model = given_model(place.key[:16], DIGITS, store.uri)
    kept = Artifact(store, record).read(FILE)
    assert save_weights(model, arch=record.config["arch"], shape=(1, 8, 8), num_classes=10) == kept


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "resnet18",
            "'resnet18' is not a model; write KEY, file:PATH[#arch=NAME,weights=ema,mean=M,std=S], hf:REPO[@REVISION]",
        ),
        ("", "is not a model"),
        ("torchvision:resnet", "torchvision has no classifier 'resnet'"),
        pytest.param("timm:resnet_of_mars", "has no model 'resnet_of_mars'", marks=needs_timm),
        ("file:nowhere.pt#arch=resnet_s", "cannot be read: No such file"),
        ("mine.py", "'mine.py' names no function; write PATH.py:FUNCTION"),
        ("file:mine.py", "does not say its architecture; write file:mine.py#arch=NAME"),
        ("file:weights.safetensors#arch=vgg_s", "does not fit vgg_s for images of 1 x 8 x 8 and 10 classes"),
        ("file:weights.safetensors#arch=lenet", "unknown architecture 'lenet'"),
        ("nowhere.py:honest", "there is no file nowhere.py"),
        ("mine.py:other", "has no function 'other'; it has"),
        ("mine.py:number", "returned a int; it must return an nn.Module"),
        ("mine.py:failing", "failed: ValueError: no such file"),
        ("mine.py:of_colours", "does not take the images of digits, 1 x 8 x 8: RuntimeError: "),
        ("mine.py:of_nine", "mine.py:of_nine tells 9 classes apart, and digits has 10"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(name, said, folder):
    with pytest.raises(ConfigError) as told:
        given_model(name, DIGITS, "./runs")
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_a_function_may_return_logits_of_further_classes_and_a_pretrained_network_may_not(folder, monkeypatch):
    assert given_model("mine.py:refusing", DIGITS, "./runs")(torch.zeros(1, 1, 8, 8)).shape == (1, 11)
    network = given_model("mine.py:refusing", DIGITS, "./runs")
    monkeypatch.setattr("nrf_ray.inspection.given_model._of_name", lambda name, info, store: network)
    with pytest.raises(ConfigError, match="timm:any tells 11 classes apart, and digits has 10; give --data with the"):
        given_model("timm:any", DIGITS, "./runs")


def test_a_broken_defence_is_told_and_an_honest_model_is_not(folder, monkeypatch, capsys):
    told = {}
    for name in ("honest", "reversed_gradient"):
        words = (
            "--data",
            "digits",
            "--epsilon",
            "0.8",
            "--attack",
            "pgd",
            "--examples",
            "40",
            "--json",
            f"{name}.json",
            "--page",
            f"{name}.html",
        )
        assert run(monkeypatch, f"mine.py:{name}", *words) == 0
        told[name] = (capsys.readouterr().out, json.loads(Path(f"{name}.json").read_text()))
    text, numbers = told["honest"]
    assert "FAIL" not in numbers["verdicts"].values(), numbers
    assert numbers["level"] == "L0", "40 images and one run of PGD earn no level"
    assert 0 < numbers["lowest"] <= numbers["robust"] < numbers["clean"]
    assert "Trust level L0" in text
    curves = {(name, curve["over"]): curve["points"] for name, found in numbers["curves"].items() for curve in found}
    assert {over for _, over in curves} == {"step", "radius", "query"}
    assert curves["large-eps", "radius"][0] == [0.0, 1.0]
    for name, (_, found) in told.items():
        page = Path(f"{name}.html").read_text(encoding="utf-8")
        assert f"mine.py:{name}: trust level {found['level']}" in page
        assert page.count("<figure><h3>") == len(curves) + 2, "three over steps"
    assert "FAIL: slope" in Path("reversed_gradient.html").read_text(encoding="utf-8")
    text, numbers = told["reversed_gradient"]
    assert {"slope", "black-box", "surrogate", "binarization"} <= {
        name for name, verdict in numbers["verdicts"].items() if verdict == "FAIL"
    }
    assert numbers["lowest"] < numbers["robust"] - 0.2
    assert numbers["lowest_by"].startswith("pgd-20 with ")
    assert "FAIL slope: the gradient is not that of the answers" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--data", "digits", "--epsilon", "0.5", "--examples", "0"), "--examples must be 1 or more, not 0"),
        (("--data", "digits", "--epsilon", "50"), "is beyond the box"),
        (("--data", "nowhere", "--epsilon", "0.5"), "nowhere"),
        (("--data", "digits", "--epsilon", "0.5", "--attack", "deepfool"), "unknown attack 'deepfool'"),
        (("--data", "digits", "--epsilon", "0.5", "--json", "no/such/folder.json"), "there is no folder no/such"),
        (("--data", "digits", "--epsilon", "0.5", "--page", "no/such/page.html"), "there is no folder no/such"),
    ],
)
def test_a_flag_that_cannot_be_is_refused_before_anything_is_attacked(words, said, folder, monkeypatch, capsys):
    assert run(monkeypatch, "mine.py:honest", *words) == 2
    assert said in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    with pytest.raises(ConfigError, match="cannot be written: Is a directory; give another file"):
        trust._write(tmp_path, b"", make_console())

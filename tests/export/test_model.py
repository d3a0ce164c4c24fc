"""Models that leave a store: the file, its card, code that loads it without nrf_ray, and `nrf_ray.load_model`."""

import json
import subprocess
import sys
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
import torch

import nrf_ray
from nrf_ray import cli
from nrf_ray.constructions.stored_set import constructed_set
from nrf_ray.errors import ConfigError
from nrf_ray.export.model import FILE, code_of, export_model
from nrf_ray.graph.store import Artifact
from nrf_ray.models.zoo import build
from nrf_ray.results.write import write_tables
from nrf_ray.stages.weights import load_model, model_of, save_weights

IMAGES = torch.rand(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def run_of(tiny):
    """Return the store of a small sweep with its tables, and the record of its robust judge."""
    sweep, store = tiny
    write_tables(sweep, store, None)
    judge = next(stage for stage in sweep.stages() if stage.kind.name == "train" and "judge" in stage.title)
    return SimpleNamespace(store=store, sweep=sweep, record=store.artifact(judge).record)


def test_a_model_comes_back_as_it_left_with_a_card_of_what_was_measured(run_of, tmp_path):
    export_model(run_of.store, run_of.record, tmp_path / "model")
    kept = load_model(Artifact(run_of.store, run_of.record), "cpu")
    for where in (tmp_path / "model", tmp_path / "model" / FILE):
        model = nrf_ray.load_model(where)
        assert not model.training
        with torch.no_grad():
            torch.testing.assert_close(model(IMAGES), kept(IMAGES), rtol=0, atol=1e-5)
    again = nrf_ray.load_model(run_of.record.key[:16], store=run_of.store.uri)
    with torch.no_grad():
        assert torch.equal(again(IMAGES), kept(IMAGES))
    card = json.loads((tmp_path / "model" / "card.json").read_text())
    assert (card["architecture"], card["shape"], card["classes"]["count"]) == ("resnet_s", [1, 8, 8], 10)
    assert card["normalisation"] == {"mean": kept.mean.flatten().tolist(), "std": kept.std.flatten().tolist()}
    assert card["recipe"]["adversary"]["threat"]["norm"] == "l2"
    assert "licence of the original images applies" in card["licence_of_data"]
    (clean,) = card["clean"]
    assert clean["n"] == 360
    assert {row["attack"] for row in card["robust"]}
    for row in card["robust"]:
        assert row["trust_level"][0] == "L"
        assert 0 <= row["ci_low"] <= row["robust_accuracy"] <= row["ci_high"] <= 1
    assert not (tmp_path / "model" / "load.py").exists(), "only nrf_ray has this architecture"


BUILT = {
    "resnet18": ((1, 8, 8), None),
    "densenet121": ((3, 32, 32), None),
    "torchvision:shufflenet_v2_x0_5": ((3, 32, 32), (64, 64)),
    "timm:test_resnet": ((1, 32, 32), None),
    "timm:test_vit": ((3, 32, 32), (64, 64)),
}
LOADED = """
import sys, torch
sys.modules["nrf_ray"] = None
for folder in sys.argv[1:]:
    names = {"__file__": folder + "/load.py"}
    exec(open(folder + "/load.py").read(), names)
    torch.save(names["logits"](torch.load(folder + "/images.pt")).detach(), folder + "/logits.pt")
"""


def test_the_code_loads_every_model_of_a_library_without_this_package(tmp_path):
    expected = {}
    for arch, (shape, size) in BUILT.items():
        if arch.startswith("timm:") and find_spec("timm") is None:
            continue
        ones = (1.0,) * shape[0]
        about = {"arch": arch, "shape": shape, "num_classes": 7, "size": size}
        images = torch.rand(8, *shape, generator=torch.Generator().manual_seed(0))
        model = build(arch, shape=shape, num_classes=7, mean=ones, std=ones, seed=0, size=size)
        model.mean.fill_(0.4)
        model.train()(images)
        folder = tmp_path / arch.replace(":", "-")
        folder.mkdir()
        data = save_weights(model, **about)
        (folder / FILE).write_bytes(data)
        (folder / "load.py").write_text(code_of(about))
        torch.save(images, folder / "images.pt")
        with torch.no_grad():
            expected[folder] = model_of(data).eval()(images)
    subprocess.run([sys.executable, "-c", LOADED, *map(str, expected)], check=True, capture_output=True)
    assert len(expected) >= 3
    for folder, logits in expected.items():
        torch.testing.assert_close(torch.load(folder / "logits.pt"), logits, rtol=0, atol=1e-5)


def test_sets_are_loaded_by_key(run_of):
    made = next(stage for stage in run_of.sweep.stages() if stage.kind.name == "construct")
    found, kept = nrf_ray.load_set(made.key[:20], store=run_of.store.uri), constructed_set(run_of.store.artifact(made))
    assert torch.equal(found.images, kept.images)
    assert torch.equal(found.labels, kept.labels)


def test_what_is_no_model_and_no_set_is_refused_in_one_line(run_of, tmp_path):
    (tmp_path / "a.pt").write_bytes(b"weights")
    made = next(stage for stage in run_of.sweep.stages() if stage.kind.name == "construct")
    for load, name, said in (
        (
            nrf_ray.load_model,
            tmp_path / "a.pt",
            "a.pt was not written by nrf_ray; `nrf import` reads weights of others",
        ),
        (nrf_ray.load_model, "nowhere.pt", "'nowhere.pt' is neither a path nor the beginning of a key"),
        (nrf_ray.load_model, made.key, "is not a model; `nrf show` says what a key stands for"),
        (nrf_ray.load_set, run_of.record.key, "is not a constructed set; `nrf show` says what a key stands for"),
    ):
        with pytest.raises(ConfigError, match=said):
            load(name, store=run_of.store.uri)
    with pytest.raises(ConfigError, match="is a construct, not a model; give the key of a training"):
        export_model(run_of.store, run_of.store.artifact(made).record, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_command_writes_a_model_and_refuses_metadata_of_sets(run_of, tmp_path, monkeypatch, capsys):
    words = ["nrf", "export", run_of.record.key[:16], str(tmp_path / "model"), "--format", "model"]
    monkeypatch.setattr("sys.argv", [*words, "--store", run_of.store.uri])
    with pytest.raises(SystemExit) as ended:
        cli.nrf_main()
    assert not ended.value.code
    assert "robust judge resnet_s on digits, seed 0 written to" in capsys.readouterr().out
    monkeypatch.setattr("sys.argv", [*words, "--croissant", "--store", run_of.store.uri])
    with pytest.raises(SystemExit) as ended:
        cli.nrf_main()
    assert ended.value.code == 2
    assert "--croissant describes sets; leave it out for a model" in capsys.readouterr().err


def test_importing_the_package_imports_no_torch():
    code = "import sys, nrf_ray; nrf_ray.load_model; print({'torch', 'numpy', 'obstore'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"

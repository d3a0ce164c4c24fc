"""From the name of a model to the spec that imports it, and to its network: every form, and what is refused."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.fetch import fetch_dataset
from nrf_ray.errors import ConfigError, PluginMissing
from nrf_ray.graph.execute import execute
from nrf_ray.graph.store import Store
from nrf_ray.models.robustbench import ENTRIES
from nrf_ray.stages import given_model
from nrf_ray.stages.given_model import import_spec
from nrf_ray.stages.import_weights import import_weights
from nrf_ray.stages.imported import imported
from nrf_ray.stages.weights import model_of, save_weights
from tests.elsewhere import cached

DIGITS = dataset_named("digits")
needs_hub = pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="huggingface_hub is not installed")


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """Return the working folder, with the weights of a trained network as nrf_ray and as others write them."""
    data = save_weights(trained, arch="resnet_s", shape=(1, 8, 8), num_classes=10)
    (tmp_path / "ours.safetensors").write_bytes(data)
    named = {name.removeprefix("body."): tensor for name, tensor in trained.state_dict().items()}
    bare = {name: tensor for name, tensor in named.items() if name not in ("mean", "std")}
    worse = {name: torch.zeros_like(tensor) for name, tensor in bare.items()}
    torch.save({"model": worse, "model_ema": bare, "epoch": 3, "optimizer": {"param_groups": []}}, tmp_path / "two.pt")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def logits(spec, store=None):
    with torch.no_grad():
        return imported(spec, store).model(torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)))


def test_a_file_of_ours_says_everything_itself(folder, trained):
    spec = import_spec("file:ours.safetensors", DIGITS, "./runs")
    assert (spec.arch, spec.training, spec.threat, spec.mean, spec.size) == ("resnet_s", "standard", None, (), None)
    assert spec.title == f"file:{spec.sha256[:12]}"
    with torch.no_grad():
        expected = trained(torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(logits(spec), expected, rtol=0, atol=1e-5)


def test_a_checkpoint_of_others_is_told_what_it_does_not_say(folder, trained):
    text = "file:two.pt#arch=resnet_s,weights=ema,mean=0.3,std=0.35,norm=linf,eps=8/255"
    spec = import_spec(text, DIGITS, "./runs")
    assert (spec.mean, spec.std, spec.training) == ((0.3,), (0.35,), "adversarial")
    assert spec.threat == ThreatModel(norm="linf", eps=8 / 255)
    assert torch.equal(logits(spec), logits(import_spec("file:ours.safetensors", DIGITS, "./runs")))
    with pytest.raises(ConfigError, match=r"2 sets of weights \(model, model_ema\).* or name it by weights="):
        imported(replace(spec, weights=""), None)
    with pytest.raises(ConfigError, match="weights=student names 0 of the sets of weights in the file"):
        imported(replace(spec, weights="student"), None)


def test_the_key_is_content_and_mapping_and_not_the_path(folder):
    text = "file:{}#arch=resnet_s,weights=ema,mean=0.3,std=0.35"
    key = import_weights(import_spec(text.format("two.pt"), DIGITS, "./runs")).key
    Path("two.pt").rename("moved.pt")
    spec = import_spec(text.format("moved.pt"), DIGITS, "./elsewhere")
    assert import_weights(spec).key == key
    for change in ({"weights": ""}, {"mean": (0.2,)}, {"arch": "resnet_m"}, {"layout": "entry"}, {"sha256": "0" * 64}):
        assert import_weights(replace(spec, **change)).key != key
    assert import_weights(replace(spec, name="another")).key == key


def test_a_changed_file_is_another_model(folder):
    first = import_spec("file:ours.safetensors", DIGITS, "./runs")
    data = Path("ours.safetensors").read_bytes()
    Path("ours.safetensors").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert import_spec("file:ours.safetensors", DIGITS, "./runs").sha256 != first.sha256
    with pytest.raises(ConfigError, match="this is another file"):
        imported(first, None)


def test_a_key_of_a_model_of_a_plug_in_that_is_not_named_is_refused_by_the_plug_in(store, tmp_path):
    own = Store.open(str(shutil.copytree(store.uri, tmp_path / "copy")), create=False)
    place = next(place for place in own.places() if place.stage == "train")
    record = own.record(place)
    told = {**record.provenance, "plugins": [{"name": "mine.py", "digest": "a" * 64}]}
    changed = replace(record, config={**record.config, "arch": "flat"}, provenance=told)
    own.blobs.replace(place.file("record.json"), changed.to_bytes())
    with pytest.raises(PluginMissing, match=r"was made with the plug-in mine\.py"):
        import_spec(place.key[:20], DIGITS, own.uri)


def test_a_key_is_a_model_of_the_store_with_its_training(store, tmp_path):
    places = [place for place in store.places() if place.stage == "train"]
    records = [store.record(place) for place in places]
    for record in records:
        spec = import_spec(record.key[:20], DIGITS, store.uri)
        adversary = record.config["recipe"]["adversary"]
        assert spec.training == ("adversarial" if adversary else "standard")
        assert (spec.threat.eps if spec.threat else None) == (adversary["threat"]["eps"] if adversary else None)
        assert spec.title == record.key[:12]
    assert {spec.training for spec in (import_spec(r.key, DIGITS, store.uri) for r in records)} == {
        "standard",
        "adversarial",
    }
    opened = Store.open(store.uri, create=False)
    assert imported(spec, opened).normalisation.endswith("from the file")
    evaluated = next(place for place in store.places() if place.stage == "evaluate")
    with pytest.raises(ConfigError, match="is not a model; `nrf show` says what a key stands for"):
        import_spec(evaluated.key, DIGITS, store.uri)


@needs_hub
def test_a_model_of_the_hub_is_read_from_its_cache_alone(folder, hub):
    cached(hub, "me/mine", {"weights.safetensors": Path("ours.safetensors").read_bytes()})
    spec = import_spec("hf:me/mine", DIGITS, "./runs")
    assert (spec.arch, spec.title) == ("resnet_s", "hf:me/mine")
    assert torch.equal(logits(spec), logits(import_spec("file:ours.safetensors", DIGITS, "./runs")))
    with pytest.raises(ConfigError, match=r"hf:me/other is not in .* cache .*run `nrf fetch model:hf:me/other` first"):
        import_spec("hf:me/other", DIGITS, "./runs")
    with pytest.raises(ConfigError, match="hf:me/mine@old is not in this machine's cache"):
        import_spec("hf:me/mine@old", DIGITS, "./runs")
    cached(hub, "me/bert", {"model.safetensors": b"", "config.json": b'{"architectures": ["Bert"]}'})
    with pytest.raises(ConfigError, match="is not a model of timm or of nrf_ray"):
        import_spec("hf:me/bert", DIGITS, "./runs")


def test_a_model_is_fetched_into_the_cache_where_its_name_finds_it(folder, hub, monkeypatch):
    import huggingface_hub

    def snapshot_download(name, *, revision, allow_patterns):
        assert (name, revision) == ("me/mine", None)
        assert {"*.safetensors", "*.json"} <= set(allow_patterns)
        assert not any(pattern.endswith(".py") for pattern in allow_patterns), "no code is downloaded"
        cached(hub, name, {"model.safetensors": Path("ours.safetensors").read_bytes()})
        return str(hub / "models--me--mine")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    fetch_dataset("model:hf:me/mine")
    assert import_spec("hf:me/mine", DIGITS, "./runs").arch == "resnet_s"


def test_a_model_that_cannot_be_downloaded_is_refused_in_one_line(hub, monkeypatch):
    import huggingface_hub

    def snapshot_download(*given, **more):
        raise OSError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    with pytest.raises(
        ConfigError, match=r"the model me/mine@v2 cannot be downloaded: no route to host; get its weights"
    ):
        fetch_dataset("model:hf:me/mine@v2")


def test_a_model_of_timm_on_the_hub_is_its_library_s(hub, colours):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    theirs = timm.create_model("test_resnet", num_classes=10).eval()
    shown = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.25, 0.3], "input_size": [3, 64, 64]}
    config = {"architecture": "test_resnet", "num_classes": 10, "pretrained_cfg": shown}
    files = {
        "model.safetensors": safetensors.torch.save(theirs.state_dict()),
        "config.json": json.dumps(config).encode(),
    }
    cached(hub, "me/theirs", files)
    spec = import_spec("hf:me/theirs", colours, "./runs")
    assert spec.size == (64, 64)
    found = imported(spec, None)
    images = torch.rand(64, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    larger = torch.nn.functional.interpolate(images, size=(64, 64), mode="bilinear", antialias=True)
    mean, std = (torch.tensor(shown[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        torch.testing.assert_close(found.model(images), theirs((larger - mean) / std), rtol=0, atol=1e-5)
    assert found.normalisation == "mean 0.4:0.5:0.6, std 0.2:0.25:0.3, from timm"
    data = save_weights(found.model, arch=spec.arch, shape=colours.shape, num_classes=10, size=spec.size)
    with torch.no_grad():
        torch.testing.assert_close(model_of(data).eval()(images), found.model(images), rtol=0, atol=1e-5)


def test_a_model_of_timm_with_other_classes_is_refused_by_their_number(hub, colours):
    timm = pytest.importorskip("timm")
    shown = {"mean": [0.5] * 3, "std": [0.5] * 3, "input_size": [3, 32, 32]}
    data = safetensors.torch.save(timm.create_model("test_resnet", num_classes=7).state_dict())
    config = json.dumps({"architecture": "test_resnet", "pretrained_cfg": shown}).encode()
    cached(hub, "me/seven", {"model.safetensors": data, "config.json": config})
    with pytest.raises(ConfigError, match="hf:me/seven tells 7 classes apart, and colours has 10; give a dataset with"):
        imported(import_spec("hf:me/seven", colours, "./runs"), None)
    cached(hub, "me/silent", {"model.safetensors": data, "config.json": b'{"architecture": "test_resnet"}'})
    with pytest.raises(
        ConfigError, match=r"config\.json of hf:me/silent does not say input_size and mean and std; say"
    ):
        import_spec("hf:me/silent", colours, "./runs")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file:nowhere.pt#arch=resnet_s", "cannot be read: No such file"),
        ("file:two.pt", "does not say its architecture; write file:two.pt#arch=NAME"),
        ("file:two.pt#arch=lenet", "unknown architecture 'lenet'"),
        ("file:two.pt#arch=resnet_s,mean=0.3", "mean has 1 values and std 0; give both"),
        ("file:two.pt#arch=resnet_s,norm=l7,eps=1", "unknown norm 'l7'"),
        ("torchvision:resnet", "torchvision has no classifier 'resnet'"),
        ("torchvision:resnet18#mean=0.5", "torchvision: says mean itself; leave mean= out"),
        ("robustbench:Nobody=two.pt", "unknown entry of RobustBench 'Nobody'"),
        ("robustbench:l2/Standard=nowhere.pt", "cannot be read: No such file"),
        ("ffff", "there is no store at ./runs"),
    ],
)
def test_what_is_no_model_is_refused_in_one_line(text, said, folder):
    with pytest.raises(ConfigError) as told:
        import_spec(text, DIGITS, "./runs")
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_an_entry_of_robustbench_is_what_its_leaderboard_says(tmp_path, colours):
    (tmp_path / "R.pt").write_bytes(b"weights")
    spec = import_spec(f"robustbench:l2/Rice2020Overfitting={tmp_path / 'R.pt'}", colours, "./runs")
    assert (spec.arch, spec.layout, spec.title) == ("preact_resnet18_bn", "entry", "robustbench:l2/Rice2020Overfitting")
    assert spec.threat == ThreatModel(norm="l2", eps=0.5)
    assert (spec.mean, spec.std) == ENTRIES["l2/Rice2020Overfitting"].normalisation
    standard = import_spec(f"robustbench:linf/Standard={tmp_path / 'R.pt'}", colours, "./runs")
    assert (standard.training, standard.threat) == ("standard", None)


def test_a_network_at_chance_is_imported_by_nobody(folder, trained, tmp_path):
    mixed = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in trained.state_dict().items()}
    mixed["head.weight"], mixed["head.bias"] = mixed["head.weight"].roll(1, 0), mixed["head.bias"].roll(1, 0)
    Path("mixed.safetensors").write_bytes(safetensors.torch.save(mixed, {"nrf_ray": json.dumps({"arch": "resnet_s"})}))
    store = Store.open(str(tmp_path / "store"), create=True)
    handle = import_weights(import_spec("file:mixed.safetensors", DIGITS, "./runs"))
    with pytest.raises(
        ConfigError, match=r"does not know digits: accuracy 0\.\d+ on 360 test images is not significan"
    ):
        execute(handle, store)
    assert not store.has(handle)


def test_names_are_found_without_torch(folder):
    code = (
        "import sys\nfrom nrf_ray.data.catalogue import dataset_named\n"
        "from nrf_ray.stages.given_model import import_spec\n"
        "print(import_spec('file:ours.safetensors', dataset_named('digits'), '.').arch)\n"
        "print({'torch', 'ray', 'pandas', 'numpy', 'pyarrow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["resnet_s", "set()"]


def test_a_library_is_asked_in_a_child_process_if_torch_is_not_here(monkeypatch):
    # torch itself stays in `sys.modules`: taken out and put back, it stands last there, and pickle's search of modules
    # by name then comes upon torch.utils.mkldnn first, whose attributes compile classes and warn
    monkeypatch.setattr(given_model, "sys", SimpleNamespace(modules={}))
    monkeypatch.setattr(given_model, "said_apart", lambda module, arch: ["not here", None])
    with pytest.raises(ConfigError, match="not here"):
        import_spec("torchvision:resnet18", DIGITS, "./runs")


def test_damaged_weights_of_torchvision_are_refused_in_one_line(checkpoints, colours):
    path = checkpoints / "shufflenetv2_x0.5-f707e7126e.pth"
    path.write_bytes(b"these are no weights")
    spec = import_spec("torchvision:shufflenet_v2_x0_5", colours, "./runs")
    assert (spec.location, spec.size, spec.layout) == (str(path), (224, 224), "torchvision")
    with pytest.raises(ConfigError, match=f"the weights at {path} cannot be read: ") as told:
        imported(spec, None)
    assert "\n" not in str(told.value)

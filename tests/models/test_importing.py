"""Weights from elsewhere: what fits is taken over whole, and what does not is named and changes nothing."""

import io
from dataclasses import replace

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torchvision.models import resnet18

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.errors import ConfigError
from nrf_ray.graph.canonical import digest
from nrf_ray.graph.execute import execute, run_inline
from nrf_ray.graph.store import Store
from nrf_ray.models import importing
from nrf_ray.models.importing import PREFIXES, load_exactly, load_state
from nrf_ray.models.weight_files import WeightsError, read_state
from nrf_ray.models.zoo import build
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.import_weights import ImportSpec, digest_of, import_weights
from nrf_ray.stages.weights import load_model
from nrf_ray.sweep.models_and_sets import Model
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.tables.trained_models import RESULTS, result_row

DIGITS = dataset_named("digits").ref
NORMALISED = {"mean": (0.3,), "std": (0.35,)}


def network(arch="resnet18"):
    return build(arch, shape=(3, 32, 32), num_classes=10, mean=[0.5] * 3, std=[0.25] * 3, seed=0)


@pytest.fixture(scope="module")
def foreign():
    """Return a torchvision ResNet-18 in CIFAR shape, trained elsewhere: its statistics are not those of a new one."""
    torch.manual_seed(5)
    model = resnet18(num_classes=10)
    model.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    model.maxpool = torch.nn.Identity()
    model.train()(torch.rand(4, 3, 32, 32))
    return model.eval()


def torch_file(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def kuangliu(state):
    """Return `state` under the names of the usual CIFAR code."""
    renamed = {name.replace(".downsample.", ".shortcut."): tensor for name, tensor in state.items()}
    return {name.replace("fc.", "linear."): tensor for name, tensor in renamed.items()}


def madry(state):
    """Return `state` as MadryLab's robustness library saves it."""
    names = kuangliu(state)
    mean, std = torch.full((3, 1, 1), 0.5), torch.full((3, 1, 1), 0.25)
    wrapped = {"module.normalizer.new_mean": mean, "module.normalizer.new_std": std}
    wrapped |= {f"module.model.{name}": tensor for name, tensor in names.items()}
    wrapped |= {"module.attacker.normalize.new_mean": mean, "module.attacker.normalize.new_std": std}
    wrapped |= {f"module.attacker.model.{name}": tensor for name, tensor in names.items()}
    return {"model": wrapped, "optimizer": {"state": {}, "param_groups": []}, "epoch": 150}


WRITERS = {
    "torch.save": torch_file,
    "safetensors": lambda state: safetensors.torch.save(dict(state)),
    "DataParallel": lambda state: torch_file({f"module.{name}": tensor for name, tensor in state.items()}),
    "compiled": lambda state: torch_file({"state_dict": {f"_orig_mod.{n}": tensor for n, tensor in state.items()}}),
    "wrapped": lambda state: torch_file({"net": {f"module.model.{n}": t for n, t in state.items()}, "acc": 95.1}),
    "usual CIFAR code": lambda state: torch_file(kuangliu(state)),
    "robustness": lambda state: torch_file(madry(state)),
    "before 2018": lambda state: torch_file({n: t for n, t in state.items() if "num_batches" not in n}),
}


@pytest.mark.parametrize("written", WRITERS)
def test_a_network_of_torchvision_decides_as_it_did_there(foreign, written):
    model = network().eval()
    state = read_state(WRITERS[written](foreign.state_dict()))
    assert importing.has_normaliser(state) == (written == "robustness")
    load_state(model, state)
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(images), foreign((images - 0.5) / 0.25), rtol=1e-4, atol=1e-4)


def test_the_normalisation_of_the_file_is_used(foreign):
    saved = madry(foreign.state_dict())
    saved["model"]["module.normalizer.new_mean"] = torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)
    model = network()
    load_state(model, read_state(torch_file(saved)))
    torch.testing.assert_close(model.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))


@pytest.mark.parametrize("arch", ["densenet121", "inception_v3", "vgg16"])
def test_our_own_names_and_those_of_torchvision_are_understood(arch):
    source, target = (
        network(arch),
        build(arch, shape=(3, 32, 32), num_classes=10, mean=[0.0] * 3, std=[1.0] * 3, seed=1),
    )
    state = source.state_dict()
    load_state(target, state)
    assert same(target.state_dict(), state)
    head = "fc" if arch == "inception_v3" else "classifier"
    renamed = {n.replace("body.", "").replace("head.", f"{head}."): tensor for n, tensor in state.items()}
    load_state(target, {name: torch.ones_like(tensor) for name, tensor in state.items()})
    assert not same(target.state_dict(), state)
    load_state(target, renamed)
    assert same(target.state_dict(), state)


def same(first, second):
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_all_that_does_not_match_is_named_at_once_and_nothing_is_changed(foreign):
    state = dict(foreign.state_dict())
    del state["bn1.weight"]
    state["conv1.weight"] = torch.zeros(64, 3, 7, 7)
    state["fc.weight"], state["fc.bias"] = torch.zeros(1000, 512), torch.zeros(1000)
    state["layer1.0.bn1.bias"] = torch.full((64,), torch.nan)
    state |= {f"extra.{i}": torch.zeros(1) for i in range(13)}
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load_state(model, state)
    message = str(caught.value)
    assert "1 missing: body.bn1.weight" in message
    assert "13 unexpected: extra.0, extra.1, " in message
    assert "extra.9 and 3 more" in message
    assert "3 of another shape: body.conv1.weight is (64, 3, 7, 7), not (64, 3, 3, 3), head.weight is" in message
    assert "1 not finite numbers: body.layer1.0.bn1.bias" in message
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_half_a_normalisation_is_refused(foreign):
    saved = madry(foreign.state_dict())
    del saved["model"]["module.normalizer.new_std"]
    state = read_state(torch_file(saved))
    assert importing.has_normaliser(state)
    with pytest.raises(WeightsError, match="1 missing: std"):
        load_state(network(), state)


@pytest.mark.parametrize("name", ["mean", "std"])
def test_a_normalisation_of_other_pixels_in_the_file_is_refused(name, foreign):
    saved = madry(foreign.state_dict())
    saved["model"][f"module.normalizer.new_{name}"] = torch.tensor([125.3, 123.0, 113.9]).view(3, 1, 1)
    with pytest.raises(WeightsError, match=f"1 above 1, although pixels are from 0 to 1: {name}"):
        load_state(network(), saved["model"])


def test_numbers_of_another_kind_are_called_so(foreign):
    """Regression: whole numbers were called not finite."""
    state = dict(foreign.state_dict())
    state["conv1.weight"] = state["conv1.weight"].to(torch.int8)
    with pytest.raises(
        WeightsError, match=r"^1 of another kind of numbers: body\.conv1\.weight is torch\.int8, not tor"
    ):
        load_state(network(), state)


def test_a_normalisation_that_divides_by_zero_is_refused(foreign):
    saved = madry(foreign.state_dict())
    saved["model"]["module.normalizer.new_std"] = torch.tensor([0.2, 0.0, 0.2]).view(3, 1, 1)
    with pytest.raises(WeightsError, match="1 not above 0: std"):
        load_state(network(), read_state(torch_file(saved)))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1e-6, "1 below 0, although BatchNorm's variances: body.layer1.0.bn1.running_var"),
        (float("nan"), "1 not finite numbers: body.layer1.0.bn1.running_var"),
        (float("inf"), "1 not finite numbers: body.layer1.0.bn1.running_var"),
        (1e300, "1 not finite numbers: body.layer1.0.bn1.running_var"),
    ],
    ids=["below 0", "nan", "inf", "beyond float32"],
)
def test_a_variance_that_makes_no_number_is_refused(foreign, value, words):
    """Regression: a network with a negative variance was taken over, and said NaN of every image."""
    state = dict(foreign.state_dict())
    state["layer1.0.bn1.running_var"] = state["layer1.0.bn1.running_var"].double()
    state["layer1.0.bn1.running_var"][3] = value
    with pytest.raises(WeightsError, match=f"^{words}$"):
        load_state(network(), state)
    with pytest.raises(WeightsError, match=f"^{words.replace('body.', '')}$"):
        load_exactly(resnet18(num_classes=10), state | {"conv1.weight": torch.zeros(64, 3, 7, 7)})


def test_a_claim_of_any_size_takes_no_memory(foreign):
    huge = torch.zeros(1).expand(2**40)
    with pytest.raises(WeightsError, match=r"1 of another shape: body\.bn1\.weight is \(1099511627776,\), not \(64,\)"):
        load_state(network(), {**foreign.state_dict(), "bn1.weight": huge})


@given(prefixes=st.lists(st.sampled_from(PREFIXES), max_size=4), heads=st.booleans())
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_prefixes_are_taken_off_in_any_nesting(foreign, prefixes, heads):
    """The head may stand beside a wrapped body, as in a fine-tuned encoder."""
    prefix = "".join(prefixes)
    state = {
        name if heads and name.startswith("fc.") else f"{prefix}{name}": tensor
        for name, tensor in foreign.state_dict().items()
    }
    model = network()
    mapped = load_state(model, state)
    assert (mapped.left_out, mapped.normalised) == ((), False)
    assert mapped.names["body.conv1.weight"] == f"{prefix}conv1.weight"
    assert torch.equal(model.body.layer4[1].bn2.running_var, foreign.layer4[1].bn2.running_var)


def test_two_copies_of_a_network_in_one_state_are_not_chosen_between(foreign):
    state = {
        f"{prefix}{name}": tensor for prefix in ("model.", "net.") for name, tensor in foreign.state_dict().items()
    }
    with pytest.raises(WeightsError, match=r"122 unexpected: net\.conv1\.weight, "):
        load_state(network(), state)


def test_two_normalisations_in_one_file_are_not_chosen_between(foreign):
    shown = {f"{name}.{leaf}": torch.full((3, 1, 1), 0.5) for name in ("first", "second") for leaf in ("mean", "std")}
    with pytest.raises(WeightsError, match=r"4 unexpected: first\.mean, first\.std, second\.mean, second\.std"):
        load_state(network(), {**foreign.state_dict(), **shown})


def test_a_normalisation_of_one_number_is_that_of_every_channel(foreign):
    model = network()
    state = {**foreign.state_dict(), "mu": torch.tensor([0.5]), "sigma": torch.tensor([0.25])}
    assert load_state(model, state).normalised
    assert model.mean.flatten().tolist() == [0.5] * 3
    assert model.std.flatten().tolist() == [0.25] * 3


def test_two_heads_in_one_file_are_not_chosen_between(foreign):
    state = {**foreign.state_dict(), "linear.weight": torch.zeros(10, 512)}
    with pytest.raises(WeightsError, match=r"1 unexpected: linear\.weight"):
        load_state(network(), state)


@pytest.fixture
def weights(tmp_path, trained):
    """Return the path of the weights of a small network for digits, under foreign names."""
    state = trained.state_dict()
    path = tmp_path / "weights.pt"
    kept = {n.removeprefix("body.").replace("head.", "fc."): t for n, t in state.items() if n not in ("mean", "std")}
    path.write_bytes(torch_file(kept))
    return path


def spec_of(path, **changes):
    spec = {"arch": "resnet_s", "dataset": DIGITS, "training": "standard", "sha256": digest(path.read_bytes())}
    return ImportSpec(**{**spec, **NORMALISED, "location": str(path), **changes})


def test_imported_weights_are_a_model_like_any_other(weights, trained, tmp_path):
    store = Store.open(str(tmp_path / "store"), create=True)
    model = import_weights(spec_of(weights))
    measured = evaluate(EvaluateSpec(dataset=DIGITS), model=model)
    assert model.cost() > 0
    assert run_inline([measured], store).errors == {}
    made, original = load_model(store.artifact(model), "cpu"), trained
    assert all(torch.equal(a, b) for a, b in zip(made.parameters(), original.parameters(), strict=True))
    assert torch.equal(torch.cat([made.mean, made.std]).flatten(), torch.tensor([0.3, 0.35]))
    assert store.artifact(model).record.metrics["parameters"] == sum(p.numel() for p in original.parameters())
    found = store.artifact(model).record.metrics
    assert found["checked"] == 360
    assert found["doubt"] is None
    assert found["checked_accuracy"] == store.artifact(measured).record.metrics["clean_accuracy"]


def test_a_row_of_results_leaves_out_what_training_alone_knows(weights, tmp_path):
    store = Store.open(str(tmp_path / "store"), create=True)
    row = result_row("s", dataset_named("digits"), Model(train=import_weights(spec_of(weights)), role="source", seed=0))
    sweep = Sweep(name="s", rows=(row,))
    assert run_inline(sweep.goals, store).errors == {}
    (values,) = sweep.collect(store)[RESULTS]
    assert (values["train_examples"], values["train_accuracy"]) == (None, None)
    assert (values["training"], values["student_arch"], values["n"]) == ("standard", "resnet_s", 360)
    assert min(values["parameters"], values["macs"]) > 0
    assert set(values) == set(RESULTS.column_names())


def test_the_key_is_the_content_and_not_the_place(weights, tmp_path):
    other = tmp_path / "copy.pt"
    other.write_bytes(weights.read_bytes())
    assert digest_of(str(other)) == digest(weights.read_bytes())
    assert import_weights(spec_of(weights)).key == import_weights(spec_of(other)).key
    assert import_weights(spec_of(weights, mean=(0.4,))).key != import_weights(spec_of(weights)).key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"arch": "resnet_m"}, r"does not fit resnet_m for images of 1 x 8 x 8 and 10 classes: \d+ missing"),
        ({"arch": "no_such"}, "unknown architecture 'no_such'"),
        ({"sha256": "0" * 64}, "not 000000000000: this is another file"),
        ({"mean": (), "std": ()}, "do not include the normalisation of images; give the mean and std"),
        ({"location": "/no/such/file"}, "/no/such/file cannot be read"),
    ],
)
def test_what_cannot_be_imported_is_refused_and_nothing_is_committed(weights, tmp_path, changes, message):
    store = Store.open(str(tmp_path / "store"), create=True)
    handle = import_weights(spec_of(weights, **changes))
    with pytest.raises(ConfigError, match=message):
        execute(handle, store)
    assert not store.has(handle)


def test_a_normalisation_said_twice_is_refused(tmp_path, trained):
    path = tmp_path / "whole.safetensors"
    path.write_bytes(
        safetensors.torch.save({name: tensor.contiguous() for name, tensor in trained.state_dict().items()})
    )
    store = Store.open(str(tmp_path / "store"), create=True)
    with pytest.raises(ConfigError, match="include mean and std; omit"):
        execute(import_weights(spec_of(path)), store)
    handle = import_weights(spec_of(path, mean=(), std=()))
    taken = execute(handle, store)
    assert load_model(store.artifact(handle), "cpu")
    assert taken.metrics["train_accuracy"] is None


@pytest.mark.parametrize("changes", [{"mean": (125.3,)}, {"std": (63.0,)}])
def test_a_normalisation_of_other_pixels_is_refused(weights, changes):
    """Regression: images in [0, 1] were normalised with the mean of pixels from 0 to 255."""
    with pytest.raises(ConfigError, match="pixels are from 0 to 1; divide both by 255 if they are of pixels from 0 to"):
        replace(spec_of(weights), **changes)


@pytest.mark.parametrize("changes", [{"mean": ()}, {"mean": (0.1, 0.2), "std": (0.1, 0.2)}])
def test_a_normalisation_has_one_value_a_channel(weights, changes):
    with pytest.raises(ConfigError, match="one value per channel of digits, or neither"):
        replace(spec_of(weights), **changes)


@pytest.mark.parametrize("changes", [{"std": (0.0,)}, {"std": (-0.5,)}, {"mean": (float("nan"),)}])
def test_a_normalisation_that_makes_no_numbers_is_refused(weights, changes):
    with pytest.raises(ConfigError, match="std above 0"):
        replace(spec_of(weights), **changes)

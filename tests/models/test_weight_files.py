"""Files of weights: the one set that a file holds is found, two are never chosen between, and no code is run."""

import gzip
import io
import os
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.models import weight_files
from nrf_ray.models.weight_files import WeightsError, read_state

WEIGHTS = {"conv.weight": torch.rand(2, 3), "bn.running_var": torch.rand(2), "bn.num_batches_tracked": torch.tensor(7)}
OPTIMIZER = {"state": {0: {"exp_avg": torch.rand(2, 3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


def torch_file(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def read(content):
    """Return what is read of a file of torch.save, and assert that it is tensors as they were."""
    return {name: tensor.tolist() for name, tensor in read_state(torch_file(content)).items()}


PLAIN = {name: tensor.tolist() for name, tensor in WEIGHTS.items()}


def test_the_checkpoint_of_pytorchs_imagenet_script_is_read():
    """Regression: it was refused for its epoch, since its best accuracy is a tensor."""
    checkpoint = {
        "epoch": 90,
        "arch": "resnet18",
        "state_dict": WEIGHTS,
        "best_acc1": torch.tensor(69.8),
        "optimizer": OPTIMIZER,
        "scheduler": {"last_epoch": 90, "_last_lr": [1e-4]},
    }
    assert read(checkpoint) == PLAIN


NAMES = st.text("ab_é", min_size=1, max_size=3)
DOTTED = st.text("ab._é", min_size=1, max_size=3)
COMPANIONS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False),
    st.none(),
    st.just("resnet18"),
    st.lists(st.integers(), max_size=2),
    st.just(torch.tensor(0.5)),
    st.just(torch.zeros(16, dtype=torch.uint8)),
    st.just(torch.eye(3)),
    st.just({"best": torch.tensor(0.9), "confusion": torch.eye(3)}),
    st.just(OPTIMIZER),
    st.just({"generator": OPTIMIZER, "discriminator": OPTIMIZER}),
    st.just({}),
)


@st.composite
def checkpoints(draw, sets):
    """Return a checkpoint with each of `sets` somewhere in it, and the paths to them; anything may stand beside."""
    paths = [draw(st.lists(DOTTED, min_size=1, max_size=3).map(tuple)) for _ in sets]
    checkpoint = {}
    for path, weights in zip(paths, sets, strict=True):
        inner = checkpoint
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
            if "conv.weight" in inner:
                inner = checkpoint  # one set is never inside another
        inner[path[-1]] = dict(weights)
    for _ in range(draw(st.integers(0, 4))):
        checkpoint.setdefault(draw(NAMES), draw(COMPANIONS))
    checkpoint["optimizer"] = OPTIMIZER
    return dict(draw(st.permutations(list(checkpoint.items()))))


def sets_in(content):
    """Return how many sets of weights a nest of dictionaries holds."""
    if not isinstance(content, dict):
        return 0
    return 1 if "conv.weight" in content else sum(map(sets_in, content.values()))


@given(checkpoints([WEIGHTS]))
def test_the_one_set_of_weights_is_found_wherever_it_is(checkpoint):
    assert read(checkpoint) == PLAIN


OTHER = {name: tensor + 1 for name, tensor in WEIGHTS.items()}


@given(checkpoints([WEIGHTS, OTHER]))
def test_two_sets_of_weights_are_never_chosen_between(checkpoint):
    if sets_in(checkpoint) == 2:
        with pytest.raises(WeightsError, match=r"contains 2 sets of weights \(.*\), and it is unknown which to use"):
            read(checkpoint)
    else:  # the second was put where the first was
        assert len(read(checkpoint)) == 3


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"state_dict": WEIGHTS, "state_dict_ema": OTHER}, "(state_dict, state_dict_ema)"),
        ({"model": WEIGHTS, "ema": OTHER, "epoch": 3}, "(model, ema)"),
        ({"student": WEIGHTS, "teacher": OTHER}, "(student, teacher)"),
        ({"model": {"net": WEIGHTS, "net_ema": OTHER}}, "(model.net, model.net_ema)"),
        ({"ema": {"module": OTHER, "decay": 0.999}, "model": WEIGHTS}, "(model, ema.module)"),
        ({**WEIGHTS, "ema": OTHER}, "(the tensors at its top, ema)"),
        ({"model": WEIGHTS, "snapshots": [OTHER]}, "(model, snapshots.0)"),
        ({"model": WEIGHTS, "folds": {0: OTHER}}, "(model, folds.0)"),
        ([WEIGHTS, OTHER], "(0, 1)"),
        ({0: WEIGHTS, 1: OTHER}, "(0, 1)"),
        ({"model": WEIGHTS, "ema": {"decay": 0.9, "shadow_params": [*OTHER.values()]}}, "(model, ema.shadow_params)"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_both_sets_of_weights_are_named(content, named):
    """Regression: the first was taken, and nothing was said of the other."""
    with pytest.raises(WeightsError) as caught:
        read(content)
    assert named in str(caught.value)


@pytest.mark.parametrize("content", [[WEIGHTS], {"models": [WEIGHTS]}, {"model": WEIGHTS, "seen": [torch.eye(3)] * 2}])
def test_one_set_in_a_list_is_found_and_no_measurement_is_taken_for_another(content):
    assert read(content) == PLAIN


def test_tensors_without_names_are_called_so():
    with pytest.raises(WeightsError, match="a list of tensors without names"):
        read_state(torch_file({"model": WEIGHTS, "shadow_params": [*OTHER.values()]}), "shadow_params")


def test_weights_of_a_byte_each_are_refused():
    """Regression: NotImplementedError of torch, or taken unsaid if the normalisation was not among them."""
    with pytest.raises(WeightsError, match=r"torch.float8_e4m3fn, with too few digits"):
        read({name: tensor.to(torch.float8_e4m3fn) for name, tensor in WEIGHTS.items()})


def test_one_set_under_two_names_is_one_and_a_file_that_holds_itself_ends():
    assert read({"model": WEIGHTS, "state_dict": WEIGHTS}) == PLAIN
    endless = {"state_dict": WEIGHTS}
    endless["model"] = endless
    assert read(endless) == PLAIN


def test_parameters_are_tensors_without_a_graph():
    state = {"a.weight": torch.nn.Parameter(torch.rand(2, 2)), "b": torch.rand(2, requires_grad=True)}
    found = read_state(torch_file(state))
    assert [type(tensor) for tensor in found.values()] == [torch.Tensor] * 2
    assert not any(tensor.requires_grad for tensor in found.values())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: torch.eye(3).to_sparse(), r"a tensor of the layout torch\.sparse_coo"),
        (lambda: torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8), r"a quantised tensor \(torch\.qint8\)"),
        (lambda: torch.eye(3, dtype=torch.complex64), r"a tensor of complex numbers"),
    ],
    ids=["sparse", "quantised", "complex"],
)
@pytest.mark.filterwarnings("ignore")
def test_a_tensor_that_is_no_plain_array_is_called_what_it_is(make, words):
    with pytest.raises(WeightsError, match=f"contains 'a.weight', {words}"):
        read({"a.weight": make()})


class Hostile:
    """Runs a command where it is unpickled."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("old_format", [False, True])
def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path, old_format):
    buffer, trace = io.BytesIO(), tmp_path / "ran"
    torch.save({"w": Hostile(f"touch {trace}")}, buffer, _use_new_zipfile_serialization=not old_format)
    with pytest.raises(WeightsError, match="would run its code, which is never done"):
        read_state(buffer.getvalue())
    assert not trace.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither safetensors nor"),
        (b"PK\x03\x04 and so on", "neither safetensors nor"),
        (b"\x10\0\0\0\0\0\0\0{not json at all", "neither safetensors nor"),
        (torch_file({"w": torch.zeros(8)})[:-40], "neither safetensors nor"),
        (torch_file([torch.zeros(2)]), "contains a list"),
        (torch_file({}), "without tensors"),
        (torch_file({"w": torch.zeros(2), "epoch": 3}), "contains 'epoch', a int"),
        (torch_file({"state_dict": OrderedDict()}), "without tensors"),
    ],
)
def test_what_is_no_state_dict_is_refused(data, message):
    with pytest.raises(WeightsError, match=message):
        read_state(data)


def torchscript():
    """Return a network as torch.jit.save writes it."""
    buffer = io.BytesIO()
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def numpy_archive():
    """Return arrays as numpy.savez writes them."""
    buffer = io.BytesIO()
    np.savez(buffer, weight=np.zeros(3))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (torchscript, r"is a TorchScript program \(torch\.jit\.save\), which contains code"),
        (numpy_archive, "is an archive of numpy arrays"),
        (lambda: gzip.compress(torch_file(WEIGHTS), mtime=0), "is compressed by gzip; unpack it first"),
        (lambda: b"\x89HDF\r\n\x1a\n" + bytes(100), "is an HDF5 file, as Keras writes it"),
        (lambda: b"\x93NUMPY\x01\0" + bytes(100), r"is a numpy array \(\.npy\)"),
        (lambda: b"GGUF\x03\0\0\0" + bytes(100), "is a GGUF file"),
        (lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "is a pointer of Git LFS"),
        (lambda: b"<!DOCTYPE html><title>404</title>", "is HTML or XML"),
        (
            lambda: b"weights: 1, 2, 3",
            r"neither safetensors nor an intact file of torch\.save \(its pickle is damaged\)",
        ),
    ],
    ids=["TorchScript", "npz", "gzip", "HDF5", "npy", "GGUF", "Git LFS", "HTML", "text"],
)
@pytest.mark.filterwarnings("ignore:.torch.jit")
def test_another_kind_of_file_is_called_what_it_is(make, words):
    with pytest.raises(WeightsError, match=words) as caught:
        read_state(make())
    assert "\n" not in str(caught.value)


def test_both_forms_of_a_plain_state_dict_are_read():
    for old_format in (False, True):
        buffer = io.BytesIO()
        torch.save(WEIGHTS, buffer, _use_new_zipfile_serialization=not old_format)
        assert {name: tensor.tolist() for name, tensor in read_state(buffer.getvalue()).items()} == PLAIN
    found = read_state(safetensors.torch.save(WEIGHTS))
    assert {name: tensor.tolist() for name, tensor in found.items()} == PLAIN


def test_no_more_is_unpacked_than_a_network_has(monkeypatch):
    monkeypatch.setattr(weight_files, "MAX_BYTES", 1000)
    with pytest.raises(WeightsError, match="at most 1000 are read"):
        read_state(torch_file({"w": torch.zeros(300)}))


def test_a_member_that_is_marked_as_a_folder_is_refused():
    """Regression: none of its bytes would be read, and the tensor would be whatever the memory held."""
    member = zipfile.ZipInfo("archive/data/0")
    weight_files.check_members([member])
    member.external_attr = weight_files.FOLDER
    with pytest.raises(WeightsError, match="a tensor in it is marked as a folder"):
        weight_files.check_members([member])

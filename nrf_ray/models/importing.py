"""Import of weights that were trained elsewhere: named tensors become the weights of a `Classifier`, all or none.

Names may start with the prefixes of wrappers (`PREFIXES`), in any nesting, or be those of checkpoints of MadryLab's
robustness library. They follow torchvision, timm or RobustBench, or call a ResNet's `downsample` `shortcut`, as most
CIFAR code does. The module `weight_files` reads the tensors from files.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from nrf_ray.models.classifier import Classifier
from nrf_ray.models.weight_files import SHOWN, WeightsError

PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.", "backbone.", "encoder.")
"""Prefixes that wrappers of networks give to names: DataParallel, torch.compile, and classes of people's own."""
HEADS = {"fc", "classifier", "classifier.6", "linear", "last_linear", "head", "head.fc", "logits"}
NORMALISER = {"mean", "std"}
SAID = re.compile(r"(?:(.*)\.)?(?:new_|_)?(?:(mean|mu)|std|sigma)")
"""Names of a normalisation in a file, such as `normalizer.new_mean` or `mu`; the first group is their module."""
COPIED = "attacker."
"""Prefix of the second copy of everything in checkpoints of MadryLab's robustness."""
UNUSED = ("sub_block1.", "n_averaged")
"""Beginnings of names that no network uses: a block of TRADES' WideResNet that its forward pass leaves out, and a count
of torch's averaged models."""
COLOURS = 3
"""Largest number of channels of images; a text has as many as its vectors have coordinates."""


@dataclass(frozen=True, kw_only=True)
class Mapped:
    """Mapping of the tensors of a file to those of a network."""

    names: Mapping[str, str]
    """Name in the file of each tensor of the network that the file has."""
    left_out: tuple[str, ...]
    """Names in the file that no network uses."""
    normalised: bool
    """Whether the file contains the mean and std that images are normalised with."""

    def __str__(self) -> str:
        """Return the mapping in words: how many tensors, and the first and the last of them."""
        ours, theirs = list(self.names), list(self.names.values())
        left = f"; left out: {_listed('unused', list(self.left_out))}" if self.left_out else ""
        return f"{len(ours)} tensors, {theirs[0]} -> {ours[0]} to {theirs[-1]} -> {ours[-1]}{left}"


def has_normaliser(state: Mapping[str, Tensor]) -> bool:
    """Return whether `state` contains the mean and std that its network normalises images with."""
    return bool(_split(state)[0])


def load_state(model: Classifier, state: Mapping[str, Tensor]) -> Mapped:
    """Load `state` into `model` and return the mapping; if anything does not match, change nothing.

    Two things may be missing in the file: the normalisation, which then does not change, and BatchNorm's count of
    batches, which files from before 2018 lack and which has no effect. A BatchNorm variance below 0 is refused, since
    its square root is NaN.

    Raises:
        WeightsError: with the names of all tensors that are missing, unexpected, or of other shapes or values.
    """
    expected = model.state_dict()
    normaliser, rest, prefixes = _split(state)
    names: dict[str, str] = {}
    unexpected: list[str] = []
    left_out: list[str] = []
    for name in rest:
        target = _our_name(name, expected, prefixes)
        if target is not None and target not in names:
            names[target] = name
        elif any(one.startswith((COPIED, *UNUSED)) for one in _unwrapped(name, prefixes)):
            left_out.append(name)
        else:
            unexpected.append(name)
    adapted = {ours: rest[theirs] for ours, theirs in names.items()}
    for leaf, name in normaliser.items():
        one_for_all = state[name].numel() == 1
        adapted[leaf] = (
            state[name].reshape(1, -1, 1, 1).expand_as(expected[leaf])
            if one_for_all
            else state[name].reshape(1, -1, 1, 1)
        )
    _check(adapted, expected, unexpected, set() if normaliser else NORMALISER)
    model.load_state_dict(expected | adapted)
    return Mapped(names=names | normaliser, left_out=tuple(left_out), normalised=bool(normaliser))


def load_exactly(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load `state`, whose names must be exactly those of `network`; otherwise as `load_state`."""
    expected = network.state_dict()
    known = {name: tensor for name, tensor in state.items() if name in expected}
    _check(known, expected, [name for name in state if name not in expected], set())
    network.load_state_dict(expected | known)


def _check(
    adapted: Mapping[str, Tensor], expected: Mapping[str, Tensor], unexpected: list[str], optional: set[str]
) -> None:
    """Raise WeightsError if tensors are missing or unexpected, or have another shape or invalid values."""
    required = {name for name in expected if not name.endswith(".num_batches_tracked")} - optional
    fitting = {name: tensor for name, tensor in adapted.items() if tensor.shape == expected[name].shape}
    problems = {
        "missing": [name for name in expected if name in required and name not in adapted],
        "unexpected": unexpected,
        "of another shape": [
            f"{name} is {tuple(tensor.shape)}, not {tuple(expected[name].shape)}"
            for name, tensor in adapted.items()
            if name not in fitting
        ],
        "of another kind of numbers": [
            f"{name} is {tensor.dtype}, not {expected[name].dtype}"
            for name, tensor in fitting.items()
            if tensor.is_floating_point() != expected[name].is_floating_point()
        ],
        "not finite numbers": [name for name, tensor in fitting.items() if not _is_finite(tensor, expected[name])],
        "above 1, although pixels are from 0 to 1": [
            name
            for name in sorted(NORMALISER & fitting.keys())
            if fitting[name].numel() <= COLOURS and bool((fitting[name] > 1).any())
        ],
        "below 0, although pixels are from 0 to 1": [
            name for name in fitting if name == "mean" and bool((fitting[name] < 0).any())
        ],
        "not above 0": [name for name in fitting if name == "std" and not bool((fitting[name] > 0).all())],
        "below 0, although BatchNorm's variances": [
            name for name, tensor in fitting.items() if name.endswith("running_var") and bool((tensor < 0).any())
        ],
    }
    if any(problems.values()):
        raise WeightsError("; ".join(_listed(what, names) for what, names in problems.items() if names))


def _split(state: Mapping[str, Tensor]) -> tuple[dict[str, str], dict[str, Tensor], Sequence[str]]:
    """Return the names of the normalisation in `state`, by mean and std; the other tensors; and the prefixes of names.

    If tensors of several modules could be the normalisation, none is taken, and so all of them will be unexpected.
    """
    found: dict[str, dict[str, str]] = {}
    for name in state:
        match = SAID.fullmatch(name)
        if match and not any(one.startswith(COPIED) for one in _unwrapped(name, PREFIXES)):
            found.setdefault(match[1] or "", {})["mean" if match[2] else "std"] = name
    if len(found) != 1:
        return {}, dict(state), PREFIXES
    ((module, normaliser),) = found.items()
    rest = {name: tensor for name, tensor in state.items() if name not in normaliser.values()}
    in_front = module.rpartition(".")[2] == "0"  # Sequential(normalisation, network)
    return normaliser, rest, (*PREFIXES, "1.") if in_front else PREFIXES


def _unwrapped(name: str, prefixes: Sequence[str]) -> Iterator[str]:
    """Yield `name`, and then `name` without one prefix after the other."""
    yield name
    while prefix := next((one for one in prefixes if name.startswith(one)), None):
        name = name.removeprefix(prefix)
        yield name


def _our_name(name: str, expected: Mapping[str, Tensor], prefixes: Sequence[str]) -> str | None:
    """Return the name in `expected` (of a `Classifier`) for the tensor `name` of a file, or None if there is none."""
    for theirs in _unwrapped(name, prefixes):
        module, _, leaf = theirs.rpartition(".")
        candidates = [theirs, f"body.{theirs}", f"body.{theirs.replace('.shortcut.', '.downsample.')}"]
        if module in HEADS:
            candidates.append(f"head.{leaf}")
        found = next((candidate for candidate in candidates if candidate in expected), None)
        if found:
            return found
    return None


def _is_finite(tensor: Tensor, expected: Tensor) -> bool:
    """Return whether `tensor` is finite in the precision of `expected`."""
    return bool(tensor.to(expected.dtype).isfinite().all())


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}"

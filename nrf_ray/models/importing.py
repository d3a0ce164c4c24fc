"""Import of weights that were trained elsewhere: named tensors become the weights of a `Classifier`, all or none.

Names may start with `module.` (DataParallel) or `_orig_mod.` (torch.compile), or be those of checkpoints of MadryLab's
robustness library. They follow torchvision or timm, or call a ResNet's `downsample` `shortcut`, as most CIFAR code
does. The module `weight_files` reads the tensors from files.
"""

from collections.abc import Iterable, Mapping

from torch import Tensor, nn

from nrf_ray.models.classifier import Classifier
from nrf_ray.models.weight_files import SHOWN, WeightsError

HEADS = {"fc", "classifier", "classifier.6", "linear", "last_linear", "head", "head.fc"}
NORMALISER = {"mean", "std"}
COLOURS = 3
"""Largest number of channels of images; a text has as many as its vectors have coordinates."""


def has_normaliser(state: Mapping[str, Tensor]) -> bool:
    """Return whether `state` contains the mean and std that its network normalises images with."""
    return not NORMALISER.isdisjoint(_unwrapped(state))


def load_state(model: Classifier, state: Mapping[str, Tensor]) -> None:
    """Load `state` into `model`, or raise WeightsError with all that does not match and change nothing.

    Two things may be missing in the file: the normalisation, which then does not change, and BatchNorm's count of
    batches, which files from before 2018 lack and which has no effect. A BatchNorm variance below 0 is refused, since
    its square root is NaN.
    """
    expected = model.state_dict()
    adapted: dict[str, Tensor] = {}
    unexpected: list[str] = []
    for name, tensor in _unwrapped(state).items():
        target = _our_name(name, expected)
        if target is None or target in adapted:
            unexpected.append(name)
        else:
            adapted[target] = tensor.reshape(1, -1, 1, 1) if target in NORMALISER else tensor
    optional = NORMALISER if NORMALISER.isdisjoint(adapted) else set()
    _check(adapted, expected, unexpected, optional)
    model.load_state_dict(expected | adapted)


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
        "not above 0": [name for name in fitting if name == "std" and not bool((fitting[name] > 0).all())],
        "below 0, although BatchNorm's variances": [
            name for name, tensor in fitting.items() if name.endswith("running_var") and bool((tensor < 0).any())
        ],
    }
    if any(problems.values()):
        raise WeightsError("; ".join(_listed(what, names) for what, names in problems.items() if names))


def _unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `state` without the prefixes of wrappers, with its normalisation as `mean` and `std`."""
    names = _without_common_prefix(dict(state), ("module.", "_orig_mod."))
    if "normalizer.new_mean" in names:  # MadryLab's robustness: the attacker holds a second copy of everything
        names = {name: tensor for name, tensor in names.items() if not name.startswith("attacker.")}
        normaliser = {"mean": names.pop("normalizer.new_mean")}
        if "normalizer.new_std" in names:
            normaliser["std"] = names.pop("normalizer.new_std")
        return _without_common_prefix(names, ("model.",)) | normaliser
    return _without_common_prefix(names, ("module.", "_orig_mod.", "model."))


def _without_common_prefix(state: dict[str, Tensor], prefixes: Iterable[str]) -> dict[str, Tensor]:
    for prefix in prefixes:
        if state and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _our_name(name: str, expected: Mapping[str, Tensor]) -> str | None:
    """Return the name in `expected` (of a `Classifier`) for the tensor `name` of a file, or None if there is none."""
    module, _, leaf = name.rpartition(".")
    candidates = [name, f"body.{name}", f"body.{name.replace('.shortcut.', '.downsample.')}"]
    if module in HEADS:
        candidates.append(f"head.{leaf}")
    return next((candidate for candidate in candidates if candidate in expected), None)


def _is_finite(tensor: Tensor, expected: Tensor) -> bool:
    """Return whether `tensor` is finite in the precision of `expected`."""
    return bool(tensor.to(expected.dtype).isfinite().all())


def _listed(what: str, names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {what}: {', '.join(names[:SHOWN])}{more}"

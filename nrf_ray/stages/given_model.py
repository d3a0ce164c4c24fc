"""From the name of a model to its file: the spec of the stage that imports it. Without torch; nothing is downloaded.

`models.model_name` has the grammar. The digest of the file is computed here, so a changed file is another model. What
only torch can say, such as whether the tensors fit, the stage says.
"""

import importlib.util
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from nrf_ray.attacks.threat import NORMS, ThreatModel
from nrf_ray.data.apart import said_apart
from nrf_ray.data.catalogue import DatasetInfo
from nrf_ray.errors import ConfigError, expanded, lookup
from nrf_ray.graph.find import committed, find_place, open_store
from nrf_ray.graph.record import check_loaded
from nrf_ray.models.catalogue import TIMM, TORCHVISION, architecture_named
from nrf_ray.models.model_name import FILE, HUB, ROBUSTBENCH, ModelName, parse_model
from nrf_ray.models.robustbench import LEADERBOARDS, entry_named
from nrf_ray.stages.import_weights import ImportSpec, Layout, digest_of

WEIGHTS, IN_STORE = "weights.safetensors", "store:"
"""Name of the file of a model in the store, and prefix of its location."""
MODELS = ("train", "import_weights")
"""Stages whose artifacts are models."""
MAX_HEADER = 2**26
"""Most bytes of the header of a safetensors file."""
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
"""Names that timm gives the file of weights of a model on the hub."""


def import_spec(text: str, info: DatasetInfo, store: str) -> ImportSpec:
    """Return the spec that imports the model `text` for the images of `info`; keys are looked up in `store`.

    Raises ConfigError if there is no such model on this machine, or if its name does not say enough of it.
    """
    name = parse_model(text)
    return _FORMS[name.form](name, info, store)


def _spec(
    given: ModelName,
    info: DatasetInfo,
    *,
    threat: ThreatModel | None = None,
    training: str = "standard",
    size: Sequence[int] | None = None,
    **fields: Any,
) -> ImportSpec:
    """Return the spec with `fields` for the images of `info`; the ball in the choices of `given` counts first."""
    if "eps" in given.choices:
        norm = lookup({norm: norm for norm in NORMS}, given.choices["norm"], "norm")
        threat = ThreatModel(norm=norm, eps=given.numbers("eps")[0])
    architecture_named(fields["arch"])
    channels, height, width = info.shape
    for one in ("mean", "std"):  # one number for all channels
        fields[one] = tuple(values) * channels if len(values := fields.get(one, ())) == 1 else tuple(values)
    return ImportSpec(
        dataset=info.ref,
        training="adversarial" if threat else training,  # type: ignore[arg-type]  # as a record of ours says
        threat=threat,
        size=(size[0], size[1]) if size and tuple(size) != (height, width) else None,
        **fields,
    )


def _of_key(name: ModelName, info: DatasetInfo, store: str) -> ImportSpec:
    name.without("arch", "weights", "mean", "std", "norm", "eps")
    opened = open_store(store)
    place = find_place(opened, name.subject)
    if place.stage not in MODELS:
        raise ConfigError(f"{place.stage}/{place.key[:12]} is not a model; `nrf show` says what a key stands for")
    record = committed(opened, place)
    check_loaded(record)
    config: Any = record.config
    recipe = config.get("recipe") or {}
    adversary = recipe.get("adversary") or {}
    threat = adversary.get("threat") or config.get("threat")
    (file,) = (file for file in record.files if file.name == WEIGHTS)
    return _spec(
        name,
        info,
        location=f"{IN_STORE}{place.stage}/{place.key}",
        sha256=file.sha256,
        name=place.key[:12],
        arch=str(config["arch"]),
        size=config.get("size"),
        training=config.get("training") or ("adversarial" if adversary else "standard"),
        threat=ThreatModel(norm=threat["norm"], eps=threat["eps"]) if threat else None,
    )


def _of_file(name: ModelName, info: DatasetInfo, store: str) -> ImportSpec:
    path = expanded(name.subject).absolute()
    return _of_weights(name, info, path, about_weights(path), "")


def _of_weights(name: ModelName, info: DatasetInfo, path: Path, about: Mapping[str, Any], title: str) -> ImportSpec:
    """Return the model in the file at `path`, which says `about` itself if nrf_ray wrote it."""
    arch = name.choices.get("arch") or str(about.get("arch", ""))
    if not arch:
        raise ConfigError(
            f"the file {path} does not say its architecture; write {name.form}{name.subject}#arch=NAME, with NAME as "
            "in --arch"
        )
    if tuple(about.get("shape", info.shape)) != info.shape:
        raise ConfigError(
            f"the model in {path} is for images of {about['shape']}, and {info.ref.name} has {info.shape}"
        )
    sha256 = digest(path)
    return _spec(
        name,
        info,
        location=str(path),
        sha256=sha256,
        name=title or f"file:{sha256[:12]}",
        arch=arch,
        weights=name.choices.get("weights", ""),
        mean=name.numbers("mean"),
        std=name.numbers("std"),
        size=about.get("size"),
    )


def _of_library(name: ModelName, info: DatasetInfo, store: str) -> ImportSpec:
    name.without("arch", "weights", "mean", "std")
    layout: Layout = "timm" if name.form == TIMM else "torchvision"
    if layout == "timm" and importlib.util.find_spec("timm") is None:
        raise ConfigError(f"{name.text} needs the timm library: pip install 'nrf_ray[timm]'")
    arch = f"{name.form}{name.subject}"
    path, mean, std, size = _pretrained(arch)
    return _spec(
        name,
        info,
        location=path,
        sha256=digest(Path(path)),
        name=arch,
        arch=arch,
        layout=layout,
        mean=mean,
        std=std,
        size=size,
    )


def _pretrained(arch: str) -> tuple[str, list[float], list[float], list[int]]:
    """Return path, mean, std and size of the weights of `arch`; without torch here, a child process finds them."""
    if "torch" in sys.modules:
        from nrf_ray.models.pretrained import weights_of

        path, mean, std, size = weights_of(arch)
        return path, list(mean), list(std), list(size)
    problem, found = said_apart("nrf_ray.models.pretrained", arch)
    if problem:
        raise ConfigError(problem)
    path, mean, std, size = found
    return path, mean, std, size


def _of_hub(name: ModelName, info: DatasetInfo, store: str) -> ImportSpec:
    repository, _, revision = name.subject.partition("@")
    weights = next(filter(None, (_cached(repository, revision, file) for file in (WEIGHTS, *HUB_FILES))), None)
    if weights is None:
        raise ConfigError(
            f"{name.text} is not in this machine's cache of the hub, or has no {', '.join((WEIGHTS, *HUB_FILES))}; no "
            f"run downloads anything: if there is a network, run `nrf fetch model:{HUB}{name.subject}` first"
        )
    about, title = about_weights(weights), f"{HUB}{name.subject}"
    card = _cached(repository, revision, "config.json")
    config = _json(card) if card else {}
    if about or "arch" in name.choices:
        return _of_weights(name, info, weights, about, title)
    if "architecture" not in config:
        raise ConfigError(
            f"{title} is not a model of timm or of nrf_ray (its config.json names no architecture); say #arch=NAME, "
            "mean and std, if its names are those of an architecture that --arch knows"
        )
    name.without("arch", "weights", "mean", "std")
    shown = config.get("pretrained_cfg", config)
    if missing := {"mean", "std", "input_size"} - set(shown):
        raise ConfigError(f"the config.json of {title} does not say {' and '.join(sorted(missing))}; say #arch=NAME")
    return _spec(
        name,
        info,
        location=str(weights),
        sha256=digest(weights),
        name=title,
        arch=f"{TIMM}{config['architecture']}",
        layout="timm",
        mean=shown["mean"],
        std=shown["std"],
        size=shown["input_size"][1:],
    )


def _cached(repository: str, revision: str, file: str) -> Path | None:
    """Return a file of the hub in this machine's cache, or None if it is not there."""
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError(f"{HUB}{repository} needs the package huggingface_hub: pip install 'nrf_ray[text]'")
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(repository, file, revision=revision or None)
    except HFValidationError as error:
        raise ConfigError(f"{HUB}{repository} is not a name on the hub: {error}") from error
    return Path(found) if isinstance(found, str) else None


def _json(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{file} cannot be read: {error}; fetch the model again") from error
    return found if isinstance(found, dict) else {}


def _of_entry(name: ModelName, info: DatasetInfo, store: str) -> ImportSpec:
    name.without("arch", "mean", "std", "norm", "eps")
    subject, _, text = name.subject.partition("=")
    entry, path = entry_named(subject), expanded(text).absolute()
    mean, std = entry.normalisation
    threat = ThreatModel(norm=entry.leaderboard, eps=LEADERBOARDS[entry.leaderboard]) if entry.robust else None
    return _spec(
        name,
        info,
        location=str(path),
        sha256=digest(path),
        name=f"{ROBUSTBENCH}{entry.name}",
        arch=entry.arch,
        layout="entry",
        weights=name.choices.get("weights", entry.weights),
        mean=mean,
        std=std,
        threat=threat,
    )


_FORMS: dict[str, Callable[[ModelName, DatasetInfo, str], ImportSpec]] = {
    "": _of_key,
    FILE: _of_file,
    HUB: _of_hub,
    TIMM: _of_library,
    TORCHVISION: _of_library,
    ROBUSTBENCH: _of_entry,
}


def digest(path: Path) -> str:
    """Return the sha256 of the file at `path`; a file that has not changed is read once in a process."""
    try:
        stat = path.stat()
    except OSError as error:
        raise ConfigError(f"the weights at {path} cannot be read: {error.strerror}") from error
    return _digest(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=64)
def _digest(path: Path, size: int, changed: int) -> str:
    del size, changed
    return digest_of(str(path))


def about_weights(path: Path) -> dict[str, Any]:
    """Return what the file of weights at `path` says of its model, if nrf_ray wrote it; empty for a file of others."""
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(size)) if size <= MAX_HEADER else {}
        about = json.loads(header["__metadata__"]["nrf_ray"])
    except OSError as error:
        raise ConfigError(f"the weights at {path} cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return about if isinstance(about, dict) and isinstance(about.get("arch"), str) else {}

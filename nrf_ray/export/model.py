"""Export of one trained model: its weights, a card that says what it is, and code that loads it without nrf_ray.

- model.safetensors: the weights as they are in the store; `nrf_ray.load_model` reads the file, or its folder.
- card.json: architecture, shape, classes, normalisation, recipe, accuracies with attack and trust level, licence.
- load.py: a few lines of Python, if the architecture is torchvision's or timm's.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.errors import ConfigError
from nrf_ray.export.croissant import LICENCE
from nrf_ray.export.fresh import new_folder
from nrf_ray.graph.canonical import digest
from nrf_ray.graph.record import Record
from nrf_ray.graph.store import Store
from nrf_ray.models.catalogue import IMAGENET_SIZE, TIMM, TORCHVISION
from nrf_ray.results.stored_sweep import find_sweep, sweep_names
from nrf_ray.stages.given_model import MODELS, WEIGHTS, about_weights

if TYPE_CHECKING:
    from nrf_ray.models.classifier import Classifier

FILE = "model.safetensors"
ROBUST = (
    *("attack", "steps", "restarts", "norm", "epsilon", "tested_on", "robust_accuracy", "ci_low", "ci_high", "n"),
    *("lowest", "lowest_by", "trust_level", "checks_n"),
)
"""Columns of the table `robustness` that are in the card."""
CLEAN = ("clean_accuracy", "n", "shared_rows")
"""Columns of the table `results` that are in the card."""


def export_model(store: Store, record: Record, destination: Path) -> str:
    """Write the model of `record` to the new folder `destination`; return its title.

    Raises ConfigError if the artifact is not a model, or if `destination` exists.
    """
    if record.stage not in MODELS:
        raise ConfigError(f"{record.key[:12]} is a {record.stage}, not a model; give the key of a training")
    data = store.read(record, WEIGHTS)
    with new_folder(destination) as folder:
        (folder / FILE).write_bytes(data)
        about = about_weights(folder / FILE)
        card = _card(store, record, about, data)
        (folder / "card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
        if code := code_of(about):
            (folder / "load.py").write_text(code, encoding="utf-8")
    return str(card["title"])


def _card(store: Store, record: Record, about: dict[str, Any], data: bytes) -> dict[str, Any]:
    from nrf_ray.stages.weights import model_of

    model: Classifier = model_of(data)
    config: Any = record.config
    return {
        "title": str(record.provenance.get("label") or f"{about['arch']} on {config['dataset']['name']}"),
        "key": record.key,
        "sha256": digest(data),
        "architecture": about["arch"],
        "shape": about["shape"],
        "resized_to": about.get("size"),
        "classes": {"count": about["num_classes"], "names": _classes(config["dataset"])},
        "normalisation": {"mean": model.mean.flatten().tolist(), "std": model.std.flatten().tolist()},
        "input": "images in [0, 1], channels first; the model normalises them itself",
        "data": config["dataset"]["name"],
        "licence_of_data": LICENCE,
        "recipe": config.get("recipe"),
        "imported": None if record.stage == "train" else config,
        "parameters": record.metrics["parameters"],
        "clean": _measured(store, "results", record.key, CLEAN),
        "robust": _measured(store, "robustness", record.key, ROBUST),
    }


def _classes(dataset: dict[str, Any]) -> list[str]:
    """Return the names of the classes, if the dataset is on this machine and has some."""
    try:
        info = dataset_named(dataset["name"])
    except ConfigError:
        return []
    return list(info.classes) if info.ref.digest == dataset["digest"] else []


def _measured(store: Store, table: str, key: str, columns: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return what the tables of the store's sweeps say of the model `key`, each measurement once."""
    found: dict[str, dict[str, Any]] = {}
    for name in sweep_names(store):
        kept = find_sweep(store, name).tables.get(table)
        for row in kept.to_pylist() if kept is not None else ():
            if row["key"] == key:
                values = {column: row.get(column) for column in columns}
                found.setdefault(json.dumps(values), values)
    return list(found.values())


def code_of(about: dict[str, Any]) -> str:
    """Return Python that loads the model without nrf_ray, or an empty text if only nrf_ray has its architecture."""
    arch, (channels, height, width) = about["arch"], about["shape"]
    size = about.get("size")
    seen = size[0] if size else height
    built = _built(arch, channels, seen, about["num_classes"])
    if not built:
        return ""
    library, lines, head = built
    prefix = "body.body." if size else "body."
    steps = ["return network((images - mean) / std)"]
    if size:
        resize = "images = torch.nn.functional.interpolate(images, {}, mode='bilinear', antialias=True)"
        steps.insert(0, resize.format(tuple(size)))
    indented = "\n    ".join(steps)
    return f'''"""Load this model without nrf_ray: pip install torch safetensors {library}"""

from pathlib import Path

import torch
from safetensors.torch import load_file
{lines}
weights = load_file(Path(__file__).with_name("{FILE}"))
mean, std = weights.pop("mean"), weights.pop("std")
names = {{name: name.removeprefix("{prefix}") for name in weights}}
names |= {{name: "{head}" + name[4:] for name in weights if name.startswith("head.")}}
network.load_state_dict({{names[name]: weights[name] for name in weights}})
network.eval()


def logits(images):
    """Return the logits [b, {about["num_classes"]}] of images [b, {channels}, {height}, {width}] in [0, 1]."""
    {indented}
'''


def _built(arch: str, channels: int, side: int, classes: int) -> tuple[str, str, str] | None:
    """Return the library of `arch`, the lines that build `network`, and the name of its head; None if it has none."""
    if arch.startswith(TIMM):
        name = arch.removeprefix(TIMM)
        sized, head = _of_timm(name)
        options = f"in_chans={channels}" + (f", img_size={side}" if sized else "")
        lines = f'import timm\n\nnetwork = timm.create_model("{name}", num_classes={classes}, {options})'
        return "timm", lines, head
    name = arch.removeprefix(TORCHVISION).partition(".")[0]
    heads = {"resnet18": "fc", "resnet50": "fc", "densenet121": "classifier"}
    if not arch.startswith(TORCHVISION) and arch not in heads:
        return None
    options = f", image_size={side}" if name.startswith("vit_") else ""
    lines = f'from torchvision import models\n\nnetwork = models.get_model("{name}", num_classes={classes}{options})'
    if arch.startswith(TORCHVISION):
        return "torchvision", lines, _of_torchvision(name)
    first, pool = {"densenet121": ("features.conv0", "features.pool0")}.get(arch, ("conv1", "maxpool"))
    if side < IMAGENET_SIZE:
        lines += f"\nnetwork.{first} = torch.nn.Conv2d({channels}, 64, 3, padding=1, bias=False)"
        lines += f"\nnetwork.{pool} = torch.nn.Identity()"
    elif channels != 3:
        lines += f"\nnetwork.{first} = torch.nn.Conv2d({channels}, 64, 7, stride=2, padding=3, bias=False)"
    return "torchvision", lines, heads[arch]


def _of_timm(name: str) -> tuple[bool, str]:
    """Return whether timm's `name` is made for one size of images, and the name of its last layer."""
    import torch

    from nrf_ray.models.from_timm import timm_with

    timm = timm_with(name)
    config = timm.get_pretrained_cfg(name)
    with torch.device("meta"):
        network = timm.create_model(name, pretrained=False)
    last = network.get_classifier()
    return bool(config and config.fixed_input_size), next(path for path, one in network.named_modules() if one is last)


def _of_torchvision(name: str) -> str:
    """Return the name of the last layer of torchvision's `name`."""
    import torch
    from torchvision import models

    with torch.device("meta"):
        *_, (path, _) = models.get_model(name).named_modules()
    return str(path)

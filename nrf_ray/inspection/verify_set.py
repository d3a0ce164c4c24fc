"""Independent check of a constructed set: all columns of its rows are recomputed from the stored files.

Only the stored files are used. Norms, losses and predictions are recomputed in fp32 on the CPU, with the stored source
model, in the process of `nrf verify --recompute`, and compared with the stored values. Labels are compared with the
dataset; targets and starts are drawn again from the seed. The images of a control are made again, also those left
clean, and the metrics of the record are measured again on the rows.

Not checked: `prediction`, the source's prediction before rounding, which cannot be recomputed from 8-bit files; and
whether the crafting method was run as the record says, beyond its bound and its result.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.constructions.controls import OTHER_PREDICTIONS
from nrf_ray.constructions.craft import VERIFIERS, Setup, Stored
from nrf_ray.constructions.registry import craft_of, spec_named
from nrf_ray.constructions.spec import construction_named
from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.record import Record, check_loaded
from nrf_ray.graph.store import Artifact, Place, Store

if TYPE_CHECKING:
    from torch import Tensor

    from nrf_ray.data.images import LabelledImages
    from nrf_ray.data.shards import Shard
    from nrf_ray.models.classifier import Classifier

TOLERANCE = 1e-3
"""Largest allowed difference of a norm or a loss: other batches and threads round sums in another order."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """Result of the check of one set."""

    rows: int
    """Number of checked images."""
    differences: Mapping[str, float]
    """Largest difference of each column of numbers, and the share of images with another prediction."""
    duplicates: int
    """Number of rows whose image repeats that of another row; for information, not an error in itself."""
    problems: tuple[str, ...]
    """Errors; empty if the set agrees with its record."""


def recompute(store: Store, record: Record, known: Mapping[str, DatasetRef]) -> Findings:
    """Return the result of recomputing the rows of a constructed set.

    `known` gives datasets by digest, because a record does not say where their files are. Raises ConfigError if the
    dataset of the set is not among them, or if it was made with a plug-in that is not loaded.
    """
    import torch

    from nrf_ray.constructions.stored_set import constructed_rows
    from nrf_ray.data.load import test_split, train_split

    check_loaded(record)
    config = record.config
    assert isinstance(config, dict), "the config of a stage is a dataclass"
    spec = _spec(config, known)
    torch.set_num_threads(1)
    rows = constructed_rows(Artifact(store, record))
    originals = (train_split if spec.split == "train" else test_split)(spec.dataset)
    if len(rows.images) != len(originals):
        return Findings(
            rows=len(rows.images), differences={}, duplicates=0,
            problems=(f"it has {len(rows.images)} rows, but its dataset has {len(originals)}",),
        )  # fmt: skip
    stored = Stored(rows=rows, setup=_setup(spec, originals, _source(store, record)))
    differences = _differences(stored)
    verify = VERIFIERS.get(type(spec.craft).__name__)
    problems = (
        *_wrong_labels(stored),
        *_wrong_starts(stored),
        *(verify(stored) if verify else ()),
        *_out_of_bounds(rows, spec),
        *_too_different(differences),
        *_wrong_metrics(rows, record, spec),
    )
    duplicates = len(rows.images) - len(torch.unique(rows.images.flatten(1), dim=0))
    return Findings(rows=len(rows.images), differences=differences, duplicates=duplicates, problems=problems)


def _spec(config: Mapping[str, Any], known: Mapping[str, DatasetRef]) -> ConstructSpec:
    """Return the spec that a record stores as JSON."""
    dataset = known.get(config["dataset"]["digest"])
    if dataset is None:
        raise ConfigError(
            f"the files of dataset {config['dataset']['name']} (content {config['dataset']['digest'][:12]}) are "
            "needed; give their path with --dataset NAME:PATH"
        )
    fields = {name: value for name, value in config.items() if name not in ("type", "dataset", "craft")}
    return ConstructSpec(**fields, dataset=dataset, craft=_decode(config["craft"]))


def _decode(value: Any) -> Any:
    """Return the dataclass that `canonical.encode` wrote."""
    if not isinstance(value, dict):
        return value
    fields = {name: _decode(part) for name, part in value.items() if name != "type"}
    return ThreatModel(**fields) if value["type"] == "ThreatModel" else spec_named(value["type"])(**fields)


def _setup(spec: ConstructSpec, originals: "LabelledImages", model: "Classifier | None") -> Setup:
    """Return the setup that the set must have been made with; labels and starts are drawn again."""
    from nrf_ray.constructions.crafted import draw_targets

    rule, classes = construction_named(spec.construction).targets, info_of(spec.dataset).num_classes
    return Setup(
        config=spec,
        originals=originals,
        targets=draw_targets(rule, originals.labels, classes, spec.seed),
        starts=craft_of(spec.craft).draw_starts(spec.craft, len(originals), spec.seed),
        model=model,
        device="cpu",
    )


def _source(store: Store, record: Record) -> "Classifier | None":
    """Return the source model of the set, or None for a control without one."""
    from nrf_ray.stages.weights import load_model

    if "source" not in record.inputs:
        return None
    for stage in ("train", "import_weights"):
        found = store.peek(Place(stage, Key(record.inputs["source"])))
        if found:
            return load_model(Artifact(store, found), "cpu")
    raise ConfigError(f"the source {record.inputs['source'][:12]} is not in the store; run its sweep again")


def _differences(stored: Stored) -> dict[str, float]:
    """Return the largest difference between stored and recomputed values, by column.

    For `moved` and `prediction_stored`, it is the share of rows that differ.
    """
    import torch

    from nrf_ray.attacks.threat import perturbation_norm
    from nrf_ray.constructions.crafted import differ
    from nrf_ray.data.images import as_float, as_uint8
    from nrf_ray.engine.predict import batches, classes_of

    setup, rows, columns = stored.setup, stored.rows, stored.rows.columns
    craft, model = craft_of(setup.config.craft), setup.model
    norm = craft.measured_in(setup.config.craft)
    found: dict[str, list[Tensor]] = {name: [] for name in ("norm", "distance", "moved", "loss", "prediction_stored")}
    for part in batches(len(rows.images)):
        images, own = as_float(rows.images[part]), setup.originals.rows(part).floats()
        begun = as_float(craft.begun(setup, part))
        found["norm"].append(perturbation_norm(images - begun, norm))
        found["moved"].append(differ(as_uint8(images), as_uint8(begun)))
        found["distance"].append(perturbation_norm(images - own, norm))
        if model is None or setup.config.is_control:
            continue
        found["loss"].append(craft.loss(model, images, own, columns["label"][part]))
        with torch.no_grad():
            found["prediction_stored"].append(classes_of(model(images)))
    differences = {}
    for name, parts in found.items():
        if parts and name in ("moved", "prediction_stored"):
            differences[name] = float((torch.cat(parts) != columns[name]).double().mean())
        elif parts:
            now, written = torch.cat(parts), columns[name]
            differences[name] = float(((now - written).abs() / (1 + now.abs())).nan_to_num(nan=torch.inf).max())
    return differences


def _wrong_labels(stored: Stored) -> Iterator[str]:
    import torch

    setup, columns = stored.setup, stored.rows.columns
    if not torch.equal(columns["index"], torch.arange(len(setup.originals))):
        yield "its rows are not those of the dataset, each once and in order"
    if not torch.equal(columns["true_label"], setup.originals.labels):
        yield "true labels differ from those of the dataset"
    if not torch.equal(columns["label"], setup.targets):
        others = int((columns["label"] != setup.targets).sum())
        yield f"{others} labels t differ from those drawn with the seed {setup.config.seed}"


def _wrong_starts(stored: Stored) -> Iterator[str]:
    columns, seed = stored.rows.columns, stored.setup.config.seed
    seeds = int((columns["seed"] != seed).sum())
    if seeds:
        yield f"{seeds} rows have another seed than {seed}"
    others = int((columns["start"] != stored.setup.starts).sum())
    if others:
        yield f"{others} starts differ from those drawn with the seed {seed}"


def _wrong_metrics(rows: "Shard", record: Record, spec: ConstructSpec) -> Iterator[str]:
    from nrf_ray.constructions.stored_set import measure

    for name, now in measure(spec, rows).items():
        written = record.metrics.get(name)
        both = isinstance(now, float) and isinstance(written, int | float)
        if not (math.isclose(now, written, rel_tol=1e-6) if both else now == written):  # type: ignore[arg-type]
            yield f"the record says that {name} is {written}, but its rows give {now}"


def _out_of_bounds(rows: "Shard", spec: ConstructSpec) -> Iterator[str]:
    from nrf_ray.data.images import as_float

    if not (float(as_float(rows.images).min()) >= 0 and float(as_float(rows.images).max()) <= 1):
        yield "some pixels are outside [0, 1] or not numbers"
    if spec.threat is None:
        return
    image = rows.images[0]
    within = {"l2": image.numel(), "l2_token": image.shape[-1], "linf": 1}[spec.threat.norm]
    rounding = within**0.5 / 510 if spec.storage == "uint8" else 0.0
    allowed = spec.threat.eps + rounding + 1e-5
    beyond = int((rows.columns["norm"] > allowed).sum())
    if beyond:
        yield f"{beyond} perturbations are larger than epsilon {spec.threat.eps:g} and rounding allow"


def _too_different(differences: Mapping[str, float]) -> Iterator[str]:
    for name, difference in differences.items():
        if difference > {"prediction_stored": OTHER_PREDICTIONS, "moved": 0.0}.get(name, TOLERANCE):
            yield f"{name} differs by up to {difference:.2g} from the stored value"

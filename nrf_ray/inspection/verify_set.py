"""An independent look at a constructed set: everything that its rows say, computed again from the stored files.

What the files hold is all that is believed. Norms, losses and predictions are computed anew in fp32 on the CPU, with
the source model as it is in the store, in the process of whoever asks (`nrf verify --recompute`), and compared with
what was written down; labels are compared with the dataset, and targets and starts drawn again from the seed. The
images of a control are made again, spared rows too, and the record's metrics measured again on the rows.

Not checked: `prediction`, the source's answer before rounding, which 8-bit files cannot give again; and that the craft
was run as its record says, beyond its bound and what it reached.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nrf_ray.attacks.specs import Attack, Substitution
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.construct_spec import TEXTS, ConstructSpec
from nrf_ray.constructions.spec import ClassWords, Matching, Replacement, construction_named
from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.errors import ConfigError
from nrf_ray.graph.canonical import Key
from nrf_ray.graph.record import Record
from nrf_ray.graph.store import Artifact, Place, Store

if TYPE_CHECKING:
    from torch import Tensor

    from nrf_ray.data.images import LabelledImages
    from nrf_ray.data.shards import Shard
    from nrf_ray.models.classifier import Classifier

TOLERANCE = 1e-3
"""By how much a norm or a loss may differ: other batches and threads round sums in another order."""
LEVEL = 1.5 / 255
"""A pixel of a control may be rounded to the next level, for the same reason."""
PREDICTIONS = 0.002
"""The share of predictions that may differ, for the same reason: images on a decision boundary."""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What came out for one set."""

    rows: int
    """Images that were looked at."""
    differences: Mapping[str, float]
    """The largest difference of each column of numbers, and the share of other predictions."""
    duplicates: int
    """Rows whose image equals that of another row; worth knowing, no mistake in itself."""
    problems: tuple[str, ...]
    """What is wrong; empty for a set that is what it says."""


def recompute(store: Store, record: Record, known: Mapping[str, DatasetRef]) -> Findings:
    """Return what the rows of a constructed set show when they are computed again.

    `known` gives datasets by digest, since a record does not say where their files are. Raises ConfigError where the
    dataset of the set is not among them.
    """
    import torch

    from nrf_ray.constructions.stored_set import constructed_rows
    from nrf_ray.data.load import test_split, train_split

    config = record.config
    assert isinstance(config, dict), "the config of a stage is a dataclass"
    spec = _spec(config, known)
    torch.set_num_threads(1)
    rows = constructed_rows(Artifact(store, record))
    originals = (train_split if spec.split == "train" else test_split)(spec.dataset)
    if len(rows.images) != len(originals):
        return Findings(
            rows=len(rows.images), differences={}, duplicates=0,
            problems=(f"it has {len(rows.images)} rows, and its dataset {len(originals)}",),
        )  # fmt: skip
    model, starts = _source(store, record), _starts(spec, len(originals))
    differences = _differences(rows, originals, spec, model, starts)
    problems = (
        *_wrong_labels(rows, originals, spec),
        *_wrong_starts(rows, spec, starts),
        *(_wrong_patterns(rows, originals, spec, model) if spec.is_control else ()),
        *_wrong_words(rows, originals, spec),
        *_out_of_bounds(rows, spec),
        *_too_different(differences),
        *_wrong_metrics(rows, record, spec),
    )
    duplicates = len(rows.images) - len(torch.unique(rows.images.flatten(1), dim=0))
    return Findings(rows=len(rows.images), differences=differences, duplicates=duplicates, problems=problems)


def _spec(config: Mapping[str, Any], known: Mapping[str, DatasetRef]) -> ConstructSpec:
    """Return the spec that a record holds as JSON."""
    dataset = known.get(config["dataset"]["digest"])
    if dataset is None:
        raise ConfigError(
            f"the files of dataset {config['dataset']['name']} (content {config['dataset']['digest'][:12]}) are "
            "needed; say where they are with --dataset NAME:PATH"
        )
    fields = {name: value for name, value in config.items() if name not in ("type", "dataset", "craft")}
    return ConstructSpec(**fields, dataset=dataset, craft=_decode(config["craft"]))


def _decode(value: Any) -> Any:
    """Return the dataclass that `canonical.encode` wrote."""
    if not isinstance(value, dict):
        return value
    kinds = {kind.__name__: kind for kind in (Attack, ClassWords, Matching, Substitution, ThreatModel)}
    return kinds[value["type"]](**{name: _decode(part) for name, part in value.items() if name != "type"})


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


def _differences(
    rows: "Shard", originals: "LabelledImages", spec: ConstructSpec, model: "Classifier | None", starts: "Tensor"
) -> dict[str, float]:
    """Return by how much what is written differs from what is computed now, by column; of `moved`, the share."""
    import torch

    from nrf_ray.attacks.pgd import per_example_cross_entropy
    from nrf_ray.attacks.threat import perturbation_norm
    from nrf_ray.constructions.crafted import differ
    from nrf_ray.constructions.matching import grey_noise, residual
    from nrf_ray.data.images import as_float, as_uint8
    from nrf_ray.engine.predict import batches

    columns = rows.columns
    norm = spec.threat.norm if spec.threat else "l2"
    found: dict[str, list[Tensor]] = {name: [] for name in ("norm", "distance", "moved", "loss", "prediction_stored")}
    for part in batches(len(rows.images)):
        stored = as_float(rows.images[part])
        own = originals.rows(part).floats()
        if isinstance(spec.craft, Matching) and spec.craft.start == "noise":
            begun = grey_noise(range(len(originals))[part], info_of(spec.dataset).shape, spec.seed)
        else:
            begun = originals.rows(starts[part]).floats()
        found["norm"].append(perturbation_norm(stored - begun, norm))
        found["moved"].append(differ(as_uint8(stored), as_uint8(begun)))
        found["distance"].append(perturbation_norm(stored - own, norm))
        if model is None or spec.is_control:
            continue
        with torch.no_grad():
            logits = model(stored)
        matched = isinstance(spec.craft, Matching)
        loss = residual(model, stored, own) if matched else per_example_cross_entropy(logits, columns["label"][part])
        found["loss"].append(loss)
        found["prediction_stored"].append(logits.argmax(1))
    differences = {}
    for name, parts in found.items():
        if parts and name in ("moved", "prediction_stored"):
            differences[name] = float((torch.cat(parts) != columns[name]).double().mean())
        elif parts:
            now, written = torch.cat(parts), columns[name]
            differences[name] = float(((now - written).abs() / (1 + now.abs())).nan_to_num(nan=torch.inf).max())
    return differences


def _wrong_labels(rows: "Shard", originals: "LabelledImages", spec: ConstructSpec) -> Iterator[str]:
    import torch

    from nrf_ray.constructions.crafted import draw_targets

    columns = rows.columns
    if not torch.equal(columns["index"], torch.arange(len(originals))):
        yield "its rows are not those of the dataset, each once and in order"
    if not torch.equal(columns["true_label"], originals.labels):
        yield "true labels differ from those of the dataset"
    rule = construction_named(spec.construction).targets
    targets = draw_targets(rule, originals.labels, info_of(spec.dataset).num_classes, spec.seed)
    if not torch.equal(columns["label"], targets):
        yield f"{int((columns['label'] != targets).sum())} labels t are not what the seed {spec.seed} draws"


def _starts(spec: ConstructSpec, n: int) -> "Tensor":
    """Return the index of the image that each of n rows has to have started from; -1 for noise."""
    import torch

    from nrf_ray.constructions.matching import draw_starts

    if not isinstance(spec.craft, Matching):
        return torch.arange(n)
    return draw_starts(n, spec.seed) if spec.craft.start == "image" else torch.full((n,), -1)


def _wrong_starts(rows: "Shard", spec: ConstructSpec, starts: "Tensor") -> Iterator[str]:
    seeds = int((rows.columns["seed"] != spec.seed).sum())
    if seeds:
        yield f"{seeds} rows have another seed than {spec.seed}"
    others = int((rows.columns["start"] != starts).sum())
    if others:
        yield f"{others} starts are not what the seed {spec.seed} draws"


def _wrong_patterns(
    rows: "Shard", originals: "LabelledImages", spec: ConstructSpec, model: "Classifier | None"
) -> Iterator[str]:
    """Make the images of a control again; those that a model spares may differ as its predictions may."""
    from nrf_ray.constructions.controls import control_maker
    from nrf_ray.constructions.crafted import draw_targets
    from nrf_ray.data.images import as_float
    from nrf_ray.engine.predict import batches, predict

    info, construction = info_of(spec.dataset), construction_named(spec.construction)
    targets = draw_targets(construction.targets, originals.labels, info.num_classes, spec.seed)
    make, others = control_maker(spec), 0
    for part in batches(len(rows.images)):
        images, labels = originals.images[part], targets[part]
        spared = labels == (originals.labels[part] if model is None else predict(model, images))
        made = make(images, labels, spared, range(len(targets))[part]).images
        apart = (as_float(made) - as_float(rows.images[part])).abs().flatten(1).amax(1)
        others += int((~(apart < LEVEL)).sum())
    if others > (0 if model is None else PREDICTIONS * len(rows.images)):
        yield f"{others} images are not the original with the pattern of their label, or spared as they should be"
    for name in ("prediction", "prediction_stored"):
        if bool((rows.columns[name] != -1).any()):
            yield f"{name} is written, though no source took part"
    if not bool(rows.columns["loss"].isnan().all()):
        yield "loss is written, though no source took part"


def _wrong_words(rows: "Shard", originals: "LabelledImages", spec: ConstructSpec) -> Iterator[str]:
    """Read texts again in their vectors, and count the words that were replaced."""
    from nrf_ray.data.images import as_float, as_uint8
    from nrf_ray.data.load import word_table

    if not isinstance(spec.craft, Replacement):
        return
    table = word_table(spec.dataset)
    new, old = (table.places_of(as_uint8(as_float(texts)).numpy()) for texts in (rows.images, originals.images))
    for name, places in zip(TEXTS, (new, old), strict=True):
        others = sum(one != other for one, other in zip(rows.texts[name], table.texts_at(places), strict=True))
        if others:
            yield f"{others} texts in the column {name} are not what their vectors say"
    replaced = (new != old).sum(axis=(1, 2))
    beyond = int((replaced > spec.craft.budget).sum())
    if beyond:
        yield f"{beyond} texts have more than {spec.craft.budget} other words"


def _wrong_metrics(rows: "Shard", record: Record, spec: ConstructSpec) -> Iterator[str]:
    from nrf_ray.constructions.stored_set import measure

    for name, now in measure(spec, rows).items():
        written = record.metrics.get(name)
        both = isinstance(now, float) and isinstance(written, int | float)
        if not (math.isclose(now, written, rel_tol=1e-6) if both else now == written):  # type: ignore[arg-type]
            yield f"the record says that {name} is {written}, and its rows {now}"


def _out_of_bounds(rows: "Shard", spec: ConstructSpec) -> Iterator[str]:
    from nrf_ray.data.images import as_float

    if not (float(as_float(rows.images).min()) >= 0 and float(as_float(rows.images).max()) <= 1):
        yield "some pixels are outside [0, 1] or no numbers"
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
        if difference > {"prediction_stored": PREDICTIONS, "moved": 0.0}.get(name, TOLERANCE):
            yield f"{name} differs by up to {difference:.2g} from what is written"

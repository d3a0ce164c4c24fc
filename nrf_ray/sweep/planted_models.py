"""Building blocks of sweeps over planted sets: models, a label reader of human parts, and models of the labels read."""

from dataclasses import dataclass, replace

from nrf_ray.data.catalogue import DatasetInfo, dataset_named
from nrf_ray.data.planted import Planted, parse_planted, planted, planted_name
from nrf_ray.features.pretrained_readers import Pretrained
from nrf_ray.graph.stage import Stage
from nrf_ray.presets import PRESETS, Preset
from nrf_ray.seeding import derive_seed
from nrf_ray.stages.relabel import Part, RelabelSpec, relabel
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.sweep.models_and_sets import Model, trained
from nrf_ray.training.recipes import Recipe


@dataclass(frozen=True, kw_only=True)
class PlantedModel:
    """A model and its planted set."""

    model: Model
    """Model trained on the set, or on labels read from it."""
    dataset: DatasetInfo
    """Planted set, on whose test split the model is measured."""
    relabelled: Stage | None = None
    """`relabel` stage on whose labels the model was trained; None for planted labels."""


def preset_of(modality: str) -> Preset:
    """Return the recipes for planted sets of one modality."""
    return PRESETS[f"planted-{modality}"]


def set_of(spec: Planted) -> DatasetInfo:
    """Return the metadata of a planted set."""
    return dataset_named(planted_name(spec))


def planted_model(dataset: DatasetInfo, arch: str, recipe: Recipe, seed: int) -> PlantedModel:
    """Return a model trained on a planted set."""
    return PlantedModel(model=trained(dataset, arch, recipe, "source", seed), dataset=dataset)


def reader_of(dataset: DatasetInfo, preset: Preset) -> Model:
    """Return a label reader: a model trained on other examples like those of `dataset`, without a noise part.

    One label reader serves all seeds.
    """
    spec = parse_planted(dataset.ref.name)
    bare = planted(spec.modality, classes=spec.classes, human=spec.human, noise=0.0, train=spec.train, test=spec.test)
    return trained(
        set_of(replace(bare, seed=derive_seed(spec.seed, "reader") % 2**31)),
        preset.source_arch,
        preset.source,
        "reader",
        seed=0,
    )


def model_of_read_labels(
    dataset: DatasetInfo,
    part: Part,
    reader: Model,
    arch: str,
    recipe: Recipe,
    seed: int,
    *,
    pretrained: Pretrained | None = None,
) -> PlantedModel:
    """Return a model trained on the labels read from one part of a planted set.

    A human part is read by `pretrained`, or by `reader` if that is None; a noise part by a linear classifier.
    """
    spec = RelabelSpec(dataset=dataset.ref, part=part, pretrained=pretrained if part == "human" else None)
    by_model = part == "human" and pretrained is None
    made = relabel(spec, reader=reader.train if by_model else None).named(
        f"{part} part of {dataset.ref.name} as read by {spec.by}"
    )
    stage = train(
        TrainSpec(arch=arch, dataset=dataset.ref, recipe=recipe, seed=derive_seed(seed, "student")), data=made
    ).named(f"student {arch} on labels read by {spec.by} in {dataset.ref.name}, seed {seed}")
    return PlantedModel(model=Model(train=stage, role="student", seed=seed), dataset=dataset, relabelled=made)

"""The part of planted examples that a model uses: its predictions if a part is removed, and if the parts contradict."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nrf_ray.attacks.specs import Attack, check_measures
from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.data.planted import is_planted, parse_planted
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import Context
from nrf_ray.graph.stage import Metrics, Stage, stage
from nrf_ray.graph.store import Artifact
from nrf_ray.stages.costs import OVERHEAD, attack_seconds, predict_seconds, read_seconds

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import torch
    from torch import Tensor

    from nrf_ray.data.planted.draws import Ints
    from nrf_ray.data.planted.generate import Examples
    from nrf_ray.data.planted.parts import Array


@dataclass(frozen=True, kw_only=True)
class RelianceSpec:
    """Reliance of a model, measured on one planted set."""

    dataset: DatasetRef
    """Dataset whose test split is used."""

    def __post_init__(self) -> None:
        check_planted(self.dataset)


@dataclass(frozen=True, kw_only=True)
class FootprintSpec:
    """One attack on the models of one planted set."""

    dataset: DatasetRef
    """Dataset whose test split is attacked."""
    attack: Attack
    """Untargeted attack, within its threat model."""
    seed: int = 0
    """Seed of random starts."""

    def __post_init__(self) -> None:
        check_planted(self.dataset)
        check_measures(self.attack)


def check_planted(dataset: DatasetRef) -> None:
    """Raise ConfigError if the parts of `dataset` are not known."""
    if not is_planted(dataset.name):
        raise ConfigError(
            f"the parts of dataset {dataset.name} are not known; use a planted set, such as planted-image or "
            "planted-text"
        )


def _reliance_cost(handle: Stage) -> float:
    dataset, model = handle.config.dataset, handle.inputs["model"]
    images = info_of(dataset).num_test
    predicted = predict_seconds(handle, model, images=5 * images)
    return OVERHEAD + read_seconds(dataset, images) + predicted + attack_seconds(handle, model, images=images, steps=1)


@stage(version=1, cost=_reliance_cost)
def reliance(config: RelianceSpec, context: Context, *, model: Artifact) -> Metrics:
    """Measure the predictions of `model` on the test examples: unchanged, without a part, and with contradicting parts.

    `human_alone` and `noise_alone` are shares of examples, with the other part removed, for which the model predicts
    the class that the remaining part shows. On examples whose parts show different classes, `follows_human` and
    `follows_noise` are the shares for which it predicts the class of the human or of the noise part. `score_human` and
    `score_noise` are |E[gradient . part]|, the first-order change of the loss if the part is removed: the
    input-gradient score of `features`, summed over a part.
    """
    import torch

    from nrf_ray.data.planted import swaps
    from nrf_ray.data.planted.generate import generate
    from nrf_ray.engine.predict import predict, share
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    test = generate(parse_planted(config.dataset.name), "test")
    network = load_model(model, device)

    def share_given(images: "Array", classes: "Ints") -> float:
        predictions = predict(network, torch.from_numpy(images).to(device)).cpu()
        return share(predictions == torch.from_numpy(classes))

    contradicting, others = swaps.contradicting(test)
    human, noise = _scores(network, test, device)
    return {
        "clean_accuracy": share_given(test.images, test.labels),
        "human_alone": share_given(swaps.without_noise(test), test.human),
        "noise_alone": share_given(swaps.without_human(test), test.noise),
        "follows_human": share_given(contradicting, test.human),
        "follows_noise": share_given(contradicting, others),
        "score_human": human,
        "score_noise": noise,
        "n": len(test.labels),
    }


def _footprint_cost(handle: Stage) -> float:
    config: FootprintSpec = handle.config
    images, model = info_of(config.dataset).num_test, handle.inputs["model"]
    attacked = attack_seconds(handle, model, images=images, steps=config.attack.passes, mode=config.attack.mode)
    predicted = predict_seconds(handle, model, images=images)
    read = predict_seconds(handle, handle.inputs["reader"], images=2 * images)
    return OVERHEAD + 2 * read_seconds(config.dataset, images) + attacked + predicted + read


@stage(version=1, cost=_footprint_cost)
def footprint(config: FootprintSpec, context: Context, *, model: Artifact, reader: Artifact) -> Metrics:
    """Measure which part of the examples an attack on `model` changes.

    Only examples that `model` classifies correctly when clean are attacked. `energy_...` are mean shares of the
    perturbation's squared l2 norm. `human_kept` is the share of examples for which `reader` predicts the same class
    from the human part of the adversarial example as from that of the clean one. `noise_kept` is the same for the noise
    part, by the best linear classifier of noise parts. All are None if the model classifies no example correctly.
    """
    import numpy as np
    import torch

    from nrf_ray.attacks.robustness import right_when_clean
    from nrf_ray.attacks.run import run_attack
    from nrf_ray.data.load import test_split
    from nrf_ray.data.planted import swaps
    from nrf_ray.data.planted.generate import generate
    from nrf_ray.data.planted.parts import energy
    from nrf_ray.engine.predict import predict
    from nrf_ray.engine.runtime import prepare
    from nrf_ray.stages.weights import load_model

    device = prepare(context.stage.resources)
    network = load_model(model, device)
    tested = test_split(config.dataset).to(device)
    right = right_when_clean(network, tested)
    names = ("energy_human", "energy_noise", "energy_rest", "human_kept", "noise_kept")
    if len(right) == 0:
        return {**dict.fromkeys(names), "attacked": 0}
    attacked = tested.rows(right)
    found = run_attack(config.attack, network, attacked.images, attacked.labels, seed=config.seed, indices=right)
    clean = generate(parse_planted(config.dataset.name), "test").rows(right.cpu().numpy())
    parts = swaps.take_apart(clean, found.cpu().numpy())
    before = swaps.parts_of(clean)
    change = found.cpu().numpy().astype(np.float64) - clean.images
    moved = energy(swaps.take_apart(clean, change))
    labeller = load_model(reader, device)
    read, read_before = (predict(labeller, torch.from_numpy(seen).to(device)) for seen in (parts.human, before.human))
    kept = swaps.read_noise(clean, parts.noise) == swaps.read_noise(clean, before.noise)
    values = (
        *(_mean_of_moved(share) for share in moved),
        float((read == read_before).double().mean()),
        float(kept.mean()),
    )
    return {**dict(zip(names, values, strict=True)), "attacked": len(right)}


def _scores(network: "torch.nn.Module", test: "Examples", device: str) -> tuple[float, float]:
    """Return |E[gradient . part]| of the human part, which is its difference from the blank, and of the noise part."""
    import torch

    from nrf_ray.attacks.pgd import attack_mode, input_gradient
    from nrf_ray.data.planted import swaps
    from nrf_ray.engine.predict import batches

    parts = swaps.parts_of(test)
    readable = torch.from_numpy(parts.human - swaps.blank(test)).to(device)
    noise = torch.from_numpy(parts.noise).to(device)
    images, labels = torch.from_numpy(test.images).to(device), torch.from_numpy(test.labels).to(device)
    gradients: list[Tensor] = []
    for rows in batches(len(images)):
        with attack_mode(network):
            gradients.append(input_gradient(network, images[rows], labels[rows])[0])
    gradient = torch.cat(gradients)
    human, unread = (abs(float((gradient * part).double().flatten(1).sum(dim=1).mean())) for part in (readable, noise))
    return human, unread


def _mean_of_moved(shares: "npt.NDArray[np.floating[Any]]") -> float | None:
    """Return the mean over the examples that an attack moved, or None if it moved none; the others are NaN."""
    moved = shares[shares == shares]  # NaN does not equal itself
    return float(moved.mean()) if len(moved) else None

"""Presets for CPUs, from half a minute to an hour on two cores; README and the sweep files have their results."""

from dataclasses import replace

from nrf_ray.attacks.specs import Attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.matching import Matching
from nrf_ray.presets.preset import Preset
from nrf_ray.training.recipes import Augmentation, Recipe

GRID = ("d_rand", "d_det", "d_other", "leak_rand", "leak_det", "leak_other")
NONROBUST = (*GRID, "d_rand_changed", "leak_weak")


def adversarial(eps: float, **recipe: object) -> Recipe:
    """Return a recipe of adversarial training as in the paper: l2 PGD from the image, 7 steps of eps / 5 (C.3)."""
    adversary = Attack(threat=ThreatModel(norm="l2", eps=eps), steps=7, step_size=eps / 5)
    return Recipe(adversary=adversary, **recipe)  # type: ignore[arg-type]


LAPTOP = Preset(
    name="laptop",
    description="digits, five architectures, three seeds: the whole experiment on two cores in minutes",
    datasets=("digits",),
    archs=("vgg_s", "inception_s", "resnet_s", "resnet_m", "densenet_s"),
    control_archs=("vgg_s", "resnet_s"),
    constructions=GRID,
    norms=("l2",),
    epsilons=(1.0, 1.5),
    radii=(0.25, 0.5),
    seeds=(0, 1, 2),
    nonrobust_archs=("resnet_s",),
    nonrobust_constructions=NONROBUST,
    source_arch="resnet_m",
    source=Recipe(epochs=15, lr=0.05),
    robust_source=adversarial(1.0, epochs=20, lr=0.05),
    victim=Recipe(epochs=12, lr=0.05),
    student=Recipe(epochs=8, lr=0.05),
    weak=Recipe(epochs=1, lr=0.05),
    judge_arch="resnet_s",
    judge=adversarial(1.0, epochs=20, lr=0.05),
    craft_steps=20,
    attack_steps=20,
    check_examples=100,
    search_views=Augmentation(pad=1),
    matching_arch="resnet_b",
    matching_source=Recipe(epochs=15, lr=0.05),
    matching_robust_source=adversarial(1.0, epochs=20, lr=0.05),
    matched_archs=("resnet_s", "vgg_s"),
    matched_student=Recipe(epochs=12, lr=0.05),
    matching=Matching(steps=60, step_size=0.1, decay=True),
    noise_matching=Matching(steps=60, step_size=0.1, decay=True, start="noise"),
)

SMOKE = replace(
    LAPTOP,
    name="smoke",
    description="digits, one architecture, one seed, short trainings: does everything run? (its numbers mean nothing)",
    archs=("resnet_s",),
    constructions=("d_other", "leak_other"),
    epsilons=(1.0,),
    radii=(0.5,),
    seeds=(0,),
    nonrobust_constructions=("d_other", "leak_other"),
    starts=("image",),
    source_arch="resnet_s",
    source=Recipe(epochs=3, lr=0.05),
    robust_source=adversarial(1.0, epochs=1, lr=0.05),
    victim=Recipe(epochs=3, lr=0.05),
    student=Recipe(epochs=2, lr=0.05),
    judge=adversarial(1.0, epochs=1, lr=0.05),
    craft_steps=5,
    attack_steps=5,
    matching_source=Recipe(epochs=3, lr=0.05),
    matching_robust_source=adversarial(1.0, epochs=1, lr=0.05),
    matched_archs=("resnet_s",),
    matched_student=Recipe(epochs=2, lr=0.05),
    matching=Matching(steps=5, step_size=0.1, decay=True),
    noise_matching=Matching(steps=5, step_size=0.1, decay=True, start="noise"),
)

FASHION = Preset(
    name="fashion",
    description="Fashion-MNIST, 8000 training images, one small architecture, three seeds: under an hour on two cores",
    datasets=("fashion-mnist[:8000]",),
    archs=("resnet_s",),
    control_archs=("resnet_s",),
    constructions=GRID,
    norms=("l2",),
    epsilons=(1.0,),
    radii=(0.25, 0.5),
    seeds=(0, 1, 2),
    nonrobust_archs=("resnet_s",),
    nonrobust_constructions=NONROBUST,
    starts=("image",),
    source_arch="resnet_s",
    source=Recipe(epochs=10, lr=0.1),
    robust_source=adversarial(1.0, epochs=6, lr=0.1),
    victim=Recipe(epochs=10, lr=0.1),
    student=Recipe(epochs=10, lr=0.05),
    weak=Recipe(epochs=1, lr=0.05),
    judge_arch="resnet_s",
    judge=adversarial(1.0, epochs=6, lr=0.1),
    craft_steps=20,
    attack_steps=20,
    test_examples=500,
    check_examples=100,
    search_views=Augmentation(pad=2),
    matching_arch="resnet_s",
    matching_source=Recipe(epochs=10, lr=0.1),
    matching_robust_source=adversarial(1.0, epochs=6, lr=0.1),
    matched_archs=("resnet_s",),
    matched_student=Recipe(epochs=10, lr=0.1),
    matching=Matching(steps=60, step_size=0.2, decay=True),
    noise_matching=Matching(steps=60, step_size=0.2, decay=True, start="noise"),
)

CIFAR10_SMALL = replace(
    FASHION,
    name="cifar10-small",
    description="CIFAR-10, 10,000 training images, one small architecture, three seeds: an hour on two cores",
    datasets=("cifar10[:10000]",),
    sources=("standard",),
    source=Recipe(epochs=12, lr=0.1, augmentation=Augmentation(pad=4, flip=True)),
    robust_source=adversarial(0.5, epochs=8, lr=0.1, augmentation=Augmentation(pad=4, flip=True)),
    victim=Recipe(epochs=12, lr=0.1, augmentation=Augmentation(pad=4, flip=True)),
    student=Recipe(epochs=12, lr=0.05),
    search_views=Augmentation(pad=4, flip=True),
    judge=adversarial(0.5, epochs=8, lr=0.1, augmentation=Augmentation(pad=4, flip=True)),
    matching_source=Recipe(epochs=12, lr=0.1, augmentation=Augmentation(pad=4, flip=True)),
    matching_robust_source=adversarial(0.5, epochs=8, lr=0.1, augmentation=Augmentation(pad=4, flip=True)),
    matched_student=Recipe(epochs=12, lr=0.05),
)

"""Presets for planted sets (see `nrf_ray.data.planted`): a training takes seconds on one core."""

from dataclasses import replace

from nrf_ray.presets.small import LAPTOP, adversarial
from nrf_ray.training.recipes import Recipe

PLAIN = Recipe(epochs=12, lr=0.05, batch_size=64)
"""Recipe of twelve epochs, because after eight one network in three still confuses two weaves."""
SHORT = replace(PLAIN, epochs=8)
ROBUST = adversarial(0.25, epochs=8, lr=0.05, batch_size=64)

PLANTED_IMAGE = replace(
    LAPTOP,
    name="planted-image",
    description="planted images, one small architecture, three seeds: minutes on two cores",
    datasets=("planted-image[label=both]",),
    archs=("vgg_s",),
    control_archs=("vgg_s",),
    nonrobust_archs=("vgg_s",),
    epsilons=(0.25,),
    radii=(0.25,),
    source_arch="vgg_s",
    source=PLAIN,
    robust_source=ROBUST,
    victim=PLAIN,
    student=PLAIN,
    judge_arch="vgg_s",
    judge=ROBUST,
    attack_steps=10,
    check_examples=100,
    matching_arch="vgg_s",
    matching_source=PLAIN,
    matching_robust_source=ROBUST,
    matched_archs=("vgg_s",),
    matched_student=PLAIN,
)

PLANTED_COLOUR = replace(
    PLANTED_IMAGE,
    name="planted-colour",
    description="planted images in colour, one small architecture, three seeds: minutes on two cores",
    datasets=("planted-colour[label=both]",),
)

PLANTED_TEXT = replace(
    PLANTED_IMAGE,
    name="planted-text",
    description="planted texts, one small architecture, three seeds: minutes on two cores",
    datasets=("planted-text[label=both]",),
    archs=("text_cnn",),
    control_archs=("text_cnn",),
    nonrobust_archs=("text_cnn",),
    source_arch="text_cnn",
    judge_arch="text_cnn",
    matching_arch="text_cnn",
    matched_archs=("text_cnn",),
    source=SHORT,
    victim=SHORT,
    student=SHORT,
    matching_source=SHORT,
    matched_student=SHORT,
)

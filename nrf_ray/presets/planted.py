"""Presets for planted sets (see `nrf_ray.planted`), for CPUs."""

from dataclasses import replace

from nrf_ray.presets.small import LAPTOP, adversarial
from nrf_ray.recipes import Recipe

PLANTED_IMAGE = replace(
    LAPTOP,
    name="planted-image",
    description="planted images, 2000 for training, one small architecture, three seeds",
    datasets=("planted-image[label=both]",),
    archs=("resnet_s",),
    control_archs=("resnet_s",),
    epsilons=(0.5,),
    radii=(0.5,),
    source_arch="resnet_s",
    source=Recipe(epochs=10, lr=0.05),
    robust_source=adversarial(0.5, epochs=10, lr=0.05),
    victim=Recipe(epochs=10, lr=0.05),
    student=Recipe(epochs=10, lr=0.05),
    judge=adversarial(0.5, epochs=10, lr=0.05),
)

PLANTED_TEXT = replace(
    PLANTED_IMAGE,
    name="planted-text",
    description="planted texts, 2000 for training, one small architecture, three seeds",
    datasets=("planted-text[label=both]",),
    archs=("text_cnn",),
    control_archs=("text_cnn",),
    nonrobust_archs=("text_cnn",),
    source_arch="text_cnn",
    judge_arch="text_cnn",
    matching_arch="text_cnn",
    matched_archs=("text_cnn",),
)

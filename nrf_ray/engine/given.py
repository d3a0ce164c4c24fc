"""Checks of what a computation is given: images in [0, 1], one row of logits an image, labels of its classes.

An attack that is given anything else would return numbers without a meaning, so each check raises ConfigError with what
was found and what to do.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from nrf_ray.errors import ConfigError


def check_images(images: Tensor) -> None:
    """Raise ConfigError unless `images` [b, c, h, w] are floats in [0, 1]."""
    if not images.is_floating_point():
        raise ConfigError(f"an attack takes images of floats in [0, 1], not {images.dtype}; divide them by 255")
    if len(images) == 0:
        return
    low, high = (float(end) for end in images.aminmax())
    if not (low >= 0.0 and high <= 1.0):
        raise ConfigError(
            f"the pixels of these images are between {low:g} and {high:g}; an attack takes images in [0, 1], so undo "
            "the normalisation of the images and put it into the model"
        )


def check_tensor(outputs: object, model: nn.Module) -> Tensor:
    """Return `outputs` of `model`; raise ConfigError unless they are one tensor."""
    if not isinstance(outputs, Tensor):
        raise ConfigError(
            f"the {type(model).__name__} returns a {type(outputs).__name__}; a model must return one tensor, so wrap "
            "it in a module that picks the logits"
        )
    return outputs


def check_outputs(outputs: object, model: nn.Module, rows: int) -> Tensor:
    """Return `outputs` of `model` for `rows` images; raise ConfigError unless they are logits [b, k >= 2]."""
    outputs, name = check_tensor(outputs, model), type(model).__name__
    if outputs.dim() != 2 or len(outputs) != rows or outputs.shape[1] < 2 or not outputs.is_floating_point():
        raise ConfigError(
            f"the {name} returns {outputs.dtype} of shape {tuple(outputs.shape)} for {rows} images; an attack takes "
            "logits [b, k], a float for each of at least two classes"
        )
    return outputs


def check_labels(labels: Tensor, rows: int, classes: int) -> None:
    """Raise ConfigError unless `labels` [b] has a whole number from 0 to `classes` - 1 for each of `rows` images."""
    if labels.dim() != 1 or len(labels) != rows or labels.is_floating_point():
        raise ConfigError(
            f"labels of {labels.dtype} and shape {tuple(labels.shape)} for {rows} images; an attack takes one whole "
            "number for each image"
        )
    if len(labels) == 0:
        return
    low, high = (int(end) for end in labels.aminmax())
    if low < 0 or high >= classes:
        raise ConfigError(
            f"labels are between {low} and {high}, and the model has {classes} classes, 0 to {classes - 1}; leave out "
            "the images without a class"
        )


def check_lengths(step_size: float | Sequence[float], steps: int) -> list[float]:
    """Return the length of each of `steps` steps, or raise ConfigError if one is missing, too many or not above 0."""
    if steps < 1:
        raise ConfigError(f"an attack takes steps >= 1, not {steps}")
    lengths = [float(step_size)] * steps if isinstance(step_size, float | int) else [float(one) for one in step_size]
    if len(lengths) != steps:
        raise ConfigError(f"step_size has {len(lengths)} lengths for {steps} steps; give one for each, or one for all")
    if wrong := [length for length in lengths if not 0 < length < float("inf")]:
        raise ConfigError(f"a step has the length {wrong[0]:g}; every length must be a finite number above 0")
    return lengths

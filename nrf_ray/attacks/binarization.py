"""The binarization test: an adversarial image that is there by construction has to be found (Zimmermann et al. 2022).

For each image a random linear readout of the model's logits is raised until, of many random points of the ball, only
the highest lies above its threshold. So the ball holds an image beyond the threshold, and an attack that works finds
one. The published test reads the last layer's features; logits are the features that every model has. Each is read from
its mean over the images on, and one that never changes, or by far more than the others, is not read: it would hide
them.
"""

import torch
from torch import Tensor

from nrf_ray.attacks.comparison import beaten
from nrf_ray.attacks.pgd import pgd
from nrf_ray.attacks.subject import Check, Subject
from nrf_ray.engine.predict import batches
from nrf_ray.engine.twin import twin
from nrf_ray.models.classifier import rows_read

POINTS = 200
"""Random points of the ball that set an image's threshold."""
FAR = 100.0
"""Spread of a logit over the images, in times the median logit's, from which it is not read."""


def binarization(subject: Subject) -> Check:
    """Check that the attack, without its restarts, finds a readout beyond its threshold for every image."""
    attack, images = subject.attack, subject.images
    generator = torch.Generator(images.device).manual_seed(subject.seed % 2**63)
    outputs = subject.outputs(images)
    readout, centre = torch.empty_like(outputs).normal_(generator=generator), outputs.mean(dim=0)
    readout[:, ~_readable(outputs)] = 0

    def read_by(weights: Tensor, outputs: Tensor) -> Tensor:
        return ((outputs.float() - centre).nan_to_num(0.0, 0.0, 0.0) * weights).sum(dim=1)

    rows = rows_read(subject.model, images)
    threshold = torch.full_like(readout[:, 0], -torch.inf)
    for _ in range(POINTS):
        points = attack.threat.random_start(images, generator, rows)
        threshold = torch.maximum(threshold, read_by(readout, subject.outputs(points)))
    network = twin(subject.model, images, attack.mode)
    found = []
    for part in batches(len(images)):

        def read(outputs: Tensor, labels: Tensor, weights: Tensor = readout[part]) -> Tensor:
            return read_by(weights, outputs)

        found.append(
            pgd(
                network,
                images[part],
                subject.labels[part],
                threat=attack.threat,
                steps=attack.steps,
                step_size=attack.step_size,
                loss=read,
                mode=attack.mode,
            )
        )
    reached = read_by(readout, subject.outputs(torch.cat(found)))
    missed = int((reached < threshold).sum())
    return Check(verdict=beaten(missed, len(images)), numbers={"missed": missed / len(images)})


def _readable(outputs: Tensor) -> Tensor:
    """Return which logits of `outputs` [n, k] change from image to image as the others do, [k], booleans."""
    spread = outputs.amax(dim=0) - outputs.amin(dim=0)
    alive = spread.isfinite() & (spread > 0)
    return alive & (spread <= FAR * spread[alive].median()) if alive.any() else alive

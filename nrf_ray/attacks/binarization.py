"""The binarization test: an adversarial image that is there by construction has to be found (Zimmermann et al. 2022).

For each image a random linear readout of the model's logits is raised until, of many random points of the ball, only
the highest lies above its threshold. So the ball holds an image beyond the threshold, and an attack that works finds
one. The published test reads the last layer's features; logits are the features that every model has.
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


def binarization(subject: Subject) -> Check:
    """Check that the attack, without its restarts, finds a readout beyond its threshold for every image."""
    attack, images = subject.attack, subject.images
    generator = torch.Generator(images.device).manual_seed(subject.seed % 2**63)
    readout = torch.empty_like(subject.outputs(images)).normal_(generator=generator)
    rows = rows_read(subject.model, images)
    threshold = torch.full_like(readout[:, 0], -torch.inf)
    for _ in range(POINTS):
        points = attack.threat.random_start(images, generator, rows)
        threshold = torch.maximum(threshold, (subject.outputs(points) * readout).sum(dim=1))
    network = twin(subject.model, images, attack.mode)
    found = []
    for part in batches(len(images)):

        def read(outputs: Tensor, labels: Tensor, weights: Tensor = readout[part]) -> Tensor:
            return (outputs.float() * weights).sum(dim=1)

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
    reached = (subject.outputs(torch.cat(found)) * readout).sum(dim=1)
    missed = int((reached < threshold).sum())
    return Check(verdict=beaten(missed, len(images)), numbers={"missed": missed / len(images)})

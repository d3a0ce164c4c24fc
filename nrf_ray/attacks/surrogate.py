"""A small network that learns a model's answers; adversarial images of it are tried on the model.

A model whose own gradients mislead is fooled by images that another network's gradients find (Papernot et al. 2017;
Athalye et al. 2018). The surrogate is trained for seconds on the model's probabilities for images and for noisy copies.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.data.images import as_float
from nrf_ray.engine.predict import evaluating
from nrf_ray.engine.twin import original

STEPS = 300
"""Steps of the surrogate's training."""
BATCH = 128
"""Images of a step; every other one is moved by noise of twice the radius."""
LEARNING_RATE = 2e-3


class Surrogate(nn.Module):
    """Two convolutions and two linear layers, for images of any size."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU()
        )
        self.classes = nn.Sequential(nn.Linear(64 * 16, 128), nn.ReLU(), nn.Linear(128, classes))

    def forward(self, images: Tensor) -> Tensor:
        """Return logits [b, k] for `images` [b, c, h, w] in [0, 1]."""
        logits: Tensor = self.classes(F.adaptive_avg_pool2d(self.features(images - 0.5), 4).flatten(1))
        return logits


def distilled(model: nn.Module, pool: Tensor, threat: ThreatModel, *, seed: int) -> Surrogate:
    """Return a surrogate of `model`, trained on its answers for `pool` [n, c, h, w] (float or uint8) and noisy copies.

    The same arguments give the same surrogate. `model` is only asked, never differentiated.
    """
    model = original(model)
    generator = torch.Generator(pool.device).manual_seed(seed % 2**63)
    devices = [pool.device] if pool.is_cuda else []
    with evaluating(model), torch.no_grad():
        classes = model(as_float(pool[:2])).shape[1]
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed % 2**63)
        surrogate = Surrogate(pool.shape[1], classes).to(pool.device)
    optimiser = torch.optim.AdamW(surrogate.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(len(pool), (min(BATCH, 2 * len(pool)),), generator=generator, device=pool.device)
        images = as_float(pool[chosen])
        half = len(images) // 2
        noise = torch.empty_like(images[:half]).normal_(generator=generator)
        images[:half] = (images[:half] + threat.ascend(noise, 2 * threat.eps)).clamp(0, 1)
        with evaluating(model), torch.no_grad():
            answers = model(images).float().nan_to_num().softmax(1)
        loss = F.cross_entropy(surrogate(images), answers)
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    return surrogate.eval()

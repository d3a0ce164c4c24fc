"""Training as most people write it: torchvision's transforms on PIL images, a DataLoader, and a plain loop.

Written as the documentation of PyTorch says: persistent workers, gradients set to None, no copy of a loss to Python in
the loop. The number of workers and the memory layout are the fastest of those tried on the machine.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from nrf_ray.data.images import LabelledImages, as_uint8
from nrf_ray.training.recipes import Recipe

Perturb = Callable[[Tensor, Tensor], Tensor]


class PilImages(Dataset[tuple[Tensor, int]]):
    """Images as torchvision's datasets give them: pixels in memory, transformed one by one when they are asked for."""

    def __init__(self, data: LabelledImages, recipe: Recipe) -> None:
        pixels = data.images if data.images.dtype == torch.uint8 else as_uint8(data.images)
        self.pixels = pixels.permute(0, 2, 3, 1).squeeze(3).contiguous().numpy()
        self.labels = data.labels.tolist()
        steps: list[Any] = []
        if recipe.augmentation.pad:
            steps.append(transforms.RandomCrop(data.images.shape[2:], padding=recipe.augmentation.pad))
        if recipe.augmentation.flip:
            steps.append(transforms.RandomHorizontalFlip())
        self.transform = transforms.Compose([*steps, transforms.ToTensor()])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image: np.ndarray = self.pixels[index]
        return self.transform(Image.fromarray(image)), self.labels[index]


def plain_training(
    new: Callable[[], nn.Module], data: LabelledImages, recipe: Recipe, *, workers: int, channels_last: bool, bf16: bool
) -> Callable[[], None]:
    """Return what trains a new network for `recipe.epochs` passes; the loader's processes live on between two calls."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    loader = DataLoader(
        PilImages(data, recipe),
        recipe.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
    )

    def run() -> None:
        model = new().to(memory_format=layout).train()
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.nesterov,
        )
        perturb = attack_of(model, recipe)
        for _ in range(recipe.epochs):
            for images, labels in loader:
                with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                    logits = model(perturb(images, labels).contiguous(memory_format=layout))
                    loss = F.cross_entropy(logits, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

    return run


def attack_of(model: nn.Module, recipe: Recipe) -> Perturb:
    """Return the recipe's adversary as torchattacks has it, the fastest of the peers; nothing without one."""
    adversary = recipe.adversary
    if adversary is None:
        return lambda images, labels: images
    import torchattacks

    attack = torchattacks.PGDL2(
        model, eps=adversary.threat.eps, alpha=adversary.step_size, steps=adversary.steps, random_start=False
    )
    return lambda images, labels: attack(images, labels)

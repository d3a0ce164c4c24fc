"""Other libraries' PGD behind one signature, each with the best settings that we know of.

Every peer gets a model in eval mode with frozen parameters, starts at the image itself, is given its targets, and keeps
its objects between batches. What a peer has no switch for is not changed: it is the library that is measured.

They are installed apart from us, without their dependencies: tests/benchmarks/peers.txt.
"""

import sys
import types
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from nrf_ray.attacks.specs import Attack

Craft = Callable[[], Tensor]
"""Crafts one batch and returns it."""
Peer = Callable[[nn.Module, Tensor, Tensor, Attack], Craft]
"""From a model, images [b, c, h, w], targets [b] and a targeted attack to what crafts the batch."""


def torchattacks(model: nn.Module, images: Tensor, targets: Tensor, attack: Attack) -> Craft:
    """Run torchattacks 3.5: PGD and PGDL2."""
    import torchattacks

    kind = {"l2": torchattacks.PGDL2, "linf": torchattacks.PGD}[attack.threat.norm]
    theirs = kind(model, eps=attack.threat.eps, alpha=attack.step_size, steps=attack.steps, random_start=False)
    theirs.set_mode_targeted_by_label(quiet=True)
    return lambda: theirs(images, targets)


def foolbox(model: nn.Module, images: Tensor, targets: Tensor, attack: Attack) -> Craft:
    """Run foolbox 3.3: L2PGD and LinfPGD; by `run`, which leaves out the forward pass that reports success."""
    import foolbox

    kind = {"l2": foolbox.attacks.L2PGD, "linf": foolbox.attacks.LinfPGD}[attack.threat.norm]
    theirs = kind(abs_stepsize=attack.step_size, steps=attack.steps, random_start=False)
    wrapped, goal = foolbox.PyTorchModel(model, bounds=(0, 1)), foolbox.criteria.TargetedMisclassification(targets)
    return lambda: theirs.run(wrapped, images, goal, epsilon=attack.threat.eps)


def art(model: nn.Module, images: Tensor, targets: Tensor, attack: Attack) -> Craft:
    """Run ART 1.20: ProjectedGradientDescentPyTorch, its variant for torch; its interface is numpy."""
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    classes = model(images[:1]).shape[1]
    wrapped = PyTorchClassifier(
        model,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(images.shape[1:]),
        nb_classes=classes,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    theirs = ProjectedGradientDescentPyTorch(
        wrapped,
        norm={"l2": 2, "linf": np.inf}[attack.threat.norm],
        eps=attack.threat.eps,
        eps_step=attack.step_size,
        max_iter=attack.steps,
        targeted=True,
        batch_size=len(images),
        verbose=False,
    )
    pixels, goal = images.numpy(), targets.numpy()
    return lambda: torch.from_numpy(theirs.generate(pixels, goal))


def adv_lib(model: nn.Module, images: Tensor, targets: Tensor, attack: Attack) -> Craft:
    """Run adv-lib 0.2.8: pgd_linf; it has no l2 PGD, so in l2 APGD with as many gradients stands in.

    Both return the last iterate that was successful, and the untouched image where none was.
    """
    sys.modules.setdefault("visdom", types.ModuleType("visdom"))  # it plots, and adv-lib imports it for nothing else
    from adv_lib.attacks import apgd, pgd_linf

    eps, steps = attack.threat.eps, attack.steps
    if attack.threat.norm == "l2":
        return lambda: apgd(model, images, targets, eps, 2, targeted=True, n_iter=steps - 1, loss_function="ce")
    return lambda: pgd_linf(
        model, images, targets, eps, targeted=True, steps=steps, random_init=False, absolute_step_size=attack.step_size
    )


def cleverhans(model: nn.Module, images: Tensor, targets: Tensor, attack: Attack) -> Craft:
    """Run cleverhans 4.0: projected_gradient_descent."""
    from cleverhans.torch.attacks.projected_gradient_descent import projected_gradient_descent

    norm = {"l2": 2, "linf": np.inf}[attack.threat.norm]
    return lambda: projected_gradient_descent(
        model, images, attack.threat.eps, attack.step_size, attack.steps, norm,
        clip_min=0.0, clip_max=1.0, y=targets, targeted=True, rand_init=False, sanity_checks=False,
    )  # fmt: skip


PEERS: Mapping[str, Peer] = {
    "torchattacks": torchattacks, "foolbox": foolbox, "art": art, "adv-lib": adv_lib, "cleverhans": cleverhans,
}  # fmt: skip
"""Every library that is compared, by name."""

"""A class that is never predicted hides no broken defence: its logit may be huge, missing or constant.

Regression: with one more logit of -1e30, the changes of all others were below what `slope` compares, below what
`repeatable` sees, and rounding to the readout of `binarization`, and all three passed.
"""

import pytest
import torch
from torch import nn

from nrf_ray.attacks import probes
from nrf_ray.attacks.binarization import binarization
from nrf_ray.attacks.named import strong_pgd
from nrf_ray.attacks.subject import Subject
from nrf_ray.attacks.threat import ThreatModel
from tests.trust.answers import made
from tests.trust.defences import DEFENCES
from tests.trust.networks import examples, networks

ABSENT = pytest.mark.parametrize("logit", [-1e30, -torch.inf, -1e4])
CHECKS = {"slope": probes.slope, "repeatable": probes.repeatable, "binarization": binarization}


class WithAbsentClass(nn.Module):
    """A network with one more class, whose logit is always the same."""

    def __init__(self, network: nn.Module, logit: float) -> None:
        super().__init__()
        self.network, self.logit = network, logit

    def forward(self, images):
        logits = self.network(images)
        return torch.cat([logits, logits.new_full((len(logits), 1), self.logit)], dim=1)


class Shifted(nn.Module):
    """A network to whose logits one number is added."""

    def __init__(self, network: nn.Module, by: float) -> None:
        super().__init__()
        self.network, self.by = network, by

    def forward(self, images):
        return self.network(images) + self.by


def verdict(check: str, model: nn.Module) -> str:
    data = examples(100)
    subject = Subject(
        model=model.eval(),
        images=data.images,
        labels=data.labels,
        indices=torch.arange(100),
        attack=strong_pgd(ThreatModel(norm="l2", eps=0.4)),
        seed=0,
    )
    return CHECKS[check](subject).verdict


@ABSENT
@pytest.mark.parametrize(
    ("check", "name"),
    [("slope", "other-gradient"), ("repeatable", "noise-by-pass"), ("binarization", "noise-by-content")],
)
def test_a_broken_defence_fails_with_a_class_that_is_never_predicted(check, name, logit):
    assert verdict(check, WithAbsentClass(made(DEFENCES[name], networks()), logit)) == "FAIL"


@ABSENT
@pytest.mark.parametrize("check", CHECKS)
def test_an_honest_network_passes_with_one(check, logit):
    assert verdict(check, WithAbsentClass(networks().base, logit)) == "PASS"


def test_a_slope_that_is_lost_in_rounding_is_no_slope():
    assert verdict("slope", Shifted(made(DEFENCES["other-gradient"], networks()), 1e6)) == "FAIL"

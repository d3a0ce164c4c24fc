"""Our PGD beside torchattacks and foolbox: same model, start, steps, size; equal loss and equal success.

foolbox is part of the extra `test`; torchattacks pins an old requests and comes from tests/peers.txt by --no-deps.
Both are installed by .ci/run, so these tests run there.
"""

import pytest
import torch

from nrf_ray.attacks.losses import per_example_cross_entropy
from nrf_ray.attacks.pgd import pgd
from nrf_ray.attacks.threat import ThreatModel

EPS, STEPS = {"l2": 0.7, "linf": 0.1}, 20
every_norm = pytest.mark.parametrize("norm", ["l2", "linf"])


def ours(model, images, labels, norm):
    eps = EPS[norm]
    return pgd(
        model,
        images,
        labels,
        threat=ThreatModel(norm=norm, eps=eps),
        steps=STEPS,
        step_size=2.5 * eps / STEPS,
    )


def by_torchattacks(model, images, labels, norm):
    torchattacks = pytest.importorskip("torchattacks")
    kind = {"l2": torchattacks.PGDL2, "linf": torchattacks.PGD}[norm]
    eps = EPS[norm]
    return kind(model, eps=eps, alpha=2.5 * eps / STEPS, steps=STEPS, random_start=False)(images, labels)


@pytest.mark.filterwarnings("ignore:Please import `gaussian_filter`:DeprecationWarning")
def by_foolbox(model, images, labels, norm):
    foolbox = pytest.importorskip("foolbox")
    kind = {"l2": foolbox.attacks.L2PGD, "linf": foolbox.attacks.LinfPGD}[norm]
    eps = EPS[norm]
    attack = kind(abs_stepsize=2.5 * eps / STEPS, steps=STEPS, random_start=False)
    _, found, _ = attack(foolbox.PyTorchModel(model, bounds=(0, 1)), images, labels, epsilons=eps)
    return found


@every_norm
@pytest.mark.parametrize("peer", [by_torchattacks, by_foolbox], ids=["torchattacks", "foolbox"])
@pytest.mark.filterwarnings("ignore:Please import `gaussian_filter`:DeprecationWarning")
def test_equal_final_loss_and_equal_success(trained, digits, norm, peer):
    images, labels = digits[1].images[:128], digits[1].labels[:128]
    theirs, mine = peer(trained, images, labels, norm), ours(trained, images, labels, norm)
    trained.zero_grad(set_to_none=True)  # foolbox leaves its gradients there
    with torch.no_grad():
        their_logits, my_logits = trained(theirs), trained(mine)
    their_loss, my_loss = (per_example_cross_entropy(logits, labels) for logits in (their_logits, my_logits))
    assert my_loss.mean() >= their_loss.mean() - 1e-3
    assert (my_loss - their_loss).abs().median() < 1e-3
    fooled, fooled_by_them = my_logits.argmax(1) != labels, their_logits.argmax(1) != labels
    assert int(fooled.sum()) == pytest.approx(int(fooled_by_them.sum()), abs=1)
    assert 20 < int(fooled.sum()) < 128, "the attacks do nothing, or everything: the test shows nothing"

"""The fast mode: another path, as good an end, judged in float32, and never taken for the faithful one."""

import pytest
import torch

from nrf_ray.attacks.losses import per_example_cross_entropy
from nrf_ray.attacks.named import attack_named
from nrf_ray.attacks.pgd import pgd
from nrf_ray.attacks.restarts import ExampleStarts, run_restarts
from nrf_ray.attacks.robustness import robust_accuracy
from nrf_ray.attacks.specs import Attack, pgd_attack
from nrf_ray.attacks.threat import ThreatModel, perturbation_norm
from nrf_ray.constructions.targeted_pgd import craft_adversarial
from nrf_ray.engine.precision import has_bfloat16
from nrf_ray.engine.twin import twin
from nrf_ray.errors import ConfigError
from nrf_ray.presets import PRESETS
from nrf_ray.sweep.flags import Options
from sweeps.transfer_grid import transfer_grid

needs_bfloat16 = pytest.mark.skipif(not has_bfloat16("cpu"), reason="this CPU has no bfloat16")
MODES = ["faithful", pytest.param("fast", marks=needs_bfloat16)]


@needs_bfloat16
@pytest.mark.parametrize(("norm", "eps"), [("l2", 0.5), ("linf", 0.05)])
def test_the_fast_mode_ends_as_low_within_the_same_ball(trained, digits, norm, eps):
    images, targets = digits[1].images[:128], (digits[1].labels[:128] + 1) % 10
    threat = ThreatModel(norm=norm, eps=eps)
    ends, losses = {}, {}
    for mode in ("faithful", "fast"):
        ends[mode] = pgd(trained, images, targets, threat=threat, steps=20, step_size=eps / 8, targeted=True, mode=mode)
        assert ends[mode].dtype == torch.float32
        assert perturbation_norm(ends[mode] - images, norm).max() <= eps * (1 + 1e-6)
        with torch.no_grad():
            losses[mode] = per_example_cross_entropy(trained(ends[mode]), targets)
    assert not torch.equal(ends["fast"], ends["faithful"])
    assert losses["fast"].mean().item() == pytest.approx(losses["faithful"].mean().item(), rel=0.02)


def test_the_faithful_mode_gives_the_same_bits_again(trained, digits):
    images, labels = digits[1].images[:64], digits[1].labels[:64]
    attack = {"threat": ThreatModel(norm="l2", eps=0.5), "steps": 5, "step_size": 0.2}
    first, second = (pgd(trained, images, labels, **attack) for _ in range(2))
    assert torch.equal(first, second)


@needs_bfloat16
def test_what_the_fast_mode_finds_is_judged_in_float32(trained, digits):
    """Loss and prediction that go with the images are those of the network itself."""
    images, targets = digits[1].images[:64], (digits[1].labels[:64] + 1) % 10
    attack = pgd_attack("l2", 0.5, targeted=True, mode="fast")
    crafted = craft_adversarial(trained, images, targets, attack, "float32")
    with torch.no_grad():
        logits = trained(crafted.images)
    assert torch.equal(crafted.loss, per_example_cross_entropy(logits, targets))
    assert torch.equal(crafted.prediction_stored, logits.argmax(1))


@needs_bfloat16
def test_restarts_of_the_fast_mode_drop_only_what_is_fooled_in_float32(trained, digits):
    images, labels = digits[1].images[:64], digits[1].labels[:64]
    attack = pgd_attack("l2", 0.4, steps=3, restarts=3, mode="fast")
    network = twin(trained, images, "fast")
    calls = []
    network.register_forward_pre_hook(lambda module, inputs: calls.append(len(inputs[0])))
    starts = ExampleStarts(seed=0, indices=torch.arange(64))
    run_restarts(attack, network, images, labels, starts=starts)
    first = pgd(
        trained, images, labels, threat=attack.threat, steps=3, step_size=attack.step_size, mode="fast",
        start=starts.draw(attack.threat, images, 0),
    )  # fmt: skip
    with torch.no_grad():
        right = int((trained(first).argmax(1) == labels).sum())
    assert 0 < right < 64
    assert calls[:6] == [64] * 3 + [right] * 3


@needs_bfloat16
def test_robust_accuracies_of_both_modes_agree(trained, digits):
    robust = [robust_accuracy(trained, digits[1], pgd_attack("l2", 0.5, mode=mode)) for mode in ("faithful", "fast")]
    assert robust[1] == pytest.approx(robust[0], abs=0.02)


def test_the_mode_is_part_of_every_key_that_it_changes():
    def keys(mode):
        sweep = transfer_grid(Options(preset="smoke", mode=mode).grid())
        return {stage.key: stage.kind.name for stage in sweep.stages()}

    faithful, fast = keys("faithful"), keys("fast")
    shared = {name for key, name in fast.items() if key in faithful}
    assert shared <= {"construct"}, "only patterns are not computed by a network"
    assert len(fast) == len(faithful)


def test_every_attack_and_recipe_of_a_preset_follows_its_mode():
    for preset in PRESETS.values():
        fast = preset.in_mode("fast")
        assert "'faithful'" not in str(fast)
        assert fast.in_mode("faithful") == preset
        assert fast.trained_against("fgsm-rs").judge.adversary.mode == "fast"


def test_every_recipe_of_a_preset_is_trained_by_as_many_workers_as_are_asked_for():
    for preset in PRESETS.values():
        together = preset.trained_by(2)
        assert "workers=1" not in str(together)
        assert together.trained_by(1) == preset
        assert together.in_mode("fast").trained_against("fgsm-rs").judge.workers == 2


@pytest.mark.parametrize("name", ["pgd", "fgsm", "pgd-50x10"])
def test_attacks_by_name_take_the_mode(name):
    attack = attack_named(name, pgd_attack("l2", 1.0, mode="fast"))
    assert isinstance(attack, Attack)
    assert attack.mode == "fast"
    assert attack.name.endswith("-fast")


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match=r"unknown mode 'quick'; known: faithful, fast"):
        Options(mode="quick").grid()


@pytest.mark.parametrize("mode", MODES)
def test_a_batch_mate_never_changes_a_result(trained, digits, mode):
    attack = {"threat": ThreatModel(norm="l2", eps=0.5), "steps": 5, "step_size": 0.2, "mode": mode}
    images, labels = digits[1].images[:32], digits[1].labels[:32]
    others = torch.cat([images[:8], 1 - images[8:]]), torch.cat([labels[:8], labels[8:].flip(0)])
    first, second = (pgd(trained, *batch, **attack)[:8] for batch in ((images, labels), others))
    assert torch.equal(first, second)

"""Sets whose label t only a source's non-robust features predict: D_rand, D_det, D_other (Ilyas et al. 2019, 3.2).

Targeted PGD on the source, or replaced words, put the features of class t into an image or a text.
"""

import torch
from torch import Tensor, nn

from nrf_ray.attacks.hotflip import Lexicon, substitute
from nrf_ray.attacks.pgd import attack_mode, per_example_cross_entropy, run_attack
from nrf_ray.attacks.specs import Attack, Substitution
from nrf_ray.attacks.threat import Norm, perturbation_norm
from nrf_ray.constructions.crafted import Crafted, differ
from nrf_ray.constructions.spec import Storage
from nrf_ray.data.images import as_float, as_uint8, stored_as
from nrf_ray.engine.twin import twin


def craft_adversarial(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    attack: Attack | Substitution,
    storage: Storage = "uint8",
    *,
    words: Lexicon | None = None,
) -> Crafted:
    """Return `images` [b, c, h, w] moved towards `targets` [b] by the targeted `attack` on the source `model`.

    A substitution chooses from `words`, and its norm is l2. What the source makes of the images is worked out in
    float32, whatever the mode of the attack.
    """
    assert attack.targeted, "a construction needs a targeted attack"
    originals = as_float(images)
    network = twin(model, originals, attack.mode)
    model = network.original
    measured_in: Norm = "l2"
    if isinstance(attack, Substitution):
        assert words is not None, "a substitution needs the words of the dataset"
        adversarial = substitute(network, originals, targets, attack, words)
    else:
        adversarial, measured_in = run_attack(attack, network, originals, targets), attack.threat.norm
    stored = stored_as(adversarial, storage)
    with attack_mode(model), torch.no_grad():
        logits = model(as_float(stored))
        prediction = model(adversarial).argmax(1)
    norm = perturbation_norm(as_float(stored) - originals, measured_in)
    return Crafted(
        images=stored,
        norm=norm,
        distance=norm,
        moved=differ(as_uint8(adversarial), as_uint8(originals)),
        loss=per_example_cross_entropy(logits, targets),
        prediction=prediction,
        prediction_stored=logits.argmax(1),
    )

"""Preset for texts: recipes that were tried on 8,899 training texts of rt-polarity before they were written down.

Radii are in the units of the box. In the embedding learnt from those texts, a word is .97 from the centre and, in the
median, .64 from its nearest neighbour. At l2 .1, a sixth of that distance, a standard network loses more than half of
its accuracy; adversarial training uses this radius. The robust judge is right on 69% of clean texts. It predicts the
new label for 46% of the texts moved by targeted PGD within .2, and for 81% within .5. What a student learns from the
latter is not from non-robust features alone, so sets are made within .2 (means over three seeds:
`analysis/claims/texts.md`).
"""

from dataclasses import replace

from nrf_ray.attacks.specs import Attack, Substitution
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.matching import Matching
from nrf_ray.presets.preset import Preset
from nrf_ray.training.recipes import Augmentation, Recipe

STANDARD = Recipe(epochs=5, lr=0.03, batch_size=64, weight_decay=1e-2)
ROBUST = replace(STANDARD, adversary=Attack(threat=ThreatModel(norm="l2", eps=0.1), steps=3, step_size=0.05))

TEXT = Preset(
    name="text",
    description="texts (planted ones, or --dataset), one small network, three seeds: under twenty minutes on two cores",
    datasets=("planted-text",),
    archs=("text_cnn",),
    control_archs=("text_cnn",),
    constructions=("d_rand", "d_det", "leak_rand", "leak_det", "d_robust", "d_nonrobust"),
    norms=("l2",),
    epsilons=(0.2,),
    radii=(0.1,),
    seeds=(0, 1, 2),
    nonrobust_archs=("text_cnn",),
    nonrobust_constructions=("d_rand", "d_det", "leak_rand", "leak_det", "d_rand_changed", "leak_weak"),
    starts=("image",),
    source_arch="text_cnn",
    source=STANDARD,
    robust_source=ROBUST,
    victim=STANDARD,
    student=STANDARD,
    weak=replace(STANDARD, epochs=1),
    judge_arch="text_cnn",
    judge=ROBUST,
    craft_steps=10,
    attack_steps=10,
    test_examples=500,
    check_examples=100,
    substitution=Substitution(budget=2, tries=4),
    search_views=Augmentation(),
    matching_arch="text_cnn",
    matching_source=STANDARD,
    matching_robust_source=ROBUST,
    matched_archs=("text_cnn",),
    matched_student=STANDARD,
    matching=Matching(steps=15, step_size=0.2, decay=True),
    noise_matching=Matching(steps=15, step_size=0.2, decay=True, start="noise"),
)

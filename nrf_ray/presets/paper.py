"""The paper's settings (Ilyas et al. 2019, C.2 to C.5), for GPUs; `analysis/differences.md` has what differs from it.

Constructions are from Tables 5 and 6, students from Table 3, adversarial training and the attack on models (7 steps of
eps / 5) from C.3. The paper gives neither the optimiser settings of the two sources nor any number of epochs. Here they
are the defaults of the authors' library (MadryLab/robustness): 150 epochs, with the learning rate divided by 10 after
every 50. D_other and the controls are not in the paper; they use the recipe of the paper's construction that they
correspond to.
"""

from dataclasses import replace

from nrf_ray.attacks.specs import Attack
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.constructions.matching import Matching
from nrf_ray.presets.preset import Preset
from nrf_ray.presets.small import GRID, NONROBUST
from nrf_ray.training.recipes import Augmentation, Recipe, StepSchedule

DROPS, NO_DROPS = StepSchedule(drop_every=50), StepSchedule()

CIFAR_VIEWS = Augmentation(pad=4, flip=True, jitter=0.25, rotation=2.0)
CIFAR_STANDARD = Recipe(
    epochs=150, lr=0.1, batch_size=128, schedule=DROPS, nesterov=False, weight_decay=5e-4, augmentation=CIFAR_VIEWS
)
CIFAR_ROBUST = replace(CIFAR_STANDARD, adversary=Attack(threat=ThreatModel(norm="l2", eps=0.5), steps=7, step_size=0.1))
CIFAR_D_RAND = replace(CIFAR_STANDARD, lr=0.01)
CIFAR_D_DET = replace(CIFAR_STANDARD, augmentation=Augmentation())

CIFAR10 = Preset(
    name="cifar10",
    description="CIFAR-10 with the paper's hyperparameters, three seeds; for GPUs",
    datasets=("cifar10",),
    archs=("vgg16", "inception_v3", "resnet18", "densenet121", "resnet50"),
    control_archs=("resnet50",),
    constructions=GRID,
    norms=("l2",),
    epsilons=(0.5,),
    radii=(0.25, 0.5),
    seeds=(0, 1, 2),
    nonrobust_archs=("resnet50",),
    nonrobust_constructions=NONROBUST,
    source_arch="resnet50",
    source=CIFAR_STANDARD,
    robust_source=CIFAR_ROBUST,
    victim=CIFAR_STANDARD,
    student=CIFAR_D_RAND,
    students={"d_det": CIFAR_D_DET, "leak_det": CIFAR_D_DET, "leak_weak": CIFAR_D_DET},
    weak=replace(CIFAR_STANDARD, epochs=1),
    judge_arch="resnet50",
    judge=CIFAR_ROBUST,
    craft_steps=100,
    craft_step=0.1,
    attack_steps=7,
    attack_step=0.2,
    search_views=CIFAR_VIEWS,
    matching_arch="resnet50",
    matching_source=CIFAR_STANDARD,
    matching_robust_source=CIFAR_ROBUST,
    matched_archs=("resnet50",),
    matched_student=CIFAR_STANDARD,
    matching=Matching(steps=1000, step_size=0.1),
    noise_matching=Matching(steps=10_000, step_size=0.1, start="noise"),
)

IMAGENET_VIEWS = Augmentation(flip=True, min_area=0.08, jitter=0.1, lighting=0.05)
IMAGENET_STANDARD = Recipe(
    epochs=150, lr=0.1, batch_size=256, schedule=DROPS, nesterov=False, weight_decay=1e-4, augmentation=IMAGENET_VIEWS
)
IMAGENET_ROBUST = replace(
    IMAGENET_STANDARD, adversary=Attack(threat=ThreatModel(norm="l2", eps=3.0), steps=7, step_size=0.6)
)
IMAGENET_D_R = replace(IMAGENET_STANDARD, lr=0.01, batch_size=128, schedule=NO_DROPS, weight_decay=5e-4)
IMAGENET_D_RAND = replace(IMAGENET_D_R, batch_size=256, augmentation=Augmentation())
IMAGENET_D_DET = replace(IMAGENET_D_RAND, lr=0.05)

RESTRICTED_IMAGENET = replace(
    CIFAR10,
    name="restricted-imagenet",
    description="Restricted ImageNet with the paper's hyperparameters, one seed; for GPUs",
    datasets=("restricted-imagenet",),
    archs=("resnet50",),
    epsilons=(3.0,),
    radii=(0.5,),
    seeds=(0,),
    source=IMAGENET_STANDARD,
    robust_source=IMAGENET_ROBUST,
    victim=IMAGENET_STANDARD,
    student=IMAGENET_D_RAND,
    students={"d_det": IMAGENET_D_DET, "leak_det": IMAGENET_D_DET, "leak_weak": IMAGENET_D_DET},
    weak=replace(IMAGENET_STANDARD, epochs=1),
    search_views=IMAGENET_VIEWS,
    judge=IMAGENET_ROBUST,
    matching_source=IMAGENET_STANDARD,
    matching_robust_source=IMAGENET_ROBUST,
    matched_student=IMAGENET_D_R,
    matching=Matching(steps=2000, step_size=1.0),
    noise_matching=Matching(steps=2000, step_size=1.0, start="noise"),
)

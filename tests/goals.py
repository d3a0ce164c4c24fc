"""Small stages of every kind on digits, as handles: what the tests of stages run once and hold against each other.

All networks are trained for a few epochs: enough that an attack does something, no more.
"""

from dataclasses import replace

from nrf_ray.attacks.specs import pgd_attack
from nrf_ray.constructions import construct_spec
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.constructions.matching import Matching
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.stages.attack import AttackSpec, attack
from nrf_ray.stages.construct import construct
from nrf_ray.stages.evaluate import EvaluateSpec, evaluate
from nrf_ray.stages.judge import JudgeSpec, judge
from nrf_ray.stages.robustness import RobustnessSpec, robustness
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.stages.transfer import TransferSpec, transfer
from nrf_ray.stages.trust import TrustSpec, trust
from nrf_ray.stages.validate import ValidateSpec, validate
from nrf_ray.stages.weights import load_model
from nrf_ray.training.recipes import Recipe

DIGITS = dataset_named("digits").ref
TARGETED, UNTARGETED = (pgd_attack("l2", 1.0, steps=3, targeted=targeted) for targeted in (True, False))
COLUMNS = [*construct_spec.COLUMNS, "image"]


def trained_on(data=None, *, arch="resnet_s", epochs=2, seed=0, adversary=None):
    recipe = Recipe(epochs=epochs, lr=0.05, adversary=adversary)
    return train(TrainSpec(arch=arch, dataset=DIGITS, recipe=recipe, seed=seed), data=data)


def constructed(name, source=None, craft=TARGETED, **more):
    return construct(ConstructSpec(dataset=DIGITS, construction=name, craft=craft, seed=3, **more), source=source)


SOURCE = trained_on()
JUDGE = trained_on(epochs=1, seed=1, adversary=pgd_attack("l2", 1.0, steps=1))
D_OTHER = constructed("d_other", SOURCE, shard_rows=512)
D_OTHER_WHOLE = constructed("d_other", SOURCE, shard_rows=2048)
"""The same set, in one file; it has the same key."""
LEAK_RAND = constructed("leak_rand", craft=TARGETED.threat, shard_rows=512)
MATCHING = Matching(steps=4, step_size=0.1, decay=True)
D_ROBUST = constructed("d_robust", JUDGE, MATCHING, shard_rows=512)
D_ROBUST_TEST = constructed("d_robust", JUDGE, MATCHING, split="test")
FROM_NOISE = constructed("d_nonrobust", SOURCE, replace(MATCHING, start="noise"), shard_rows=512, storage="float32")
LEAK_WEAK = constructed("leak_weak", SOURCE, TARGETED.threat)
ATTACKED = {
    targeted: attack(AttackSpec(dataset=DIGITS, attack=chosen, seed=5), source=SOURCE)
    for targeted, chosen in ((True, TARGETED), (False, UNTARGETED))
}
STUDENT = trained_on(D_OTHER, arch="vgg_s")
CHANGED_ONLY = train(
    TrainSpec(arch="vgg_s", dataset=DIGITS, recipe=Recipe(epochs=1, lr=0.05), rows="changed", seed=0), data=LEAK_RAND
)
EVALUATED = evaluate(EvaluateSpec(dataset=DIGITS), model=SOURCE)
ROBUST = robustness(RobustnessSpec(dataset=DIGITS, attack=UNTARGETED), model=SOURCE)
JUDGED = {model.key: judge(JudgeSpec(), data=D_OTHER, model=model) for model in (SOURCE, JUDGE)}
TRANSFERRED = {
    (victim.key, targeted): transfer(TransferSpec(targeted=targeted), victim=victim, adversarial=ATTACKED[targeted])
    for victim in (SOURCE, STUDENT)
    for targeted in (True, False)
}
MORE_SETS = [D_ROBUST, D_ROBUST_TEST, FROM_NOISE, LEAK_WEAK]
FEW = robustness(RobustnessSpec(dataset=DIGITS, attack=UNTARGETED, examples=100), model=SOURCE)
KEPT_OUT = train(replace(SOURCE.config, holdout=0.2), data=D_OTHER)
VALIDATED = validate(ValidateSpec(dataset=DIGITS, holdout=0.2), model=KEPT_OUT, data=D_OTHER)
ON_ITS_OWN = robustness(RobustnessSpec(dataset=DIGITS, attack=UNTARGETED, examples=100), model=SOURCE, data=D_ROBUST)
CHECKED = trust(TrustSpec(dataset=DIGITS, attack=UNTARGETED, examples=48), model=SOURCE)
MEASURED = [EVALUATED, VALIDATED, ROBUST, FEW, ON_ITS_OWN, CHECKED, *JUDGED.values(), *TRANSFERRED.values()]
GOALS = [*MORE_SETS, CHANGED_ONLY, D_OTHER, LEAK_RAND, *MEASURED]


def metrics(store, stage):
    return store.artifact(stage).record.metrics


def model_of(store, stage):
    return load_model(store.artifact(stage), "cpu")

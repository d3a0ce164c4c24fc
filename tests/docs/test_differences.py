"""What `analysis/differences.md` says of the presets is what they hold; none of them claims to have no difference."""

import inspect
import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from nrf_ray.attacks.threat import FLAT, ThreatModel
from nrf_ray.constructions.spec import construction_named
from nrf_ray.data.published import SIZES
from nrf_ray.data.readers.imagenet import SIDE
from nrf_ray.presets import PRESETS, Preset
from nrf_ray.sweep.flags import Options
from nrf_ray.sweep.models_and_sets import crafted_by
from nrf_ray.training.augmentation import augment
from nrf_ray.training.recipes import Recipe
from tests import sweeps
from tests.docs.pages import PAGES, ROOT

PAGE = ROOT / "analysis" / "differences.md"
PAPERS = ("cifar10", "restricted-imagenet")
IN_THE_PAPER = {"d_rand", "d_det", "d_robust", "d_nonrobust"}


def tables() -> list[list[list[str]]]:
    """Return the rows of every table of the page, the first row with its headings, as cells without marks of code."""
    found: list[list[list[str]]] = []
    before = ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("|"):
            if not before.startswith("|"):
                found.append([])
            found[-1].append([cell.strip().strip("`") for cell in line.strip("|").split("|")])
        before = line
    return [[head, *rows] for head, _, *rows in found]


def number(value: float) -> str:
    return f"{value:g}"


def threat_of(preset: Preset) -> ThreatModel:
    return ThreatModel(norm=preset.norms[0], eps=preset.epsilons[0])


def iterates(preset: Preset) -> str:
    """Return the iterate that every attack of the preset returns."""
    crafting = crafted_by(preset, construction_named("d_rand"), threat_of(preset))
    trainings = [preset.robust_source, preset.judge, preset.matching_robust_source]
    attacks = [crafting, preset.pgd(threat_of(preset)), *(recipe.adversary for recipe in trainings)]
    (returned,) = {attack.returns for attack in attacks}
    return returned


def left_over(preset: Preset) -> str:
    count = SIZES[preset.datasets[0]].num_train
    return f"dropped, {count % preset.source.batch_size} of {count} images"


def recipes(preset: Preset) -> list[Recipe]:
    students = [preset.student_of(name) for name in preset.nonrobust_constructions]
    return [preset.source, preset.robust_source, preset.victim, preset.matched_student, *students]


def lighting(preset: Preset) -> str:
    strengths = {recipe.augmentation.lighting for recipe in recipes(preset)}
    if strengths == {0.0}:
        return "no lighting"
    views = preset.source.augmentation
    white = augment(torch.ones(50, 3, 4, 4), views, torch.Generator().manual_seed(0))
    assert strengths == {0.0, 0.05}
    return "clamped after lighting" if white.max() <= 1 else "kept after lighting"


def pixels_of_views(preset: Preset) -> str:
    images = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    dtype = augment(images, preset.source.augmentation, torch.Generator().manual_seed(0)).dtype
    return str(dtype).removeprefix("torch.")


def steps_of(matching) -> str:
    (length,) = set(matching.lengths())
    return f"{matching.steps} steps of {number(length)}"


def student_of_nonrobust(preset: Preset) -> str:
    return f"lr {number(preset.matched_student.lr)}, batch {preset.matched_student.batch_size}"


def start_of_table_8(preset: Preset) -> str:
    """Return the start of the sets whose students are attacked on their own images, from the names of the stages."""
    grid = Options(preset=preset.name, plan=True).grid(sweeps.robust_features.axes)
    tested = {
        stage.label for row in sweeps.robust_features.robust_features(grid).rows for stage in row.stages()
        if stage.label.startswith("robustness") and ", on d_robust" in stage.label
    }  # fmt: skip
    (start,) = {re.search(r", on d_robust .*(from \w+) of", label)[1] for label in tested}
    return start


def further(preset: Preset) -> str:
    return ", ".join(name for name in preset.nonrobust_constructions if name not in IN_THE_PAPER)


def judge(preset: Preset) -> str:
    threat = preset.judge.adversary.threat
    return f"{preset.judge_arch}, {threat.norm} {number(threat.eps)}"


def sources(preset: Preset) -> str:
    (same,) = {(r.lr, r.batch_size, r.weight_decay, r.epochs) for r in (preset.source, preset.matching_source)}
    lr, batch, decay, epochs = same
    return f"lr {number(lr)}, batch {batch}, weight decay {number(decay)}, {epochs} epochs"


def students_epochs(preset: Preset) -> str:
    (epochs,) = {recipe.epochs for recipe in recipes(preset)}
    return str(epochs)


def drops(preset: Preset) -> str:
    found = {recipe.schedule.drop_every for recipe in recipes(preset)} - {0}
    (every,) = found
    return str(every)


def transfer(preset: Preset) -> str:
    attack = preset.pgd(threat_of(preset))
    return f"{attack.steps} steps of {number(attack.step_size / attack.threat.eps)} eps"


def side(preset: Preset) -> str:
    _, height, width = SIZES[preset.datasets[0]].shape
    middle = ", the middle of the resized picture" if height == SIDE else ""
    return f"{height} x {width}{middle}"


HELD: dict[str, Callable[[Preset], str]] = {
    "iterate that PGD returns": iterates,
    "last, smaller batch of an epoch": left_over,
    "gradient that counts as zero": lambda preset: f"below {number(FLAT)}",
    "pixels of constructed sets": lambda preset: Options(preset=preset.name).storage,
    "pixels of views": pixels_of_views,
    "views outside [0, 1]": lighting,
    "arithmetic": lambda preset: preset.mode,
    "D_R and D_NR from noise": lambda preset: steps_of(preset.noise_matching),
    "students of D_NR": student_of_nonrobust,
    "D_R that Table 8 attacks": start_of_table_8,
    "further constructions": further,
    "robust judge": judge,
    "epochs of students": students_epochs,
    "epochs between drops of the learning rate": drops,
    "training of the sources": sources,
    "attack whose images are transferred": transfer,
    "architectures of the transfer experiment": lambda preset: ", ".join(preset.archs),
    "images that sets are made from": side,
    "replicates": lambda preset: f"seeds {', '.join(map(str, preset.seeds))}",
}
"""What a preset holds of each row."""

ELSEWHERE = {
    "networks": ("tests/models/test_published.py", "test_imagenet_forms_are_those_of_torchvision"),
    "choice of recipes": ("tests/presets/test_paper.py", "test_students_are_trained_as_in_table_3"),
    "identity gradient of the last ReLU": (
        "tests/constructions/test_matching.py",
        "test_every_branch_of_the_last_block_lets_the_gradient_through",
    ),
}
"""Rows without a number, and the tests that hold them."""


def rows() -> dict[str, dict[str, str]]:
    """Return the cells of each row of both tables, by the name of the row and of the column."""
    return {row[0]: dict(zip(head, row, strict=True)) for head, *body in tables() for row in body}


def test_every_row_is_held_by_a_test() -> None:
    assert len(tables()) == 2
    assert set(rows()) == HELD.keys() | ELSEWHERE.keys()
    for file, test in ELSEWHERE.values():
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PAPERS)
@pytest.mark.parametrize("what", HELD)
def test_what_the_page_says_of_a_preset_is_what_it_holds(what: str, name: str) -> None:
    assert rows()[what][name] == HELD[what](PRESETS[name])


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("iterate that PGD returns", {"returns": "worst_loss"}),
        ("robust judge", {"threat": ThreatModel(norm="l2", eps=1.0)}),
    ],
)
def test_a_changed_preset_would_be_noticed(what: str, change: dict[str, object]) -> None:
    preset = PRESETS["cifar10"]
    other = replace(preset, judge=replace(preset.judge, adversary=replace(preset.judge.adversary, **change)))
    try:
        held = HELD[what](other)
    except ValueError:  # attacks that differ among themselves
        return
    assert held != rows()[what]["cifar10"]


def test_no_preset_and_no_page_claims_to_be_the_paper_exactly() -> None:
    texts = [preset.description for preset in PRESETS.values()]
    texts += [page.read_text(encoding="utf-8") for page in PAGES]
    texts += [inspect.getdoc(sweeps.load(name)) or "" for name in sweeps.FILES]
    assert not [text for text in texts if re.search(r"exactly\s+(as\s+in\s+)?the\s+paper", text)]


def test_the_guide_leads_to_the_page() -> None:
    assert "(differences.md)" in (ROOT / "analysis" / "guide.md").read_text(encoding="utf-8")

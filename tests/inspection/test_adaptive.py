"""`nrf trust --adaptive`: a user's attack beside all others, and the number that withstands everything."""

import json
from pathlib import Path

import pytest
import torch

from nrf_ray import cli
from nrf_ray.attacks import adaptive, checks, robustness
from nrf_ray.attacks.functions import FUNCTIONS
from nrf_ray.attacks.named import attack_named
from nrf_ray.attacks.robustness import AgainstAutoAttack
from nrf_ray.attacks.specs import AutoAttack, pgd_attack
from nrf_ray.attacks.subject import Check
from nrf_ray.attacks.threat import ThreatModel
from nrf_ray.attacks.trust import checks_of
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.digits import load
from nrf_ray.data.images import some
from nrf_ray.inspection import trust
from nrf_ray.inspection.given_model import given_model

DIGITS = dataset_named("digits")
EPS, EXAMPLES = 0.04, 40
CODE = """
import torch
from torch import nn

from nrf_ray.data.digits import load
from tests.trust.defence import turned

class Masked(nn.Module):
    "A linear network fitted to digits, whose gradients point away from every adversarial image."

    def __init__(self):
        super().__init__()
        train = load()[0]
        pixels = train.images.flatten(1).double()
        ridge = pixels.T @ pixels + torch.eye(64, dtype=torch.float64)
        goal = nn.functional.one_hot(train.labels, 10).double()
        self.linear = nn.Linear(64, 10, bias=False)
        self.linear.weight.data = torch.linalg.solve(ridge, pixels.T @ goal).T.float()

    def forward(self, images):
        return self.linear(turned(torch.neg)(images).flatten(1))

def masked():
    return Masked()

def through(model, images, labels, threat, generator):
    "The optimum: for each class the furthest corner of ball and box, and of these the first that fools the network."
    weight, found = model.linear.weight, images
    for other in range(10):
        towards = (weight[other] - weight[labels]).sign().view_as(images)
        tried = (images + threat.eps * towards).clamp(0, 1)
        fooled = model(tried).argmax(1) != labels
        found = torch.where(fooled.view(-1, 1, 1, 1), tried, found)
    return found

def idle(model, images, labels, threat, generator):
    return images

def outside(model, images, labels, threat, generator):
    return images + 1

def failing(model, images, labels, threat, generator):
    raise ValueError("two\\nlines")
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Return the working folder, with a file of code."""
    (tmp_path / "mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def truth(n):
    """Return which of the n test images that the command chooses withstand everything: the optimum of a linear map."""
    test = load()[1]
    data = test.rows(some(len(test), n))
    weight = given_model("mine.py:masked", DIGITS, "./runs").linear.weight.detach()
    robust = torch.ones(len(data.labels), dtype=torch.bool)
    for other in range(10):
        worst = data.images + EPS * (weight[other] - weight[data.labels]).sign().view_as(data.images)
        lead = ((weight[data.labels] - weight[other]) * worst.clamp(0, 1).flatten(1)).sum(dim=1)
        robust &= (lead > 0) | (data.labels == other)
    return robust


def run(monkeypatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["nrf", "trust", "mine.py:masked", "--data", "digits", "--norm", "linf", *words])
    with pytest.raises(SystemExit) as ended:
        cli.nrf_main()
    return int(ended.value.code or 0)


def test_an_attack_through_the_true_gradient_finds_what_a_masked_model_hides(mine, monkeypatch, capsys):
    words = ("--epsilon", str(EPS), "--attack", "pgd", "--examples", str(EXAMPLES), "--json", "trust.json")
    assert run(monkeypatch, *words, "--adaptive", "mine.py:through") == 0
    found, robust = json.loads(Path("trust.json").read_text()), truth(EXAMPLES)
    assert found["lowest"] == float(robust.double().mean())
    assert found["lowest"] < found["robust"] == found["clean"], "its own gradient fools nothing"
    assert "adaptive" in found["lowest_by"].removeprefix("pgd-20 with ").split(", ")
    assert found["numbers"]["adaptive"] == {
        "fooled": pytest.approx(1 - found["lowest"] / found["clean"]),
        "outside": 0.0,
        "missed": 0.0,
    }
    assert (found["verdicts"]["adaptive"], found["verdicts"]["slope"], found["level"]) == ("PASS", "FAIL", "L0")
    assert found["lowest_by"] in " ".join(capsys.readouterr().out.split())


def mask(n, *fooled):
    return torch.tensor([index in fooled for index in range(n)])


@pytest.fixture
def replaced(monkeypatch):
    """Replace the attacks: AutoAttack fools the images 0 and 1, PGD image 0, and a surrogate's images the image 2."""

    def run_checks(subject):
        n = len(subject.images)
        found = {name: Check(verdict="PASS") for name in checks_of("full")}
        found["images"] = Check(verdict="PASS", numbers={"fooled": 1 / n}, fooled=mask(n, 0))
        found["surrogate"] = Check(verdict="PASS", fooled=mask(n, 2))
        return found

    def against(model, data, attack):
        left = torch.ones(len(data), dtype=torch.bool)
        left[robustness.right_when_clean(model, data)[:2]] = False
        return AgainstAutoAttack(robust_accuracy=0.0, under_pgd=0.0, missed=0.0, by_square=0.0, left=left)

    monkeypatch.setattr(checks, "run_checks", run_checks)
    monkeypatch.setattr(robustness, "against_autoattack", against)


@pytest.mark.parametrize(
    ("fooled", "verdict", "adds", "by", "level"),
    [
        ((0, 3), "PASS", 2, "autoattack with adaptive, surrogate", "L4"),
        ((0,), "PASS", 1, "autoattack with surrogate", "L4"),
        ((0, 3), "FAIL", 2, "autoattack with adaptive, surrogate", "L0"),
        (None, "", 1, "autoattack with surrogate", "L3"),
    ],
)
def test_the_number_is_the_least_of_everything_image_by_image(
    fooled, verdict, adds, by, level, mine, replaced, monkeypatch
):
    def tried(attack, model, images, labels, threat, *, seed):
        return Check(verdict=verdict, fooled=mask(len(images), *fooled))

    monkeypatch.setattr(adaptive, "run_adaptive", tried)
    attack = AutoAttack(threat=ThreatModel(norm="linf", eps=EPS))
    model = given_model("mine.py:masked", DIGITS, "./runs")
    found = trust._measured(model, DIGITS, attack, 120, None if fooled is None else lambda *given: None)
    assert found["robust"] == pytest.approx(found["clean"] - 2 / 120)
    assert found["lowest"] == pytest.approx(found["clean"] - (2 + adds) / 120)
    assert (found["lowest_by"], found["level"]) == (by, level)


@pytest.mark.parametrize(("function", "verdict"), [("idle", "PASS"), ("outside", "FAIL")])
def test_a_users_attack_is_judged_by_its_images(function, verdict, mine, replaced):
    """One image that PGD fools and the idle attack does not is no reason to doubt it: one of 120 is tolerated."""
    attack = AutoAttack(threat=ThreatModel(norm="linf", eps=EPS))
    model = given_model("mine.py:masked", DIGITS, "./runs")
    found = trust._measured(model, DIGITS, attack, 120, trust.user_function(f"mine.py:{function}"))
    assert found["verdicts"]["adaptive"] == verdict
    assert "adaptive" not in found["lowest_by"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine.py", "'mine.py' names no function; write PATH.py:FUNCTION"),
        ("nowhere.py:through", "there is no file nowhere.py"),
        ("mine.py:other", "mine.py has no function 'other'; it has"),
        ("mine.py:failing", "mine.py:failing failed: ValueError: two lines"),
    ],
)
def test_what_is_no_attack_is_refused_in_one_line(name, said, mine, monkeypatch, capsys):
    assert run(monkeypatch, "--epsilon", str(EPS), "--examples", "20", "--adaptive", name) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error


CORNERS = """
from nrf_ray.attacks.named import attack_function

@attack_function("corners", passes=10)
def corners(model, images, labels, threat, generator):
    weight, found = model.linear.weight, images
    for other in range(10):
        towards = (weight[other] - weight[labels]).sign().view_as(images)
        tried = (images + threat.eps * towards).clamp(0, 1)
        found = tried.where((model(tried).argmax(1) != labels).view(-1, 1, 1, 1), found)
    return found
"""


def test_an_attack_of_a_plug_in_gives_the_number_and_its_check(mine, replaced, plug):
    plug(CORNERS, "corners.py")
    attack = attack_named("corners", pgd_attack("linf", EPS))
    model = given_model("mine.py:masked", DIGITS, "./runs")
    found = trust._measured(model, DIGITS, attack, 120, FUNCTIONS["corners"].run)
    assert (found["attack"], found["level"], found["verdicts"]["adaptive"]) == ("corners", "L0", "PASS")
    assert found["robust"] == float(truth(120).double().mean())
    assert found["lowest"] <= found["robust"] < found["clean"]


def test_one_attack_of_ones_own_is_enough(mine, plug, monkeypatch, capsys):
    Path("corners.py").write_text(CORNERS)
    words = ("--epsilon", str(EPS), "--attack", "corners", "--plugin", "corners.py")
    assert run(monkeypatch, *words, "--adaptive", "mine.py:through") == 2
    assert "--attack corners and --adaptive mine.py:through are both yours; give one" in capsys.readouterr().err

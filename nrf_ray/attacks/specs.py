"""Attacks, as plain data.

Attacks are described here and run by the other modules of `attacks`. The descriptions enter the keys of stages, so they
hold everything that changes a result and nothing that does not (no device, no worker count). Nothing here needs torch:
a sweep is planned from these attacks, `constructions` and `recipes` alone.
"""

import math
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, get_args

from nrf_ray.attacks.functions import FUNCTIONS
from nrf_ray.attacks.losses import ALTERNATING, LOSSES
from nrf_ray.attacks.threat import Norm, ThreatModel
from nrf_ray.engine.mode import Mode, check_mode
from nrf_ray.errors import ConfigError

Start = Literal["image", "uniform", "wide"]
"""Start of an attack: the image; a uniformly random point of the ball; or a uniformly random point of the ball of twice
the radius, with steps that only the box bounds (N-FGSM, de Jorge et al. 2022)."""

Bounds = Literal["ball", "box"]
"""Set that each step is projected into: the threat model, or [0, 1] alone."""

Returns = Literal["last", "worst_loss"]
"""Iterate that a run returns: the last, or the best of all for the adversary, the start included."""


@dataclass(frozen=True, kw_only=True)
class Attack:
    """Projected gradient descent (PGD) with a fixed number of normalised steps (Ilyas et al. 2019, C.3 and C.5).

    One-step attacks are PGD with one step; `fgsm`, `fgsm_rs` and `n_fgsm` give them their published proportions.
    """

    threat: ThreatModel
    """Images that the adversary may reach."""
    steps: int
    """Gradient steps; all are taken."""
    step_size: float
    """Length of a step in the threat model's norm, in pixel units."""
    targeted: bool = False
    """Whether it moves towards given labels (True) or away from the true ones (False)."""
    restarts: int = 1
    """Runs from new random starts; a later run attacks only the examples that no earlier run fooled."""
    start: Start = "image"
    """Start of each run."""
    loss: str = field(default="cross_entropy", metadata=LOSSES.names)
    """Loss that it optimises; `alternating` changes from restart to restart, see `losses`."""
    returns: Returns = "last"
    """Iterate that a run returns."""
    mode: Mode = "faithful"
    """Mode of its gradients; the images that it finds are evaluated in float32 in both modes."""

    replaces_words: ClassVar[Literal[False]] = False
    """Whether it needs the words of the dataset."""

    def __post_init__(self) -> None:
        if self.steps < 1 or not 0 < self.step_size < math.inf:
            raise ConfigError(
                f"an attack needs steps >= 1 and a finite step_size > 0, not {self.steps} and {self.step_size:g}"
            )
        for value, choices, what in (
            (self.start, get_args(Start), "start"),
            (self.loss, (*LOSSES, ALTERNATING), "loss"),
            (self.returns, get_args(Returns), "returns"),
        ):
            if value not in choices:
                raise ConfigError(f"unknown {what} {value!r} of an attack; known: {', '.join(choices)}")
        check_mode(self.mode)
        if self.restarts < 1:
            raise ConfigError(f"an attack needs restarts >= 1, not {self.restarts}")
        if self.restarts > 1 and self.start == "image":
            raise ConfigError(
                f"{self.restarts} restarts from the image itself would all give the same result; set start='uniform'"
            )
        if self.loss == ALTERNATING and self.restarts == 1:
            raise ConfigError(f"loss={ALTERNATING!r} changes from restart to restart; set restarts > 1")
        if self.start == "wide" and (self.steps, self.restarts) != (1, 1):
            raise ConfigError(
                "start='wide' leaves the ball and is for N-FGSM alone, which has 1 step and 1 restart, not "
                f"{self.steps} and {self.restarts}"
            )

    @property
    def passes(self) -> int:
        """Forward and backward passes per image, at most; fewer if it succeeds early."""
        return self.steps * self.restarts

    @property
    def start_threat(self) -> ThreatModel:
        """The ball that a random start is drawn from."""
        return replace(self.threat, eps=2 * self.threat.eps) if self.start == "wide" else self.threat

    @property
    def bounds(self) -> Bounds:
        """Set that its steps are projected into. Beyond the ball, an attack can train a model but measures nothing."""
        return "box" if self.start == "wide" else "ball"

    @property
    def name(self) -> str:
        """Short name for tables: "fgsm", "n-fgsm", "pgd-20", "pgd-20-rs", "pgd-50x10", "pgd-9-margin-fast"."""
        parts = [self._family]
        if self.loss != "cross_entropy":
            parts.append(self.loss)
        if self.returns == "worst_loss":
            parts.append("worst")
        if self.mode == "fast":
            parts.append("fast")
        return "-".join(parts)

    @property
    def _family(self) -> str:
        if self.start == "wide":
            return "n-fgsm"
        if self.restarts > 1:
            return f"pgd-{self.steps}x{self.restarts}"
        random = "-rs" if self.start == "uniform" else ""
        one_step = {"": 1.0, "-rs": 1.25}[random] * self.threat.eps
        if self.steps == 1 and math.isclose(self.step_size, one_step):
            return f"fgsm{random}"
        return f"pgd-{self.steps}{random}"


@dataclass(frozen=True, kw_only=True)
class Substitution:
    """Replacement of a few words of a text, chosen by gradients (HotFlip, Ebrahimi et al. 2018).

    For each word and each of its candidates, the gradient predicts the change of the loss if the candidate replaced the
    word. The best first-order choices are tried, and the best of these is kept; then the next word is replaced. The
    result is a text of whole words.
    """

    budget: int
    """Number of words of a text that may be replaced, each at most once."""
    candidates: int = 20
    """Number of nearest words of the embedding that a replacement is chosen from."""
    among: int = 5000
    """Number of most frequent words that candidates are taken from."""
    tries: int = 8
    """Number of first-order choices whose true loss is compared; 1 is HotFlip without computing the loss."""
    targeted: bool = False
    """Whether it moves towards given labels until the budget is spent, or away from the true labels until the model is
    fooled."""

    restarts: ClassVar[int] = 1
    """Number of runs; there is no random start."""
    mode: ClassVar[Mode] = "faithful"
    """Mode of its gradients."""
    replaces_words: ClassVar[Literal[True]] = True
    """Whether it needs the words of the dataset."""

    def __post_init__(self) -> None:
        if min(self.budget, self.candidates, self.among, self.tries) < 1:
            raise ConfigError(
                "a substitution needs budget, candidates, among and tries >= 1, not "
                f"{self.budget}, {self.candidates}, {self.among} and {self.tries}"
            )

    @property
    def steps(self) -> int:
        """Gradients per text, at most."""
        return self.budget

    @property
    def passes(self) -> int:
        """Forward and backward passes per text, at most; a try is a forward pass, half of a pass with a gradient."""
        return self.budget * (1 + math.ceil(self.tries / 2))

    @property
    def name(self) -> str:
        """Short name for tables."""
        return f"hotflip-{self.budget}"


def check_measures(attack: "AnyAttack") -> None:
    """Raise ConfigError if `attack` cannot measure robust accuracy: it is targeted, or may leave the ball."""
    if isinstance(attack, Attack | Substitution) and attack.targeted:
        raise ConfigError("a robust accuracy needs an untargeted attack; set targeted=False")
    if isinstance(attack, Attack) and attack.bounds != "ball":
        raise ConfigError(f"{attack.name} leaves the ball of radius {attack.threat.eps:g}: it is for training only")


def pgd_attack(
    norm: Norm,
    eps: float,
    *,
    steps: int = 20,
    targeted: bool = False,
    restarts: int = 1,
    start: Start | None = None,
    loss: str = "cross_entropy",
    mode: Mode = "faithful",
) -> Attack:
    """Return PGD in the usual proportions: `steps` steps of 2.5 eps / steps.

    By default it starts at the image itself, or at random points of the ball if there are several `restarts`.
    """
    return Attack(
        threat=ThreatModel(norm=norm, eps=eps),
        steps=steps,
        step_size=2.5 * eps / max(steps, 1),
        targeted=targeted,
        restarts=restarts,
        start=start or ("image" if restarts == 1 else "uniform"),
        loss=loss,
        mode=mode,
    )


def fgsm(norm: Norm, eps: float, *, targeted: bool = False, mode: Mode = "faithful") -> Attack:
    """Return the fast gradient (sign) method: one step of eps from the image (Goodfellow et al. 2015)."""
    return Attack(threat=ThreatModel(norm=norm, eps=eps), steps=1, step_size=eps, targeted=targeted, mode=mode)


def fgsm_rs(norm: Norm, eps: float) -> Attack:
    """Return FGSM with a random start: from a uniform point, one step of 1.25 eps, projected (Wong et al. 2020)."""
    return Attack(threat=ThreatModel(norm=norm, eps=eps), steps=1, step_size=1.25 * eps, start="uniform")


def n_fgsm(norm: Norm, eps: float) -> Attack:
    """Return N-FGSM: noise of up to 2 eps, one step of eps, bounded by the box alone (de Jorge et al. 2022)."""
    return Attack(threat=ThreatModel(norm=norm, eps=eps), steps=1, step_size=eps, start="wide")


@dataclass(frozen=True, kw_only=True)
class AutoAttack:
    """The untargeted, parameter-free ensemble of Croce and Hein (2020), by the library of the extra `autoattack`.

    Its targeted loss compares the four highest logits, so a model of two or three classes has a version of its own,
    which is not AutoAttack and is never called so.
    """

    threat: ThreatModel
    """Images that the adversary may reach."""
    version: Literal["standard", "apgd", "few-classes"] = "standard"
    """"standard" runs APGD-CE, APGD-T, FAB-T and Square (5000 queries); "apgd" the first two; "few-classes" APGD-CE,
    PGD on the margin with restarts, and Square."""
    steps: ClassVar[int] = 100
    """Gradient steps of each of its runs."""
    restarts: ClassVar[int] = 1
    """Runs of each of its attacks per target class."""
    replaces_words: ClassVar[Literal[False]] = False
    """Whether it needs the words of the dataset."""

    def __post_init__(self) -> None:
        if self.version not in _VERSIONS:
            raise ConfigError(f"unknown version {self.version!r} of AutoAttack; known: {', '.join(_VERSIONS)}")
        if self.threat.norm == "l2_token":
            raise ConfigError("AutoAttack supports l2 and linf, not l2_token; use PGD with restarts")

    def check_fits(self, classes: int, height: int, *, called: str, subject: str) -> None:
        """Raise ConfigError if it cannot attack `subject`, of so many classes and rows of pixels, with this version.

        `called` is the attack's name for the reader of the error.
        """
        fewest, most = (2, FEW_CLASSES) if self.version == "few-classes" else (FEW_CLASSES + 1, math.inf)
        if classes < fewest:
            raise ConfigError(f"{called} needs at least {fewest} classes, and {subject} has {classes}; use few-classes")
        if classes > most:
            raise ConfigError(f"{called} is for at most {most} classes, and {subject} has {classes}; use autoattack")
        if self.threat.norm == "l2" and self.version != "apgd" and height < SQUARE_ROWS:
            raise ConfigError(
                f"Square, a part of {called}, needs images of at least {SQUARE_ROWS} rows in l2, not {height}; "
                "use pgd-50x10"
            )

    @property
    def name(self) -> str:
        """Short name for tables."""
        return _VERSIONS[self.version]

    @property
    def passes(self) -> int:
        """Forward and backward passes per image, at most; fewer if it succeeds early."""
        return {"standard": 5000, "apgd": 1000, "few-classes": 3600}[self.version]

    @property
    def margin_pgd(self) -> Attack:
        """PGD on the margin, the part of "few-classes" that replaces APGD-T: with two classes their gradients agree."""
        return pgd_attack(self.threat.norm, self.threat.eps, steps=self.steps, restarts=10, loss="margin")


@dataclass(frozen=True, kw_only=True)
class FunctionAttack:
    """An untargeted attack of one's own: a function, whose images are verified (see `attacks.functions`)."""

    threat: ThreatModel
    """Images that the adversary may reach."""
    function: str = field(metadata=FUNCTIONS.names)
    """Name under which the function is registered; also the name in tables."""
    restarts: ClassVar[int] = 1
    """Runs of the function on an image."""
    replaces_words: ClassVar[Literal[False]] = False
    """Whether it needs the words of the dataset."""

    def __post_init__(self) -> None:
        FUNCTIONS.named(self.function)

    @property
    def name(self) -> str:
        """Short name for tables."""
        return self.function

    @property
    def passes(self) -> int:
        """Forward and backward passes per image, at most, as its author says."""
        return FUNCTIONS[self.function].passes

    @property
    def steps(self) -> int:
        """The same, for tables."""
        return self.passes


AnyAttack = Attack | AutoAttack | FunctionAttack | Substitution
"""Attack that measures robust accuracy."""
InBall = Attack | AutoAttack | FunctionAttack
"""The same, within a ball."""

FEW_CLASSES = 3
"""Most classes of a model that APGD-T cannot attack."""
SQUARE_ROWS = 5
"""Least height of an image that the library's Square starts from in l2: its first tiles are a fifth of it."""
_VERSIONS = {"standard": "autoattack", "apgd": "apgd-ce+t", "few-classes": "apgd-ce+margin+square"}
"""Versions of `AutoAttack`, with their names in tables."""

"""Parameters of a planted set: the norm of each part, how predictive it is, and which part the label follows."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from nrf_ray.data.planted.odds import Odds
from nrf_ray.errors import ConfigError, lookup

Modality = Literal["image", "colour", "text"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)

Label = Literal["human", "noise", "both", "conflict"]
"""Part that the label follows: the human part alone; the noise part alone; both, which then agree; or the noise part,
while the human part always shows another class."""
LABELS: tuple[Label, ...] = get_args(Label)

MAX_CLASSES = 8
MAX_ROWS = 2**20


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Properties of all sets of one modality."""

    called: str
    """Name of its examples, in the plural."""
    reads: Literal["images", "texts"]
    """Input of a network for it."""
    shape: tuple[int, int, int]
    """Channels, height, width; for a text 1, words, coordinates of a word's vector."""
    human: float
    """Default norm of the human part."""
    noise: float
    """Default norm of the noise part; over all words of a text it is at most .25, as in an image."""
    max_human: float
    """Largest norm of the human part; a larger part would leave the box [0, 1]."""
    max_noise: float
    """Largest norm of the noise part; a larger part would leave the box [0, 1], or no longer be noise."""
    of: str
    """Object whose norm is meant: the image, or each word's vector."""


GREY = Kind(
    called="images",
    reads="images",
    shape=(1, 16, 16),
    human=4.0,
    noise=0.25,
    max_human=4.5,
    max_noise=1.0,
    of="the image",
)
WORDS = Kind(
    called="texts",
    reads="texts",
    shape=(1, 10, 32),
    human=1.5,
    noise=0.075,
    max_human=2.0,
    max_noise=0.5,
    of="each word's vector",
)
KINDS: dict[str, Kind] = {
    "image": GREY,
    "colour": replace(GREY, called="colour images", shape=(3, 16, 16), human=5.5, max_human=5.6),
    "text": WORDS,
}
"""Properties of each modality, by name."""


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A planted set; equal values give the same bytes on every machine. `planted` fills in the defaults."""

    modality: Modality
    """image, colour or text."""
    label: Label
    """Part that the label follows; the default of `p_human` and `p_noise` depends on it."""
    classes: int
    """Number of classes k, 2 to 8."""
    human: float
    """l2 norm of the human part, of an image or of each word's vector; 0 for none."""
    noise: float
    """l2 norm of the noise part, of an image or of each word's vector; 0 for none."""
    p_human: float
    """Probability that the human part shows the label; otherwise it shows any other class with equal probability."""
    p_noise: float
    """Probability that the noise part shows the label; otherwise it shows any other class with equal probability."""
    correlation: float = 0.0
    """Correlation of "the human part shows the label" and "the noise part shows the label" over examples."""
    train: int = 2000
    """Training examples."""
    test: int = 500
    """Test examples."""
    seed: int = 0
    """Base random seed."""

    def __post_init__(self) -> None:
        for name in ("human", "noise", "p_human", "p_noise", "correlation"):
            object.__setattr__(self, name, float(getattr(self, name)) + 0.0)  # -0 is 0, also in the digest
        self._check_norms()
        _ = self.odds  # raises for impossible odds
        for name, least, most in (
            ("train", self.classes, MAX_ROWS),
            ("test", self.classes, MAX_ROWS),
            ("seed", 0, 2**63 - 1),
        ):
            if not least <= getattr(self, name) <= most:
                raise ConfigError(f"{name} of a planted set must be from {least} to {most}, not {getattr(self, name)}")

    @property
    def kind(self) -> Kind:
        """Properties of its modality."""
        return KINDS[self.modality]

    @property
    def odds(self) -> Odds:
        """Probabilities that the parts show the label."""
        return Odds(classes=self.classes, p_human=self.p_human, p_noise=self.p_noise, correlation=self.correlation)

    def _check_norms(self) -> None:
        kind = self.kind
        for name, most in (("human", kind.max_human), ("noise", kind.max_noise)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ConfigError(
                    f"{name}={value:g} is out of range; the norm of the {name} part of planted {kind.called} is from "
                    f"0 to {most:g} over {kind.of}, since values are in [0, 1]"
                )
        if self.human == self.noise == 0:
            raise ConfigError("a planted set with human=0 and noise=0 shows nothing; give one part a norm above 0")
        for part, others in (("human", "noise"), ("noise", "human")):
            if self.label == part and getattr(self, part) == 0:
                raise ConfigError(
                    f"label={part} follows the {part} part, which is missing ({part}=0); give it a norm above 0, or "
                    f"choose label={others}"
                )


def planted(modality: str, *, label: str = "human", classes: int = 4, **given: float) -> Planted:
    """Return the planted set with these parameters; parameters that are not `given` have their defaults.

    With `label` human or noise, that part always shows the label and the other part shows any class. With both, both
    parts show the label. With conflict, the noise part shows the label and the human part shows any other class.
    """
    kind = lookup(KINDS, modality, "planted modality")
    lookup(dict.fromkeys(LABELS), label, "label of a planted set")
    if not 2 <= classes <= MAX_CLASSES:
        raise ConfigError(f"a planted set has 2 to {MAX_CLASSES} classes, not {classes}")
    by_chance = 1 / classes
    p_human, p_noise = {
        "human": (1.0, by_chance),
        "noise": (by_chance, 1.0),
        "both": (1.0, 1.0),
        "conflict": (0.0, 1.0),
    }[label]
    usual = {"human": kind.human, "noise": kind.noise, "p_human": p_human, "p_noise": p_noise}
    return Planted(modality=modality, label=label, classes=classes, **{**usual, **given})  # type: ignore[arg-type]

"""What a planted set is: how large and how predictive each part is, and which of them the label goes by."""

from dataclasses import dataclass, replace
from typing import Literal, get_args

from nrf_ray.data.planted.odds import Odds
from nrf_ray.errors import ConfigError, lookup

Modality = Literal["image", "colour", "text"]
MODALITIES: tuple[Modality, ...] = get_args(Modality)

Label = Literal["human", "noise", "both", "conflict"]
"""What the label goes by: the human part alone; the noise part alone; both, which then agree; or the noise part, while
the human part always shows another class."""
LABELS: tuple[Label, ...] = get_args(Label)

MAX_CLASSES = 8
MAX_ROWS = 2**20


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is the same in all sets of one modality."""

    called: str
    """What its examples are called, in the plural."""
    reads: Literal["images", "texts"]
    """What a network for it reads."""
    shape: tuple[int, int, int]
    """Channels, height, width; of a text 1, words, coordinates of a word's vector."""
    human: float
    """Default norm of the human part."""
    noise: float
    """Default norm of the noise part; in all words of a text together it is .25 at most, as in an image."""
    max_human: float
    """A larger human part would leave the box [0, 1]."""
    max_noise: float
    """A larger noise part would leave the box [0, 1], or be no noise any more."""
    of: str
    """What the norms are of."""


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
"""The modalities."""


@dataclass(frozen=True, kw_only=True)
class Planted:
    """A planted set; equal values are the same bytes on every machine. `planted` fills in what is usual."""

    modality: Modality
    """image, colour or text."""
    label: Label
    """What the label goes by, which decided `p_human` and `p_noise` unless they were given."""
    classes: int
    """Number of classes k, 2 to 8."""
    human: float
    """l2 norm of the human part, of an image or of each word's vector; 0 for none."""
    noise: float
    """l2 norm of the noise part, of an image or of each word's vector; 0 for none."""
    p_human: float
    """Share of examples whose human part shows the label; the others show any other class alike."""
    p_noise: float
    """The same for the noise part."""
    correlation: float = 0.0
    """Correlation of "the human part shows the label" and "the noise part shows the label" over examples."""
    train: int = 2000
    """Training examples."""
    test: int = 500
    """Test examples."""
    seed: int = 0
    """Decides every draw."""

    def __post_init__(self) -> None:
        for name in ("human", "noise", "p_human", "p_noise", "correlation"):
            object.__setattr__(self, name, float(getattr(self, name)) + 0.0)  # -0 is 0, also in the digest
        self._check_norms()
        _ = self.odds  # refuses odds that cannot be
        for name, least, most in (
            ("train", self.classes, MAX_ROWS),
            ("test", self.classes, MAX_ROWS),
            ("seed", 0, 2**63 - 1),
        ):
            if not least <= getattr(self, name) <= most:
                raise ConfigError(f"{name} of a planted set is from {least} to {most}, not {getattr(self, name)}")

    @property
    def kind(self) -> Kind:
        """What all sets of its modality have in common."""
        return KINDS[self.modality]

    @property
    def odds(self) -> Odds:
        """How often the parts show the label."""
        return Odds(classes=self.classes, p_human=self.p_human, p_noise=self.p_noise, correlation=self.correlation)

    def _check_norms(self) -> None:
        kind = self.kind
        for name, most in (("human", kind.max_human), ("noise", kind.max_noise)):
            value = getattr(self, name)
            if not 0 <= value <= most:
                raise ConfigError(
                    f"{name}={value:g} is no norm of the {name} part of planted {kind.called}: it is from 0 to "
                    f"{most:g} over {kind.of}, since values lie in [0, 1]"
                )
        if self.human == self.noise == 0:
            raise ConfigError("a planted set with human=0 and noise=0 shows nothing; give one part a norm above 0")
        for part, others in (("human", "noise"), ("noise", "human")):
            if self.label == part and getattr(self, part) == 0:
                raise ConfigError(
                    f"label={part} goes by a {part} part that is not there ({part}=0); give it a norm above 0, or "
                    f"choose label={others}"
                )


def planted(modality: str, *, label: str = "human", classes: int = 4, **given: float) -> Planted:
    """Return the planted set of these parameters, the usual ones where none are `given`.

    By `label` human and noise one part always shows the label and the other shows any class; by both they both do; by
    conflict the noise part does and the human part shows any other class.
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

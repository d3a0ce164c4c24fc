"""MODEL: how people name a model that was not trained by a grid. The grammar alone, without torch.

`FORMS` has the forms. Behind a name, `#` and comma-separated choices (`CHOICES`) say what the name leaves open.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from nrf_ray.errors import ConfigError, check_text
from nrf_ray.models.catalogue import TIMM, TORCHVISION

FILE, HUB, ROBUSTBENCH = "file:", "hf:", "robustbench:"
FORMS: dict[str, str] = {
    "KEY": "a model of the store, by a prefix of its key",
    f"{FILE}PATH[#arch=NAME,weights=ema,mean=M,std=S]": "weights, which nrf_ray's own files explain themselves",
    f"{HUB}REPO[@REVISION]": "a model of the Hugging Face hub, in this machine's cache",
    f"{TIMM}NAME": "a pretrained network of timm, whose weights are on this machine",
    f"{TORCHVISION}NAME": "a pretrained network of torchvision, likewise",
    f"{ROBUSTBENCH}ENTRY=PATH": "your file of an entry of RobustBench, such as l2/Engstrom2019Robustness",
}
"""Every form of a model's name that a sweep takes, with its meaning."""
CHOICES: dict[str, str] = {
    "arch": "architecture, as in --arch",
    "weights": "which set of weights a checkpoint with several is to give, as in weights=ema",
    "mean": "normalisation: mean per channel, as in 0.49:0.48:0.45, or one number for all; pixels are from 0 to 1",
    "std": "normalisation: standard deviation, likewise",
    "norm": "norm of the ball of its adversarial training",
    "eps": "radius of that ball; without it, the model counts as trained in the standard way",
}
"""Choices behind `#`, with their meaning."""
MEANT = f"{'; '.join(f'{form}: {meaning}' for form, meaning in FORMS.items())}. Choices behind #: " + "; ".join(
    f"{name}: {meaning}" for name, meaning in CHOICES.items()
)
"""Help text of a flag or an argument that takes such names."""
_CONTINUED = re.compile(rf"({'|'.join(CHOICES)})=")
_KEY = re.compile("[0-9a-fA-F]{1,64}")


@dataclass(frozen=True, kw_only=True)
class ModelName:
    """A parsed name of a model."""

    text: str
    """Name as it was given."""
    form: str
    """Prefix of its form, such as `file:`; empty for a key."""
    subject: str
    """What follows the prefix: a path, a name, a key."""
    choices: Mapping[str, str] = field(default_factory=dict)
    """Choices behind `#`, by name."""

    def numbers(self, choice: str) -> tuple[float, ...]:
        """Return the numbers of a choice, separated by colons; empty if it was not made."""
        text = self.choices.get(choice, "")
        try:
            return tuple(float(Fraction(part)) for part in text.split(":")) if text else ()
        except (ValueError, ZeroDivisionError, OverflowError) as error:
            raise ConfigError(f"{self.text}: {choice}={text} must be a number, or several with colons") from error

    def without(self, *choices: str) -> None:
        """Raise ConfigError if one of `choices` was made, which a name of this form says itself."""
        for choice in choices:
            if choice in self.choices:
                raise ConfigError(f"{self.text}: {self.form or 'KEY'} says {choice} itself; leave {choice}= out")


def parse_model(text: str) -> ModelName:
    """Return the parsed name, or raise ConfigError with the forms."""
    check_text(text, "the model")
    form = next((one for one in (FILE, HUB, TIMM, TORCHVISION, ROBUSTBENCH) if text.startswith(one)), "")
    body = text.removeprefix(form)
    subject, chosen = _split(body)
    if not subject or (not form and not _KEY.fullmatch(subject)):
        raise ConfigError(f"{text!r} is not a model; write {', '.join(FORMS)}")
    if form == ROBUSTBENCH and not all(subject.partition("=")):
        raise ConfigError(f"{text} names no file; write {ROBUSTBENCH}ENTRY=PATH, and download the file by RobustBench")
    return ModelName(text=text, form=form, subject=subject, choices=_choices(text, chosen))


def split_models(text: str | None) -> tuple[str, ...]:
    """Return the names in a comma-separated list; a part that begins with a choice belongs to the name before it."""
    names: list[str] = []
    for part in (text or "").split(","):
        if names and _CONTINUED.match(part.strip()):
            names[-1] += f",{part.strip()}"
        elif part.strip():
            names.append(part.strip())
    return tuple(names)


def _split(body: str) -> tuple[str, str]:
    """Return what comes before the choices, and the choices; any other # belongs to a path."""
    subject, mark, chosen = body.rpartition("#")
    return (subject, chosen) if mark and _CONTINUED.match(chosen) else (body, "")


def _choices(text: str, chosen: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, chosen.split(",")):
        name, _, value = part.partition("=")
        if name not in CHOICES or not value:
            raise ConfigError(f"{text}: {part!r} is not a choice; write {', '.join(f'{name}=...' for name in CHOICES)}")
        if name in found:
            raise ConfigError(f"{text} says {name} twice; say it once")
        found[name] = value
    if ("norm" in found) != ("eps" in found):
        raise ConfigError(f"{text} says only one of norm and eps; the ball of an adversarial training has both")
    return found

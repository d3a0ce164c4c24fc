"""How files of images or texts are named on the command line.

    fashion-mnist                      a known set, in one of its default places
    cifar10:~/data/cifar10             a known set in a place of your own
    parquet:cells.parquet[:5000,:500]  5000 training and 500 test rows of any set
    tensors:robust_CIFAR@cifar10       the training set of one, the test set of another
    text-csv:reviews.csv               texts, embedded as `data.embeddings` learns it from the training texts
    text-csv:reviews.csv#hf:NAME       texts as the encoder NAME cuts and embeds them: a folder, a package, or a hub's

    folder:birds[classes=number]       class folders called by numbers, in the order of those ([classes=text]: of text)
    folder:tubes[splits=none]          no name of a folder or file stands for a split
    parquet:cifar100[label=fine_label] labels from another column than `label`

`[:N]` keeps N training rows and `[:N,:M]` M test rows too. They are drawn by one fixed permutation of each split, since
files are often sorted by class; so [:1000] is a part of [:2000]. A path cannot have a comma, which parts a list.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from nrf_ray.data.encoders import PREFIX, encoder_embedding
from nrf_ray.data.formats import FORMATS
from nrf_ray.data.outline import AS_IS, NONE, NUMBER, TEXT, Choices, Format
from nrf_ray.data.planted import SETS
from nrf_ray.errors import ConfigError, check_text, expanded, lookup

BUILT_IN = "digits"
"""The one set that comes with a package; see `catalogue`."""

KEEP = re.compile(r"\[:(\d+)(?:,:(\d+))?\]$")
CHOICE = re.compile(r"\[(\w+)=([^\[\],]*)\]$")
VALUES = {"classes": (NUMBER, TEXT), "splits": (NONE,)}
"""Values that a choice may have; a label is any name of a column."""
EMBEDDING = "#"
"""Begins the name of an embedding in a title."""
ENCODER_MARK = f"{EMBEDDING}{PREFIX}"
"""Begins the name of an encoder behind a path; any other # belongs to the path."""
TEST = re.compile(rf"@(?=(?:{'|'.join(map(re.escape, FORMATS))})(?::|$))")


@dataclass(frozen=True, kw_only=True)
class Files:
    """One kind of files in one place."""

    kind: str
    """Name of the format."""
    path: Path
    """Absolute."""
    encoder: str = ""
    """Name of the encoder that embeds texts; empty for images, and for the embedding that is learnt from the texts."""
    choices: Choices = AS_IS
    """How they are read, as far as the name says it."""

    @property
    def format(self) -> Format:
        """How they are read."""
        form = FORMATS[self.kind]
        form = form.chosen_by(self.choices) if self.choices != AS_IS and form.chosen_by else form
        return form.embedded_by(encoder_embedding(self.encoder)) if self.encoder and form.embedded_by else form

    @property
    def location(self) -> str:
        """The name that means these files on every machine that has them in the same place."""
        encoder = f"{EMBEDDING}{PREFIX}{self.encoder}" if self.encoder else ""
        return f"{self.kind}:{self.path}{encoder}{self.choices}"

    @property
    def title(self) -> str:
        """A name for tables, without a path. What sets were before one could choose how to read them is not in it."""
        order = self.choices.classes if self.choices.classes != TEXT else ""
        said = str(Choices(classes=order, label=self.choices.label))
        if self.format.known:
            return self.kind + said
        stem = re.sub(r"[^\w.-]+", "-", self.path.stem if self.path.is_file() else self.path.name)
        title = f"{self.kind}-{stem}" if stem in {BUILT_IN, *FORMATS} else stem
        return title + (f"{EMBEDDING}{Path(self.encoder).name}" if self.encoder else "") + said


@dataclass(frozen=True, kw_only=True)
class Name:
    """What a name of files means."""

    train: Files
    """The training split comes from here."""
    test: Files | None
    """The test split comes from here; None where it comes with the training split."""
    keep: tuple[int | None, int | None] = (None, None)
    """How many training and test rows to keep; None for all."""

    @property
    def location(self) -> str:
        """The name in full, with absolute paths."""
        return "@".join(files.location for files in (self.train, self.test) if files) + self._kept()

    @property
    def title(self) -> str:
        """The name in tables, without a path."""
        return "@".join(files.title for files in (self.train, self.test) if files) + self._kept()

    def _kept(self) -> str:
        if self.keep == (None, None):
            return ""
        return f"[{','.join(f':{count}' for count in self.keep if count is not None)}]"


def parse_name(text: str) -> Name:
    """Return what `text` means, or raise ConfigError that says which names there are or where nothing was found."""
    kept = KEEP.search(text)
    whole = text[: kept.start()] if kept else text
    counts = tuple(None if count is None else int(count) for count in kept.groups()) if kept else (None, None)
    if 0 in counts:
        raise ConfigError(f"dataset {text!r} keeps no rows; leave the brackets out to keep all")
    ends = [*TEST.finditer(whole)]
    train, test = (whole[: ends[-1].start()], whole[ends[-1].end() :]) if ends else (whole, None)
    name = Name(train=_files(train), test=_files(test) if test else None, keep=(counts[0], counts[1]))
    if name.test and name.test.encoder:
        raise ConfigError(
            f"dataset {text!r} embeds its test texts in another way; name the embedding before the @ alone"
        )
    return name


def split_names(text: str) -> list[str]:
    """Return the names in a list by comma; a comma in brackets belongs to its name."""
    return [part.strip() for part in re.split(r",(?![^\[\]]*\])", text) if part.strip()]


def _choices(text: str) -> tuple[str, Choices]:
    """Return `text` without the choices at its end, and the choices."""
    found: dict[str, str] = {}
    whole = text
    while match := CHOICE.search(text):
        name, value = match.groups()
        if name not in Choices.__dataclass_fields__:
            if Path(text.partition(":")[2]).expanduser().exists():
                break
            lookup(Choices.__dataclass_fields__, name, f"choice in {whole!r}")
        if name in found:
            raise ConfigError(f"dataset {whole!r} says twice what {name} are; leave one")
        if not value or value not in VALUES.get(name, (value,)):
            values = " or ".join(f"[{name}={known}]" for known in VALUES.get(name, ("COLUMN",)))
            raise ConfigError(f"dataset {whole!r} says [{name}={value}]; write {values}")
        found[name], text = value, text[: match.start()]
    if found.get("label") == "label":  # as without it
        del found["label"]
    return text, Choices(**found)


def _check_choices(text: str, kind: str, choices: Choices) -> None:
    """Raise ConfigError where files of this kind have no use for one of `choices`."""
    heeded = FORMATS[kind].choices
    other = next((name for name, value in vars(choices).items() if value and name not in heeded), None)
    if other:
        known = f"; it takes {', '.join(f'[{name}=...]' for name in heeded)}" if heeded else ""
        raise ConfigError(f"dataset {text!r}: {kind} has no use for [{other}=...]{known}; leave it out")


def _files(text: str) -> Files:
    whole = text
    text, choices = _choices(text)
    text, mark, encoder = text.partition(ENCODER_MARK)
    kind, colon, path = text.partition(":")
    if kind == BUILT_IN:
        raise ConfigError(
            f"dataset {kind} is not made of files: it takes no path, no rows and no other set behind an @"
        )
    listed = {name: form for name, form in FORMATS.items() if form.listed}
    form = FORMATS.get(kind) or lookup({BUILT_IN: None, **listed, **dict.fromkeys(SETS)}, text, "dataset")
    assert form, "what is built in is handled above"
    _check_choices(whole, kind, choices)
    if mark and Path(whole.partition(":")[2]).exists():
        raise ConfigError(
            f"dataset {whole}: {mark} in its path begins the name of an encoder; give the path another name"
        )
    if mark and (form.embedding is None or not encoder):
        raise ConfigError(f"dataset {whole}: behind {EMBEDDING} stands {PREFIX}NAME, and only for texts")
    if path:
        found = expanded(path).absolute()
        check_text(str(found), "the path")
        if not found.exists():
            hint = f" (behind {EMBEDDING} stands {PREFIX}NAME, and only for texts)" if EMBEDDING in path else ""
            raise ConfigError(f"there is nothing at {found}, where dataset {kind} should be{hint}")
        local = expanded(encoder).absolute()
        named = str(local) if encoder and local.is_dir() else encoder
        return Files(kind=kind, path=found, encoder=named, choices=choices)
    if colon or not form.places:
        raise ConfigError(f"dataset {kind} needs a path: write it as {kind}:PATH")
    places = [place() for place in form.places]
    for place in places:
        if place.exists():
            return Files(kind=kind, path=place, choices=choices)
    raise ConfigError(
        f"dataset {kind} is not on this machine: nothing at {' or '.join(map(str, places))}; {form.remedy}, or say "
        f"where it is as {kind}:PATH"
    )

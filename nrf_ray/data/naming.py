"""Names of files of images or texts on the command line.

    fashion-mnist                      a known set, in one of its default folders
    cifar10:~/data/cifar10             a known set in a folder of your own
    parquet:cells.parquet[:5000,:500]  5000 training and 500 test rows of any set
    tensors:robust_CIFAR@cifar10       the training set of one, the test set of another
    text-csv:reviews.csv               texts, with word vectors learnt from the training texts (`data.embeddings`)
    text-csv:reviews.csv#hf:NAME       texts with an encoder's tokens and vectors: a folder, a package or a hub name

    torchvision:SVHN                   a set of torchvision, with the files that it has downloaded
    torchvision:SVHN=~/data            the same, with the root that torchvision was given
    hf:ylecun/mnist                    a set in the cache of Hugging Face's `datasets`; hf:NAME:CONFIG names its form
    hf:~/saved                         a folder that `datasets` wrote

    folder:birds[classes=number]       class folders named by numbers, in numerical order ([classes=text]: text order)
    folder:tubes[splits=none]          no name of a folder or file stands for a split
    parquet:cifar100[label=fine_label] labels from another column than `label`
    folder:photos[size=64,crop=center] pictures of any size, as squares of 64 x 64 pixels

`[:N]` selects N training rows and `[:N,:M]` also M test rows. They are drawn by one fixed permutation of each split,
since files are often sorted by class; so [:1000] is a part of [:2000]. A path cannot have a comma, which separates
names in a list.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

from nrf_ray.data.encoders import PREFIX, encoder_embedding
from nrf_ray.data.formats import FORMATS
from nrf_ray.data.outline import AS_IS, CENTER, MAX_SIDE, NONE, NUMBER, TEXT, Choices, Format
from nrf_ray.data.planted import SETS
from nrf_ray.errors import ConfigError, check_text, expanded, lookup
from nrf_ray.plugins import plugin_of

BUILT_IN = "digits"
"""The only set that comes with a Python package; see `catalogue`."""

KEEP = re.compile(r"\[:(\d+)(?:,:(\d+))?\]$")
CHOICE = re.compile(r"\[(\w+=[^\[\],]*(?:,\w+=[^\[\],]*)*)\]$")
VALUES = {"classes": (NUMBER, TEXT), "splits": (NONE,), "crop": (CENTER, NONE)}
"""Possible values of each choice; a label may be the name of any column, and a size is a number."""
EMBEDDING = "#"
"""Prefix of the name of an embedding in a title."""
ENCODER_MARK = f"{EMBEDDING}{PREFIX}"
"""Prefix of the name of an encoder behind a path; any other # belongs to the path."""
LOCAL = ("/", "./", "../", "~")
"""Beginnings of a path where the name of a set of a library may stand too."""
FORMATS.reserve(BUILT_IN, *SETS, "published", "pushed")


@dataclass(frozen=True, kw_only=True)
class Files:
    """Files of one format at one path."""

    kind: str
    """Name of the format."""
    path: Path
    """Absolute path."""
    subject: str = ""
    """Name of the set within a library, if the format is a library (`Format.named_by`)."""
    encoder: str = ""
    """Name of the encoder that embeds texts; empty for images, and for the embedding that is learnt from the texts."""
    choices: Choices = AS_IS
    """Choices in brackets behind the path."""

    @property
    def format(self) -> Format:
        """Format of the files, with encoder and choices."""
        form = FORMATS[self.kind]
        form = form.named_by(self.subject) if form.named_by else form
        form = form.chosen_by(self.choices) if self.choices != AS_IS and form.chosen_by else form
        return form.embedded_by(encoder_embedding(self.encoder)) if self.encoder and form.embedded_by else form

    @property
    def plugin(self) -> str:
        """Digest of the plug-in that registered the format; empty if the format is of this package."""
        found = plugin_of(FORMATS.origin(self.kind))
        return found.digest if found else ""

    @property
    def location(self) -> str:
        """Name that means these files on every machine that has them at the same path."""
        encoder = f"{EMBEDDING}{PREFIX}{self.encoder}" if self.encoder else ""
        return f"{self.kind}:{self.subject and f'{self.subject}='}{self.path}{encoder}{self.choices}"

    @property
    def title(self) -> str:
        """Name for tables, without a path. Choices that older versions made by default are left out."""
        order = self.choices.classes if self.choices.classes != TEXT else ""
        said = str(replace(self.choices, classes=order, splits=""))
        if self.format.known:
            return self.kind + said
        own = Path(self.subject).name or (self.path.stem if self.path.is_file() else self.path.name)
        stem = re.sub(r"[^\w.-]+", "-", own)
        title = f"{self.kind}-{stem}" if stem in {BUILT_IN, *FORMATS} else stem
        return title + (f"{EMBEDDING}{Path(self.encoder).name}" if self.encoder else "") + said


@dataclass(frozen=True, kw_only=True)
class Name:
    """A parsed name of files."""

    train: Files
    """Files of the training split."""
    test: Files | None
    """Files of the test split; None if it comes from the same files as the training split."""
    keep: tuple[int | None, int | None] = (None, None)
    """Number of training and test rows to select; None for all."""
    told: str = field(default="", compare=False)
    """Title on a machine that has the files; empty if this is such a machine."""

    @property
    def location(self) -> str:
        """Full name, with absolute paths."""
        return "@".join(files.location for files in (self.train, self.test) if files) + self._kept()

    @property
    def title(self) -> str:
        """Name in tables, without a path."""
        return self.told or "@".join(files.title for files in (self.train, self.test) if files) + self._kept()

    def _kept(self) -> str:
        if self.keep == (None, None):
            return ""
        return f"[{','.join(f':{count}' for count in self.keep if count is not None)}]"


def parse_name(text: str) -> Name:
    """Parse a name of files. The ConfigError for a wrong name lists the known names, or the paths without files."""
    kept = KEEP.search(text)
    whole = text[: kept.start()] if kept else text
    counts = tuple(None if count is None else int(count) for count in kept.groups()) if kept else (None, None)
    if 0 in counts:
        raise ConfigError(f"dataset {text!r} selects no rows; leave out the brackets to select all")
    ends = [*re.finditer(rf"@(?=(?:{'|'.join(map(re.escape, FORMATS))})(?::|$))", whole)]
    if kept or ends or CHOICE.search(text) or ENCODER_MARK in text:
        _check_plain(text)
    train, test = (whole[: ends[-1].start()], whole[ends[-1].end() :]) if ends else (whole, None)
    name = Name(train=_files(train), test=_files(test) if test else None, keep=(counts[0], counts[1]))
    if name.test and name.test.encoder:
        raise ConfigError(f"dataset {text!r} embeds its test texts in another way; write #hf:NAME before the @ only")
    return name


def _check_plain(text: str) -> None:
    """Raise ConfigError if there are files whose path is all of `text` behind the format, brackets and @ included."""
    kind, _, path = text.partition(":")
    choice = CHOICE.search(path)
    other = choice and not {name for name, _ in _pairs(choice)} <= {*Choices.__dataclass_fields__}
    if kind in FORMATS and path and not other and expanded(path).exists():
        raise ConfigError(
            f"dataset {text}: the end of its path means a choice, a number of rows, another set or an encoder; give "
            "the path another name"
        )


def split_names(text: str) -> list[str]:
    """Return the names in a comma-separated list; a comma in brackets belongs to its name."""
    return [part.strip() for part in re.split(r",(?![^\[\]]*\])", text) if part.strip()]


def _choices(text: str) -> tuple[str, Choices]:
    """Split `text` into the name and the choices at its end."""
    found: dict[str, str] = {}
    whole = text
    while match := CHOICE.search(text):
        pairs = _pairs(match)
        other = next((name for name, _ in pairs if name not in Choices.__dataclass_fields__), None)
        if other:
            if expanded(text.partition(":")[2]).exists():
                break
            lookup(Choices.__dataclass_fields__, other, f"choice in {whole!r}")
        for name, value in pairs:
            if name in found:
                raise ConfigError(f"dataset {whole!r} gives [{name}=...] twice; give it once")
            _check_value(whole, name, value)
            found[name] = value
        text = text[: match.start()]
    if found.get("label") == "label":  # the default
        del found["label"]
    if "crop" in found and "size" not in found:
        raise ConfigError(
            f"dataset {whole!r} gives [crop={found['crop']}] without a size; write [size=64,crop={found['crop']}] for "
            "squares of 64 pixels"
        )
    if "size" in found:
        found.setdefault("crop", CENTER)
    return text, Choices(**found)


def _pairs(match: re.Match[str]) -> list[tuple[str, str]]:
    """Return name and value of each choice in the brackets that `CHOICE` has found."""
    return [(name, value) for name, _, value in (pair.partition("=") for pair in match[1].split(","))]


def _check_value(whole: str, name: str, value: str) -> None:
    """Raise ConfigError if the choice `name` in the dataset `whole` cannot have this value."""
    if name == "size":
        if re.fullmatch(r"[1-9]\d{0,3}", value, re.ASCII) and int(value) <= MAX_SIDE:
            return
        values = f"[size=64], or another side of 1 to {MAX_SIDE} pixels"
    elif value and value in VALUES.get(name, (value,)):
        return
    else:
        values = " or ".join(f"[{name}={known}]" for known in VALUES.get(name, ("COLUMN",)))
    raise ConfigError(f"dataset {whole!r} has the wrong choice [{name}={value}]; write {values}")


def _check_choices(text: str, kind: str, choices: Choices) -> None:
    """Raise ConfigError if one of `choices` does not apply to files of this kind."""
    heeded = FORMATS[kind].choices
    other = next((name for name, value in vars(choices).items() if value and name not in heeded), None)
    if other:
        known = f"; it takes {', '.join(f'[{name}=...]' for name in heeded)}" if heeded else ""
        raise ConfigError(f"dataset {text!r}: {kind} does not take [{other}=...]{known}; leave it out")


def _files(text: str) -> Files:
    whole = text
    text, choices = _choices(text)
    text, mark, encoder = text.partition(ENCODER_MARK)
    kind, colon, path = text.partition(":")
    if kind == BUILT_IN:
        raise ConfigError(
            f"dataset {kind} is not made of files; write {kind} alone, without a path, rows in brackets or another "
            "set behind an @"
        )
    listed = {name: form for name, form in FORMATS.items() if form.listed}
    form = FORMATS.get(kind) or lookup({BUILT_IN: None, **listed, **dict.fromkeys(SETS)}, text, "dataset")
    assert form, "what is built in is handled above"
    _check_choices(whole, kind, choices)
    written, subject = f"{kind}:", ""
    if form.named_by:
        subject, _, path = ("", "", path) if path.startswith(LOCAL) else path.partition("=")
        form, written = form.named_by(subject), f"{kind}:{subject}="
    if mark and (form.embedding is None or not encoder):
        raise ConfigError(f"dataset {whole}: write {EMBEDDING}{PREFIX}NAME behind the path, and only for texts")
    if path:
        found = expanded(path).absolute()
        check_text(str(found), "the path")
        if not found.exists():
            hint = f" (an encoder is written {EMBEDDING}{PREFIX}NAME, and only for texts)" if EMBEDDING in path else ""
            raise ConfigError(f"there is nothing at {found}, where dataset {kind} should be{hint}")
        local = expanded(encoder).absolute()
        named = str(local) if encoder and local.is_dir() else encoder
        return Files(kind=kind, path=found, subject=subject, encoder=named, choices=choices)
    if (colon and not subject) or not form.places:
        raise ConfigError(f"dataset {kind} needs a path: write it as {written}PATH")
    places = [place() for place in form.places]
    for place in places:
        if place.exists():
            return Files(kind=kind, path=place, subject=subject, choices=choices)
    raise ConfigError(
        f"dataset {kind}{subject and f':{subject}'} is not on this machine: nothing at "
        f"{' or '.join(map(str, places))}; {form.remedy}, or give its path as {written}PATH"
    )

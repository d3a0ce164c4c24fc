"""Sets of images that Hugging Face's `datasets` has on this machine: `hf:NAME`, `hf:NAME:CONFIG`, or `hf:PATH`.

The library keeps a set of the hub as Arrow files in its cache, in NAME/CONFIG/VERSION/DIGEST with `___` for a slash;
`hf:PATH` is such a folder, or one that `save_to_disk` wrote. The files are read as they are, without the library, and
have the columns of `parquet`. Splits whose names have no split word (`members`) are passed over, if others have one.
"""

import os
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nrf_ray.data.members import Member, check_shards, listed, split_in
from nrf_ray.data.outline import AS_IS, Choices, Format
from nrf_ray.data.readers import parquet
from nrf_ray.data.readers.arrow_stream import ENDING
from nrf_ray.errors import ConfigError, expanded

SAVED = re.compile(r"data-\d{5}-of-\d{5}\.arrow")
"""Name of a file that `save_to_disk` wrote, in a folder named by the split or, without splits, in that of the set."""
CACHED = re.compile(r"(?!cache-).*?-([\w.]+?)(?:-\d{5}-of-\d{5})?\.arrow")
"""Name of a file of the cache, which ends with the split."""
CHOICES = ("label", "size", "crop")
IN_CAPITALS = (re.compile(r"([A-Z]+)([A-Z][a-z])"), re.compile(r"([a-z\d])([A-Z])"))


def cache() -> Path:
    """Return the folder in which the library keeps sets."""
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return expanded(os.environ.get("HF_DATASETS_CACHE") or f"{home}/datasets").absolute()


def format_of(name: str, choices: Choices = AS_IS) -> Format:
    """Return the format of the set NAME or NAME:CONFIG in a cache; without a name, of the folder of a set."""
    source = partial(arrow_in, name=name)
    return Format(
        files=partial(parquet.files, source=source),
        outline=partial(parquet.outline, choices=choices, source=source),
        read=partial(parquet.read, choices=choices, source=source),
        places=(cache,) if name else (),
        remedy=f"run `nrf fetch hf:{name}`",
        splits=True,
        chosen_by=partial(format_of, name),
        choices=CHOICES,
        passed_over=partial(passed_over, name=name),
    )


def arrow_in(path: Path, *, name: str) -> Sequence[Member]:
    """Return the Arrow files of the set `name` in the cache at `path`, or of the set at `path` if there is no name."""
    return _files(path, name)[0]


def passed_over(path: Path, *, name: str) -> Sequence[str]:
    """Return the names of the Arrow files that are not read."""
    return _files(path, name)[1]


def _files(path: Path, name: str) -> tuple[list[Member], list[str]]:
    """Return the files that are read, with their splits as names, and the names of the others."""
    folder = _folder(path, name) if name else path
    if not folder.is_dir():
        raise ConfigError(f"{folder} is not a folder; hf:PATH is a folder that `datasets` wrote")
    found = sorted([*folder.glob(f"*{ENDING}"), *folder.glob(f"*/*{ENDING}")])
    split = {file: _split_name(folder, file) for file in found}
    told = any(split_in((name,)) for name in split.values() if name)
    ours = [file for file, name in split.items() if name is not None and (split_in((name,)) or not told)]
    if not ours:
        raise ConfigError(
            f"{folder} has no Arrow file of `datasets`; name a folder that its `save_to_disk` wrote, or a set in its "
            "cache as hf:NAME"
        )
    check_shards(map(str, ours))
    others = [file.relative_to(folder).as_posix() for file in found if file not in ours]
    return [Member(str(file), (f"{split[file]}{ENDING}",)) for file in ours], others


def _split_name(folder: Path, file: Path) -> str | None:
    """Return the name of the split of `file`, empty if it has none; None if `datasets` did not write it as rows."""
    if SAVED.fullmatch(file.name):
        return "" if file.parent == folder else file.parent.name
    cached = CACHED.fullmatch(file.name)
    return cached[1] if cached and file.parent == folder else None


def _folder(root: Path, name: str) -> Path:
    """Return the folder of the set NAME or NAME:CONFIG in the cache `root`."""
    repository, _, config = name.partition(":")
    owner, _, own = repository.rpartition("/")
    for pattern in IN_CAPITALS:
        own = pattern.sub(r"\1_\2", own)
    base = root / (f"{owner}___{own.lower()}" if owner else own.lower())
    kinds = sorted(folder.name for folder in base.glob("*") if folder.is_dir())
    ours = [kind for kind in kinds if not config or kind == config or kind.startswith(f"{config}-")]
    written = f"hf:{repository}"
    if not ours:
        has = f"it has the configurations {listed(kinds)}" if kinds else "nothing is there"
        raise ConfigError(f"{written}{config and f':{config}'} is not in {base}: {has}; run `nrf fetch {written}`")
    if len(ours) > 1:
        raise ConfigError(f"{base} has the configurations {listed(ours)}; name one, as in {written}:{ours[0]}")
    versions = sorted(file.parent for file in (base / ours[0]).glob("*/*/dataset_info.json"))
    if len(versions) != 1:
        raise ConfigError(
            f"{base / ours[0]} has {len(versions)} versions of {written}; name the folder of one, as hf:PATH, or run "
            f"`nrf fetch {written}` if there is none"
        )
    return versions[0]

"""The tokens and word vectors of a pretrained encoder, read from its folder without torch.

An encoder is a folder as transformers saves it: config.json, tokenizer.json, and weights as safetensors. Its name is
the folder's path, the name of an installed Python package that contains an encoder, or a name on the Hugging Face hub
whose files are in the local cache. Nothing is downloaded.
"""

import hashlib
import importlib.util
import json
import math
import struct
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from nrf_ray.data.embeddings import Embedding
from nrf_ray.data.words import Scaling, WordTable, table_of
from nrf_ray.errors import ConfigError, expanded

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PREFIX = "hf:"
FILES = ("config.json", "tokenizer.json", "model.safetensors")
TABLES = ("word_embeddings.weight", "embed_tokens.weight", "wte.weight", "tok_embeddings.weight")
"""Possible endings of the name of the table of word vectors in the weights."""
KINDS = {"F32": ("<f4", 4), "F16": ("<f2", 2)}
"""Types of vectors that are read: numpy's name and the bytes of a number."""
MAX_HEADER = 2**26
REACH = 0.4
"""Largest distance of 999 in 1000 coordinates from the centre of the box; coordinates outside the box are clipped."""
RULE = 1
"""Version of the rule that scales the table into the box."""


def encoder_embedding(name: str) -> Embedding:
    """Return the embedding called hf:`name`, or raise ConfigError if a file or a package is missing."""
    folder = encoder_folder(name)
    return Embedding(
        identity=f"{PREFIX}{RULE}:{_digest(folder, _stamp(folder))}",
        width=_table(folder).shape[1],
        tokenise=lambda text: tokens_of(folder, text),
        learn=lambda texts: read_table(folder),
    )


def encoder_folder(name: str) -> Path:
    """Return the folder of the encoder `name`: a path, a package, or the local cache of a name on the hub."""
    path = expanded(name).absolute()
    if path.is_dir():
        return _checked(path)
    if spec := _package(name):
        for place in sorted(spec.rglob("config.json")):
            if (place.parent / FILES[1]).is_file():
                return _checked(place.parent)
        raise ConfigError(f"the package {name} contains no encoder: no folder in it has {' and '.join(FILES)}")
    if importlib.util.find_spec("huggingface_hub") is None:
        raise ConfigError(f"{PREFIX}{name} is not a folder; a name on the hub needs pip install 'nrf_ray[text]'")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return _checked(Path(snapshot_download(name, local_files_only=True)))
    except (LocalEntryNotFoundError, HFValidationError) as error:
        raise ConfigError(
            f"{PREFIX}{name} is neither a folder nor a package nor in this machine's cache of the hub, and no run "
            f"downloads anything; if there is a network, run `hf download {name}` first, or name a folder"
        ) from error


def _package(name: str) -> Path | None:
    """Return the folder of the installed package `name`, or None if there is no such package."""
    try:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
    except ValueError:  # a module that was started rather than imported
        return None
    return Path(spec.submodule_search_locations[0]) if spec and spec.submodule_search_locations else None


def tokens_of(folder: Path, text: str) -> list[str]:
    """Return the tokens of `text`, with the special tokens that the encoder's tokenizer adds."""
    tokens: list[str] = _tokenizer(folder, _stamp(folder)).encode(text).tokens
    return tokens


def read_table(folder: Path) -> WordTable:
    """Return the words of the encoder with their vectors, centred and scaled into the box by one factor."""
    import numpy as np

    vocabulary: dict[str, int] = _tokenizer(folder, _stamp(folder)).get_vocab(with_added_tokens=True)
    words = sorted(vocabulary, key=lambda word: vocabulary[word])
    table = _vectors(folder)
    if [vocabulary[word] for word in words] != list(range(len(words))) or len(words) > len(table):
        raise ConfigError(
            f"{folder} has {len(table)} vectors, and a tokenizer whose {len(words)} words do not match them"
        )
    table = table[: len(words)]
    centre = table.mean(axis=0)
    spread = REACH / float(np.quantile(np.abs(table - centre), 0.999))
    scaling = Scaling(tuple((0.5 - spread * centre).tolist()), (spread,) * table.shape[1])
    return table_of(words, table, scaling)


def _checked(folder: Path) -> Path:
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"the encoder in {folder} has no {' and no '.join(missing)}; save encoder and tokenizer with "
            "save_pretrained"
        )
    return folder


def _stamp(folder: Path) -> tuple[tuple[int, int], ...]:
    return tuple(((folder / name).stat().st_size, (folder / name).stat().st_mtime_ns) for name in FILES)


@lru_cache(maxsize=4)
def _digest(folder: Path, stamp: object) -> str:
    del stamp
    whole = hashlib.sha256()
    for name in FILES:
        with (folder / name).open("rb") as file:
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return whole.hexdigest()


@lru_cache(maxsize=4)
def _tokenizer(folder: Path, stamp: object) -> Any:
    del stamp
    if importlib.util.find_spec("tokenizers") is None:
        raise ConfigError("the tokenizer of an encoder needs the package tokenizers: pip install 'nrf_ray[text]'")
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # the library raises plain Exception
        raise ConfigError(f"{folder}/tokenizer.json cannot be read: {error}") from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


class _Table(NamedTuple):
    """Location of the word vectors in a file of weights."""

    kind: str
    """numpy's name of their type."""
    shape: tuple[int, int]
    """Number of words, and of coordinates of each."""
    begin: int
    """Offset of their first byte in the file."""


def _table(folder: Path) -> _Table:
    """Return the location of the word vectors, or raise ConfigError if the table is missing or incomplete."""
    file = folder / "model.safetensors"
    with file.open("rb") as opened:
        (size,) = struct.unpack("<Q", opened.read(8).ljust(8, b"\0"))
        try:
            header = json.loads(opened.read(size)) if 0 < size <= MAX_HEADER else {}
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{file} is not a safetensors file: {error}") from error
    named = header.items() if isinstance(header, dict) else ()
    found = [entry for name, entry in named if name.endswith(TABLES)]
    if len(found) != 1:
        raise ConfigError(f"{file} has {len(found)} tables of words ({', '.join(TABLES)}); exactly one is expected")
    match found[0]:
        case {"dtype": str(name), "shape": [int(words), int(width)], "data_offsets": [int(first), int(last)]}:
            if name not in KINDS:
                raise ConfigError(f"the table of words in {folder} is {name}; {' and '.join(KINDS)} are read")
            kind, item = KINDS[name]
            if not (words > 0 and width > 0 and first >= 0 and last - first == words * width * item):
                raise ConfigError(f"{file} says that {words} x {width} vectors of {name} take {last - first} bytes")
            if 8 + size + last > file.stat().st_size:
                raise ConfigError(
                    f"{file} ends before its table of words does: it has {file.stat().st_size} bytes of at least "
                    f"{8 + size + last}; download it again"
                )
            return _Table(kind, (words, width), 8 + size + first)
    raise ConfigError(f"{file} does not say what its table of words is: {found[0]!r:.80}")


def _vectors(folder: Path) -> "npt.NDArray[np.float64]":
    import numpy as np

    kind, shape, begin = _table(folder)
    return np.fromfile(folder / "model.safetensors", kind, math.prod(shape), offset=begin).reshape(shape).astype(float)

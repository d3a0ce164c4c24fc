"""The files of sweeps/cluster/ and the commands in the READMEs, as data."""

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "sweeps" / "cluster"


class _Strict(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping, where YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key stands twice in {keys}"
        return super().construct_mapping(node, deep)


def load(name: str) -> Any:
    """Return a YAML file of sweeps/cluster/."""
    return yaml.load((FOLDER / name).read_text(), Loader=_Strict)


def pins() -> dict[str, str]:
    """Return the versions in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def commands(readme: Path) -> list[list[str]]:
    """Return every command that stands in a code block of `readme`, split as a shell does, without its variables."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", readme.read_text(), re.MULTILINE | re.DOTALL)
    inline = re.findall(
        r"`((?:RAY_AUTH_MODE=token )?(?:ray|python sweeps/|nrf|tensorboard) [^`\n]*)`", readme.read_text()
    )
    lines = [part.strip() for line in [*"\n".join(blocks).splitlines(), *inline] for part in line.split("&&")]
    split = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] if words and words[0].startswith("RAY_AUTH_MODE=") else words for words in split]

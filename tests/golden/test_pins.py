"""Keys that are in people's stores, and the code that made what lies under them, do not change unnoticed."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import nrf_ray.stages
from nrf_ray.graph.stage import SCHEMA
from tests.golden import pin

PINNED_STAGES = json.loads(pin.DIGESTS.read_text(encoding="utf-8"))
REMEDY = "raise version= of the stage if its results can change, else re-pin with `make pin`"


def test_keys_of_real_stages_are_those_of_every_store_so_far():
    assert SCHEMA == 1
    assert pin.keys() == json.loads(pin.KEYS.read_text(encoding="utf-8")), (
        "these configs had other keys before: everything that people have computed would be computed again. Give a new "
        "field another home, or accept that by re-pinning with `make pin`"
    )


@pytest.mark.parametrize("kind", pin.KINDS, ids=lambda kind: kind.name)
def test_code_of_a_stage_is_that_of_its_version(kind):
    assert pin.stages()[kind.name] == PINNED_STAGES[kind.name], f"the code behind {kind.name} has changed: {REMEDY}"


def test_every_kind_of_stage_is_pinned():
    files = Path(nrf_ray.stages.__file__).parent.rglob("*.py")
    defined = {
        node.name
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and any(_is_stage(decorator) for decorator in node.decorator_list)
    }
    assert defined == {kind.name for kind in pin.KINDS} == set(PINNED_STAGES), "pin it with `make pin`"


def _is_stage(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "stage"


def test_handles_are_built_without_torch_and_ray():
    code = (
        "import sys; from tests.golden import pin; pin.keys(); pin.stages(); print({'torch', 'ray'} & set(sys.modules))"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_pinning_writes_what_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pin, "KEYS", tmp_path / "keys.json")
    monkeypatch.setattr(pin, "DIGESTS", tmp_path / "stages.json")
    pin.pin()
    assert json.loads((tmp_path / "keys.json").read_text()) == pin.keys()
    assert json.loads((tmp_path / "stages.json").read_text()) == pin.stages()

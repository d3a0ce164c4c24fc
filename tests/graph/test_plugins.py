"""Plug-ins: who registered what, which keys contain their digest, and how they get from a store into a process."""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nrf_ray.attacks.named import ATTACKS, attack_named
from nrf_ray.attacks.specs import FunctionAttack, pgd_attack
from nrf_ray.constructions.spec import CONSTRUCTIONS
from nrf_ray.errors import ConfigError, Registry, registered_by
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.stage import STAGES
from nrf_ray.graph.store import Store
from nrf_ray.models.catalogue import ARCHITECTURES
from nrf_ray.plugins import loaded, plugin_of, unload, used_by
from nrf_ray.stages.train import TrainSpec, train
from tests.graph.stages_of_plugins import CHANGED, DIGITS, DIRECT, SHORT, THREAT, TOY, models
from tests.graph.toys import node
from tests.plugged import MINE, Load

ROOT = Path(__file__).parents[2]


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_what_a_plug_in_registers_is_there_under_its_name_and_says_whose_it_is(plug: Load) -> None:
    mine = plug()
    assert (mine.name, mine.digest, loaded()) == ("mine.py", digest(MINE), (mine,))
    assert {name for _, name in registered_by(mine.module)} == {"flat", "d_same", "half", "walk"}
    assert plugin_of(ARCHITECTURES.origin("flat")) == mine
    assert plugin_of(ARCHITECTURES.origin("resnet_s")) is None
    assert attack_named("walk", pgd_attack("l2", 1.0)) == FunctionAttack(threat=THREAT, function="walk")
    assert plug() is mine, "the same file is run once"
    unload(mine)
    assert not {"flat", "d_same", "walk"} & {*ARCHITECTURES, *CONSTRUCTIONS, *ATTACKS}


def test_the_digest_is_in_the_keys_of_what_uses_it_and_nowhere_else(plug: Load) -> None:
    mine = plug()
    first = models()
    assert {name for name, stage in first.items() if stage.plugins} == set(DIRECT)
    assert {plugin for stage in first.values() for plugin in stage.plugins} == {mine}
    unload(mine)
    plug(CHANGED)
    second = models()
    same = {name for name, stage in first.items() if stage.key == second[name].key}
    assert same == {"a network", "a construction", "an attack"}
    assert second["a network"].key == train(TrainSpec(arch="resnet_s", dataset=DIGITS, recipe=SHORT, seed=0)).key


def test_a_plug_in_that_is_there_but_not_used_changes_no_key(plug: Load) -> None:
    before = node("a").key, train(TrainSpec(arch="vgg_s", dataset=DIGITS, recipe=SHORT, seed=1)).key
    plug()
    assert before == (node("a").key, train(TrainSpec(arch="vgg_s", dataset=DIGITS, recipe=SHORT, seed=1)).key)


def test_classes_of_a_plug_in_and_names_in_any_depth_count_as_used(plug: Load) -> None:
    mine, toy = plug(), plug(TOY, "toy.py")
    spec = vars(sys.modules[toy.module])["Mine"]

    @dataclass(frozen=True)
    class Deep:
        inner: object
        names: tuple[str, ...] = field(default=(), metadata=ARCHITECTURES.names)
        silent: str = "flat"

    assert used_by(Deep([{"x": spec(name="a")}])) == {toy}
    assert used_by(Deep(None, names=("resnet_s", "flat"))) == {mine}
    assert used_by(Deep(None, names=("resnet_s",))) == set(), "a name counts in fields of names only"
    assert used_by(pgd_attack("l2", 1.0, loss="half")) == {mine}


def test_a_stage_of_a_plug_in_uses_it(plug: Load, tmp_path: Path) -> None:
    toy = plug(TOY, "toy.py")
    module = vars(sys.modules[toy.module])
    stage = module["mine_text"](module["Mine"](name="x"))
    assert stage.plugins == {toy}
    store = Store.open(str(tmp_path), create=True)
    assert run_inline([stage], store).errors == {}
    assert store.artifact(stage).record.provenance["plugins"] == [{"name": "toy.py", "digest": toy.digest}]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("x = 1\n", 1, "it registers nothing"),
        ("\nx = (1\n", 2, "SyntaxError"),
        ("import os\nimport no_such_neighbour\n", 2, "no file beside it"),
        ("def f():\n    raise ValueError('two\\nlines')\n\nf()\n", 2, "ValueError: two lines"),
        ("\n\nimport sys\nsys.exit(3)\n", 4, "SystemExit: 3"),
        (MINE + "\n1 / 0\n", MINE.count("\n") + 2, "ZeroDivisionError"),
        (MINE.replace('"d_same"', '"d_rand"'), 15, "there is another construction called 'd_rand'"),
        (MINE.replace('"flat")(', '"vgg_s")('), 14, "there is another architecture called 'vgg_s'"),
        (MINE.replace('"walk"', '"pgd"'), 27, "there is another attack called 'pgd'"),
        (MINE.replace('"walk"', '"a,b"'), 27, "the attack 'a,b' needs another name"),
        (MINE.replace('"flat")(', '"hf")('), 14, "there is another architecture called 'hf'"),
        (MINE.replace('"flat")(', '"timm:flat")('), 14, "the architecture 'timm:flat' needs another name"),
        (MINE.replace('"d_same")(', '"d")('), 15, "there is another construction called 'd'"),
        (MINE.replace('("half")', '("alternating")'), 20, "there is another loss called 'alternating'"),
        ("\0", 1, "null bytes"),
    ],
)
def test_a_plug_in_that_cannot_be_used_is_refused_with_its_line_and_leaves_nothing(
    plug: Load, text: str, line: int, reason: str
) -> None:
    before = {*ARCHITECTURES, *CONSTRUCTIONS, *ATTACKS, *STAGES}
    with pytest.raises(ConfigError) as error:
        plug(text)
    assert str(error.value).startswith(f"plug-in mine.py, line {line}: ")
    assert reason in str(error.value)
    assert "\n" not in str(error.value)
    assert {*ARCHITECTURES, *CONSTRUCTIONS, *ATTACKS, *STAGES} == before
    assert loaded() == ()


def test_two_plug_ins_cannot_have_one_name(plug: Load) -> None:
    plug()
    with pytest.raises(ConfigError, match=r"plug-in yours.py, line \d+: there is another .* called 'flat'"):
        plug(CHANGED, "yours.py")
    assert [plugin.name for plugin in loaded()] == ["mine.py"]
    assert plugin_of(ARCHITECTURES.origin("flat")) == loaded()[0]


def test_a_module_of_this_package_that_a_plug_in_imports_first_keeps_its_own(plug: Load, tmp_path: Path) -> None:
    """In a new process: what `stages.leakage` registers when it is imported is not the plug-in's."""
    (tmp_path / "mine.py").write_text("import nrf_ray.stages.leakage\n" + MINE)
    code = (
        "from pathlib import Path\n"
        "from nrf_ray.plugins import load_file\n"
        "from nrf_ray.errors import registered_by\n"
        f"print(*sorted(name for _, name in registered_by(load_file(Path({str(tmp_path / 'mine.py')!r})).module)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["d_same", "flat", "half", "walk", "walk"]


PACKAGE = {
    "nrf_of_others/__init__.py": "",
    "nrf_of_others/things.py": MINE,
    "nrf_of_others-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: nrf-of-others\nVersion: 1\n",
    "nrf_of_others-1.dist-info/entry_points.txt": "[nrf_ray.plugins]\nothers = nrf_of_others.things\n",
}


def install(folder: Path, **changes: str) -> None:
    for name, text in (PACKAGE | changes).items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


def planned(folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "sweeps/transfer_grid.py", "--preset", "smoke", "--store", str(folder / "store")]
    return subprocess.run(
        [*command, "--plan", *flags],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{folder}"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_an_installed_package_is_loaded_by_its_entry_point_and_known_by_all_its_files(tmp_path: Path) -> None:
    install(tmp_path)
    first = planned(tmp_path, "--arch", "flat")
    assert (first.returncode, first.stderr) == (0, "")
    install(tmp_path, **{"nrf_of_others/__init__.py": "# another version\n"})
    second = planned(tmp_path, "--arch", "flat")

    def keys(text: str) -> dict[str, str]:
        return {line[26:60]: line[12:26] for line in text.splitlines() if line.startswith("train")}

    assert {name.strip() for name in keys(first.stdout) if keys(first.stdout)[name] != keys(second.stdout)[name]} == {
        name.strip() for name in keys(first.stdout) if " flat " in f"{name} "
    }


@pytest.mark.parametrize(("text", "reason"), [("x = 1", "it registers nothing"), ("1 / 0", "ZeroDivisionError")])
def test_an_installed_package_that_cannot_be_used_is_refused_by_name(tmp_path: Path, text: str, reason: str) -> None:
    install(tmp_path, **{"nrf_of_others/things.py": text})
    done = planned(tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "the installed plug-in others (nrf_of_others.things) cannot be used" in done.stderr
    assert reason in done.stderr


def test_a_registry_says_who_registered_a_name() -> None:
    numbers: Registry[int] = Registry("number", {"two": 2})
    numbers.register("three")(3)
    numbers["four"] = 4
    assert (numbers.origin("two"), numbers.origin("three"), numbers.origin("four")) == ("", __name__, __name__)
    assert (numbers, "three") in registered_by(__name__)
    numbers.forget("three")
    assert "three" not in numbers
    numbers.register("three")(33)
    assert numbers["three"] == 33

"""`--plugin` of every sweep: names of a plug-in are planned like others, without torch, and mistakes are one line."""

from dataclasses import replace
from pathlib import Path

import pytest

from nrf_ray import cli
from nrf_ray.constructions.spec import CONSTRUCTIONS, construction_named
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.plugin_files import keep
from nrf_ray.graph.store import Store
from nrf_ray.plugins import loaded, unload
from nrf_ray.presets import PRESETS
from nrf_ray.sweep.models_and_sets import constructed, crafted_by
from tests.plugged import MINE, Load
from tests.sweeps import FILES, FOLDER, heavy_imports_of_plan, mistake, planned

OWN_CRAFT = '''
from collections.abc import Iterator
from dataclasses import dataclass

from nrf_ray.constructions.craft import Craft, verifies
from nrf_ray.constructions.registry import CRAFTS
from nrf_ray.constructions.spec import CONSTRUCTIONS, Construction


@dataclass(frozen=True, kw_only=True)
class Dimmed:
    """Images times a factor."""

    factor: float


class Dimming(Craft):
    spec = Dimmed
    features = "pattern"

    def make(self, setup):
        from nrf_ray.constructions.crafted import unseen
        from nrf_ray.data.images import as_float, stored_as

        def make(rows):
            originals = as_float(setup.originals.images[rows])
            return unseen(originals, stored_as(originals * setup.config.craft.factor, setup.config.storage), "l2")

        return make


def backwards(labels, classes, generator):
    return classes - 1 - labels


CRAFTS.register("Dimmed")(Dimming())
CONSTRUCTIONS.register("d_dim")(
    Construction(
        name="d_dim",
        targets=backwards,
        features="pattern",
        craft=lambda preset, threat: Dimmed(factor=0.5),
        description="dimmed images, labels backwards",
    )
)


@verifies(Dimmed)
def wrong(stored) -> Iterator[str]:
    return iter(())
'''


@pytest.fixture(autouse=True)
def forgotten():
    """Forget what a command of a test has loaded."""
    yield
    for plugin in loaded():
        unload(plugin)


@pytest.fixture
def mine(tmp_path: Path) -> str:
    (tmp_path / "mine.py").write_text(MINE)
    return str(tmp_path / "mine.py")


def test_a_plan_with_a_plug_in_needs_no_torch_unless_the_plug_in_does(mine: str, tmp_path: Path) -> None:
    flags = ("--preset", "smoke", "--arch", "flat", "--construction", "d_same", "--attack", "walk", "--plugin", mine)
    assert heavy_imports_of_plan(tmp_path / "store", "transfer_grid.py", *flags) == []
    assert not (tmp_path / "store").exists(), "a plan writes nothing"


@pytest.mark.parametrize("script", [str(path.relative_to(FOLDER)) for path in FILES.values()])
def test_every_sweep_takes_plug_ins(script: str, mine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    code, _ = planned(monkeypatch, f"sweeps/{script}", "--plugin", mine)
    assert code == 0
    assert [plugin.name for plugin in loaded()] == ["mine.py"]


def test_names_of_a_plug_in_are_known_only_if_it_is_named(
    mine: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--preset", "smoke", "--arch", "flat")
    assert planned(monkeypatch, "sweeps/transfer_grid.py", *flags, "--plugin", mine)[0] == 0
    for plugin in loaded():
        unload(plugin)
    assert "unknown architecture 'flat'" in mistake(monkeypatch, capsys, "transfer_grid", *flags)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1 / 0", "plug-in mine.py, line 1: ZeroDivisionError: division by zero"),
        (OWN_CRAFT.replace("Dimmed(factor", "Dimmed(fctor"), "plug-in mine.py, line 42: TypeError: "),
    ],
    ids=["when it is loaded", "when its code is called"],
)
def test_a_mistake_in_a_plug_in_is_one_line(
    text: str, said: str, mine: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path(mine).write_text(text)
    flags = ("--preset", "smoke", "--plan", "--plugin", mine)
    construction = ("--construction", "d_dim") if "d_dim" in text else ()
    assert said in mistake(monkeypatch, capsys, "transfer_grid", *flags, *construction)


def test_a_construction_with_its_own_craft_and_targets_is_made_and_verified(plug: Load, tmp_path: Path) -> None:
    from nrf_ray.data.load import train_split
    from nrf_ray.inspection.verify_set import recompute
    from nrf_ray.stages.construct import construct

    mine, digits = plug(OWN_CRAFT), dataset_named("digits")
    craft = crafted_by(PRESETS["smoke"], construction_named("d_dim"), None)
    made = constructed(digits, "d_dim", craft, None, 0).construct
    assert made.plugins == {mine}
    assert construct(replace(made.config, craft=replace(craft, factor=0.25))).plugins == {mine}
    store = Store.open(str(tmp_path), create=True)
    keep(store.blobs)
    assert run_inline([made], store).errors == {}
    record = store.artifact(made).record
    found = recompute(store, record, {digits.ref.digest: digits.ref})
    assert found.problems == ()
    from nrf_ray.constructions.stored_set import constructed_rows

    rows = constructed_rows(store.artifact(made))
    assert (rows.columns["label"] == 9 - train_split(digits.ref).labels).all()


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ("lambda labels, classes, generator: labels + 1", "classes from 1 to 10; there are 10, 0 to 9"),
        ("lambda labels, classes, generator: labels[:3]", r"returned torch.int64 of shape \(3,\)"),
        ("lambda labels, classes, generator: [1]", "returned list; it must return torch.int64"),
        ("lambda labels, classes, generator: labels * 1.0", r"returned torch.float32 of shape"),
    ],
)
def test_a_rule_for_targets_that_returns_no_classes_is_refused(plug: Load, rule: str, said: str) -> None:
    from nrf_ray.constructions.crafted import draw_targets
    from nrf_ray.data.load import train_split

    plug(OWN_CRAFT.replace("targets=backwards", f"targets={rule}"))
    labels = train_split(dataset_named("digits").ref).labels
    with pytest.raises(ConfigError, match=said):
        draw_targets(CONSTRUCTIONS["d_dim"].targets, labels, 10, 0)


def test_verify_skips_the_sets_of_plug_ins_that_are_not_named(
    plug: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = plug(OWN_CRAFT)
    made = constructed(
        dataset_named("digits"), "d_dim", crafted_by(PRESETS["smoke"], construction_named("d_dim"), None), None, 0
    )
    store = Store.open(str(tmp_path / "store"), create=True)
    keep(store.blobs)
    assert run_inline([made.construct], store).errors == {}
    unload(mine)

    def verify(*flags: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["nrf", "verify", "--recompute", "--store", str(tmp_path / "store"), *flags])
        with pytest.raises(SystemExit) as ended:
            cli.nrf_main()
        return int(ended.value.code or 0), " ".join(capsys.readouterr().out.split())

    code, said = verify()
    assert code == 0
    assert f"was made with the plug-in mine.py ({mine.digest[:12]})" in said
    assert "0 constructed sets recomputed, 0 wrong, 1 skipped" in said
    code, said = verify("--plugin", mine.digest[:12])
    assert (code, "1 constructed sets recomputed, 0 wrong" in said, "skipped" in said) == (0, True, False)

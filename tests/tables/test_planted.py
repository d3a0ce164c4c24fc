"""The sweep over planted sets: every table filled, the picture drawn, mistakes refused in one line."""

import io
import xml.etree.ElementTree as ElementTree

import pytest

from nrf_ray.display.printing import make_console
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from nrf_ray.results.summary import print_summary
from nrf_ray.results.write import write_tables
from nrf_ray.stages.phase import NOTE, Diagram, draw_phases
from nrf_ray.tables.planted import FOOTPRINT, PLANTED
from tests.small import planted_sweep
from tests.sweeps import heavy_imports_of_plan, mistake


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Return the store, the tables and the printed summary of a sweep of seconds, whose numbers mean nothing."""
    sweep = planted_sweep()
    store = Store.open(str(tmp_path_factory.mktemp("planted")), create=True)
    assert run_inline(sweep.goals, store).errors == {}
    tables, out = write_tables(sweep, store).frames, io.StringIO()
    console = make_console()
    console.file, console.width = out, 220
    print_summary(console, sweep, store, tables)
    return sweep, store, tables, out.getvalue()


@pytest.mark.parametrize("table", [PLANTED, FOOTPRINT], ids=lambda table: table.name)
def test_every_row_has_exactly_the_declared_columns(done, table):
    sweep, store, _, _ = done
    kinds = {"string": str, "float64": float, "int64": int}
    rows = sweep.collect(store)[table]
    optional = {"adversary", "adversary_norm", "adversary_epsilon", "label_agreement", "nonrobustness"}
    if table is FOOTPRINT:
        optional |= {name for name in table.column_names() if name.startswith("energy") or name.endswith("kept")}
    for row in rows:
        assert set(row) == set(table.column_names())
        for column in table.columns:
            assert len(column.description) > 3
            if column.type != "string" and column.name != "seed":
                assert column.unit
            if row[column.name] is None:
                assert column.name in optional
            else:
                assert type(row[column.name]) is kinds[column.type], column.name
                assert column.unit != "share" or 0 <= row[column.name] <= 1, column.name
    assert len(rows) == {"planted": 2 * (2 * 3 + 2), "footprint": 2 * 2 * 3}[table.name]


def test_the_axes_of_the_sweep_are_all_there(done):
    _, _, tables, text = done
    planted = tables["planted"]
    assert set(planted["modality"]) == {"image", "text"}
    assert set(planted["labels"]) == {"planted", "read by a model", "read by a linear model"}
    assert set(planted["training"]) == {"standard", "adversarial"}
    of_linear = planted[planted["labels"] == "read by a linear model"]
    assert (of_linear["label_agreement"] == 1).all(), "the classes of noise parts are linearly separable"
    assert set(planted[planted["label"] == "both"]["p_noise"]) == {0.9, 1.0}
    assert len(tables["robustness"]) == len(tables["results"]) == len(tables["usefulness"]) == 8
    energies = tables["footprint"][["energy_human", "energy_noise", "energy_rest"]].dropna().sum(axis=1)
    assert len(energies)
    assert (energies - 1).abs().max() < 1e-9
    for said in (
        "planted sets: what models use",
        "planted sets: what attacks change",
        "phase_diagram.svg",
        "read by a linear model",
    ):
        assert said in text


def test_the_picture_lies_beside_the_tables_and_shows_what_was_measured(done):
    sweep, store, tables, _ = done
    (figure,) = sweep.figures
    drawn = store.blobs.get(f"{sweep.folder()}/phase_diagram.svg")
    assert drawn == store.artifact(figure).read("phase_diagram.svg")
    text = "".join(ElementTree.fromstring(drawn).itertext())
    metrics = store.artifact(figure).record.metrics
    assert set(metrics) == {"image.0.25.0.9", "image.0.25.1", "text.0.075.0.9", "text.0.075.1"}
    planted = tables["planted"]
    for name, value in metrics.items():
        modality, norm, share = name.split(".", 1)[0], *(float(v) for v in _numbers(name))
        row = planted[
            (planted["modality"] == modality)
            & (planted["label"] == "both")
            & (planted["noise_norm"] == norm)
            & (planted["p_noise"] == share)
        ].iloc[0]
        assert value == pytest.approx(row["follows_noise"] - row["follows_human"])
        assert f"{value:+.2f}" in text


def _numbers(name):
    """Return norm and predictiveness in a metric's name such as image.0.25.0.9."""
    rest = name.split(".", 1)[1]
    norm = rest[: rest.index(".") + len(rest.split(".")[1]) + 1]
    return norm, rest[len(norm) + 1 :]


def test_a_diagram_is_blue_for_the_human_part_and_red_for_the_noise_part():
    values = {(0.8, 0.5): -1.0, (1.0, 0.5): 1.0, (0.8, 1.0): 0.0, (1.0, 1.0): 0.5}
    drawn = draw_phases([Diagram(title="<x>", p_human=0.9, values=values)])
    assert drawn == draw_phases([Diagram(title="<x>", p_human=0.9, values=dict(reversed(values.items())))])
    fills = [element.get("fill") for element in ElementTree.fromstring(drawn).iter() if element.get("fill-opacity")]
    assert fills[1] == "#ffffff"
    below, above = fills[0], fills[2]
    assert int(below[5:7], 16) > int(below[1:3], 16)
    assert int(above[1:3], 16) > int(above[5:7], 16)
    text = "".join(ElementTree.fromstring(drawn).itertext())
    assert all(word in text for word in ("<x>", "-1.00", "+1.00", "0.8", "0.5", "follows the noise part"))


@pytest.mark.parametrize("shares", [(1.0,), (0.9, 1.0), (0.6, 0.8, 0.9, 1.0)], ids=len)
def test_what_stands_under_neighbouring_panels_does_not_overlap(shares):
    diagram = Diagram(title="t", p_human=0.9, values={(share, 0.5): 0.0 for share in shares})
    notes = [e for e in ElementTree.fromstring(draw_phases([diagram, diagram])).iter() if "predict" in (e.text or "")]
    first, second = (float(note.get("x")) for note in notes)
    assert first - NOTE / 2 >= 0
    assert second - first >= NOTE


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--modality", "sound"), "unknown modality 'sound'; known: image, colour, text"),
        (("--label", "mine"), "unknown label 'mine'; known: human, noise, both, conflict"),
        (("--training", "none"), "unknown training 'none'; known: standard, adversarial"),
        (("--noise", "loud"), "--noise 'loud' is not a number"),
        (("--noise", "100"), "noise=25 is out of range; the norm of the noise part of planted images is from 0 to 1"),
        (("--noise", "0", "--label", "noise"), "label=noise follows the noise part, which is missing (noise=0)"),
        (("--phase-share", "2"), "p_noise=2 is out of range; give a number from 0 to 1"),
        (("--phase-share", ""), "phase_shares is empty"),
        (("--arch", "vgg_s"), "--arch vgg_s: no architecture here reads texts; add one that does"),
        (("--arch", "alexnet"), "unknown architecture 'alexnet'"),
        (
            ("--norm", "l2_token", "--epsilon", "1"),
            "--norm l2_token bounds the words of texts; use it with --modality text",
        ),
        (("--epsilon", "99"), "l2 epsilon 99 is beyond the box"),
        (("--seeds", "0,0"), "seeds names a value twice"),
        (("--train", "2"), "train of a planted set must be from 4"),
        (
            ("--train", "20"),
            "would be trained on 20 examples, fewer than one batch of 64; use a larger set (planted sets",
        ),
        (("--dataset", "digits"), "--dataset"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(flags, message, monkeypatch, capsys, tmp_path):
    assert message in mistake(monkeypatch, capsys, "planted_features", *flags, "--store", str(tmp_path / "store"))
    assert not (tmp_path / "store").exists()


def test_the_plan_imports_nothing_heavy(tmp_path):
    assert heavy_imports_of_plan(tmp_path / "store", "planted_features.py") == []

"""What a page knows: how stages stand, what came out, curves, images, and what the store alone tells of a run."""

import io
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from nrf_ray.cluster.curves import CurveWriter
from nrf_ray.data.catalogue import DATASETS
from nrf_ray.data.digits import arrays
from nrf_ray.data.facts import noted
from nrf_ray.data.shared_rows import noted_as
from nrf_ray.display.printing import make_console
from nrf_ray.errors import ConfigError, MissingArtifact
from nrf_ray.graph.drivers import Heart
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.frontier import Frontier
from nrf_ray.graph.headway import Headway
from nrf_ray.graph.plan import make_plan
from nrf_ray.graph.stage import walk
from nrf_ray.graph.store import Store, place_of
from nrf_ray.page import gallery
from nrf_ray.page.collect import KILLED, known_from_store
from nrf_ray.page.curves import MOST_POINTS, CurveReader, group_of, thinned
from nrf_ray.page.findings import frames_so_far, scatters
from nrf_ray.page.gallery import chosen_sets, kept_galleries, update_galleries
from nrf_ray.page.gallery_rows import SHOWN, start_of
from nrf_ray.page.origin import Records, origin_of
from nrf_ray.page.outline import Outline, ended, outline_name, outline_of, read_outline
from nrf_ray.page.snapshot import RunState, Standing, Start, Working
from nrf_ray.page.stage_states import bottlenecks, by_frontier, by_store, failures_among
from nrf_ray.page.text_gallery import is_outdated
from nrf_ray.page.working import working_file, working_name
from nrf_ray.results.summary import print_summary
from nrf_ray.results.write import write_tables
from nrf_ray.sweep.sweep import Sweep
from nrf_ray.tables.registry import result_tables
from tests.cluster.toys import Toy, sweep_of, toy
from tests.frames import results, transfers
from tests.page.known import fact

ARCHS = ("vgg_s", "inception_s", "resnet_s", "resnet_m", "densenet_s")
FIRST = toy(Toy(name="first")).named("first")
BROKEN = toy(Toy(name="broken", fault="raises")).named("broken")
SECOND = toy(Toy(name="second"), first=FIRST).named("second")
BEHIND = toy(Toy(name="behind"), first=BROKEN, second=FIRST).named("behind")
FURTHER = toy(Toy(name="further"), first=BEHIND).named("further")
TOYS = sweep_of(SECOND, FURTHER)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(str(tmp_path / "store"), create=True)


def outline(sweep: Sweep, store: Store) -> Outline:
    plan = make_plan(sweep.goals, store)
    return outline_of(sweep, plan, command="python it.py", expected=9.0, began=datetime.now(UTC))


def standings(facts) -> dict[str, str]:
    return {fact.title: fact.standing.value for fact in facts}


def test_an_outline_is_the_same_after_it_was_written(store: Store) -> None:
    made = ended(outline(TOYS, store), RunState.FAILED, "why")
    assert Outline.from_json(json.loads(made.to_bytes())) == made
    assert [stage.title for stage in made.stages] == ["first", "second", "broken", "behind", "further"]
    assert [stage.inputs for stage in made.stages] == [(), (0,), (), (0, 2), (3,)] or made.stages[3].inputs == (2, 0)
    assert made.rows == ((1,), (4,))


@pytest.mark.parametrize(
    "damage",
    [
        {"stages": None},
        {"rows": [[99]]},
        {"cells": [[99]]},
        {"state": "asleep"},
        {"began": "yesterday"},
        {"more": 1},
        {"stages": [{"key": "k"}]},
    ],
    ids=str,
)
def test_a_damaged_outline_is_refused_with_what_to_do(damage, store: Store) -> None:
    value = json.loads(outline(TOYS, store).to_bytes()) | damage
    with pytest.raises(ConfigError, match=r"run the sweep's command again"):
        Outline.from_json(value)


def test_an_outline_has_the_preset_and_the_digest_of_the_sweep_file_and_older_ones_do_without(store: Store) -> None:
    plan = make_plan(TOYS.goals, store)
    made = outline_of(
        replace(TOYS, preset="laptop"), plan, command="", script_sha256="ab", expected=None, began=datetime.now(UTC)
    )
    assert (made.preset, made.script_sha256) == ("laptop", "ab")
    value = json.loads(made.to_bytes())
    old_names = {name: part for name, part in value.items() if name not in ("preset", "script_sha256", "rows")}
    older = Outline.from_json(old_names | {"cells": value["rows"]})
    assert older == replace(made, preset="", script_sha256="")
    with pytest.raises(ConfigError, match=r"run the sweep's command again"):
        Outline.from_json(value | {"preset": None})


def test_a_store_without_the_sweep_or_its_outline_says_so(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"no sweep 'toys' in .*; it has: none"):
        read_outline(store, "toys")
    write_tables(TOYS, store)
    with pytest.raises(ConfigError, match=r"older nrf_ray"):
        read_outline(store, "toys")


def test_stages_stand_as_the_frontier_says(store: Store) -> None:
    run_inline([FIRST], store)
    plan = make_plan(TOYS.goals, store)
    frontier = Frontier(plan.todo())
    about = outline_of(TOYS, plan, command="", expected=None, began=datetime.now(UTC))
    assert standings(by_frontier(about, frontier, set())) == {
        "first": "kept", "second": "ready", "broken": "ready", "behind": "waiting", "further": "waiting",
    }  # fmt: skip
    while frontier.next_ready().title != "broken":
        pass
    assert standings(by_frontier(about, frontier, set()))["broken"] == "ready", "it has no process yet"
    assert standings(by_frontier(about, frontier, {BROKEN.key}))["broken"] == "running"
    frontier.fail(BROKEN.key, "no luck")
    facts = by_frontier(about, frontier, set())
    assert standings(facts) == {
        "first": "kept", "second": "ready", "broken": "failed", "behind": "blocked", "further": "blocked",
    }  # fmt: skip
    (failure,) = failures_among(facts, store)
    assert (failure.fact.reason, failure.blocks, failure.trace) == ("no luck", 2, "")
    assert [fact.level for fact in facts] == [0, 1, 0, 1, 2]


def test_stages_stand_the_same_by_the_store_alone(store: Store) -> None:
    about = outline(TOYS, store)
    frontier = run_inline(TOYS.goals, store)
    by_run, by_records = by_frontier(about, frontier, set()), by_store(about, store, store.contents(), alive=False)
    assert standings(by_records) == standings(by_run) == {
        "first": "done", "second": "done", "broken": "failed", "behind": "blocked", "further": "blocked",
    }  # fmt: skip
    assert [fact.reason for fact in by_records[3:]] == ["needs broken, which failed"] * 2
    (failure,) = failures_among(by_records, store)
    assert "ValueError: broken was told to fail" in failure.fact.reason
    assert "in misbehave" in failure.trace


def test_bottlenecks_are_what_most_wait_for(store: Store) -> None:
    frontier = Frontier(make_plan(TOYS.goals, store).todo())
    facts = by_frontier(outline(TOYS, store), frontier, set())
    assert [(line.fact.title, line.waiting) for line in bottlenecks(facts, 9)] == [("first", 3), ("broken", 2)]
    assert [line.fact.title for line in bottlenecks(facts, 1)] == ["first"]


def test_a_run_is_told_again_from_the_store(store: Store) -> None:
    about = outline(TOYS, store)
    store.blobs.replace(outline_name("toys"), about.to_bytes())
    run_inline(TOYS.goals, store)
    killed = known_from_store(store, "toys")
    assert (killed.state, killed.why, killed.rows) == (RunState.INTERRUPTED, KILLED, (1, 2))
    told = Headway(unit="shards", done=1, total=2, share=0.5)
    facts = by_frontier(about, Frontier(make_plan(TOYS.goals, store).todo()), set())
    store.blobs.replace(
        working_name("toys"), working_file([Working(fact=facts[0], since=3.0, expected=None, headway=told)], 7.0)
    )
    assert known_from_store(store, "toys").working == (), "its driver is dead"
    with Heart(store.blobs, "run"):
        running = known_from_store(store, "toys")
    assert (running.state, running.left) == (RunState.RUNNING, 7.0)
    assert [(one.fact.key, one.since, one.headway) for one in running.working] == [(facts[0].key, 3.0, told)]
    store.blobs.replace(outline_name("toys"), ended(about, RunState.FAILED, "so it is").to_bytes())
    over = known_from_store(store, "toys")
    assert (over.state, over.why, over.expected) == (RunState.FAILED, "so it is", 9.0)
    assert over.counts()[Standing.DONE] == 2
    assert over.origin.hosts[0].stages == 2


def test_what_came_out_is_what_the_terminal_shows(tiny, wide) -> None:
    records = Records(tiny.store)
    records.read(map(place_of, tiny.sweep.stages()))
    frames = frames_so_far(tiny.sweep, {key: record.metrics for key, record in records.by_key.items()})
    tables = list(result_tables(frames))
    out = io.StringIO()
    print_summary(make_console(out), tiny.sweep, tiny.store, write_tables(tiny.sweep, tiny.store).frames)
    printed = " ".join(out.getvalue().split())
    assert len(tables) >= 4
    for table in tables:
        assert table.title in printed
        assert all(" ".join(note.split()) in printed for note in table.notes)
        assert all(" ".join(filter(None, row)) in printed for row in table.texts)
        assert {len(row) for row in table.texts} == {len(table.columns)}


def test_rows_come_as_their_stages_do(tiny) -> None:
    frames = frames_so_far(tiny.sweep, {})
    assert frames == {}
    records = Records(tiny.store)
    records.read([place_of(tiny.sweep.rows[0].stages()[0])])
    assert sum(map(len, frames_so_far(tiny.sweep, {k: r.metrics for k, r in records.by_key.items()}).values())) <= 1


def test_a_scatter_shows_what_its_correlation_is_of() -> None:
    accuracies, successes = (0.3, 0.5, 0.6, 0.55, 0.9), (0.2, 0.5, 0.5, 0.7, 0.8)
    learnt = results([{"student_arch": a, "clean_accuracy": x} for a, x in zip(ARCHS, accuracies, strict=True)])
    fooled = [{"victim_arch": a, "success_rate": y} for a, y in zip(ARCHS, successes, strict=True)]
    fooled += [{"victim_arch": ARCHS[0], "epsilon": 1.5, "success_rate": 0.0}]
    (shown,) = scatters({"results": learnt, "transfer": transfers(fooled)})
    assert {(s.name, s.x.value, s.y.value) for s in shown.spots} == set(zip(ARCHS, accuracies, successes, strict=True))
    assert f"r = {np.corrcoef(accuracies, successes)[0, 1]:.3f}".replace("0.", ".") in shown.note
    assert shown.title == "digits: untargeted l2 1"
    assert scatters({"results": learnt}) == ()


def test_a_set_whose_name_has_more_than_its_ball_has_a_scatter_too() -> None:
    learnt = results([{"student_arch": a, "clean_accuracy": 0.5, "mode": "fast"} for a in ARCHS])
    fooled = transfers([{"victim_arch": a, "success_rate": 0.5, "mode": "fast", "source_mode": "fast"} for a in ARCHS])
    (shown,) = scatters({"results": learnt, "transfer": fooled})
    assert len(shown.spots) == len(ARCHS)


def test_where_things_come_from_is_told_by_their_records(tiny) -> None:
    records = Records(tiny.store)
    records.read(map(place_of, tiny.sweep.stages()))
    origin = origin_of(records.by_key.values())
    (host,) = origin.hosts
    assert host.stages == len(list(tiny.sweep.stages()))
    assert host.seconds == pytest.approx(sum(record.seconds for record in records.by_key.values()))
    assert dict(origin.versions)["python"].startswith("3.")
    assert origin.datasets == (("digits", DATASETS["digits"].ref.digest, "0 of 360"),)
    assert {kind for kind, _ in origin.digests} == {stage.kind.name for stage in tiny.sweep.stages()}


@pytest.mark.parametrize(
    ("in_record", "on_machine", "shown"),
    [
        (3, None, "3 of 360"),
        (4, None, "4 of 360, more than 1%: accuracies on this test set are too high"),
        (None, 120, "120 of 360, more than 1%: accuracies on this test set are too high"),
        (None, 0, "0 of 360"),
        (None, None, "not counted"),
    ],
)
def test_test_rows_that_were_trained_on_are_told_also_of_older_runs(
    in_record: int | None, on_machine: int | None, shown: str, tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a set that was prepared before they were counted was reported as any other."""
    monkeypatch.setenv("NRF_DATA", str(tmp_path))
    records = Records(tiny.store)
    records.read(map(place_of, tiny.sweep.stages()))
    told = {} if in_record is None else {"shared_rows": in_record}
    changed = [
        replace(record, metrics={**{k: v for k, v in record.metrics.items() if k != "shared_rows"}, **told})
        if record.stage == "evaluate"
        else record
        for record in records.by_key.values()
    ]
    digest = DATASETS["digits"].ref.digest
    if on_machine is not None:
        noted(noted_as(digest), lambda: [on_machine])
    assert origin_of(changed).datasets == (("digits", digest, shown),)


def test_curves_are_those_that_were_written(tmp_path: Path, tiny) -> None:
    train = next(stage for stage in tiny.sweep.stages() if stage.kind.name == "train")
    about = replace(fact(train.title, Standing.RUNNING), key=train.key, arch=train.config.arch)
    reader = CurveReader(str(tmp_path))
    assert reader.read([about]) == ()
    with CurveWriter(str(tmp_path), train) as write:
        write(1, {"train/loss": 2.5, "train/accuracy": 0.25})
    assert {curve.quantity: curve.points for curve in reader.read([about])} == {
        "train/loss": ((1, 2.5),),
        "train/accuracy": ((1, 0.25),),
    }
    with CurveWriter(str(tmp_path), train) as write:  # the training was begun again and went on
        write(2, {"train/loss": 1.5, "train/accuracy": 0.5})
    found = reader.read([about])
    assert {curve.quantity: curve.points for curve in found} == {
        "train/loss": ((1, 2.5), (2, 1.5)),
        "train/accuracy": ((1, 0.25), (2, 0.5)),
    }
    assert {curve.line for curve in found} == {train.config.arch}
    assert CurveReader(None).read([about]) == ()


def test_trainings_are_grouped_by_all_but_architecture_and_seed(tiny) -> None:
    about = by_frontier(outline(tiny.sweep, tiny.store), Frontier([]), set())
    groups = {group_of(fact) for fact in about if fact.kind == "train"}
    assert "source on digits" in groups
    assert not [group for group in groups if "seed" in group]


@pytest.mark.parametrize("n", [0, 1, MOST_POINTS, MOST_POINTS + 1, 1000])
def test_long_curves_keep_their_ends(n: int) -> None:
    points = [(i, float(i)) for i in range(n)]
    kept = thinned(points)
    assert len(kept) <= MOST_POINTS + 1
    assert set(kept) <= set(points)
    assert kept[:1] == tuple(points[:1])
    assert kept[-1:] == tuple(points[-1:])


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)), dtype=np.float64)


def test_images_are_those_of_the_set(tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = chosen_sets(tiny.sweep.stages())
    assert sets
    store = tiny.store
    shown = update_galleries(store, tiny.sweep.name, sets)
    assert [one.key for one in shown] == [stage.key for stage in sets]
    originals = (arrays()[0].images[:, 0] * 255).round()
    for one in shown:
        assert len(one.specimens) == SHOWN
        assert len({specimen.label[0] for specimen in one.specimens}) == SHOWN, "one of each class"
        for specimen in one.specimens:
            original, made = pixels(specimen.original), pixels(specimen.constructed)
            assert (originals == original).all(axis=(1, 2)).any()
            grey = np.clip(127.5 + one.factor * (made - original), 0, 255)
            assert np.abs(pixels(specimen.change) - grey).max() <= 1 + one.factor
    monkeypatch.setattr(gallery, "_gallery_of", None)
    assert update_galleries(store, tiny.sweep.name, sets) == shown, "read from what is kept"
    assert kept_galleries(store, tiny.sweep.name, [sets[0].key, "0" * 64]) == shown[:1]


@pytest.mark.parametrize(
    ("starts", "start"), [((4, 7), Start.ITSELF), ((7, 4), Start.OTHER), ((-1, -1), Start.NOISE)], ids=str
)
def test_what_examples_were_made_of_is_told_by_where_they_started(starts: tuple[int, int], start: Start) -> None:
    assert start_of(pa.table({"index": [4, 7], "start": starts}), [0, 1]) is start


@pytest.mark.parametrize("start", ["moon", None, [], True, False, 0])
def test_texts_that_are_kept_without_what_they_were_made_of_are_made_anew(start: object) -> None:
    kept = {"title": "t", "nearest": True, "passages": []}
    assert is_outdated({**kept, "start": start})
    assert not is_outdated({**kept, "start": "noise"})


def test_a_damaged_set_leaves_the_others_their_examples(tiny, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(str(shutil.copytree(tiny.store.uri, tmp_path / "store")), create=False)
    sets, read = chosen_sets(tiny.sweep.stages()), gallery._gallery_of

    def refuse_first(stage, store, words_of):
        if stage == sets[0]:
            raise MissingArtifact("a shard is gone")
        return read(stage, store, words_of)

    monkeypatch.setattr(gallery, "_gallery_of", refuse_first)
    with pytest.raises(MissingArtifact, match="a shard is gone"):
        update_galleries(store, "another sweep", sets)
    kept = kept_galleries(store, "another sweep", [stage.key for stage in sets])
    assert [one.key for one in kept] == [stage.key for stage in sets[1:]]
    assert kept


def test_sets_that_differ_in_their_seed_alone_are_shown_once(tiny) -> None:
    stages = [stage for stage in walk(tiny.sweep.goals) if stage.kind.name == "construct"]
    again = [replace(stage, label=stage.label.replace("seed 0", "seed 1")) for stage in stages]
    assert chosen_sets([*stages, *again]) == chosen_sets(stages)

"""A record is read back as it was written, or not at all."""

import dataclasses
import json
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.errors import ConfigError, CorruptArtifact
from nrf_ray.graph.canonical import Key, digest, json_text
from nrf_ray.graph.estimates import learn_from
from nrf_ray.graph.record import FileEntry, Record, launch_provenance, record_of
from nrf_ray.graph.stage import Resources
from nrf_ray.graph.wellformed import LATER, PROVENANCE
from nrf_ray.run.machine import this_machine
from tests.graph.test_canonical import VALUES
from tests.graph.toys import node

STAGE, KEY = "toy_text", Key("0" * 60 + "beef")
RECORD = Record(
    stage=STAGE,
    version=2,
    key=KEY,
    config={"name": "é", "eps": 1.25, "on": True},
    inputs={"first": Key("ab" * 32)},
    files=(FileEntry(name="value.txt", size=1437, sha256="cd" * 32),),
    metrics={"accuracy": 0.123456, "n": 614370, "none": None, "small": 1e-9},
    provenance={
        "seconds": 1.5, "source_digest": "ef" * 32, "started": "now", "device": "cpu", "threads": 1, "host": "here"
    },
)  # fmt: skip
NUMBERS = st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@given(metrics=st.dictionaries(st.text(), NUMBERS, max_size=5), config=VALUES)
def test_round_trip(metrics, config):
    record = replace(RECORD, metrics=metrics, config=config)
    assert Record.from_bytes(record.to_bytes(), STAGE, KEY) == record


def test_text_is_json_with_a_schema():
    body = json.loads(RECORD.to_bytes())
    assert body["schema"] == 1
    assert body["files"] == [{"name": "value.txt", "size": 1437, "sha256": "cd" * 32}]
    assert set(body) == {"schema", "checksum", *(f.name for f in dataclasses.fields(Record))}


def test_every_changed_byte_is_found_or_changes_nothing():
    """Regression: a digit that became an "e" made a number infinite, and the error was not CorruptArtifact."""
    data = RECORD.to_bytes()
    harmless, wrong = 0, []
    for at, byte in enumerate(data):
        for other in {byte ^ (1 << bit) for bit in range(8)} | set(b'eE-.0" \\') - {byte}:
            damaged = data[:at] + bytes([other]) + data[at + 1 :]
            try:
                read = Record.from_bytes(damaged, STAGE, KEY)
            except CorruptArtifact as error:
                if (error.stage, error.key) != (STAGE, KEY):
                    wrong.append((damaged, "names another artifact"))
            except Exception as error:
                wrong.append((damaged[max(0, at - 12) : at + 6], repr(error)))
            else:
                harmless += 1
                if read != RECORD or read.to_bytes() != data:
                    wrong.append((damaged[max(0, at - 12) : at + 6], "read as another record"))
    assert not wrong, f"{len(wrong)} changes, such as {wrong[:3]}"
    assert 0 < harmless < len(data), "only spaces, line ends and the case of escapes may change unnoticed"


@pytest.mark.parametrize("keep", [0, 1, 0.5, -3, -2])
def test_cut_off_records_are_damaged(keep):
    data = RECORD.to_bytes()
    cut = data[: int(len(data) * keep)] if isinstance(keep, float) else data[:keep]
    with pytest.raises(CorruptArtifact, match="not readable"):
        Record.from_bytes(cut, STAGE, KEY)


@pytest.mark.parametrize("text", ["null", "1", '"x"', "{}", "[]", "[1]", "NaN", "\0" * 64, "\ufeff{}", "{}{}"])
def test_other_documents_are_damaged_records(text):
    """Regression: a list has a `pop` too, and what it raised was a TypeError."""
    with pytest.raises(CorruptArtifact):
        Record.from_bytes(text.encode(), STAGE, KEY)


@pytest.mark.parametrize(("stage", "key"), [("tin", KEY), (STAGE, Key("1" * 64))])
def test_a_record_counts_only_in_its_own_place(stage, key):
    with pytest.raises(CorruptArtifact, match="place"):
        Record.from_bytes(RECORD.to_bytes(), stage, key)


def test_a_consistent_edit_without_the_checksum_is_found():
    body = json.loads(RECORD.to_bytes())
    body["metrics"]["accuracy"] = 0.99
    with pytest.raises(CorruptArtifact, match="checksum"):
        Record.from_bytes(json.dumps(body).encode(), STAGE, KEY)


FILE = {"name": "a.txt", "size": 1, "sha256": "0" * 64}
WRONG: dict[str, list[object]] = {
    "version": ["2", None, True, -1, 1.5],
    "inputs": [None, [], "first", {"first": 7}, {"first": "no key"}],
    "metrics": [None, [], 1, {"n": {}}, {"n": ["x"]}],
    "provenance": [None, [], "here", {}],
    "files": [None, "", {}, [1], [{}], [FILE | {"more": 1}]]
    + [[FILE | {"size": bad}] for bad in ("1", -1, None, True)]
    + [[FILE | bad] for bad in ({"sha256": "0"}, {"sha256": 0}, {"copy": 0.5}, {"name": 7})],
    "seconds": [None, "1.5", -1, True, [], 10**400],
    "source_digest": [None, 7, []],
    "threads": ["1", 2**63],
    "expected_seconds": ["2", -1.0],
    "accelerators": [None, "A100", [1]],
}  # fmt: skip
"""Values that a field of a record cannot have; the last four are of its provenance."""


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values], ids=lambda v: repr(v)[:40]
)
def test_a_right_checksum_over_wrong_types_is_a_damaged_record(name: str, value: object):
    """Regression: whoever used such a field later ended with a traceback, and the record stayed."""
    body = {**json.loads(RECORD.to_bytes())}
    del body["checksum"]
    (body if name in body else body["provenance"])[name] = value
    data = json.dumps({**body, "checksum": digest(json_text(body).encode())}).encode()
    with pytest.raises(CorruptArtifact):
        Record.from_bytes(data, STAGE, KEY)


@given(
    fields=st.dictionaries(st.sampled_from(["version", "config", "inputs", "metrics", "files", "provenance"]), VALUES),
    provenance=st.dictionaries(st.sampled_from(sorted(PROVENANCE | LATER)), VALUES),
)
def test_no_record_that_is_read_stops_its_readers(fields, provenance):
    body = {**json.loads(RECORD.to_bytes()), **fields}
    del body["checksum"]
    if isinstance(body["provenance"], dict):
        body["provenance"] |= provenance
    data = json.dumps({**body, "checksum": digest(json_text(body).encode())}).encode()
    with suppress(CorruptArtifact):
        record = Record.from_bytes(data, STAGE, KEY)
        learn_from([record])
        this_machine(Resources()).is_like(record.provenance)
        assert record.seconds >= 0
        assert isinstance(record.provenance["source_digest"], str)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), len])
def test_metrics_that_are_no_numbers_are_refused_by_name(bad):
    with pytest.raises(ConfigError, match=r"metrics\.loss"):
        replace(RECORD, metrics={"loss": bad}).to_bytes()


def test_record_of_a_run_says_what_it_is_and_how_it_came_about():
    source = node("source")
    stage = replace(node("user", source), resources=Resources(cpus=2.5, gpus=1))
    files = [FileEntry(name=name, size=1, sha256="0" * 64) for name in ("b", "a", "c")]
    record = record_of(stage, files, {"n": 1}, 1.23456, "2026-01-01T00:00:00+00:00")
    assert (record.stage, record.version, record.key) == ("toy_text", 1, stage.key)
    assert record.inputs == {"first": source.key}
    assert record.config == {"type": "Toy", "name": "user", "seconds": 1.0}
    assert [entry.name for entry in record.files] == ["a", "b", "c"]
    assert record.seconds == 1.2346
    said = {"label": "user", "device": "cuda", "threads": 2, "started": "2026-01-01T00:00:00+00:00"}
    assert said.items() <= record.provenance.items()
    assert len(record.provenance["source_digest"]) == 64
    assert Record.from_bytes(record.to_bytes(), "toy_text", stage.key) == record


def test_two_runs_differ_in_their_provenance_only():
    one, two = (record_of(node("a").named(name), [], {"n": 1}, len(name), name) for name in ("x", "yy"))
    assert one != two
    assert replace(one, provenance={}).to_bytes() == replace(two, provenance={}).to_bytes()


def test_provenance_holds_no_environment(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush-value")
    launch_provenance.cache_clear()
    assert "hush-hush-value" not in json.dumps(launch_provenance())

"""A key is the value's and nothing else's: not the process's, not the order's; and every leaf counts."""

import enum
import hashlib
import json
import math
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.errors import ConfigError
from nrf_ray.graph.canonical import canonical_json, digest, encode, key_of

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


@dataclass(frozen=True)
class Spec:
    """A config."""

    x: Any


@dataclass(frozen=True)
class Twin:
    """The same fields under another class name."""

    x: Any


@dataclass(frozen=True)
class Typed:
    """A config that calls a field "type"."""

    type: str


@dataclass(frozen=True)
class Placed:
    """A config that carries something which is no part of what it is."""

    x: Any
    where: Any = field(default="", compare=False)


class Norm(enum.Enum):
    """An enumeration of text."""

    L2 = "l2"


class Level(enum.IntEnum):
    """An enumeration of numbers."""

    ONE = 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param({"b": [1, 2.5, None, True], "a": "é"}, r'{"a":"\u00e9","b":[1,2.5,null,true]}', id="nested"),
        pytest.param((1, (2, 3)), "[1,[2,3]]", id="tuples are lists"),
        pytest.param({"b", "a", "c"}, '["a","b","c"]', id="sets of text are sorted"),
        pytest.param(Spec(x=Twin(x=0.1)), '{"type":"Spec","x":{"type":"Twin","x":0.1}}', id="dataclasses"),
        pytest.param([Norm.L2, Level.ONE], '["l2",1]', id="enumerations"),
        pytest.param([1e22, 1e-7, 8 / 255], "[1e+22,1e-07,0.03137254901960784]", id="shortest floats"),
        pytest.param([-0.0, 0.0], "[0.0,0.0]", id="minus zero is zero"),
        pytest.param([2**70, -(2**70)], f"[{2**70},-{2**70}]", id="large integers stay exact"),
    ],
)
def test_known_texts(value: Any, text: str):
    assert canonical_json(value) == text
    assert key_of(value) == hashlib.sha256(text.encode("ascii")).hexdigest()


def test_digest_known_answer():
    assert digest(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@given(st.dictionaries(st.text(), VALUES, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_dicts_does_not_count(value: dict[str, Any], random: Any):
    items = list(value.items())
    random.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(value)


@given(VALUES)
def test_json_reads_back_the_value_that_was_written(value: Any):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text
    assert text.isascii()


@given(VALUES, VALUES)
def test_equal_texts_mean_equal_values(a: Any, b: Any):
    assert canonical_json(a) != canonical_json(b) or a == b


def test_key_is_the_same_in_every_process_and_under_every_hash_seed():
    code = (
        "from nrf_ray.graph.canonical import key_of\n"
        "value = {'set': {'a', 'b', 'c', 'd'}, 'frozen': frozenset('xyz'), 'eps': 8 / 255, 'n': {'q': 1, 'p': 2}}\n"
        "print(key_of(value))"
    )
    here = key_of({"n": {"p": 2, "q": 1}, "eps": 8 / 255, "frozen": frozenset("zyx"), "set": {"d", "c", "b", "a"}})
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        command = [sys.executable, "-c", code]
        there = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()
        assert there == here, f"PYTHONHASHSEED={seed}"


def test_every_leaf_counts():
    def made(seed: Any = 0, eps: Any = 0.5, name: Any = "l2", flag: Any = False, last: Any = None, cls: Any = Spec):
        return {"a": [seed, {"eps": eps}], "spec": cls(x=(name, flag)), "last": last}

    changed = [
        made(),
        made(seed=1),
        made(seed=0.0),
        made(seed=False),
        made(seed="0"),
        made(seed=None),
        made(seed=[0]),
        made(eps=math.nextafter(0.5, 1)),
        made(name="linf"),
        made(name="L2"),
        made(flag=True),
        made(flag=0),
        made(last=0),
        made(last={}),
        made(last=[]),
        made(last=""),
        made(cls=Twin),
        {**made(), "more": None},
        {name: value for name, value in made().items() if name != "last"},
    ]
    assert len({key_of(value) for value in changed}) == len(changed)


def test_what_is_not_compared_is_no_part_of_the_key():
    here, there = Placed(1, where="/here"), Placed(1, where=Path("/there"))
    assert here == there
    assert key_of(here) == key_of(there) == key_of(Placed(1))
    assert canonical_json([here]) == '[{"type":"Placed","x":1}]'
    assert key_of(Placed(2, where="/here")) != key_of(here)


def test_a_field_that_would_overwrite_the_class_name_is_refused():
    with pytest.raises(ConfigError, match="config has a field called 'type'"):
        key_of(Typed(type="x"))


def test_minus_zero_equals_zero_wherever_it_is():
    assert key_of(Spec(x=[{"eps": -0.0}])) == key_of(Spec(x=[{"eps": 0.0}]))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param({"loss": len}, ["config.loss", "builtin_function_or_method"], id="callable"),
        pytest.param(Spec(x=lambda: 0), ["config.x", "function"], id="lambda"),
        pytest.param({"a": [1, math.nan]}, ["config.a[1]", "nan", "finite"], id="nan"),
        pytest.param({"a": {"b": math.inf}}, ["config.a.b", "inf", "finite"], id="inf"),
        pytest.param((-math.inf,), ["config[0]", "-inf"], id="minus inf"),
        pytest.param({"where": Path("/data")}, ["config.where", "Path"], id="path"),
        pytest.param({"s": {"a", 1}}, ["config.s", "set", "tuple"], id="mixed set"),
        pytest.param({"s": frozenset({1, 2})}, ["config.s", "set"], id="set of numbers"),
        pytest.param({"d": {1: "x"}}, ["config.d", "not text"], id="number as name"),
        pytest.param({"d": {None: "x"}}, ["config.d", "not text"], id="None as name"),
        pytest.param(Spec(x=b"raw"), ["config.x", "bytes"], id="bytes"),
        pytest.param({"c": Spec}, ["config.c", "type"], id="class"),
        pytest.param([[object()]], ["config[0][0]", "object"], id="object"),
        pytest.param({"z": 1j}, ["config.z", "complex"], id="complex"),
    ],
)
def test_what_has_no_stable_identity_is_refused_with_its_place(value: Any, words: list[str]):
    with pytest.raises(ConfigError) as caught:
        key_of(value)
    for word in words:
        assert word in str(caught.value)


def test_the_place_is_named_as_the_caller_calls_it():
    with pytest.raises(ConfigError, match=r"^metrics\.loss is nan"):
        encode({"loss": math.nan}, "metrics")

"""The mutation tool: its mistakes and their names; and the stored outcomes are of today's code."""

import ast
import importlib
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.mutation import mutate
from tests.mutation.mutants import mutants_of

SAMPLE = [job.mutant.name for job in mutate.jobs_of() if mutate.in_sample(job)]


def names(source: str) -> list[str]:
    return [mutant.name for mutant in mutants_of(ast.parse(source), Counter())]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(a): g(a < b <= c)", ["`a < b <= c`, < to <=", "`a < b <= c`, <= to <", "`g(a < b <= c)`, dropped"]),
        ("def f(a, b=1, *, c=False): pass", ["`b=1`, 1 to 2", "`c=False`, False to True"]),
        ("def f(a): return -a", ["`-a`, - dropped", "`return -a`, to None"]),
        ("def f(a): return None", []),
        ("def f(a):\n if a: b = c", ["`if a:`, negated"]),
        ("def f(a):\n if not a: b = c", ["`not a`, not dropped"]),
        ("def f(a):\n while True: break", ["`True`, True to False", "`break`, to continue", "`while True:`, negated"]),
        (
            "def f(a): b = [c for c in a if c > 0.5]",
            ["`c > 0.5`, 0.5 to 1.0", "`c > 0.5`, > to >=", "`c > 0.5`, negated"],
        ),
        ("def f(a): a.b = min(a.c, a.d)", ["`a.b = min(a.c, a.d)`, dropped", "`min(a.c, a.d)`, min to max"]),
        ("def f(a): b = g(c=a, d=1)", ["`c=a`, dropped", "`d=1`, 1 to 2"]),
        ("def f(a): b = a[0] + a[0]", ["`a[0] + a[0]`, + to -", "`a[0]`, 0 to 1", "`a[0]`, 0 to 1, no. 2"]),
        (
            "def f(a): a += 2 * b or c",
            ["`2 * b or c`, or to and", "`2 * b`, * to /", "`2 * b`, 2 to 3", "`a += 2 * b or c`, + to -"],
        ),
    ],
)
def test_known_mistakes(source: str, expected: list[str]) -> None:
    assert sorted(names(source)) == sorted(f"f: {name}" for name in expected)


def test_what_is_not_behaviour_is_left_alone() -> None:
    """Docstrings, types, decorators, messages of errors, f-strings."""
    source = '''
"""1 < 2"""
if TYPE_CHECKING:
    x = 1
@stage(version=1)
class C:
    """2 > 1, not 0"""
    a: Literal[1]
    def m(self, b: Literal[True] | None) -> Literal[2]:
        """-1"""
        assert isinstance(b, int | float), "a" + "b"
        b = f"{1 + 2}"
        raise ValueError("a" + str(1))
'''
    assert names(source) == []


def test_a_mutant_is_the_source_with_one_mistake() -> None:
    source = Path(mutate.__file__).read_text(encoding="utf-8")
    count, right = len(names(source)), ast.unparse(ast.parse(source))
    made = set()
    for number in range(0, count, 10):
        tree = ast.parse(source)
        list(mutants_of(tree, Counter()))[number].apply()
        compile(tree, "mutant", "exec")
        made.add(ast.unparse(tree))
    assert right not in made
    assert len(made) == len(range(0, count, 10)) > 10


def test_names_stay_when_code_is_moved_and_formatted() -> None:
    one, other = "def f(a):\n    return a + (1)\n", "class C:\n    def m(self, a=2):\n        g(a)\n"
    assert names(one + other) == names("X = None\n\n" + other + "# text\ndef f(a): return (a +\n  1)")[2:] + names(
        other
    )
    assert set(names(one + other)) == {*names(one), *names(other)}


def test_the_importer_gives_the_mutant_and_leaves_the_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "to_be_mutated.py"
    file.write_text("def f(a):\n    return a + 1\n")
    importer = mutate.Importer("to_be_mutated", str(file))
    importer.tree = ast.parse(file.read_text())
    next(mutants_of(importer.tree, Counter())).apply()
    monkeypatch.setattr(sys, "meta_path", [importer, *sys.meta_path])
    monkeypatch.delitem(sys.modules, "to_be_mutated", raising=False)
    module = importlib.import_module("to_be_mutated")
    monkeypatch.delitem(sys.modules, "to_be_mutated")
    assert module.__loader__ is importer
    assert module.f(3) is None
    assert file.read_text() == "def f(a):\n    return a + 1\n"


def test_a_mutant_that_was_killed_and_survives_fails_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    first, second, third = SAMPLE[:3]
    monkeypatch.setattr(mutate, "STATES", tmp_path / "mutants.txt")
    monkeypatch.setattr(sys, "argv", ["mutate"])
    states = {first: "killed", second: "survived", third: "equal  # the same"}
    mutate.write_states(states)
    assert mutate.read_states() == states
    seen = []
    for found in ({first: "killed", second: "survived"}, {first: "survived", second: "killed"}):
        monkeypatch.setattr(
            mutate, "run", lambda jobs, args, into, found=found: seen.extend(jobs) or into.update(found)
        )
        assert mutate.main() == (found[first] == "survived")
    assert {job.mutant.name for job in seen} == set(SAMPLE) - {third}
    assert capsys.readouterr().out == f"was killed, survives now: {first}\n"


def test_the_table_names_tests_that_are_there() -> None:
    assert [test for row in mutate.ROWS for test in row.tests if not (mutate.ROOT / "tests" / test).is_file()] == []


def test_no_two_mutants_have_one_name() -> None:
    everything = [job.mutant.name for job in mutate.jobs_of()]
    assert len(set(everything)) == len(everything)


def test_the_stored_outcomes_are_of_the_code_of_today() -> None:
    """At least nine in ten names are the same in the file and in today's sample.

    Not all, since then every edit of these modules would need a run of minutes; a mutant that is not in the file cannot
    show that tests have become weaker, so there may be few of them.
    """
    stored = mutate.read_states()
    same = len(set(SAMPLE) & set(stored))
    assert same >= 0.9 * max(len(SAMPLE), len(stored)), (
        f"{same} of {len(SAMPLE)} mutants are in {mutate.STATES.name}, which has {len(stored)}: "
        "run `python -m tests.mutation.mutate --state new --write`"
    )

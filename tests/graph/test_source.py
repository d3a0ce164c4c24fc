"""The source digest: changes with the code that makes a result, not with where that lies, and with nothing else."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nrf_ray.graph import source
from nrf_ray.graph.source import FORM, digest_text, source_digest
from tests.golden import pin

FILES = {
    "__init__.py": '"""A package."""\n',
    "stage.py": (
        '"""A stage."""\n'
        "import json\n"
        "import pack.graph.machine\n"
        "from pack import tools\n"
        "from pack.direct import LIMIT, scaled\n"
        "from pack.graph.machine import carry\n"
        "from pack.sub.deep import value\n"
        "from pack.graphics import draw\n"
        "\n\n"
        "def unused():\n"
        "    return 1\n"
        "\n\n"
        "def body(x: int = LIMIT) -> str:\n"
        '    """Return something."""\n'
        "    from pack.lazy import late\n"
        "    carry(draw)\n"
        "    return json.dumps([late, value, scaled(x), tools.cut(x), tools.deep.sharp])\n"
    ),
    "direct.py": (
        "from math import floor as down\n"
        "from pack.behind import FACTOR\n"
        "LIMIT = 3\n"
        "def scaled(x):\n"
        "    return down(x * FACTOR + len(Kept.rows))\n"
        "class Kept:\n"
        "    rows = ()\n"
        "    def again(self):\n"
        "        return scaled(1)\n"
        "def aside(): return 0\n"
    ),
    "behind.py": "FACTOR = 2\nOTHER = 1\n",
    "lazy.py": "late = 1\n",
    "graphics.py": "draw = 1\n",
    "unused.py": "x = 1\n",
    "tools/__init__.py": "from pack.tools.knives import cut as cut\n",
    "tools/knives.py": "def cut(x): return x\ndef other(x): return x\n",
    "tools/deep.py": "sharp = 1\nblunt = 2\n",
    "sub/__init__.py": "",
    "sub/deep.py": "import pack.stage\nvalue = 1\n",
    "graph/__init__.py": "",
    "graph/machine.py": "def carry(x): pass\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `pack` whose machinery is `pack.graph`."""
    for name, text in FILES.items():
        write(tmp_path / "pack" / name, text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(source, "MACHINERY", ("pack.graph", "pack.cluster"))
    forget()
    yield tmp_path / "pack"
    forget()
    for name in [name for name in sys.modules if name.partition(".")[0] == "pack"]:
        del sys.modules[name]
    importlib.invalidate_caches()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def forget() -> None:
    """Empty the caches, as a new process would have them."""
    for kept in (source_digest, source._module, source._definition):
        kept.cache_clear()


def function(module: str, name: str) -> Callable[..., object]:
    """Return a function that says it is of that module; nothing of it is imported."""

    def made() -> None: ...

    made.__module__, made.__name__ = module, name
    return made


def digest_now(module: str = "pack.stage", name: str = "body") -> str:
    forget()
    return source_digest(function(module, name))


def digest_after(package: Path, name: str, text: str) -> str:
    write(package / name, text)
    return digest_now()


def changed(name: str, old: str, new: str) -> tuple[str, str]:
    """Return the file `name` in which `old` has become `new`."""
    assert old in FILES[name]
    return name, FILES[name].replace(old, new)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param(*changed("stage.py", "[late,", "[late, 0,"), id="the function itself"),
        pytest.param(*changed("stage.py", "Return something", "Return it"), id="its docstring"),
        pytest.param(*changed("stage.py", "x: int", "x: float"), id="its annotations"),
        pytest.param(*changed("direct.py", "* FACTOR", "+ FACTOR"), id="a function that it uses"),
        pytest.param(*changed("direct.py", "LIMIT = 3", "LIMIT = 4"), id="a default"),
        pytest.param(*changed("direct.py", "scaled(1)", "scaled(2)"), id="a method of a class that is used"),
        pytest.param(*changed("behind.py", "FACTOR = 2", "FACTOR = 3"), id="a constant behind a function"),
        pytest.param("lazy.py", "late = 2\n", id="what is imported inside a function"),
        pytest.param(
            *changed("tools/knives.py", "cut(x): return x", "cut(x): return -x"), id="what a package passes on"
        ),
        pytest.param(*changed("tools/deep.py", "sharp = 1", "sharp = 2"), id="an attribute of a module of a package"),
        pytest.param("sub/deep.py", "import pack.stage\nvalue = 2\n", id="a module of a subpackage"),
        pytest.param("graphics.py", "draw = 2\n", id="a module whose name only begins like the machinery's"),
        pytest.param(*changed("direct.py", "floor as down", "ceil as down"), id="what a library's name stands for"),
        pytest.param(
            "behind.py", FILES["behind.py"] + "print('imported')\n", id="what a used module does when imported"
        ),
        pytest.param("behind.py", FILES["behind.py"] + "import pack.unused\n", id="what is imported for its effect"),
        pytest.param("behind.py", "if FACTOR:\n    FACTOR = 1\n" + FILES["behind.py"], id="a second binding of a name"),
    ],
)
def test_digest_changes_with(package: Path, name: str, text: str):
    before = digest_now()
    assert digest_after(package, name, text) != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("stage.py", "# why\n" + FILES["stage.py"] + "  # end\n", id="comments"),
        pytest.param("behind.py", "\n\nFACTOR   =  (2)\n", id="layout"),
        pytest.param(*changed("stage.py", '"""A stage."""', '"""Another word."""'), id="a docstring of a module"),
        pytest.param("unused.py", "x = 2\n", id="a module that is not imported"),
        pytest.param(*changed("behind.py", "OTHER = 1", "OTHER = 2"), id="what is defined beside"),
        pytest.param(*changed("direct.py", "return 0", "return 1"), id="a function that is not used"),
        pytest.param(*changed("tools/deep.py", "blunt = 2", "blunt = 3"), id="another attribute of a module"),
        pytest.param("graph/machine.py", "def carry(x): print(x)\n", id="the machinery"),
        pytest.param(
            "behind.py", FILES["behind.py"] + 'if __name__ == "__main__":\n    print()\n', id="a script's end"
        ),
    ],
)
def test_digest_does_not_change_with(package: Path, name: str, text: str):
    before = digest_now()
    assert digest_after(package, name, text) == before


def test_code_that_only_moves_keeps_its_digest(package: Path):
    before = digest_after(package, "sub/deep.py", "value = 1\n")
    write(package / "room" / "__init__.py", "")
    write(package / "room" / "maker.py", FILES["stage.py"].replace("pack.direct", "pack.room.scale"))
    write(package / "room" / "scale.py", FILES["direct.py"].replace("pack.behind", "pack.room.numbers"))
    write(package / "room" / "numbers.py", FILES["behind.py"])
    for name in ("stage.py", "direct.py", "behind.py"):
        (package / name).unlink()
    assert digest_now("pack.room.maker") == before


def test_a_definition_may_move_into_the_module_of_its_user(package: Path):
    before = digest_now()
    joined = FILES["direct.py"].replace("from pack.behind import FACTOR\n", "FACTOR = 2\n")
    assert digest_after(package, "direct.py", joined) == before


def test_another_function_of_the_same_name_is_seen_although_both_are_used(package: Path):
    """Which of two `cut`s a name stands for is nowhere in the text of what uses it."""
    write(package / "mine.py", "def cut(x): return x + 1\n")
    both = "from pack.{0} import cut\nfrom pack.{1} import cut as other\ndef body(): return cut(1), other(1)\n"
    write(package / "stage.py", both.format("tools.knives", "mine"))
    before = digest_now()
    assert digest_after(package, "stage.py", both.format("mine", "tools.knives")) != before


def test_what_a_function_imports_is_seen_also_where_its_whole_module_counts(package: Path):
    """Regression: of two looks at a function, by its name and with its whole module, the second missed its imports."""
    write(package / "stage.py", "from pack import mine\ndef body(): return mine.get(), vars(mine)\n")
    write(package / "mine.py", "def get():\n    from pack.lazy import late\n    return late\n")
    before = digest_now()
    for name in (source.ALL, "get"):
        assert [used for used, _ in source._definition(source._Place("pack.mine", name)).uses] == ["late"]
    assert digest_after(package, "lazy.py", "late = 2\n") != before


def test_stages_of_one_module_have_digests_of_their_own(package: Path):
    assert digest_now() != digest_now(name="unused")


def test_definitions_that_use_one_another_end(package: Path):
    write(package / "stage.py", "def body(): return other()\ndef other(): return body\n")
    before = digest_now()
    assert digest_after(package, "stage.py", "def body(): return other()\ndef other(): return body()\n") != before


def test_digest_takes_nothing_into_the_process_but_the_top_package(package: Path):
    digest_now()
    assert [name for name in sys.modules if name.partition(".")[0] == "pack"] == ["pack"]


@pytest.mark.parametrize(
    "module", ["nrf_ray.graph.store", "nrf_ray.graph.execute", "nrf_ray.cluster.run", "nrf_ray.errors"]
)
def test_our_machinery_is_in_no_digest(module: str):
    assert set(source._members(module, ("anything",))) == {"the machinery's anything"}


def test_every_name_that_a_stage_uses_of_ours_is_found():
    """What is neither a definition nor a module would be hashed by its name alone."""
    forget()
    for kind in pin.KINDS:
        source_digest(kind.body)
    todo, seen = [source._Place(kind.body.__module__, kind.body.__name__) for kind in pin.KINDS], set()
    while todo:
        place = todo.pop()
        if place in seen:
            continue
        seen.add(place)
        assert source._module(place.module) is not None
        for name, meaning in source._definition(place).uses:
            assert not isinstance(meaning, str) or not meaning.startswith("nothing"), (place, name)
            todo += [meaning] if isinstance(meaning, source._Place) else []
    assert len(seen) > 500
    assert len({source_digest(kind.body) for kind in pin.KINDS}) == len(pin.KINDS)


def test_a_digest_of_an_older_form_is_said_not_to_be_comparable():
    assert digest_text({"source_digest": "ab" * 32, "source_form": FORM}) == "ab" * 6
    assert digest_text({"source_digest": "ab" * 32}) == f"{'ab' * 6} (older form, not comparable)"

"""The source digest: changes with the code that makes a result, and with nothing else."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nrf_ray.graph import source
from nrf_ray.graph.canonical import digest
from nrf_ray.graph.source import source_digest

FILES = {
    "__init__.py": "",
    "stage.py": (
        "import json\n"
        "import pack.graph.machine\n"
        "from pack import direct\n"
        "from pack.sub.deep import value\n"
        "from pack.graphics import draw\n"
        "\n\n"
        "def body():\n"
        "    from pack.lazy import late\n"
        "    return late + value\n"
    ),
    "direct.py": "import pack.behind\n",
    "behind.py": "x = 1\n",
    "lazy.py": "late = 1\n",
    "graphics.py": "draw = 1\n",
    "unused.py": "x = 1\n",
    "sub/__init__.py": "",
    "sub/deep.py": "import pack.stage\nvalue = 1\n",
    "graph/__init__.py": "",
    "graph/machine.py": "x = 1\n",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `pack` whose machinery is `pack.graph`."""
    for name, text in FILES.items():
        (tmp_path / "pack" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pack" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(source, "MACHINERY", ("pack.graph", "pack.cluster"))
    forget()
    yield tmp_path / "pack"
    forget()
    for name in [name for name in sys.modules if name.partition(".")[0] == "pack"]:
        del sys.modules[name]


def forget() -> None:
    """Empty the caches, as a new process would have them."""
    source_digest.cache_clear()
    source._code.cache_clear()


def digest_after(package: Path, name: str, text: str) -> str:
    (package / name).write_text(text)
    forget()
    return source_digest("pack.stage")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("stage.py", FILES["stage.py"] + "y = 2\n", id="the module itself"),
        pytest.param("direct.py", FILES["direct.py"] + "y = 2\n", id="an imported module"),
        pytest.param("behind.py", "x = 2\n", id="a module behind an imported one"),
        pytest.param("lazy.py", "late = 2\n", id="a module imported inside a function"),
        pytest.param("sub/deep.py", "import pack.stage\nvalue = 2\n", id="a module of a subpackage"),
        pytest.param("graphics.py", "draw = 2\n", id="a module whose name only begins like the machinery's"),
    ],
)
def test_digest_changes_with_the_code_of(package: Path, name: str, text: str):
    before = source_digest("pack.stage")
    assert digest_after(package, name, text) != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("stage.py", "# why\n" + FILES["stage.py"] + "  # end\n", id="comments"),
        pytest.param("behind.py", "\n\nx   =  (1)\n", id="layout"),
        pytest.param("unused.py", "x = 2\n", id="a module that is not imported"),
        pytest.param("graph/machine.py", "x = 2\n", id="the machinery"),
    ],
)
def test_digest_does_not_change_with(package: Path, name: str, text: str):
    before = source_digest("pack.stage")
    assert digest_after(package, name, text) == before


def test_digest_takes_nothing_into_the_process_but_the_top_package(package: Path):
    source_digest("pack.stage")
    assert [name for name in sys.modules if name.partition(".")[0] == "pack"] == ["pack"]


@pytest.mark.parametrize(
    "module", ["nrf_ray.graph.store", "nrf_ray.graph.execute", "nrf_ray.cluster.run", "nrf_ray.errors"]
)
def test_our_machinery_is_in_no_digest(module: str):
    assert source_digest(module) == digest(b"")


def test_stages_have_digests_of_their_own():
    digests = {source_digest(f"nrf_ray.stages.{name}") for name in ("train", "construct", "evaluate", "judge")}
    assert len(digests) == 4
    assert digest(b"") not in digests

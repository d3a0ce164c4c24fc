"""The notebooks: what they may hold, and that they run, on a small store and on none.

By default their code runs in one bare process on an empty store: every table is missing then, and each has to be told
with its command. The slow tier makes a small store and executes them as Jupyter does.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import nbformat
import pyarrow.parquet as pq
import pytest
from nbclient import NotebookClient

import texts
from nrf_ray.graph.store import Store
from tests.sweeps import FILES

FOLDER = Path(__file__).resolve().parents[2] / "analysis"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
OURS = {path.stem for path in FOLDER.glob("*.py")}
MAY_IMPORT = {*OURS, "pandas", "os", "IPython.display", "nrf_ray.tables", "nrf_ray.statistics"}
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def cells(path: Path, kind: str) -> list[str]:
    """Return the sources of the cells of one kind."""
    return ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def code(path: Path) -> str:
    """Return the code of a notebook as Python, without magics."""
    lines = "\n".join(cells(path, "code")).splitlines()
    return "\n".join(line for line in lines if not line.startswith("%"))


def sweeps_of(path: Path) -> set[str]:
    """Return the sweeps that a notebook reads; where a variable of the environment names one, its default."""
    calls = [node for node in ast.walk(ast.parse(code(path))) if isinstance(node, ast.Call)]
    loads = [call.args[0] for call in calls if ast.unparse(call.func) in ("tables.load", "tables.picture")]
    chosen = [call.args[1] for call in calls if ast.unparse(call.func) == "os.environ.get"]
    return {name.value for name in (*loads, *chosen) if isinstance(name, ast.Constant)}


def test_there_are_nine_questions() -> None:
    assert [path.stem[:2] for path in NOTEBOOKS] == [f"0{number}" for number in range(1, 10)]


@every_notebook
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text())
    nbformat.validate(notebook)
    for cell in notebook["cells"]:
        assert not cell.get("outputs"), f"{path.name} is stored with outputs; clear them"
        assert cell.get("execution_count") is None
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"


@every_notebook
def test_a_notebook_opens_with_its_question_and_what_it_reads(path: Path) -> None:
    first = cells(path, "markdown")[0]
    title = first.splitlines()[0]
    assert title.startswith("# ")
    assert title.endswith("?")
    assert "**Question.**" in first
    assert "**Reads**" in first
    assert "NRF_STORE" in first
    assert sweeps_of(path), "it reads nothing, so nothing can be said of what it reads"
    for sweep in sweeps_of(path):
        assert str(FILES[sweep].relative_to(FOLDER.parent)) in first


@every_notebook
def test_a_notebook_imports_only_what_reads_and_draws(path: Path) -> None:
    imported = set()
    for node in ast.walk(ast.parse(code(path))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module)
    assert imported <= MAY_IMPORT
    assert not any(isinstance(node, ast.FunctionDef | ast.ClassDef) for node in ast.walk(ast.parse(code(path))))


@every_notebook
def test_no_conclusion_is_written_by_hand(path: Path) -> None:
    """Prose explains; numbers come from the tables. Names of tables, sections, years and radii are no results."""
    prose = "\n".join(cells(path, "markdown"))
    assert not [word for word in prose.replace("[", " ").split() if word.strip("().,;").startswith(("0.", ".0", "±"))]


def test_the_sweeps_that_notebooks_read_exist() -> None:
    for sweep in {sweep for path in NOTEBOOKS for sweep in sweeps_of(path)}:
        assert sweep in FILES


RUN_ALL = """
import sys
import matplotlib
matplotlib.use("agg")
for path, code in __import__("json").load(sys.stdin).items():
    print("##", path)
    exec(compile(code, path, "exec"), {})
assert "ray" not in sys.modules
"""


def test_on_an_empty_store_every_notebook_runs_and_names_the_commands(tmp_path: Path) -> None:
    environment = {**os.environ, "NRF_STORE": str(tmp_path / "none"), "PYTHONPATH": f"{FOLDER}:{FOLDER.parent}"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN_ALL],
        input=json.dumps({path.stem: code(path) for path in NOTEBOOKS}),
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    said = dict(part.split("\n", 1) for part in done.stdout.split("## ")[1:])
    for path in NOTEBOOKS:
        for sweep in sweeps_of(path):
            file = FILES[sweep].relative_to(FOLDER.parent)
            assert f"Run: python {file} --store {tmp_path / 'none'}" in said[path.stem]
    assert not (tmp_path / "none").exists(), "reading makes no store"


class Executed(NamedTuple):
    """A notebook as Jupyter executed it."""

    outputs: list[Any]
    seconds: float
    """Of a CPU, in its kernel: how busy the machine was does not count."""


@pytest.fixture(scope="module")
def executed(small_store: Path) -> Iterator[Callable[[Path], Executed]]:
    """Return what executes a notebook on the small store, once; a cell that raises fails the test."""

    @cache
    def execute(path: Path) -> Executed:
        notebook = nbformat.read(path, as_version=4)
        resources = {"metadata": {"path": str(FOLDER)}}
        before = os.times()
        done: Any = NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
        after = os.times()  # the kernel has ended
        seconds = sum(after[2:4]) - sum(before[2:4])
        return Executed([output for cell in done.cells for output in cell.get("outputs", [])], seconds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NRF_STORE", str(small_store))
        patch.delenv("NRF_SWEEP", raising=False)
        yield execute


@pytest.mark.slow
@pytest.mark.timeout(900)
@every_notebook
def test_executed_on_a_small_store(path: Path, executed: Callable[[Path], Executed]) -> None:
    outputs = executed(path).outputs
    text = "\n".join(output.text for output in outputs if output.output_type == "stream")
    absent = [line for line in text.splitlines() if line.startswith("There is no")]
    assert not [line for line in absent if "extra_tests" not in line], "files of CIFAR-10.1 are not here; all else is"
    assert any("image/png" in output.get("data", {}) for output in outputs), "it shows no figure"
    assert not [output for output in outputs if output.get("name") == "stderr"]


def html(outputs: Iterable[Any]) -> str:
    """Return all HTML that a notebook shows."""
    return "\n".join(output.data["text/html"] for output in outputs if "text/html" in output.get("data", {}))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_gallery_shows_texts_with_the_words_that_were_replaced(executed: Callable[[Path], Executed]) -> None:
    shown = html(executed(FOLDER / "05_gallery.ipynb").outputs)
    assert texts.EMPTY not in shown
    assert "d_det words 2" in shown
    assert shown.count("<del>") > 0
    assert shown.count("<ins>") > 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_cost_of_a_sweep_is_that_of_its_own_stages(small_store: Path, executed: Callable[[Path], Executed]) -> None:
    outputs = executed(FOLDER / "09_cost.ipynb").outputs
    stages = pq.read_table(small_store / "sweeps" / "transfer_grid" / "stages.parquet").num_rows
    said = "\n".join(output.data["text/markdown"] for output in outputs if "text/markdown" in output.get("data", {}))
    assert f"seconds of work in {stages} stages" in said
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3, "by kind, over time, the chain"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_all_notebooks_together_take_less_than_five_minutes(executed: Callable[[Path], Executed]) -> None:
    seconds = {path.stem: round(executed(path).seconds, 1) for path in NOTEBOOKS}
    assert 0 < sum(seconds.values()) < 300, seconds


@pytest.mark.slow
def test_the_gallery_shows_the_pixels_that_are_stored(small_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np

    import gallery
    import tables

    monkeypatch.setenv("NRF_STORE", str(small_store))
    made = gallery.one_each(tables.load("nonrobust_features", "datasets"), ["d_det", "leak_det"])
    shown = gallery.same_images(Store.open(str(small_store), create=False), made, classes=4)
    assert shown.labels == [0, 1, 2, 3]
    assert [picked.labels for picked in shown.sets] == [[1, 2, 3, 4]] * 2
    for row, picked in zip(made.to_dict("records"), shown.sets, strict=True):
        stored = pq.read_table(small_store / "construct" / row["key"] / "part-00000.parquet")
        pixels = stored["image"].to_pylist()
        for index, image in zip(shown.indices, picked.images, strict=True):
            assert (image.ravel() * 255).round().tolist() == pixels[index]
    drawn = gallery.sets_side_by_side(shown, title="t", note=gallery.note(shown)).axes
    assert len(drawn) == 4 * 3
    assert np.asarray(drawn[1].images[0].get_array()) == pytest.approx(shown.sets[0].images[0][0])
    changes = gallery.perturbations(shown, title="t", note="").axes
    largest = max(abs(np.asarray(ax.images[0].get_array()) - 0.5).max() for ax in changes)
    assert largest == pytest.approx(0.5), "the largest change just fits"

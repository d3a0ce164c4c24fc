"""What the code may never do, looked for in its syntax: no pickle is read back, nothing is unpacked, no code is run."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted([*(ROOT / "nrf_ray").rglob("*.py"), *(ROOT / "sweeps").rglob("*.py")])
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "jsonpickle", "pickletools"}
MAY_NAME_PICKLE = {
    "nrf_ray/data/readers/strict_pickle.py": "reads the few operations that CIFAR's files are made of",
    "nrf_ray/data/readers/tensors.py": "catches the error of torch.load",
    "nrf_ray/models/weight_files.py": "catches the error of torch.load",
}
MAY_RUN_TEXT = {"nrf_ray/plugins.py": "runs the files that the user names as plug-ins"}
FORBIDDEN = {
    "eval": "runs text",
    "exec": "runs text",
    "extractall": "unpacks what an archive says wherever it says",
    "unpack_archive": "unpacks what an archive says wherever it says",
    "read_pickle": "runs a pickle",
    "to_pickle": "writes a pickle",
    "os.system": "runs a shell",
    "os.popen": "runs a shell",
    "yaml.load": "builds any object",
    "mktemp": "may be raced",
}
"""Calls, by name or by the end of it."""


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield every call with the dotted name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def option(call: ast.Call, name: str) -> object:
    """Return the constant that a call gives for `name`, or None."""
    found = next((word.value for word in call.keywords if word.arg == name), None)
    return found.value if isinstance(found, ast.Constant) else None


def problems_in(source: str, name: str = "") -> list[str]:
    """Return what a module does that it may not."""
    tree = ast.parse(source)
    found = []
    for node in ast.walk(tree):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [f"imports {m}" for m in modules if m.split(".")[0] in PICKLES and name not in MAY_NAME_PICKLE]
    for called, call in calls(tree):
        last = called.rpartition(".")[2]
        if called == "exec" and name in MAY_RUN_TEXT:
            continue
        if called in FORBIDDEN or (
            last in FORBIDDEN and called.startswith(("tar", "zip", "shutil", "pd.", "tempfile"))
        ):
            found.append(f"calls {called}, which {FORBIDDEN.get(called) or FORBIDDEN[last]}")
        if last == "extractall":
            found.append("unpacks an archive")
        if called in ("torch.load", "torch.hub.load") and option(call, "weights_only") is not True:
            found.append(f"calls {called} without weights_only=True")
        if called in ("np.load", "numpy.load") and option(call, "allow_pickle") is not False:
            found.append(f"calls {called} without allow_pickle=False")
        if called.startswith("subprocess.") and option(call, "shell"):
            found.append("runs a shell")
        if called in ("pickle.load", "pickle.loads", "pickle.Unpickler"):
            found.append(f"calls {called}")
    return found


def test_no_module_reads_pickles_unpacks_archives_or_runs_text():
    names = {str(path.relative_to(ROOT)): path for path in FILES}
    assert len(names) > 100
    found = {name: problems_in(path.read_text(), name) for name, path in names.items()}
    assert {name: problems for name, problems in found.items() if problems} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from cloudpickle import loads",
        "import torch\ntorch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f)",
        "np.load(f, allow_pickle=True)",
        "tarfile.open(f).extractall()",
        "archive.extractall(where)",
        "shutil.unpack_archive(f)",
        "eval(text)",
        "subprocess.run(text, shell=True)",
        "pd.read_pickle(f)",
        "import pickle\npickle.loads(data)",
    ],
)
def test_the_search_finds_what_it_is_for(source: str):
    assert problems_in(source)


def test_the_exceptions_are_still_needed():
    for name in MAY_NAME_PICKLE:
        assert problems_in((ROOT / name).read_text()), name


def test_nothing_listens_to_the_network_or_switches_authentication_off():
    for path in FILES:
        text = path.read_text()
        assert "0.0.0.0" not in text, path
        nodes = list(ast.walk(ast.parse(text)))
        named = [target for node in nodes if isinstance(node, ast.Assign) for target in node.targets]
        named += [key for node in nodes if isinstance(node, ast.Dict) for key in node.keys if key is not None]
        assert not [one for one in map(ast.unparse, named) if "RAY_AUTH_MODE" in one], path

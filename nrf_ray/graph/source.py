"""A digest of the code that makes a stage's result.

It covers the stage's module and everything of the same package that it imports, also inside functions; comments and
layout do not count. It is recorded beside every artifact and never enters a key: when it has changed, `--plan` says
so, and a test asks whether the stage's `version` should have been raised.
"""

import ast
import importlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from nrf_ray.graph.canonical import digest

MACHINERY = ("nrf_ray.graph", "nrf_ray.cluster", "nrf_ray.errors")
"""Modules that carry stages but do not shape their results."""


@cache
def source_digest(module: str) -> str:
    """Return the sha256 over the sources of `module` and of all that it imports from its own package."""
    package = module.partition(".")[0]
    closure: dict[str, str] = {}
    todo = [module]
    while todo:
        name = todo.pop()
        if name in closure or any(f"{name}.".startswith(f"{machine}.") for machine in MACHINERY):
            continue
        module_code = _code(name)
        if module_code is None:
            continue
        closure[name] = module_code.source
        todo.extend(imported for imported in module_code.imports if imported.partition(".")[0] == package)
    return digest("\0".join(f"{name}\0{source}" for name, source in sorted(closure.items())).encode())


class _Code(NamedTuple):
    """What of a module counts."""

    source: str
    """Its text without comments and layout."""
    imports: tuple[str, ...]
    """What it imports by absolute name, also inside functions."""


@cache
def _code(module: str) -> _Code | None:
    """Return the code of `module`, or None where there is no such module (the name may be a function's).

    The file is found by its path: the import system would run the packages above it, and with them torch.
    """
    top, *parts = module.split(".")
    root = Path(importlib.import_module(top).__file__ or "").parent.joinpath(*parts)
    for path in (root / "__init__.py", root.with_suffix(".py")):
        if path.is_file():
            tree = ast.parse(path.read_text(encoding="utf-8"))
            return _Code(ast.unparse(tree), tuple(_imports(tree)))
    return None


def _imports(tree: ast.Module) -> list[str]:
    """Return what `tree` imports by absolute name, also inside functions; the linter bans relative imports."""
    names: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names

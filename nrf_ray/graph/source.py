"""Code digest: a hash of the code that makes a stage's result, which does not depend on where that code is.

It covers the stage's function and every definition of the same package that it uses, also through other definitions and
inside functions. Names of modules, import lines, module docstrings, comments and layout do not count, so code may move.
What each name refers to counts, so if another function of the same name is used, the digest changes. The digest is
stored in every record and never enters a key: if it has changed, `--plan` says so, and a test asks whether the stage's
`version` should have been raised.
"""

import ast
import importlib
import json
import symtable
from collections.abc import Callable, Iterator, Mapping
from functools import cache, cached_property
from pathlib import Path
from typing import Any, NamedTuple

from nrf_ray.graph.canonical import digest
from nrf_ray.graph.kept_digests import PACKAGE, kept
from nrf_ray.plugins import plugin_of

FORM = 2
"""Form of the digests; digests of two forms cannot be compared. Form 1 hashed whole modules with their names."""
MACHINERY = ("nrf_ray.graph", "nrf_ray.cluster", "nrf_ray.errors")
"""Modules that run stages but do not affect their results."""
ALL, EFFECTS = "*", ""
"""In place of a definition's name: all that a module defines; what it does when imported, besides definitions."""

Chain = tuple[str, ...]
"""A name as written in code, split at its dots."""


class _Place(NamedTuple):
    """Module and name of a definition."""

    module: str
    name: str


class _Statement:
    """A statement of a module; only what a digest needs of it is computed."""

    def __init__(self, node: ast.stmt, tables: list[symtable.SymbolTable]) -> None:
        self.node, self._tables = node, tables

    @cached_property
    def read(self) -> "_Visitor":
        """Names that the statement uses; computing them removes its import lines."""
        visitor = _Visitor()
        visitor.visit(self.node)
        free = _header_names(self.node).union(*map(_free, self._tables))
        visitor.chains = {chain for chain in visitor.chains if chain[0] in free or chain[0] in visitor.imports}
        return visitor

    @cached_property
    def text(self) -> str:
        """Code of the statement without import lines, comments and layout."""
        assert self.read
        return ast.unparse(self.node)


class _Module(NamedTuple):
    """A parsed module."""

    statements: dict[str, list[_Statement]]
    """Statements by the name they bind, and under ALL and EFFECTS; a name may have several, as in branches."""
    imports: dict[str, Chain]
    """Full names of what it imports, by the names that it uses for them."""


class _Definition(NamedTuple):
    """The parts of a definition that its digest covers."""

    text: str
    """Code without import lines, comments and layout."""
    uses: tuple[tuple[str, _Place | str], ...]
    """Names in it that it does not bind itself, with what each refers to."""


@cache
def source_digest(function: Callable[..., object]) -> str:
    """Return the sha256 of a module's function together with all that it uses of its own package, or its plug-in."""
    module, name = function.__module__, function.__name__
    if plugin := plugin_of(module):
        return plugin.digest
    if module.partition(".")[0] != PACKAGE:
        return _computed(_Place(module, name))
    return kept(lambda: _computed(_Place(module, name)), f"{module}.{name}")


def _computed(first: _Place) -> str:
    """Return the digest of a definition.

    Definitions are numbered in the order in which they are found. Each is described by its text and by what its names
    refer to: numbers of definitions, or full names of things in other packages.
    """
    places = [first]
    numbers = {places[0]: 0}
    described: list[tuple[str, list[tuple[str, int | str]]]] = []
    for place in places:
        definition = _definition(place)
        for _, meaning in definition.uses:
            if isinstance(meaning, _Place) and meaning not in numbers:
                numbers[meaning] = len(places)
                places.append(meaning)
        uses = [(name, numbers[it] if isinstance(it, _Place) else it) for name, it in definition.uses]
        described.append((definition.text, uses))
    return digest(json.dumps(described).encode())


def digest_text(provenance: Mapping[str, Any]) -> str:
    """Return the first digits of the digest in a record, with a remark if its form is not the current one."""
    text = str(provenance.get("source_digest"))[:12]
    return text if provenance.get("source_form", 1) == FORM else f"{text} (older form, not comparable)"


def _meanings(module: str, chain: Chain, imports: dict[str, Chain]) -> Iterator[_Place | str]:
    """Yield what a name used in `module` refers to: definitions, or its full name in another package."""
    name, *rest = chain
    found = _module(module)
    full = imports.get(name)
    if full is None and found is not None and name not in found.statements:
        full = found.imports.get(name)
        if full is None:
            return  # a built-in name
    if full is None:
        yield from _members(module, (name,))
    elif full[0] != module.partition(".")[0]:
        yield ".".join(full)
    else:
        yield from _members(full[0], (*full[1:], *rest))


def _members(module: str, chain: Chain) -> Iterator[_Place | str]:
    """Yield what `chain` refers to as an attribute of `module`, a module of our own package."""
    if any(f"{module}.".startswith(f"{machine}.") for machine in MACHINERY):
        yield f"the machinery's {'.'.join(chain)}"
        return
    found = _module(module)
    name, *rest = chain or (ALL,)
    if found is None:
        yield f"nothing called {name}"
    elif name in found.statements:
        yield _Place(module, name)
        if found.statements[EFFECTS]:
            yield _Place(module, EFFECTS)
    elif name in found.imports and ".".join(found.imports[name]) != f"{module}.{name}":
        yield from _meanings(module, chain, {})
    elif _module(f"{module}.{name}") is not None:
        yield from _members(f"{module}.{name}", tuple(rest))
    else:
        yield from _members(module, ())


@cache
def _module(name: str) -> _Module | None:
    """Return a parsed module of a package, or None if there is no such module.

    The file is found by its path, because the import system would run the packages above it, and so import torch.
    """
    top, *parts = name.split(".")
    root = Path(importlib.import_module(top).__file__ or "").parent.joinpath(*parts)
    for path in (root / "__init__.py", root.with_suffix(".py")):
        if path.is_file():
            return _taken_apart(path.read_text(encoding="utf-8"))
    return None


def _taken_apart(text: str) -> _Module:
    tree = ast.parse(text)
    tables: dict[tuple[str, int], symtable.SymbolTable] = {}
    for table in symtable.symtable(text, "<module>", "exec").get_children():
        tables[table.get_name(), table.get_lineno()] = table
    statements: dict[str, list[_Statement]] = {ALL: [], EFFECTS: []}
    imports: dict[str, Chain] = {}
    for node in tree.body:
        if _is_text(node) or _is_about(node, "__name__"):
            continue
        names: dict[str, None] = {}
        inner: list[symtable.SymbolTable] = []
        only_imports = True
        for part in _parts(node):
            if isinstance(part, ast.Import | ast.ImportFrom):
                imports |= _imported(part)
                continue
            only_imports = False
            names |= dict.fromkeys(_bound(part))
            if isinstance(part, DEFINITIONS):
                inner.append(tables[part.name, part.lineno])
        if not only_imports:
            statement = _Statement(node, inner)
            for name in (ALL, *(names or (EFFECTS,))):
                statements.setdefault(name, []).append(statement)
    for name in _imported_for_effect(tree):
        statements[EFFECTS].append(_Statement(ast.Expr(ast.Name(name, ast.Load())), []))
    return _Module(statements, imports)


@cache
def _definition(place: _Place) -> _Definition:
    module = _module(place.module)
    statements = module.statements.get(place.name, module.statements[ALL]) if module else []
    imports: dict[str, Chain] = {}
    chains: set[Chain] = set()
    for statement in statements:
        imports |= statement.read.imports
        chains |= statement.read.chains
    chains |= {(name,) for name in imports.keys() - {chain[0] for chain in chains}}  # imported for its effect
    uses = [(".".join(chain), it) for chain in sorted(chains) for it in _meanings(place.module, chain, imports)]
    return _Definition("\n".join(statement.text for statement in statements), tuple(uses))


DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _parts(node: ast.stmt) -> Iterator[ast.stmt]:
    """Yield a statement or, if it has branches, the statements in them; nothing inside a function or class."""
    blocks = [getattr(node, name, ()) for name in ("body", "orelse", "handlers", "finalbody")]
    if isinstance(node, DEFINITIONS) or not any(blocks):
        yield node
        return
    for inner in (inner for block in blocks for inner in block):
        yield from _parts(inner)


def _bound(node: ast.stmt) -> list[str]:
    """Return the names that a simple statement or a definition binds, except imported names."""
    if isinstance(node, DEFINITIONS):
        return [node.name]
    if not isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        return []
    return [name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)]


def _imported(node: ast.Import | ast.ImportFrom) -> dict[str, Chain]:
    """Return the full names of what an import line imports, by the names that it binds."""
    if isinstance(node, ast.ImportFrom):
        origin = (node.module or "").split(".")  # the linter bans relative imports
        return {alias.asname or alias.name: (*origin, alias.name) for alias in node.names}
    full = {alias: tuple(alias.name.split(".")) for alias in node.names}
    return dict((alias.asname, name) if alias.asname else (name[0], name[:1]) for alias, name in full.items())


def _imported_for_effect(tree: ast.Module) -> list[str]:
    """Return the names that a module imports, but neither uses nor re-exports (`import x as x`) nor needs for types."""
    nodes = [part for node in tree.body if not _is_about(node, "TYPE_CHECKING") for part in _parts(node)]
    lines = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    passed_on = {alias.asname for line in lines for alias in line.names if alias.asname == alias.name}
    names = {name for line in lines for name in _imported(line)} - passed_on
    return sorted(names - {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}) if names else []


def _is_text(node: ast.stmt) -> bool:
    """Return whether a statement is a docstring, of a module or of the name before it."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_about(node: ast.stmt, name: str) -> bool:
    """Return whether a statement is an `if` whose condition uses `name`."""
    return isinstance(node, ast.If) and name in {
        found.id for found in ast.walk(node.test) if isinstance(found, ast.Name)
    }


def _header_names(node: ast.stmt) -> set[str]:
    """Return the names that a statement reads in the scope of its module."""
    if isinstance(node, DEFINITIONS):
        fields: list[ast.AST] = [*node.decorator_list]
        fields += [*node.bases, *node.keywords] if isinstance(node, ast.ClassDef) else [node.args]
        fields += [node.returns] if isinstance(node, ast.FunctionDef) and node.returns else []
    else:
        fields = [node]
    return {name.id for part in fields for name in ast.walk(part) if isinstance(name, ast.Name)}


def _free(table: symtable.SymbolTable) -> set[str]:
    """Return the names that a function or class, or a function inside it, reads but does not bind itself."""
    names = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global() and symbol.is_referenced()}
    return names.union(*map(_free, table.get_children()))


class _Visitor(ast.NodeTransformer):
    """Visitor that removes import lines from code, and collects them and every name with the attributes read of it."""

    def __init__(self) -> None:
        self.imports: dict[str, Chain] = {}
        self.chains: set[Chain] = set()

    def visit_Import(self, node: ast.Import) -> None:
        """Remove an import line and collect its names."""
        self.imports |= _imported(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """Remove an import line and collect its names."""
        self.imports |= _imported(node)

    def visit_Name(self, node: ast.Name) -> ast.Name:
        """Collect a name of which no attribute is read."""
        self.chains.add((node.id,))
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.Attribute:
        """Collect a name with the attributes that follow it by dots."""
        attributes, base = [node.attr], node.value
        while isinstance(base, ast.Attribute):
            attributes.append(base.attr)
            base = base.value
        if isinstance(base, ast.Name):
            self.chains.add((base.id, *reversed(attributes)))
        else:
            self.visit(base)
        return node

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Visit a node, and put `pass` in its body if that became empty."""
        super().generic_visit(node)
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node

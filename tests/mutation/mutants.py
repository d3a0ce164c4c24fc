"""Mutants of a module: copies of its syntax tree with one small mistake each.

A mutant is named by its function, the expression with the mistake and the mistake, not by file or line. So the name
survives when code is moved to another file or formatted anew.
"""

import ast
import copy
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

SWAPPED = {
    **{"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "==", "in": "not in", "not in": "in"},
    **{"is": "is not", "is not": "is", "and": "or", "or": "and", "+": "-", "-": "+", "*": "/", "/": "*"},
    **{"//": "*", "%": "*", "**": "*", "|": "&", "&": "|"},
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
UNARY = {ast.Not: "not", ast.USub: "-", ast.Invert: "~"}
NEGATED_BY_SWAP = (ast.Eq, ast.NotEq, ast.In, ast.NotIn, ast.Is, ast.IsNot)
SKIPPED_FIELDS = {"annotation", "returns", "decorator_list", "msg"}
LONGEST = 80
"""Characters of an expression that a name quotes."""


def _operator(symbol: str) -> ast.AST:
    tree = ast.parse(f"a {symbol} b", mode="eval").body
    return tree.ops[0] if isinstance(tree, ast.Compare) else tree.op


SYMBOLS = {type(_operator(symbol)): symbol for symbol in SWAPPED}


@dataclass(frozen=True)
class Mutant:
    """One small mistake in a syntax tree."""

    name: str
    """The function, the expression with the mistake, and the mistake."""
    parent: ast.AST
    """The node whose child is replaced."""
    right: ast.AST
    """The child as it is written."""
    wrong: ast.AST
    """The child with the mistake."""

    def apply(self) -> None:
        """Put the mistake into the tree."""
        for field, value in ast.iter_fields(self.parent):
            if value is self.right:
                setattr(self.parent, field, self.wrong)
            elif isinstance(value, list):
                value[:] = [self.wrong if item is self.right else item for item in value]
        ast.fix_missing_locations(self.parent)


def mutants_of(tree: ast.Module, repeats: Counter[str]) -> Iterator[Mutant]:
    """Yield all mutants of `tree` in the order of its source.

    `repeats` counts the names that are taken, also by other modules; an equal name gets a number.
    """
    for scope, node, parent in _walk(tree, tree, "<module>"):
        for context, change, wrong in _mistakes(node, parent):
            text = ast.unparse(context).strip().partition("\n")[0]
            quoted = text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
            name = f"{scope}: `{quoted}`, {change}"
            repeats[name] += 1
            yield Mutant(name if repeats[name] == 1 else f"{name}, no. {repeats[name]}", parent, node, wrong)


def _walk(node: ast.AST, parent: ast.AST, scope: str) -> Iterator[tuple[str, ast.AST, ast.AST]]:
    """Yield (qualified name of the function, node, its parent) of what may be mutated: no types, no messages."""
    if isinstance(node, ast.Raise | ast.JoinedStr) or (isinstance(node, ast.If) and _says(node.test, "TYPE_CHECKING")):
        return
    yield scope, node, parent
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        scope = node.name if scope == "<module>" else f"{scope}.{node.name}"
    for field, value in ast.iter_fields(node):
        children = [] if field in SKIPPED_FIELDS else value if isinstance(value, list) else [value]
        if field == "args" and isinstance(node, ast.Call) and _says(node.func, "isinstance"):
            children = value[:1]  # its second argument is a type
        for child in children:
            if isinstance(child, ast.AST):
                yield from _walk(child, node, scope)


def _says(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _mistakes(node: ast.AST, parent: ast.AST) -> Iterator[tuple[ast.AST, str, ast.AST]]:
    """Yield (expression that a name quotes, what is wrong, the node with it) of every mistake at `node` itself."""
    match node:
        case ast.Compare():
            for place, operator in enumerate(node.ops):
                change, wrong = _swap(operator)
                yield node, change, _with(node, ops=[*node.ops[:place], wrong, *node.ops[place + 1 :]])
        case ast.BinOp() | ast.BoolOp() | ast.AugAssign() if type(node.op) in SYMBOLS:
            change, wrong = _swap(node.op)
            yield node, change, _with(node, op=wrong)
        case ast.UnaryOp() if type(node.op) in UNARY:
            yield node, f"{UNARY[type(node.op)]} dropped", node.operand
        case ast.Constant(value=bool() | int() | float()):
            wrong = _other_value(node.value)
            yield _around(node, parent), f"{node.value} to {wrong}", _with(node, value=wrong)
        case ast.Name() if node.id in NAMES:
            yield _around(node, parent), f"{node.id} to {NAMES[node.id]}", _with(node, id=NAMES[node.id])
        case ast.Attribute() if node.attr in NAMES:
            yield node, f"{node.attr} to {NAMES[node.attr]}", _with(node, attr=NAMES[node.attr])
        case ast.Break():
            yield node, "to continue", ast.Continue()
        case ast.Continue():
            yield node, "to break", ast.Break()
        case ast.Return(value=ast.expr()) if not isinstance(node.value, ast.Constant):
            yield node, "to None", _with(node, value=ast.Constant(None))
        case ast.Expr(value=ast.Call()) | ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield node, "dropped", ast.Pass()
        case ast.Call():
            for keyword in node.keywords:
                if keyword.arg and not isinstance(keyword.value, ast.Constant):
                    yield (
                        keyword,
                        "dropped",
                        _with(node, keywords=[kept for kept in node.keywords if kept is not keyword]),
                    )
        case ast.If() | ast.IfExp() | ast.While() if _can_be_negated(node.test):
            yield node, "negated", _with(node, test=ast.UnaryOp(ast.Not(), node.test))
        case ast.comprehension():
            for place, test in enumerate(node.ifs):
                if _can_be_negated(test):
                    tests = [*node.ifs[:place], ast.UnaryOp(ast.Not(), test), *node.ifs[place + 1 :]]
                    yield test, "negated", _with(node, ifs=tests)


def _swap(operator: ast.AST) -> tuple[str, ast.AST]:
    symbol = SYMBOLS[type(operator)]
    return f"{symbol} to {SWAPPED[symbol]}", _operator(SWAPPED[symbol])


def _other_value(value: bool | int | float) -> bool | int | float:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) or value == 0 else 2 * value


def _can_be_negated(test: ast.expr) -> bool:
    """Return whether no other mutant does the same as a negation of `test`."""
    if isinstance(test, ast.Compare):
        return len(test.ops) > 1 or not isinstance(test.ops[0], NEGATED_BY_SWAP)
    return not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not))


def _around(node: ast.expr, parent: ast.AST) -> ast.AST:
    """Return what a name quotes of a constant or a word: the expression or assignment that it is in."""
    if isinstance(parent, ast.arguments):
        pairs = [*zip(reversed([*parent.posonlyargs, *parent.args]), reversed(parent.defaults), strict=False)]
        pairs += zip(parent.kwonlyargs, parent.kw_defaults, strict=True)
        return next(ast.keyword(argument.arg, value) for argument, value in pairs if value is node)
    wide = ast.expr | ast.keyword | ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return
    return parent if isinstance(parent, wide) else node


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for field, value in fields.items():
        setattr(changed, field, value)
    return changed

"""Small changes of Python code, one at a time: what a test suite has to notice."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Div,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_PAIRS = [
    ("ELU", "ReLU"),
    ("sum", "mean"),
    ("max", "min"),
    ("amax", "amin"),
    ("argmax", "argmin"),
    ("any", "all"),
    ("zeros", "ones"),
    ("zeros_", "ones_"),
    ("zeros_like", "ones_like"),
    ("exp", "log"),
    ("tanh", "sigmoid"),
    ("Tanh", "Sigmoid"),
    ("maximum", "minimum"),
    ("floor", "ceil"),
    ("square", "abs"),
    ("MaxPool3d", "AvgPool3d"),
    ("train", "eval"),
    ("std", "var"),
]
#: Names that are swapped where they are called.
NAMES = {**dict(_PAIRS), **{b: a for a, b in _PAIRS}}
#: What these are called with is for the eye: messages and progress.
SILENT = {"print", "log", "warn", "format"}


@dataclass
class Mutant:
    """One change of one file.

    Attributes
    ----------
    file : str
        Relative to workflow/neurostrata.
    function : str
        Qualified name of the function that it is in; empty for code that runs on import.
    line : int
        Line of the change.
    operator, before, after : str
        Kind of change; the code that is changed and what becomes of it.
    number : int
        Counts equal changes within a function, from 0.
    """

    file: str
    function: str
    line: int
    operator: str
    before: str
    after: str
    number: int
    _place: tuple[ast.AST, str, int | None]
    _new: ast.AST

    @property
    def key(self) -> str:
        """Text that names this change for as long as the function stays as it is."""
        return "\t".join([self.file, self.function, self.operator, self.before, self.after, str(self.number)])

    def apply(self) -> None:
        """Change the tree that the mutant was found in; once and for all."""
        parent, field, index = self._place
        if index is None:
            setattr(parent, field, self._new)
        else:
            getattr(parent, field)[index] = self._new


def _copy(node: ast.expr, **changes: object) -> ast.expr:
    """Return a shallow copy of a node with other fields."""
    fields = {name: getattr(node, name) for name in node._fields}
    return ast.copy_location(type(node)(**{**fields, **changes}), node)  # type: ignore[return-value]


def _constants(node: ast.Constant) -> Iterator[tuple[str, ast.expr]]:
    value = node.value
    if isinstance(value, bool):
        yield "constant", _copy(node, value=not value)
    elif isinstance(value, int):
        yield "constant", _copy(node, value=value + 1)
    elif isinstance(value, float):
        yield "constant", _copy(node, value=value * 2 if value else 1.0)
    elif isinstance(value, str) and value and " " not in value:  # text with spaces is for people
        yield "constant", _copy(node, value=f"XX{value}XX")


def _calls(node: ast.Call) -> Iterator[tuple[str, ast.expr]]:
    function = node.func
    if isinstance(function, ast.Attribute) and function.attr in NAMES:
        yield "name", _copy(node, func=_copy(function, attr=NAMES[function.attr]))
    elif isinstance(function, ast.Name) and function.id in NAMES:
        yield "name", _copy(node, func=_copy(function, id=NAMES[function.id]))
    for index, keyword in enumerate(node.keywords):
        if keyword.arg not in {None, "strict"}:
            yield "argument", _copy(node, keywords=node.keywords[:index] + node.keywords[index + 1 :])
    in_place = isinstance(function, ast.Attribute) and function.attr.startswith(
        ("clip", "clamp", "nan_to_num")
    )
    if in_place and isinstance(function, ast.Attribute):
        module = isinstance(function.value, ast.Name) and function.value.id in {"np", "torch"}
        yield "call", node.args[0] if module else function.value


def _expressions(node: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    """Yield (operator, what replaces the expression)."""
    if isinstance(node, ast.Constant):
        yield from _constants(node)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Compare):
        for index, op in enumerate(node.ops):
            ops = [*node.ops]
            ops[index] = COMPARISONS[type(op)]()
            yield "comparison", _copy(node, ops=ops)
    elif isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
        yield "arithmetic", _copy(node, op=ARITHMETIC[type(node.op)]())
        if isinstance(node.op, ast.Add | ast.Sub):
            yield "operand", node.right
    elif isinstance(node, ast.BoolOp):
        yield "logic", _copy(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    elif isinstance(node, ast.UnaryOp) and not isinstance(node.operand, ast.Constant):
        yield "sign", node.operand
    elif isinstance(node, ast.IfExp):
        yield "branch", _copy(node, body=node.orelse, orelse=node.body)


def _statements(node: ast.stmt) -> Iterator[tuple[str, ast.stmt]]:
    """Yield (operator, what replaces the statement)."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield "deleted", ast.copy_location(ast.Pass(), node)
    elif isinstance(node, ast.AugAssign):
        yield "deleted", ast.copy_location(ast.Pass(), node)
        if type(node.op) in ARITHMETIC:
            new = ast.AugAssign(node.target, ARITHMETIC[type(node.op)](), node.value)
            yield "arithmetic", ast.copy_location(new, node)
    elif isinstance(node, ast.Break):
        yield "loop", ast.copy_location(ast.Continue(), node)
    elif isinstance(node, ast.Continue):
        yield "loop", ast.copy_location(ast.Break(), node)


def _silent(node: ast.AST) -> bool:
    """Whether a change inside would only be read by people: errors' words, progress, notes of types."""
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return True  # zip's is a check of our own
    if isinstance(node, ast.Raise | ast.Import | ast.ImportFrom | ast.JoinedStr | ast.Assert):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True  # a docstring
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        function = node.value.func
        return getattr(function, "attr", getattr(function, "id", None)) in SILENT
    return False


def _any_size(parent: ast.AST, node: ast.AST) -> bool:
    """Whether this is the -1 of a reshape(): numpy takes any negative number for it."""
    name = getattr(parent.func, "attr", "") if isinstance(parent, ast.Call) else ""
    return name == "reshape" and isinstance(node, ast.UnaryOp) and ast.unparse(node) == "-1"


def mutants(path: Path, root: Path) -> tuple[ast.Module, list[Mutant]]:
    """Find all changes of a file.

    Parameters
    ----------
    path
        The file.
    root
        Folder that names are relative to.

    Returns
    -------
    tree : ast.Module
        The parsed file, which :meth:`Mutant.apply` changes.
    found : list of Mutant
        In the order of the file.
    """
    tree = ast.parse(path.read_text(), str(path))
    name = path.relative_to(root).as_posix()
    found: list[Mutant] = []
    seen: dict[tuple[str, ...], int] = {}

    def add(
        place: tuple[ast.AST, str, int | None], old: ast.AST, operator: str, new: ast.AST, scope: str
    ) -> None:
        text = (scope, operator, ast.unparse(old), ast.unparse(new))
        seen[text] = seen.get(text, -1) + 1
        found.append(Mutant(name, scope, old.lineno, *text[1:], seen[text], place, new))  # type: ignore[attr-defined]

    def visit(node: ast.AST, prefix: str, scope: str) -> None:
        for field, value in ast.iter_fields(node):
            if field in {"annotation", "returns", "decorator_list", "type_comment", "type_ignores"}:
                continue
            for index, child in enumerate(value if isinstance(value, list) else [value]):
                if not isinstance(child, ast.AST) or _silent(child) or _any_size(node, child):
                    continue
                place = (node, field, index if isinstance(value, list) else None)
                inner, inner_prefix = scope, prefix
                if isinstance(child, ast.ClassDef):
                    inner, inner_prefix = "", f"{prefix}{child.name}."
                elif isinstance(child, ast.FunctionDef):
                    inner, inner_prefix = f"{prefix}{child.name}", f"{prefix}{child.name}.<locals>."
                if isinstance(child, ast.expr):
                    if isinstance(getattr(child, "ctx", None), ast.Store):
                        pass  # a target; its subscripts are visited below
                    else:
                        for operator, new in _expressions(child):
                            add(place, child, operator, new, scope)
                elif isinstance(child, ast.stmt):
                    for operator, changed in _statements(child):
                        add(place, child, operator, changed, scope)
                if isinstance(child, ast.If | ast.While) and not isinstance(
                    child.test, ast.Compare | ast.UnaryOp
                ):
                    test = child.test
                    negated = ast.copy_location(ast.UnaryOp(ast.Not(), test), test)
                    add((child, "test", None), test, "condition", negated, scope)
                visit(child, inner_prefix, inner)

    visit(tree, "", "")
    return tree, found

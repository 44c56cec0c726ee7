"""Mutants of a Python file: one small change each, in the text, found in the syntax tree.

Left alone, since no test ought to depend on them: docstrings and other texts, what is raised, type annotations, decorators,
the `strict` of `zip`, the classes that `isinstance` takes, and the defaults and limits of a recipe's keys.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

COMPARISONS: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", "<="), ast.LtE: ("<=", "<"), ast.Gt: (">", ">="), ast.GtE: (">=", ">"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="), ast.Is: ("is", "is not"), ast.IsNot: (r"is\s+not", "is"), ast.In: ("in", "not in"),
    ast.NotIn: (r"not\s+in", "in"),
}  # fmt: skip
OPERATORS: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"), ast.Sub: ("-", "+"), ast.Mult: ("*", "+"), ast.Div: ("/", "*"), ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"), ast.Pow: ("**", "*"), ast.LShift: ("<<", ">>"), ast.RShift: (">>", "<<"), ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"), ast.BitXor: ("^", "&"), ast.MatMult: ("@", "*"),
}  # fmt: skip
NAMES = {
    "min": "max", "max": "min", "minimum": "maximum", "maximum": "minimum", "any": "all", "all": "any",
    "argmin": "argmax", "argmax": "argmin", "floor": "ceil", "ceil": "floor",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """`file` (relative to the root) with `source` in place of its text; `before` and `after` are the first changed line.
    `at_import`: it is outside of every function's body, so no single test runs it."""

    file: str
    line: int
    last_line: int
    before: str
    after: str
    source: str
    at_import: bool = False
    occurrence: int = 0  # among equal changes of equal lines

    @property
    def key(self) -> tuple[str, str, str]:
        return self.file, self.before, self.after

    def rank(self, seed: int) -> str:
        """Its place in the draw: a change elsewhere in the code leaves it where it is."""
        text = "\0".join((str(seed), *self.key, str(self.occurrence)))
        return hashlib.sha256(text.encode()).hexdigest()


def draw(root: Path, files: Iterable[str], count: int, seed: int) -> list[Mutant]:
    found = [m for f in files for m in mutants(f, (root / f).read_text())]
    return sorted(found, key=lambda m: m.rank(seed))[:count]


def mutants(file: str, text: str) -> list[Mutant]:
    """Every mutant of `text`, in the order of their places."""
    lines = text.encode().splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    whole = text.encode()
    seen: dict[tuple[str, str], int] = {}
    found: dict[tuple[int, int, bytes], Mutant] = {}
    tree = ast.parse(text)
    bodies = [(f.body[0].lineno, f.end_lineno or 0) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef)]
    for edit in _edits(tree, _Text(whole, starts)):
        source = whole[: edit.start] + edit.text + whole[edit.end :]
        first = whole.count(b"\n", 0, edit.start)
        before, after = (s.split(b"\n")[first].decode().strip() for s in (whole, source))
        if source == whole or (edit.start, edit.end, edit.text) in found:
            continue
        n = seen[before, after] = seen.get((before, after), -1) + 1
        last = whole.count(b"\n", 0, max(edit.start, edit.end - 1)) + 1
        at_import = not any(start <= last <= end for start, end in bodies)
        mutant = Mutant(file, first + 1, last, before, after, source.decode(), at_import, n)
        found[edit.start, edit.end, edit.text] = mutant
    return sorted(found.values(), key=lambda m: (m.line, m.after))


@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    text: bytes


@dataclass(frozen=True, slots=True)
class _Text:
    whole: bytes
    starts: list[int]

    def start(self, node: ast.expr) -> int:
        return self.starts[node.lineno - 1] + node.col_offset

    def end(self, node: ast.expr) -> int:
        return self.starts[(node.end_lineno or 1) - 1] + (node.end_col_offset or 0)

    def of(self, node: ast.expr) -> bytes:
        return self.whole[self.start(node) : self.end(node)]

    def between(self, left: ast.expr, right: ast.expr, pattern: str, new: str) -> Iterator[_Edit]:
        """`pattern`, which stands between two operands, replaced."""
        offset = self.end(left)
        if found := re.search(pattern.encode(), self.whole[offset : self.start(right)]):
            yield _Edit(offset + found.start(), offset + found.end(), new.encode())

    def replaced(self, node: ast.expr, new: bytes) -> _Edit:
        return _Edit(self.start(node), self.end(node), new)


def _edits(tree: ast.AST, text: _Text) -> Iterator[_Edit]:
    yield from _of(tree, text)
    for child in _children(tree):
        yield from _edits(child, text)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    """What may be changed below `node`."""
    if isinstance(node, ast.Raise | ast.JoinedStr):
        return
    skipped: set[int] = set()
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        skipped |= {id(d) for d in node.decorator_list}
    if isinstance(node, ast.FunctionDef) and node.returns is not None:
        skipped.add(id(node.returns))
    if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
        skipped.add(id(node.annotation))
    if isinstance(node, ast.Call):
        skipped |= {id(k) for k in node.keywords if k.arg == "strict"}
        if isinstance(node.func, ast.Name) and node.func.id == "limits":
            return
        if isinstance(node.func, ast.Name) and node.func.id == "isinstance":
            skipped.add(id(node.args[1]))
        if isinstance(node.func, ast.Attribute) and node.func.attr == "fail":
            return
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript):
        skipped.add(id(node.value) if isinstance(node.value.slice, ast.Tuple | ast.Constant) and _is_type(node.value) else 0)
    yield from (c for c in ast.iter_child_nodes(node) if id(c) not in skipped)


def _is_type(node: ast.Subscript) -> bool:
    return isinstance(node.value, ast.Name) and (node.value.id in ("tuple", "dict", "list", "Literal"))


def _of(node: ast.AST, text: _Text) -> Iterator[_Edit]:
    match node:
        case ast.Compare():
            operands = [node.left, *node.comparators]
            for op, left, right in zip(node.ops, operands, operands[1:], strict=False):
                pattern, new = COMPARISONS[type(op)]
                yield from text.between(left, right, pattern, new)
        case ast.BinOp() if not _is_text(node.left):
            old, new = OPERATORS[type(node.op)]
            yield from text.between(node.left, node.right, re.escape(old), new)
        case ast.AugAssign():
            old, new = OPERATORS[type(node.op)]
            yield from text.between(node.target, node.value, re.escape(old + "="), new + "=")
        case ast.BoolOp():
            old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
            for left, right in zip(node.values, node.values[1:], strict=False):
                yield from text.between(left, right, rf"\b{old}\b", new)
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.Invert()):
            yield text.replaced(node, b"(" + text.of(node.operand) + b")")
        case ast.IfExp():
            yield text.replaced(node.test, b"not (" + text.of(node.test) + b")")
        case ast.Constant():
            yield from _of_constant(node, text)
        case ast.Slice():
            if node.lower is not None and not isinstance(node.lower, ast.Constant):
                yield text.replaced(node.lower, b"(" + text.of(node.lower) + b") + 1")
            if node.upper is not None and not isinstance(node.upper, ast.Constant):
                yield text.replaced(node.upper, b"(" + text.of(node.upper) + b") - 1")
        case ast.Name() if node.id in NAMES:
            yield text.replaced(node, NAMES[node.id].encode())
        case ast.Attribute() if node.attr in NAMES:
            end = text.end(node)
            yield _Edit(end - len(node.attr), end, NAMES[node.attr].encode())
        case ast.Continue():
            start = text.starts[node.lineno - 1] + node.col_offset
            yield _Edit(start, start + len("continue"), b"break")


def _of_constant(node: ast.Constant, text: _Text) -> Iterator[_Edit]:
    value = node.value
    if isinstance(value, bool):
        yield text.replaced(node, str(not value).encode())
    elif isinstance(value, int | float):
        yield text.replaced(node, repr(value + 1).encode())
        if value > 0:
            yield text.replaced(node, repr(value - 1).encode() if value >= 1 else b"0.0")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))

"""Imports go one way: the layers of docs/architecture.md, and no circle among files."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = re.search(r"```layers\n(.*?)```", (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"), re.DOTALL)

Modules = Mapping[str, str]
"""The text of each module, by its dotted name."""


def modules(root: Path) -> Modules:
    found = {}
    for path in sorted(root.glob("pipeline/**/*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
        found[name] = path.read_text(encoding="utf-8")
    return found


def imports(name: str, known: Modules) -> Iterator[str]:
    """Every module of ours that this one names, wherever in it: in functions and for type checking, too."""
    for node in ast.walk(ast.parse(known[name])):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in known)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            if node.module in known:
                whole = (f"{node.module}.{a.name}" for a in node.names)
                yield from (module if module in known else str(node.module) for module in whole)


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The names along one circle, the first once more at the end; none when there is none."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        done.add(name)
        return next((found for other in sorted(graph[name]) if (found := walk(other, [*path, name]))), [])

    return next((found for name in sorted(graph) if (found := walk(name, []))), [])


def graph_of(known: Modules) -> dict[str, set[str]]:
    return {name: set(imports(name, known)) - {name} for name in known}


def unit(module: str) -> str:
    """The folder or file right below `pipeline/` that a module is in; `pipeline` is the package's own face."""
    return [*module.split("."), ""][1] or "pipeline"


def against_the_layers(graph: Mapping[str, set[str]], text: str) -> list[str]:
    """The imports that do not go to a layer further down; and the units that the layers leave out, or name twice."""
    layers = [line.split() for line in text.splitlines()]
    height = {name: -i for i, line in enumerate(layers) for name in line}
    units = {unit(module) for module in graph}
    listed = [name for line in layers for name in line]
    wrong = [f"{name} is in no layer" for name in sorted(units - set(listed))]
    wrong += [f"{name} is in the layers, and nowhere else" for name in sorted(set(listed) - units)]
    wrong += [f"{name} is in two layers" for name in sorted({n for n in listed if listed.count(n) > 1})]
    return wrong + [
        f"{module} imports {other}"
        for module in sorted(graph)
        for other in sorted(graph[module])
        if unit(module) != unit(other) and height.get(unit(other), 0) >= height.get(unit(module), 0)
    ]


def test_no_file_imports_itself_through_others() -> None:
    assert circle(graph_of(modules(ROOT))) == []


def test_folders_import_what_is_further_down() -> None:
    assert LAYERS is not None
    assert against_the_layers(graph_of(modules(ROOT)), LAYERS[1]) == []


SMALL = {
    "pipeline": "", "pipeline.low": "", "pipeline.high": "", "pipeline.high.a": "from pipeline.high import b\n",
    "pipeline.high.b": "from pipeline import low\n",
}  # fmt: skip
FAULTS = {
    "circle": ("pipeline.high.b", "from pipeline.high.a import x\n", "pipeline.high.a pipeline.high.b pipeline.high.a", ""),
    "circle in a function": (
        "pipeline.low", "def f():\n    import pipeline.high.a\n",
        "pipeline.high.a pipeline.high.b pipeline.low pipeline.high.a",
        "pipeline.low imports pipeline.high.a",
    ),
    "up": ("pipeline.low", "from pipeline.high import x\n", "", "pipeline.low imports pipeline.high"),
    "for types": (
        "pipeline.low", "if TYPE_CHECKING:\n    from pipeline import high\n", "", "pipeline.low imports pipeline.high"
    ),
    "unlisted": ("pipeline.new", "", "", "new is in no layer"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_what_it_finds(case: str) -> None:
    name, text, around, wrong = FAULTS[case]
    graph = graph_of({**SMALL, name: text})
    assert " ".join(circle(graph)) == around
    assert against_the_layers(graph, "pipeline\nhigh\nlow\n") == ([wrong] if wrong else [])
    assert circle(graph_of(SMALL)) == against_the_layers(graph_of(SMALL), "pipeline\nhigh\nlow\n") == []

"""The files of the user's own modules: what an import of them reads, found in their text without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pipeline.host.users_code import whose


def sources_of(modules: Sequence[str], folders: Sequence[Path]) -> Mapping[str, Path]:
    """By its place below one of `folders`, each of the user's files that `modules` consist of and import, directly or not.
    Installed packages are no files of the user's; a name that is only made when the code runs is not seen."""
    found: dict[str, Path] = {}
    waiting = [(name, root) for name in modules if (root := _root(name, folders))]
    seen = set(waiting)
    while waiting:
        name, root = waiting.pop()
        for file in _files(name, root):
            place = file.relative_to(root).as_posix()
            if place in found or whose(str(file)) != 2:
                continue
            found[place] = file
            for other in _imports(file, place):
                step = (other, _root(other, folders))
                if step[1] is not None and step not in seen:
                    seen.add((other, step[1]))
                    waiting.append((other, step[1]))
    return dict(sorted(found.items()))


def _root(name: str, folders: Sequence[Path]) -> Path | None:
    """The first folder that Python would find the module's top in."""
    top = name.partition(".")[0]
    return next((f for f in folders if (f / f"{top}.py").is_file() or (f / top).is_dir()), None)


def _files(name: str, root: Path) -> Iterator[Path]:
    """The module's own file, and what its packages run first."""
    parts = name.split(".")
    for i in range(1, len(parts) + 1):
        folder = root.joinpath(*parts[:i])
        yield from (f for f in (folder / "__init__.py", folder.with_suffix(".py")) if f.is_file())


def _imports(file: Path, place: str) -> Iterator[str]:
    """Every module that the file may import, wherever in it; of `from a import b`, `a.b` too: it may be one."""
    package = place.removesuffix(".py").split("/")[:-1]
    try:
        tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError, OSError):  # found when it is imported
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (".".join(filter(None, (base, name))) for name in ("", *(a.name for a in node.names)) if base or name)

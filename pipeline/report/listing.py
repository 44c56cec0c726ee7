"""What `pipeline targets` and `pipeline doctor` print."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline import doctor
from pipeline.report.figures import show
from pipeline.target import Target


def print_targets(targets: Iterable[Target], console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for t in targets:
        memory = f"flash {show('flash_bytes', t.memory.flash_bytes)}, RAM {show('ram_bytes', t.memory.ram_bytes)}"
        table.add_row(
            t.name,
            Text.assemble(
                f"{t.cpu.core} at {t.cpu.clock_hz / 1e6:g} MHz, {memory}, reached by {t.device.transport}\n",
                (f"{t.description}\n", "dim"),
                (f"tested: {t.tested}", "dim"),
            ),
        )
    console.print(table)


def print_target(target: Target, console: Console) -> None:
    """Every value of the target file, defaults included."""
    for f in dataclasses.fields(target):
        value = getattr(target, f.name)
        if not dataclasses.is_dataclass(value):
            _print_row(console, f.name, value)
    for f in dataclasses.fields(target):
        value = getattr(target, f.name)
        if dataclasses.is_dataclass(value):
            console.print(Text(f"\n[{f.name}]", style="bold cyan"))
            for inner in dataclasses.fields(value):
                _print_row(console, inner.name, getattr(value, inner.name))


def _print_row(console: Console, name: str, value: object) -> None:
    if isinstance(value, tuple):
        shown = ", ".join(map(str, value))
    elif isinstance(value, int) and not isinstance(value, bool):
        shown = f"{value:#010x}" if name.endswith(("origin", "base")) else f"{value:,}"
    else:
        shown = str(value)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(width=20, style="dim")
    grid.add_column(overflow="fold")
    grid.add_row(name, shown)
    console.print(grid)


def print_findings(console: Console) -> bool:
    """One row per tool and package. False when something required is missing."""
    table = Table.grid(padding=(0, 2))
    table.add_column(width=7)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    complete = True
    for finding in map(doctor.find, doctor.TOOLS):
        tool = finding.tool
        if finding.path:
            table.add_row(Text("found", style="green"), tool.name, finding.version, Text(finding.path, style="dim"))
            continue
        complete &= not tool.required
        state = Text("MISSING", style="bold red") if tool.required else Text("absent", style="yellow")
        table.add_row(state, tool.name, "", f"{tool.purpose}. {doctor.how_to_get([tool])}")
    for name in doctor.PACKAGES:
        version = doctor.package_version(name)
        complete &= version is not None
        state = Text("found", style="green") if version else Text("MISSING", style="bold red")
        table.add_row(state, name, version or "", "" if version else f"pip install {name} (or reinstall tinyml-pipeline)")
    for name, why in doctor.OPTIONAL_PACKAGES.items():
        version = doctor.package_version(name)
        table.add_row(Text("found", style="green") if version else Text("absent", style="yellow"), name, version or "", why)
    console.print(table)
    console.print()
    if complete:
        console.print(Text("Everything a run needs is here.", style="green"))
    else:
        console.print(Text("Something required is missing: see above.", style="red"))
    return complete

"""What `pipeline targets` and `pipeline doctor` print."""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.host import tools
from pipeline.report.figures import show
from pipeline.target import Target

_UNUSED: Mapping[str, frozenset[str]] = {
    "cortex_m": frozenset(("cores", "model")),
    "linux": frozenset(
        (
            "fpu", "flash_origin", "ram_origin", "stack_bytes", "machine", "hal", "uart_base", "uart_irq",
            "peripheral_clock_hz", "core_clock_hz", "baud", "timer", "flash",
        )
    ),
}  # fmt: skip
"""Keys of a target file that say nothing of a target of this family."""


def print_targets(targets: Iterable[Target], console: Console) -> None:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for t in targets:
        memory = f"flash {show('flash_bytes', t.memory.flash_bytes)}, RAM {show('ram_bytes', t.memory.ram_bytes)}"
        table.add_row(
            Text(t.name),
            Text.assemble(
                f"{t.cpu.core} at {t.cpu.clock_hz / 1e6:g} MHz, {memory}, reached by {t.device.transport}\n",
                (f"{t.description}\n", "dim"),
                (f"tested: {t.tested}", "dim"),
            ),
        )
    console.print(table)


def print_target(target: Target, console: Console) -> None:
    """Every value that a target of its family uses, defaults included; text and lists that are empty are left out."""
    for f in dataclasses.fields(target):
        value = getattr(target, f.name)
        if not dataclasses.is_dataclass(value) and value is not None:
            _print_row(console, f.name, value)
    for f in dataclasses.fields(target):
        value = getattr(target, f.name)
        if dataclasses.is_dataclass(value):
            console.print(Text(f"\n[{f.name}]", style="bold cyan"))
            for inner in dataclasses.fields(value):
                shown = getattr(value, inner.name)
                own = inner.name == "hal" and target.driver is not None
                if not own and inner.name not in _UNUSED[target.family] and shown not in ("", ()):
                    _print_row(console, inner.name, shown)


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
    grid.add_row(name, Text(shown))  # a flash command has brackets that are no markup
    console.print(grid)


def print_findings(console: Console) -> bool:
    """One row per tool and package, and one command that installs what is missing. False when something required is."""
    findings = [tools.find(tool) for tool in tools.TOOLS]
    missing = [f.tool for f in findings if f.path is None]
    table = Table.grid(padding=(0, 2))
    table.add_column(width=7)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for f in findings:
        place = Text(f.path, style="dim") if f.path else Text(f.tool.purpose)
        table.add_row(_state(f.path is not None, f.tool.required), f.tool.name, f.version, place)
    versions = {name: tools.package_version(name) for name in (*tools.PACKAGES, *tools.OPTIONAL_PACKAGES)}
    for name, version in versions.items():
        why = "" if version else tools.OPTIONAL_PACKAGES.get(name, "a required Python package")
        table.add_row(_state(version is not None, name in tools.PACKAGES), name, version or "", why)
    console.print(table)
    console.print()
    packages = [name for name in tools.PACKAGES if versions[name] is None]
    commands = tools.install_commands(missing) if missing else []
    if packages:
        commands.append(("Python", f"{shlex.quote(sys.executable)} -m pip install {' '.join(packages)}"))
    for where, command in commands:
        console.print(Text.assemble(f"To install what is missing ({where}):\n  ", (command, "bold")), soft_wrap=True)
    complete = not packages and not any(tool.required for tool in missing)
    if complete:
        console.print(Text("Everything a run needs is here.", style="green"))
    else:
        console.print(Text("Something required is missing: install it, then run `pipeline doctor` again.", style="red"))
    return complete


def _state(found: bool, required: bool) -> Text:
    if found:
        return Text("found", style="green")
    return Text("MISSING", style="bold red") if required else Text("absent", style="bold")

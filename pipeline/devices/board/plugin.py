"""Exact instruction counts and estimated cycles from QEMU, by a plugin of our own that is compiled once per machine.

Its source, firmware_templates/qemu_plugin/cortex_m_cycles.c, needs a C compiler and no header of QEMU's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import BuildError, DeviceError
from pipeline.locations import data_dir

REFILL_LOW, REFILL, REFILL_HIGH = 1, 2, 3  # cycles a taken jump costs while the pipeline refills: 1 + P, P from 1 to 3
INSTEAD = '`counter = "systick"` under [measure] counts without it, coarsely'


@dataclass(frozen=True, slots=True)
class Core:
    """How a core's cycles follow from the plugin's timing table: `table` is the plugin's, and (low, middle, high) factors
    scale the table's low, middle and high estimate."""

    table: str
    factors: tuple[float, float, float]
    source: str


_IN_ORDER = (1.0, 1.0, 1.0)
CORES = {
    "cortex-m3": Core("m3", _IN_ORDER, "Cortex-M3 TRM (DDI 0337), table 3-1"),
    "cortex-m4": Core("m4", _IN_ORDER, "Cortex-M4 TRM (DDI 0439), table 3-1"),
    # No cycle tables are published for these: the M4's, scaled by Arm's CoreMark/MHz (M4 3.42, M7 5.01, M33 4.10, M55 4.40);
    # the band reaches from the pipeline's best (two instructions a cycle on the M7) to no gain at all.
    "cortex-m7": Core("m4", (0.5, 0.68, 1.0), "M4 table x 3.42/5.01 (CoreMark/MHz)"),
    "cortex-m33": Core("m4", (0.75, 0.83, 1.0), "M4 table x 3.42/4.10 (CoreMark/MHz)"),
    "cortex-m55": Core("m4", (0.6, 0.78, 1.2), "M4 table x 3.42/4.40 (CoreMark/MHz)"),
}


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one inference: instructions exactly, cycles estimated as a middle value between two bounds."""

    instructions: int
    cycles: int
    cycles_low: int
    cycles_high: int


def core(name: str) -> Core:
    try:
        return CORES[name]
    except KeyError:
        raise DeviceError(
            f"there is no cycle estimate for the core {name!r}. Known: {', '.join(CORES)}. Add a line to CORES in "
            f"pipeline/devices/board/plugin.py, with its source; {INSTEAD}."
        ) from None


def counts(line: str, model: Core) -> Counts:
    """One line of the plugin's output as counts on this core."""
    fields = json.loads(line)
    base, taken = fields["base_cycles"], fields["taken"]
    low, middle, high = (
        round((base + refill * taken) * factor)
        for refill, factor in zip((REFILL_LOW, REFILL, REFILL_HIGH), model.factors, strict=True)
    )
    return Counts(fields["instructions"], middle, low, high)


def build(qemu: str) -> Path:
    """The plugin's shared library for this QEMU program, compiled on first use. DeviceError when this machine can not."""
    from pipeline.host.tools import find_compiler

    api = _api(qemu)
    source = data_dir("firmware_templates") / "qemu_plugin" / "cortex_m_cycles.c"
    try:
        compiler = find_compiler()
    except BuildError:
        raise DeviceError(
            "cycles can not be counted: QEMU's plugin needs a C compiler on this machine, and there is none. Debian: "
            f"apt-get install gcc; Fedora: dnf install gcc; macOS: xcode-select --install. Or {INSTEAD}."
        ) from None
    mac = ["-undefined", "dynamic_lookup"] if sys.platform == "darwin" else []
    options = ["-std=c99", "-O2", "-fPIC", "-shared", "-fvisibility=hidden", f"-DPLUGIN_API={api}", *mac]
    key = hashlib.sha256(source.read_bytes() + repr((compiler, options)).encode()).hexdigest()[:16]
    library = cache_dir() / f"cortex_m_cycles-{key}.so"
    if not library.is_file():
        try:
            _compile([compiler, *options, str(source)], library)
        except (OSError, subprocess.TimeoutExpired) as e:
            raise DeviceError(
                f"QEMU's plugin that counts cycles can not be built in {library.parent}: {e}. Name a folder that can be "
                f"written in XDG_CACHE_HOME, or {INSTEAD}."
            ) from None
    return library


def _compile(command: list[str], library: Path) -> None:
    """Beside its place and then renamed: two runs may build it at once."""
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as work:
        made = Path(work) / library.name
        environment = {**os.environ, "TMPDIR": work}  # where a compiler that is killed leaves its own files
        done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True, timeout=120, env=environment)
        if done.returncode:
            first = next((line for line in done.stderr.splitlines() if "error" in line), done.stderr[:200])
            raise DeviceError(
                f"QEMU's plugin that counts cycles does not compile with {command[0]}: {first.strip()}. Try another "
                f"compiler (CC=gcc), or {INSTEAD}."
            )
        made.replace(library)


def cache_dir() -> Path:
    """Where compiled tools are kept: $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tinyml-pipeline"


def _api(qemu: str) -> int:
    """The plugin interface of this QEMU: 1 before version 9.0, 2 in 9.0, 3 (a copying qemu_plugin_insn_data) since 9.1."""

    def ask(option: str) -> str:
        try:
            return subprocess.run([qemu, option], capture_output=True, text=True, timeout=30).stdout
        except (OSError, subprocess.TimeoutExpired) as e:
            raise DeviceError(f"{qemu} can not be run: {e}. Install qemu-system-arm again.") from None

    version = re.search(r"version (\d+)\.(\d+)", ask("--version"))
    if version is None:
        raise DeviceError(f"{qemu} --version does not tell its version: is it QEMU? Install qemu-system-arm.")
    if "-plugin" not in ask("-help"):
        raise DeviceError(
            f"cycles can not be counted: {qemu} {version[0]} was built without plugins (--enable-plugins). Install a QEMU "
            f"with them, as Debian, Fedora and Homebrew ship, or {INSTEAD}."
        )
    number = (int(version[1]), int(version[2]))
    return 1 if number < (9, 0) else 2 if number < (9, 1) else 3

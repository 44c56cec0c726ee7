"""The tools outside Python that a run needs: whether each is here, which version, and how to get it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from pipeline.errors import BuildError
from pipeline.target import Target

System = Literal["debian", "fedora", "macos"]
SYSTEM_NAMES: dict[System, str] = {"debian": "Debian, Ubuntu", "fedora": "Fedora", "macos": "macOS with Homebrew"}
_INSTALL: dict[System, str] = {
    "debian": "sudo apt-get update && sudo apt-get install --no-install-recommends",
    "fedora": "sudo dnf install",
    "macos": "brew install",
}
_XCODE = "xcode-select --install"  # Apple's own compiler, make and git: no package of Homebrew


@dataclass(frozen=True, slots=True)
class Tool:
    """A program (what the environment's `variable` names, else the first of `commands` found on PATH), what it is for, and
    the packages that hold it, per system."""

    name: str
    commands: tuple[str, ...]
    purpose: str
    packages: Mapping[System, str]
    required: bool = True
    variable: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """`version` is "" when `path` is None: not found. `said` is the first line of the program's own words about itself."""

    tool: Tool
    path: str | None
    version: str
    said: str = field(default="", compare=False)


def _packages(debian: str, fedora: str, macos: str) -> Mapping[System, str]:
    packages: dict[System, str] = {"debian": debian, "fedora": fedora, "macos": macos}
    return MappingProxyType(packages)


CROSS_COMPILER = Tool(
    "arm-none-eabi-gcc",
    ("arm-none-eabi-gcc",),
    "builds the firmware",
    _packages("gcc-arm-none-eabi", "arm-none-eabi-gcc-cs", "arm-none-eabi-gcc"),
)
QEMU = Tool(
    "qemu-system-arm",
    ("qemu-system-arm",),
    "runs the emulated boards",
    _packages("qemu-system-arm", "qemu-system-arm", "qemu"),
)
HOST_COMPILER = Tool(
    "host C compiler",
    ("cc", "gcc", "clang"),
    "proves the generated C on this host and builds the cycle counter",
    _packages("gcc libc6-dev", "gcc", _XCODE),
    variable="CC",
)
MAKE = Tool("make", ("make", "gmake"), "builds the firmware folder", _packages("make", "make", _XCODE))
GIT = Tool("git", ("git",), "records the commit of a run", _packages("git", "git", _XCODE), required=False)
TOOLS = (HOST_COMPILER, CROSS_COMPILER, QEMU, MAKE, GIT)

PACKAGES = (
    "torch", "torchao", "torch-pruning", "numpy", "scikit-learn", "mlflow", "ai-edge-litert", "onnx", "onnxruntime",
    "pyserial", "paramiko",
)  # fmt: skip
OPTIONAL_PACKAGES = {
    "tflite-micro": "the TFLite Micro oracle; its wheel is for Linux on x86-64 only, elsewhere it is left out"
}


def locate(tool: Tool) -> str | None:
    """The path of the program that will be run for `tool`; None when this machine has none."""
    names = (os.environ.get(tool.variable, ""), *tool.commands) if tool.variable else tool.commands
    return next((p for name in names if name and (p := shutil.which(name))), None)


def find(tool: Tool) -> Finding:
    path = locate(tool)
    if path is None:
        return Finding(tool, None, "")
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Finding(tool, None, "")
    said = (done.stdout or done.stderr).partition("\n")[0]
    match = re.search(r"\d+\.\d+\.\d+", said) or re.search(r"\d+\.\d+", said)  # Debian's own "15:12.2.rel1" comes first
    # Apple's stand-ins for gcc and git exist without Xcode's tools, and fail.
    return Finding(tool, path, match[0] if match else "", said) if done.returncode == 0 else Finding(tool, None, "")


def needed(target: Target) -> tuple[Tool, ...]:
    """What builds and proves a target's firmware; none where it has none."""
    return (HOST_COMPILER, CROSS_COMPILER, MAKE) if target.family == "cortex_m" else ()


def require(tools: Iterable[Tool], whose: str) -> None:
    """BuildError that says how to get those of `tools` that this machine lacks; `whose` ("target cortex-m4") needs them."""
    missing = [tool for tool in tools if find(tool).path is None]
    if missing:
        names = " and ".join(f"{t.name} ({t.purpose})" for t in missing)
        raise BuildError(f"{whose} needs {names}, not found on this machine. Install: {how_to_get(missing)}.")


def how_to_get(tools: Sequence[Tool]) -> str:
    """The command for this system; one for each system when it is not known."""
    return "; ".join(f"{name}: {command}" for name, command in install_commands(tools))


def install_commands(tools: Sequence[Tool]) -> list[tuple[str, str]]:
    """(system, one line for its shell) of this system; of every system when it is not known."""
    here = system()
    systems: list[System] = [here] if here else list(SYSTEM_NAMES)
    return [(SYSTEM_NAMES[s], _command(tools, s)) for s in systems]


def _command(tools: Sequence[Tool], system: System) -> str:
    wanted = dict.fromkeys(t.packages[system] for t in tools)
    packages = [p for p in wanted if p != _XCODE]
    commands = [_XCODE] if _XCODE in wanted else []
    return " && ".join(commands + ([f"{_INSTALL[system]} {' '.join(packages)}"] if packages else []))


def system() -> System | None:
    if sys.platform == "darwin":
        return "macos"
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return None
    ids = {release.get("ID", ""), *release.get("ID_LIKE", "").split()}
    return "debian" if ids & {"debian", "ubuntu"} else "fedora" if ids & {"fedora", "rhel"} else None


def package_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """Of everything found that a run's figures depend on."""
    tools = {f.tool.name: f.version for f in map(find, TOOLS) if f.path}
    packages = {n: v for n in (*PACKAGES, *OPTIONAL_PACKAGES) if (v := package_version(n))}
    return {"python": platform.python_version(), **tools, **packages}


def find_compiler() -> str:
    """The host's C compiler: $CC, cc, gcc or clang. BuildError when there is none."""
    if path := locate(HOST_COMPILER):
        return path
    raise BuildError(
        f"{HOST_COMPILER.name} not found (looked for $CC, cc, gcc, clang): it {HOST_COMPILER.purpose}. "
        f"Install: {how_to_get([HOST_COMPILER])}."
    )

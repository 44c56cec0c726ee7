"""The tools outside Python that a run needs: whether each is here, which version, and how to get it."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pipeline.errors import BuildError
from pipeline.target import Target

System = Literal["debian", "fedora", "macos"]
SYSTEM_NAMES: dict[System, str] = {"debian": "Debian, Ubuntu", "fedora": "Fedora", "macos": "macOS"}


@dataclass(frozen=True, slots=True)
class Tool:
    """A program (the first of `commands` found on PATH), what it is for, and the command that installs it per system."""

    name: str
    commands: tuple[str, ...]
    purpose: str
    install: Mapping[System, str]
    required: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """`version` is "" when `path` is None: not found."""

    tool: Tool
    path: str | None
    version: str


def _install(debian: str, fedora: str, macos: str) -> Mapping[System, str]:
    commands: dict[System, str] = {"debian": debian, "fedora": fedora, "macos": macos}
    return MappingProxyType(commands)


CROSS_COMPILER = Tool(
    "arm-none-eabi-gcc",
    ("arm-none-eabi-gcc",),
    "builds the firmware",
    _install(
        "sudo apt-get install --no-install-recommends gcc-arm-none-eabi",
        "sudo dnf install arm-none-eabi-gcc-cs",
        "brew install arm-none-eabi-gcc",
    ),
)
QEMU = Tool(
    "qemu-system-arm",
    ("qemu-system-arm",),
    "runs the emulated boards",
    _install(
        "sudo apt-get install --no-install-recommends qemu-system-arm",
        "sudo dnf install qemu-system-arm",
        "brew install qemu",
    ),
)
HOST_COMPILER = Tool(
    "host C compiler",
    ("gcc", "cc", "clang"),
    "proves the generated C on this host and builds the cycle counter",
    _install("sudo apt-get install gcc libc6-dev", "sudo dnf install gcc", "xcode-select --install"),
)
MAKE = Tool(
    "make",
    ("make", "gmake"),
    "builds the firmware folder",
    _install("sudo apt-get install make", "sudo dnf install make", "xcode-select --install"),
)
GIT = Tool(
    "git",
    ("git",),
    "records the commit of a run",
    _install("sudo apt-get install git", "sudo dnf install git", "xcode-select --install"),
    required=False,
)
TOOLS = (HOST_COMPILER, CROSS_COMPILER, QEMU, MAKE, GIT)

PACKAGES = ("torch", "torchao", "torch-pruning", "numpy", "scikit-learn", "mlflow", "ai-edge-litert", "pyserial")
OPTIONAL_PACKAGES = {
    "tflite-micro": "the TFLite Micro oracle; its wheel is for Linux on x86-64 only, elsewhere it is left out"
}


def find(tool: Tool) -> Finding:
    path = next((p for command in tool.commands if (p := shutil.which(command))), None)
    if path is None:
        return Finding(tool, None, "")
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return Finding(tool, None, "")
    match = re.search(r"\d+\.\d+(\.\d+)?", done.stdout or done.stderr)
    # Apple's stand-ins for gcc and git exist without Xcode's tools, and fail.
    return Finding(tool, path if done.returncode == 0 else None, match[0] if match and done.returncode == 0 else "")


def needed(target: Target, *, attached: bool = False) -> tuple[Tool, ...]:
    """What a run on this target can not do without; with the board `attached`, no emulator."""
    if target.family != "cortex_m":
        return ()
    emulator = (QEMU,) if target.device.transport == "qemu" and not attached else ()
    return (HOST_COMPILER, CROSS_COMPILER, MAKE, *emulator)


def require(tools: Iterable[Tool], whose: str) -> None:
    """BuildError that says how to get those of `tools` that this machine lacks; `whose` ("target cortex-m4") needs them."""
    missing = [tool for tool in tools if find(tool).path is None]
    if missing:
        names = " and ".join(f"{t.name} ({t.purpose})" for t in missing)
        raise BuildError(f"{whose} needs {names}, not found on this machine. Install: {how_to_get(missing)}.")


def how_to_get(tools: list[Tool]) -> str:
    """The commands for this system; for each system when it is not known."""
    here = system()
    systems: list[System] = [here] if here else list(SYSTEM_NAMES)
    return "; ".join(f"{SYSTEM_NAMES[s]}: {' && '.join(dict.fromkeys(t.install[s] for t in tools))}" for s in systems)


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

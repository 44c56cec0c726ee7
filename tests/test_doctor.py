"""Which tools a target needs, and what a user is told when they are missing."""

from __future__ import annotations

import io
import platform
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from pipeline import target
from pipeline.errors import BuildError
from pipeline.host import tools
from pipeline.host.tools import find_compiler
from pipeline.report.listing import print_findings

CORTEX_M4 = target.load("cortex-m4")
APT = "Debian, Ubuntu: sudo apt-get update && sudo apt-get install --no-install-recommends"
SYSTEMS = {
    "debian": ({"ID": "debian"}, f"{APT} qemu-system-arm make"),
    "ubuntu": ({"ID": "ubuntu", "ID_LIKE": "debian"}, f"{APT} qemu-system-arm make"),
    "mint": ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, f"{APT} qemu-system-arm make"),
    "fedora": ({"ID": "fedora"}, "Fedora: sudo dnf install qemu-system-arm make"),
    "rocky": ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "Fedora: sudo dnf install qemu-system-arm make"),
    "unknown": (
        {"ID": "haiku"},
        f"{APT} qemu-system-arm make; Fedora: sudo dnf install qemu-system-arm make; "
        "macOS with Homebrew: xcode-select --install && brew install qemu",
    ),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_how_to_get_on_this_system(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    release, commands = SYSTEMS[name]
    monkeypatch.setattr(tools.sys, "platform", "linux")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    assert tools.how_to_get([tools.QEMU, tools.MAKE]) == commands


def test_one_command_gets_everything_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.sys, "platform", "darwin")
    assert tools.how_to_get(tools.TOOLS) == (
        "macOS with Homebrew: xcode-select --install && brew install arm-none-eabi-gcc qemu"
    )
    assert tools.how_to_get([tools.GIT]) == "macOS with Homebrew: xcode-select --install"


def test_only_firmware_is_built() -> None:
    assert tools.CROSS_COMPILER in tools.needed(CORTEX_M4)
    assert tools.needed(replace(CORTEX_M4, family="linux")) == ()


def test_what_is_missing_is_named_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        BuildError, match=r"^the board needs git \(.*\) and make \(.*\), not found on this machine\. Install: "
    ):
        tools.require([tools.GIT, tools.MAKE], "the board")


def test_a_tool_that_can_not_start_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = tmp_path / "git"  # as on a Mac without Xcode's command line tools
    stand_in.write_text("#!/bin/sh\nexit 1\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert tools.find(tools.GIT) == tools.Finding(tools.GIT, None, "")


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("arm-none-eabi-gcc (15:12.2.rel1-1) 12.2.1 20221205", "12.2.1"),
        ("GNU Make 4.3\nBuilt for x86_64-pc-linux-gnu 1.2.3", "4.3"),
        ("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)", "7.2.22"),
        ("Apple clang version 15.0.0 (clang-1500.3.9.4)", "15.0.0"),
        ("BusyBox", ""),
    ],
)
def test_the_version_is_the_tools_own(said: str, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "git"
    tool.write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert tools.find(tools.GIT) == tools.Finding(tools.GIT, str(tool), version)


def test_doctor_gives_one_command_that_can_be_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(tools.sys, "platform", "linux")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: {"ID": "debian"})
    monkeypatch.setattr(tools, "PACKAGES", ("numpy", "no-such-package"))
    out = io.StringIO()
    assert not print_findings(Console(file=out, width=80))
    lines = out.getvalue().splitlines()
    packages = "gcc libc6-dev gcc-arm-none-eabi qemu-system-arm make git"
    assert f"  {APT.partition(': ')[2]} {packages}" in lines
    assert f"  {sys.executable} -m pip install no-such-package" in lines
    assert any(re.match(r"MISSING +no-such-package +a required Python package", line) for line in lines)
    assert lines[-1] == "Something required is missing: install it, then run `pipeline doctor` again."
    assert max(len(line) for line in lines if not line.startswith("  ")) <= 80


def test_versions_name_tools_and_packages() -> None:
    found = tools.versions()
    assert found["python"] == platform.python_version()
    assert {"torch", "numpy", "mlflow"} <= set(found)


def test_the_host_compiler_found_is_the_one_that_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mycc", "gcc", "cc"):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {name} 1.2.3\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for value, wanted in (("mycc", "mycc"), (str(tmp_path / "gcc"), "gcc"), ("", "cc"), ("no-such-compiler", "cc")):
        monkeypatch.setenv("CC", value)
        found = tools.find(tools.HOST_COMPILER)
        assert (found.path, found.said) == (find_compiler(), f"{wanted} 1.2.3")

"""Which tools a target needs, and what a user is told when they are missing."""

from __future__ import annotations

import platform
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline import doctor, target
from pipeline.errors import BuildError

CORTEX_M4 = target.load("cortex-m4")
SYSTEMS = {
    "debian": ({"ID": "debian"}, "Debian, Ubuntu: sudo apt-get install --no-install-recommends qemu-system-arm"),
    "ubuntu": ({"ID": "ubuntu", "ID_LIKE": "debian"}, "Debian, Ubuntu: sudo apt-get install"),
    "mint": ({"ID": "linuxmint", "ID_LIKE": "ubuntu debian"}, "Debian, Ubuntu: sudo apt-get install"),
    "fedora": ({"ID": "fedora"}, "Fedora: sudo dnf install qemu-system-arm"),
    "rocky": ({"ID": "rocky", "ID_LIKE": "rhel centos fedora"}, "Fedora: sudo dnf install qemu-system-arm"),
    "unknown": ({"ID": "haiku"}, "Fedora: sudo dnf install qemu-system-arm; macOS: brew install qemu"),
}


@pytest.mark.parametrize("name", SYSTEMS)
def test_how_to_get_on_this_system(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    release, command = SYSTEMS[name]
    monkeypatch.setattr(doctor.sys, "platform", "linux")
    monkeypatch.setattr(platform, "freedesktop_os_release", lambda: release)
    assert command in doctor.how_to_get([doctor.QEMU])


def test_how_to_get_on_macos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.sys, "platform", "darwin")
    assert doctor.how_to_get([doctor.QEMU, doctor.MAKE]) == "macOS: brew install qemu && xcode-select --install"


def test_a_board_on_the_bench_needs_no_emulator() -> None:
    assert doctor.QEMU in doctor.needed(CORTEX_M4)
    assert doctor.QEMU not in doctor.needed(CORTEX_M4, attached=True)
    assert doctor.needed(replace(CORTEX_M4, family="linux")) == ()


def test_what_is_missing_is_named_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        BuildError, match=r"^the board needs git \(.*\) and make \(.*\), not found on this machine\. Install: "
    ):
        doctor.require([doctor.GIT, doctor.MAKE], "the board")


def test_a_tool_that_can_not_start_is_not_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = tmp_path / "git"  # as on a Mac without Xcode's command line tools
    stand_in.write_text("#!/bin/sh\nexit 1\n")
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor.find(doctor.GIT) == doctor.Finding(doctor.GIT, None, "")


def test_versions_name_tools_and_packages() -> None:
    found = doctor.versions()
    assert found["python"] == platform.python_version()
    assert {"torch", "numpy", "mlflow"} <= set(found)

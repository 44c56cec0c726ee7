"""A package is for the target as it was when it was made: what of it may change, and what may not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import RecipeError
from pipeline.firmware.made_for import require_made_for
from pipeline.firmware.manifest import FORMAT
from pipeline.firmware.skeleton import driver_place
from pipeline.saved.index import file_sha256
from pipeline.target import Target, as_table, load


def package(folder: Path, target: Target) -> Path:
    """The manifest of one, as far as it is asked for here."""
    files = {driver_place(target): file_sha256(target.driver) if target.driver else "of the shipped one"}
    table = {"format": FORMAT, "target": as_table(target), "files": files if target.family == "cortex_m" else {}}
    (folder / "manifest.json").write_text(json.dumps(table))
    return folder


def changed(target: Target, part: str, values: Mapping[str, Any]) -> Target:
    return replace(target, **{part: replace(getattr(target, part), **values)})


DIFFERENT = {
    "clock": ("cortex-m4", "cpu", {"clock_hz": 1}, r"with cpu\.clock_hz = \d+; its file says 1 now\. Start from quantize"),
    "isa": ("cortex-m4", "cpu", {"isa": ()}, r"with cpu\.isa = \('dsp',\); its file says \(\) now"),
    "memory": ("cortex-m4", "memory", {"ram_bytes": 2048}, r"with memory\.ram_bytes = \d+; its file says 2048 now"),
    "baud": ("cortex-m4", "device", {"baud": 9600}, r"with device\.baud = 115200; its file says 9600 now"),
    "linux, memory": ("raspberry-pi-4", "memory", {"flash_bytes": 2048}, r"with memory\.flash_bytes = \d+; its"),
    "linux, core": ("raspberry-pi-4", "cpu", {"core": "cortex-a7"}, r"with cpu\.core = '.*'; its file says 'cortex-a7' now"),
}  # fmt: skip


@pytest.mark.parametrize("case", DIFFERENT)
def test_another_target_of_the_same_name(case: str, tmp_path: Path) -> None:
    name, part, values, message = DIFFERENT[case]
    target = load(name)
    folder = package(tmp_path, target)
    require_made_for(folder, target, "x")
    with pytest.raises(RecipeError, match=rf"^x was made for {name} {message}"):
        require_made_for(folder, changed(target, part, values), "x")


SAME = {
    "flash command": ("cortex-m4", "device", {"flash": ("st-flash", "{bin}")}),
    "how it is reached": ("cortex-m4", "device", {"transport": "serial"}),
    "power": ("cortex-m4", "power", {"active_mw": 3.0}),
    "linux, how it is known": ("raspberry-pi-4", "device", {"model": "Raspberry Pi 5"}),
}


@pytest.mark.parametrize("case", SAME)
def test_what_changes_no_package(case: str, tmp_path: Path) -> None:
    name, part, values = SAME[case]
    require_made_for(package(tmp_path, load(name)), changed(load(name), part, values), "x")


def test_another_driver(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine.toml").write_text('inherits = "cortex-m4"\n')
    (tmp_path / "mine" / "hal.c").write_text("int a;\n")
    target = load("mine", tmp_path)
    folder = package(tmp_path, target)
    require_made_for(folder, target, "x")
    (tmp_path / "mine" / "hal.c").write_text("int b;\n")
    with pytest.raises(RecipeError, match=r"^x was made for mine with another driver \(hal\.c\)\. Start from quantize"):
        require_made_for(folder, target, "x")
    shutil.rmtree(tmp_path / "mine")
    with pytest.raises(RecipeError, match=r"^x was made for mine with another driver"):
        require_made_for(folder, load("mine", tmp_path), "x")

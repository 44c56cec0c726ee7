"""Every target file is valid, renders and links; wrong ones are refused with the key's name and what would work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from example_graphs import small_cnn

from pipeline import target
from pipeline.codegen.library import write_library
from pipeline.devices.board.plugin import CORES
from pipeline.errors import TargetError
from pipeline.firmware.skeleton import write_skeleton
from pipeline.host.build import DoesNotFitError, cross_build
from pipeline.locations import data_dir
from pipeline.lowering.lower import lower
from pipeline.target import Target

FILES = sorted(p.stem for p in data_dir("targets").glob("*.toml"))
CORTEX_M = [n for n in FILES if target.load(n).family == "cortex_m"]


@pytest.mark.parametrize("name", FILES)
def test_figures_have_sources(name: str) -> None:
    board = target.load(name)
    assert board.name == name
    assert len(board.source) > 20
    assert len(board.power.source) > 20
    assert board.tested != "not yet"
    assert board.power.active_mw > 0


@pytest.mark.parametrize("name", CORTEX_M)
def test_the_energy_per_cycle_is_plausible(name: str) -> None:
    """Between 10 and 2,000 pJ a cycle: a slip of the unit shows itself here."""
    board = target.load(name)
    assert 10 < board.power.active_mw * 1e-3 / board.cpu.clock_hz * 1e12 < 2000


@pytest.mark.parametrize("name", CORTEX_M)
def test_emulated_cores_have_a_cycle_model(name: str) -> None:
    board = target.load(name)
    assert board.device.transport != "qemu" or board.cpu.core in CORES


def build(board: Target, folder: Path) -> None:
    graph = small_cnn()
    lowered = lower(graph, board.cpu, board.memory)
    write_library(lowered, folder / "model")
    write_skeleton(folder, lowered, None, board)
    cross_build(folder, "small_cnn")


@pytest.mark.cross
@pytest.mark.parametrize("name", CORTEX_M)
def test_renders_and_links(name: str, tmp_path: Path) -> None:
    board = target.load(name)
    build(board, tmp_path)
    assert (
        f"ORIGIN = 0x{board.memory.flash_origin:08x}, LENGTH = {board.memory.flash_bytes}"
        in (tmp_path / "src" / "memory.ld").read_text()
    )
    assert (tmp_path / "build" / "small_cnn.bin").stat().st_size > 4000


@pytest.mark.cross
@pytest.mark.parametrize(("region", "memory"), [("FLASH", {"flash_bytes": 4096}), ("RAM", {"ram_bytes": 5000})])
def test_the_linker_refuses_what_does_not_fit(region: str, memory: dict[str, int], tmp_path: Path) -> None:
    board = target.load("cortex-m4")
    with pytest.raises(DoesNotFitError) as caught:
        build(replace(board, memory=replace(board.memory, **memory)), tmp_path)
    assert caught.value.region == region
    assert not (tmp_path / "build" / "small_cnn.elf").exists()


BASE = 'inherits = "cortex-m4"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BASE + "[cpu]\nclok_hz = 1", r"mine\.toml: cpu\.clok_hz: unknown key\. Did you mean 'clock_hz'\?"),
        (BASE + "[cpu]\nclock_hz = -3", r"cpu\.clock_hz = -3 is out of range; it must be between 1 and"),
        (BASE + "[cpu]\nclock_hz = 1.5", r"cpu\.clock_hz must be an integer, got 1\.5"),
        (BASE + "[memory]\nram_bytes = 10", r"memory\.ram_bytes = 10 is out of range; it must be at least 1024"),
        (BASE + '[device]\ntransport = "usb"', r"device\.transport = 'usb' is not known\..* Use one of: qemu, serial"),
        (BASE + "[power]\nactive_mw = nan", r"power\.active_mw = nan is not a finite number"),
        (BASE + 'name = "other"', r"name is 'other' but the file is mine\.toml"),
        (BASE + '[cpu]\ncore = "cortex-m4 $(shell id)"', r"mine\.toml: cpu: core = 'cortex-m4 \$\(shell id\)' must be"),
        (BASE + '[cpu]\nfpu = "-o"', r"cpu: fpu = '-o' must be letters"),
        (BASE + '[device]\nhal = "../hal"', r"device: hal = '\.\./hal' must be letters"),
        (BASE + '[device]\nmachine = "mps2-an386,kernel=x"', r"device: machine = 'mps2-an386,kernel=x' must be"),
        (BASE + "[memory]\nram_origin = 0x10_0000", r"mine\.toml: memory: flash \(0x00000000 to .*\) and RAM .* overlap"),
        (BASE + "[memory]\nram_origin = 0xffff_f000", r"memory: flash and RAM must end below 4 GiB"),
        ('inherits = "cortex-m5"', r"target 'mine' inherits the unknown target 'cortex-m5'\. Did you mean 'cortex-m"),
        ('inherits = "mine"', r"targets inherit in a circle: mine -> mine"),
        ('family = "cortex_m"', r"description is missing"),
        ("[cpu", r"is not valid TOML"),
    ],
)
def test_a_wrong_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(TargetError, match=message):
        target.load("mine", tmp_path)


@pytest.mark.parametrize("name", ["a b", 'a"b', "a\nb", "-a", "x" * 65])
def test_a_name_that_could_not_be_printed_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / f"{name}.toml").write_text(BASE)
    with pytest.raises(TargetError, match=r"must be letters, digits"):
        target.load(name, tmp_path)


def test_a_board_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(BASE + 'description = "my board"\n[memory]\nram_bytes = 65_536\n')
    board = target.load("mine", tmp_path)
    base = target.load("cortex-m4")
    assert board.memory == replace(base.memory, ram_bytes=65_536)
    assert board.cpu == base.cpu
    assert board.tested == "not yet"  # what was tested is the board that it inherits from
    assert "mine" in target.names(tmp_path)


@pytest.mark.parametrize("name", ["cortex-m44", "", "../cortex-m4", "/etc/passwd"])
def test_an_unknown_name_is_refused(name: str) -> None:
    with pytest.raises(TargetError, match=r"unknown target .*Known targets: .*cortex-m4"):
        target.load(name)


def test_core_clock_defaults_to_the_reference_clock() -> None:
    board = target.load("cortex-m4")
    assert board.core_hz == 25_000_000
    assert replace(board, device=replace(board.device, core_clock_hz=0)).core_hz == 120_000_000

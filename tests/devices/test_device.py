"""A device is a value: resolved once, and what it can not do it says, with what would work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from desk import FIRMWARE
from wire import board, serial_line

from pipeline import target
from pipeline.devices.device import Device, MissingError
from pipeline.devices.resolve import resolve_device, resolve_devices
from pipeline.errors import PipelineError

M4, PI = target.load("cortex-m4"), target.load("raspberry-pi-4")
DESK = '[cortex-m4]\nport = "/dev/ttyACM0"\n[raspberry-pi-4]\nhost = "pi@desk"\n'
KINDS = {
    "serial": (M4, DESK, "cortex-m4 on /dev/ttyACM0"),
    "qemu": (M4, "", "cortex-m4 in QEMU (mps2-an386)"),
    "ssh": (PI, DESK, "raspberry-pi-4 (pi@desk)"),
    "process": (PI, "", "raspberry-pi-4 (this computer)"),
}
CAPABILITIES: dict[str, Callable[[Device], object]] = {
    "board": lambda d: d.open_board(FIRMWARE),
    "computer": lambda d: d.open_computer(),
    "meter": lambda d: d.meter(),
    "flash": lambda d: d.flash(FIRMWARE),
}
MISSING = {
    ("serial", "flash"): r"nothing flashes cortex-m4 on /dev/ttyACM0: flash g\.bin, then run .* Or give \[cortex-m4\] in",
    ("qemu", "flash"): r"cortex-m4 in QEMU \(mps2-an386\) is not flashed: QEMU boots the image of the firmware folder",
    ("ssh", "flash"): r"raspberry-pi-4 is a Linux computer: it runs models from files, no firmware",
    ("process", "flash"): r"raspberry-pi-4 is a Linux computer: it runs models from files, no firmware",
    ("serial", "computer"): r"cortex-m4 is a microcontroller: .* Take a target of family 'linux': `pipeline targets`",
    ("serial", "meter"): r"no meter weighs cortex-m4 on /dev/ttyACM0: energy is estimated, the datasheet's power",
    ("qemu", "computer"): r"cortex-m4 is a microcontroller: it runs a firmware, not models from files",
    ("qemu", "meter"): r"cortex-m4 in QEMU \(mps2-an386\) is emulated and draws no power of its own: energy is estimated",
    ("ssh", "board"): r"raspberry-pi-4 is a Linux computer: it runs models .* Take a target of family 'cortex_m'",
    ("ssh", "meter"): r'names no meter of raspberry-pi-4 \(pi@desk\): .* add meter = "ppk2" and meter_port to \[raspberry',
    ("process", "board"): r"raspberry-pi-4 is a Linux computer: it runs models from files, no firmware",
    ("process", "meter"): r"its power is not that board's\. Name the board's host in .*bench\.toml",
}


def device_of(kind: str, folder: Path) -> Device:
    board_, text, _ = KINDS[kind]
    (folder / "bench.toml").write_text(text)
    return resolve_device(board_, folder / "bench.toml")


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_device_can_not_do_it_says(kind: str, tmp_path: Path) -> None:
    device = device_of(kind, tmp_path)
    assert (device.target, device.where) == (KINDS[kind][0], KINDS[kind][2])
    for name, use in CAPABILITIES.items():
        message = MISSING.get((kind, name))
        if message is None:
            assert use(device) is not None
            continue
        with pytest.raises(MissingError, match=message) as caught:
            use(device)
        assert str(caught.value).endswith(".")


def test_equal_files_give_equal_devices(tmp_path: Path) -> None:
    for kind in KINDS:
        assert device_of(kind, tmp_path) == device_of(kind, tmp_path)
        assert hash(device_of(kind, tmp_path)) == hash(device_of(kind, tmp_path))


@pytest.mark.parametrize("kind", ["serial", "qemu"])
def test_nothing_is_kept_on_a_microcontroller(kind: str, tmp_path: Path) -> None:
    with pytest.raises(
        PipelineError, match=r"cortex-m4 is a microcontroller: nothing is kept there but its firmware\."
    ) as e:
        device_of(kind, tmp_path).clean()
    assert e.value.exit_code == 2


def test_only_an_emulated_board_needs_the_emulator(tmp_path: Path) -> None:
    needed = {kind: [t.name for t in device_of(kind, tmp_path).tools()] for kind in KINDS}
    assert needed == {"serial": [], "qemu": ["qemu-system-arm"], "ssh": [], "process": []}


def test_the_bench_file_is_not_read_again(tmp_path: Path) -> None:
    with serial_line(board()) as port:
        path = tmp_path / "bench.toml"
        path.write_text(f'[cortex-m4]\nport = "{port}"\nkind = "measured"\n[raspberry-pi-4]\nhost = "pi@desk"\n')
        on_the_desk, computer = resolve_devices((M4, PI), path)
        path.unlink()
        with on_the_desk.open_board(FIRMWARE) as open_:
            assert open_.where == on_the_desk.where == f"cortex-m4 on {port}"
    assert computer.open_computer().where == "raspberry-pi-4 (pi@desk)"

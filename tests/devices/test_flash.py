"""Flashing: a tool that writes into the board, one that fails, is not there or hangs; and when nothing flashes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from desk import FIRMWARE, READY, TARGET
from example_graphs import small_cnn
from wire import Answer, board, serial_line

from pipeline import target
from pipeline.artifacts import Firmware
from pipeline.devices.board.flash import filled
from pipeline.devices.device import Device, MissingError
from pipeline.devices.resolve import resolve_device
from pipeline.errors import DeviceError, RecipeError, TargetError
from pipeline.firmware.cortex_m import write_firmware
from pipeline.firmware.folder import CompiledModel, load_firmware
from pipeline.replay import measure
from pipeline.target import Target

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tool tests with flock that the port is free")

OLD = b"0000000000000000"


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.devices.board.serial.ANSWER_TIMEOUT_S", 0.4)


class Chip:
    """A board whose flash is a file: it answers as what was written there, which is nothing at first but `before`."""

    def __init__(self, folder: Path, before: Answer) -> None:
        self.flash, self.log, self._before = folder / "flash", folder / "log", before
        self.tool = folder / "write-flash"
        self.does('cp "$1" ' + shlex.quote(str(self.flash)))

    def does(self, script: str) -> None:
        """What the tool does; each of its words, and the port that is free meanwhile, are kept."""
        free = f'flock --nonblock --exclusive "$2" true && echo free >> {shlex.quote(str(self.log))}'
        self.tool.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >> {shlex.quote(str(self.log))}\n{free}\n{script}\n')
        self.tool.chmod(0o755)

    def answer(self, received: bytes) -> bytes | Iterator[bytes]:
        if not self.flash.exists():
            return self._before(received)
        return board(identity_build=self.flash.read_bytes())(received)

    def ran(self) -> list[str]:
        return self.log.read_text().splitlines() if self.log.exists() else []


@contextmanager
def desk(folder: Path, before: Answer, words: tuple[str, ...] = ("{bin}", "{port}")) -> Iterator[tuple[Chip, Device, str]]:
    """A chip on a serial line, and the device that the bench file makes of it."""
    chip = Chip(folder, before)
    with serial_line(chip.answer) as port:
        command = json.dumps([str(chip.tool), *words])
        (folder / "bench.toml").write_text(f'[cortex-m4]\nport = "{port}"\nkind = "measured"\nflash = {command}\n')
        yield chip, resolve_device(TARGET, folder / "bench.toml"), port


def built(folder: Path, build_id: str = FIRMWARE.build_id) -> Firmware:
    """A firmware whose image is its build id, in a folder whose name a shell would read as three words and a command."""
    place = folder / "a b; $(touch pwned)"
    place.mkdir()
    (place / "g.bin").write_text(build_id)
    return replace(FIRMWARE, folder=place, elf=place / "g.elf")


BEFORE = {
    "blank": lambda _received: b"",
    "an older build": board(identity_build=OLD),
    "another model": board(identity_model=b"f" * 16),
    "another clock": board(identity_tick_hz=b"1000"),
    "another maker": board(id=b"e-[Unknown command: id]\r\n" + READY),
    "a shell": lambda _received: b"login: ",
}


@pytest.mark.parametrize("name", BEFORE)
def test_what_else_runs_there_is_flashed_over(name: str, tmp_path: Path) -> None:
    firmware = built(tmp_path)
    with desk(tmp_path, BEFORE[name]) as (chip, device, port):
        device.require()
        with device.open_board(firmware) as open_:
            assert open_.identity.build == FIRMWARE.build_id
    assert chip.ran() == [str(tmp_path / "a b; $(touch pwned)" / "g.bin"), port, "free"]
    assert not list(tmp_path.rglob("pwned"))


def test_what_runs_already_is_not_flashed_again(tmp_path: Path) -> None:
    with desk(tmp_path, board()) as (chip, device, _):
        for _ in range(2):
            with device.open_board(built_once := FIRMWARE) as open_:
                assert open_.firmware is built_once
        assert chip.ran() == []


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (board(name=b"m-name-dut-[nucleo]\r\n" + READY), r"answers as 'nucleo', not as 'cortex-m4'.*If it is the right one"),
        (board(identity_core=b"c27", identity_build=OLD), r"has a cortex-m7 \(CPUID part c27\), but target cortex-m4 says"),
    ],
    ids=["name", "core"],
)
def test_another_board_is_not_flashed(before: Answer, message: str, tmp_path: Path) -> None:
    with desk(tmp_path, before) as (chip, device, _), pytest.raises(DeviceError, match=message):
        device.open_board(built(tmp_path)).__enter__()
    assert chip.ran() == []


def test_a_port_that_can_not_be_opened_is_no_reason_to_flash(tmp_path: Path) -> None:
    with desk(tmp_path, board()) as (chip, device, port):
        pass
    with pytest.raises(DeviceError, match=rf"the port '{port}' of cortex-m4 can not be opened"):
        device.open_board(built(tmp_path)).__enter__()
    assert chip.ran() == []


TOOLS = {
    "fails": ('echo "no probe" >&2; exit 3', r"` ended with exit code 3: no probe\. Check that the board has power"),
    "says so elsewhere": ("echo Error: unlock first; exit 1", r"` ended with exit code 1: Error: unlock first\."),
    "says nothing": ("exit 1", r"` ended with exit code 1: it printed no reason\."),
    "crashes": ("kill -SEGV $$", r"` died of signal 11: it printed no reason\."),
    "says too much": ("yes no probe | head -c 100000 >&2; exit 1", r"exit code 1: no probe\\nno probe.{0,300}\. Check that"),
    "hangs": ("sleep 60 & echo $! > CHILD; wait", r"` did not end within 0\.5 s, and was ended\. Check that the board"),
    "does nothing": (
        "true",
        r"on /dev/.* was flashed, and is not as it should be\. .*\(0x00000000\), and reset the board\? ",
    ),
}


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_that_fails(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.devices.board.flash.TIMEOUT_S", 0.5)
    script, message = TOOLS[name]
    with desk(tmp_path, board(identity_build=OLD)) as (chip, device, port):
        chip.does(script.replace("CHILD", shlex.quote(str(tmp_path / "child"))))
        began = time.monotonic()
        with pytest.raises(DeviceError, match=message) as caught:
            device.open_board(built(tmp_path)).__enter__()
        assert time.monotonic() - began < 10
    said = str(caught.value)
    assert said.startswith(f"cortex-m4 on {port} ")
    assert said.isprintable()
    assert said.endswith(".")
    if name == "hangs":
        child = Path("/proc", (tmp_path / "child").read_text().strip(), "cmdline")
        assert not child.exists() or not child.read_bytes()  # gone, or ended and waited for by nobody


def test_a_tool_that_leaves_a_server_running_has_flashed(tmp_path: Path) -> None:
    """As one whose debug server goes on, with the tool's output as its own."""
    with desk(tmp_path, board(identity_build=OLD)) as (chip, device, _):
        server = tmp_path / "server"
        chip.does(f'cp "$1" {shlex.quote(str(chip.flash))}; setsid sleep 20 & echo $! > {shlex.quote(str(server))}')
        began = time.monotonic()
        try:
            device.flash(built(tmp_path))
            assert time.monotonic() - began < 10
        finally:
            os.kill(int(server.read_text()), signal.SIGKILL)
        assert chip.flash.read_text() == FIRMWARE.build_id


def test_a_tool_that_is_not_there_is_told_before_any_work(tmp_path: Path) -> None:
    with desk(tmp_path, board(identity_build=OLD)) as (chip, device, port):
        chip.tool.unlink()
        for use in (device.require, lambda: device.flash(built(tmp_path))):
            with pytest.raises(
                DeviceError, match=rf"on {port} is flashed with '.*write-flash', which is no program on this"
            ):
                use()


def test_a_tool_that_is_no_program(tmp_path: Path) -> None:
    with desk(tmp_path, board(identity_build=OLD)) as (chip, device, _):
        chip.tool.write_bytes(b"\x7fELF and no more")
        with pytest.raises(
            DeviceError, match=r"can not be run: Exec format error\. Install the tool again, or mend `flash`"
        ):
            device.flash(built(tmp_path))


def test_a_port_that_is_gone_for_a_while(tmp_path: Path) -> None:
    """As a USB port is while its board starts."""
    with desk(tmp_path, board(identity_build=OLD)) as (chip, _, port):
        link, away = tmp_path / "ttyACM0", shlex.quote(str(tmp_path / "ttyACM0"))
        link.symlink_to(port)
        bench = tmp_path / "bench.toml"
        bench.write_text(bench.read_text().replace(port, str(link)))
        back = f"(sleep 1; ln -s {port} {away}) > /dev/null 2>&1 &"
        chip.does(f'cp "$1" {shlex.quote(str(chip.flash))}; rm {away}; {back}')
        with resolve_device(TARGET, bench).open_board(built(tmp_path)) as open_:
            assert open_.identity.build == FIRMWARE.build_id


def test_the_desk_comes_before_the_target(tmp_path: Path) -> None:
    in_target = replace(TARGET, device=replace(TARGET.device, flash=("of-the-target", "{elf}")))
    (tmp_path / "bench.toml").write_text('[cortex-m4]\nport = "/dev/ttyACM0"\n')
    with pytest.raises(DeviceError, match="is flashed with 'of-the-target', which is no program"):
        resolve_device(in_target, tmp_path / "bench.toml").flash(FIRMWARE)
    (tmp_path / "bench.toml").write_text('[cortex-m4]\nport = "/dev/ttyACM0"\nflash = ["of-the-desk", "{elf}"]\n')
    with pytest.raises(DeviceError, match="is flashed with 'of-the-desk', which is no program"):
        resolve_device(in_target, tmp_path / "bench.toml").flash(FIRMWARE)


def test_words_are_filled_once(tmp_path: Path) -> None:
    firmware = replace(FIRMWARE, elf=tmp_path / "{port}.elf")
    words = ["openocd", "-c", "program {elf} verify; init {x}", "{hex}{bin}", "--port={port}"]
    here = str(tmp_path / "{port}")
    assert filled(words, firmware, "COM3") == [
        "openocd", "-c", f"program {here}.elf verify; init {{x}}", f"{here}.hex{here}.bin", "--port=COM3",
    ]  # fmt: skip


def own_board(folder: Path, monkeypatch: pytest.MonkeyPatch, *flash: str) -> Target:
    """A target in ./targets, whose board is flashed so."""
    monkeypatch.chdir(folder)
    (folder / "targets").mkdir(exist_ok=True)
    words = f"[device]\nflash = {json.dumps(flash)}\n" if flash else ""
    (folder / "targets" / "mine.toml").write_text(f'inherits = "cortex-m4"\n{words}')
    return target.load("mine")


@pytest.mark.cross
def test_a_folder_names_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may come from anybody. `measure` runs what this computer's own file for the target says."""
    mine = own_board(tmp_path, monkeypatch, "first-tool", "{bin}")
    assert mine.device.flash == ("first-tool", "{bin}")
    folder = write_firmware(CompiledModel(small_cnn(), None), mine, tmp_path / "firmware").folder
    assert "first-tool" not in (folder / "manifest.json").read_text()
    assert load_firmware(folder)[1].device.flash == ()

    own_board(tmp_path, monkeypatch, "second-tool", "{bin}")
    (tmp_path / "bench.toml").write_text('[mine]\nport = "/dev/null"\n')
    with pytest.raises(DeviceError, match=r"mine on /dev/null is flashed with 'second-tool', which is no program"):
        measure(folder)

    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["target"]["device"]["flash"] = ["/bin/sh", "-c", "{bin}"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        RecipeError, match=r"manifest\.json names a flash command, which no folder does; it is not to be tru"
    ):
        measure(folder)


POWER_UP = """
import os, subprocess, sys
image, port, said = sys.argv[1:]
with open(said, "w") as out:
    command = ["qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "pty"]
    command += ["-icount", "shift=0", "-kernel", image]
    qemu = subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
os.unlink(port)
while not (line := [w for w in open(said).read().split() if w.startswith("/dev/")]):
    assert qemu.poll() is None
os.symlink(line[0], port)
open(said + ".pid", "w").write(str(qemu.pid))
"""


@pytest.mark.cross
@pytest.mark.qemu
def test_a_first_run_on_a_board(firmware: Callable[..., Firmware], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a silent board to a measurement, and then again without flashing. That it is an emulator only this test knows."""
    monkeypatch.setattr("pipeline.devices.board.serial.ANSWER_TIMEOUT_S", 5.0)
    port, said = tmp_path / "ttyACM0", tmp_path / "said"
    command = [sys.executable, "-c", POWER_UP, "{elf}", "{port}", str(said)]
    desk_file = tmp_path / "bench.toml"
    desk_file.write_text(f'[cortex-m4]\nport = "{port}"\nkind = "measured"\nflash = {json.dumps(command)}\n')
    try:
        with serial_line(lambda _received: b"") as blank:
            port.symlink_to(blank)
            first = measure(firmware().folder, bench=desk_file)
        flashed = said.stat().st_mtime_ns
        again = measure(firmware().folder, bench=desk_file)
    finally:
        os.kill(int(Path(f"{said}.pid").read_text()), signal.SIGKILL)
    assert (first.kind, first.bit_exact.equal) == (again.kind, again.bit_exact.equal) == ("measured", 16)
    assert said.stat().st_mtime_ns == flashed


@pytest.mark.parametrize(
    "flash", ['"st-flash write {bin}"', '["st-flash"]', '["", "{bin}"]', '["{bin}"]', '["a\\u0000", "{bin}"]']
)
def test_what_is_no_command(flash: str, tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(f'[cortex-m4]\nport = "/dev/ttyACM0"\nflash = {flash}\n')
    with pytest.raises(RecipeError, match=r"cortex-m4: flash must be the words of a command, .*No shell reads it\."):
        resolve_device(TARGET, tmp_path / "bench.toml")


def test_what_is_no_command_in_a_target_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TargetError, match=r"mine\.toml: device: flash must be the words of a command, the program first"):
        own_board(tmp_path, monkeypatch, "st-flash", "write", "{bn}")


def test_nothing_flashes(tmp_path: Path) -> None:
    """It is said before any work, and at its end with the file."""
    with serial_line(board(identity_build=OLD)) as port:
        (tmp_path / "bench.toml").write_text(f'[cortex-m4]\nport = "{port}"\nkind = "measured"\n')
        device, firmware = resolve_device(TARGET, tmp_path / "bench.toml"), built(tmp_path)
        assert device.advice().startswith(
            f"nothing flashes cortex-m4 on {port}: unless it runs this very firmware already, "
        )
        assert 'flash = ["st-flash", "--reset", "write", "{bin}", "0x00000000"], for example.' in device.advice()
        by_hand = f"flash {firmware.folder}/g.bin, then run `pipeline measure '{firmware.folder}'`."
        with pytest.raises(DeviceError) as caught:
            device.open_board(firmware).__enter__()
        assert str(caught.value).endswith(f"To go on, {by_hand}")
        with pytest.raises(MissingError) as missing:
            device.flash(firmware)
        assert by_hand in str(missing.value)


def test_a_silent_board_that_nothing_flashes(tmp_path: Path) -> None:
    with serial_line(lambda _received: b"") as port:
        (tmp_path / "bench.toml").write_text(f'[cortex-m4]\nport = "{port}"\nkind = "measured"\n')
        with pytest.raises(
            DeviceError, match=r"Unless it runs this firmware already, flash g\.bin, then run `pipeline meas"
        ):
            resolve_device(TARGET, tmp_path / "bench.toml").open_board(FIRMWARE).__enter__()

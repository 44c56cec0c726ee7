"""The emulated boards: every target byte for byte, exact counts, faults of firmware and emulator, and no QEMU left."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from emulated import M4, first_byte
from example_graphs import small_cnn
from probe_firmware import build_probe

from pipeline import target
from pipeline.artifacts import Firmware
from pipeline.data.dataset import Dataset
from pipeline.devices.board import qemu
from pipeline.devices.board.board import Board
from pipeline.devices.board.link import Link
from pipeline.devices.board.protocol import Run
from pipeline.devices.board.qemu import QemuBoard
from pipeline.devices.board.serial import SerialBoard
from pipeline.devices.resolve import resolve_device
from pipeline.errors import DeviceError
from pipeline.firmware.cortex_m import write_firmware
from pipeline.firmware.folder import CompiledModel
from pipeline.ir import Array
from pipeline.locations import data_dir
from pipeline.proof.vectors import random

pytestmark = [pytest.mark.cross, pytest.mark.qemu]
EMULATED = [n for n in target.names() if target.load(n).device.transport == "qemu"]
VECTORS = 64


def frames(inputs: tuple[Array, ...]) -> list[Array]:
    """The bytes of each example, all inputs one after the other."""
    return [np.concatenate([x.reshape(-1).view(np.uint8) for x in one]) for one in zip(*inputs, strict=True)]


def test_a_driver_of_ones_own_that_does_not_receive_is_named(
    firmware: Callable[..., Firmware], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The firmware's UART interrupt is another one than the emulated board's."""
    board = replace(M4, device=replace(M4.device, uart_irq=9), driver=tmp_path / "hal.c")
    shutil.copyfile(data_dir("firmware_templates") / "cortex_m" / "hal" / "cmsdk_uart.c", tmp_path / "hal.c")
    built = write_firmware(CompiledModel(small_cnn(), None), board, tmp_path / "firmware")
    monkeypatch.setattr(qemu, "Link", partial(Link, answer_timeout_s=0.5))
    message = r"did not answer .* Look at .*hal\.c, and at uart_base and uart_irq of its target file"
    with pytest.raises(DeviceError, match=message), QemuBoard(built, board):
        pass


@pytest.mark.parametrize("name", EMULATED)
def test_every_emulated_target_is_bit_exact(name: str, firmware: Callable[..., Firmware]) -> None:
    board, built = target.load(name), firmware(name)
    vectors = random(built.model.graph, VECTORS, built.model.preprocess, seed=9)
    with resolve_device(board).open_board(built) as device:
        assert device.identity.board == name
        assert (device.identity.ram_bytes, device.identity.arena_bytes) == (built.ram_bytes, built.arena_bytes)
        answers = np.stack(list(device.replay(frames(vectors.inputs))))
        measured = device.measure(vectors.inputs[0][0], runs=3)
    np.testing.assert_array_equal(answers, vectors.outputs[0].reshape(VECTORS, -1))
    assert measured.clock == "simulated"
    assert measured.cycles_low < measured.cycles < measured.cycles_high
    assert measured.latency_us == (pytest.approx(measured.cycles / board.cpu.clock_hz * 1e6),) * 3
    assert 0 < measured.stack_bytes < board.memory.stack_bytes


def test_several_inputs_and_outputs(firmware: Callable[..., Firmware]) -> None:
    built = firmware("cortex-m4", "two_inputs")
    vectors = random(built.model.graph, 8, seed=4)
    with resolve_device(M4).open_board(built) as device:
        answers = np.stack(list(device.replay(frames(vectors.inputs))))
    want = np.concatenate([y.reshape(8, -1) for y in vectors.outputs], axis=1)
    np.testing.assert_array_equal(answers, want)


def test_counts_repeat_from_boot_to_boot(firmware: Callable[..., Firmware]) -> None:
    x = random(firmware().model.graph, 1, firmware().model.preprocess).inputs[0][0]
    seen = []
    for noise in (0, 3):
        with resolve_device(M4).open_board(firmware()) as device:
            for _ in range(noise):
                device.infer(x)
            measured = device.measure(x, runs=4)
        seen.append((measured.instructions, measured.cycles, measured.ticks))
    assert seen[0] == seen[1]
    assert len(set(seen[0][2])) == 1


def test_an_inference_that_was_not_counted(firmware: Callable[..., Firmware]) -> None:
    with (
        resolve_device(M4).open_board(firmware()) as device,
        pytest.raises(DeviceError, match=r"plugin counted 0 inferences where 2 ran on cortex-m4 in QEMU .*lacks the marker"),
    ):
        device._counts(Run((1, 1), b"", 0))


def test_systick_counts_what_the_plugin_counts(firmware: Callable[..., Firmware]) -> None:
    """In steps of its 40 ns, and with the few instructions around the model that read the clock."""
    x = random(firmware().model.graph, 1, firmware().model.preprocess).inputs[0][0]
    with resolve_device(M4).open_board(firmware()) as exact, resolve_device(M4).open_board(firmware(), "systick") as coarse:
        a, b = exact.measure(x, runs=2), coarse.measure(x, runs=2)
    assert (a.counter, b.counter) == ("plugin", "systick")
    assert 0 <= b.instructions - a.instructions < 200
    assert b.cycles_low <= a.cycles <= b.cycles_high


def test_a_board_on_a_pseudo_terminal(firmware: Callable[..., Firmware], tmp_path: Path) -> None:
    """The same firmware as a real port sees it: through a tty, found by bench.toml, timed by its own timer. That it is an
    emulator, only this test knows."""
    built = firmware()
    vectors = random(built.model.graph, 16, built.model.preprocess, seed=2)
    command = ["qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "pty"]
    command += ["-icount", "shift=0", "-kernel", str(built.elf)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as qemu:
        assert qemu.stdout is not None
        port = next(word for line in qemu.stdout for word in line.split() if word.startswith("/dev/"))
        (tmp_path / "bench.toml").write_text(f'[cortex-m4]\nport = "{port}"\nkind = "measured"\n')
        with resolve_device(M4, tmp_path / "bench.toml").open_board(built) as device:
            assert isinstance(device, SerialBoard)
            answers = np.stack(list(device.replay(vectors.inputs[0])))
            measured = device.measure(vectors.inputs[0][0], runs=3)
        qemu.kill()
    np.testing.assert_array_equal(answers, vectors.outputs[0].reshape(16, -1))
    assert (measured.clock, measured.counter, measured.instructions) == ("device", "systick", None)


def test_a_machine_that_is_not_emulated_is_told_before_any_work() -> None:
    unknown = replace(M4, device=replace(M4.device, machine="mps2-an368"))
    with pytest.raises(
        DeviceError, match=r"emulates no machine 'mps2-an368', which target cortex-m4 names\. Did you mean 'mps2"
    ):
        resolve_device(unknown).require()


def test_a_board_with_another_core_is_told(firmware: Callable[..., Firmware]) -> None:
    """The M4's firmware runs on the M7, but what would be counted is not the M4's time."""
    other = replace(M4, device=replace(M4.device, machine="mps2-an500"))
    with pytest.raises(
        DeviceError, match=r"has a cortex-m7 \(CPUID part c27\), but target cortex-m4 says cortex-m4 \(c24\)"
    ):
        resolve_device(other).open_board(firmware()).__enter__()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        pytest.param(
            1, r"crashed at `run 1`: .*at 0x[01]000[0-9a-f]{4}, CFSR 0x00010000, HFSR 0x40000000\. Look", id="undefined"
        ),
        pytest.param(2, r"at 0x[01]000[0-9a-f]{4}, CFSR 0x00008200, .*address 0x70000000", id="bad_address"),
        pytest.param(3, r"stack overflow, CFSR .*raise `stack_bytes` in the target file", id="stack_overflow"),
    ],
)
@pytest.mark.parametrize("board", ["cortex-m4", "cortex-m33"])
def test_a_crash_is_reported(board: str, fault: int, message: str, probe: Callable[..., Firmware]) -> None:
    with resolve_device(target.load(board)).open_board(probe(board)) as device:
        assert list(device.infer(first_byte(0))) == [0] * 16
        with pytest.raises(DeviceError, match=message):
            device.infer(first_byte(fault))


def test_a_hang_is_noticed(probe: Callable[..., Firmware], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.devices.board.board.INFER_TIMEOUT_S", 0.5)
    with (
        resolve_device(M4).open_board(probe()) as device,
        pytest.raises(DeviceError, match=r"did not answer `run 1` within 0\.5 s"),
    ):
        device.infer(first_byte(4))


def test_a_timer_that_wraps_is_counted_on(probe: Callable[..., Firmware]) -> None:
    """840 million instructions take 21 million ticks; SysTick has 16.7 million."""
    with resolve_device(M4).open_board(probe(), "systick") as device:
        measured = device.measure(first_byte(5), runs=1)
    assert measured.instructions == pytest.approx(840e6, rel=1e-5)


def test_a_cycle_counter_that_stands_still_is_not_used(tmp_path: Path, digits: Dataset) -> None:
    """QEMU's DWT always reads 0: the firmware notices, and says what it counts with instead."""
    board = replace(M4, device=replace(M4.device, timer="dwt"))
    with resolve_device(board).open_board(build_probe(board, tmp_path, digits)) as device:
        assert device.identity.timer == "systick"
        assert device.measure(first_byte(0), runs=1).ticks[0] > 0


def rebuilt_unoptimised(folder: Path) -> None:
    subprocess.run(["make", "-C", str(folder), "OPTIMISE=-O0"], check=True, capture_output=True)


def rebuilt_with_another_kernel(folder: Path) -> None:
    kernel = folder / "model" / "kernels" / "pixel_pair.h"
    text = kernel.read_text()
    assert "smlad  r1, r8, r10, r1" in text
    kernel.write_text(text.replace("smlad  r1, r8, r10, r1", "smlad  r1, r8, r11, r1"))
    subprocess.run(["make", "-C", str(folder)], check=True, capture_output=True)


@pytest.mark.parametrize("rebuild", [rebuilt_unoptimised, rebuilt_with_another_kernel])
def test_a_board_that_runs_another_build_of_the_model(
    rebuild: Callable[[Path], None], firmware: Callable[..., Firmware], tmp_path: Path
) -> None:
    """The same graph, and the same answers: but not the image whose size is known and whose time is asked."""
    built = firmware()
    folder = shutil.copytree(built.folder, tmp_path / "copy")
    rebuild(folder)
    stale = replace(built, elf=folder / "build" / "small_cnn.elf")
    with pytest.raises(
        DeviceError,
        match=rf"in QEMU .* runs build [0-9a-f]{{16}} of this model, but small_cnn\.elf is build {built.build_id}: .* "
        rf"To go on, flash {folder}/build/small_cnn\.bin",
    ):
        resolve_device(M4).open_board(stale).__enter__()


def test_a_firmware_from_before_there_were_build_ids(firmware: Callable[..., Firmware], tmp_path: Path) -> None:
    built = firmware()
    folder = shutil.copytree(built.folder, tmp_path / "copy")
    answers = folder / "src" / "extensions.c"
    answers.write_text(answers.read_text().replace("    command_line(build_id);\n", ""))
    subprocess.run(["make", "-C", str(folder)], check=True, capture_output=True)
    with pytest.raises(DeviceError, match=r"in QEMU .* does not say which build it runs: .* older version .*, flash /"):
        resolve_device(M4).open_board(replace(built, elf=folder / "build" / "small_cnn.elf")).__enter__()


def test_a_firmware_that_never_speaks(
    firmware: Callable[..., Firmware], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endless loop instead of a firmware."""
    monkeypatch.setattr("pipeline.devices.board.qemu.BOOT_TIMEOUT_S", 0.5)
    (tmp_path / "loop.s").write_text(".syntax unified\n.thumb\n.word 0x20001000, 9\n.thumb_func\nloop: b loop\n")
    compiler = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-nostdlib", "-Ttext=0", "-Wl,-eloop"]
    subprocess.run([*compiler, str(tmp_path / "loop.s"), "-o", str(tmp_path / "loop.elf")], check=True)
    with pytest.raises(DeviceError, match=r"did not answer its boot banner within 0\.5 s"):
        resolve_device(M4).open_board(replace(firmware(), elf=tmp_path / "loop.elf")).__enter__()


def test_a_core_that_locks_up(firmware: Callable[..., Firmware]) -> None:
    """An M4's firmware on a board whose UART is elsewhere: it faults, and faults again when it reports that."""
    elsewhere = replace(M4, device=replace(M4.device, machine="mps3-an547"))
    with pytest.raises(DeviceError, match=r"QEMU was killed by signal 6: qemu: fatal: Lockup"):
        resolve_device(elsewhere).open_board(firmware()).__enter__()


def test_another_boards_firmware(firmware: Callable[..., Firmware]) -> None:
    """The M3's image runs on the M4's machine as well; who it is tells them apart."""
    with pytest.raises(DeviceError, match=r"answers as 'cortex-m3', not as 'cortex-m4'.*`--target cortex-m3`"):
        resolve_device(M4).open_board(firmware("cortex-m3")).__enter__()


MACHINES = "echo Supported machines are:; echo mps2-an386 a board"


def stand_in(folder: Path, name: str, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_without_qemu(firmware: Callable[..., Firmware], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = firmware()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"qemu-system-arm is not installed.*apt-get install qemu-system-arm"):
        resolve_device(M4).open_board(built).__enter__()


@pytest.mark.parametrize(
    ("version", "options", "message"),
    [
        ("QEMU emulator version 7.2.22", "-M x", r"was built without plugins.*`counter = \"systick\"` under \[measure\]"),
        ("QEMU emulator version 7.2.22", "-plugin file", r"needs a C compiler on this machine.*apt-get install gcc"),
        ("something else", "-plugin file", r"does not tell its version: is it QEMU\?"),
    ],
    ids=["no_plugins", "no_compiler", "no_qemu"],
)
def test_without_plugins_it_says_so(
    version: str,
    options: str,
    message: str,
    firmware: Callable[..., Firmware],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = firmware()
    stand_in(
        tmp_path,
        "qemu-system-arm",
        f'case "$1" in --version) echo {version!r};; -M) {MACHINES};; *) echo {options!r};; esac',
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(DeviceError, match=message):
        resolve_device(M4).open_board(built).__enter__()


def test_a_plugin_that_does_not_compile(
    firmware: Callable[..., Firmware], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = firmware()
    stand_in(tmp_path / "bin", "broken-cc", "echo 'error: this compiler is broken' >&2; exit 1")
    monkeypatch.setenv("CC", str(tmp_path / "bin" / "broken-cc"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(DeviceError, match=r"does not compile with .*broken-cc: error: this compiler is broken"):
        resolve_device(M4).open_board(built).__enter__()
    assert list((tmp_path / "cache" / "tinyml-pipeline").iterdir()) == []


def test_a_cache_that_can_not_be_written(
    firmware: Callable[..., Firmware], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = firmware()
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DeviceError, match=r"can not be built in .*Name a folder that can be written in XDG_CACHE_HOME"):
        resolve_device(M4).open_board(built).__enter__()


def test_a_qemu_that_is_no_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "qemu-system-arm").write_bytes(b"\x7fELF is all there is")
    (tmp_path / "qemu-system-arm").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match=r"qemu-system-arm can not be run: .*Exec format error"):
        resolve_device(M4).require()


def test_an_unknown_core_has_no_estimate(firmware: Callable[..., Firmware]) -> None:
    strange = replace(M4, cpu=replace(M4.cpu, core="cortex-m35p"))
    with pytest.raises(DeviceError, match=r"no cycle estimate for the core 'cortex-m35p'\. Known: cortex-m3, cortex-m4"):
        resolve_device(strange).open_board(firmware()).__enter__()
    with resolve_device(strange).open_board(firmware(), "systick") as device:
        assert isinstance(device, QemuBoard)
        assert isinstance(device, Board)

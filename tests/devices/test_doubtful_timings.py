"""What a board answers well-formed and can not be true, or does not fit the firmware."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from desk import FIRMWARE, GRAPH, QUANT, READY, TARGET, bench
from wire import board, serial_line

from pipeline.artifacts import Firmware, QuantizedModel
from pipeline.devices.board.cores import fewest_cycles
from pipeline.devices.resolve import resolve_device
from pipeline.errors import DeviceError
from pipeline.ir import Graph, Tensor
from pipeline.ops.fully_connected import FullyConnected


def test_a_stack_that_is_full_is_no_measurement(tmp_path: Path) -> None:
    with serial_line(board(stack=b"m-stack-4096-4096\r\n" + READY)) as path:
        bench(tmp_path, path)
        with (
            resolve_device(TARGET, tmp_path / "bench.toml").open_board(FIRMWARE) as device,
            pytest.raises(DeviceError, match="has used all of its 4096 bytes of stack"),
        ):
            device.measure(np.zeros(4, np.int8), runs=1)


def test_a_clock_that_is_faster_than_the_firmware_thinks(tmp_path: Path) -> None:
    """50 million ticks would be two seconds at 25 MHz; the answer came at once."""
    reply = b"m-ticks-50000000\r\nm-output-00\r\nm-crc-%08x\r\n" % zlib.crc32(b"\0") + READY
    with serial_line(board(run=reply)) as path, resolve_device(TARGET, bench(tmp_path, path)).open_board(FIRMWARE) as device:
        message = r"says that `run 1` took 2 s, but 0\.\d+ s passed here: its timer \(dwt\) does not run at 25,000,000 Hz"
        with pytest.raises(DeviceError, match=message):
            device.measure(np.zeros(4, np.int8), runs=1)


def timings(*ticks: int) -> bytes:
    """The answer to `run`, with a good output."""
    output = bytes([1, 2, 250, 4])
    lines = b"".join(b"m-ticks-%d\r\n" % t for t in ticks)
    return lines + b"m-output-%b\r\nm-crc-%08x\r\n" % (output.hex().encode(), zlib.crc32(output)) + READY


def dense(macs: int) -> Firmware:
    """The firmware of one fully connected layer of that many multiply-accumulates."""
    weights = Tensor((macs // 4, 4), "int8", QUANT, np.zeros((macs // 4, 4), np.int8))
    tensors = {"x": GRAPH["x"], "w": weights, "y": Tensor((1, macs // 4), "int8", QUANT)}
    graph = Graph("g", tensors, (FullyConnected(inputs=("x", "w"), outputs=("y",)),), ("x",), ("y",))
    return replace(FIRMWARE, model=QuantizedModel(graph, None, None))  # type: ignore[arg-type]


IMPOSSIBLE = {
    "none": (
        0,
        (0, 0, 0),
        r"took 0 cycles of its core, but no cortex-m4 does the model's 0 multiply-accumulates in less than 1",
    ),
    "one": (
        4000,
        (1, 1, 1),
        r"took 1 cycle of its core, but no cortex-m4 does the model's 4,000 multiply-acc.* less than 200:",
    ),
    "just_too_few": (4000, (900, 199, 900), r"took 199 cycles of its core, but no cortex-m4 does"),
    "a_digit_lost": (
        4000,
        (9000, 900, 9000),
        r"took 900 cycles of its core, but half of them 9,000 and more, though each did",
    ),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_timings_that_can_not_be_true(name: str, tmp_path: Path) -> None:
    macs, ticks, message = IMPOSSIBLE[name]
    firmware = dense(macs) if macs else FIRMWARE
    with (
        serial_line(board(run=timings(*ticks))) as path,
        resolve_device(TARGET, bench(tmp_path, path)).open_board(firmware) as device,
    ):
        advice = r'.*garbled on the wire, or the timer \(dwt\) .*; if it says so again, write timer = "systick"'
        with pytest.raises(DeviceError, match=rf"^cortex-m4 on {path} says that an inference {message}{advice}"):
            device.measure(np.zeros(4, np.int8), runs=len(ticks))


@pytest.mark.parametrize("ticks", [(200,), (300, 100000), (900, 300, 310), (500, 9000, 500, 990, 505)])
def test_timings_that_interrupts_make_long(ticks: tuple[int, ...], tmp_path: Path) -> None:
    """A first run with a cold cache, others that an interrupt stopped for a while."""
    with (
        serial_line(board(run=timings(*ticks))) as path,
        resolve_device(TARGET, bench(tmp_path, path)).open_board(dense(4000)) as board_,
    ):
        assert board_.measure(np.zeros(4, np.int8), runs=len(ticks)).ticks == ticks


def test_a_core_of_which_nothing_is_known() -> None:
    assert fewest_cycles("cortex-m85", 8_000_000) == fewest_cycles("cortex-m52", 8_000_000) == 100_000


def test_inputs_of_another_size(tmp_path: Path) -> None:
    with serial_line(board()) as path:
        bench(tmp_path, path)
        with (
            resolve_device(TARGET, tmp_path / "bench.toml").open_board(FIRMWARE) as device,
            pytest.raises(DeviceError, match=r"takes 4 input bytes, got 20 \(float32\(5,\)\)"),
        ):
            device.infer(np.zeros(5, np.float32))


def test_outputs_of_another_size(tmp_path: Path) -> None:
    reply = b"m-ticks-7\r\nm-output-00\r\nm-crc-%08x\r\n" % zlib.crc32(b"\0") + READY
    with serial_line(board(run=reply)) as path:
        bench(tmp_path, path)
        with (
            resolve_device(TARGET, tmp_path / "bench.toml").open_board(FIRMWARE) as device,
            pytest.raises(DeviceError, match="answered with 1 output bytes; the model has 4"),
        ):
            device.infer(np.zeros(4, np.int8))

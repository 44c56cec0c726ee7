"""Boards that are silent, strange, cut short or garbled: each ends in one paragraph: what, where, and what would work."""

from __future__ import annotations

import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import serial
from desk import FIRMWARE, READY, TARGET, TIMEOUT_S
from wire import Answer, board, serial_line, tcp_line

from pipeline.devices.board.link import Link
from pipeline.devices.board.protocol import identify, run_loaded, stack_use, upload
from pipeline.devices.resolve import resolve_device
from pipeline.errors import DeviceError


@contextmanager
def linked(answer: Answer, line: Callable[..., object] = serial_line, first: bytes = b"") -> Iterator[Link]:
    with line(answer, first) as url, serial.serial_for_url(url, baudrate=115200) as port:  # type: ignore[attr-defined]
        yield Link(port, "the board on the desk", answer_timeout_s=TIMEOUT_S)


def everything(link: Link) -> None:
    """All that a measurement asks of a board."""
    identify(link, FIRMWARE, TARGET)
    upload(link, b"abcd")
    run_loaded(link, 1, TIMEOUT_S)
    stack_use(link)


BAD_CRC = b"e-[bulk: CRC-32 is 00000000]\r\n" + READY
FAULTS = {
    "other_board": (board(name=b"m-name-dut-[nucleo]\r\n" + READY), r"answers as 'nucleo', not as 'cortex-m4'.*bench\.toml"),
    "other_model": (
        board(identity_model=b"ffffffffffffffff"),
        r"runs model ffff.*but g\.elf holds model 0123.*flash g\.bin",
    ),
    "other_build": (
        board(identity_build=b"0000000000000000"),
        r"runs build 0{16} of this model, but g\.elf is build fedcba9876543210: .* To go on, flash g\.bin, .*`\.$",
    ),
    "no_build": (
        board(identity_build=b""),
        r"does not say which build it runs: its firmware was made by an older version of this program\. To go on, "
        r"flash g\.bin, then run `pipeline measure \.`\.$",
    ),
    "other_core": (board(identity_core=b"c27"), r"has a cortex-m7 \(CPUID part c27\), but target cortex-m4 says cortex-m4"),
    "unheard_of_core": (board(identity_core=b"fff"), r"has another core \(CPUID part fff\)"),
    "other_maker": (board(id=b"e-[Unknown command: id]\r\n" + READY), r"does not know the command `id`.*another maker"),
    "other_version": (board(identity_protocol=b"2"), r"speaks version 2 of our protocol"),
    "no_name": (board(name=READY), r"answered `name` with nothing: expected one line m-name-dut-"),
    "identity_cut": (board(identity_tick_hz=b""), r"expected one line m-id-tick_hz-"),
    "identity_garbled": (board(identity_input=b"6x"), r"m-id-input-6x, where a number must be"),
    "number_too_long": (board(identity_input=b"9" * 200), r"m-id-input-9+, where a number must be"),
    "timer_stands": (
        board(identity_tick_hz=b"0"),
        r"its timer \(dwt\) ticks 0 times a second, but the core of target cortex-m4 runs at 25,000,000 Hz.*flash it again",
    ),
    "other_clock": (board(identity_tick_hz=b"2500000"), r"its timer \(dwt\) ticks 2,500,000 times a second, but the core"),
    "cut_short": (board(name=b"m-name-dut-[cort"), r"did not finish its answer to `name`.*b'm-name-dut-\[cort'.*cut short"),
    "no_ready": (
        board(stack=b"m-stack-1-2\r\n"),
        r"did not finish its answer to `stack`: after 'm-stack-1-2' came no m-ready",
    ),
    "garbled": (board(name=b"m-n\xf1\x00e-dut\r\n" + READY), r"no line of the protocol: the bytes are garbled.*baud rate"),
    "noise": (board(name=bytes(range(128, 256)) + b"\n"), r"the bytes are garbled"),
    "not_our_protocol": (board(name=b"login: \r\n"), r"b'login: ', which is no line of the protocol"),
    "flood": (board(name=b"m" * 1_100_000), r"sent 256 bytes without a line end; that is not the device protocol"),
    "long_line": (board(name=b"m-name-dut-[" + b"x" * 300 + b"]\r\n" + READY), r"sent 256 bytes without a line end"),
    "endless": (board(name=b"m-x\r\n" * 70_000), r"with 65,536 lines and no m-ready: another firmware"),
    "endless_empty": (board(name=b"\r\n" * 70_000), r"with 65,536 lines and no m-ready: another firmware"),
    "crash": (board(run=b"e-[fault: at 0x00001234, CFSR 0x00010000]\r\n"), r"crashed at `run 1`: .*0x00001234.*addr2line"),
    "crash_with_colours": (
        board(run=b"e-[fault: \x1b[31m at 0x0]\r\n"),
        r"answered `run 1` with b'e-\[fault: \\x1b\[31m .*garbled",
    ),
    "upload_never_right": (
        board(upload=BAD_CRC),
        r"did not get the 4 input bytes in 3 attempts.*CRC-32 is 00000000.*ed82cd11",
    ),
    "upload_odd": (board(upload=b"m-what\r\n" + READY), r"answered an upload with 'm-what' instead of m-load-done"),
    "output_crc": (board(run=b"m-ticks-7\r\nm-output-00\r\nm-crc-00000001\r\n" + READY), r"do not agree with their CRC-32"),
    "output_not_hex": (board(run=b"m-ticks-7\r\nm-output-0q\r\nm-crc-0\r\n" + READY), r"do not agree with their CRC-32"),
    "ticks_lost": (
        board(run=b"m-output-00\r\nm-crc-%08x\r\n" % zlib.crc32(b"\0") + READY),
        r"with 0 timings for 1 runs: the reply was garbled",
    ),
    "ticks_negative": (
        board(run=b"m-ticks--7\r\nm-output-00\r\nm-crc-%08x\r\n" % zlib.crc32(b"\0") + READY),
        r"with 0 timings for 1 runs: the reply was garbled",
    ),
    "crc_lost": (board(run=b"m-ticks-7\r\n" + READY), r"expected one line m-crc-"),
    "refused": (
        board(run=b"e-[run: no whole input is loaded]\r\n" + READY),
        r"answered `run 1` with an error: run: no whole input is loaded\. Reset the board and run it again; if .* flash it",
    ),
    "stack_garbled": (board(stack=b"m-stack-x-y\r\n" + READY), r"answered `stack` with x-y, not with two numbers"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_fault_has_its_message(name: str) -> None:
    answer, message = FAULTS[name]
    line = (
        tcp_line if name in ("flood", "endless", "endless_empty") else serial_line
    )  # a terminal's buffer is too small for a flood
    with linked(answer, line) as link, pytest.raises(DeviceError, match=message) as caught:
        everything(link)
    assert "the board on the desk" in str(caught.value)
    assert str(caught.value).isprintable()
    assert str(caught.value).endswith(".")
    assert len(str(caught.value)) < 600


def test_bytes_that_dribble_for_ever() -> None:
    """Slower than any baud rate, and never a line end."""
    stop = time.monotonic() + 20

    def dribble(received: bytes) -> Iterator[bytes]:
        while time.monotonic() < stop:
            time.sleep(0.1)
            yield b"m"

    with linked(dribble, tcp_line) as link, pytest.raises(DeviceError, match=r"b'm+', and no m-ready within 0\.4 s"):
        link.command("name")


@pytest.mark.parametrize("line", [serial_line, tcp_line], ids=["pty", "socket"])
def test_a_good_board_has_no_fault(line: Callable[..., object]) -> None:
    with linked(board(), line) as link:
        everything(link)


def test_silence() -> None:
    with linked(lambda _received: b"") as link, pytest.raises(DeviceError, match=r"did not answer `name` within 0\.4 s"):
        link.command("name")


def test_the_line_breaks() -> None:
    with (
        linked(board(run=b""), tcp_line) as link,
        pytest.raises(DeviceError, match="connection to the board on the desk broke"),
    ):
        everything(link)


@pytest.mark.parametrize("failures", [1, 2])
@pytest.mark.parametrize("step", ["bulk", "upload"])
def test_an_upload_is_sent_again(step: str, failures: int) -> None:
    good = {"bulk": b"m-[Expecting 4 bytes]\r\n" + READY, "upload": b"m-load-done\r\n" + READY}[step]
    bad = {"bulk": b"e-[Unknown command: bxlk]\r\n" + READY, "upload": BAD_CRC}[step]
    with linked(board(**{step: lambda asked: bad if asked < failures else good})) as link:
        upload(link, b"abcd")
        assert run_loaded(link, 1, TIMEOUT_S).output == bytes([1, 2, 250, 4])


def test_banner_missing() -> None:
    with linked(board(), tcp_line, first=b"m-ready\r\n") as link, pytest.raises(DeviceError, match="its boot banner"):
        link.boot(TIMEOUT_S)


@pytest.mark.parametrize("command", ["x" * 80, "na%me", "naïve", "a\nb"])
def test_a_command_that_can_not_be_sent(command: str) -> None:
    with linked(board()) as link, pytest.raises(DeviceError, match="can not be sent as a command"):
        link.command(command)


def test_a_closed_device_says_so() -> None:
    device = resolve_device(TARGET).open_board(FIRMWARE)
    with pytest.raises(DeviceError, match="used outside its `with` block"):
        device.infer(np.zeros(4, np.int8))

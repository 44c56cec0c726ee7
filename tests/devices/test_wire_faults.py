"""Boards that are silent, strange, cut short or garbled: each ends in one paragraph: what, where, and what would work."""

from __future__ import annotations

import fcntl
import os
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import serial
from wire import Answer, board, rfc2217_line, serial_line, tcp_line

from pipeline import target
from pipeline.artifacts import Firmware, QuantizedModel
from pipeline.devices.bench import BoardEntry, read_bench
from pipeline.devices.board.cores import fewest_cycles
from pipeline.devices.board.devices import SerialDevice
from pipeline.devices.board.link import Link
from pipeline.devices.board.protocol import identify, run_loaded, stack_use, upload
from pipeline.devices.board.serial import SerialBoard
from pipeline.devices.resolve import resolve_device
from pipeline.errors import DeviceError, RecipeError
from pipeline.ir import Graph, Quant, Tensor
from pipeline.ops.fully_connected import FullyConnected

TARGET = target.load("cortex-m4")
QUANT = Quant((0.1,))
GRAPH = Graph("g", {n: Tensor((1, 4), "int8", QUANT) for n in "xy"}, (), ("x",), ("y",))
FIRMWARE = Firmware(
    folder=Path(),
    elf=Path("g.elf"),
    model=QuantizedModel(GRAPH, None, None),  # type: ignore[arg-type]  # no data is needed here
    flash_bytes=1,
    ram_bytes=2,
    arena_bytes=3,
    layer_constant_bytes=(),
    build_id="fedcba9876543210",
    sha256="",
    model_id="0123456789abcdef",
)
TIMEOUT_S = 0.4


@contextmanager
def linked(answer: Answer, line: Callable[..., object] = serial_line, first: bytes = b"") -> Iterator[Link]:
    with line(answer, first) as url, serial.serial_for_url(url, baudrate=115200) as port:  # type: ignore[attr-defined]
        yield Link(port, "the board on the desk", answer_timeout_s=TIMEOUT_S)


def bench(folder: Path, port: str, kind: str = "measured") -> Path:
    """A bench file with one board; the pseudo terminal or socket that stands for its wire is said to lead to a real one."""
    path = folder / "bench.toml"
    path.write_text(f'[cortex-m4]\nport = "{port}"\n' + (f'kind = "{kind}"\n' if kind else ""))
    return path


def everything(link: Link) -> None:
    """All that a measurement asks of a board."""
    identify(link, FIRMWARE, TARGET)
    upload(link, b"abcd")
    run_loaded(link, 1, TIMEOUT_S)
    stack_use(link)


READY = b"m-ready\r\n"
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


@pytest.mark.parametrize(
    "first",
    [b"", b"m-timestamp-mode-performance\r\nm-lap-us-5\r\nm-init-done\r\nm-ready\r\n", b"\x00\xffm-lap-us-12\r\nm-rea"],
    ids=["waiting", "booting", "half_a_line"],
)
def test_a_real_port_is_brought_to_ready(first: bytes, tmp_path: Path) -> None:
    with serial_line(board(), first) as path, resolve_device(TARGET, bench(tmp_path, path)).open_board(FIRMWARE) as device:
        assert isinstance(device, SerialBoard)
        assert list(device.infer(np.zeros(4, np.int8))) == [1, 2, -6, 4]
        measured = device.measure(np.zeros(4, np.int8), runs=1)
    assert (measured.clock, measured.counter, measured.ticks, measured.tick_hz) == ("device", "dwt", (77,), 25_000_000)
    assert measured.latency_us == (pytest.approx(77 / 25),)
    assert measured.instructions is None
    assert measured.stack_bytes == 200


def test_a_real_port_stays_silent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.devices.board.serial.ANSWER_TIMEOUT_S", TIMEOUT_S)
    with serial_line(lambda _received: b"") as path:
        bench(tmp_path, path)
        message = rf"cortex-m4 on {path} did not answer an empty command"
        with pytest.raises(DeviceError, match=message), resolve_device(TARGET, tmp_path / "bench.toml").open_board(FIRMWARE):
            pass


def test_a_real_port_where_something_else_talks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.devices.board.serial.ANSWER_TIMEOUT_S", TIMEOUT_S)
    message = r"answered an empty command \(`%`\) with b'\\x1b\[0mlogin: ', which is no line of the protocol"
    with serial_line(lambda _received: b"\x1b[0mlogin: ") as path, pytest.raises(DeviceError, match=message):
        resolve_device(TARGET, bench(tmp_path, path)).open_board(FIRMWARE).__enter__()


def test_a_port_that_another_program_uses(tmp_path: Path) -> None:
    with serial_line(board()) as path:
        other = os.open(path, os.O_RDWR | os.O_NOCTTY)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        bench(tmp_path, path)
        with pytest.raises(DeviceError, match=r"can not be opened: another program has it open.*close other"):
            resolve_device(TARGET, tmp_path / "bench.toml").open_board(FIRMWARE).__enter__()
        os.close(other)


def test_a_port_that_is_not_there_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text('[cortex-m4]\nport = "/dev/there-is-no-such-port"\n')
    why = "the port '/dev/there-is-no-such-port' of cortex-m4 can not be opened: there is no such port"
    with pytest.raises(DeviceError, match=why):
        resolve_device(TARGET, tmp_path / "bench.toml").require()
    with pytest.raises(DeviceError, match=why):
        resolve_device(TARGET, tmp_path / "bench.toml").open_board(FIRMWARE).__enter__()


def test_a_port_that_can_not_be_opened(tmp_path: Path) -> None:
    bench(tmp_path, "socket://127.0.0.1:1")
    with pytest.raises(DeviceError, match=r"the port 'socket://127\.0\.0\.1:1' of cortex-m4 can not be opened"):
        resolve_device(TARGET, tmp_path / "bench.toml").open_board(FIRMWARE).__enter__()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[cortex-m4]\nprot = "/dev/ttyACM0"', r"cortex-m4\.prot: unknown key\. Did you mean 'port'"),
        ("[cortex-m4]\nport = 3", r"cortex-m4\.port must be a string"),
        ('[cortex-m4]\nport = "spy:///dev/x?file=y"', r"cortex-m4: port = .* must be a serial port .* socket://HOST:PORT"),
        ('[cortex-m4]\nport = "x"\nhost = "y"', r"cortex-m4: port is for a microcontroller, host for a computer: give one"),
        ('[cortex-m4]\nkind = "measured"', r"cortex-m4\.port is missing"),
        ('[cortex-m4]\nport = "x"\nkind = "mesured"', r"cortex-m4\.kind = 'mesured' is not known\. Did you mean 'measured'"),
        ('[cortex-m4]\nport = "x"\nkind = "simulated"', r"cortex-m4\.kind = 'simulated' is not known.*Use one of: measured"),
        ('[cortex-m4]\nport = "x"\nbaud = -1', r"cortex-m4\.baud = -1 is out of range"),
        ('cortex-m4 = "/dev/ttyACM0"', r"cortex-m4 must be a table"),
        ("[cortex-m4", "is not valid TOML"),
    ],
)
def test_a_wrong_bench_file(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        resolve_device(TARGET, tmp_path / "bench.toml")


@pytest.mark.parametrize("port", ["socket://127.0.0.1:4000", "rfc2217://lab:4000"])
def test_what_is_behind_a_network_port_must_be_said(port: str, tmp_path: Path) -> None:
    why = (
        rf'cortex-m4: port = "{port}" may lead to a board or to an emulator.*a real board is there, add kind = "measured"\.'
    )
    with pytest.raises(RecipeError, match=why):
        resolve_device(TARGET, bench(tmp_path, port, kind=""))


def test_what_is_behind_a_pseudo_terminal_must_be_said(tmp_path: Path) -> None:
    """Also where it goes by another name, as socat's do."""
    with serial_line(board()) as path:
        (tmp_path / "ttyACM0").symlink_to(path)
        for port in (path, str(tmp_path / "ttyACM0")):
            with pytest.raises(RecipeError, match=rf'port = "{port}" may lead to a board or to an emulator'):
                resolve_device(TARGET, bench(tmp_path, port, kind=""))


@pytest.mark.parametrize("line", [serial_line, tcp_line], ids=["pty", "socket"])
def test_a_board_that_is_said_to_be_there_is_measured(
    line: Callable[..., AbstractContextManager[str]], tmp_path: Path
) -> None:
    with line(board()) as port, resolve_device(TARGET, bench(tmp_path, port)).open_board(FIRMWARE) as device:
        assert device.measure(np.zeros(4, np.int8), runs=1).clock == "device"


def test_a_serial_port_is_a_boards(tmp_path: Path) -> None:
    device = resolve_device(TARGET, bench(tmp_path, "/dev/ttyACM0", kind=""))
    assert device == SerialDevice(TARGET, BoardEntry("/dev/ttyACM0"))
    assert SerialBoard.clock == "device"


def test_a_board_behind_a_serial_server(tmp_path: Path) -> None:
    """RFC 2217, as ser2net speaks it; pyserial brings the server's side."""
    with rfc2217_line(board()) as port, resolve_device(TARGET, bench(tmp_path, port)).open_board(FIRMWARE) as device:
        assert list(device.infer(np.zeros(4, np.int8))) == [1, 2, -6, 4]
        assert device.measure(np.zeros(4, np.int8), runs=1).clock == "device"


def test_a_port_that_takes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A USB board that hangs stops taking bytes; writing to it must end too."""
    monkeypatch.setattr("pipeline.devices.board.serial.WRITE_TIMEOUT_S", TIMEOUT_S)
    woken = threading.Event()
    answers = board()

    def hanging(received: bytes) -> bytes:
        if received == b"stack%":
            woken.wait(20)
        return answers(received)

    with serial_line(hanging) as path, resolve_device(TARGET, bench(tmp_path, path)).open_board(FIRMWARE) as device:
        device.link.send(b"stack%")
        with pytest.raises(DeviceError, match=rf"the connection to cortex-m4 on {path} broke: Write timeout\. Run it again"):
            device.link.send(bytes(1 << 20))
        woken.set()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "cortex-m44",
            r"bench\.toml: \[cortex-m44\] is no target's name\. Did you mean 'cortex-m4'\? Known targets: .*cortex-m3",
        ),
        (
            "desk",
            r"\[desk\] is no target's name\. Known targets: .*by its file in \./targets, or in a folder `targets` beside",
        ),
    ],
)
def test_a_table_that_is_no_targets(name: str, message: str, tmp_path: Path) -> None:
    """It must not be overlooked: the board would be taken for an emulated one."""
    path = tmp_path / "bench.toml"
    path.write_text(f'[{name}]\nport = "/dev/ttyACM0"\n')
    with pytest.raises(RecipeError, match=message):
        resolve_device(TARGET, path)


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        (
            "cortex-m4",
            'host = "pi@desk"',
            r"cortex-m4\.port is missing: cortex-m4 is a microcontroller, reached by its port",
        ),
        ("raspberry-pi-4", 'port = "/dev/ttyS0"', r"raspberry-pi-4\.host is missing: raspberry-pi-4 is a Linux computer"),
        ("cortex-m4", "baud = 9600", r"cortex-m4\.port is missing"),
    ],
)
def test_a_table_without_the_way_to_its_device(name: str, given: str, message: str, tmp_path: Path) -> None:
    """Overlooked, it would let an emulator or this computer stand in."""
    (tmp_path / "bench.toml").write_text(f"[{name}]\n{given}\n")
    with pytest.raises(RecipeError, match=message):
        resolve_device(target.load(name), tmp_path / "bench.toml")


def test_a_transport_that_no_microcontroller_has() -> None:
    wrong = replace(TARGET, device=replace(TARGET.device, transport="ssh"))
    with pytest.raises(DeviceError, match=r'reached by transport = "ssh"\. Write "serial" \(a board\) or "qemu"'):
        resolve_device(wrong)


def test_targets_of_ones_own_are_known(tmp_path: Path) -> None:
    """The one in use, wherever its file is; those beside the bench file."""
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "neighbour.toml").touch()
    path = tmp_path / "bench.toml"
    path.write_text('[mine]\nport = "/dev/ttyACM0"\n[neighbour]\nport = "/dev/ttyACM1"\n')
    assert resolve_device(replace(TARGET, name="mine"), path).where == "mine on /dev/ttyACM0"


def test_without_a_bench_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_bench(None, (TARGET,)) == {}
    with pytest.raises(RecipeError, match=r"the bench file bench\.toml does not exist"):
        read_bench(Path("bench.toml"), (TARGET,))


def test_a_serial_target_needs_a_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    on_the_desk = replace(TARGET, device=replace(TARGET.device, transport="serial"))
    with pytest.raises(DeviceError, match=r"nothing says where cortex-m4 is connected\. Write `\[cortex-m4\]`"):
        resolve_device(on_the_desk)


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


def test_a_closed_device_says_so() -> None:
    device = resolve_device(TARGET).open_board(FIRMWARE)
    with pytest.raises(DeviceError, match="used outside its `with` block"):
        device.infer(np.zeros(4, np.int8))

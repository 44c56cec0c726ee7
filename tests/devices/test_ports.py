"""Serial ports, and the bench file that says where they lead: what can not work is told before any work."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from desk import FIRMWARE, TARGET, TIMEOUT_S, bench
from wire import board, rfc2217_line, serial_line, tcp_line

from pipeline import target
from pipeline.devices.bench import BoardEntry, read_bench
from pipeline.devices.board.devices import SerialDevice
from pipeline.devices.board.serial import SerialBoard
from pipeline.devices.resolve import resolve_device
from pipeline.errors import DeviceError, RecipeError


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

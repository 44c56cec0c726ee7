"""An emulated board: QEMU runs the firmware, and its UART is a TCP socket driven with pyserial as a real port is."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from typing import IO

import serial

from pipeline.artifacts import Firmware
from pipeline.devices.board import plugin
from pipeline.devices.board.board import Board
from pipeline.devices.board.link import WRITE_TIMEOUT_S, Link
from pipeline.devices.board.plugin import Counts
from pipeline.devices.board.protocol import Run
from pipeline.devices.device import Counter
from pipeline.errors import DeviceError, did_you_mean
from pipeline.target import Target

BOOT_TIMEOUT_S = 60.0
NS_PER_INSTRUCTION = 1  # -icount shift=0
# Cycles per instruction where only instructions are known: TFLM + CMSIS-NN's four MLPerf Tiny models lie between 1.18 and
# 1.24 on the Cortex-M4 by its timing table, so 1.0 and 1.5 are safe bounds for integer code.
CPI_LOW, CPI, CPI_HIGH = 1.0, 1.22, 1.5

# Runs the command that follows, which the kernel kills when this process dies, however it dies.
_DIE_WITH_PARENT = """
import ctypes, os, signal, sys
ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
if os.getppid() == int(sys.argv[1]):
    try:
        os.execv(sys.argv[2], sys.argv[2:])
    except OSError as e:
        sys.exit(f"{sys.argv[2]}: {e.strerror}")
"""


class QemuBoard(Board):
    """The firmware in QEMU. Virtual time is one nanosecond an instruction, so that every run gives the same counts."""

    clock = "simulated"

    def __init__(self, firmware: Firmware, target: Target, counter: Counter = "plugin") -> None:
        super().__init__(firmware, target, f"{target.name} in QEMU ({target.device.machine})")
        self._counter = counter
        self._process: subprocess.Popen[bytes] | None = None
        # What QEMU says, and what its plugin counts, in files without a name: nothing to leave behind, however this ends.
        self._words: IO[bytes] | None = None
        self._counted: IO[bytes] | None = None

    def _connect(self) -> Link:
        qemu = find_qemu()
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  (closed in _release)
        self._counted = tempfile.TemporaryFile()  # noqa: SIM115
        # The listening socket is ours and is handed over: no other program can take the port in between.
        with socket.create_server(("127.0.0.1", 0)) as server:
            command = [*_wrapper(), qemu, *self._arguments(qemu, server.fileno(), self._counted.fileno())]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._words,
                pass_fds=[server.fileno(), self._counted.fileno()],
                start_new_session=True,  # Ctrl-C in the terminal reaches us alone; we end QEMU
            )
            url = f"socket://127.0.0.1:{server.getsockname()[1]}"
            port = serial.serial_for_url(url, timeout=1, write_timeout=WRITE_TIMEOUT_S)
        link = Link(port, self.where, self._autopsy, advice=_advice(self.target))
        try:
            link.boot(BOOT_TIMEOUT_S)
        except BaseException:
            link.close()
            raise
        return link

    def _arguments(self, qemu: str, listening_fd: int, counted_fd: int) -> list[str]:
        counting = []
        if self._counter == "plugin":
            table = plugin.core(self.target.cpu.core).table
            counting = ["-plugin", f"{plugin.build(qemu)},out=/dev/fd/{counted_fd},core={table}"]
        return [
            "-M", self.target.device.machine,
            "-kernel", str(self.firmware.elf),
            "-display", "none", "-monitor", "none", "-nodefaults", "-no-reboot",
            "-semihosting-config", "enable=on,target=native",
            "-icount", "shift=0",
            "-chardev", f"socket,id=uart,fd={listening_fd},server=on,wait=on,nodelay=on",
            "-serial", "chardev:uart",
            *counting,
        ]  # fmt: skip

    @property
    def counter(self) -> str:
        return self._counter

    def _release(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
            self._process = None
        for file in (self._words, self._counted):
            if file is not None:
                file.close()
        self._words = self._counted = None

    def _counts(self, run: Run) -> tuple[Counts, ...]:
        if self._counter == "systick":
            ns_per_tick = 1e9 / self.identity.tick_hz
            counted = [round(t * ns_per_tick / NS_PER_INSTRUCTION) for t in run.ticks]
            return tuple(Counts(n, round(n * CPI), round(n * CPI_LOW), round(n * CPI_HIGH)) for n in counted)
        lines = _written(self._counted).splitlines()
        if len(lines) < len(run.ticks):
            raise DeviceError(
                f"QEMU's plugin counted {len(lines)} inferences where {len(run.ticks)} ran on {self.where}: the firmware "
                "lacks the marker instructions around the model. Build it with this version of the program."
            )
        model = plugin.core(self.target.cpu.core)
        return tuple(plugin.counts(line, model) for line in lines[-len(run.ticks) :])

    def _autopsy(self) -> str:
        """Why the connection is gone, if it is because QEMU is."""
        if self._process is None:
            return ""
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return ""
        lines = _written(self._words).splitlines()
        said = [line for line in lines if line.strip() and "info:" not in line and "warning:" not in line]
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return f"QEMU {how}: {said[0].strip() if said else 'it printed no reason'}."


def _advice(target: Target) -> str:
    """What to do where the firmware does not answer; a driver of the user's own is the first to look at."""
    busy = "this machine is too busy to run it: run it again."
    if target.driver is None:
        return f"The firmware hangs in the emulator, or {busy}"
    return (
        f"Look at {target.driver}, and at uart_base and uart_irq of its target file: what is sent, or the interrupt that "
        f"receives, goes elsewhere. Or {busy}"
    )


def _written(file: IO[bytes] | None) -> str:
    """What QEMU has written to a file until now; where it writes next stays as it is."""
    assert file is not None, "used outside its `with` block"
    return os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0).decode(errors="replace")


def require_machine(target: Target) -> None:
    """DeviceError when this QEMU does not emulate the target's board."""
    qemu, machine = find_qemu(), target.device.machine
    try:
        listed = subprocess.run([qemu, "-M", "help"], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired) as e:
        raise DeviceError(f"{qemu} can not be run: {e}. Install qemu-system-arm again.") from None
    known = [line.split()[0] for line in listed.splitlines()[1:] if line.strip()]
    if machine not in known:
        raise DeviceError(
            f"{qemu} emulates no machine {machine!r}, which target {target.name} names.{did_you_mean(machine, known)} "
            f"`qemu-system-arm -M help` lists what it emulates; mend `machine` in the target file, or install a newer QEMU."
        )


def find_qemu() -> str:
    qemu = shutil.which("qemu-system-arm")
    if qemu is None:
        raise DeviceError(
            "qemu-system-arm is not installed, so that no emulated board can run. Debian: apt-get install qemu-system-arm; "
            "Fedora: dnf install qemu-system-arm; macOS: brew install qemu. Or connect a board and name its "
            "port in bench.toml."
        )
    return qemu


def _wrapper() -> list[str]:
    if not sys.platform.startswith("linux"):
        return []
    return [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid())]

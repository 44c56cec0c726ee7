"""The runner in a process of this computer, through the very protocol it speaks on a Raspberry Pi. Its clock is "host"."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline.devices.linux.protocol import RUNNER, Runner
from pipeline.errors import DeviceError
from pipeline.measurement.board import Clock


class ProcessChannel:
    """Pipes to a child of its own session, so that Ctrl-C reaches only this program, which then ends the child."""

    def __init__(self, command: list[str]) -> None:
        self._words = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the channel)
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._words, bufsize=0, start_new_session=True
            )
        except OSError as e:
            self._words.close()
            raise DeviceError(f"the runner can not be started: {command[0]}: {e.strerror}.") from None

    @property
    def pid(self) -> int:
        return self._process.pid

    def send(self, data: bytes) -> None:
        assert self._process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[self._process.stdin.write(view) or 0 :]

    def receive(self, timeout_s: float) -> bytes:
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        if not select.select([descriptor], [], [], timeout_s)[0]:
            raise TimeoutError
        return os.read(descriptor, 1 << 16)

    def ending(self) -> str:
        try:
            status = self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            return "the runner closed its output but still runs"
        self._words.seek(max(0, self._words.seek(0, os.SEEK_END) - 2000))
        words = self._words.read().decode("utf-8", "replace").strip().splitlines()
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        return f"the runner ended ({how}{': ' + words[-1] if words else ''})"

    def close(self) -> None:
        with contextlib.suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        self._words.close()


class ProcessComputer:
    """This computer as a device of family `linux`: a Raspberry Pi's stand-in where there is none."""

    clock: Clock = "host"

    def __init__(self, name: str, python: str = sys.executable) -> None:
        self.where = f"{name} (this computer)"
        self._python = python

    @contextlib.contextmanager
    def runner(self) -> Iterator[Runner]:
        """A fresh runner; it ends with the block."""
        channel = ProcessChannel([self._python, "-I", "-B", str(RUNNER)])
        with Runner(channel, self.where) as runner:
            yield runner

    def place(self, file: Path) -> str:
        """The path under which a runner finds the file."""
        return str(file.resolve())

    def __enter__(self) -> ProcessComputer:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

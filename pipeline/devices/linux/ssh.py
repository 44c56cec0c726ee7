"""A Linux computer behind SSH: files placed once by content, an environment made on first use, runners that die with us.

Everything there is in ~/.cache/tinyml-pipeline, private to the user: <sha256>.<suffix>, venv-<key>/ with venv-<key>.ready
once it is whole, wheels-<key>/. Every remote command is fixed text around paths that this program made; what varies goes
through SFTP or the runner's stdin.
"""

from __future__ import annotations

import contextlib
import hashlib
import shlex
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self, TypeVar

import paramiko

from pipeline.devices.linux import ssh_files, ssh_wheels
from pipeline.devices.linux.protocol import ConnectionLost, Refusal, Runner, runner_archive
from pipeline.devices.linux.replies import MAX_QUOTED
from pipeline.devices.linux.ssh_connect import SshHost, connect
from pipeline.devices.linux.ssh_files import FOLDER, DiskError
from pipeline.display import short
from pipeline.errors import DeviceError
from pipeline.measurement.board import Clock
from pipeline.measurement.linux import ComputerInfo

PYTHON = "python3"
REQUIREMENTS = ("numpy", "onnxruntime")
INSTALLED_BYTES = 150_000_000  # about what they take
RETRIES = 2

T = TypeVar("T")


class SshChannel:
    """One remote command's stdin and stdout."""

    def __init__(self, client: paramiko.SSHClient, command: str) -> None:
        transport = client.get_transport()
        if transport is None or not transport.is_active():
            raise ConnectionResetError("the connection was lost")
        self._transport = transport
        self._channel = transport.open_session(timeout=20)
        self._words = b""
        self._channel.exec_command(command)

    def send(self, data: bytes) -> None:
        self._channel.settimeout(60)
        self._channel.sendall(data)

    def receive(self, timeout_s: float) -> bytes:
        self._drain()
        self._channel.settimeout(timeout_s)
        return bytes(self._channel.recv(1 << 16))

    def _drain(self) -> None:
        """Keep the tail of stderr, and its window open."""
        while self._channel.recv_stderr_ready():
            self._words = (self._words + self._channel.recv_stderr(1 << 16))[-4000:]

    def status(self) -> int | None:
        """The command's exit status; None when a signal ended it or the connection was lost."""
        if not self._channel.status_event.wait(timeout=5) or self._channel.exit_status < 0:
            return None
        return int(self._channel.exit_status)

    def ending(self) -> str:
        status = self.status()
        if status is None and not self._transport.is_active():
            return "the connection was lost"
        with contextlib.suppress(Exception):
            self._drain()
        last = self._words.decode("utf-8", "replace").strip().splitlines()[-1:]
        if status is None:
            return "the runner was killed by a signal (out of memory?)"
        return f"the runner ended (exit status {status}{': ' + last[0] if last else ''})"

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._channel.close()


class SshComputer:
    """A device of family `linux`, used in a `with` block. A lost connection is set up again and the step repeated where that
    is safe: placing files and starting runners is. `wheels`: a folder of wheels to install from when it has no engine.
    `model`: what its own name for itself must contain; another computer is refused before anything is installed there."""

    clock: Clock = "device"

    def __init__(self, name: str, host: SshHost, wheels: Path | None = None, model: str = "") -> None:
        self.where = f"{name} ({host.host})"
        self._name, self._host, self._wheels, self._model = name, host, wheels, model
        self._client: paramiko.SSHClient | None = None
        self._files: paramiko.SFTPClient | None = None
        self._python = ""

    def __enter__(self) -> Self:
        try:
            self._python = self._reliably("prepare", self._find_python)
        except BaseException:
            self._disconnect()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._disconnect()

    def place(self, file: Path) -> str:
        """The path under which a runner there finds a file with these bytes."""
        data = file.read_bytes()
        return self._reliably("upload", lambda: ssh_files.place(self._sftp(), data, file.suffix))

    @contextlib.contextmanager
    def runner(self) -> Iterator[Runner]:
        """A fresh runner; it ends with the block, and when the connection does."""
        runner = self._reliably("start", lambda: self._start(self._python))
        try:
            yield runner
        finally:
            runner.__exit__()

    def clean(self) -> None:
        """Remove everything this program ever put there. Needs no `with` block."""
        try:
            status, words = self._reliably("clean", lambda: self._command(f"exec rm -rf -- {shlex.quote(FOLDER)}"))
        finally:
            self._disconnect()
        if status != 0:
            raise self._error("clean", f"rm ended with status {status}: {words.strip()}")

    # --- the connection

    def _reliably(self, step: str, action: Callable[[], T]) -> T:
        """The action's result; when the connection is lost it is repeated on a new one. Errors name host and step."""
        for left in range(RETRIES, -1, -1):
            try:
                return action()
            except DiskError as e:
                raise self._error(step, self._about(e)) from None
            except (ConnectionLost, paramiko.SSHException, EOFError, OSError) as e:
                if isinstance(e, OSError) and self._files is not None and not ssh_files.lost(self._files, e):
                    raise self._error(step, f"the host refused a file operation: {e.strerror or e}") from None
                self._disconnect()
                if not left:
                    message = (
                        str(e) if isinstance(e, ConnectionLost) else f"{self.where}: {step}: the connection was lost ({e})."
                    )
                    raise DeviceError(f"{message} It was tried {RETRIES + 1} times.") from None
        raise AssertionError("the last attempt returns or raises")

    def _connected(self) -> paramiko.SSHClient:
        if self._client is None:
            self._client = connect(self._name, self._host)
        return self._client

    def _sftp(self) -> paramiko.SFTPClient:
        if self._files is None:
            try:
                files = self._connected().open_sftp()
            except paramiko.ChannelException as e:
                raise self._error("upload", f"the host's SSH server offers no SFTP ({e})") from None
            channel = files.get_channel()
            assert channel is not None  # opened just now
            channel.settimeout(30)
            self._files = files
        return self._files

    def _disconnect(self) -> None:
        for thing in (self._files, self._client):
            with contextlib.suppress(Exception):
                if thing is not None:
                    thing.close()
        self._files = self._client = None

    def _command(self, command: str) -> tuple[int | None, str]:
        """(exit status, output) of a fixed command."""
        channel = SshChannel(self._connected(), command)
        out = b""
        try:
            while data := channel.receive(60):
                out = (out + data)[:65536]
            return channel.status(), out.decode("utf-8", "replace")
        finally:
            channel.close()

    def _error(self, step: str, message: str) -> DeviceError:
        return DeviceError(f"{self.where}: {step}: {short(message, 2 * MAX_QUOTED)}.")

    def _about(self, e: DiskError) -> str:
        """SFTP has no word for a full disk: ask how much is free."""
        free = self._free_bytes()
        if e.full or (free is not None and free < e.wanted + ssh_files.SPARE_BYTES):
            return f"its disk is full ({free or 0:,} bytes free, {e.wanted:,} needed); nothing was kept. Make room there"
        return f"{e}; nothing was kept"

    def _free_bytes(self) -> int | None:
        """Of the disk that holds the folder, None when the host can not say."""
        with contextlib.suppress(IndexError, ValueError, DeviceError, paramiko.SSHException, EOFError, OSError):
            _, out = self._command(f"exec df -Pk {shlex.quote(FOLDER)}")
            return int(out.splitlines()[-1].split()[3]) * 1024
        return None

    # --- runners and their environment

    def _start(self, python: str) -> Runner:
        program = ssh_files.place(self._sftp(), runner_archive(), ".pyz")
        channel = SshChannel(self._connected(), f"exec {shlex.quote(python)} -I -B {shlex.quote(program)}")
        try:
            return Runner(channel, self.where).__enter__()
        except ConnectionLost as e:
            if channel.status() == 127:
                raise self._error("start", f"{python} is not installed there; on Debian: sudo apt install python3") from None
            if channel.status() is not None:  # it ended by itself: doing it again would end the same way
                raise DeviceError(str(e)) from None
            raise

    def _find_python(self) -> str:
        """A Python there that has an engine: its own, or that of a virtual environment, made if need be."""
        runner = self._start(PYTHON)
        try:
            info = runner.ask_for(ComputerInfo, "info")
            if self._model not in info.model:
                raise self._error(
                    "identify",
                    f"it answers as another computer, {short(info.model, 80)!r}, not as {self._model!r}. Name the right "
                    "host in bench.toml; to measure this one, give it a target of its own: a file targets/NAME.toml with "
                    f'inherits = "{self._name}", and under [device] what its name for itself contains, model = "..."',
                )
            if info.engines:
                return PYTHON
            described = repr((REQUIREMENTS, info.python, info.machine, info.libc))
            key = hashlib.sha256(described.encode()).hexdigest()[:16]
            folder, ready = f"{FOLDER}/venv-{key}", f"{FOLDER}/venv-{key}.ready"
            files = self._sftp()
            try:
                files.stat(ready)
            except FileNotFoundError:
                self._make_venv(runner, info, folder, key)
                files.posix_rename(ssh_files.place(files, described.encode(), ".ready"), ready)
            return f"{folder}/bin/python"
        finally:
            runner.__exit__()

    def _make_venv(self, runner: Runner, info: ComputerInfo, folder: str, key: str) -> None:
        """From given wheels; else from its own package index; else, when it is offline, from wheels fetched here."""
        packages, offline = list(REQUIREMENTS), ""
        try:
            if self._wheels is None:
                runner.ask("venv", 1900, path=folder, requirements=packages)
                return
        except Refusal as e:
            if e.name != "NoPackages":
                raise self._error("venv", self._refused(e)) from None
            offline = str(e).rstrip(".")
        with tempfile.TemporaryDirectory() as fetched:
            wheels = self._wheels or Path(fetched)
            if self._wheels is None and (failed := ssh_wheels.fetch(info, packages, wheels)):
                raise self._error(
                    "venv",
                    f"it has no onnxruntime, its pip could not install it [{offline}], and this computer could not fetch "
                    f"wheels for it [{failed}]. Install numpy and onnxruntime there, or name a folder of wheels for it",
                )
            remote = ssh_wheels.upload(self._sftp(), sorted(wheels.glob("*.whl")), key)
        try:
            runner.ask("venv", 1900, path=folder, requirements=packages, wheels=remote)
        except Refusal as e:
            raise self._error("venv", self._refused(e)) from None

    def _refused(self, e: Refusal) -> str:
        if e.name == "DiskFull":
            return f"its disk is full ({self._free_bytes() or 0:,} bytes free); the engine takes about {INSTALLED_BYTES:,}"
        return f"it has no onnxruntime, and none could be installed [{str(e).rstrip('.')}]"

"""The host's side of the runner's protocol (firmware_templates/linux/runner/): JSON lines over any channel of bytes.

The same code drives a runner in a local process and one behind SSH. What comes back is checked as strictly as what goes
there: lines are bounded here, and replies.py says what each answer holds.
"""

from __future__ import annotations

import io
import itertools
import json
import math
import threading
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import fields as fields_of
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np

from pipeline.devices.linux.replies import MAX_QUOTED, Hello, Replayed, encode, shown
from pipeline.display import short
from pipeline.errors import DeviceError
from pipeline.ir import Array
from pipeline.locations import data_dir
from pipeline.strict import parse

T = TypeVar("T")

RUNNER = data_dir("firmware_templates") / "linux" / "runner"
"""A folder that Python runs as a program, and `runner_archive` of it likewise."""
PROTOCOL = 1
MAX_LINE = 64 * 2**20
CHUNK_BYTES = 2 * 2**20  # of inputs in one replay request
PING_S = 5.0
SILENCE_S = 25.0  # without any line, pings unanswered: the other side is gone


def runner_files() -> list[Path]:
    """The runner's sources, in a fixed order."""
    return sorted(RUNNER.glob("*.py"))


def runner_archive() -> bytes:
    """The runner in one file, for `python3 runner.pyz`; the same bytes from the same sources, on any machine."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as z:
        for file in runner_files():
            entry = zipfile.ZipInfo(file.name)  # dated 1980
            entry.create_system = 3  # Unix, wherever this runs
            z.writestr(entry, file.read_bytes())
    return archive.getvalue()


class Channel(Protocol):
    """Bytes to and from a runner."""

    def send(self, data: bytes) -> None:
        """All of it; OSError when the other end is gone."""

    def receive(self, timeout_s: float) -> bytes:
        """What is there, b"" when the stream has ended; TimeoutError when nothing comes."""

    def ending(self) -> str:
        """Why the stream ended, in words: "exit status 1, ModuleNotFoundError: ...", "the connection was lost"."""

    def close(self) -> None:
        """End the other side too; never raises."""


class ConnectionLost(DeviceError):
    """The runner is gone in the middle of a conversation. Starting again is safe: a runner keeps no state on disk."""


class Refusal(DeviceError):
    """The runner answered with an error; `name` is the runner's word for it."""

    def __init__(self, message: str, name: str) -> None:
        super().__init__(message)
        self.name = name


class Runner:
    """A conversation with one runner, used in a `with` block. `where` starts every message: "raspberry-pi-4 (pi@bench)"."""

    def __init__(self, channel: Channel, where: str) -> None:
        self.where = where
        self._channel = channel
        self._buffer = bytearray()
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._pulse = threading.Thread(target=self._ping, daemon=True)

    def __enter__(self) -> Self:
        try:
            hello = self._checked(Hello, "start", self._answer(0, "start", 60.0))
            if hello.protocol != PROTOCOL:
                raise DeviceError(f"{self.where}: start: the runner speaks protocol {hello.protocol}, not {PROTOCOL}.")
        except BaseException:
            self._channel.close()
            raise
        self._pulse.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._closed.set()
        self._channel.close()
        self._pulse.join(timeout=PING_S)

    def ask(self, op: str, timeout_s: float = 60.0, **fields: Any) -> dict[str, Any]:
        """The runner's answer as it came; nothing in it can be trusted but that its strings may be shown. Refusal when it
        says no, ConnectionLost when it is gone, DeviceError for nonsense."""
        number = next(self._ids)
        self._send({"id": number, "op": op, **fields}, op)
        return self._answer(number, op, timeout_s)

    def ask_for(self, kind: type[T], op: str, timeout_s: float = 60.0, **fields: Any) -> T:
        """The answer as a checked `kind`, a dataclass of replies.py or pipeline/measurement/linux.py. Errors are those of
        `ask`, DeviceError also for an answer that is no `kind`."""
        return self._checked(kind, op, self.ask(op, timeout_s, **fields))

    def wrong(self, what: str) -> DeviceError:
        """An answer that can not be used: `what` says which, and what it holds."""
        return DeviceError(
            f"{self.where}: {shown(what)} That is no answer of the runner: run it again; if it stays so, python3 "
            "there is broken, or another program answers in its place."
        )

    def replay(self, name: str, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """The answers of model `name` to n inputs, each (n, *shape); asked for in requests of bounded size."""
        step = max(1, CHUNK_BYTES // max(1, sum(x[0].nbytes for x in inputs)))
        parts: list[list[Array]] = []
        for i in range(0, len(inputs[0]), step):
            some = [x[i : i + step] for x in inputs]
            replayed = self.ask_for(Replayed, "replay", 600.0, name=name, inputs=[encode(x) for x in some])
            outputs = [wire.array() for wire in replayed.outputs]
            first = parts[0] if parts else outputs
            wanted = [(y.dtype, (len(some[0]), *y.shape[1:])) for y in first]
            if not outputs or [(y.dtype, y.shape) for y in outputs] != wanted:
                raise self.wrong(f"replay.outputs have the shapes {[y.shape for y in outputs]} for {len(some[0])} inputs.")
            parts.append(outputs)
        return tuple(np.concatenate(same) for same in zip(*parts, strict=True))

    def _checked(self, kind: type[T], op: str, answer: Mapping[str, Any]) -> T:
        """Keys that `kind` does not have are left out: a runner may say more than is read."""
        known = {f.name for f in fields_of(kind)}  # type: ignore[arg-type]
        try:
            return parse(kind, {key: value for key, value in answer.items() if key in known}, op, DeviceError)
        except DeviceError as e:
            raise self.wrong(str(e)) from None

    def _ping(self) -> None:
        while not self._closed.wait(PING_S):
            try:
                self._send({"id": next(self._ids), "op": "ping"}, "ping")
            except DeviceError:
                return  # whoever waits for an answer finds out

    def _send(self, request: Mapping[str, Any], op: str) -> None:
        try:
            with self._lock:
                self._channel.send(json.dumps(request, allow_nan=False).encode("ascii") + b"\n")
        except OSError:
            raise self._gone(op) from None

    def _answer(self, number: int, op: str, timeout_s: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout_s
        strangers = 0
        while True:
            line = self._line(op, deadline, timeout_s)
            try:
                answer = shown(json.loads(line, parse_int=_whole))
                known = isinstance(answer, dict) and type(answer.get("ok")) is bool
            except (ValueError, RecursionError):
                known = False
            if not known:
                strangers += 1
                if number == 0 and strangers < 50:
                    continue  # a login script's words
                raise DeviceError(
                    f"{self.where}: {op}: the answer is garbled: {line[:80]!r}. Run it again; check the cable or network."
                )
            if answer.get("id") is None or answer["id"] == number:
                break
        if not answer["ok"]:
            error = answer.get("error")
            name, message = (error.get("name"), error.get("message")) if isinstance(error, dict) else (None, None)
            raise Refusal(f"{self.where}: {op}: {short(f'{message} ({name})', MAX_QUOTED)}.", str(name))
        return dict(answer)

    def _gone(self, op: str) -> ConnectionLost:
        return ConnectionLost(f"{self.where}: {op}: {short(self._channel.ending(), MAX_QUOTED)}.")

    def _line(self, op: str, deadline: float, timeout_s: float) -> bytes:
        heard = time.monotonic()
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > MAX_LINE:
                raise DeviceError(f"{self.where}: {op}: an answer of more than {MAX_LINE:,} bytes; it was not read further.")
            now = time.monotonic()
            if now > deadline:
                raise DeviceError(f"{self.where}: {op}: no answer within {timeout_s:.0f} s, though the runner is alive.")
            if now - heard > SILENCE_S:
                raise ConnectionLost(f"{self.where}: {op}: nothing was heard for {SILENCE_S:.0f} s; the connection is dead.")
            try:
                data = self._channel.receive(min(1.0, max(0.01, deadline - now)))
            except TimeoutError:
                continue
            except OSError:
                data = b""
            if not data:
                raise self._gone(op)
            heard = time.monotonic()
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line


def _whole(digits: str) -> int | float:
    """A JSON integer; one that no field can hold is infinite, and refused as such."""
    return int(digits) if len(digits) <= 20 else math.inf

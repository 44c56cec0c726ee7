"""The host's side of the runner's protocol (firmware_templates/linux/runner/): JSON lines over any channel of bytes.

The same code drives a runner in a local process and one behind SSH. What comes back is checked as strictly as what goes
there: lines are bounded, arrays must have the length and checksum they claim.
"""

from __future__ import annotations

import base64
import io
import itertools
import json
import math
import threading
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np

from pipeline.errors import DeviceError
from pipeline.ir import Array
from pipeline.locations import data_dir
from pipeline.shown import short

RUNNER = data_dir("firmware_templates") / "linux" / "runner"
"""A folder that Python runs as a program, and `runner_archive` of it likewise."""
PROTOCOL = 1
MAX_LINE = 64 * 2**20
MAX_QUOTED = 600  # characters of another computer's words in a message
CHUNK_BYTES = 2 * 2**20  # of inputs in one replay request
PING_S = 5.0
SILENCE_S = 25.0  # without any line, pings unanswered: the other side is gone
DTYPES = frozenset({"uint8", "int8", "int32", "int64", "float32"})


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
            hello = self._answer(0, "start", 60.0)
            if hello.get("protocol") != PROTOCOL:
                raise DeviceError(
                    f"{self.where}: start: the runner speaks protocol {hello.get('protocol')!r}, not {PROTOCOL}."
                )
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
        """The runner's answer. Refusal when it says no, ConnectionLost when it is gone, DeviceError for nonsense."""
        number = next(self._ids)
        self._send({"id": number, "op": op, **fields}, op)
        return self._answer(number, op, timeout_s)

    def replay(self, name: str, inputs: Sequence[Array]) -> tuple[Array, ...]:
        """The answers of model `name` to n inputs, each (n, *shape); asked for in requests of bounded size."""
        n = len(inputs[0])
        step = max(1, CHUNK_BYTES // max(1, sum(x[0].nbytes for x in inputs)))
        parts = [
            tuple(
                map(
                    decode, self.ask("replay", 600.0, name=name, inputs=[encode(x[i : i + step]) for x in inputs])["outputs"]
                )
            )
            for i in range(0, n, step)
        ]
        outputs = tuple(np.concatenate(p) for p in zip(*parts, strict=True))
        if any(len(y) != n for y in outputs):
            raise DeviceError(f"{self.where}: replay: {len(outputs[0])} answers came to {n} inputs.")
        return outputs

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
                answer = json.loads(line)
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


def encode(array: Array) -> dict[str, Any]:
    raw = np.ascontiguousarray(array).tobytes()
    data = base64.b64encode(raw).decode("ascii")
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": data, "crc32": zlib.crc32(raw)}


def decode(value: Any) -> Array:
    """The array that a JSON value describes; DeviceError unless it has the length and checksum it claims."""
    try:
        shape, dtype = tuple(value["shape"]), value["dtype"]
        if dtype not in DTYPES or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"{dtype!r} {shape!r}")
        raw = base64.b64decode(value["data"], validate=True)
        if len(raw) != math.prod(shape) * np.dtype(dtype).itemsize or zlib.crc32(raw) != value["crc32"]:
            raise ValueError("length or checksum")
    except (KeyError, TypeError, ValueError) as e:
        raise DeviceError(
            f"the runner sent an array that is damaged ({e}). Run it again; check the cable or network."
        ) from None
    return np.frombuffer(raw, dtype).reshape(shape)

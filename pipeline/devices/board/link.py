"""A conversation with a board over a serial port: commands that end with %, lines that answer them, m-ready at the end.

A `Link` needs only what pyserial's ports have in common, so real ports, `socket://` and pseudo terminals all do. Whatever
goes wrong on the wire is a DeviceError that says what, where, and what would work; nothing is skipped in silence.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Protocol

from pipeline.errors import DeviceError

ANSWER_TIMEOUT_S = 5.0
INFER_TIMEOUT_S = 30.0
ADVICE = (
    "Check that the board has power and runs this firmware, and that port and baud rate are right; then reset it and run "
    "it again."
)
POLL_S = 0.1  # how long one read of the port waits
SLOWEST_BYTES_A_SECOND = 30  # 300 baud: what bytes may take on the wire, besides the board's own time
COMMAND_BYTES = 80
CHUNK_BYTES = 1 << 16
WRITE_BYTES, WRITE_TIMEOUT_S = 256, 10.0  # a piece takes 8.5 s at 300 baud; a USB port that hangs takes nothing, for ever
MAX_LINE_BYTES, MAX_LINES = 256, 1 << 16  # the firmware's longest line has 120 bytes


class Port(Protocol):
    """What a Link uses of a pyserial port."""

    timeout: float | None

    @property
    def in_waiting(self) -> int: ...
    def read(self, size: int = 1) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...
    def close(self) -> None: ...


class RefusedError(DeviceError):
    """The board answered a command with an error line, `e-[...]`. `reason` is its text; the board is ready again."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class Link:
    """A conversation with one board. `where` names it in messages ("cortex-m4 in QEMU", "nucleo on /dev/ttyACM0");
    `autopsy` may add why the connection broke ("QEMU ended with exit code 1: ..."), `advice` what to do when it is silent. A
    board has `answer_timeout_s` for each line of an answer, unless a command is known to take longer."""

    def __init__(
        self,
        port: Port,
        where: str,
        autopsy: Callable[[], str] = lambda: "",
        answer_timeout_s: float = ANSWER_TIMEOUT_S,
        advice: str = ADVICE,
    ) -> None:
        self._port, self.where, self._autopsy, self._advice = port, where, autopsy, advice
        self.answer_timeout_s = answer_timeout_s
        self._received = bytearray()
        port.timeout = POLL_S

    def boot(self, timeout_s: float) -> None:
        """Wait for the banner that the firmware prints once after reset."""
        lines = self._lines_until_ready("its boot banner", timeout_s)
        if "m-init-done" not in lines:
            raise DeviceError(
                f"{self.where} said {shown(lines)} where its boot banner (..., m-init-done, m-ready) was expected. Another "
                "firmware runs there, or this one restarted half-way; build and start it again."
            )

    def synchronise(self) -> None:
        """Bring a board whose state is unknown to m-ready: an empty command ends whatever was half sent, and then it must
        fall silent, since it may just be booting. Lines from before are dropped."""
        self.send(b"%")
        end = time.monotonic() + self.answer_timeout_s
        silent_polls = 0
        while b"m-ready\r\n" not in self._received or silent_polls < 2:
            silent_polls = 0 if self._read() else silent_polls + 1
            if time.monotonic() > end:
                if self._received:
                    raise self._garbled("an empty command (`%`)", bytes(self._received))
                raise self._silent("an empty command (`%`)", self.answer_timeout_s)
            del self._received[:-MAX_LINE_BYTES]
        self._received.clear()

    def command(self, text: str, timeout_s: float | None = None, steps: int = 1) -> list[str]:
        """The lines that answer `text`, without m-ready. Each must come within `timeout_s`, and all together within `steps`
        times that. RefusedError when the board reports an error."""
        if len(text) >= COMMAND_BYTES or "%" in text or not (text.isascii() and text.isprintable()):
            raise DeviceError(f"{text!r} can not be sent as a command: at most {COMMAND_BYTES - 1} ASCII characters, no %.")
        self.send(text.encode() + b"%")
        return self.answer(f"`{text}`", timeout_s or self.answer_timeout_s, steps)

    def answer(self, asked: str, timeout_s: float, steps: int = 1) -> list[str]:
        """The lines up to m-ready that answer what was sent. RefusedError when one of them reports an error."""
        lines = self._lines_until_ready(asked, timeout_s, steps)
        for line in lines:
            if line.startswith("e-"):
                reason = line.removeprefix("e-").strip("[]")
                raise RefusedError(
                    f"{self.where} answered {asked} with an error: {reason.rstrip('.')}. Reset the board and run it "
                    "again; if it answers so again, build this firmware anew and flash it.",
                    reason,
                )
        return lines

    def message(self, key: str, lines: list[str], command: str) -> str:
        """The VALUE of the one line `m-KEY-VALUE`."""
        values = [line.removeprefix(f"m-{key}-") for line in lines if line.startswith(f"m-{key}-")]
        if len(values) != 1:
            raise DeviceError(
                f"{self.where} answered `{command}` with {shown(lines)}: expected one line m-{key}-.... The reply was cut "
                "short or garbled on the wire, or another firmware answers; check cable and baud rate, then run it again."
            )
        return values[0]

    def number(self, key: str, lines: list[str], command: str) -> int:
        """The whole number N, below 2**64, of the one line `m-KEY-N`."""
        value = self.message(key, lines, command)
        number = whole(value)
        if number is None:
            raise DeviceError(
                f"{self.where} answered `{command}` with m-{key}-{value}, where a number must be: the reply was garbled on "
                "the wire. Check cable and baud rate, then run it again."
            )
        return number

    def send(self, data: bytes) -> None:
        """In pieces, each within the port's write timeout, which whoever opens it sets to WRITE_TIMEOUT_S."""
        try:
            for i in range(0, len(data), WRITE_BYTES):
                self._port.write(data[i : i + WRITE_BYTES])
        except OSError as e:
            raise self._broken(e) from None

    def close(self) -> None:
        self._port.close()

    def _lines_until_ready(self, asked: str, timeout_s: float, steps: int = 1) -> list[str]:
        """Lines up to m-ready, without it. They must be ASCII, start with m- or e-, and come within `timeout_s` each, and
        within `steps` times that all together, besides what their bytes take on the wire."""
        lines: list[str] = []
        end = time.monotonic() + steps * timeout_s
        for _ in range(MAX_LINES):
            raw = self._line(timeout_s, end)
            if raw is None and not lines and not self._received:
                raise self._silent(asked, timeout_s)
            if raw is None:
                came = f"{bytes(self._received[:60])!r}, and " if self._received else ""
                raise DeviceError(
                    f"{self.where} did not finish its answer to {asked}: after {shown(lines)} came {came}no m-ready within "
                    f"{timeout_s:g} s. The reply was cut short: the board hangs or bytes are lost. Reset it, check the "
                    "cable, and run it again."
                )
            end += (len(raw) + 2) / SLOWEST_BYTES_A_SECOND
            if raw == b"m-ready":
                return lines
            if raw and not re.fullmatch(rb"[me]-[ -~]*", raw):
                raise self._garbled(asked, raw)
            if raw.startswith(b"e-[fault"):
                raise DeviceError(
                    f"the firmware on {self.where} crashed at {asked}: {raw[3:].decode().rstrip(']')}. Look "
                    "an address up with `arm-none-eabi-addr2line -e firmware.elf ADDRESS`; for a stack overflow raise "
                    "`stack_bytes` in the target file."
                )
            if raw:
                lines.append(raw.decode())
        raise DeviceError(
            f"{self.where} answered {asked} with {MAX_LINES:,} lines and no m-ready: another firmware runs there. Flash the "
            "one that was built for this run."
        )

    def _line(self, timeout_s: float, end: float) -> bytes | None:
        """The next line without its end, or None when it is not whole within `timeout_s`, or at the time `end`."""
        end = min(end, time.monotonic() + timeout_s)
        while (at := self._received.find(b"\n", 0, MAX_LINE_BYTES)) < 0:
            if len(self._received) >= MAX_LINE_BYTES:
                raise DeviceError(
                    f"{self.where} sent {MAX_LINE_BYTES} bytes without a line end; that is not the device protocol. Check "
                    "the baud rate, and that the port is the board's."
                )
            if time.monotonic() > end + len(self._received) / SLOWEST_BYTES_A_SECOND:
                return None
            self._read()
        line = bytes(self._received[:at]).rstrip(b"\r")
        del self._received[: at + 1]
        return line

    def _read(self) -> bool:
        """Take in what comes; False when nothing does for a moment."""
        try:
            data = self._port.read(1)
            waiting = self._port.in_waiting if data else 0
            if waiting > 1:
                data += self._port.read(waiting)
            elif waiting:  # on sockets it means "some": take all there is, without waiting for more
                self._port.timeout = 0
                data += self._port.read(CHUNK_BYTES)
                self._port.timeout = POLL_S
        except OSError as e:  # pyserial's SerialException is one
            raise self._broken(e) from None
        self._received += data
        return bool(data)

    def _broken(self, e: OSError) -> DeviceError:
        why = self._autopsy() or str(e) or type(e).__name__
        return DeviceError(
            f"the connection to {self.where} broke: {why.rstrip('.')}. Run it again; if it happens again, the board resets "
            "or loses its power, or the emulator crashes."
        )

    def _silent(self, asked: str, timeout_s: float) -> DeviceError:
        why = self._autopsy()
        return DeviceError(
            f"{self.where} did not answer {asked} within {timeout_s:g} s. {why + ' ' if why else ''}{self._advice}"
        )

    def _garbled(self, asked: str, raw: bytes) -> DeviceError:
        return DeviceError(
            f"{self.where} answered {asked} with {raw[:60]!r}, which is no line of the protocol: the bytes are garbled. "
            "Check that the baud rate is the firmware's, the cable, and that no other program reads the port."
        )


def whole(text: str) -> int | None:
    """The number below 2**64 that `text` is in decimal digits, or None."""
    number = int(text) if text.isdecimal() and len(text) <= 20 else None
    return number if number is not None and number < 2**64 else None


def shown(lines: list[str]) -> str:
    """The last lines of a reply, for a message."""
    return " ".join(repr(line[:60]) for line in lines[-3:]) if lines else "nothing"

"""A PPK2 on a pseudo-terminal that draws a known current: the wire format, the calibration, and what can go wrong."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Callable, Sequence

import numpy as np

from pipeline.ir import Array

RATE_HZ = 100_000
RANGE_ENDS = (40e-6, 400e-6, 4e-3, 40e-3)  # amperes
ADC_STEP_VOLTS = 1.8 / 163840
ARGUMENTS = {0x0C: 1, 0x0D: 2, 0x11: 1}
CALIBRATION = {
    "R": (1031.64, 101.65, 10.15, 0.94, 0.043),
    "GS": (0.01, -0.02, 0.03, 0.01, 0.002),
    "GI": (1.01, 0.99, 1.02, 0.98, 1.03),
    "O": (112.0, 80.0, 51.0, 30.0, 21.0),
    "S": (1e-9, 2e-9, 1e-8, 2e-7, 3e-6),
    "I": (-2e-9, 1e-8, 2e-8, 1e-7, 2e-6),
    "UG": (1.01, 1.02, 0.99, 1.0, 0.97),
}
METADATA = (
    "Calibrated: 0\n"
    + "".join(f"{name}{k}: {value:.10f}\n" for name, values in CALIBRATION.items() for k, value in enumerate(values))
    + "HW: 2019\nIA: 56\nVDD: 3000\nmode: 2\nEND"
)


def encode(amperes: Array, first: int, volts: float) -> Array:
    """Samples number first, first + 1, ... of these currents (n,), uint32; the ADC's noise is its own last bit."""
    which = np.searchsorted(RANGE_ENDS, amperes)
    r, gs, gi, o, s, i, ug = (np.array(CALIBRATION[k])[which] for k in ("R", "GS", "GI", "O", "S", "I", "UG"))
    wanted = amperes / ug - s * volts - i  # = raw (gs raw + gi)
    raw = (np.sqrt(gi**2 + 4 * gs * wanted) - gi) / (2 * gs)
    adc = (raw * r / ADC_STEP_VOLTS + o) / 4 + np.random.default_rng(first).uniform(-0.5, 0.5, len(raw))
    number = np.arange(first, first + len(raw)) & 63
    return (np.clip(np.round(adc), 0, 0x3FFF).astype(np.uint32) | which << 14 | number << 18).astype("<u4")


class Simulator:
    """`profiles[k]` gives the amperes at the times (n,) since the k-th start (the last one from then on). `lost`: numbers of
    the first and the last sample that never come. `hangs_up`: seconds after a start when the cable is pulled. Leaving the
    block hears the last commands first."""

    def __init__(
        self,
        *profiles: Callable[[Array], Array],
        metadata: bytes | None = METADATA.encode(),
        lost: Sequence[tuple[int, int]] = (),
        hangs_up: float | None = None,
        garbage: bool = False,
    ) -> None:
        self.commands: list[bytes] = []
        self.powered = False
        self.supply_mv = 0
        self._profiles, self._metadata, self._lost = profiles, metadata, lost
        self._hangs_up, self._garbage = hangs_up, garbage
        self._master, slave = os.openpty()
        tty.setraw(slave)
        self.path = os.ttyname(slave)
        self._slave = slave
        self._began: float | None = None
        self._starts = self._sent = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Simulator:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self._thread.join(timeout=10)
        assert not self._thread.is_alive()
        for descriptor in (self._master, self._slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _serve(self) -> None:
        waiting = b""
        while True:
            ended = self._ended.is_set()
            # The kernel hands a pty's bytes over in its own time: on a busy machine the last ones come late.
            if select.select([self._master], [], [], 0.5 if ended else 0.005)[0]:
                waiting += os.read(self._master, 4096)
            elif ended:
                return
            while waiting and len(waiting) > (n := ARGUMENTS.get(waiting[0], 0)):
                self._obey(waiting[: n + 1])
                waiting = waiting[n + 1 :]
            if self._began is not None and not self._sample():
                return

    def _obey(self, command: bytes) -> None:
        self.commands.append(command)
        code, arguments = command[0], command[1:]
        if code == 0x19 and self._metadata is not None:
            self._send(self._metadata)
        elif code == 0x0D:
            self.supply_mv = int.from_bytes(arguments, "big")
        elif code == 0x0C:
            self.powered = arguments == b"\x01"
        elif code == 0x06:
            self._began, self._sent, self._starts = time.monotonic(), 0, self._starts + 1
        elif code == 0x07 and self._began is not None:
            self._sample()
            self._began = None

    def _sample(self) -> bool:
        """What is due; False when the cable has been pulled."""
        assert self._began is not None
        seconds = time.monotonic() - self._began
        if self._hangs_up is not None and seconds > self._hangs_up:
            os.close(self._slave)
            os.close(self._master)
            return False
        numbers = np.arange(self._sent, int(seconds * RATE_HZ))
        self._sent += len(numbers)
        if not len(numbers):
            return True
        profile = self._profiles[min(self._starts, len(self._profiles)) - 1]
        current = profile(numbers / RATE_HZ) if self.powered else np.zeros(len(numbers))
        words = encode(current, int(numbers[0]), self.supply_mv / 1000)
        keep = np.ones(len(words), bool)
        for first, last in self._lost:
            keep &= (numbers < first) | (numbers > last)
        self._send(np.full(len(words), 0xFFFFFFFF, "<u4").tobytes() if self._garbage else words[keep].tobytes())
        return True

    def _send(self, data: bytes) -> None:
        while data and not self._ended.is_set():
            if select.select([], [self._master], [], 0.1)[1]:
                data = data[os.write(self._master, data[:2048]) :]

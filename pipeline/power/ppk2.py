"""Nordic's Power Profiler Kit II on a serial port. As an ampere meter it sits in the supply of a device; as a source it is
that supply. 100,000 samples a second, counted by the instrument: its clock is the time base. At most 5 V and 1 A."""

from __future__ import annotations

import contextlib
import math
import re
import threading
import time
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import serial

from pipeline.errors import DeviceError
from pipeline.ir import Array
from pipeline.power.base import Samples

RATE_HZ = 100_000
RANGES = 5
START, STOP, MODE, POWER, VOLTAGE, METADATA = 0x06, 0x07, 0x11, 0x0C, 0x0D, 0x19
MODES = {"ampere": 1, "source": 2}
ADC_VOLTS = 4 * 1.8 / 163840  # one step of a sample, over the shunt
COUNTER = 64  # samples are numbered modulo this
MAX_METADATA = 4096
MAX_SECONDS = 600
TIMEOUT_S = 2.0
QUIET_S = 0.2
START_SLACK_S = 0.25  # how late commands and samples may be on their way
CLOCK_SLACK = 0.02  # between the instrument's clock and this computer's; ten times what crystals do
_VALUE = re.compile(r"(?P<key>[A-Z]{1,2}[0-4]): (?P<value>-?\d{1,12}(?:\.\d{1,12})?(?:[eE][-+]?\d{1,2})?)")


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the factory measured, one value a range: (5,) each. Shunt `r` in ohms; the rest are gains and offsets."""

    r: Array
    o: Array
    gs: Array
    gi: Array
    s: Array
    i: Array
    ug: Array

    @staticmethod
    def parse(text: str) -> Calibration:
        """From the instrument's metadata. ValueError naming the value that is missing or no number."""
        found = {m["key"]: float(m["value"]) for line in text.splitlines() if (m := _VALUE.fullmatch(line.strip()))}
        names = ("R", "O", "GS", "GI", "S", "I", "UG")
        lacking = [f"{n}{k}" for n in names for k in range(RANGES) if f"{n}{k}" not in found]
        if lacking:
            raise ValueError(f"{', '.join(lacking[:3])}{' and others' if len(lacking) > 3 else ''} missing or no number")
        shunts_wrong = [f"R{k} = {found[f'R{k}']:g}" for k in range(RANGES) if not 1e-3 < found[f"R{k}"] < 1e5]
        if shunts_wrong:
            raise ValueError(f"{shunts_wrong[0]} is no shunt's resistance in ohms")
        return Calibration(*(np.array([found[f"{n}{k}"] for k in range(RANGES)]) for n in names))

    def amperes(self, adc: Array, which: Array, volts: float) -> Array:
        """From samples (n,), each in its range (n,), at the supply `volts`."""
        raw = (adc - self.o[which] / 4) * (ADC_VOLTS / self.r[which])
        return np.asarray(
            self.ug[which] * (raw * (self.gs[which] * raw + self.gi[which]) + self.s[which] * volts + self.i[which])
        )


class Ppk2:
    """An `EnergyMeter`. Entering sets mode and voltage and then lets the device have power. Leaving takes the power away,
    whatever happened, unless `keep_power`: a running computer must be shut down first. Nordic's software also smooths the
    first samples after a change of range; here they count as they are."""

    def __init__(
        self, port: str, supply_mv: int, mode: Literal["ampere", "source"] = "ampere", *, keep_power: bool = False
    ) -> None:
        self.name = f"ppk2 on {port}"
        self._path, self._supply_mv, self._mode, self._keep_power = port, supply_mv, mode, keep_power
        self._port: Any = None
        self._calibration: Calibration | None = None
        self._reader: _Reader | None = None

    def __enter__(self) -> Self:
        try:
            self._port = serial.serial_for_url(self._path, timeout=0.05, write_timeout=TIMEOUT_S, exclusive=True)
        except (OSError, ValueError) as e:
            raise DeviceError(
                f"{self.name}: open: {str(e).rstrip('.')}. Plug it in, close Nordic's Power Profiler, check your permission "
                "(on Linux the group dialout), and `meter_port` in bench.toml."
            ) from None
        try:
            self._write("open", STOP)  # another program may have left it sampling
            self._drain()
            self._calibration = self._metadata()
            self._write("set up", MODE, MODES[self._mode])
            self._write("set up", VOLTAGE, *self._supply_mv.to_bytes(2, "big"))
            self._write("set up", POWER, 1)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._close()

    def start(self) -> None:
        self._drain()
        self._reader = _Reader(self._port)
        self._write("start", START)
        self._reader.start()

    def stop(self) -> Samples:
        """DeviceError when the instrument is gone or what came is no stream of samples."""
        reader, self._reader = self._reader, None
        assert reader is not None, "stop follows start"
        seconds = time.monotonic() - reader.began
        try:
            self._write("stop", STOP)
        finally:
            data = reader.finish()
        if reader.failure:
            raise DeviceError(
                f"{self.name}: sample: {reader.failure} after {len(data) // 4 / RATE_HZ:.2f} s. Check its USB cable, run "
                "again."
            )
        assert self._calibration is not None
        try:
            return decode(data, self._calibration, self._supply_mv / 1000, seconds)
        except ValueError as e:
            raise DeviceError(
                f"{self.name}: sample: {e}. Unplug it and plug it in again, on a USB port of this computer's own; check "
                "that `meter_port` in bench.toml is its first port."
            ) from None

    def _metadata(self) -> Calibration:
        self._write("read calibration", METADATA)
        text, deadline = b"", time.monotonic() + TIMEOUT_S
        while b"END" not in text and len(text) < MAX_METADATA and time.monotonic() < deadline:
            text += self._read("read calibration", MAX_METADATA - len(text))
        problem = ""
        if not text:
            problem = f"it said nothing within {TIMEOUT_S:.0f} s"
        elif b"END" not in text:
            problem = f"its metadata has no end after {len(text)} bytes: {text[-40:]!r}"
        else:
            try:
                return Calibration.parse(text.partition(b"END")[0].decode("ascii", "replace"))
            except ValueError as e:
                problem = f"of its metadata, {e}"
        raise DeviceError(
            f"{self.name}: read calibration: {problem}. Unplug it and plug it in again; check that `meter_port` in "
            "bench.toml is a PPK2, and its first port."
        )

    def _read(self, step: str, most: int) -> bytes:
        try:
            return bytes(self._port.read(max(1, min(most, self._port.in_waiting))))
        except OSError as e:
            raise self._gone(step, e) from None

    def _write(self, step: str, *command: int) -> None:
        try:
            self._port.write(bytes(command))
        except OSError as e:  # pyserial's SerialException is one
            raise self._gone(step, e) from None

    def _gone(self, step: str, e: Exception) -> DeviceError:
        return DeviceError(f"{self.name}: {step}: {str(e).rstrip('.')}. Check its USB cable, run again.")

    def _drain(self) -> None:
        """Drop what is still under way; whatever never falls quiet will not have metadata either."""
        deadline = time.monotonic() + TIMEOUT_S
        quiet = time.monotonic()
        while time.monotonic() - quiet < QUIET_S and time.monotonic() < deadline:
            if self._read("open", 1 << 16):
                quiet = time.monotonic()

    def _close(self) -> None:
        """Each step whatever becomes of the others. An instrument that never proved to be one is told nothing more."""
        reader, self._reader = self._reader, None
        with contextlib.ExitStack() as last:
            last.callback(self._port.close)
            if reader:
                last.callback(reader.finish)
            if self._calibration:
                last.callback(self._tell, STOP)
                if not self._keep_power:
                    last.callback(self._tell, POWER, 0)

    def _tell(self, *command: int) -> None:
        with contextlib.suppress(DeviceError):
            self._write("close", *command)


class _Reader(threading.Thread):
    """Takes what the port gives, so that nothing is lost while this program does something else."""

    def __init__(self, port: Any) -> None:
        super().__init__(daemon=True)
        self.began = time.monotonic()
        self.failure = ""
        self._port, self._data = port, bytearray()
        self._stopped = threading.Event()

    def run(self) -> None:
        heard, last = time.monotonic(), math.inf
        while not self._stopped.is_set() or time.monotonic() < min(heard + QUIET_S, last):
            if self._stopped.is_set() and last == math.inf:
                last = time.monotonic() + TIMEOUT_S
            try:
                got = self._port.read(max(4, self._port.in_waiting))
            except OSError as e:
                self.failure = f"the connection was lost ({str(e).rstrip('.')})"
                return
            self._data += got
            if got:
                heard = time.monotonic()
            if len(self._data) > MAX_SECONDS * RATE_HZ * 4:
                self.failure = f"more than {MAX_SECONDS} s of samples came"
                return

    def finish(self) -> bytes:
        self._stopped.set()
        if self.ident is not None:
            self.join()
        return bytes(self._data)


def decode(data: bytes, calibration: Calibration, volts: float, seconds: float) -> Samples:
    """Samples of 4 bytes, little-endian: ADC in bits 0 to 13, range 14 to 16, counter 18 to 23. `seconds`: how long it
    sampled by this computer's clock, which shows losses that the counter, modulo 64, can not. ValueError for no samples."""
    words = np.frombuffer(data[: len(data) // 4 * 4], "<u4").astype(np.int64)
    if not len(words):
        raise ValueError(f"no sample came in {seconds:.2f} s")
    which = words >> 14 & 7
    if wrong := int((which >= RANGES).sum()):
        raise ValueError(f"{wrong} of {len(words)} samples are garbled (in no range of the instrument)")
    steps = np.diff(words >> 18 & COUNTER - 1) % COUNTER
    index = np.concatenate([[0], np.cumsum(np.where(steps == 0, COUNTER, steps))])
    total, slack = int(index[-1]) + 1, START_SLACK_S + CLOCK_SLACK * seconds
    if total / RATE_HZ > seconds + slack:
        raise ValueError(f"its samples are numbered as those of {total / RATE_HZ:.2f} s, but {seconds:.2f} s passed")
    if total / RATE_HZ < seconds - slack:
        total = math.ceil(seconds * RATE_HZ)
    amperes = calibration.amperes(words & 0x3FFF, which, volts)
    return Samples(index / RATE_HZ, amperes * volts, float(RATE_HZ), total - len(words))

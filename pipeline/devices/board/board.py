"""A microcontroller board behind a serial link, real or emulated: what both have in common."""

from __future__ import annotations

import math
import statistics
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Self

import numpy as np

from pipeline.artifacts import Firmware
from pipeline.devices.board.link import INFER_TIMEOUT_S, Link
from pipeline.devices.board.plugin import Counts
from pipeline.devices.board.protocol import Identity, Run, identify, run_loaded, stack_use, upload
from pipeline.errors import DeviceError
from pipeline.ir import Array
from pipeline.measurement.board import Clock, Measurement
from pipeline.target import Target


class Board(ABC):
    """Used in a `with` block: entering connects and proves that the board runs exactly this firmware."""

    clock: Clock

    def __init__(self, firmware: Firmware, target: Target, where: str) -> None:
        self.firmware, self.target, self.where = firmware, target, where
        self._link: Link | None = None
        self._identity: Identity | None = None

    @abstractmethod
    def _connect(self) -> Link:
        """An open link to a board that waits for commands."""

    @property
    @abstractmethod
    def counter(self) -> str:
        """What counts: "plugin", "systick" or "dwt"."""

    @abstractmethod
    def _counts(self, run: Run) -> tuple[Counts | None, ...]:
        """Instructions and cycles of every inference in `run`, the latest one."""

    @abstractmethod
    def _release(self) -> None:
        """Give back whatever `_connect` took besides the link."""

    def __enter__(self) -> Self:
        try:
            self._link = self._connect()
            self._identity = identify(self._link, self.firmware, self.target)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        try:
            if self._link is not None:
                self._link.close()
        finally:
            self._link = None
            self._release()

    @property
    def link(self) -> Link:
        if self._link is None:
            raise DeviceError(f"{self.where} is used outside its `with` block.")
        return self._link

    @property
    def identity(self) -> Identity:
        if self._identity is None:
            raise DeviceError(f"{self.where} is used outside its `with` block.")
        return self._identity

    def infer(self, x: Array) -> Array:
        """One example: the raw bytes of all inputs in order; back come the raw int8 bytes of all outputs, flat."""
        return self._output(self._run(x, 1))

    def replay(self, xs: Iterable[Array]) -> Iterator[Array]:
        """`infer` of one example after another, each answer as soon as it is there."""
        for x in xs:
            yield self.infer(x)

    def measure(self, x: Array, *, runs: int) -> Measurement:
        """Timing of `runs` inferences of one example."""
        run = self._run(x, runs)
        counts = [c for c in self._counts(run) if c is not None]
        seconds = [c.cycles / self.target.cpu.clock_hz for c in counts] or [t / self.identity.tick_hz for t in run.ticks]
        used, reserved = stack_use(self.link)
        if used >= reserved:
            raise DeviceError(
                f"the firmware on {self.where} has used all of its {reserved} bytes of stack, so that its results can not "
                "be trusted. Raise `stack_bytes` under [memory] in the target file and build it again."
            )
        return Measurement(
            device=self.where,
            clock=self.clock,
            ticks=run.ticks,
            tick_hz=self.identity.tick_hz,
            instructions=_median(c.instructions for c in counts),
            cycles=_median(c.cycles for c in counts),
            cycles_low=_median(c.cycles_low for c in counts),
            cycles_high=_median(c.cycles_high for c in counts),
            latency_us=tuple(s * 1e6 for s in seconds),
            output_crc32=run.crc32,
            ram_bytes=self.firmware.ram_bytes,
            flash_bytes=self.firmware.flash_bytes,
            model_ram_bytes=self.firmware.arena_bytes,
            model_flash_bytes=self.firmware.model_flash_bytes,
            stack_bytes=used,
            counter=self.counter,
        )

    def _run(self, x: Array, runs: int) -> Run:
        data = np.ascontiguousarray(x).tobytes()
        if len(data) != self.identity.input_bytes:
            raise DeviceError(
                f"{self.where} takes {self.identity.input_bytes} input bytes, got {len(data)} ({x.dtype}{x.shape}). Give "
                "the raw values in the model's own input type, one example at a time."
            )
        upload(self.link, data)
        return run_loaded(self.link, runs, INFER_TIMEOUT_S)

    def _output(self, run: Run) -> Array:
        graph = self.firmware.model.graph
        want = sum(math.prod(graph[n].shape) for n in graph.outputs)
        if len(run.output) != want:
            raise DeviceError(
                f"{self.where} answered with {len(run.output)} output bytes; the model has {want}. The firmware is not the "
                "one built for this model: build and flash it again."
            )
        return np.frombuffer(run.output, np.int8)


def _median(values: Iterable[int]) -> int | None:
    found = list(values)
    return round(statistics.median(found)) if found else None

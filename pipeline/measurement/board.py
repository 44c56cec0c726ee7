"""What a measurement of a board says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Clock = Literal["device", "simulated", "host"]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Timing of `len(ticks)` inferences of one input. A fast wrong answer is no measurement: `output_crc32` is of the
    answer, already compared with the reference. `cycles` are counted on a real core, estimated from the core's timing table
    when `clock` is "simulated" (`cycles_low` and `cycles_high` bound the estimate), None on hosts."""

    device: str  # what the device said it is
    clock: Clock
    ticks: tuple[int, ...]  # raw, of every run, at tick_hz
    tick_hz: float
    instructions: int | None
    cycles: int | None
    cycles_low: int | None
    cycles_high: int | None
    latency_us: tuple[float, ...]  # of every run; cycles / reference clock when simulated
    output_crc32: int
    ram_bytes: int
    flash_bytes: int
    model_ram_bytes: int  # of it the model's: activations and scratch
    model_flash_bytes: int  # constants, layers and kernels
    stack_bytes: int | None = None  # high-water mark, by painting
    counter: str = ""  # what counted: "plugin" (of QEMU), "systick" or "dwt"

    @property
    def kind(self) -> Literal["measured", "simulated"]:
        """Of what the device counted and timed."""
        return "measured" if self.clock == "device" else "simulated"

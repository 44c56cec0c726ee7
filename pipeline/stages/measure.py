"""The firmware on its device: every test image replayed and compared byte for byte, then time, memory and energy."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from pipeline.artifacts import Firmware, Measured, Package
from pipeline.devices.board.plugin import CORES
from pipeline.devices.board.qemu import CPI, CPI_HIGH, CPI_LOW
from pipeline.errors import RecipeError
from pipeline.evidence import BitExact
from pipeline.measurement.board import Measurement
from pipeline.measurement.kind import Kind
from pipeline.measurement.kinds import FORMAT, kinds
from pipeline.power.model import energy_uj
from pipeline.proof.session import replay
from pipeline.proof.vectors import from_images
from pipeline.stage import Context, keep_text
from pipeline.strict import limits
from pipeline.target import Target
from pipeline.tasks.task import real


@dataclass(frozen=True)
class Measure:
    """Replay `vectors` test images (0: all) through the device, the generated C on this host, and TFLM; each must give the
    integer reference's bytes. Then time `runs` inferences of the first image. `counter` says how an emulated board counts:
    "plugin" exactly, or "systick", in steps of its timer and with a wider band of cycles, where QEMU has no plugins.

    On a Linux target ONNX Runtime's answers are compared within the tolerance table, and latencies are taken on `threads`
    threads, kept to the cores `affinity` (none: any), until the median is certain or `seconds` are over."""

    vectors: int = limits(0, low=0)
    runs: int = limits(5, low=1, high=1000)
    counter: Literal["plugin", "systick"] = "plugin"
    threads: int = limits(1, low=1, high=64)
    affinity: tuple[int, ...] = limits((), low=0, high=255)
    seconds: float = limits(20.0, low=0.1, high=250.0)

    name: ClassVar[str] = "measure"
    consumes: ClassVar[type] = Package
    produces: ClassVar[type] = Measured

    def unused(self, targets: Sequence[Target]) -> Mapping[str, str]:
        families, names = {t.family for t in targets}, ", ".join(t.name for t in targets)
        idle: dict[str, str] = {}
        if targets and "linux" not in families:
            why = f"to {names}: a microcontroller has one core and times `runs` inferences. Leave it out."
            idle |= dict.fromkeys(("threads", "affinity", "seconds"), why)
        if targets and "cortex_m" not in families:
            idle["runs"] = (
                f"to {names}: inferences are timed until their median is certain. Leave it out, or say measure.seconds."
            )
            idle["counter"] = f"to {names}: only emulated boards count instructions. Leave it out."
        return idle

    def run(self, artifact: Package, ctx: Context) -> Measured:
        """What the device did, also in measure/measurement.json. DeviceError; MismatchError, naming the layer if known."""
        data = artifact.data
        n = min(self.vectors or len(data.x_test), len(data.x_test))
        if n == 0:
            raise RecipeError(f"data set {data.name!r} has no test images to replay on the device.")
        if isinstance(artifact, Firmware):
            return self._board(artifact, ctx, n)
        from pipeline.devices.linux.measure import LinuxSettings
        from pipeline.firmware.linux import LinuxPackage
        from pipeline.stages._measure_linux import measure_linux

        assert isinstance(artifact, LinuxPackage)  # the only other package there is
        settings = LinuxSettings(threads=self.threads, affinity=self.affinity, seconds=self.seconds)
        return measure_linux(artifact, ctx, n, settings)

    def _board(self, artifact: Firmware, ctx: Context, n: int) -> Measured:
        data = artifact.data
        golden = from_images(artifact.model.graph, data.x_test[:n], data.normalization, artifact.model.preprocess)
        session = replay(artifact, ctx.device, golden, ctx.progress, runs=self.runs, counter=self.counter)
        measurement, bit_exact, outputs = session.measurement, session.bit_exact, session.answers.view(np.int8)
        latency_us = statistics.median(measurement.latency_us)
        energy = energy_uj(ctx.target.power, latency_us)
        graph = artifact.model.graph
        scores = data.task.scores(
            real(outputs.reshape(golden.outputs[0].shape), graph[graph.outputs[0]]), data.test_examples(n)
        )
        ctx.log.metrics({**scores.values, **_timings(measurement)}, measurement.kind)
        ctx.log.metrics({"energy_uj": energy}, "estimated")
        ctx.log.metrics(
            {
                "flash_bytes": artifact.flash_bytes,
                "ram_bytes": artifact.ram_bytes,
                "arena_bytes": artifact.arena_bytes,
                "vectors": n,
                "vectors_bit_exact": bit_exact.equal,
            }
        )
        ctx.log.tags({"device": measurement.device, "counter": measurement.counter, **scores.tags})
        record = _record(artifact, measurement, bit_exact, ctx, energy)
        keep_text(json.dumps(record, indent=2, allow_nan=False) + "\n", ctx, "measurement.json")
        return Measured(artifact, measurement, bit_exact, outputs, scores.values, energy, "estimated")


def _timings(m: Measurement) -> dict[str, float]:
    counted = {k: getattr(m, k) for k in ("instructions", "cycles", "cycles_low", "cycles_high", "stack_bytes")}
    return {
        "latency_us_median": statistics.median(m.latency_us),
        "latency_us_max": max(m.latency_us),
        "runs": len(m.ticks),
        **{k: v for k, v in counted.items() if v is not None},
    }


def _record(firmware: Firmware, m: Measurement, bit_exact: BitExact, ctx: Context, energy: float) -> dict[str, Any]:
    """Everything a number's reader may ask: raw ticks, device, clock, firmware, answer, and where estimates come from."""
    target = ctx.target
    record = {
        "target": target.name,
        "firmware_sha256": firmware.sha256,
        "model_id": firmware.model_id,
        "build_id": firmware.build_id,
        **asdict(m),
        "output_crc32": f"{m.output_crc32:08x}",
        "reference_clock_hz": target.cpu.clock_hz,
        "cycles_from": _cycles_from(target.cpu.core, m),
        "energy_uj": energy,
        "energy_kind": "estimated",
        "power_mw": target.power.active_mw,
        "power_source": target.power.source,
        "bit_exact": asdict(bit_exact),
    }
    others: dict[str, Kind] = dict.fromkeys(("ram_bytes", "flash_bytes", "reference_clock_hz", "bit_exact"), "computed")
    others |= dict.fromkeys(("energy_uj", "power_mw"), "estimated")
    return {"format": FORMAT, **record, "kinds": kinds(record, m.kind, **others)}


def _cycles_from(core: str, m: Measurement) -> str:
    if m.clock == "device":
        return f"the board's own timer ({m.counter})"
    return CORES[core].source if m.counter == "plugin" else f"instructions x {CPI} ({CPI_LOW} to {CPI_HIGH}) cycles each"

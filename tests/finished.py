"""A finished run in miniature: a real two-layer graph, and figures of every kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline import target
from pipeline.artifacts import Firmware, Measured, QuantizedModel
from pipeline.data.dataset import DataRecipe, load
from pipeline.evidence import BitExact
from pipeline.ir import Graph, Quant, Tensor
from pipeline.measurement.board import Measurement
from pipeline.measurement.kind import Kind
from pipeline.ops.conv2d import Conv2d
from pipeline.report.figures import Figure, Report, StageResult


def small_graph() -> Graph:
    """conv 3x3 1->4, relu; conv 3x3 4->10, on 8x8."""
    rng = np.random.default_rng(0)
    tensors = {"x": Tensor((1, 8, 8, 1), "int8", Quant((0.1,), -3))}
    ops = []
    for i, (c, o) in enumerate(((1, 4), (4, 10))):
        size = 8 - 2 * (i + 1)
        w = rng.integers(-127, 128, (o, 3, 3, c)).astype(np.int8)
        tensors[f"w{i}"] = Tensor(w.shape, "int8", Quant((0.01,) * o, axis=0), w)
        tensors[f"y{i}"] = Tensor((1, size, size, o), "int8", Quant((0.2,), 4))
        ops.append(Conv2d(inputs=("x" if i == 0 else "y0", f"w{i}"), outputs=(f"y{i}",), activation="relu"))
    return Graph("digits", tensors, tuple(ops), ("x",), ("y1",)).checked()


def _stage(name: str, kind: Kind, accuracy: float, worst: float, **others: float) -> StageResult:
    recall = {f"recall_{i}": min(1.0, worst + 0.01 * i) for i in range(10)}
    values = {"accuracy": accuracy, "worst_class_recall": worst, **recall, **others}
    return StageResult(name, tuple(Figure(k, v, kind) for k, v in values.items()), 1.5)


def measured(folder: Path) -> Measured:
    """What measuring a firmware in `folder`/firmware gave."""
    measurement = Measurement(
        device="mps2-an386",
        clock="simulated",
        ticks=(100, 101, 99),
        tick_hz=25e6,
        instructions=121_003,
        cycles=148_140,
        cycles_low=135_000,
        cycles_high=161_000,
        latency_us=(1234.5, 1234.5, 1234.5),
        output_crc32=0xDEADBEEF,
        ram_bytes=9216,
        flash_bytes=23456,
        model_ram_bytes=2048,
        model_flash_bytes=15000,
        stack_bytes=612,
        counter="plugin",
    )
    model = QuantizedModel(small_graph(), load(DataRecipe(), seed=1), None)
    built = folder / "firmware"
    firmware = Firmware(
        folder=built,
        elf=built / "digits.elf",
        model=model,
        flash_bytes=23456,
        ram_bytes=9216,
        model_flash_bytes=9876,
        arena_bytes=4096,
        layer_constant_bytes=(56, 410),
        build_id="fedcba9876543210",
        sha256="ab" * 32,
        model_id="0123456789abcdef",
    )
    outputs = np.zeros((360, 4 * 4 * 10), np.int8)
    exact = BitExact(360, 360, {"tflm": None, "host_c": 360, "device": 360})
    return Measured(
        firmware, measurement, exact, outputs, scores={"accuracy": 0.9694}, energy_uj=53.8, energy_kind="estimated"
    )


def finished_run(folder: Path) -> Report:
    device = _stage("measure", "simulated", 0.9694, 0.9143, latency_us_median=1234.5, cycles=148140, instructions=121003)
    codegen = tuple(
        Figure(n, v, "computed") for n, v in (("flash_bytes", 23456), ("ram_bytes", 9216), ("arena_bytes", 4096))
    )
    stages = (
        _stage("train", "computed", 0.9806, 0.9444, macs=412_544, parameters=5_402),
        _stage("prune", "computed", 0.9722, 0.9167, macs=198_144, parameters=2_950),
        _stage("distill", "computed", 0.975, 0.9167, macs=198_144, parameters=2_950),
        _stage("quantize", "computed", 0.9694, 0.9143, macs=198_144, parameters=2_950),
        StageResult("codegen", codegen, 2.25),
        StageResult("measure", (*device.figures, Figure("energy_uj", 53.8, "estimated")), 21.0),
    )
    done = measured(folder)
    return Report(
        recipe="digits",
        recipe_toml='name = "digits"\nseed = 1\n\n[data]\nsource = "digits"\n',
        target=target.load("cortex-m4"),
        run_id="0" * 32,
        page="pipeline ui, then http://127.0.0.1:5000/#/experiments/1/runs/" + "0" * 32,
        folder=folder,
        stages=stages,
        measured=done,
        seconds=93.4,
        versions={"python": "3.11.7", "torch": "2.13.0"},
        task=done.package.data.task,
    )

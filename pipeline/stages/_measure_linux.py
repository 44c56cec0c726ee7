"""The measure stage on a Linux computer: every test image through the .onnx file there, then time, memory and energy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.artifacts import Measured
from pipeline.devices.device import Device, MissingError
from pipeline.devices.linux import measure as linux_measure
from pipeline.devices.linux.computer import energy
from pipeline.devices.linux.measure import FLOAT, INT8, LinuxSettings
from pipeline.display import short
from pipeline.errors import DeviceError
from pipeline.evidence import BitExact
from pipeline.firmware.linux import TFLITE_FILE, LinuxPackage
from pipeline.ir import Array
from pipeline.measurement.kinds import FORMAT, kinds
from pipeline.measurement.linux import LinuxMeasurement
from pipeline.power.base import EnergyMeter
from pipeline.proof.onnxruntime import compare
from pipeline.proof.prove import prove_tflm
from pipeline.proof.session import equal, rows
from pipeline.proof.vectors import from_images
from pipeline.stage import Context, keep_text
from pipeline.tasks.task import headline, real


def measure_linux(package: LinuxPackage, ctx: Context, n: int, settings: LinuxSettings) -> Measured:
    """What the computer did with the first n test images, also in measure/measurement.json. DeviceError names computer and
    step; MismatchError when TFLM does not answer the .tflite as the reference does."""
    data, graph = package.data, package.model.graph
    images = data.x_test[:n]
    golden = from_images(graph, images, data.normalization, package.model.preprocess)
    with (
        _meter(ctx.device) as meter,
        ctx.device.open_computer() as computer,
    ):
        models = package.models(linux_measure.engines(computer))
        if models[INT8].name == TFLITE_FILE:
            fed = golden.int8_inputs
        else:
            fed = package.feed((images,) if package.raw else golden.inputs)
        with ctx.progress("images replayed", 2) as advance:
            outputs = _answers(package, computer, models[INT8], fed, golden.outputs)
            advance(1, "int8")
            floats = None
            if FLOAT in models and package.raw:
                floats = _answers(package, computer, models[FLOAT], fed, [y.astype(np.float32) for y in golden.outputs])
            advance(1, "float32")
        with ctx.progress("timing", 1) as advance:
            m = linux_measure.measure(computer, models, tuple(x[0] for x in fed), settings, meter)
            advance()
    agreement = compare(graph, outputs, golden.outputs)
    if not data.task.ranked:
        agreement = replace(agreement, top1=None)
    same = int(equal(golden, rows(outputs)).sum())
    by_tflm = prove_tflm(graph, (package.folder / TFLITE_FILE).read_bytes(), golden)
    answered, test = graph[graph.outputs[0]], data.test_examples(n)
    scores = data.task.scores(real(outputs[0], answered), test)
    used = energy(m, ctx.target)
    ctx.log.metrics({**scores.values, **m.metrics()}, m.kind)
    ctx.log.metrics({"latency_us_median": m.int8.timing.percentile_us(50), "ram_bytes": m.ram_bytes}, m.kind)
    if floats is not None:
        of_float = data.task.scores(real(floats[0], answered), test).values
        score = headline(data.task, of_float).name
        ctx.log.metrics({f"float_{score}": of_float[score]}, m.kind)
    if used:
        ctx.log.metrics({"energy_uj": used[0]}, used[1])
    ctx.log.metrics(
        {
            "flash_bytes": package.flash_bytes,
            "vectors": n,
            "vectors_bit_exact": same,
            "agreement_max_lsb": agreement.differences.max_lsb,
            "agreement_equal_values": agreement.differences.equal,
            **({} if agreement.top1 is None else {"agreement_top1": agreement.top1}),
        }
    )
    ctx.log.tags({"device": m.device, **scores.tags, "valid": "; ".join(m.invalid) or "yes"})
    record = json.dumps(_record(package, m, ctx), indent=2, allow_nan=False)
    keep_text(record + "\n", ctx, "measurement.json")
    return Measured(
        package=package,
        measurement=m,
        bit_exact=BitExact(n, same, {"tflm": by_tflm, m.int8.options.engine: same}),
        outputs=outputs[0].reshape(n, -1),
        scores=scores.values,
        energy_uj=used[0] if used else None,
        energy_kind=used[1] if used else None,
        agreement=agreement,
    )


def _meter(device: Device) -> AbstractContextManager[EnergyMeter | None]:
    """None where the device has no meter: its own power chip, or its datasheet, then tells the energy."""
    try:
        return device.meter()
    except MissingError:
        return nullcontext()


def _answers(
    package: LinuxPackage, computer: linux_measure.Computer, file: Path, fed: Sequence[Array], like: Sequence[Array]
) -> tuple[Array, ...]:
    """The file's answers on the computer, of the shapes and dtypes of `like`; DeviceError when they are others."""
    got = linux_measure.replay(computer, file, fed)
    answers = package.answers(got) if len(got) == len(like) else got
    if [(y.dtype, y.size) for y in answers] != [(y.dtype, y.size) for y in like]:
        came, wanted = (", ".join(f"{y.dtype} {y.shape}" for y in ys) for ys in (answers, like))
        raise DeviceError(
            f"{computer.where}: replay: {file.name} answers with {short(came, 200)} there, where its outputs are {wanted}. "
            "Another program answers in the runner's place, or its engine is broken: install onnxruntime there anew."
        )
    return tuple(y.reshape(z.shape) for y, z in zip(answers, like, strict=True))


def _record(package: LinuxPackage, m: LinuxMeasurement, ctx: Context) -> dict[str, Any]:
    record = {
        "target": ctx.target.name,
        "kind": m.kind,
        "onnx_sha256": package.sha256,
        "model_id": package.model_id,
        "power_mw": ctx.target.power.active_mw,
        "power_source": ctx.target.power.source,
        **asdict(m),
    }
    return {"format": FORMAT, **record, "kinds": kinds(record, m.kind, power_mw="estimated")}

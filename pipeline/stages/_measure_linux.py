"""The measure stage on a Linux computer: every test image through the .onnx file there, then time, memory and energy."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np

from pipeline import oracle
from pipeline.codegen.agreement import compare
from pipeline.codegen.package_linux import TFLITE_FILE, LinuxPackage
from pipeline.codegen.vectors import from_images
from pipeline.devices import linux_measure
from pipeline.devices.linux import energy, open_computer, open_meter
from pipeline.devices.linux_figures import LinuxMeasurement
from pipeline.devices.linux_measure import FLOAT, INT8, LinuxSettings
from pipeline.errors import MismatchError
from pipeline.evaluate import scores
from pipeline.ir import Array
from pipeline.stage import BitExact, Context, Kind, Measured


def measure_linux(package: LinuxPackage, ctx: Context, n: int, settings: LinuxSettings) -> Measured:
    """What the computer did with the first n test images, also in measure/measurement.json. DeviceError names computer and
    step; MismatchError when TFLM does not answer the .tflite as the reference does."""
    data, graph = package.data, package.model.graph
    images = data.x_test[:n]
    golden = from_images(graph, images, data.normalization, package.model.preprocess)
    with (
        open_meter(ctx.target, bench=ctx.bench) as meter,
        open_computer(ctx.target, bench=ctx.bench, accept_new_host_key=ctx.accept_new_host_key) as computer,
    ):
        models = package.models(linux_measure.engines(computer))
        if models[INT8].name == TFLITE_FILE:
            fed = golden.int8_inputs
        else:
            fed = package.feed((images,) if package.raw else golden.inputs)
        with ctx.progress("images replayed", 2) as advance:
            outputs = package.answers(linux_measure.replay(computer, models[INT8], fed))
            advance(1, "int8")
            floats = linux_measure.replay(computer, models[FLOAT], fed) if FLOAT in models and package.raw else None
            advance(1, "float32")
        with ctx.progress("timing", 1) as advance:
            m = linux_measure.measure(computer, models, tuple(x[0] for x in fed), settings, meter)
            advance()
    agreement = compare(graph, outputs, golden.outputs)
    same = _same(outputs, golden.outputs)
    oracles: dict[str, int | None] = {"tflm": None, m.int8.engine.split()[0]: int(same.sum())}
    if oracle.tflm_available():
        tflm = oracle.tflm_run((package.folder / TFLITE_FILE).read_bytes(), *golden.int8_inputs)
        if not _same(tflm, golden.outputs).all():
            found = oracle.first_difference(
                graph,
                golden.int8_inputs,
                oracle.tflm_layers((package.folder / TFLITE_FILE).read_bytes(), *golden.int8_inputs),
            )
            raise MismatchError(f"TFLM does not answer model.tflite as the integer reference does: {found}.")
        oracles["tflm"] = n
    kind: Kind = m.kind
    score = scores(data.y_test[:n], outputs[0], data.classes)
    used = energy(m, ctx.target)
    ctx.log.metrics({**score.metrics(), **m.metrics()}, kind)
    ctx.log.metrics({"latency_us_median": m.int8.timing.percentile_us(50), "ram_bytes": m.ram_bytes}, kind)
    if floats is not None:
        ctx.log.metrics({"float_accuracy": scores(data.y_test[:n], floats[0], data.classes).accuracy}, kind)
    if used:
        ctx.log.metrics({"energy_uj": used[0]}, "measured" if used[1] == "measured" else "estimated")
    ctx.log.metrics(
        {
            "flash_bytes": package.flash_bytes,
            "vectors": n,
            "vectors_bit_exact": int(same.sum()),
            "agreement_max_lsb": agreement.differences.max_lsb,
            "agreement_equal_values": agreement.differences.equal,
            **({} if agreement.top1 is None else {"agreement_top1": agreement.top1}),
        }
    )
    ctx.log.tags({"device": m.device, "worst_class": score.worst_class, "valid": "; ".join(m.invalid) or "yes"})
    path = ctx.folder / "measure" / "measurement.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_record(package, m, ctx), indent=2) + "\n", encoding="utf-8")
    ctx.log.file(path)
    return Measured(
        package=package,
        measurement=m,
        bit_exact=BitExact(n, int(same.sum()), oracles),
        outputs=outputs[0].reshape(n, -1),
        accuracy=score.accuracy,
        energy_uj=used[0] if used else None,
        energy_kind="measured" if used and used[1] == "measured" else "estimated",
        agreement=agreement,
    )


def _same(got: tuple[Array, ...], wanted: tuple[Array, ...]) -> Array:
    """Which of the n examples got the reference's very bytes: bool (n,)."""
    pairs = [(a.reshape(len(a), -1) == b.reshape(len(b), -1)).all(axis=1) for a, b in zip(got, wanted, strict=True)]
    return np.asarray(np.logical_and.reduce(pairs))


def _record(package: LinuxPackage, m: LinuxMeasurement, ctx: Context) -> dict[str, Any]:
    return {
        "target": ctx.target.name,
        "kind": m.kind,
        "onnx_sha256": package.sha256,
        "model_id": package.model_id,
        "power_mw": ctx.target.power.active_mw,
        "power_source": ctx.target.power.source,
        **asdict(m),
    }

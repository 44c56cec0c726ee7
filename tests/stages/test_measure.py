"""The measure stage on an emulated board: what it logs, what it writes, and that a wrong answer is never a measurement."""

from __future__ import annotations

import json
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_graphs import small_cnn
from json_outputs import without_kind

from pipeline import target
from pipeline.artifacts import Firmware, QuantizedModel
from pipeline.data.dataset import DataRecipe, Dataset, load
from pipeline.devices.resolve import resolve_device
from pipeline.errors import MismatchError
from pipeline.firmware.cortex_m import write_firmware
from pipeline.host.build import cross_build
from pipeline.ir import Graph, Tensor
from pipeline.measurement.kind import Kind
from pipeline.power.model import energy_uj
from pipeline.preprocess import byte_tables
from pipeline.proof import tflm as oracle
from pipeline.proof.session import rows
from pipeline.stage import Advance, Context
from pipeline.stages.measure import Measure
from pipeline.target import Power

M4 = target.load("cortex-m4")


@dataclass
class Log:
    """Keeps what a stage logs."""

    values: dict[str, tuple[float, Kind]] = field(default_factory=dict)
    tagged: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)

    def metrics(self, values: Mapping[str, float], kind: Kind = "computed", step: int | None = None) -> None:
        self.values |= {k: (v, kind) for k, v in values.items()}

    def params(self, values: Mapping[str, Any]) -> None: ...

    def tags(self, values: Mapping[str, str]) -> None:
        self.tagged |= values

    def file(self, path: Path, folder: str = "") -> None:
        self.files.append(path)


@dataclass
class Steps:
    total: int = 0
    done: int = 0

    @contextmanager
    def __call__(self, description: str, total: int) -> Iterator[Advance]:
        self.total = total

        def advance(steps: int = 1, note: str = "") -> None:
            self.done += steps

        yield advance


def context(folder: Path) -> tuple[Context, Log, Steps]:
    log, steps = Log(), Steps()
    return Context(resolve_device(M4), folder, 0, log, steps), log, steps


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load(DataRecipe(), seed=1)


@pytest.fixture(scope="module")
def firmware(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    """An untrained network: what it answers is arbitrary, but exact."""
    graph = small_cnn("digits")
    x = graph[graph.inputs[0]].quant
    assert x is not None
    model = QuantizedModel(graph, digits, byte_tables(digits.normalization, "uint8", x, channels=1))
    return write_firmware(model, M4, tmp_path_factory.mktemp("measure") / "firmware")


@pytest.mark.cross
@pytest.mark.qemu
def test_every_test_image_is_replayed(firmware: Firmware, digits: Dataset, tmp_path: Path) -> None:
    ctx, log, steps = context(tmp_path)
    measured = Measure(runs=3).run(firmware, ctx)
    n = len(digits.x_test)
    tflm = n if oracle.tflm_available() else None
    assert measured.bit_exact.vectors == measured.bit_exact.equal == n >= 300
    assert measured.bit_exact.oracles == {"tflm": tflm, "host_c": n, "device": n}
    assert (steps.total, steps.done) == (n, n)

    graph, preprocess = firmware.model.graph, firmware.model.preprocess
    assert preprocess is not None
    (reference,) = graph.run(preprocess.apply(digits.x_test.reshape(n, 1, 8, 8, 1)))
    want = digits.task.scores(reference, digits.test_examples()).values
    assert measured.scores == want
    assert {k: v for k, v in log.values.items() if k in want} == {k: (v, "simulated") for k, v in want.items()}
    m = measured.measurement
    assert m.output_crc32 == zlib.crc32(reference[0].tobytes())
    assert log.values["latency_us_median"] == (m.cycles / 120e6 * 1e6, "simulated")
    assert log.values["instructions"] == (m.instructions, "simulated")
    assert log.values["energy_uj"] == (pytest.approx(43.6 * m.cycles / 120e6 * 1e3), "estimated")
    assert (measured.energy_uj, measured.energy_kind) == log.values["energy_uj"]
    assert log.values["ram_bytes"] == (firmware.ram_bytes, "computed")
    assert log.tagged["counter"] == "plugin"

    (written,) = log.files
    record = json.loads(written.read_text())
    assert written == tmp_path / "measurement.json"
    assert record["firmware_sha256"] == firmware.sha256
    assert record["ticks"] == list(m.ticks)
    assert len(m.ticks) == 3
    assert record["clock"] == "simulated"
    assert record["output_crc32"] == f"{m.output_crc32:08x}"
    assert record["bit_exact"]["equal"] == n
    assert "Cortex-M4 TRM" in record["cycles_from"]
    assert record["power_source"] == M4.power.source
    assert list(without_kind(record)) == []
    assert (record["kinds"]["ticks"], record["kinds"]["power_mw"], record["kinds"]["ram_bytes"]) == (
        "simulated", "estimated", "computed",
    )  # fmt: skip


@pytest.mark.cross
@pytest.mark.qemu
def test_only_the_first_images(firmware: Firmware, digits: Dataset, tmp_path: Path) -> None:
    ctx, log, steps = context(tmp_path)
    measured = Measure(vectors=7, runs=1, counter="systick").run(firmware, ctx)
    assert measured.bit_exact.vectors == steps.done == 7
    assert log.tagged["counter"] == "systick"
    assert set(log.values) & {f"recall_{c}" for c in digits.classes} == {f"recall_{c}" for c in set(digits.y_test[:7])}
    assert "instructions x 1.22" in json.loads(log.files[0].read_text())["cycles_from"]


def changed(graph: Graph, name: str) -> Graph:
    """The graph with some weights changed to their opposites."""
    data = graph.constant(name).copy()
    data.reshape(-1)[:8] *= -1
    t = graph[name]
    return replace(graph, tensors={**graph.tensors, name: Tensor(t.shape, t.dtype, t.quant, data)})


@pytest.mark.cross
@pytest.mark.qemu
def test_a_firmware_of_other_weights_names_the_layer(firmware: Firmware, tmp_path: Path) -> None:
    ctx, log, _ = context(tmp_path)
    other = replace(firmware, model=replace(firmware.model, graph=changed(firmware.model.graph, "pw.w")))
    message = (
        r"cortex-m4 in QEMU .* answered \d+ of 20 vectors with other bytes than the integer reference, first vector \d+\. "
        r"The generated C is wrong on this host too: layer 2 \(conv2d 'pw'\) is the first to differ"
    )
    with pytest.raises(MismatchError, match=message):
        Measure(vectors=20).run(other, ctx)
    assert not log.values
    assert not log.files


@pytest.mark.cross
@pytest.mark.qemu
def test_a_wrong_compiler_names_the_layer_on_the_board(firmware: Firmware, tmp_path: Path) -> None:
    """Code that is wrong on the board only: the host build of the same C is right."""
    folder = tmp_path / "firmware"
    shutil.copytree(firmware.folder, folder)
    kernel = folder / "model" / "kernels" / "depthwise_conv2d_s8_3x3__dsp.h"
    text, right = kernel.read_text(), "smmlar r11, lr, r2, r3"  # the second output of two takes the sum in lr
    assert text.count(right) == 1
    kernel.write_text(text.replace(right, "smmlar r11, r11, r2, r3"))
    image = cross_build(folder, "digits")
    broken = replace(firmware, folder=folder, elf=image.elf, build_id=image.build_id)
    ctx, _, _ = context(tmp_path)
    message = (
        r"other bytes than the integer reference, first vector 0\. The same C is right on this host, so compiler, core or "
        r"memory make the difference: layer 1 \(depthwise_conv2d 'dw'\) is the first to differ on the board\."
    )
    with pytest.raises(MismatchError, match=message):
        Measure(vectors=3).run(broken, ctx)


def test_rows_hold_all_tensors_of_an_example() -> None:
    a = np.arange(6, dtype=np.int8).reshape(2, 3)
    b = np.array([[256], [1]], np.int32)
    np.testing.assert_array_equal(rows((a, b)), [[0, 1, 2, 0, 1, 0, 0], [3, 4, 5, 1, 0, 0, 0]])


def test_energy_is_power_times_time() -> None:
    assert energy_uj(Power(active_mw=43.6), latency_us=1000) == pytest.approx(43.6)

"""The codegen stage: from a quantised model and its data to a proven firmware folder in the run's folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from example_graphs import small_cnn
from example_target import BOARD

from pipeline import target
from pipeline.artifacts import Firmware, Package, QuantizedModel
from pipeline.data.dataset import DataRecipe, Dataset, load
from pipeline.devices.resolve import resolve_device
from pipeline.errors import GraphError, RecipeError
from pipeline.firmware.linux import LinuxPackage
from pipeline.firmware.manifest import read_manifest
from pipeline.fixedpoint import quantize
from pipeline.preprocess import Normalization, byte_tables
from pipeline.proof.tflm import tflm_available
from pipeline.proof.vectors import from_images
from pipeline.run import settings_of
from pipeline.stage import Advance, Context, Stage, check_stages
from pipeline.stages.codegen import FIRMWARE_STEPS, LINUX_STEPS, Codegen, _log_linux
from pipeline.strict import parse


@dataclass
class Log:
    """What the stage recorded."""

    figures: dict[str, float] = field(default_factory=dict)
    tagged: dict[str, str] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    advanced: int = 0

    def metrics(self, values: Mapping[str, float], kind: str = "computed", step: int | None = None) -> None:
        self.figures.update(values)

    def params(self, values: Mapping[str, Any]) -> None: ...
    def file(self, path: Path, folder: str = "") -> None: ...
    def tags(self, values: Mapping[str, str]) -> None:
        self.tagged.update(values)

    @contextmanager
    def progress(self, description: str, total: int) -> Iterator[Advance]:
        def advance(steps: int = 1, note: str = "") -> None:
            self.steps.append(note)
            self.advanced += steps

        yield advance


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load(DataRecipe(), seed=1)


def model_on(data: Dataset) -> QuantizedModel:
    graph = small_cnn()
    quant = graph["image"].quant
    assert quant is not None
    return QuantizedModel(graph, data, byte_tables(data.normalization, "uint8", quant, 1))


def context(folder: Path, log: Log, **changes: Any) -> Context:
    return Context(resolve_device(replace(BOARD, **changes)), folder, 1, log, log.progress)


@pytest.mark.cross
def test_the_stage(digits: Dataset, tmp_path: Path) -> None:
    log = Log()
    stage: Stage = Codegen(vectors=10)
    assert (stage.name, stage.consumes, stage.produces) == ("codegen", QuantizedModel, Package)
    firmware = stage.run(model_on(digits), context(tmp_path, log))
    assert isinstance(firmware, Firmware)
    assert firmware.folder == tmp_path / "firmware"
    assert firmware.elf.is_file()
    assert read_manifest(firmware.folder)["proven"]["vectors"] == 10
    kept = np.load(firmware.folder / "vectors.npz")["input_0"]
    np.testing.assert_array_equal(kept.reshape(10, 8, 8, 1), digits.x_test[:10])
    assert log.figures["flash_bytes"] == firmware.flash_bytes
    assert log.figures["ram_bytes"] == firmware.ram_bytes
    assert log.figures["model_flash_bytes"] == firmware.model_flash_bytes
    assert log.figures["arena_bytes"] == firmware.arena_bytes == 1664
    assert log.figures["macs"] == small_cnn().macs()
    assert log.tagged["firmware_sha256"] == firmware.sha256
    assert log.steps[0] == "writing C"
    assert log.steps[1] == "building the firmware"
    assert len(log.steps) == log.advanced == FIRMWARE_STEPS
    if tflm_available():
        assert (log.tagged["tflm"], log.figures["tflm_vectors"]) == ("compared", 10)
    else:
        assert log.tagged["tflm"].startswith("absent")
        assert log.figures["tflm_vectors"] == 0


def test_the_stage_for_linux(digits: Dataset, tmp_path: Path) -> None:
    log = Log()
    reached = replace(BOARD.device, transport="process")
    package = Codegen(vectors=10).run(model_on(digits), context(tmp_path, log, family="linux", device=reached))
    assert isinstance(package, LinuxPackage)
    assert {p.name for p in package.folder.iterdir()} >= {"model.onnx", "model_float.onnx", "model.tflite", "runner"}
    assert log.figures["agreement_vectors"] == 10
    assert log.figures["flash_bytes"] == package.flash_bytes
    assert log.tagged["onnx_sha256"] == package.sha256
    assert len(log.steps) == log.advanced == LINUX_STEPS
    first, *others = package.agreement.layers
    far = replace(first, differences=replace(first.differences, counts={0: 5, -7: 1}))
    _log_linux(replace(package, agreement=replace(package.agreement, layers=(far, *others))), context(tmp_path, log))
    assert log.figures["agreement_worst_layer_lsb"] == 7


def test_recipe_keys() -> None:
    stage = parse(Codegen, {"vectors": 5, "tflm_dir": "/opt/tflm"}, "recipe.toml: codegen")
    limits = {"model_flash_bytes": None, "model_ram_bytes": None}
    assert settings_of(stage) == {"vectors": 5, "tflm_dir": Path("/opt/tflm"), "optimize": "speed", **limits}
    for table, message in (
        ({"vectors": 0}, r"codegen\.vectors = 0 is out of range"),
        ({"model_flash_bytes": 0}, r"codegen\.model_flash_bytes = 0 is out of range"),
        ({"model_ram_bytes": -1}, r"codegen\.model_ram_bytes = -1 is out of range"),
        (
            {"optimize": "spead"},
            r"codegen\.optimize = 'spead' is not known\. Did you mean 'speed'\? Use one of: speed, size",
        ),
    ):
        with pytest.raises(RecipeError, match=message):
            parse(Codegen, table, "recipe.toml: codegen")


def refused(stage: Codegen, targets: list[target.Target]) -> None:
    """What the stage's recipe, in which the user wrote its `tflm_dir`, raises."""
    given = {"codegen": ("tflm_dir",) if stage.tflm_dir else ()}
    check_stages(SimpleNamespace(stages=(stage,), given=given, references={}, code_folders=()), None, targets)


def test_a_tflm_library_is_looked_for_before_any_work(tmp_path: Path) -> None:
    board, pi = target.load("cortex-m4"), target.load("raspberry-pi-4")
    refused(Codegen(), [board, pi])
    with pytest.raises(RecipeError, match=r"no libtensorflow-microlite\.a in the tflm_dir .*none"):
        refused(Codegen(tflm_dir=tmp_path / "none"), [board])
    for number, place in enumerate(("", "lib", "gen/cortex_m_generic_cortex-m4+fp_default/lib")):
        folder = tmp_path / f"tflm-{number}"
        (folder / place).mkdir(parents=True)
        (folder / place / "libtensorflow-microlite.a").touch()
        refused(Codegen(tflm_dir=folder), [board, pi])
        with pytest.raises(RecipeError, match=r"codegen\.tflm_dir is of no use to raspberry-pi-4: .* Leave it out"):
            refused(Codegen(tflm_dir=folder), [pi])
    spaced = (tmp_path / "tflm-0").rename(tmp_path / "a b")
    with pytest.raises(RecipeError, match=r"has a space in its path, which make can not take"):
        refused(Codegen(tflm_dir=spaced), [board])


def test_float_images_are_quantised_by_the_host() -> None:
    graph, normalization = small_cnn(), Normalization((0.5,), (0.25,))
    images = np.random.default_rng(0).random((3, 8, 8, 1)).astype(np.float32)
    vectors = from_images(graph, images, normalization)
    x = graph["image"]
    np.testing.assert_array_equal(
        vectors.inputs[0].reshape(images.shape), quantize(normalization.apply(images), x.scale, x.zero_point)
    )
    assert vectors.inputs[0].shape == (3, 1, 8, 8, 1)
    assert len(vectors) == 3


def test_images_of_another_size_are_refused() -> None:
    with pytest.raises(GraphError, match=r"images of shape \(9, 8, 1\) do not fit the inputs of 'small_cnn': 'image'"):
        from_images(small_cnn(), np.zeros((3, 9, 8, 1), np.uint8), Normalization())

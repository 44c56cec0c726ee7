"""The folder for a Raspberry Pi: complete, proven, whole or not there at all; raw images in, the reference's classes out."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from example_graphs import small_cnn, two_inputs

from pipeline import target
from pipeline.artifacts import QuantizedModel
from pipeline.data.dataset import DataRecipe, Dataset, load
from pipeline.devices.linux.computer import energy
from pipeline.devices.linux.measure import LinuxSettings, engines, measure, replay
from pipeline.devices.linux.process import ProcessChannel
from pipeline.devices.linux.protocol import Runner, runner_files
from pipeline.devices.resolve import resolve_device
from pipeline.errors import DeviceError, MismatchError, RecipeError, TargetError
from pipeline.firmware import linux as package_linux
from pipeline.firmware.folder import CompiledModel, load_firmware
from pipeline.firmware.linux import FLOAT_FILE, INT8_FILE, write_linux
from pipeline.firmware.manifest import read_manifest
from pipeline.fixedpoint import quantize
from pipeline.preprocess import Normalization, byte_tables

PI = target.load("raspberry-pi-4")
FILES = {"model.onnx", "model_float.onnx", "model.tflite", "README.md", *(f"runner/{p.name}" for p in runner_files())}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load(DataRecipe(), seed=1)


@pytest.fixture(scope="module")
def model(digits: Dataset) -> QuantizedModel:
    graph = small_cnn()
    x = graph[graph.inputs[0]].quant
    assert x is not None
    return QuantizedModel(graph, digits, byte_tables(digits.normalization, "uint8", x, channels=1))


def test_folder_is_complete(model: QuantizedModel, tmp_path: Path) -> None:
    package = write_linux(model, PI, tmp_path / "out")
    manifest = read_manifest(package.folder)
    found = {p.relative_to(package.folder).as_posix() for p in package.folder.rglob("*") if p.is_file()}
    assert set(manifest["files"]) == FILES == found - {"manifest.json"}
    for name, digest in manifest["files"].items():
        assert hashlib.sha256((package.folder / name).read_bytes()).hexdigest() == digest
    assert manifest["agreement"]["end_to_end"]["vectors"] == 64
    assert manifest["proven"]["tflm"] in (64, None)
    assert package.sha256 == manifest["files"][INT8_FILE]
    on_the_card = {n for n in FILES if n == INT8_FILE or n.startswith("runner/")}
    assert package.flash_bytes == sum((package.folder / n).stat().st_size for n in on_the_card)
    assert list(tmp_path.iterdir()) == [package.folder]
    props = {p.key: json.loads(p.value) for p in onnx.load(package.int8).metadata_props}
    assert props["classes"] == list(model.data.classes)
    assert props["normalization"] == {"mean": list(model.data.normalization.mean), "std": list(model.data.normalization.std)}


def test_the_same_model_gives_the_same_files(model: QuantizedModel, tmp_path: Path) -> None:
    first, second = (read_manifest(write_linux(model, PI, tmp_path / n).folder) for n in ("a", "b"))
    assert first["files"] == second["files"]


def test_raw_images_give_the_references_classes(model: QuantizedModel, tmp_path: Path) -> None:
    """Through the runner, both files with the same input."""
    package = write_linux(model, PI, tmp_path / "out")
    images = model.data.x_test[:100]
    assert model.preprocess
    reference = model.graph.run(model.preprocess.apply(images)[:, None])[0].reshape(100, -1)
    with resolve_device(PI).open_computer() as computer:
        fed = package.feed((images,))
        (int8,) = package.answers(replay(computer, package.int8, fed))
        (real,) = replay(computer, package.float32, fed)
        found = measure(computer, {"int8": package.int8, "float": package.float32}, [x[0] for x in fed], LinuxSettings(
            seconds=0.3, min_seconds=0.05, interval=0.3, throughput_seconds=0.1))  # fmt: skip
    assert (int8.reshape(100, -1).argmax(1) == reference.argmax(1)).mean() >= 0.95
    assert real.dtype == np.float32
    assert found.kind == "host"
    assert energy(found, PI) is None
    estimated = energy(replace(found, clock="device"), PI)
    assert estimated == (pytest.approx(3.06 * found.int8.timing.percentile_us(50)), "estimated")


def test_float_file_is_the_torch_module(model: QuantizedModel, tmp_path: Path) -> None:
    import torch
    from torch import nn

    from pipeline.proof.onnxruntime import session

    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10)).eval()
    package = write_linux(model, PI, tmp_path / "out", float_module=module)
    image = model.data.x_test[:1]
    (got,) = session((package.folder / FLOAT_FILE).read_bytes()).run(None, {"image": package.feed((image,))[0][0]})
    with torch.no_grad():
        want = module(torch.from_numpy(model.data.normalization.apply(image)).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(got, want, atol=1e-5)
    assert read_manifest(package.folder)["float_from"] == "torch"


def test_imported_models_need_no_data(tmp_path: Path) -> None:
    graph = small_cnn()
    x = graph[graph.inputs[0]].quant
    assert x is not None
    tables = byte_tables(Normalization((3.0,), (9.0,)), "uint8", x, channels=1)
    for name, graph, preprocess in (
        ("plain", small_cnn(), None),
        ("tables", small_cnn(), tables),
        ("two", two_inputs(), None),
    ):
        package = write_linux(CompiledModel(graph, preprocess), PI, tmp_path / name)
        assert (package.raw is None) == (preprocess is None)
        assert package.agreement.end_to_end.differences.equal > 0.8


def test_raw_floats(digits: Dataset, tmp_path: Path) -> None:
    x = digits.x_test.astype(np.float32)
    data = replace(digits, x_train=x, x_val=x, x_test=x)
    graph = small_cnn()
    package = write_linux(QuantizedModel(graph, data, None), PI, tmp_path / "out")
    assert onnx.load(package.int8).graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    with resolve_device(PI).open_computer() as computer:
        (got,) = package.answers(replay(computer, package.int8, package.feed((x[:50],))))
    t = graph[graph.inputs[0]]
    (want,) = graph.run(quantize(data.normalization.apply(x[:50]), t.scale, t.zero_point)[:, None])
    assert (got.reshape(50, -1).argmax(1) == want.reshape(50, -1).argmax(1)).mean() >= 0.95


def test_a_wrong_input_stage_is_not_delivered(
    model: QuantizedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = package_linux.feed
    monkeypatch.setattr(package_linux, "feed", lambda *args: tuple(x[:, :, ::-1] for x in right(*args)))
    with pytest.raises(MismatchError, match="does not turn its raw input into the integers"):
        write_linux(model, PI, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_too_large_for_the_card(model: QuantizedModel, tmp_path: Path) -> None:
    small = replace(PI, memory=replace(PI.memory, flash_bytes=2048))
    with pytest.raises(TargetError, match=r"model and runner take [\d,]+ bytes, but raspberry-pi-4 has 2,048"):
        write_linux(model, small, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_foreign_folder_is_left_alone(model: QuantizedModel, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with pytest.raises(RecipeError, match="left alone"):
        write_linux(model, PI, tmp_path / "out")


def test_the_folders_own_runner_runs(model: QuantizedModel, tmp_path: Path) -> None:
    package = write_linux(model, PI, tmp_path / "out")
    with Runner(ProcessChannel([sys.executable, "-B", str(package.folder / "runner")]), "here") as runner:
        digest = read_manifest(package.folder)["files"][INT8_FILE]
        assert runner.ask("load", name="m", file=str(package.int8), sha256=digest)["inputs"]


@pytest.mark.parametrize("imported", [False, True], ids=["raw images", "two inputs"])
def test_readme_example_runs(imported: bool, model: QuantizedModel, tmp_path: Path) -> None:
    package = write_linux(CompiledModel(two_inputs(), None) if imported else model, PI, tmp_path / "out")
    lines = (package.folder / "README.md").read_text().splitlines()
    code = "\n".join(line.strip() for line in lines if line.startswith("    "))
    done = subprocess.run([sys.executable, "-c", code], cwd=package.folder, capture_output=True, text=True, check=True)
    assert 0 <= int(done.stdout) < 10


def test_it_is_no_firmware(tmp_path: Path) -> None:
    write_linux(CompiledModel(small_cnn(), None), target.load("raspberry-pi-5"), tmp_path / "out")
    with pytest.raises(RecipeError, match=r"written for a Linux computer.*`pipeline run --target raspberry-pi-5` replays"):
        load_firmware(tmp_path / "out")


def test_where_a_target_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    bench = tmp_path / "desk.toml"
    bench.write_text('[raspberry-pi-4]\nhost = "pi@desk"\n')
    for device, where in ((resolve_device(PI, bench), "pi@desk"), (resolve_device(PI), "this computer")):
        assert device.where == device.open_computer().where == f"raspberry-pi-4 ({where})"
    only_ssh = replace(PI, device=replace(PI.device, transport="ssh"))
    with pytest.raises(DeviceError, match=r"nothing says where raspberry-pi-4 is. Write `\[raspberry-pi-4\]`"):
        resolve_device(only_ssh)


def test_a_computer_with_litert_alone_runs_the_tflite_file(model: QuantizedModel, tmp_path: Path) -> None:
    package = write_linux(model, PI, tmp_path / "out")
    assert package.models({"onnxruntime", "tflite_runtime"}) == {"int8": package.int8, "float": package.float32}
    models = package.models({"ai_edge_litert"})
    assert models == {"int8": package.folder / "model.tflite"}
    assert model.preprocess
    int8 = model.preprocess.apply(model.data.x_test[:40])[:, None]
    with resolve_device(PI).open_computer() as computer:
        assert "ai_edge_litert" in engines(computer)
        (got,) = package.answers(replay(computer, models["int8"], (int8,)))
    assert got.dtype == np.int8
    assert (got.reshape(40, -1).argmax(1) == model.graph.run(int8)[0].reshape(40, -1).argmax(1)).mean() >= 0.95

"""Models made by other tools, compiled to firmware and replayed on the emulated board."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import pipeline
from pipeline.compile import compile_model, import_model
from pipeline.errors import GraphError, RecipeError, TargetError
from pipeline.evidence import SourceProof
from pipeline.firmware.folder import load_firmware
from pipeline.importers.tflite import builtins as tflite_builtins
from pipeline.importers.tflite.importer import import_tflite
from pipeline.ir import Graph
from pipeline.ops.sub import Sub
from pipeline.proof import session
from pipeline.proof.tflm import tflm_available
from pipeline.proof.vectors import Vectors
from pipeline.replay import Result, measure
from pipeline.target import load as load_target

FILES = Path(__file__).parent / "importers" / "files"
MLPERF = ("resnet8", "ds_cnn", "mobilenet_v1_025", "fc_autoencoder")


@pytest.fixture(scope="module")
def byte_firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model whose own input is uint8: the device takes raw bytes."""
    folder = tmp_path_factory.mktemp("compiled") / "bytes"
    compile_model(FILES / "cnn_uint8_edges.tflite", "cortex-m4", folder)
    return folder


@pytest.fixture(scope="module")
def int8_firmware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compiled") / "int8"
    compile_model(FILES / "cnn_float_edges.tflite", load_target("cortex-m4"), folder)
    return folder


def test_python_api() -> None:
    assert pipeline.compile_model is compile_model
    assert pipeline.measure is measure
    assert pipeline.load_firmware is load_firmware
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = pipeline.nope


pytestmark = [pytest.mark.cross, pytest.mark.qemu]


def exact(result: Result, n: int) -> None:
    assert result.bit_exact.vectors == result.bit_exact.equal == n
    assert result.bit_exact.oracles == {"device": n, "host_c": n, "tflm": n if tflm_available() else None}


def test_raw_bytes_on_the_board(byte_firmware: Path) -> None:
    x = np.random.default_rng(5).integers(0, 256, (6, 9, 7, 3), dtype=np.uint8)
    result = measure(byte_firmware, x, np.array([0, 1, 2, 3, 0, 1]), runs=2)
    exact(result, 6)
    model = import_tflite(FILES / "cnn_uint8_edges.tflite")
    (expected,) = model.graph.run(model.inputs[0].to_int8(x[:, None]))
    np.testing.assert_array_equal(result.outputs[0], expected)
    assert result.notes == ()
    assert result.kind == "simulated"
    assert result.scores is not None
    right = expected.reshape(6, -1).argmax(axis=1) == [0, 1, 2, 3, 0, 1]
    assert result.top1 == pytest.approx(right.mean())
    assert {name for name in result.scores if name.startswith("recall_")} == {f"recall_{i}" for i in range(4)}
    assert len(result.measurement.latency_us) == 2
    assert result.energy_uj > 0
    # int8 values are the same pixels, shifted
    shifted = measure(byte_firmware, (x.astype(np.int16) - 128).astype(np.int8), limit=2, runs=1)
    np.testing.assert_array_equal(shifted.outputs[0], expected[:2])
    assert "int8 values shifted by +128, as the model takes uint8" in shifted.notes[0]


def test_the_file_itself_is_run_at_compile_and_at_measure(byte_firmware: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = (FILES / "cnn_uint8_edges.tflite").read_bytes()
    assert (byte_firmware / "source.tflite").read_bytes() == given
    assert "| `source.tflite` |" in (byte_firmware / "README.md").read_text()
    proven = json.loads((byte_firmware / "manifest.json").read_text())["proven"]
    assert proven["source"] == {"by": "tflm" if tflm_available() else "litert", "vectors": 16, "equal": 16, "max_lsb": 0} | {
        "note": proven["source"]["note"]
    }
    asked: list[bytes] = []
    real = session.prove_source

    def watched(content: bytes, graph: Graph, vectors: Vectors) -> SourceProof:
        asked.append(content)
        return real(content, graph, vectors)

    monkeypatch.setattr(session, "prove_source", watched)
    exact(measure(byte_firmware, limit=2, runs=1), 2)
    assert asked == [given]


def test_a_file_that_the_importer_misreads_makes_no_firmware(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reference, C and TFLM on our own file all agree on what was misread; the file itself does not."""
    right = tflite_builtins.BUILTINS["ADD"]
    monkeypatch.setitem(tflite_builtins.BUILTINS, "ADD", lambda n: tuple(Sub(**vars(op)) for op in right(n)))
    with pytest.raises(GraphError, match=r"computes something else in .* layer \d+ \(sub .*is the first to differ"):
        compile_model(FILES / "two_in_two_out.tflite", "cortex-m4", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_dtypes_are_converted_and_that_is_said(int8_firmware: Path, tmp_path: Path) -> None:
    model = import_tflite(FILES / "cnn_float_edges.tflite")
    rng = np.random.default_rng(6)
    real = rng.normal(0.2, 1, (3, 9, 7, 3)).astype(np.float32)
    np.savez(tmp_path / "real.npz", x=real, y=np.array([1, 1, 2]))
    result = measure(int8_firmware, tmp_path / "real.npz", runs=1)
    exact(result, 3)
    np.testing.assert_array_equal(result.outputs[0], model.graph.run(model.inputs[0].to_int8(real[:, None]))[0])
    assert "float values quantised with scale" in result.notes[0]
    assert result.scores is not None
    raw = rng.integers(0, 256, (2, 9, 7, 3), dtype=np.uint8)
    np.save(tmp_path / "raw.npy", raw)
    result = measure(int8_firmware, tmp_path / "raw.npy", runs=1)
    as_int8 = (raw[:, None].astype(np.int16) - 128).astype(np.int8)
    np.testing.assert_array_equal(result.outputs[0], model.graph.run(as_int8)[0])
    assert result.notes == (f"input {model.graph.inputs[0]!r}: uint8 values shifted by -128, as the model takes int8",)
    assert result.scores is None
    assert result.top1 is None


def test_kept_vectors_are_the_default(int8_firmware: Path) -> None:
    result = measure(int8_firmware, limit=4, runs=1)
    exact(result, 4)
    with np.load(int8_firmware / "vectors.npz") as kept:
        np.testing.assert_array_equal(result.outputs[0], kept["output_0"][:4])


def test_firmware_is_read_back(byte_firmware: Path) -> None:
    firmware, target = load_firmware(byte_firmware)
    assert target == load_target("cortex-m4")
    manifest = json.loads((byte_firmware / "manifest.json").read_text())
    assert firmware.model_id == manifest["model"]["id"] == firmware.model.graph.sha256()[:16]
    assert firmware.model.preprocess is not None
    assert firmware.model.preprocess.is_offset
    assert firmware.elf.is_file()
    assert firmware.flash_bytes == manifest["image"]["flash_bytes"]
    with pytest.raises(GraphError, match="was compiled from an imported model, which has no data set"):
        _ = firmware.data


def test_a_firmware_prints_on_one_line(byte_firmware: Path) -> None:
    firmware, _ = load_firmware(byte_firmware)
    name, ops = firmware.model.graph.name, len(firmware.model.graph.ops)
    assert repr(firmware) == (
        f"Firmware(folder={byte_firmware!r}, model=CompiledModel({name!r}, {ops} operators), "
        f"flash_bytes={firmware.flash_bytes}, model_id={firmware.model_id!r}, ram_bytes={firmware.ram_bytes}, "
        f"model_flash_bytes={firmware.model_flash_bytes}, arena_bytes={firmware.arena_bytes}, "
        f"build_id={firmware.build_id!r})"
    )


def test_changed_folders_are_refused(byte_firmware: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(byte_firmware, tmp_path / "copy")
    content = bytearray((folder / "model.tflite").read_bytes())
    content[-100] ^= 1
    (folder / "model.tflite").write_bytes(content)
    with pytest.raises(RecipeError, match=r"model\.tflite was changed after the firmware was proven"):
        measure(folder)
    (folder / "model.tflite").unlink()
    with pytest.raises(RecipeError, match=r"model\.tflite can not be read \(No such file"):
        load_firmware(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] = {"../../etc/passwd": "0"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RecipeError, match=r"lists '\.\./\.\./etc/passwd', which is outside the folder"):
        load_firmware(folder)
    del manifest["image"]
    (folder / "manifest.json").write_text(json.dumps({**manifest, "files": {}}))
    with pytest.raises(RecipeError, match=r"manifest\.json is not complete"):
        load_firmware(folder)
    with pytest.raises(RecipeError, match="is no firmware folder"):
        load_firmware(tmp_path)


GOOD = np.zeros((2, 9, 7, 3), np.int8)
WRONG_INPUTS = {
    "shape": ({"inputs": np.zeros((2, 3, 9, 7), np.int8)}, r"takes examples of shape \(1, 9, 7, 3\), channels last; got"),
    "dtype": ({"inputs": GOOD.astype(np.int64)}, r"takes int8 values \(or float ones, to be quantised\), got int64"),
    "nan": ({"inputs": np.full((2, 9, 7, 3), np.nan)}, r"holds NaN or infinity"),
    "empty": ({"inputs": GOOD[:0]}, r"the inputs hold no examples"),
    "scalar": ({"inputs": np.array(3, np.int8)}, r"the inputs hold no examples"),
    "two inputs": ({"inputs": (GOOD, GOOD)}, r"2 input arrays for a model with 1 inputs"),
    "limit": ({"inputs": GOOD, "limit": 0}, r"limit = 0 is out of range"),
    "labels": (
        {"inputs": GOOD, "labels": np.array([0, 4])},
        "labels go up to 4, but the model's output has 4 values; they must be indexes into it",
    ),
    "few labels": ({"inputs": GOOD, "labels": np.array([0])}, r"labels is int64\(1,\); it must hold 2 whole-number"),
    "suffix": ({"inputs": "x.csv"}, r"inputs x\.csv must be an \.npy file"),
    "missing npy": ({"inputs": "nope.npy"}, r"nope\.npy can not be read"),
    "missing npz": ({"inputs": "nope.npz"}, r"nope\.npz does not exist"),
}


@pytest.mark.parametrize("case", WRONG_INPUTS)
def test_inputs_that_do_not_fit(int8_firmware: Path, case: str) -> None:
    arguments, message = WRONG_INPUTS[case]
    with pytest.raises(RecipeError, match=message):
        measure(int8_firmware, **arguments)  # type: ignore[arg-type]


def test_npz_without_inputs(int8_firmware: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", images=GOOD)
    with pytest.raises(RecipeError, match=r"other\.npz has no array `x`"):
        measure(int8_firmware, tmp_path / "other.npz")


def test_models_that_can_not_be_compiled(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(GraphError, match=r"model\.bin is of no type that is imported. Supported: \.tflite"):
        compile_model(tmp_path / "model.bin", "cortex-m4")
    with pytest.raises(GraphError, match=r"nope\.tflite does not exist"):
        compile_model(tmp_path / "nope.tflite", "cortex-m4")
    with pytest.raises(TargetError, match="Did you mean 'cortex-m4'"):
        compile_model(FILES / "cnn_int8.tflite", "cortex-m44")
    with pytest.raises(RecipeError, match=r"--calibration x\.npz is of no use to cnn_int8\.tflite"):
        import_model(FILES / "cnn_int8.tflite", Path("x.npz"))
    out = tmp_path / "out"
    with pytest.raises(GraphError, match="this is a float model"):
        compile_model(FILES / "cnn_float.tflite", "cortex-m4", out)
    assert not out.exists()


def test_float_onnx_with_calibration_on_the_board(tmp_path: Path) -> None:
    """x -> conv -> relu -> dense in float ONNX, quantised with samples that are given channels last."""
    rng = np.random.default_rng(8)
    weights = {"k": rng.normal(0, 0.3, (4, 2, 3, 3)), "w": rng.normal(0, 0.1, (100, 3)), "b": rng.normal(0, 0.1, 3)}
    nodes = [
        helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "b"], ["y"]),
    ]
    x_info, y_info = (helper.make_tensor_value_info(n, 1, s) for n, s in (("x", [1, 2, 5, 5]), ("y", [1, 3])))
    constants = [numpy_helper.from_array(v.astype(np.float32), n) for n, v in weights.items()]
    graph = helper.make_graph(nodes, "net", [x_info], [y_info], constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "net.onnx")
    real = rng.normal(0, 1, (40, 5, 5, 2)).astype(np.float32)
    np.savez(tmp_path / "samples.npz", x=real)
    firmware = compile_model(tmp_path / "net.onnx", "cortex-m4", tmp_path / "out", tmp_path / "samples.npz")
    result = measure(firmware, real[:5], runs=1)
    exact(result, 5)
    source = json.loads((firmware.folder / "manifest.json").read_text())["proven"]["source"]
    assert (source["by"], source["vectors"]) == ("onnxruntime", 16)
    assert source["max_lsb"] <= 1
    assert "signal to noise against the float model" in source["note"]
    expected = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    y = firmware.model.graph[firmware.model.graph.outputs[0]]
    for answer, example in zip(result.outputs[0], real, strict=False):
        (want,) = expected.run(None, {"x": example.transpose(2, 0, 1)[None]})
        assert np.abs((answer.astype(int) - y.zero_point) * y.scale - want).max() < 6 * y.scale
    with pytest.raises(GraphError, match=r"net\.onnx is a float model; to quantize it, real inputs are needed"):
        compile_model(tmp_path / "net.onnx", "cortex-m4", tmp_path / "other")


@pytest.mark.unmeasured
@pytest.mark.parametrize("name", MLPERF)
def test_mlperf_tiny_on_the_board(shared: Path, tmp_path: Path, name: str) -> None:
    """The official file, unmodified: all nine output_N.bin, from the emulated board."""
    folder = shared / "models" / "mlperf_tiny" / name
    firmware = compile_model(folder / f"{name}_int8.tflite", "cortex-m4", tmp_path / name)
    shape = firmware.model.graph[firmware.model.graph.inputs[0]].shape
    x = np.stack([np.fromfile(folder / f"input_{i}.bin", np.int8).reshape(shape) for i in range(9)])
    result = measure(firmware, x, runs=1)
    exact(result, 9)
    expected = np.stack([np.fromfile(folder / f"output_{i}.bin", np.int8) for i in range(9)])
    np.testing.assert_array_equal(result.outputs[0].reshape(9, -1), expected)
    if name == "mobilenet_v1_025":
        assert sum(t.nbytes for t in firmware.model.graph.used_constants().values()) <= 35_000
    if name == "resnet8":
        assert firmware.arena_bytes <= 55_000


@pytest.mark.slow
@pytest.mark.parametrize(("name", "data", "right"), [("resnet8", "ic01", 173), ("ds_cnn", "kws01", 901)])
def test_accuracy_on_the_board(shared: Path, tmp_path: Path, name: str, data: str, right: int) -> None:
    """MLPerf Tiny's accuracy sets, as TFLM answers them."""
    path = shared / "models" / "mlperf_tiny" / name / f"{name}_int8.tflite"
    firmware = compile_model(path, "cortex-m4", tmp_path / name)
    result = measure(firmware, shared / "data" / f"{data}.npz", runs=1)
    assert result.top1 is not None
    assert round(result.top1 * result.bit_exact.vectors) == right
    exact(result, len(result.outputs[0]))

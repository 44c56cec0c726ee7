"""Every way an .onnx file can be wrong: the message names node or tensor, and says what would work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_cases import NETS, export, inputs_for, quantized
from onnxruntime.quantization import QuantFormat, QuantType, quantize_dynamic

from pipeline.errors import GraphError, RecipeError
from pipeline.importers.onnx import file as onnx_file
from pipeline.importers.onnx.importer import import_onnx

Edit = Callable[[Any], None]  # changes a ModelProto


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx")


@pytest.fixture(scope="module")
def plain(folder: Path) -> Any:
    """The ModelProto of a quantised net: convolutions, pooling, a dense layer, softmax."""
    return onnx.load(quantized(NETS["plain"], folder))


def node(m: Any, op: str, nth: int = 0) -> Any:
    return [n for n in m.graph.node if n.op_type == op][nth]


def initializer(m: Any, name: str) -> Any:
    return next(t for t in m.graph.initializer if t.name == name)


def set_initializer(m: Any, name: str, values: Any) -> None:
    initializer(m, name).CopyFrom(numpy_helper.from_array(np.asarray(values), name))


def set_attribute(m: Any, op: str, name: str, value: Any) -> None:
    n = node(m, op)
    kept = [a for a in n.attribute if a.name != name]
    del n.attribute[:]
    n.attribute.extend([*kept, helper.make_attribute(name, value)])


def scale(value: float) -> Edit:
    """Of the first convolution's result."""
    return lambda m: set_initializer(m, node(m, "QuantizeLinear", 1).input[1], np.float32(value))


def weight_scales(m: Any) -> None:
    name = node(m, "DequantizeLinear").input[1]
    set_initializer(m, name, numpy_helper.to_array(initializer(m, name))[:-1])


def asymmetric_weights(m: Any) -> None:
    name = next(n for n in m.graph.node if n.op_type == "Conv").input[1]
    zero = next(n for n in m.graph.node if name in n.output).input[2]
    set_initializer(m, zero, numpy_helper.to_array(initializer(m, zero)) + np.int8(3))


def sixteen_bits(m: Any) -> None:
    set_initializer(m, node(m, "QuantizeLinear", 1).input[2], np.int16(0))


def float_weights(m: Any) -> None:
    conv = node(m, "Conv")
    m.graph.initializer.append(numpy_helper.from_array(np.zeros((8, 3, 3, 3), np.float32), "float_weights"))
    conv.input[1] = "float_weights"


def unquantised_result(m: Any) -> None:
    """The dense layer's result goes into the softmax without quantisation."""
    gemm, softmax = node(m, "Gemm"), node(m, "Softmax")
    gone = [n for n in m.graph.node if n.op_type.endswith("eLinear") and gemm.output[0] in (*n.input, *n.output)]
    later = [n for n in m.graph.node if gone and gone[0].output[0] in n.input]
    for n in (*gone, *later):
        m.graph.node.remove(n)
    softmax.input[0] = gemm.output[0]


def unquantised_input(m: Any) -> None:
    m.graph.input.append(helper.make_tensor_value_info("raw", TensorProto.FLOAT, (1, 3, 16, 16)))
    node(m, "Conv").input[0] = "raw"


def cycle(m: Any) -> None:
    node(m, "Conv").input[0] = node(
        m, "DequantizeLinear", len([n for n in m.graph.node if n.op_type == "DequantizeLinear"]) - 1
    ).output[0]


def written_twice(m: Any) -> None:
    node(m, "Softmax").output[0] = node(m, "Gemm").output[0]


def never_written(m: Any) -> None:
    m.graph.output[0].name = "nothing"


def unknown(m: Any) -> None:
    node(m, "Softmax").op_type = "LogSoftmax"


def foreign(m: Any) -> None:
    node(m, "Softmax").domain = "my.company"


def branch(m: Any) -> None:
    body = helper.make_graph([], "body", [], [])
    n = helper.make_node("If", ["x"], ["y"], name="choice", then_branch=body, else_branch=body)
    m.graph.node.append(n)


def dims(name_of: Callable[[Any], str], *values: int) -> Edit:
    def edit(m: Any) -> None:
        t = initializer(m, name_of(m))
        del t.dims[:]
        t.dims.extend(values)

    return edit


def weights_of(m: Any) -> str:
    conv = node(m, "Conv")
    return str(next(n for n in m.graph.node if conv.input[1] in n.output).input[0])


def input_shape(*values: Any) -> Edit:
    def edit(m: Any) -> None:
        name = m.graph.input[0].name
        m.graph.input[0].CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, values))

    return edit


def integer_input(m: Any) -> None:
    m.graph.input[0].CopyFrom(helper.make_tensor_value_info(m.graph.input[0].name, TensorProto.INT64, (1, 3, 16, 16)))


def no_shape(m: Any) -> None:
    m.graph.input[0].CopyFrom(helper.make_tensor_value_info(m.graph.input[0].name, TensorProto.FLOAT, None))


def reshaped_no_shape(m: Any) -> None:
    no_shape(m)
    name, first = m.graph.input[0].name, node(m, "QuantizeLinear")
    first.input[0] = "flat"
    m.graph.node.insert(0, helper.make_node("Flatten", [name], ["flat"]))


def string_constant(m: Any) -> None:
    m.graph.initializer.append(helper.make_tensor("words", TensorProto.STRING, [1], [b"a"]))


def external(location: str, **more: str) -> Edit:
    def edit(m: Any) -> None:
        t = initializer(m, weights_of(m))
        t.ClearField("raw_data")
        t.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **more}.items():
            entry = t.external_data.add()
            entry.key, entry.value = key, value

    return edit


def missing_weights(m: Any) -> None:
    del node(m, "Conv").input[1:]


def huge_pool(m: Any) -> None:
    set_attribute(m, "MaxPool", "kernel_shape", [1 << 30, 2])


BAD: dict[str, tuple[Edit, str]] = {
    "zero scale": (scale(0.0), r"QuantizeLinear '\S*': its scales must be positive and finite"),
    "NaN scale": (scale(float("nan")), r"QuantizeLinear '\S*': its scales must be positive and finite"),
    "negative scale": (scale(-1.0), r"QuantizeLinear '\S*': its scales must be positive and finite"),
    "weight scales": (weight_scales, r"scales along axis 0 do not fit|blockwise quantisation is not supported"),
    "asymmetric weights": (asymmetric_weights, r"Conv '\S*': its weights '\S*' must be 8 bits wide and symmetric"),
    "16 bits": (sixteen_bits, r"it quantises to int16; activations must be 8 bits wide"),
    "float weights": (float_weights, r"Conv '\S*': its weights 'float_weights' are float: the activations are quantised"),
    "unquantised result": (unquantised_result, r"Gemm '\S*': its result '\S*' is not quantised: this model is"),
    "unquantised input": (unquantised_input, r"Conv '\S*': reads the input 'raw' as it is, not quantised"),
    "cycle": (cycle, r"Conv '\S*': reads '\S*' before anything writes it: the graph is cyclic, out of order"),
    "written twice": (written_twice, r"Softmax '\S*': writes '\S*' a second time"),
    "never written": (never_written, r"graph output 'nothing' is not quantised, or never written"),
    "unknown operator": (unknown, r"LogSoftmax '\S*': it is not supported. Supported operators: .*Softmax"),
    "foreign operator": (foreign, r"Softmax '\S*': operators of domain 'my.company' are not supported"),
    "branch": (branch, r"If 'choice': branches and loops are not supported"),
    "negative dimension": (dims(weights_of, 8, 3, -3, 3), r"constant '\S*' has shape \(8, 3, -3, 3\); dimensions"),
    "absurd dimension": (dims(weights_of, 1 << 40, 1 << 40), r"constant '\S*': int8\(\d+, \d+\) takes [\d,]+ values"),
    "weights too short": (dims(weights_of, 8, 3, 3, 4), r"constant '\S*': int8\(8, 3, 3, 4\) takes 288 values"),
    "weights do not fit": (dims(weights_of, 8, 9, 3, 1), r"Conv '\S*': weights \(8, 9, 3, 1\) and 1 groups do not fit"),
    "open input": (input_shape(1, 3, "h", 16), r"input 'x0' has shape \(1, 3, None, 16\); export the model"),
    "batch": (input_shape(4, 3, 16, 16), r"input 'x0' has shape \(4, 3, 16, 16\); export the model with .* a batch of 1"),
    "zero input": (input_shape(1, 3, 0, 16), r"'x0' has shape \(1, 3, 0, 16\); at most 8 dimensions of at least 1"),
    "absurd input": (input_shape(1, 3, 1 << 20, 1 << 20), r"input 'x0' has shape .*, more than 67,108,864 bytes"),
    "inconsistent input": (input_shape(1, 3, 20, 20), r"(Gemm|Flatten|Reshape) '\S*': "),
    "no input shape": (no_shape, r"input 'x0' has no shape; export the model with fixed sizes"),
    "reshaped input without shape": (reshaped_no_shape, r"input 'x0' has no shape; export the model with fixed sizes"),
    "integer input": (integer_input, r"QuantizeLinear '\S*': reads the input 'x0' as it is, not quantised"),
    "string constant": (string_constant, r"constant 'words' is of ONNX type 8; supported are float32"),
    "external data outside": (external("../secret.bin"), r"lies in '../secret.bin', outside the model's folder"),
    "external data absolute": (external("/etc/passwd"), r"lies in '/etc/passwd', outside the model's folder"),
    "external data missing": (external("gone.bin"), r"gone.bin can not be read \(No such file"),
    "external data length": (external("gone.bin", length="7"), r"216 bytes wanted, 7 declared in 'gone.bin'"),
    "external data offset": (external("gone.bin", offset="-4"), r"216 bytes wanted"),
    "external data nonsense": (external("gone.bin", offset="x"), r"the file is corrupt"),
    "missing weights": (missing_weights, r"Conv '\S*': input 1 is missing"),
    "huge kernel": (huge_pool, r"MaxPool '\S*': kernel_shape = \[1073741824, 2\] must be 2 integers from 1 to 65536"),
    "stride": (lambda m: set_attribute(m, "Conv", "strides", [0, 1]), r"Conv '\S*': strides = \[0, 1\] must be 2 integers"),
    "pads": (lambda m: set_attribute(m, "Conv", "pads", [1, 1]), r"Conv '\S*': auto_pad 'NOTSET' and pads \[1, 1\]"),
    "groups": (lambda m: set_attribute(m, "Conv", "group", 0), r"Conv '\S*': weights \(8, 3, 3, 3\) and 0 groups"),
    "alpha": (lambda m: set_attribute(m, "Gemm", "alpha", 0.5), r"Gemm '\S*': alpha, beta and transA have no int8 form"),
    "softmax axis": (lambda m: set_attribute(m, "Softmax", "axis", 5), r"Softmax '\S*': axis 5 of the input"),
}  # fmt: skip


def changed(plain: Any, edit: Edit, path: Path) -> Path:
    model = onnx.ModelProto()
    model.CopyFrom(plain)
    edit(model)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize("case", BAD)
def test_bad_model(plain: Any, tmp_path: Path, case: str) -> None:
    edit, message = BAD[case]
    with pytest.raises(GraphError, match=message):
        import_onnx(changed(plain, edit, tmp_path / "bad.onnx"))


def test_external_data_beside_the_model(plain: Any, tmp_path: Path) -> None:
    """In the model's own folder it is read."""
    name = weights_of(plain)
    (tmp_path / "weights.bin").write_bytes(bytes(5) + initializer(plain, name).raw_data)
    path = changed(plain, external("weights.bin", offset="5", length="216"), tmp_path / "good.onnx")
    good = import_onnx(changed(plain, lambda m: None, tmp_path / "plain.onnx"))
    x = np.zeros((2, 1, 16, 16, 3), np.int8)
    np.testing.assert_array_equal(import_onnx(path).graph.run(x)[0], good.graph.run(x)[0])
    (tmp_path / "weights.bin").write_bytes(bytes(100))
    with pytest.raises(GraphError, match=r"'weights\.bin' ends 121 bytes too early"):
        import_onnx(path)


def test_external_data_through_a_link(plain: Any, tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(216))
    (tmp_path / "inside" / "weights.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(GraphError, match="outside the model's folder"):
        import_onnx(changed(plain, external("weights.bin"), tmp_path / "inside" / "linked.onnx"))


RAW = {
    "empty": (b"", r"holds no ONNX graph"),
    "text": (b"this is not a model at all, it is text", r"is not an ONNX file|not an ONNX model|holds no ONNX graph"),
    "elf": (b"\x7fELF" + bytes(200), r"is not an ONNX|corrupt|holds no ONNX graph"),
}


@pytest.mark.parametrize("case", RAW)
def test_bad_bytes(tmp_path: Path, case: str) -> None:
    content, message = RAW[case]
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(GraphError, match=message):
        import_onnx(tmp_path / "bad.onnx")


def test_truncated(plain: Any, tmp_path: Path) -> None:
    content = plain.SerializeToString()
    for size in range(1, len(content), len(content) // 40):
        (tmp_path / "bad.onnx").write_bytes(content[:size])
        with pytest.raises(GraphError):
            import_onnx(tmp_path / "bad.onnx")


def test_small_files_that_would_take_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty messages take two bytes in the file and a hundred times that when parsed."""
    nodes = onnx.GraphProto(node=[onnx.NodeProto() for _ in range(10)]).SerializeToString() * 50_000

    def wrapped(graph: bytes) -> Path:
        size, head = len(graph), b"\x3a"
        while size:
            head += bytes([(size & 127) | (128 if size > 127 else 0)])
            size >>= 7
        (tmp_path / "bomb.onnx").write_bytes(head + graph)
        return tmp_path / "bomb.onnx"

    with pytest.raises(GraphError, match=r"bomb\.onnx: more than 300,000 entries"):
        import_onnx(wrapped(nodes))
    node_with_doc = onnx.GraphProto(node=[onnx.NodeProto(doc_string="x" * 5_000_000)]).SerializeToString()
    with pytest.raises(GraphError, match=r"bytes of structure beside its raw tensors; at most 4,000,000 are read"):
        import_onnx(wrapped(node_with_doc))
    packed = onnx.TensorProto(dims=[3_000_000], data_type=7, int64_data=[1] * 3_000_000)
    monkeypatch.setattr(onnx_file, "MAX_PACKED_BYTES", 2_000_000)
    with pytest.raises(GraphError, match=r"3,000,000 bytes of packed beside"):
        import_onnx(wrapped(onnx.GraphProto(initializer=[packed]).SerializeToString()))


def test_files_that_can_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"nope\.onnx can not be read: No such file"):
        import_onnx(tmp_path / "nope.onnx")


def test_float_models(tmp_path: Path) -> None:
    path = export(NETS["plain"], tmp_path / "float.onnx")
    with pytest.raises(GraphError, match=r"float\.onnx is a float model; to quantize it, real inputs are needed"):
        import_onnx(path)
    np.savez(tmp_path / "wrong.npz", x=np.zeros((4, 5, 5, 3), np.uint8))
    with pytest.raises(RecipeError, match=r"holds samples of shape \(5, 5, 3\), the model takes \(3, 16, 16\)"):
        import_onnx(path, tmp_path / "wrong.npz")
    model = onnx.load(path)
    model.graph.node[0].input[0] = "nothing"
    onnx.save(model, tmp_path / "broken.onnx")
    np.savez(tmp_path / "right.npz", x=inputs_for(NETS["plain"], 4, 1)[0])
    with pytest.raises(GraphError, match=r"broken\.onnx: onnxruntime can not quantize this model"):
        import_onnx(tmp_path / "broken.onnx", tmp_path / "right.npz")


def test_other_quantised_forms(tmp_path: Path) -> None:
    net = NETS["dense"]
    path = quantized(net, tmp_path, quant_format=QuantFormat.QOperator)
    with pytest.raises(GraphError, match=r"the model is quantised in operator or dynamic form; quantize_static"):
        import_onnx(path)
    quantize_dynamic(str(export(net, tmp_path / "f.onnx")), str(tmp_path / "dynamic.onnx"))
    with pytest.raises(GraphError, match=r"operator or dynamic form"):
        import_onnx(tmp_path / "dynamic.onnx")
    wide = quantized(net, tmp_path, activations=QuantType.QInt16)
    with pytest.raises(GraphError, match=r"it quantises to int16; activations must be 8 bits wide"):
        import_onnx(wide)

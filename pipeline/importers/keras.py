"""The Keras importer: a float model through TensorFlow's own converter to int8, then as any .tflite file. TensorFlow is
imported here alone (extra `keras`)."""

from __future__ import annotations

import contextlib
import io
import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.errors import BuildError, GraphError, RecipeError, first_line
from pipeline.importers.imported import Imported
from pipeline.importers.samples import samples
from pipeline.importers.tflite.importer import import_tflite
from pipeline.ir import Array

HDF5 = b"\x89HDF\r\n\x1a\n"  # how every HDF5 file begins that Keras writes


def import_keras(path: Path, calibration: Path | None) -> Imported:
    """The int8 graph of a .keras or .h5 file, or of a SavedModel folder, quantised with the samples in `calibration` (.npz).

    GraphError when TensorFlow can not load or convert it, RecipeError without fitting samples, BuildError without it.
    """
    _require_model(path)
    if calibration is None:
        raise RecipeError(
            f"{path} is a float model; to quantize it, real inputs are needed: --calibration FILE.npz with an array `x`."
        )
    tf = _tensorflow()
    with contextlib.redirect_stdout(io.StringIO()):  # the exporter prints where its temporary files are
        converter, inputs = _loaded(tf, path)
        data = samples(calibration, inputs)
        names = [name for name, _ in inputs]
        content = _converted(tf, path, converter, [dict(zip(names, sample, strict=True)) for sample in data])
    return _in_order(import_tflite(content, path.stem), names)


def _require_model(path: Path) -> None:
    """GraphError when `path` is certainly no model; raised before TensorFlow is loaded, which may not be installed."""
    if path.is_dir():
        if not any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
            raise GraphError(
                f"{path} is a folder without saved_model.pb, so that it is no TensorFlow SavedModel. Give a model file, or "
                "the folder that model.export() or tf.saved_model.save() wrote."
            )
        return
    try:
        if path.suffix.lower() == ".h5":
            with path.open("rb") as file:
                right, kind = file.read(len(HDF5)) == HDF5, ".h5 file (HDF5)"
        else:
            right, kind = zipfile.is_zipfile(path), ".keras file (a zip archive)"
    except OSError as e:
        raise GraphError(f"{path} can not be read: {e.strerror or e}.") from None
    if not right:
        raise GraphError(f"{path} is not a {kind}, or is cut off; save or download it again.")


def _tensorflow() -> Any:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # its start-up messages are for TensorFlow's developers
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    try:
        import tensorflow
    except ImportError as e:
        raise BuildError(
            f"Keras models are read with TensorFlow, which is not here ({e}): pip install 'tinyml-pipeline[keras]'."
        ) from None
    return tensorflow


def _loaded(tf: Any, path: Path) -> tuple[Any, list[tuple[str, tuple[int, ...]]]]:
    """(a converter, the inputs' names and shapes without batch). A Keras model gets a batch of 1, so that nothing in it is
    left to be computed from the batch size."""
    try:
        if path.is_dir():
            signature = tf.saved_model.load(str(path)).signatures["serving_default"]
            tensors = signature.structured_input_signature[1].values()
            converter = tf.lite.TFLiteConverter.from_saved_model(str(path))
        else:
            model = tf.keras.models.load_model(path, compile=False)
            tensors = [tf.keras.Input(batch_shape=(1, *x.shape[1:]), dtype=x.dtype, name=x.name) for x in model.inputs]
            single = tf.keras.Model(tensors, model(tensors if len(tensors) > 1 else tensors[0]))
            converter = tf.lite.TFLiteConverter.from_keras_model(single)
    except Exception as e:  # TensorFlow raises whatever its layers raise
        raise GraphError(f"{path} can not be loaded as a Keras model or SavedModel: {first_line(e)}") from None
    return converter, [(str(t.name), _fixed(path, t)) for t in tensors]


def _fixed(path: Path, tensor: Any) -> tuple[int, ...]:
    shape = tuple(tensor.shape[1:])
    if any(d is None for d in shape):
        raise GraphError(f"{path}: input {tensor.name!r} has the open shape {shape}; build the model with fixed sizes.")
    return tuple(int(d) for d in shape)


def _converted(tf: Any, path: Path, converter: Any, data: list[dict[str, Array]]) -> bytes:
    """The .tflite file; `data` are samples by input name (the converter orders inputs as it likes)."""

    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: iter(data)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    try:
        return bytes(converter.convert())
    except Exception as e:  # ConverterError, and what the compiler behind it raises
        raise GraphError(
            f"{path}: TensorFlow's converter has no int8 form for this model: {first_line(e)}. Replace that layer."
        ) from None


def _in_order(model: Imported, names: list[str]) -> Imported:
    """Inputs as the model lists them, outputs as it returns them: the converter numbers both in the tensors' names."""
    inputs = {f"serving_default_{name}:0": i for i, name in enumerate(names)}
    outputs = {edge.name: int(edge.name.rpartition(":")[2]) for edge in model.outputs if re.search(r":\d+$", edge.name)}
    if {e.name for e in model.inputs} != inputs.keys() or len(outputs) < len(model.outputs):
        return model
    x = sorted(range(len(model.inputs)), key=lambda i: inputs[model.inputs[i].name])
    y = sorted(range(len(model.outputs)), key=lambda i: outputs[model.outputs[i].name])
    graph = replace(
        model.graph,
        inputs=tuple(model.graph.inputs[i] for i in x),
        outputs=tuple(model.graph.outputs[i] for i in y),
    )
    return replace(model, graph=graph, inputs=tuple(model.inputs[i] for i in x), outputs=tuple(model.outputs[i] for i in y))

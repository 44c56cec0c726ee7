"""A float ONNX model to int8 QDQ form, by onnxruntime's own quantize_static."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_static

from pipeline.errors import GraphError, first_line
from pipeline.importers.onnx.file import OnnxFile
from pipeline.importers.onnx.nodes import NODES
from pipeline.importers.samples import samples
from pipeline.ir import Array


class _Samples(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime is untyped
    def __init__(self, names: list[str], data: list[tuple[Array, ...]]) -> None:
        self._feeds = iter([dict(zip(names, sample, strict=True)) for sample in data])

    def get_next(self) -> dict[str, Array] | None:
        return next(self._feeds, None)


@contextmanager
def quantized(path: Path, file: OnnxFile, calibration: Path) -> Iterator[tuple[Path, list[tuple[Array, ...]]]]:
    """The path of the quantised model, inside the block: int8 activations, int8 weights with a scale for each channel.
    And the samples that it was quantised with."""
    inputs = [(name, _fixed(path, name, shape)) for name, _, shape in file.inputs]
    data = samples(calibration, inputs)
    with tempfile.TemporaryDirectory(prefix="onnx_int8_") as folder, _quiet():
        prepared, int8 = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        try:
            quant_pre_process(str(path), str(prepared), skip_symbolic_shape=True)  # folds batch norms and constants
            quantize_static(
                str(prepared),
                str(int8),
                _Samples([name for name, _ in inputs], data),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=sorted(NODES),
                per_channel=True,
                activation_type=QuantType.QInt8,
                weight_type=QuantType.QInt8,
            )
        except Exception as e:  # onnxruntime raises whatever its parts raise
            raise GraphError(f"{path}: onnxruntime can not quantize this model: {first_line(e)}") from None
        yield int8, data


def _fixed(path: Path, name: str, shape: tuple[int | None, ...] | None) -> tuple[int, ...]:
    if not shape or any(d is None for d in shape[1:]) or shape[0] not in (None, 1):
        raise GraphError(f"{path}: input {name!r} has shape {shape}; export the model with fixed sizes and a batch of 1.")
    return tuple(d for d in shape[1:] if d is not None)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without onnxruntime's advice on how to call it."""
    root: Any = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)

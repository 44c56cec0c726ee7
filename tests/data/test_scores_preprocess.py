"""Scores by class, and raw values on their way to int8."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import GraphError
from pipeline.ir import Quant, Tensor
from pipeline.preprocess import Normalization, Preprocess, byte_tables, to_int8
from pipeline.tasks.classification import Classification
from pipeline.tasks.task import Examples

EVERY_BYTE = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)


def test_scores_name_the_worst_class_and_leave_out_absent_ones() -> None:
    outputs = np.eye(4)[[0, 0, 1, 0, 2]]
    result = Classification(("a", "b", "c", "absent")).scores(outputs, Examples(np.array([0, 0, 1, 1, 2])))
    assert result.tags == {"worst_class": "b"}
    figures = result.values
    assert {name: v for name, v in figures.items() if name not in ("accuracy_low", "accuracy_high", "images")} == {
        "accuracy": 0.8,
        "worst_class_recall": 0.5,
        "recall_a": 1.0,
        "recall_b": 0.5,
        "recall_c": 1.0,
    }


def test_ties_go_to_the_lowest_index() -> None:
    assert Classification(("a", "b", "c")).scores(np.array([[5, 5, 5]]), Examples(np.array([0]))).values["accuracy"] == 1.0


@pytest.mark.parametrize(("mean", "zero_point"), [(0.0, -128), (128.0, 0), (8.0, -120), (255.0, 127)])
def test_one_scale_folds_into_the_input(mean: float, zero_point: int) -> None:
    normalization = Normalization((mean,), (4.0,))
    quant = normalization.input_quant("uint8")
    assert quant == Quant((0.25,), zero_point)
    preprocess = byte_tables(normalization, "uint8", quant, 1)
    assert preprocess.is_offset
    q = preprocess.apply(EVERY_BYTE)
    assert np.array_equal(q, (EVERY_BYTE.astype(np.int16) - 128).astype(np.int8))
    assert np.allclose((q.astype(np.float32) - zero_point) * 0.25, normalization.apply(EVERY_BYTE))


def test_raw_int8_passes_as_it_is() -> None:
    normalization = Normalization((3.0,), (2.0,))
    quant = normalization.input_quant("int8")
    assert quant == Quant((0.5,), 3)
    raw = EVERY_BYTE.view(np.int8)
    assert np.array_equal(byte_tables(normalization, "int8", quant, 1).apply(raw), raw)


@pytest.mark.parametrize(
    "normalization",
    [Normalization((0.5,), (2.0,)), Normalization((300.0,), (2.0,)), Normalization((0.0, 1.0), (2.0,))],
)
def test_what_does_not_fold_takes_a_table(normalization: Normalization) -> None:
    assert normalization.input_quant("uint8") is None
    assert normalization.input_quant("float32") is None
    x = Quant((0.6,), 5)
    preprocess = byte_tables(normalization, "uint8", x, 2)
    raw = np.repeat(EVERY_BYTE, 2, axis=-1)
    expected = np.clip(np.floor(normalization.apply(raw) / np.float32(0.6) + 0.5) + 5, -128, 127)
    assert not preprocess.is_offset
    assert np.abs(preprocess.apply(raw) - expected).max() <= (normalization.apply(raw) < 0).any()  # halves below zero


def test_to_int8_gives_the_graphs_input_shape() -> None:
    x = Tensor((1, 16, 16, 1), "int8", Quant((1.0,), -128))
    identity = Normalization()
    preprocess = byte_tables(identity, "uint8", Quant((1.0,), -128), 1)
    through_bytes = to_int8(EVERY_BYTE, x, identity, preprocess)
    through_floats = to_int8(EVERY_BYTE.astype(np.float32), x, identity, None)
    assert through_bytes.shape == (1, 1, 16, 16, 1)
    assert np.array_equal(through_bytes, through_floats)


def test_wrong_raw_dtype_and_wrong_tables_are_refused() -> None:
    preprocess = byte_tables(Normalization(), "uint8", Quant((1.0,), -128), 1)
    with pytest.raises(GraphError, match="the model takes raw uint8 values, got float32"):
        preprocess.apply(EVERY_BYTE.astype(np.float32))
    with pytest.raises(GraphError, match=r"preprocess tables must be int8 \(channels, 256\), got int8\(1, 255\)"):
        Preprocess("uint8", np.zeros((1, 255), np.int8))

"""Inputs of one's own for a firmware that a run made: they are in the units of its data set, as the training images were."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_graphs import small_cnn

from pipeline.artifacts import QuantizedModel
from pipeline.data.dataset import DataRecipe, load
from pipeline.errors import RecipeError
from pipeline.firmware.cortex_m import write_firmware
from pipeline.ir import Array
from pipeline.preprocess import Normalization, byte_tables, to_int8
from pipeline.replay import measure
from pipeline.target import load as load_target

pytestmark = [pytest.mark.cross, pytest.mark.qemu]

RAW = Normalization((3.0,), (2.5,))


def firmware_for(dtype: str, folder: Path) -> QuantizedModel:
    data = load(DataRecipe(limit=40), 0)
    x = {split: getattr(data, split).astype(dtype) for split in ("x_train", "x_val", "x_test")}
    graph = small_cnn()
    quant = graph["image"].quant
    assert quant is not None
    model = QuantizedModel(
        graph,
        replace(data, normalization=RAW, **x),
        byte_tables(RAW, "uint8", quant, 1) if dtype == "uint8" else None,
    )
    write_firmware(model, load_target("cortex-m4"), folder)
    return model


def answers(model: QuantizedModel, raw: Array) -> Array:
    graph = model.graph
    (y,) = graph.run(to_int8(raw, graph["image"], RAW, model.preprocess))
    return y


def test_raw_floats_are_normalised_as_in_training(tmp_path: Path) -> None:
    model = firmware_for("float32", tmp_path / "firmware")
    raw = np.random.default_rng(0).uniform(0, 16, (6, 8, 8)).astype(np.float64)
    result = measure(tmp_path / "firmware", raw, runs=1)
    np.testing.assert_array_equal(result.outputs[0], answers(model, raw[..., None]))
    assert result.notes == ("input 'image': normalised and quantised as in training",)
    whole = measure(tmp_path / "firmware", np.arange(128).reshape(2, 8, 8), runs=1)
    np.testing.assert_array_equal(whole.outputs[0], answers(model, np.arange(128.0).reshape(2, 8, 8, 1)))
    assert measure(tmp_path / "firmware", runs=1).notes == ()  # the folder's own vectors are ready


def test_whole_numbers_of_any_type_are_raw_bytes(tmp_path: Path) -> None:
    model = firmware_for("uint8", tmp_path / "firmware")
    raw = np.random.default_rng(0).integers(0, 17, (6, 8, 8, 1))
    for dtype in ("uint8", "float64", "int64"):
        result = measure(tmp_path / "firmware", raw.astype(dtype), runs=1)
        np.testing.assert_array_equal(result.outputs[0], answers(model, raw.astype(np.uint8)))
        assert result.notes == (() if dtype == "uint8" else (f"input 'image': {dtype} values taken as raw uint8",))
    message = (
        r"takes raw uint8 values, as the data set had; those of the float64 array, from -0\.\d+ to 1\.\d+, are not all whole"
    )
    with pytest.raises(RecipeError, match=message):
        measure(tmp_path / "firmware", np.linspace(-0.5, 1.5, 64).reshape(1, 8, 8))


def test_names_of_classes_may_be_bytes(tmp_path: Path) -> None:
    firmware_for("uint8", tmp_path / "firmware")
    names = np.array([f"digit {i}" for i in range(10)])
    np.savez(tmp_path / "own.npz", x=np.zeros((3, 8, 8), np.uint8), y=np.arange(3), classes=names.astype("S"))
    result = measure(tmp_path / "firmware", tmp_path / "own.npz", runs=1)
    assert result.task.classes == tuple(names)

"""The Keras importer with TensorFlow itself: an extra of half a gigabyte, which not every machine has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.errors import GraphError
from pipeline.fixedpoint import quantize
from pipeline.importers.keras import import_keras

tf = pytest.importorskip("tensorflow", reason="the extra `keras` is not installed")


def saved_samples(tmp_path: Path, *shapes: tuple[int, ...]) -> Path:
    rng = np.random.default_rng(2)
    arrays = {f"input_{i}": rng.normal(i, 1, (20, *s)) for i, s in enumerate(shapes)}
    np.savez(tmp_path / "samples.npz", **(arrays if len(shapes) > 1 else {"x": arrays["input_0"]}))
    return tmp_path / "samples.npz"


def test_two_inputs_keep_their_order(tmp_path: Path) -> None:
    """The converter orders inputs and outputs as it likes."""
    layers = tf.keras.layers
    tf.keras.utils.set_random_seed(3)
    a, b = tf.keras.Input((6, 6, 2), name="image"), tf.keras.Input((3,), name="angle")
    y = layers.Concatenate()([layers.Flatten()(layers.Conv2D(2, 3)(a)), layers.Dense(4)(b)])
    tf.keras.Model([a, b], [layers.Dense(5)(y), layers.Dense(2, activation="sigmoid")(y)]).save(tmp_path / "two.keras")
    model = import_keras(tmp_path / "two.keras", saved_samples(tmp_path, (6, 6, 2), (3,)))
    graph = model.graph
    assert [graph[n].shape for n in graph.inputs] == [(1, 6, 6, 2), (1, 3)]
    assert [graph[n].shape for n in graph.outputs] == [(1, 5), (1, 2)]
    with np.load(tmp_path / "samples.npz") as data:
        x = [data[f"input_{i}"].astype(np.float32) for i in (0, 1)]
    expected = [np.asarray(v) for v in tf.keras.models.load_model(tmp_path / "two.keras")(x)]
    quants = [e.quant for e in model.inputs]
    found = graph.run(*(quantize(v[:, None], q.scale[0], q.zero_point) for q, v in zip(quants, x, strict=True)))
    for y8, name, want in zip(found, graph.outputs, expected, strict=True):
        t = graph[name]
        error = np.abs((y8.reshape(want.shape).astype(int) - t.zero_point) * t.scale - want)
        assert error.max() < 8 * t.scale


def test_saved_model_folder(tmp_path: Path) -> None:
    model = tf.keras.Sequential(
        [tf.keras.Input((8,)), tf.keras.layers.Dense(4, activation="relu"), tf.keras.layers.Dense(2)]
    )
    model.export(tmp_path / "saved", verbose=False)
    graph = import_keras(tmp_path / "saved", saved_samples(tmp_path, (8,))).graph
    assert [op.kind for op in graph.ops] == ["fully_connected", "fully_connected"]
    assert graph.name == "saved"


def test_models_that_can_not_be_read(tmp_path: Path) -> None:
    samples = saved_samples(tmp_path, (8,))
    (tmp_path / "broken.keras").write_bytes(b"nonsense")
    with pytest.raises(GraphError, match=r"broken\.keras is not a \.keras file"):
        import_keras(tmp_path / "broken.keras", samples)
    (tmp_path / "empty").mkdir()
    with pytest.raises(GraphError, match=r"empty is a folder without saved_model\.pb"):
        import_keras(tmp_path / "empty", samples)
    (tmp_path / "empty" / "saved_model.pb").write_bytes(b"nonsense")
    with pytest.raises(GraphError, match=r"empty can not be loaded as a Keras model or SavedModel"):
        import_keras(tmp_path / "empty", samples)
    tf.keras.Sequential([tf.keras.Input((None, 8)), tf.keras.layers.Dense(2)]).save(tmp_path / "open.keras")
    with pytest.raises(GraphError, match=r"has the open shape \(None, 8\); build the model with fixed sizes"):
        import_keras(tmp_path / "open.keras", samples)


@pytest.mark.unmeasured
def test_resnet8(shared: Path) -> None:
    """MLPerf's float resnet8, calibrated on CIFAR-10: 86.0 % in float on 2,000 images, of which these are 500."""
    cifar10 = shared / "data" / "cifar10.npz"
    graph = import_keras(shared / "models" / "pretrained" / "mlperf_resnet8_keras.h5", cifar10).graph
    with np.load(cifar10) as data:
        x, y = data["x_test"][:500], data["y_test"].reshape(-1)[:500]
    (answers,) = graph.run((x[:, None].astype(np.int16) - 128).astype(np.int8))
    assert (answers.reshape(len(y), -1).argmax(axis=1) == y).mean() > 0.85

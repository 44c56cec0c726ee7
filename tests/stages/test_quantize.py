"""Quantize, and the four stages together: accuracy, agreement with the float model layer by layer, repeatability."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from recording import Recorded, context
from torch import Tensor, nn

from pipeline import recipe
from pipeline.artifacts import FloatModel, QuantizedModel
from pipeline.data.dataset import DataRecipe, Dataset, load
from pipeline.errors import GraphError, RecipeError
from pipeline.ir import Quant
from pipeline.plan import plan
from pipeline.preprocess import Normalization, to_int8
from pipeline.run import load_source
from pipeline.stages.quantize import Quantize
from pipeline.training.fit import predict


@dataclass(frozen=True)
class Chain:
    trained: FloatModel
    distilled: FloatModel
    int8: QuantizedModel
    logs: dict[str, Recorded]


def run_chain(folder: Path, *settings: str) -> Chain:
    """The digits recipe up to the Graph."""
    digits = recipe.load(recipe.default_path(), settings)
    artifact: object = load_source(digits, ())
    artifacts, logs = {}, {}
    for stage in (s for _, s in plan(digits, "", None).shared):
        ctx, logs[stage.name] = context(folder, digits.seed)
        artifact = artifacts[stage.name] = stage.run(artifact, ctx)  # type: ignore[arg-type]
    return Chain(artifacts["train"], artifacts["distill"], artifacts["quantize"], logs)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return run_chain(tmp_path_factory.mktemp("chain"))


@pytest.mark.unmeasured
def test_digits_keep_their_accuracy_with_a_fifth_of_the_macs(chain: Chain) -> None:
    figures = {name: log.metrics_ for name, log in chain.logs.items()}
    assert figures["train"]["accuracy"] >= 0.975
    assert figures["distill"]["accuracy"] >= 0.96
    assert figures["quantize"]["accuracy"] >= 0.96
    assert figures["quantize"]["worst_class_recall"] >= 0.85
    assert figures["quantize"]["float_accuracy"] == figures["distill"]["accuracy"]
    assert figures["quantize"]["macs"] <= 0.2 * figures["train"]["macs"]
    assert figures["quantize"]["weight_bytes"] < 6_000


def test_the_logged_accuracy_is_the_graphs_own(chain: Chain) -> None:
    model = chain.int8
    x = to_int8(model.data.x_test, model.graph[model.graph.inputs[0]], model.data.normalization, model.preprocess)
    found = model.data.task.scores(model.graph.run(x)[0], model.data.test_examples())
    assert found.values["accuracy"] == chain.logs["quantize"].metrics_["accuracy"]


def test_raw_pixels_go_in_as_they_are(chain: Chain) -> None:
    model = chain.int8
    assert model.preprocess is not None
    assert model.preprocess.is_offset
    assert model.graph[model.graph.inputs[0]].quant == Quant((1 / 8,), -120)


def test_layers_are_close_to_the_float_model_and_reported(chain: Chain) -> None:
    log = chain.logs["quantize"]
    assert log.metrics_["sqnr_db_output"] > 25
    assert log.metrics_["sqnr_db_worst_layer"] > 20
    assert log.metrics_["source_max_lsb"] <= 1
    (file,) = (path for path in log.files if path.name == "layers.md")
    table = file.read_text().splitlines()
    ratios = {row.split("|")[1].strip(): float(row.split("|")[6]) for row in table[2:] if row.split("|")[6].strip()}
    assert min(ratios.values()) == pytest.approx(log.metrics_["sqnr_db_worst_layer"], abs=0.1)
    for layer in ("stem.0", "depthwise.0", "pointwise.0", "residual.0", "add", "head.0", "dense"):
        assert layer in ratios
    assert log.params_["calibration_images"] == 200
    assert re.fullmatch("[0-9a-f]{64}", log.tags_["graph_sha256"])


@pytest.mark.unmeasured
def test_the_same_seed_gives_the_same_graph(tmp_path: Path) -> None:
    short = ("train.epochs=2", "prune.epochs=1", "prune.steps=2", "distill.epochs=2", "quantize.mode=qat")
    first, again = (run_chain(tmp_path, *short, "quantize.epochs=1") for _ in range(2))
    assert again.int8.graph.sha256() == first.int8.graph.sha256()
    for a, b in ((again.trained, first.trained), (again.distilled, first.distilled)):
        states = zip(a.module.state_dict().values(), b.module.state_dict().values(), strict=True)
        assert all(torch.equal(x, y) for x, y in states)
    for name, log in first.logs.items():
        assert again.logs[name].metrics_ == log.metrics_


def test_qat_trains_with_the_rounding_in_the_loop(chain: Chain, tmp_path: Path) -> None:
    ctx, log = context(tmp_path)
    stage = Quantize(mode="qat", epochs=3, learning_rate=0.001)
    model = stage.run(chain.distilled, ctx)
    assert len(log.epochs) == 3
    assert log.epochs[-1][1]["train_loss"] < log.epochs[0][1]["train_loss"]
    assert log.metrics_["accuracy"] >= 0.96
    assert log.metrics_["sqnr_db_output"] > 20
    assert model.graph.sha256() != chain.int8.graph.sha256()
    assert stage.run(chain.distilled, context(tmp_path)[0]).graph.sha256() == model.graph.sha256()


def test_quantize_leaves_the_float_model_alone(chain: Chain, tmp_path: Path) -> None:
    before = {n: t.clone() for n, t in chain.distilled.module.state_dict().items()}
    Quantize(mode="qat", epochs=1).run(chain.distilled, context(tmp_path)[0])
    assert all(torch.equal(t, before[n]) for n, t in chain.distilled.module.state_dict().items())


def test_the_histogram_observer_cuts_extremes_off(chain: Chain, tmp_path: Path) -> None:
    ctx, log = context(tmp_path)
    model = Quantize(observer="histogram").run(chain.distilled, ctx)
    assert log.metrics_["accuracy"] >= 0.96
    ours, theirs = chain.int8.graph, model.graph
    first = ours.ops[0].output
    assert theirs[first].scale < ours[first].scale


def plain_model(data: Dataset) -> nn.Module:
    torch.manual_seed(0)
    c, h, w = data.input_shape
    return nn.Sequential(nn.Conv2d(c, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * h * w, 10)).eval()


def test_float_data_is_normalised_and_quantised_on_the_host(tmp_path: Path) -> None:
    digits = load(DataRecipe(limit=300), 0)
    arrays = {n: getattr(digits, n).astype(np.float32) / 16 for n in ("x_train", "x_val", "x_test")}
    data = replace(digits, **arrays, normalization=Normalization((0.5,), (0.5,)))
    ctx, log = context(tmp_path)
    model = Quantize(count=50).run(FloatModel(plain_model(data), data), ctx)
    assert model.preprocess is None
    assert log.metrics_["sqnr_db_output"] > 25


def test_normalisation_by_channel_becomes_a_table(tmp_path: Path) -> None:
    digits = load(DataRecipe(limit=300), 0)
    arrays = {n: np.repeat(getattr(digits, n), 2, axis=3) for n in ("x_train", "x_val", "x_test")}
    data = replace(digits, **arrays, normalization=Normalization((8.0, 2.0), (8.0, 4.0)))
    ctx, log = context(tmp_path)
    model = Quantize(count=50).run(FloatModel(plain_model(data), data), ctx)
    assert model.preprocess is not None
    assert model.preprocess.tables.shape == (2, 256)
    assert log.metrics_["sqnr_db_output"] > 25


def test_one_image_is_enough_to_calibrate(tmp_path: Path) -> None:
    data = load(DataRecipe(limit=300), 0)
    model = Quantize(count=1).run(FloatModel(plain_model(data), data), context(tmp_path)[0])
    assert model.graph.ops


def test_a_calibration_set_for_other_data_is_refused(tmp_path: Path) -> None:
    data = replace(load(DataRecipe(limit=300), 0), source="faces.npz")
    with pytest.raises(RecipeError, match=r"set 'digits' is for 'digits', but the recipe's data is 'faces\.npz'"):
        Quantize(calibration="digits").run(FloatModel(plain_model(data), data), context(tmp_path)[0])


def test_an_unsupported_operator_is_refused_here_too(tmp_path: Path) -> None:
    class Normalises(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.dense = nn.LayerNorm(64), nn.Linear(64, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.dense(self.norm(x.flatten(1)))

    data = load(DataRecipe(limit=300), 0)
    with pytest.raises(GraphError, match=r"`norm` \(LayerNorm\) uses layer_norm \(use batch norm\), which has no int8 form"):
        Quantize().run(FloatModel(Normalises().eval(), data), context(tmp_path)[0])


def test_the_graph_is_called_as_the_recipe(tmp_path: Path) -> None:
    data = load(DataRecipe(limit=300), 0)
    ctx = replace(context(tmp_path)[0], name="own-model")
    assert Quantize(count=10).run(FloatModel(plain_model(data), data), ctx).graph.name == "own-model"


def test_a_layer_that_overflows_is_named(tmp_path: Path) -> None:
    class Overflows(nn.Module):
        """Finite at its end, infinite within."""

        def __init__(self) -> None:
            super().__init__()
            self.wide, self.dense = nn.Linear(64, 8), nn.Linear(8, 10)

        def forward(self, x: Tensor) -> Tensor:
            return self.dense(nn.functional.relu6(self.wide(x.flatten(1) * 1e30)))

    data = load(DataRecipe(limit=300, mean=(0.0,)), 0)
    module = Overflows().eval()
    nn.init.constant_(module.wide.weight, 1e20)
    assert np.isfinite(predict(module, data, data.x_test)).all()
    with pytest.raises(GraphError) as e:
        Quantize(count=10).run(FloatModel(module, data), context(tmp_path)[0])
    assert str(e.value) == (
        "quantize: `wide` (Linear) gives NaN or infinity for calibration images, which has no int8 form. Check the "
        "weights, and that data.mean and data.std fit the raw values."
    )

"""Models: built-in and the user's own factories, checkpoints of every kind, and what is said when one does not fit."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data import models
from pipeline.data.checkpoint import load_checkpoint, save_weights
from pipeline.data.dataset import DataRecipe, Dataset
from pipeline.data.dataset import load as load_data
from pipeline.data.source import ModelRecipe, build, load
from pipeline.errors import RecipeError

NUMBER = itertools.count()
GOOD = """
from torch import nn

def build(input_shape, classes, width=4):
    c, h, w = input_shape
    return nn.Sequential(nn.Conv2d(c, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * (h - 2) * (w - 2), classes))
"""


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data(DataRecipe(), 0)


def module_file(folder: Path, text: str) -> str:
    """A module in `folder` under a name that no other test has imported."""
    name = f"user_model_{next(NUMBER)}"
    (folder / f"{name}.py").write_text(text)
    return name


@pytest.mark.parametrize(("name", "shape"), [("digits_cnn", (1, 8, 8)), ("resnet8", (3, 32, 32))])
def test_built_in_networks_give_logits(name: str, shape: tuple[int, int, int]) -> None:
    module = build(ModelRecipe(name), shape, 7).eval()
    assert module(torch.zeros(3, *shape)).shape == (3, 7)


def test_the_seed_makes_the_weights(digits: Dataset) -> None:
    first, same, other = (load(ModelRecipe(), digits, seed).module for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), same.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    assert not first.training


def test_a_users_factory_beside_the_recipe(digits: Dataset, tmp_path: Path) -> None:
    name = module_file(tmp_path, GOOD)
    source = load(ModelRecipe(f"{name}:build", arguments={"width": 8}), digits, 0, tmp_path)
    assert source.module.get_submodule("0").out_channels == 8
    assert source.checkpoint is None


def test_a_users_factory_in_a_package_of_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / f"package_{next(NUMBER)}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "networks.py").write_text(GOOD)
    monkeypatch.chdir(tmp_path)
    assert build(ModelRecipe(f"{package.name}.networks:build"), (1, 8, 8), 3, tmp_path / "elsewhere")


def test_unknown_built_in() -> None:
    with pytest.raises(RecipeError) as e:
        build(ModelRecipe("resnet_8"), (1, 8, 8), 10)
    assert str(e.value) == (
        f"model.factory = 'resnet_8' is not known. Did you mean 'resnet8'? Use one of {', '.join(models.names())}, or your "
        'own as "package.module:function".'
    )


BAD_FACTORIES = {
    "no function": (GOOD, "biuld", "has no function 'biuld'. Did you mean 'build'? It has: build."),
    "broken import": ("import not_a_package_at_all\n", "build", "needs 'not_a_package_at_all', which is not installed."),
    "syntax error": ("def build(:\n", "build", "failed: SyntaxError: invalid syntax"),
    "wrong arguments": ("def build(x):\n    return x\n", "build", "can not be called as function(input_shape, classes"),
    "raises": (
        "def build(s, c):\n    raise ValueError('odd size')\n",
        "build",
        "failed for input (1, 8, 8) (C, H, W) and 10",
    ),
    "no module": ("def build(s, c):\n    return 3\n", "build", "must return a torch.nn.Module, got int."),
}


@pytest.mark.parametrize("case", BAD_FACTORIES)
def test_bad_factories(case: str, tmp_path: Path) -> None:
    text, function, message = BAD_FACTORIES[case]
    name = module_file(tmp_path, text)
    with pytest.raises(RecipeError) as e:
        build(ModelRecipe(f"{name}:{function}"), (1, 8, 8), 10, tmp_path)
    assert f"'{name}:{function}'" in str(e.value)
    assert message in str(e.value)


def test_missing_module_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as e:
        build(ModelRecipe("nowhere.at_all:build"), (1, 8, 8), 10, tmp_path)
    assert str(e.value) == (
        f"model.factory 'nowhere.at_all:build': no module 'nowhere'; looked in {tmp_path.resolve()}, {Path.cwd()} and the "
        "installed packages."
    )


def test_unknown_argument_of_a_built_in() -> None:
    with pytest.raises(RecipeError, match=r"got an unexpected keyword argument 'widht'\. Its signature is"):
        build(ModelRecipe("digits_cnn", arguments={"widht": 3}), (1, 8, 8), 10)


BAD_MODELS = {
    "wrong input": ("nn.Sequential(nn.Flatten(), nn.Linear(5, 10))", "does not take the data's images, (1, 8, 8) (C, H, W)"),
    "wrong output": (
        "nn.Sequential(nn.Flatten(), nn.Linear(64, 11))",
        "gives (2, 11) for two images, but the data's 10 classes need logits of shape (2, 10).",
    ),
    "no tensor": ("nn.LSTM(8, 8)", "does not take the data's images"),
    "softmax": (
        "nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Softmax(1))",
        "ends in a softmax: training needs the logits.",
    ),
}


@pytest.mark.parametrize("case", BAD_MODELS)
def test_models_that_do_not_fit_their_data(case: str, digits: Dataset, tmp_path: Path) -> None:
    expression, message = BAD_MODELS[case]
    name = module_file(tmp_path, f"from torch import nn\ndef build(shape, classes):\n    return {expression}\n")
    with pytest.raises(RecipeError) as e:
        load(ModelRecipe(f"{name}:build"), digits, 0, tmp_path)
    assert message in str(e.value)


def trained() -> nn.Module:
    torch.manual_seed(3)
    module = build(ModelRecipe(), (1, 8, 8), 10)
    for p in module.buffers():
        p.copy_(torch.rand(p.shape) + 0.5) if p.is_floating_point() else None
    return module


def equal(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return all(torch.equal(ours[n], theirs[n]) for n in ours if "num_batches" not in n)


@pytest.mark.parametrize("kind", ["pt", "nested", "data_parallel", "npz"])
def test_checkpoints_restore_every_weight(kind: str, tmp_path: Path, digits: Dataset) -> None:
    module = trained()
    path = tmp_path / ("weights.npz" if kind == "npz" else "weights.pt")
    state = module.state_dict()
    if kind == "npz":
        save_weights(module, path)
    elif kind == "nested":
        torch.save({"epoch": 3, "state_dict": state}, path)
    else:
        torch.save({f"module.{n}" if kind == "data_parallel" else n: t for n, t in state.items()}, path)
    source = load(ModelRecipe(checkpoint=Path(path.name)), digits, 0, tmp_path)
    assert source.checkpoint == path
    assert equal(source.module, module)


def keras_arrays(module: nn.Module) -> dict[str, np.ndarray]:
    """The module's weights as Keras would lay them out and name them."""
    found: dict[str, np.ndarray] = {}
    numbers: dict[str, int] = {}

    def add(kind: str, **variables: np.ndarray) -> None:
        i = numbers.get(kind, 0)
        numbers[kind] = i + 1
        layer = kind if i == 0 else f"{kind}_{i}"
        found.update({f"{layer}.{n}": a for n, a in variables.items()})

    for m in module.modules():
        if isinstance(m, nn.Conv2d):
            w = m.weight.detach().numpy()
            if m.groups > 1:
                add("depthwise_conv2d", depthwise_kernel=w.transpose(2, 3, 0, 1))
            else:
                add("conv2d", kernel=w.transpose(2, 3, 1, 0))
        elif isinstance(m, nn.BatchNorm2d):
            add("batch_normalization", gamma=m.weight.detach().numpy(), beta=m.bias.detach().numpy(),
                moving_mean=m.running_mean.numpy(), moving_variance=m.running_var.numpy())  # fmt: skip
        elif isinstance(m, nn.Linear):
            add("dense", kernel=m.weight.detach().numpy().T, bias=m.bias.detach().numpy())
    return found


def test_keras_layout_is_matched_kind_by_kind(tmp_path: Path) -> None:
    module, fresh = trained(), build(ModelRecipe(), (1, 8, 8), 10)
    arrays = keras_arrays(module)
    np.savez(tmp_path / "keras.npz", **dict(reversed(arrays.items())))  # the file's own order means nothing
    load_checkpoint(fresh, tmp_path / "keras.npz")
    assert equal(fresh, module)


def test_keras_layers_that_do_not_match(tmp_path: Path) -> None:
    arrays = {n: a for n, a in keras_arrays(trained()).items() if not n.startswith("conv2d_2.")}
    np.savez(tmp_path / "keras.npz", **arrays)
    with pytest.raises(RecipeError, match="has 3 convolution layers in Keras layout, the model 4: they are not the same"):
        load_checkpoint(trained(), tmp_path / "keras.npz")
    np.savez(tmp_path / "odd.npz", **{"odd.kernel": np.zeros((2, 2, 2), np.float32)})
    with pytest.raises(RecipeError, match="layer 'odd' holds kernel, which is no known Keras layer"):
        load_checkpoint(trained(), tmp_path / "odd.npz")


def changed(**arrays: Any) -> dict[str, Any]:
    state = {n: t.numpy() for n, t in trained().state_dict().items()}
    state.update(arrays)
    return {n: a for n, a in state.items() if a is not None}


BAD_CHECKPOINTS: dict[str, tuple[dict[str, Any], str]] = {
    "missing": (
        changed(**{"dense.bias": None}),
        "lacks 'dense.bias'. 1 of the model's 27 arrays are missing, 0 of the file's are unknown to it.",
    ),
    "renamed": (
        changed(**{"dense.bias": None, "dense.bais": np.zeros(10)}),
        "lacks 'dense.bias'. Did you mean 'dense.bais'? 1 of the model's 27 arrays are missing, 1 of the file's are unknown",
    ),
    "unknown": (changed(extra=np.zeros(1)), "holds the unknown 'extra'. 0 of the model's 27 arrays are missing, 1 of the"),
    "shape": (
        changed(**{"dense.bias": np.zeros(11, np.float32)}),
        "'dense.bias' is (11,) but the model needs (10,); it was saved from a model of another size",
    ),
    "NaN": (changed(**{"dense.bias": np.full(10, np.nan, np.float32)}), "'dense.bias' holds NaN or infinity."),
}


@pytest.mark.parametrize("case", BAD_CHECKPOINTS)
def test_bad_checkpoints(case: str, tmp_path: Path) -> None:
    arrays, message = BAD_CHECKPOINTS[case]
    path = tmp_path / "weights.npz"
    np.savez(path, **arrays)
    with pytest.raises(RecipeError) as e:
        load_checkpoint(trained(), path)
    assert f"model.checkpoint {path}" in str(e.value)
    assert message in str(e.value)


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"no.pt does not exist."):
        load_checkpoint(trained(), tmp_path / "no.pt")
    with pytest.raises(RecipeError, match=r"model.h5 must be a .pt, .pth or .npz file."):
        load_checkpoint(trained(), tmp_path / "model.h5")
    torch.save(trained(), tmp_path / "whole.pt")
    with pytest.raises(RecipeError, match="whole pickled modules are refused, since loading one runs its code"):
        load_checkpoint(trained(), tmp_path / "whole.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(RecipeError, match=r"holds no state dict \(names to tensors\)"):
        load_checkpoint(trained(), tmp_path / "list.pt")
    for name in ("junk.pt", "junk.npz"):
        (tmp_path / name).write_bytes(b"not a checkpoint")
        with pytest.raises(RecipeError, match=f"{name} can not be read as"):
            load_checkpoint(trained(), tmp_path / name)


def test_resnet8_of_mlperf_tiny_keeps_its_accuracy(shared: Path) -> None:
    data = load_data(DataRecipe(str(shared / "data" / "cifar10.npz"), mean=(0.0,), std=(1.0,)), 0)
    weights = shared / "models" / "pretrained" / "mlperf_resnet8_float.npz"
    module = load(ModelRecipe("resnet8", weights), data, 0).module
    x = torch.from_numpy(data.normalization.apply(data.x_test).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        right = module(x).argmax(dim=1).numpy() == data.y_test
    assert right.sum() == 1720  # of 2,000: 86.0 %, as the Keras original

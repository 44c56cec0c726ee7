"""Models: built-in and the user's own factories, and what is said when one does not fit."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch

from pipeline.data import models
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
    "broken import": (
        "import not_a_package_at_all\n",
        "build",
        "needs 'not_a_package_at_all', which is not installed ({file}, line 1).",
    ),
    "fails at import": ("x = 1\nx / 0\n", "build", "failed: ZeroDivisionError: division by zero ({file}, line 2)."),
    "a script": (
        "import sys\nsys.exit('usage: train.py')\n",
        "build",
        "failed: SystemExit: usage: train.py ({file}, line 2).",
    ),
    "syntax error": ("def build(:\n", "build", "failed: SyntaxError: invalid syntax ({file}, line 1)."),
    "wrong arguments": ("def build(x):\n    return x\n", "build", "can not be called as function(input_shape, outputs"),
    "raises": (
        "def build(s, c):\n    raise ValueError('odd size')\n",
        "build",
        "failed for input (1, 8, 8) (C, H, W) and 10 outputs: ValueError: odd size ({file}, line 2).",
    ),
    "torch raises": (
        "from torch import nn\ndef build(s, c):\n    return nn.Conv2d(1, -1, 3)\n",
        "build",
        "({file}, line 3).",
    ),
    "a class without signature": (
        "build = dict\n",
        "build",
        "failed for input (1, 8, 8) (C, H, W) and 10 outputs: TypeError",
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
    assert message.format(file=tmp_path / f"{name}.py") in str(e.value)


def test_a_built_ins_failure_names_no_file_of_ours() -> None:
    with pytest.raises(RecipeError) as e:
        build(ModelRecipe("digits_cnn", arguments={"width": "wide"}), (1, 8, 8), 10)
    assert "model.factory 'digits_cnn' failed for input (1, 8, 8) (C, H, W) and 10 outputs: TypeError" in str(e.value)
    assert ".py" not in str(e.value)


def test_two_recipes_may_each_have_a_module_of_the_same_name(tmp_path: Path) -> None:
    name = f"user_model_{next(NUMBER)}"
    for width in (3, 5):
        folder = tmp_path / str(width)
        folder.mkdir()
        (folder / f"{name}.py").write_text(GOOD.replace("width=4", f"width={width}"))
        assert build(ModelRecipe(f"{name}:build"), (1, 8, 8), 3, folder).get_submodule("0").out_channels == width


def test_a_module_named_as_one_of_pythons_leaves_that_alone(tmp_path: Path) -> None:
    (tmp_path / "random.py").write_text(GOOD)
    with pytest.raises(RecipeError, match=r"random\.py has no function 'build'"):
        build(ModelRecipe("random:build"), (1, 8, 8), 3, tmp_path)
    import random

    assert random.random() < 1


def test_missing_module_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecipeError) as e:
        build(ModelRecipe("nowhere.at_all:build"), (1, 8, 8), 10, tmp_path)
    assert str(e.value) == (
        f"model.factory 'nowhere.at_all:build': no module 'nowhere'; looked in {tmp_path.resolve()}, {Path.cwd()} and the "
        "installed packages."
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RecipeError, match=f"looked in {tmp_path.resolve()} and the installed packages"):
        build(ModelRecipe("nowhere.at_all:build"), (1, 8, 8), 10, tmp_path)


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
    "NaN": (
        "nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.Threshold(1e9, float('nan')))",
        "gives NaN or infinity for the data's images. Check that data.mean and data.std fit the raw values.",
    ),
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


def test_a_forward_that_fails_is_told_with_its_line(digits: Dataset, tmp_path: Path) -> None:
    text = """
from torch import nn

class Net(nn.Module):
    def forward(self, x):
        return nn.functional.linear(x, x)[0].view(3)

def build(shape, classes):
    return Net()
"""
    name = module_file(tmp_path, text)
    with pytest.raises(RecipeError) as e:
        load(ModelRecipe(f"{name}:build"), digits, 0, tmp_path)
    assert str(e.value).startswith(
        f"model '{name}:build' does not take the data's images, (1, 8, 8) (C, H, W): RuntimeError: "
    )
    assert str(e.value).endswith(f" ({tmp_path / name}.py, line 6).")


NET = """
import sys
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.dense, self.norm, self.kept = nn.Linear(64, 10), nn.BatchNorm1d(10), 0

    def forward(self, x):
        y = torch.relu(self.dense(x.flatten(1)))
        {line}
        return self.norm(y)

def build(shape, classes):
    return {build}
"""
FAILS = "fails in training mode, with two of the data's images: "
IN_PLACE = "is later changed in place. Write x = x + 1, not x += 1 or x.add_(1), and no inplace=True."
FLATTENED = "nn.Flatten(), nn.Linear(64, 10)"
UNTRAINABLE = {
    "raises": ("if self.training: raise ValueError('boom')", "Net()", FAILS + "ValueError: boom ({file}, line 13)."),
    "ends the program": ("if self.training: sys.exit(0)", "Net()", FAILS + "SystemExit: 0 ({file}, line 13)."),
    "in place": ("y.add_(1)", "Net()", "can not be trained: a result ({file}, line 12) that its gradient needs " + IN_PLACE),
    "in place, in torch's layers": (
        "",
        f"nn.Sequential({FLATTENED}, nn.Sigmoid(), nn.ReLU(inplace=True))",
        "can not be trained: a result that its gradient needs " + IN_PLACE,
    ),
    "several outputs": (
        "if self.training: return y, y",
        "Net()",
        "gives tuple for two images in training mode, but the data's 10 classes need logits of shape (2, 10).",
    ),
    "no gradient": (
        "y = y.detach()",
        "nn.Sequential(Net(), nn.Dropout()).requires_grad_(False)",
        "can not be trained: no gradient leads from its outputs to a parameter. Look for torch.no_grad(), detach() and "
        "requires_grad = False.",
    ),
    "can not be copied": (
        "with torch.enable_grad(): self.kept = 2 * self.dense.bias",
        "Net()",
        FAILS + "RuntimeError: Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol",
    ),
}


@pytest.mark.parametrize("case", UNTRAINABLE)
def test_models_that_fail_in_training_only(case: str, digits: Dataset, tmp_path: Path) -> None:
    line, build_, message = UNTRAINABLE[case]
    name = module_file(tmp_path, NET.format(line=line or "pass", build=build_))
    with pytest.raises(RecipeError) as e:
        load(ModelRecipe(f"{name}:build"), digits, 0, tmp_path)
    assert str(e.value).startswith(f"model '{name}:build' " + message.format(file=tmp_path / f"{name}.py"))


def test_a_model_with_weights_need_not_be_trainable(digits: Dataset, tmp_path: Path) -> None:
    name = module_file(tmp_path, NET.format(line="if self.training: raise ValueError('for inference')", build="Net()"))
    module = build(ModelRecipe(f"{name}:build"), digits.input_shape, 10, tmp_path)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    loaded = load(ModelRecipe(f"{name}:build", checkpoint=Path("weights.pt")), digits, 0, tmp_path)
    assert loaded.checkpoint == tmp_path / "weights.pt"


def test_trying_leaves_weights_statistics_and_randomness_alone(digits: Dataset, tmp_path: Path) -> None:
    name = module_file(tmp_path, NET.format(line="y = nn.functional.dropout(y, 0.5, self.training)", build="Net()"))
    torch.manual_seed(0)
    untried = build(ModelRecipe(f"{name}:build"), digits.input_shape, 10, tmp_path)
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    module = load(ModelRecipe(f"{name}:build"), digits, 0, tmp_path).module
    assert torch.equal(torch.rand(3), expected)
    pairs = zip(module.state_dict().items(), untried.state_dict().values(), strict=True)
    assert [n for (n, a), b in pairs if not torch.equal(a, b)] == []
    assert module.state_dict()["norm.num_batches_tracked"] == 0
    assert all(p.grad is None for p in module.parameters())
    assert not torch.is_anomaly_enabled()

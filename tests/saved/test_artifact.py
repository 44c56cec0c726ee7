"""Artifacts to a folder and back: the same bits, and in words what is damaged, foreign, or made from something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stages.recording import context
from torch import nn

from pipeline.artifacts import FloatModel, QuantizedModel
from pipeline.data.dataset import DataRecipe, Dataset
from pipeline.data.dataset import load as load_data
from pipeline.data.source import ModelRecipe, Source
from pipeline.data.source import load as load_source
from pipeline.errors import RecipeError
from pipeline.firmware.linux import write_linux
from pipeline.preprocess import to_int8
from pipeline.saved.artifact import load, save
from pipeline.saved.index import FORMAT, INDEX, MadeWith, NotSavedError, file_sha256
from pipeline.stages.prune import Prune
from pipeline.stages.quantize import Quantize
from pipeline.target import load as load_target
from pipeline.training.fit import batch_of

MADE_WITH = MadeWith(3, {}, {"train": {}})


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data(DataRecipe(limit=200), seed=1)


class Skip(nn.Module):
    """Two branches that are added, batch norms, PReLU, a weight that two layers share, and a buffer no state dict has."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, 12, 3, padding=1), nn.BatchNorm2d(12), nn.PReLU(12))
        self.left, self.right = nn.Conv2d(12, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        self.right.bias = self.left.bias
        self.norm = nn.BatchNorm2d(12)
        self.depthwise = nn.Conv2d(12, 12, 3, groups=12, stride=(2, 2))
        self.head = nn.Linear(12 * 9, 10)
        self.register_buffer("gain", torch.tensor(0.7), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.relu(self.norm(self.left(x) + self.right(x)) * self.gain)
        return self.head(self.depthwise(x).flatten(1))  # type: ignore[no-any-return]


def source_of(net: str, data: Dataset, seed: int = 3) -> Source:
    if net == "skip":
        torch.manual_seed(seed)
        return Source(_statistics(Skip(), data), data)
    source = load_source(ModelRecipe(net), data, seed)
    return replace(source, module=_statistics(source.module, data))


def _statistics(module: nn.Module, data: Dataset) -> nn.Module:
    """Batch norms that have seen something, in eval mode."""
    module.train()
    with torch.no_grad():
        module(batch_of(data, data.x_train[:32]))
    return module.eval()


def pruned(source: Source, keep: float, folder: Path) -> FloatModel:
    stage = Prune(keep=keep, epochs=0, steps=1, criterion="magnitude", round_to=1, min_channels=2)
    return stage.run(FloatModel(source.module, source.data), context(folder)[0])


def fresh(source: Source, net: str) -> Source:
    """The source as another process makes it: other weights, as if its factory were called anew."""
    return source_of(net, source.data, seed=99)


def bits(module: nn.Module, data: Dataset) -> bytes:
    with torch.no_grad():
        return module(batch_of(data, data.x_test[:40])).numpy().tobytes()  # type: ignore[no-any-return]


@pytest.mark.parametrize("keep", [1.0, 0.8, 0.7])
@pytest.mark.parametrize("net", ["skip", "digits_cnn", "resnet8", "ds_cnn"])
def test_float_models_come_back_bit_for_bit(net: str, keep: float, digits: Dataset, tmp_path: Path) -> None:
    source = source_of(net, digits)
    made = pruned(source, keep, tmp_path)
    save(made, tmp_path / "prune", "prune", source, MADE_WITH)
    read = load(tmp_path / "prune", fresh(source, net))
    assert (read.stage, read.target) == ("prune", None)
    back = read.artifact
    assert back.data is digits
    assert bits(back.module, digits) == bits(made.module, digits)
    assert bits(back.teacher, digits) == bits(source.module, digits)
    if keep < 1:
        assert sum(p.numel() for p in back.module.parameters()) < sum(p.numel() for p in back.teacher.parameters())
    assert repr(back.module) == repr(made.module)
    assert {n: t.shape for n, t in back.module.state_dict().items()} == {
        n: t.shape for n, t in made.module.state_dict().items()
    }
    if net == "skip":
        assert back.module.right.bias is back.module.left.bias
    again = pruned(replace(source, module=back.module), keep, tmp_path)  # what comes back is cut as what was saved
    assert bits(again.module, digits) == bits(pruned(replace(source, module=made.module), keep, tmp_path).module, digits)


@pytest.fixture(scope="module")
def int8(digits: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, QuantizedModel]:
    source = source_of("skip", digits)
    folder = tmp_path_factory.mktemp("int8")
    model = pruned(source, 0.6, folder)
    return source, Quantize(count=50).run(model, context(folder)[0])


def test_int8_models_come_back_bit_for_bit(int8: tuple[Source, QuantizedModel], tmp_path: Path) -> None:
    source, model = int8
    save(model, tmp_path / "quantize", "quantize", source, MADE_WITH)
    back = load(tmp_path / "quantize", fresh(source, "skip")).artifact
    assert back.graph.sha256() == model.graph.sha256()
    assert back.graph.name == model.graph.name
    assert list(back.graph.tensors) == list(model.graph.tensors)
    assert model.preprocess is not None
    assert back.preprocess.dtype == model.preprocess.dtype
    assert back.preprocess.tables.tobytes() == model.preprocess.tables.tobytes()
    assert bits(back.float_module, source.data) == bits(model.float_module, source.data)  # type: ignore[arg-type]
    x = to_int8(source.data.x_test[:20], model.graph["x"], source.data.normalization, model.preprocess)
    assert back.graph.run(x)[0].tobytes() == model.graph.run(x)[0].tobytes()


def test_a_linux_package_comes_back_whole(int8: tuple[Source, QuantizedModel], tmp_path: Path) -> None:
    source, model = int8
    written = write_linux(model, load_target("raspberry-pi-4"), tmp_path / "firmware", float_module=model.float_module)
    save(written, tmp_path / "codegen", "codegen", source, MADE_WITH)
    cached = tmp_path / "firmware" / "runner" / "__pycache__"  # of a runner that was used by hand
    cached.mkdir()
    (cached / "engines.cpython-311.pyc").write_bytes(bytes(100))
    read = load(tmp_path / "codegen", fresh(source, "skip"))
    assert read.target == "raspberry-pi-4"
    for name in ("folder", "flash_bytes", "sha256", "model_id", "agreement"):
        assert getattr(read.artifact, name) == getattr(written, name), name
    assert read.artifact.raw.preprocess.tables.tobytes() == written.raw.preprocess.tables.tobytes()  # type: ignore[union-attr]
    for other in ("", ".", "..", "../firmware"):
        save(written, tmp_path / "codegen", "codegen", source, MADE_WITH)
        changed(tmp_path / "codegen", lambda t, other=other: t["package"].update(folder=other))  # type: ignore[misc]
        with pytest.raises(RecipeError, match="names no package beside its folder"):
            load(tmp_path / "codegen", source)
    save(written, tmp_path / "codegen", "codegen", source, MADE_WITH)
    (tmp_path / "firmware" / "model.onnx").write_bytes(b"")
    with pytest.raises(RecipeError, match=r"model\.onnx was changed after the firmware was proven"):
        load(tmp_path / "codegen", source)
    (tmp_path / "firmware" / "manifest.json").open("a").write("\n")
    with pytest.raises(RecipeError, match=r"firmware is not the package that .*codegen was saved with"):
        load(tmp_path / "codegen", source)


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / INDEX
    table = json.loads(path.read_text())
    change(table)
    path.write_text(json.dumps(table))


def to(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    return lambda folder: changed(folder, change)


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no folder": (lambda f: f.rename(f.with_name("gone")), r"holds no saved artifact: it does not exist\. Give"),
    "no index": (lambda f: (f / INDEX).unlink(), r"holds no saved artifact: it has no artifact\.json"),
    "a run's folder": (
        lambda f: (f.rename(f.with_name("x")), f.mkdir(), f.with_name("x").rename(f / "train")),
        r"it has no artifact\.json, but those of train in it have one\. Give a folder",
    ),
    "foreign": (lambda f: (f / INDEX).write_text('{"a": 1}'), r"another program's: it names no `format`"),
    "no JSON": (lambda f: (f / INDEX).write_text("{"), r"artifact\.json is damaged"),
    "deep JSON": (lambda f: (f / INDEX).write_text("[" * 10**5), r"artifact\.json is damaged"),
    "no number": (lambda f: (f / INDEX).write_text('{"format": NaN}'), r"damaged \(NaN is no number"),
    "older": (to(lambda t: t.update(format=FORMAT - 1, version="0.0.9")), r"by version 0\.0\.9 .* run it again"),
    "unknown key": (to(lambda t: t.update(code="x")), r"artifact\.json: code: unknown key"),
    "wrong type": (to(lambda t: t.update(files=3)), r"files must be a table"),
    "unknown kind": (to(lambda t: t.update(kind="pickle")), r"kind = 'pickle' is not known"),
    "flipped bit": (lambda f: (f / "module.npz").write_bytes(b"PK"), r"module\.npz was changed after it was saved"),
    "file gone": (lambda f: (f / "teacher.npz").unlink(), r"teacher\.npz does not exist; it is part of"),
    "path": (to(lambda t: t["files"].update({"../x": "0"})), r"outside its folder; it is not to be trusted"),
    "not listed": (to(lambda t: t["files"].pop("module.npz")), r"does not list 'module\.npz'; it is damaged"),
    "other data": (to(lambda t: t["data"].update(sha256="0" * 64)), r"made from 'digits' with sha256 0000"),
    "other input": (to(lambda t: t["data"].update(shape=[3, 32, 32])), r"inputs of 3x32x32 .* has 1x8x8"),
    "other layer": (
        to(lambda t: t["modules"]["module"]["head"].update({"class": "torch.nn.Conv2d"})),
        r"another model than the recipe's: 'head' is a torch\.nn\.Conv2d, the factory's a .*linear\.Linear",
    ),
    "other code": (
        to(lambda t: t["modules"]["module"][""].update({"code": "0"})),
        r"the code of .*Skip is another by now",
    ),
    "odd layer": (to(lambda t: t["modules"]["module"].update(head=3)), r"describes no layers; it is damaged"),
    "odd attributes": (
        to(lambda t: t["modules"]["module"]["head"].update(attributes=5)), r"describes no layers; it is damaged",
    ),
    "attributes without values": (
        to(lambda t: t["modules"]["module"]["head"].update(attributes=[*t["modules"]["module"]["head"]["attributes"]])),
        r"describes no layers; it is damaged",
    ),
    "odd channels": (
        to(lambda t: t["modules"]["module"]["depthwise"]["attributes"].update(groups="x")),
        r"the model in .* does not take the data's images",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGE)
def test_what_is_wrong_is_refused_in_words(case: str, digits: Dataset, tmp_path: Path) -> None:
    source = source_of("skip", digits)
    save(FloatModel(source.module, digits, source.module), tmp_path / "prune", "prune", source, MADE_WITH)
    load(tmp_path / "prune", source)
    damage, message = DAMAGE[case]
    damage(tmp_path / "prune")
    with pytest.raises(RecipeError, match=message):
        load(tmp_path / "prune", source)


@pytest.mark.parametrize("seed", range(40))
def test_no_damage_ends_in_anything_but_words(seed: int, int8: tuple[Source, QuantizedModel], tmp_path: Path) -> None:
    """Bytes of any file changed, its sha256 made to fit: what loads is a graph that passes its checks."""
    source, model = int8
    folder = tmp_path / "quantize"
    save(model, folder, "quantize", source, MADE_WITH)
    rng = np.random.default_rng(seed)
    path = sorted(folder.iterdir())[seed % len(list(folder.iterdir()))]
    data = bytearray(path.read_bytes())
    for at in rng.integers(0, len(data), 3):
        data[at] = rng.integers(0, 256)
    path.write_bytes(bytes(data))
    if path.name != INDEX:
        changed(folder, lambda t: t["files"].update({path.name: file_sha256(path)}))
    said = ""
    try:
        load(folder, source)
    except RecipeError as e:
        said = str(e)
    assert not said or str(folder) in said


def test_a_model_of_other_layers_is_not_saved(digits: Dataset, tmp_path: Path) -> None:
    source = source_of("skip", digits)
    other = FloatModel(nn.Sequential(source.module, nn.ReLU()), digits)
    with pytest.raises(NotSavedError, match=r"no longer made of the layers that its factory gives: "):
        save(other, tmp_path / "x", "x", source, MADE_WITH)
    with pytest.raises(NotSavedError, match="a int has no saved form"):
        save(3, tmp_path / "x", "x", source, MADE_WITH)
    assert not (tmp_path / "x" / INDEX).exists()

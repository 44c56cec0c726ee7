"""Checkpoints of every kind, and what is said about files that are none or fit another model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data import checkpoint
from pipeline.data.checkpoint import load_checkpoint, save_weights
from pipeline.data.dataset import DataRecipe, Dataset
from pipeline.data.dataset import load as load_data
from pipeline.data.source import ModelRecipe, build, load
from pipeline.errors import RecipeError


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data(DataRecipe(), 0)


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
    "NaN": (
        changed(**{"dense.bias": np.full(10, np.nan, np.float32)}),
        "'dense.bias' holds NaN, infinity or a value beyond float32.",
    ),
    "beyond float32": (changed(**{"dense.bias": np.full(10, 1e300)}), "'dense.bias' holds NaN, infinity or a value beyond"),
    "text": (changed(**{"dense.bias": np.full(10, "1.0")}), "'dense.bias' is <U3; weights are real numbers."),
    "complex": (changed(**{"dense.bias": np.ones(10, complex)}), "'dense.bias' is complex128; weights are real numbers."),
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
    with pytest.raises(RecipeError) as e:
        load_checkpoint(trained(), tmp_path / "whole.pt")
    assert str(e.value) == (
        f"model.checkpoint {tmp_path / 'whole.pt'} holds more than weights (a whole model, or objects of the script that "
        "saved it), and loading those would run code from the file. "
        "Save the weights alone: torch.save(model.state_dict(), path)."
    )
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(RecipeError, match=r"holds no state dict \(names to dense tensors\)"):
        load_checkpoint(trained(), tmp_path / "list.pt")
    for name in ("junk.pt", "junk.npz"):
        (tmp_path / name).write_bytes(b"not a checkpoint")
        with pytest.raises(RecipeError, match=f"{name} can not be read as"):
            load_checkpoint(trained(), tmp_path / name)


def test_a_checkpoint_npz_is_told_what_a_checkpoint_needs(tmp_path: Path) -> None:
    path = tmp_path / "weights.npz"
    path.write_bytes(b"PK not a checkpoint")
    with pytest.raises(RecipeError) as e:
        load_checkpoint(trained(), path)
    assert str(e.value) == (
        f"model.checkpoint {path} can not be read as an .npz file of plain arrays (File is not a zip file). Give a state "
        "dict: numpy.savez(path, **{n: t.numpy() for n, t in model.state_dict().items()})."
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_other_precisions_are_taken(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.save(
        {n: t.to(dtype) if t.is_floating_point() else t for n, t in trained().state_dict().items()}, tmp_path / "w.pt"
    )
    module = build(ModelRecipe(), (1, 8, 8), 10)
    load_checkpoint(module, tmp_path / "w.pt")
    assert torch.allclose(module.get_parameter("dense.weight"), trained().get_parameter("dense.weight"), atol=1e-2)


def test_weights_of_the_other_byte_order_are_taken(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **{n: a.astype(a.dtype.newbyteorder(">")) for n, a in changed().items()})
    module = build(ModelRecipe(), (1, 8, 8), 10)
    load_checkpoint(module, tmp_path / "w.npz")
    assert equal(module, trained())


NO_STATE_DICTS: dict[str, tuple[Any, str]] = {
    "sparse": ({"dense.bias": torch.ones(10).to_sparse()}, "holds no state dict (names to dense tensors)."),
    "no names": ({0: torch.ones(10)}, "holds no state dict (names to dense tensors)."),
    "view of one value": (
        {"dense.bias": torch.ones(1).expand(10**12)},
        "holds 4,000,000,000,000 bytes of weights, more than the 1,073,741,824 that are loaded at most.",
    ),
}


@pytest.mark.parametrize("case", NO_STATE_DICTS)
def test_torch_files_that_are_no_state_dicts(case: str, tmp_path: Path) -> None:
    content, message = NO_STATE_DICTS[case]
    torch.save(content, tmp_path / "odd.pt")
    with pytest.raises(RecipeError) as e:
        load_checkpoint(trained(), tmp_path / "odd.pt")
    assert f"model.checkpoint {tmp_path / 'odd.pt'} {message}" in str(e.value)


@pytest.mark.parametrize("name", ["big.pt", "big.npz"])
def test_checkpoints_that_unpack_to_too_much(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "MAX_BYTES", 1000)
    np.savez_compressed(tmp_path / "big.npz", a=np.zeros(10**6, np.uint8))
    (tmp_path / "big.npz").rename(tmp_path / name)
    with pytest.raises(RecipeError, match=r"holds 1,000,128 bytes of arrays, more than the 1,000 that are loaded at most"):
        load_checkpoint(trained(), tmp_path / name)


def test_damaged_torch_files_end_with_a_message(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    rng = np.random.default_rng(2)
    contents = []
    for zipped in (True, False):
        torch.save(nn.Linear(3, 3).state_dict(), path, _use_new_zipfile_serialization=zipped)
        contents.append(path.read_bytes())
    for content in contents:
        for _ in range(150):
            broken = bytearray(content)
            for position in rng.integers(0, min(len(broken), 1000), 5):
                broken[position] = rng.integers(0, 256)
            path.write_bytes(broken)
            with pytest.raises(RecipeError) as e:  # undamaged, it would still be another model's
                load_checkpoint(trained(), path)
            assert "weights_only" not in str(e.value)


def test_a_keras_layer_with_an_endless_number_is_one_more_layer(tmp_path: Path) -> None:
    name = f"conv2d_{'9' * 5000}"  # more digits than Python converts
    np.savez(tmp_path / "keras.npz", **keras_arrays(trained()), **{f"{name}.kernel": np.zeros((3, 3, 1, 1), np.float32)})
    with pytest.raises(RecipeError, match="has 5 convolution layers in Keras layout, the model 4: they are not the same"):
        load_checkpoint(trained(), tmp_path / "keras.npz")


BAD_KERAS = {
    "depthwise kernel": {"a.depthwise_kernel": np.zeros((3, 3), np.float32)},
    "batch norm with a kernel": {"a.gamma": np.zeros(3, np.float32), "a.kernel": np.zeros((3, 3), np.float32)},
}


@pytest.mark.parametrize("case", BAD_KERAS)
def test_odd_keras_layers_are_refused(case: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "keras.npz", **BAD_KERAS[case])
    with pytest.raises(RecipeError, match=r"layer 'a' holds .*, which is no known Keras layer"):
        load_checkpoint(trained(), tmp_path / "keras.npz")


@pytest.mark.unmeasured
def test_resnet8_of_mlperf_tiny_keeps_its_accuracy(shared: Path) -> None:
    data = load_data(DataRecipe(str(shared / "data" / "cifar10.npz"), mean=(0.0,), std=(1.0,)), 0)
    weights = shared / "models" / "pretrained" / "mlperf_resnet8_float.npz"
    module = load(ModelRecipe("resnet8", weights), data, 0).module
    x = torch.from_numpy(data.normalization.apply(data.x_test).transpose(0, 3, 1, 2).copy())
    with torch.no_grad():
        right = module(x).argmax(dim=1).numpy() == data.y_test
    assert right.sum() == 1720  # of 2,000: 86.0 %, as the Keras original

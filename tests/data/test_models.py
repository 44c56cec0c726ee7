"""The built-in networks are the ones they are named after, have an int8 form, and take the published weights."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from pipeline.data import models
from pipeline.data.checkpoint import load_checkpoint
from pipeline.data.dataset import DataRecipe, Dataset, load
from pipeline.importers.torch.importer import check_supported
from pipeline.preprocess import Normalization
from pipeline.training.cost import cost
from pipeline.training.fit import predict

NETWORKS: dict[str, tuple[tuple[int, int, int], int, int]] = {  # input, classes, MACs
    "digits_cnn": ((1, 8, 8), 10, 789_760),
    "resnet8": ((3, 32, 32), 10, 12_501_632),
    "ds_cnn": ((1, 49, 10), 12, 2_656_768),
    "mobilenet_v1_025": ((3, 96, 96), 2, 7_489_664),
    "fc_autoencoder": ((640, 1, 1), 0, 264_192),
    "mlp": ((10, 1, 1), 1, 1_376),
}


def made(name: str) -> nn.Module:
    build = models.find(name)
    assert build is not None
    shape, classes, _ = NETWORKS[name]
    return build(shape, classes).eval()


def test_every_network_is_listed_here() -> None:
    assert set(models.names()) == set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_size_and_output(name: str) -> None:
    shape, classes, macs = NETWORKS[name]
    module = made(name)
    assert cost(module, shape).macs == macs
    assert module(torch.zeros(2, *shape)).shape == (2, classes or 640)


@pytest.mark.unmeasured
@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_has_an_int8_form(name: str) -> None:
    check_supported(made(name), torch.randn(2, *NETWORKS[name][0]))


def test_the_autoencoder_can_classify() -> None:
    build = models.find("fc_autoencoder")
    assert build is not None
    assert build((1, 8, 8), 10).eval()(torch.zeros(2, 1, 8, 8)).shape == (2, 10)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "groups"), [(9, 3, 2, 1), (8, 3, 2, 4), (7, 1, 2, 1), (10, 4, 2, 1), (5, 2, 1, 1)]
)
def test_same_padding_is_tensorflows(size: int, kernel: int, stride: int, groups: int) -> None:
    """Output ceil(size / stride); the window of output i starts at i * stride - total // 2."""
    from pipeline.data.models._layers import Conv2dSame

    torch.manual_seed(0)
    conv = Conv2dSame(4, 4, kernel, stride, groups=groups, bias=False)
    x = torch.randn(1, 4, size, size)
    out = -(-size // stride)
    total = max((out - 1) * stride + kernel - size, 0)
    before = total // 2
    wide = torch.zeros(1, 4, size + total, size + total)
    wide[:, :, before : before + size, before : before + size] = x
    expected = nn.functional.conv2d(wide, conv.weight, None, stride, 0, 1, groups)
    assert expected.shape[2:] == (out, out)
    assert torch.allclose(conv(x), expected, atol=1e-6)


def test_ds_cnn_takes_mlperf_tinys_weights(shared: Path) -> None:
    kws = np.load(shared / "data" / "kws01.npz")
    module = made("ds_cnn")
    load_checkpoint(module, shared / "models" / "pretrained" / "mlperf_kws_dscnn_float.npz")
    digits = load(DataRecipe(limit=100), 0)
    normalization = Normalization((83.0,), (1 / 0.5847029,))  # the int8 input of MLPerf's own file
    data: Dataset = replace(digits, normalization=normalization)
    right = predict(module, data, kws["x"]).argmax(axis=1) == kws["y"]
    assert right.sum() == 913  # of 1,000; the int8 file gets 901
    assert Counter(kws["y"].tolist()).most_common(1)[0][1] < 200

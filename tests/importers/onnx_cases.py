"""Small torch networks as ONNX files: exported, and quantised by onnxruntime's own quantize_static."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quant_pre_process, quantize_static
from torch import Tensor, nn

from pipeline.importers.onnx.nodes import NODES
from pipeline.ir import Array


@dataclass(frozen=True)
class Net:
    """`build` makes the module; `inputs` are the shapes of its inputs with batch 1. `lsb`: how far from onnxruntime, in
    steps of the output's scale, results may be; `moves`: how many transpositions the network itself asks for."""

    build: Callable[[], nn.Module]
    inputs: tuple[tuple[int, ...], ...]
    lsb: int = 2
    moves: int = 0


class Fn(nn.Module):
    """A forward function over named layers."""

    def __init__(self, forward: Callable[..., Any], **layers: nn.Module) -> None:
        super().__init__()
        self.function = forward
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, *x: Tensor) -> Any:
        return self.function(self, *x)


def _conv(*arguments: int, **more: Any) -> nn.Module:
    return nn.Conv2d(*arguments, **more)


def _excited(s: Any, x: Tensor) -> Tensor:
    y = F.hardswish(s.c(x))
    return y * F.hardsigmoid(s.b(F.relu(s.a(F.adaptive_avg_pool2d(y, 1)))))


def _pieces(s: Any, x: Tensor) -> Tensor:
    a, b, c = torch.split(s.c(x), [2, 2, 4], dim=1)
    y = torch.cat([b, torch.maximum(a, b), c], dim=1)
    return F.pad(y[:, :, 1:, ::2], (1, 0, 0, 2))


def _shuffled(s: Any, x: Tensor) -> Tensor:
    y = s.c(x)
    return y.reshape(1, 2, 4, 6, 6).permute(0, 2, 1, 3, 4).reshape(1, 8, 6, 6)


NETS: dict[str, Net] = {
    "plain": Net(
        lambda: nn.Sequential(
            _conv(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
            _conv(8, 8, 3, stride=2, padding=1, groups=8), nn.ReLU6(), _conv(8, 12, 1), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(12 * 4 * 4, 10), nn.Softmax(1),
        ), ((1, 3, 16, 16),),
    ),
    "residual": Net(
        lambda: Fn(lambda s, x: s.d(F.adaptive_avg_pool2d(F.relu(x + s.b(F.relu(s.a(x)))), 1).flatten(1)),
                   a=_conv(8, 8, 3, padding=1), b=_conv(8, 8, 3, padding=1), d=nn.Linear(8, 5)),
        ((1, 8, 9, 7),),
    ),
    "dense": Net(lambda: nn.Sequential(nn.Linear(40, 32), nn.ReLU(), nn.Linear(32, 6)), ((1, 40),)),
    "grouped_dilated": Net(
        lambda: nn.Sequential(_conv(8, 12, 3, groups=4, padding=2, dilation=2), nn.Tanh(), nn.AvgPool2d(3, 2, 1)),
        ((1, 8, 10, 10),),
    ),
    "one_dimensional": Net(
        lambda: nn.Sequential(nn.Conv1d(6, 8, 5, stride=2, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Conv1d(8, 4, 3)),
        ((1, 6, 32),),
    ),
    "transposed": Net(
        lambda: nn.Sequential(nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1), nn.ReLU(), _conv(6, 3, 1)),
        ((1, 4, 7, 7),),
    ),
    "squeeze_excite": Net(lambda: Fn(_excited, c=_conv(4, 8, 3), a=_conv(8, 4, 1), b=_conv(4, 8, 1)), ((1, 4, 8, 8),)),
    "activations": Net(
        lambda: Fn(lambda s, x: F.elu(F.gelu(s.p(F.leaky_relu(s.c(x), 0.2)))) - torch.clamp(x, -0.5, 0.7),
                   c=_conv(4, 4, 1), p=nn.PReLU(4)), ((1, 4, 6, 6),), lsb=3,
    ),
    "pieces": Net(lambda: Fn(_pieces, c=_conv(3, 8, 1)), ((1, 3, 9, 8),)),
    "upsampled": Net(lambda: nn.Sequential(_conv(3, 4, 3), nn.Upsample(scale_factor=2), _conv(4, 2, 3)), ((1, 3, 8, 8),)),
    "arithmetic": Net(
        lambda: Fn(lambda s, x: s.c(x) * 0.5 + 1.25 - torch.minimum(x, s.c(x)), c=_conv(4, 4, 1)), ((1, 4, 5, 5),)
    ),
    "means": Net(
        lambda: Fn(lambda s, x: s.d(s.c(x).mean(dim=(2, 3))), c=_conv(3, 8, 3), d=nn.Linear(8, 4)), ((1, 3, 8, 8),)
    ),
    "two_inputs": Net(
        lambda: Fn(lambda s, x, v: (s.d(torch.cat([s.c(x).flatten(1), v], 1)), s.c(x)),
                   c=_conv(2, 3, 3), d=nn.Linear(53, 4)),
        ((1, 2, 6, 6), (1, 5)), moves=1,
    ),
    "pixel_shuffle": Net(lambda: nn.Sequential(_conv(3, 8, 3, padding=1), nn.PixelShuffle(2)), ((1, 3, 6, 6),), moves=2),
    "channel_shuffle": Net(lambda: Fn(_shuffled, c=_conv(8, 8, 1)), ((1, 8, 6, 6),), moves=1),
    "channels_last_itself": Net(
        lambda: Fn(lambda s, x: s.c(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1), c=_conv(3, 4, 3)), ((1, 8, 8, 3),),
    ),
    "picked": Net(
        lambda: Fn(lambda s, x: torch.flip(s.c(x)[:, :, 2].unsqueeze(3), [1]) + s.c(x)[:, 1:2, 3:4, :].transpose(2, 3),
                   c=_conv(3, 6, 3)),
        ((1, 3, 9, 9),),
    ),
    "pools": Net(
        lambda: Fn(lambda s, x: F.adaptive_max_pool2d(F.avg_pool2d(F.max_pool2d(s.c(x), 3, 2, 1, ceil_mode=True), 3, 1, 1,
                   count_include_pad=False), 1), c=_conv(3, 4, 3)), ((1, 3, 12, 11),),
    ),
    "means_kept": Net(
        lambda: Fn(lambda s, x: s.c(x).mean(dim=1, keepdim=True) * s.c(x).mean(dim=(2, 3), keepdim=True), c=_conv(3, 5, 1)),
        ((1, 3, 6, 5),), lsb=3,
    ),
    "padded": Net(lambda: Fn(lambda s, x: F.pad(s.c(x), (1, 2, 0, 1), value=0.7), c=_conv(2, 4, 1)), ((1, 2, 5, 5),)),
    "sequence": Net(lambda: Fn(lambda s, x: F.relu(s.a(x)) + s.b(x), a=nn.Linear(8, 6), b=nn.Linear(8, 6)), ((1, 5, 8),)),
    "sigmoid_gate": Net(lambda: Fn(lambda s, x: torch.sigmoid(s.c(x)) * x, c=_conv(4, 4, 3, padding=1)), ((1, 4, 7, 7),)),
}  # fmt: skip


def inputs_for(net: Net, n: int, seed: int) -> list[Array]:
    """(n, *shape) float32 of each input."""
    rng = np.random.default_rng(seed)
    return [rng.normal(0.1, 1, (n, *shape[1:])).astype(np.float32) for shape in net.inputs]


def export(net: Net, path: Path) -> Path:
    """The float model as torch's exporter writes it."""
    torch.manual_seed(3)
    module = net.build().eval()
    names = [f"x{i}" for i in range(len(net.inputs))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        example = tuple(torch.randn(shape) for shape in net.inputs)
        torch.onnx.export(module, example, str(path), dynamo=False, opset_version=17, input_names=names)
    return path


class _Reader(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, net: Net) -> None:
        data = inputs_for(net, 32, seed=1)
        self.feeds = iter([{f"x{i}": x[k : k + 1] for i, x in enumerate(data)} for k in range(32)])

    def get_next(self) -> Any:
        return next(self.feeds, None)


def quantized(net: Net, folder: Path, **more: Any) -> Path:
    """The QDQ model that onnxruntime makes of it."""
    prepared = folder / "prepared.onnx"
    quant_pre_process(str(export(net, folder / "float.onnx")), str(prepared), skip_symbolic_shape=True)
    return quantize_file(prepared, net, folder, **more)


def quantize_file(
    model: Path, net: Net, folder: Path, *, activations: Any = QuantType.QInt8, per_channel: bool = True, **more: Any
) -> Path:
    """The same of a float model that is already a file, as it is."""
    path = folder / "int8.onnx"
    arguments: dict[str, Any] = {
        "quant_format": QuantFormat.QDQ, "activation_type": activations, "weight_type": QuantType.QInt8,
        "per_channel": per_channel, "op_types_to_quantize": sorted(NODES),
    }  # fmt: skip
    quantize_static(str(model), str(path), _Reader(net), **{**arguments, **more})
    return path

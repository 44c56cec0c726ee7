"""Small torch networks, one per operator or turn of layout, as rows: input shape and forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGE = (4, 6, 8)
SIGNAL = (4, 12)


@dataclass(frozen=True)
class Case:
    """`lsb`: how far the Graph may be from torch's own quantised arithmetic, in steps of the output. TFLM's fixed-point
    functions (sigmoid, tanh, hard swish, softmax) and two roundings after another account for what is above 1."""

    module: Callable[[], nn.Module]
    shape: tuple[int, ...] = IMAGE
    lsb: int = 1
    ops: tuple[str, ...] | None = None  # the Graph's operators, where that matters


class Of(nn.Module):
    """A function of x and of parameters `self.a` (4 values) and `self.b` (one image), and of layers made here."""

    def __init__(self, f: Callable[[Of, Tensor], Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.f = f
        self.a, self.b = nn.Parameter(torch.tensor([0.5, -1.0, 2.0, 0.25])), nn.Parameter(torch.randn(1, *IMAGE))
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(self, x)


def of(f: Callable[[Of, Tensor], Tensor], shape: tuple[int, ...] = IMAGE, lsb: int = 1, ops: tuple[str, ...] | None = None,
       **layers: nn.Module) -> Case:  # fmt: skip
    return Case(lambda: Of(f, **layers), shape, lsb, ops)


def layer(
    make: Callable[[], nn.Module], shape: tuple[int, ...] = IMAGE, lsb: int = 1, ops: tuple[str, ...] | None = None
) -> Case:
    return Case(make, shape, lsb, ops)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.norm(self.conv(x))
        return F.relu_(x)


class SqueezeExcite(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.squeeze, self.excite = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        s = F.adaptive_avg_pool2d(x, 1)
        return x * torch.sigmoid(self.excite(F.silu(self.squeeze(s))))


class Shared(nn.Module):
    """One convolution, two batch norms: folding must not touch the other's weights."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.one, self.two = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(self.conv(x)) + self.two(self.conv(x))


class ReadTwice(nn.Module):
    """A convolution that a batch norm is not alone to read."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.norm(y) + y


def sequence(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*layers)


torch.manual_seed(0)  # for the layers in rows, which are made here

CASES: dict[str, Case] = {
    # layers
    "conv": layer(lambda: nn.Conv2d(4, 5, 3), ops=("conv2d",)),
    "conv_stride_pad_dilation": layer(lambda: nn.Conv2d(4, 5, (3, 2), (2, 1), (1, 2), (1, 2)), ops=("conv2d",)),
    "conv_same": layer(lambda: nn.Conv2d(4, 5, (2, 4), padding="same")),
    "conv_valid": layer(lambda: nn.Conv2d(4, 5, 2, padding="valid")),
    "conv_groups": layer(lambda: nn.Conv2d(4, 6, 3, groups=2), ops=("conv2d",)),
    "conv_no_bias": layer(lambda: nn.Conv2d(4, 5, 3, bias=False)),
    "conv_one_channel": layer(lambda: nn.Conv2d(1, 5, 3), (1, 6, 8), ops=("conv2d",)),
    "conv_reflect": layer(lambda: nn.Conv2d(4, 5, 3, padding=(1, 2), padding_mode="reflect")),
    "conv_replicate": layer(lambda: nn.Conv2d(4, 5, 3, padding=2, padding_mode="replicate")),
    "conv_circular": layer(lambda: nn.Conv2d(4, 5, 3, padding=1, padding_mode="circular")),
    "depthwise": layer(lambda: nn.Conv2d(4, 4, 3, padding=1, groups=4), ops=("depthwise_conv2d",)),
    "depthwise_multiplier": layer(lambda: nn.Conv2d(4, 12, 3, 2, groups=4), ops=("depthwise_conv2d",)),
    "conv1d": layer(lambda: nn.Conv1d(4, 5, 3, 2, 1), SIGNAL),
    "conv1d_same_dilated": layer(lambda: nn.Conv1d(4, 5, 3, padding="same", dilation=2), SIGNAL),
    "conv1d_depthwise": layer(lambda: nn.Conv1d(4, 8, 5, groups=4), SIGNAL),
    "conv1d_groups": layer(lambda: nn.Conv1d(4, 8, 3, groups=2), SIGNAL),
    "conv_transpose": layer(lambda: nn.ConvTranspose2d(4, 3, 3, 2, 1, 1)),
    "conv_transpose_relu": layer(sequence(nn.ConvTranspose2d(4, 3, (2, 3), (1, 2)), nn.BatchNorm2d(3), nn.ReLU())),
    "conv_transpose1d": layer(lambda: nn.ConvTranspose1d(4, 3, 4, 3, 1), SIGNAL),
    "linear": layer(lambda: nn.Linear(10, 7), (10,)),
    "linear_rows": layer(lambda: nn.Linear(12, 7), SIGNAL),
    "linear_image": of(
        lambda m, x: m.fc(x.permute(0, 2, 3, 1)).mean((1, 2)), fc=nn.Linear(4, 7), lsb=2, ops=("fully_connected", "mean")
    ),
    "matmul_parameter": of(lambda m, x: x.mean((2, 3)) @ m.a.reshape(4, 1).repeat(1, 3), lsb=3),
    # fused
    "conv_norm_relu": layer(sequence(nn.Conv2d(4, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU()), ops=("conv2d",)),
    "conv_norm_relu6": layer(sequence(nn.Conv2d(4, 5, 3), nn.BatchNorm2d(5, eps=0.1), nn.ReLU6()), ops=("conv2d",)),
    "conv_hardtanh": layer(sequence(nn.Conv2d(4, 5, 3), nn.Hardtanh()), ops=("conv2d",)),
    "conv1d_norm_relu": layer(sequence(nn.Conv1d(4, 5, 3), nn.BatchNorm1d(5), nn.ReLU()), SIGNAL),
    "linear_norm_relu": layer(sequence(nn.Linear(10, 7), nn.BatchNorm1d(7), nn.ReLU()), (10,), ops=("fully_connected",)),
    "norm_alone": layer(lambda: nn.BatchNorm2d(4), ops=("depthwise_conv2d",)),
    "norm_alone_1d": layer(lambda: nn.BatchNorm1d(4), SIGNAL),
    "norm_of_features": layer(lambda: nn.BatchNorm1d(10), (10,)),
    "norm_behind_relu": layer(sequence(nn.Linear(10, 7), nn.ReLU(), nn.BatchNorm1d(7), nn.Linear(7, 3)), (10,), lsb=3),
    "norm_of_flat_image": layer(sequence(nn.Flatten(), nn.BatchNorm1d(192), nn.ReLU(), nn.Linear(192, 3)), lsb=2),
    "norm_read_twice": Case(ReadTwice, lsb=2),
    "conv_shared_by_two_norms": Case(Shared, lsb=2),
    "residual_relu": Case(Residual, lsb=2, ops=("conv2d", "add")),
    "squeeze_excite": Case(SqueezeExcite, lsb=3),
    # pooling
    "max_pool": layer(lambda: nn.MaxPool2d(2), ops=("max_pool2d",)),
    "max_pool_pad": layer(lambda: nn.MaxPool2d(3, 2, 1)),
    "max_pool_ceil": layer(lambda: nn.MaxPool2d(3, 2, ceil_mode=True)),
    "max_pool1d": layer(lambda: nn.MaxPool1d(3, 2, 1), SIGNAL),
    "avg_pool": layer(lambda: nn.AvgPool2d((2, 4)), ops=("average_pool2d",)),
    "avg_pool_pad": layer(lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False)),
    "avg_pool_counts_padding": layer(lambda: nn.AvgPool2d(3, 2, 1), ops=("pad", "average_pool2d")),
    "avg_pool_counts_padding_ceil": layer(lambda: nn.AvgPool2d((4, 3), (3, 2), (2, 1), ceil_mode=True)),
    "avg_pool1d_counts_padding": layer(lambda: nn.AvgPool1d(3, 2, 1), SIGNAL),
    "avg_pool1d": layer(lambda: nn.AvgPool1d(3), SIGNAL),
    "adaptive_avg": layer(lambda: nn.AdaptiveAvgPool2d((3, 2)), ops=("average_pool2d",)),
    "adaptive_avg1d": layer(lambda: nn.AdaptiveAvgPool1d(3), SIGNAL),
    "adaptive_max": layer(lambda: nn.AdaptiveMaxPool2d(2)),
    "adaptive_max1d": layer(lambda: nn.AdaptiveMaxPool1d(4), SIGNAL),
    "amax": of(lambda m, x: x.amax((2, 3))),
    "amax_keepdim": of(lambda m, x: x.amax((-1, -2), keepdim=True)),
    "mean_space": of(lambda m, x: x.mean((2, 3)), ops=("mean",)),
    "mean_keepdim": of(lambda m, x: x.mean((2, 3), keepdim=True)),
    "mean_channel": of(lambda m, x: x.mean(1)),
    "mean_features": of(lambda m, x: x.flatten(1).mean(1, keepdim=True)),
    # arithmetic
    "add": of(lambda m, x: x + x.mean((2, 3), keepdim=True), lsb=2),
    "add_other_order": of(lambda m, x: x + x.reshape(x.shape[0], 4, 8, 6).transpose(2, 3), lsb=2),
    "add_number": of(lambda m, x: x + 1.5, ops=("lookup",)),
    "add_parameter": of(lambda m, x: x + m.a.view(4, 1, 1)),
    "add_image": of(lambda m, x: m.b + x),
    "add_relu": of(lambda m, x: F.relu(x + m.b), ops=("add",)),
    "number_relu6": of(lambda m, x: F.relu6(x * 4), ops=("lookup",)),
    "sub": of(lambda m, x: x - x.amax((2, 3), keepdim=True)),
    "sub_from_parameter": of(lambda m, x: m.a.view(1, 4, 1, 1) - x, ops=("sub",)),
    "sub_from_number": of(lambda m, x: 1 - x, ops=("lookup",)),
    "mul": of(lambda m, x: x * x.mean((2, 3), keepdim=True), lsb=2),
    "mul_parameter": of(lambda m, x: x * m.a.exp().reshape(4, 1, 1), ops=("mul",)),
    "div_parameter": of(lambda m, x: x / m.a.view(-1, 1, 1), ops=("mul",)),
    "div_number": of(lambda m, x: x / 3, ops=("lookup",)),
    "maximum": of(lambda m, x: torch.maximum(x, x * -0.5), lsb=2),
    "minimum_parameter": of(lambda m, x: torch.minimum(x, m.a.view(4, 1, 1))),
    "parameter_of_flat": of(lambda m, x: m.fc(x.flatten(1) * m.b.flatten(1)), lsb=2, fc=nn.Linear(192, 5)),
    "relu": of(lambda m, x: F.relu(x), ops=("relu",)),
    "relu6": of(lambda m, x: F.relu6(x * 3)),
    "clamp": of(lambda m, x: x.clamp(-0.3, 0.7), ops=("lookup",)),
    "clamp_min": of(lambda m, x: x.clamp(min=-0.5)),
    "clamp_max": of(lambda m, x: x.clamp_max(0.5)),
    "leaky_relu": layer(lambda: nn.LeakyReLU(0.1), ops=("leaky_relu",)),
    "prelu": layer(lambda: nn.PReLU(4, 0.2), ops=("prelu",)),
    "prelu_one": layer(lambda: nn.PReLU(), SIGNAL),
    "hardswish": layer(lambda: nn.Hardswish(), lsb=2, ops=("hard_swish",)),
    "sigmoid": layer(lambda: nn.Sigmoid(), ops=("logistic",)),
    "tanh": layer(lambda: nn.Tanh(), ops=("tanh",)),
    "softmax": layer(lambda: nn.Softmax(1), (10,), ops=("softmax",)),
    "softmax_channel": of(lambda m, x: x.softmax(1), ops=("softmax",)),
    "softmax_width": of(lambda m, x: x.softmax(-1)),
    **{
        name: of(lambda m, x, name=name: getattr(F, name)(x), ops=("lookup",))  # type: ignore[misc]
        for name in ("silu", "gelu", "hardsigmoid", "elu", "selu", "celu", "mish", "softplus", "logsigmoid")
    },
    **{
        name: of(lambda m, x, name=name: getattr(torch, name)(x), ops=("lookup",))  # type: ignore[misc]
        for name in ("abs", "neg", "exp", "expm1", "erf", "square", "sin", "cos")
    },
    **{
        name: of(lambda m, x, name=name: getattr(torch, name)(x.sigmoid() + 0.1), lsb=2)  # type: ignore[misc]
        for name in ("log", "reciprocal", "rsqrt")
    },
    "threshold": layer(lambda: nn.Threshold(0.1, -0.2)),
    "sqrt": of(lambda m, x: F.relu(x).sqrt()),
    "power": of(lambda m, x: x**3),
    "gelu_tanh": layer(lambda: nn.GELU(approximate="tanh")),
    # moves
    "flatten_linear": layer(sequence(nn.Flatten(), nn.Linear(192, 5)), ops=("reshape", "fully_connected")),
    "flatten_relu_linear": layer(
        sequence(nn.Flatten(), nn.ReLU(), nn.Linear(192, 5)), lsb=2, ops=("reshape", "relu", "fully_connected")
    ),
    "flatten": layer(lambda: nn.Flatten(), ops=("reshape", "transpose", "reshape")),
    "flatten_softmax": of(lambda m, x: (4 * x.mean(2)).flatten(1).softmax(1), lsb=2),
    "flatten_space": of(lambda m, x: x.flatten(2)),
    "flatten_space_conv1d": of(
        lambda m, x: m.conv(x.flatten(2)).mean(2),
        conv=nn.Conv1d(4, 3, 2),
        lsb=2,
        ops=("reshape", "reshape", "conv2d", "reshape", "mean"),
    ),
    "unflatten": layer(sequence(nn.Linear(10, 24), nn.Unflatten(1, (4, 2, 3)), nn.Conv2d(4, 3, 2)), (10,)),
    "permute": of(lambda m, x: x.permute(0, 3, 1, 2)),
    "permute_free": of(lambda m, x: x.permute(0, 2, 3, 1).reshape(x.shape[0], 48, 4), ops=("reshape",)),
    "transpose_linear": of(lambda m, x: m.fc(x.transpose(1, 2)), SIGNAL, fc=nn.Linear(4, 3)),
    "squeeze_unsqueeze": of(lambda m, x: x.mean(1, keepdim=True).squeeze(1).unsqueeze(-1)),
    "channel_shuffle": layer(sequence(nn.Conv2d(4, 6, 1), nn.ChannelShuffle(2))),
    "channel_shuffle_by_hand": of(lambda m, x: x.view(x.shape[0], 2, 2, 6, 8).transpose(1, 2).reshape(x.shape[0], 4, 6, 8)),
    "pixel_unshuffle": layer(lambda: nn.PixelUnshuffle(2)),
    "pixel_shuffle": layer(lambda: nn.PixelShuffle(2)),
    "slice": of(lambda m, x: x[:, 1:3, 2:, -5:-1]),
    "slice_steps": of(lambda m, x: x[:, ::2, 1::3]),
    "select": of(lambda m, x: x[:, -1]),
    "narrow": of(lambda m, x: x.narrow(2, 1, 3)),
    "flip": of(lambda m, x: x.flip(2, 3)),
    "chunk": of(lambda m, x: x.chunk(2, 1)[1] + x.chunk(2, 1)[0], lsb=2),
    "split": of(lambda m, x: x.split([1, 3], 1)[1]),
    "unbind": of(lambda m, x: x.unbind(1)[2]),
    "cat": of(lambda m, x: torch.cat([x, 2 * x, F.relu(x)], 1), lsb=2),
    "cat_own_ranges": of(
        lambda m, x: torch.cat([F.max_pool2d(2 * x, 2), F.relu(m.conv(x)), F.avg_pool2d(x.neg(), 2)], 1),
        lsb=2,
        conv=nn.Conv2d(4, 3, 2, 2),
        ops=("lookup", "max_pool2d", "conv2d", "lookup", "average_pool2d", "concatenation"),
    ),
    "cat_fixed_ranges": of(lambda m, x: torch.cat([x.sigmoid(), x.tanh()], 1), lsb=2),
    "maximum_own_ranges": of(lambda m, x: torch.maximum(x.neg(), x * 0.5), lsb=2, ops=("lookup", "lookup", "maximum")),
    "cat_space": of(lambda m, x: torch.cat([x, x], -1)),
    "stack": of(lambda m, x: torch.stack([x.mean(1), x[:, 0]], 1), lsb=2),
    "pad": of(lambda m, x: F.pad(x, (1, 2, 0, 1))),
    "pad_value": of(lambda m, x: F.pad(x, (1, 0), value=0.5)),
    "pad_conv": of(lambda m, x: m.conv(F.pad(x, (0, 1, 0, 1))), conv=nn.Conv2d(4, 5, 3, 2), ops=("pad", "conv2d")),
    "upsample": layer(lambda: nn.Upsample(scale_factor=2), ops=("resize_nearest_neighbor",)),
    "upsample_size": of(lambda m, x: F.interpolate(x, (9, 5))),
    "upsample_exact": of(lambda m, x: F.interpolate(x, (13, 11), mode="nearest-exact")),
    "upsample1d_exact": of(lambda m, x: F.interpolate(x, 7, mode="nearest-exact"), SIGNAL),
    "upsample1d": layer(lambda: nn.Upsample(scale_factor=3), SIGNAL),
    "expand": of(lambda m, x: x * x.mean((2, 3), keepdim=True).expand(-1, -1, 6, 8), lsb=2),
    "dropout_identity": layer(sequence(nn.Dropout(), nn.Identity(), nn.Conv2d(4, 5, 1), nn.Dropout2d()), ops=("conv2d",)),
    "to_float": of(lambda m, x: m.conv(x.float().contiguous()), conv=nn.Conv2d(4, 5, 1), ops=("conv2d",)),
}

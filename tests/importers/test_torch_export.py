"""torch networks as int8 Graphs: equal to torch's own quantised arithmetic within a step, and close to the float model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_cases import CASES, Case

from pipeline.errors import GraphError
from pipeline.fixedpoint import quantize
from pipeline.importers.layout import channels_last
from pipeline.importers.torch.annotate import Int8Quantizer, convert_pt2e, prepare_pt2e
from pipeline.importers.torch.float_graph import trace
from pipeline.importers.torch.importer import check_supported, import_converted, refuse_unsupported
from pipeline.importers.torch.operators import TABLE
from pipeline.ir import Array, Graph
from pipeline.passes import optimize


class Together(nn.Module):
    """The networks of several cases side by side, reading one input: one export for all."""

    def __init__(self, cases: Mapping[str, Case]) -> None:
        super().__init__()
        self.cases = nn.ModuleDict({name: randomised(case) for name, case in cases.items()})

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return tuple(case(x) for case in self.cases.values())


@dataclass(frozen=True)
class Answer:
    """One case's: the Graph of it alone, the Graph's outputs as integers, torch's quantised and exact ones."""

    graph: Graph
    got: Array
    simulated: Array
    exact: Array


def randomised(case: Case) -> nn.Module:
    torch.manual_seed(0)
    module = case.module().eval()
    for name, buffer in module.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape) + 0.5)
    return module


def stored(x: Tensor) -> Array:
    """As the Graph has it: images with channels last."""
    return x.detach().numpy().transpose(channels_last(4) if x.ndim == 4 else range(x.ndim))


def alone(graph: Graph, output: str) -> Graph:
    """The part of `graph` that makes one of its outputs."""
    needed, ops = {output}, []
    for op in reversed(graph.ops):
        if op.output in needed:
            ops.append(op)
            needed.update(op.inputs)
    return replace(graph, outputs=(output,)).with_ops(reversed(ops)).checked()


@dataclass(frozen=True)
class Found:
    answers: dict[str, Answer]
    operators: set[str]  # by name; overloads of one operator count once


@pytest.fixture(scope="module")
def everything() -> Found:
    answers: dict[str, Answer] = {}
    operators: set[str] = set()
    for shape in {case.shape for case in CASES.values()}:
        cases = {name: case for name, case in CASES.items() if case.shape == shape}
        together = Together(cases).eval()
        rng = torch.Generator().manual_seed(1)
        graph = trace(together, torch.randn(2, *shape, generator=rng))
        refuse_unsupported(graph)
        operators |= {_name(n.target) for n in graph.graph.nodes if n.op == "call_function"}
        with torch.no_grad():
            prepared = prepare_pt2e(graph, Int8Quantizer(None))
            prepared(torch.randn(48, *shape, generator=rng))
            converted = convert_pt2e(prepared)
            imported = import_converted(converted, torch.randn(1, *shape, generator=rng), "cases").graph
            x = torch.randn(16, *shape, generator=rng)
            simulated, exact = converted(x), together(x)
        source = imported[imported.inputs[0]]
        q = quantize(stored(x), source.scale, source.zero_point).reshape(16, *source.shape)
        for name, output, got, s, e in zip(cases, imported.outputs, imported.run(q), simulated, exact, strict=True):
            shape_ = (16, *imported[output].shape[1:])
            answers[name] = Answer(alone(imported, output), got.reshape(shape_).astype(np.int32), stored(s), stored(e))
    return Found(answers, operators)


def _name(target: object) -> str:
    return str(getattr(target, "overloadpacket", target))


@pytest.fixture(scope="module")
def found(everything: Found) -> dict[str, Answer]:
    return everything.answers


@pytest.mark.parametrize("name", CASES)
def test_the_graph_computes_what_torch_does(name: str, found: dict[str, Answer]) -> None:
    case, answer = CASES[name], found[name]
    y = answer.graph[answer.graph.outputs[0]]
    steps = np.rint(answer.simulated / y.scale) + y.zero_point
    assert answer.got.shape == steps.shape
    assert np.abs(answer.got - steps).max() <= case.lsb
    low, high = ((end - y.zero_point) * y.scale for end in (-128, 127))
    noise = (answer.got - y.zero_point) * y.scale - np.clip(answer.exact, low, high)
    assert 10 * np.log10(np.square(answer.exact).sum() / np.square(noise).sum()) > 24
    if case.ops is not None:
        assert tuple(op.kind for op in answer.graph.ops) == case.ops


def test_passes_change_no_answer(found: dict[str, Answer]) -> None:
    rng = np.random.default_rng(0)
    for answer in found.values():
        x = rng.integers(-128, 128, (4, *answer.graph[answer.graph.inputs[0]].shape), np.int8)
        assert np.array_equal(optimize(answer.graph).run(x)[0], answer.graph.run(x)[0])


def test_every_operator_of_the_table_has_a_case(everything: Found) -> None:
    missing = {_name(target) for target in TABLE} - everything.operators
    assert missing == {"aten.t", "aten.clamp_min"}  # what torch.export writes as permute and clamp today


class Encoder(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        y = self.layer(x)
        return y[0] if isinstance(y, tuple) else y


class Network(nn.Module):
    """(N, 1, 8, 8) through rows of 8 values to 3 logits."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = Encoder(layer), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x.squeeze(1)).mean(1))


EXPORT = "torch.export can not follow the model's forward"
RECURRENT = "(recurrent; use convolutions over time)"
PRODUCT = "(a product of two activations, as in attention; use linear layers, convolutions or pooling)"


class Attention(nn.Module):
    """The one that gives weights, too, takes other calls than the one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attn(x, x, x)[0]


class Rolled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(2, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.roll(x, 1, 2)
        return self.norm(torch.cumsum(y, 1))


UNSUPPORTED = {
    "lstm": (nn.LSTM(8, 8, batch_first=True), f"`encoder.layer` (LSTM) uses lstm {RECURRENT}, which has"),
    "gru": (nn.GRU(8, 8, batch_first=True), f"`encoder.layer` (GRU) uses gru {RECURRENT}, which has"),
    "attention": (
        nn.Sequential(Attention(), Attention()),
        f"`encoder.layer.0.attn` (MultiheadAttention) uses bmm {PRODUCT}; "
        f"`encoder.layer.1.attn` (MultiheadAttention) uses bmm {PRODUCT}, which have",
    ),
    "transformer": (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        f"`encoder.layer.self_attn` (MultiheadAttention) uses scaled_dot_product_attention {PRODUCT}; "
        "`encoder.layer.norm1` (LayerNorm) uses layer_norm (use batch norm); "
        "`encoder.layer.norm2` (LayerNorm) uses layer_norm (use batch norm), which have",
    ),
    "layer_norm": (nn.LayerNorm(8), "`encoder.layer` (LayerNorm) uses layer_norm (use batch norm), which has"),
    "of one's own": (
        Rolled(),
        "`encoder.layer` (Rolled), line `y = torch.roll(x, 1, 2)` (test_torch_export.py:LINE) uses roll; `encoder.layer` "
        "(Rolled), line `return self.norm(torch.cumsum(y, 1))` (test_torch_export.py:LINE) uses cumsum; "
        "`encoder.layer.norm` (GroupNorm) uses group_norm (use batch norm), which have",
    ),
}


@pytest.mark.parametrize("kind", UNSUPPORTED)
def test_unsupported_layers_are_named_by_path_and_class(kind: str) -> None:
    layer, message = UNSUPPORTED[kind]
    with pytest.raises(GraphError) as e:
        check_supported(Network(layer).eval(), torch.zeros(2, 1, 8, 8))
    found = re.sub(r"(?<=\.py:)\d+", "LINE", str(e.value))
    assert found.startswith(f"{message} no int8 form. Replace ")
    assert "what can be compiled: " in found
    assert "conv2d" in found


class Decides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.sum() > 0:
            return x
        return -x


class Reads(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        gain = int(x.max())
        return x * gain


class Leaves(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        y = np.abs(x.numpy())
        return torch.from_numpy(y)


class Wrong(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + x[:, :, ::2]


UNTRACEABLE = {
    Decides: (
        "the model's forward decides by a tensor's values at line `if x.sum() > 0:` (",
        "a setting in __init__ decide.",
    ),
    Reads: (
        "the model's forward decides by a tensor's values at line `gain = int(x.max())` (",
        "takes the same steps for every",
    ),
    Leaves: (f"{EXPORT} at line `y = np.abs(x.numpy())` (", "It must compute with torch alone"),
    Wrong: (f"{EXPORT} at line `return x + x[:, :, ::2]` (", "The size of tensor a (8) must match the size of tensor b (4)"),
}


@pytest.mark.parametrize("model", UNTRACEABLE)
def test_what_can_not_be_traced_is_named_by_its_line(model: type[nn.Module]) -> None:
    with pytest.raises(GraphError) as e:
        check_supported(model().eval(), torch.rand(2, 1, 8, 8))
    start, advice = UNTRACEABLE[model]
    assert str(e.value).startswith(f"{start}test_torch_export.py:")
    assert advice in str(e.value)
    assert "\n" not in str(e.value)


class Function(nn.Module):
    def __init__(self, f: object) -> None:
        super().__init__()
        self.f, self.p = f, nn.Parameter(torch.ones(3, 1, 8, 8))
        self.weights = nn.Parameter(torch.randn(4, 1, 3, 3))
        self.pool = nn.AdaptiveMaxPool2d(1, return_indices=True)
        self.norm = nn.BatchNorm2d(1, track_running_stats=False)
        self.norm3d = nn.BatchNorm3d(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.f(self, x)  # type: ignore[operator, no-any-return]


F = nn.functional
REFUSED: dict[str, tuple[Callable[[Any, Tensor], Tensor], str]] = {
    "parameter of a batch": (lambda m, x: x * m.p, EXPORT),
    "ranks": (lambda m, x: x + x.mean((1, 2, 3)), EXPORT),
    "batch of two": (lambda m, x: x.view(2, 64), "the model's forward fixes the batch size to 2: it must take any."),
    "batch mixed": (lambda m, x: x.reshape(-1, 8), "): reshape mixes the batch with other axes ((8, 8) for one input)"),
    "batch mean": (lambda m, x: x + x.mean((0, 1, 2, 3), keepdim=True), "): a mean over the batch has no meaning"),
    "batch slice": (lambda m, x: x[1:] + x[:-1], "): takes part of the batch, which has no meaning for one inference"),
    "uneven windows": (lambda m, x: F.adaptive_avg_pool2d(x, 3), "pooling of (8, 8) to (3, 3) has windows of different"),
    "pool dilation": (lambda m, x: F.max_pool2d(x, 2, dilation=2), "max pooling with dilation [2, 2] has no int8 form"),
    "own divisor": (
        lambda m, x: F.avg_pool2d(x, 2, divisor_override=3),
        "): average pooling with a divisor of its own has no",
    ),
    "alpha": (lambda m, x: torch.add(x, F.relu(x), alpha=2), "): 2 times an operand has no int8 form here"),
    "computed weights": (
        lambda m, x: F.conv2d(x, x[:1, :, :3, :3]),
        "): the weights of conv2d are computed in forward; they must be parameters.",
    ),
    "two activations": (lambda m, x: x / (x.abs() + 1), "): div of two activations has no int8 form; one of them must be"),
    "max over rows": (lambda m, x: x.amax(2), "): a maximum over [2] has an int8 form over height and width only"),
    "indexes": (
        lambda m, x: m.pool(x)[1] + 0.0,
        "`pool` (AdaptiveMaxPool2d) uses result 1 of adaptive_max_pool2d, which has no int8 form. ",
    ),
    "negative pad": (lambda m, x: F.pad(x, (-1, 0)), "): negative padding has no int8 form; take a slice"),
    "grouped transpose": (
        lambda m, x: F.conv_transpose2d(x.expand(-1, 4, -1, -1) * 1.0, m.weights, groups=2),
        "): a transposed convolution has an int8 form with groups=1 and dilation=1 only",
    ),
    "repeat": (
        lambda m, x: F.max_pool2d(x.mean((2, 3), keepdim=True).expand(-1, -1, 4, 4), 2),
        "): repeating (1, 1, 1, 1) has an int8 form for arithmetic only; use upsampling",
    ),
    "batch statistics": (
        lambda m, x: m.norm(x),
        "`norm` (BatchNorm2d) uses _native_batch_norm_legit (batch norm by the batch's own",
    ),
    "norm of volumes": (lambda m, x: m.norm3d(x.unsqueeze(-1)), "`norm3d` (BatchNorm3d) has 3 dimensions of space; one or"),
    "statistics of the batch": (
        lambda m, x: F.batch_norm(x, x.mean((0, 2, 3)), x.var((0, 2, 3))),
        "has no running statistics; use track_running_stats=True.",
    ),
    "joined parameter": (
        lambda m, x: torch.cat([x, m.p[:1].expand(x.shape[0], -1, -1, -1)], 1),
        "): expand of a parameter or",
    ),
    "operands": (
        lambda m, x: m.p[:1].expand_as(x) * x,
        "it may be an operand of add, maximum, minimum, mul, prelu, sub, which",
    ),
    "parameter as output": (
        lambda m, x: (F.relu(x), m.p),
        "an output of the model's forward is not computed from its",
    ),
    "nothing as output": (lambda m, x: None, "the output of the model's forward does not depend on its input"),
    "without the input": (lambda m, x: F.relu(m.p) * 2, "the output of the model's forward does not depend on"),
    "computed slopes": (lambda m, x: F.prelu(x, x.amax((2, 3))[0]), "): the slopes of prelu must be parameters"),
    "noise": (lambda m, x: x + torch.randn(1, 1, 8, 8), "uses randn, which has no int8 form. "),
    "active dropout": (
        lambda m, x: F.dropout(x, 0.5),
        "uses native_dropout (dropout that is active outside of training, too: F.dropout needs training=self.training)",
    ),
    "active dropout of channels": (
        lambda m, x: F.dropout2d(x, 0.5),
        "bernoulli (dropout that is active outside of training, too: F.dropout needs training=self.training), ",
    ),
    "log_softmax": (lambda m, x: F.log_softmax(x.flatten(1), 1), "log_softmax (leave it out: the highest logit is the"),
    "ranks of activations": (lambda m, x: x + x[:, 0], "): (1, 1, 8, 8) and (1, 8, 8) do not line up; unsqueeze"),
    "axes of a parameter": (lambda m, x: x * m.p[None, :1], "a parameter of shape (1, 1, 1, 8, 8) does not broadcast to"),
    "nothing left": (lambda m, x: x[:, 1:] + 1.0, "): takes nothing from (1, 1, 8, 8)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_int8_form_is_refused_with_a_reason(case: str) -> None:
    f, message = REFUSED[case]
    with pytest.raises(GraphError) as e:
        check_supported(Function(f).eval(), torch.zeros(2, 1, 8, 8))
    assert message in str(e.value)
    assert "\n" not in str(e.value)

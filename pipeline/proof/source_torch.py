"""The quantised torch graph itself, run in torch: what was read from it must be what it computes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import Tensor as TorchTensor
from torch.fx import GraphModule, Interpreter, Node

from pipeline.errors import GraphError
from pipeline.importers.layout import channels_last, plain
from pipeline.importers.stored import Value
from pipeline.importers.torch.builder import QUANTIZE
from pipeline.ir import Array
from pipeline.proof.layers import Layer, Seen, first_apart, layers

if TYPE_CHECKING:
    from pipeline.importers.torch.importer import Imported


def prove_torch(imported: Imported, converted: GraphModule, x: TorchTensor, int8_input: Array) -> int:
    """By how many steps a layer of the graph is away, at most, from what `converted`, which it was read from, computes for
    the images `x`; `int8_input` are the same for the graph. GraphError naming the first layer that is too far."""
    found = torch_layers(imported, converted, x, int8_input)
    wrong = first_apart(found)
    if wrong:
        raise GraphError(
            f"{imported.graph.name!r} computes something else than the quantised torch model it was read from: {wrong}. "
            "Firmware of it would not be exact, so none is made; report this as a bug, with the model."
        )
    return max(layer.lsb for layer in found)


def torch_layers(imported: Imported, converted: GraphModule, x: TorchTensor, int8_input: Array) -> list[Layer]:
    """Each layer's distance from what torch computes, and that of the input and the outputs."""
    kept = _Kept(converted, frozenset(node for node, _ in imported.values.values()))
    with torch.no_grad():
        ends = kept.run(x)
    n = len(x)
    seen = [
        Seen(name, v, kept.found[name].reshape(n, *v.shape)) for name, v in imported.values.values() if name in kept.found
    ]
    for i, (name, y) in enumerate(zip(imported.graph.outputs, _flat(ends), strict=True)):
        order = channels_last(4) if y.ndim == 4 else plain(y.ndim)
        seen.append(Seen(f"output {i}", Value(name, (1, *y.shape[1:]), order), y.numpy()[:, None]))
    return layers(imported.graph, [int8_input], seen)


class _Kept(Interpreter):
    """Keeps, as real numbers, what the results of the calls named `wanted` are once they are quantised."""

    def __init__(self, module: GraphModule, wanted: frozenset[str]) -> None:
        super().__init__(module)
        self.wanted = wanted
        self.found: dict[str, Array] = {}

    def run_node(self, n: Node) -> Any:
        result = super().run_node(n)
        if str(n.target) == QUANTIZE and (name := cast(Node, n.args[0]).name) in self.wanted and name not in self.found:
            scale, zero = float(cast(float, n.args[1])), int(cast(int, n.args[2]))
            self.found[name] = (result.numpy().astype(np.float64) - zero) * scale
        return result


def _flat(results: Any) -> list[TorchTensor]:
    return [t for r in results for t in _flat(r)] if isinstance(results, list | tuple) else [results]

"""What an operator has in C: calls of kernels, and the ways to compute it that there are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """One C call: `name(&params, inputs..., outputs..., [scratch]);`. `codegen.to_c` prints it; operators hold no C text.

    `name` is at once the function, the header `kernels/<name>.h` and the stem of `<name>_params`. Values in `params` are
    ints, floats, None (NULL), tuples of them (arrays inside the struct), numpy arrays (emitted as `static const`), nested
    mappings (nested structs), or the name of a constant tensor wrapped in `Const` (emitted once, shared).
    `scratch_bytes` > 0 appends a pointer to that many 4-byte-aligned bytes.
    """

    name: str
    params: Mapping[str, Any]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    scratch_bytes: int = 0


Shift = tuple[int | None, int | None]


@dataclass(frozen=True, slots=True, eq=False)
class Variant:
    """One way to compute an operator: a named choice among several. `name` is that of its kernel ("conv2d_s8_1x1__dsp").

    `refused` says why these shapes have no use for it; None: they have. `needs` are the features of a core that it is worth
    nothing without (`cpu.isa` of the target). `cost` is an estimate of its instructions on a core that has them,
    `cycles_each` how many cycles they take on average, without wait states: their product compares the variants of one
    operator. `code_bytes` is about what its own code takes in flash, once for all layers, `shares` the parts that other
    variants have, too, with their bytes. `over` are the inputs, by their place, over which it can write its output when they
    die there, each with how far behind such an input the output may start, in bytes: from the first number (None: from
    anywhere before it) to the second (None: anywhere).
    """

    name: str
    kernels: tuple[Kernel, ...]
    cost: int = 0
    needs: tuple[str, ...] = ()
    code_bytes: int = 300
    over: Mapping[int, Shift] = field(default_factory=dict)
    cycles_each: float = 1.28
    shares: Mapping[str, int] = field(default_factory=dict)
    refused: str | None = None

    @property
    def cycles(self) -> int:
        return round(self.cost * self.cycles_each)

    @property
    def code(self) -> Mapping[str, int]:
        """Bytes of all parts of its code."""
        return {self.name: self.code_bytes, **self.shares}

    @property
    def scratch_bytes(self) -> int:
        return max((k.scratch_bytes for k in self.kernels), default=0)


@dataclass(frozen=True, slots=True)
class Const:
    """A reference to a constant tensor of the graph inside `Kernel.params`."""

    tensor: str

"""The constants of a generated library: weight arrays and parameter structs, each emitted once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.codegen.c_text import Names, comment_text, float_literal, integer_literal, integer_rows
from pipeline.errors import BuildError
from pipeline.ir import Array, Graph
from pipeline.kernel import Const

ARRAY_TYPES = {
    "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t", "uint16": "uint16_t",
    "int32": "int32_t", "uint32": "uint32_t", "float32": "float",
}  # fmt: skip


class Constants:
    """Collects what the layers refer to and prints it as one header. Arrays with equal bytes are emitted once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._names = Names()
        self._arrays: dict[tuple[str, bytes], str] = {}
        self._text: list[str] = []

    def tensor(self, name: str) -> str:
        """The array that holds the constant tensor `name`."""
        return self.array(f"const_{name}", self._graph.constant(name), f"{comment_text(name)} {self._graph[name].shape}")

    def array(self, name: str, values: Array, comment: str = "") -> str:
        """The name of an array with these values; an equal one is shared."""
        dtype = str(values.dtype)
        if dtype not in ARRAY_TYPES:
            raise BuildError(f"parameter {name!r} is a numpy array of {dtype}; kernels take {', '.join(ARRAY_TYPES)}")
        key = (dtype, values.tobytes())
        if key not in self._arrays:
            word = self._arrays[key] = self._names.unique(name)
            note = f"/* {comment} */\n" if comment else ""
            head = f"static const {ARRAY_TYPES[dtype]} {word}[{values.size}] NN_ALIGNED(4) = {{"
            self._text.append(f"{note}{head}\n{integer_rows(values, 4)}\n}};")
        return self._arrays[key]

    def struct(self, kernel: str, stem: str, params: Mapping[str, Any], comment: str) -> str:
        """Emits `static const <kernel>_params layer_<stem> = {...}` and returns the pointer to it."""
        word = self._names.unique(f"layer_{stem}")
        fields = self._fields(word, params, 4)
        self._text.append(f"/* {comment_text(comment)} */\nstatic const {kernel}_params {word} = {{\n{fields}\n}};")
        return f"&{word}"

    def _fields(self, stem: str, params: Mapping[str, Any], indent: int) -> str:
        """Designated initialisers: plain numbers several to a line, anything else on its own."""
        lines: list[str] = []
        numbers: list[str] = []

        def flush() -> None:
            while numbers:
                line = numbers.pop(0)
                while numbers and len(line) + len(numbers[0]) + 2 <= 110 - indent:
                    line += f", {numbers.pop(0)}"
                lines.append(line)

        for key, value in params.items():
            text = f".{key} = {self._value(f'{stem}_{key}', value, indent)}"
            if isinstance(value, int | float | np.integer | np.floating):
                numbers.append(text)
            else:
                flush()
                lines.append(text)
        flush()
        pad = " " * indent
        return ",\n".join(pad + line for line in lines)

    def _value(self, name: str, value: Any, indent: int) -> str:
        if value is None:
            return "NULL"
        if isinstance(value, Const):
            return self.tensor(value.tensor)
        if isinstance(value, np.ndarray):
            return self.array(name, value)
        if isinstance(value, bool | int | np.integer):
            return integer_literal(int(value))
        if isinstance(value, float | np.floating):
            return float_literal(float(value))
        if isinstance(value, Mapping):
            return f"{{\n{self._fields(name, value, indent + 4)}\n{' ' * indent}}}"
        if isinstance(value, tuple | list):
            return f"{{ {', '.join(self._value(f'{name}_{i}', v, indent) for i, v in enumerate(value))} }}"
        raise BuildError(
            f"parameter {name!r} is a {type(value).__name__}; kernels take numbers, arrays, tuples and mappings"
        )

    def header(self, prefix: str) -> str:
        body = "\n\n".join(self._text)
        return f"""\
/* Weights and layer parameters of {prefix}; included by {prefix}.c alone. Generated; do not edit. */
#ifndef {prefix.upper()}_WEIGHTS_H
#define {prefix.upper()}_WEIGHTS_H

#ifndef NN_ALIGNED
#define NN_ALIGNED(bytes) __attribute__((aligned(bytes)))
#endif

{body}

#endif
"""

"""Adding an operator is its three files and a line in each importer that can produce it: nothing else lists operators.
`tests/test_extending.py` adds one."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.ops import all_ops

ROOT = Path(__file__).resolve().parents[2]
OPS = sorted(all_ops())

# What may know operators by their classes beside the one file of each importer's table: which, and why.
KNOWING = {
    "passes/drop_noops.py": ("pad quantize reshape", "a pass rewrites the operators that it is about"),
    "passes/eliminate_dead_channels.py": (
        "average_pool2d conv2d depthwise_conv2d fully_connected max_pool2d mean reshape",
        "cuts channels out of weights, and follows them through what keeps them apart",
    ),
    "passes/fuse_clamp.py": ("relu relu6", "a pass rewrites the operators that it is about"),
    "passes/fuse_pad.py": ("conv2d depthwise_conv2d pad", "a pass rewrites the operators that it is about"),
    "passes/intervals.py": (
        "conv2d depthwise_conv2d fully_connected reshape",
        "intervals of sums of products; the others say themselves that they are monotonic",
    ),
    "importers/stored.py": (
        "quantize reshape slice strided_slice transpose",
        "layouts and scales that all importers bring into line",
    ),
    "importers/tflite/composites.py": ("conv2d depthwise_conv2d lookup", "several operators of a file are one of ours"),
    "importers/tflite/importer.py": (
        "average_pool2d conv2d depthwise_conv2d max_pool2d",
        "says of images what a batch needs",
    ),
    "importers/torch/builder.py": ("lookup", "has an activation in its table"),
    "importers/torch/layers.py": ("pad", "a pool with padding is two operators"),
    "importers/onnx/layers.py": ("pad", "a pool with padding is two operators"),
    "importers/onnx/math.py": ("relu", "what Clip may be"),
}
IMPORTERS = ("onnx", "tflite", "torch")


def imports(path: Path) -> Iterator[str]:
    """The operators whose classes a file imports."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            stem = node.module.removeprefix("pipeline.ops.")
            yield from {stem} & set(OPS) if node.module != stem else set()
            yield from {a.name for a in node.names if node.module == "pipeline.ops"} & set(OPS)


PIPELINE = ROOT / "pipeline"
USERS = {
    path.relative_to(PIPELINE).as_posix(): set(imports(path))
    for path in sorted(PIPELINE.rglob("*.py"))
    if PIPELINE / "ops" not in path.parents
}


@pytest.mark.parametrize("op", OPS)
def test_an_operator_is_known_to_its_importers_alone(op: str) -> None:
    users = [path for path, ops in USERS.items() if op in ops - set(KNOWING.get(path, ("",))[0].split())]
    for importer in IMPORTERS:
        own = [path for path in users if path.startswith(f"importers/{importer}/")]
        assert len(own) <= 1, f"{op} is imported by {own}: one file of an importer's table is enough"
        users = [path for path in users if path not in own]
    assert not users, f"{op} is imported by {users}: what is true of an operator stands in pipeline/ops/{op}.py"


def test_each_exception_is_needed() -> None:
    unused = {path: set(ops.split()) - USERS.get(path, set()) for path, (ops, _) in KNOWING.items()}
    assert not any(unused.values()), unused


@pytest.mark.parametrize("op", ["hard_swish", "maximum", "minimum"])
def test_a_plain_operator_is_one_row_an_importer(op: str) -> None:
    """And the import of its class."""
    for file in ("onnx/nodes.py", "tflite/builtins.py", "torch/math.py"):
        lines = (PIPELINE / "importers" / file).read_text(encoding="utf-8").splitlines()
        told = [line for line in lines if re.search(rf"\b{all_ops()[op].__name__}\b", line)]
        assert len(told) == 2, (file, told)


def test_no_table_lists_operators_by_name() -> None:
    """Three names of operators as strings in one file are a table. Recipes and importers have words of their own."""
    own = re.compile(rf"[\"']({'|'.join(sorted(op for op in OPS if not op.isalpha()))})[\"']")
    for path in USERS:
        if not path.startswith("importers/"):
            found = set(own.findall((PIPELINE / path).read_text(encoding="utf-8")))
            assert len(found) < 3, f"{path} lists operators: {sorted(found)}"

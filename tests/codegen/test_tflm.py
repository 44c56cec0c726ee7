"""What a TFLite Micro project gets."""

from __future__ import annotations

import pytest
from example_graphs import small_cnn, strided

from pipeline.codegen.arena import plan
from pipeline.codegen.tflm import arena_estimate, operators, resolver_method, tflm_sources
from pipeline.codegen.to_tflite import to_tflite
from pipeline.oracle import smallest_arena, tflm_available


def test_exactly_the_operators_of_the_file() -> None:
    assert operators(strided()) == ("CONV_2D", "PAD")
    resolver = tflm_sources(strided(), b"", 0, "")["op_resolver.h"]
    assert "using StridedOpResolver = tflite::MicroMutableOpResolver<2>;" in resolver
    assert [line.strip() for line in resolver.splitlines() if "resolver.Add" in line] == [
        "TF_LITE_ENSURE_STATUS(resolver.AddConv2D());",
        "TF_LITE_ENSURE_STATUS(resolver.AddPad());",
    ]


@pytest.mark.parametrize(
    ("builtin", "method"),
    [
        ("DEPTHWISE_CONV_2D", "AddDepthwiseConv2D"),
        ("FULLY_CONNECTED", "AddFullyConnected"),
        ("RELU6", "AddRelu6"),
        ("PADV2", "AddPadV2"),
        ("RESIZE_NEAREST_NEIGHBOR", "AddResizeNearestNeighbor"),
    ],
)
def test_resolver_methods(builtin: str, method: str) -> None:
    assert resolver_method(builtin) == method


def test_the_array_is_the_file() -> None:
    model = to_tflite(strided())
    sources = tflm_sources(strided(), model, 4096, "a note")
    rows = sources["model_data.c"].split("{", 1)[1].rsplit("}", 1)[0]
    assert bytes(int(v) for v in rows.split(",")) == model
    assert f"#define STRIDED_MODEL_DATA_BYTES {len(model)}" in sources["model_data.h"]
    assert "/* a note */\n#define STRIDED_TFLM_ARENA_BYTES 4096" in sources["model_data.h"]
    assert "__attribute__((aligned(16)))" in sources["model_data.c"]


@pytest.mark.skipif(not tflm_available(), reason="the tflite-micro wheel is for Linux x86-64")
@pytest.mark.parametrize("graph", [small_cnn(), strided()], ids=lambda g: g.name)
def test_where_tflm_can_not_run_the_estimate_is_enough(graph) -> None:  # type: ignore[no-untyped-def]
    assert arena_estimate(graph, plan(graph)) >= smallest_arena(to_tflite(graph))

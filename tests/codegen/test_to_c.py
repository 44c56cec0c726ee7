"""The generated library as other people's programs meet it: names, C++, no C library, raw input."""

from __future__ import annotations

import ctypes
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_graphs import activation, random_inputs, small_cnn, strided, two_inputs
from example_target import host_c, lowered

from pipeline.codegen.c_text import Names, comment_text, float_literal, integer_rows
from pipeline.codegen.library import write_library
from pipeline.codegen.to_c import follow_includes, kernel_headers, prefix, to_c
from pipeline.errors import BuildError
from pipeline.ir import Graph
from pipeline.ops.reshape import Reshape
from pipeline.preprocess import Normalization, Preprocess, byte_tables, to_int8
from pipeline.proof.host_c import WARNINGS
from pipeline.proof.vectors import golden, random


@pytest.mark.parametrize("graph", [small_cnn(), two_inputs(), strided()], ids=lambda g: g.name)
def test_generated_c_equals_the_reference(graph: Graph) -> None:
    x = random_inputs(graph, 20)
    with host_c(graph) as host:
        for expected, got in zip(graph.run(*x), host.run(*x), strict=True):
            np.testing.assert_array_equal(got, expected)


def test_text_names_layers_and_shapes() -> None:
    text = to_c(lowered(small_cnn()))["small_cnn.c"]
    assert '/* 0: conv2d "stem" 8x8x1 -> 8x8x8, 4,608 MACs */' in text
    assert '/* 3: add "sum" 8x8x8 + 8x8x8 -> 8x8x8 */' in text
    assert "conv2d_s8_image__dsp(&layer_stem, arena + AT_image, arena + AT_stem, (void *)(arena + " in text
    assert 'NN_TRACE(7, "probabilities", arena + AT_probabilities, 10);' in text


def test_only_the_kernels_used_are_shipped(tmp_path: Path) -> None:
    write_library(lowered(two_inputs()), tmp_path)
    shipped = {p.name for p in (tmp_path / "kernels").iterdir()}
    assert {"add_s8.h", "nn.h", "requant.h"} <= shipped
    assert not any("conv" in name for name in shipped)
    assert shipped == {p.name for p in kernel_headers(lowered(two_inputs()))}


def test_an_unknown_kernel_is_named() -> None:
    with pytest.raises(BuildError, match=r"no kernel conv2s_s8\.h .* Did you mean 'conv2d_s8'\?"):
        follow_includes(["conv2s_s8"])


def test_identifiers_are_unique_and_comments_are_safe() -> None:
    names = Names()
    assert [names.unique(n) for n in ("a/b", "a.b", "a_b_2", "3d", "é")] == ["a_b", "a_b_2", "a_b_2_2", "n3d", "model"]
    for text in ("*/", "/*", "??/", "\\", "\n", "é", "**//", "/ */*"):
        safe = comment_text(text)
        assert "*/" not in safe
        assert "/*" not in safe
        assert not re.search(r"[\\\n?]|[^ -~]", safe)


@pytest.mark.parametrize("value", [1.0, 0.1, 1e-20, 3.5e30, 256.0, float(np.float32(0.07)), 1 / 3])
def test_float_literals_read_back_exactly(value: float) -> None:
    text = float_literal(value)
    single = text.endswith("f")
    number = float(np.float32(text.rstrip("f"))) if single else float(text)
    assert number == value
    assert single == (float(np.float32(value)) == value)
    assert re.search(r"[.e]", text)


def test_rows_hold_every_number_within_the_line() -> None:
    values = np.arange(-128, 128, dtype=np.int8)
    rows = integer_rows(values, 4)
    assert [int(v) for v in rows.replace("\n", "").split(",")] == values.tolist()
    assert max(map(len, rows.splitlines())) <= 112
    assert integer_rows(np.array([-(2**31)], np.int32), 0) == "INT32_MIN"


@pytest.mark.parametrize("name", ["model", "board", "main", "Memory"])
def test_a_model_may_be_called_as_a_firmware_file_is(name: str) -> None:
    assert prefix(small_cnn(name)) == f"{name.lower()}_net"


def test_constant_and_passed_through_outputs(tmp_path: Path) -> None:
    constant = replace(activation(1, 4), data=np.array([[1, 2, 3, 4]], np.int8))
    tensors = {"x": activation(1, 2, 2), "flat": activation(1, 4), "c": constant}
    graph = Graph("edges", tensors, (Reshape(inputs=("x",), outputs=("flat",)),), ("x",), ("flat", "c", "x"))
    x = random_inputs(graph, 3)[0]
    with host_c(graph) as host:
        flat, c, same = host.run(x)
    np.testing.assert_array_equal(flat.reshape(3, -1), x.reshape(3, -1))
    np.testing.assert_array_equal(c, np.broadcast_to([[[1, 2, 3, 4]]], (3, 1, 4)))
    np.testing.assert_array_equal(same, x)


QUANT = small_cnn()["image"].quant
assert QUANT is not None
OFFSET = (np.arange(256) - 128).astype(np.int8)[None, :]
PREPROCESS = {
    "table": byte_tables(Normalization((8.0,), (5.0,)), "uint8", QUANT, 1),
    "signed table": byte_tables(Normalization((3.0,), (7.0,)), "int8", QUANT, 1),
    "offset": Preprocess("uint8", OFFSET),
    "identity": Preprocess("int8", np.roll(OFFSET, 128, axis=1)),
}


@pytest.mark.parametrize("kind", PREPROCESS)
def test_raw_input(kind: str) -> None:
    graph, preprocess = small_cnn(), PREPROCESS[kind]
    assert preprocess.is_offset == (kind in ("offset", "identity"))
    vectors = random(graph, 16, preprocess)
    assert vectors.inputs[0].dtype == np.dtype(preprocess.dtype)
    with host_c(graph, preprocess) as host:
        np.testing.assert_array_equal(host.run(*vectors.inputs)[0], vectors.outputs[0])


def test_raw_input_has_a_table_a_channel() -> None:
    graph = strided()
    x = graph["x"].quant
    assert x is not None
    preprocess = byte_tables(Normalization((100.0, 120.0), (60.0, 50.0)), "uint8", x, 2)
    assert not np.array_equal(preprocess.tables[0], preprocess.tables[1])
    vectors = random(graph, 16, preprocess)
    with host_c(graph, preprocess) as host:
        np.testing.assert_array_equal(host.run(*vectors.inputs)[0], vectors.outputs[0])


PER_CHANNEL = Normalization((1.5, -2.0), (0.1, 4.0))


def test_the_header_says_how_raw_values_are_normalised() -> None:
    graph, raw = small_cnn(), Normalization((8.0,), (5.0,))
    quant = graph["image"].quant
    assert quant is not None

    def header(preprocess: Preprocess | None, normalization: Normalization | None) -> str:
        return to_c(lowered(graph), preprocess, normalization)["small_cnn.h"]

    made = header(byte_tables(raw, "uint8", quant, 1), raw)
    assert " *     small_cnn_preprocess makes it of raw values: real = (raw - 8) / 5\n" in made
    assert "quantize_input" not in made
    given = header(None, PER_CHANNEL)
    assert "small_cnn_quantize_input makes it of raw values: real = (raw - mean) / std by channel, the last axis;" in given
    assert " mean 1.5, -2; std 0.1, 4\n" in given
    assert "One inference of raw float values:\n *\n *     small_cnn_quantize_input(arena, values);\n" in given
    assert "void small_cnn_quantize_input(void *arena, const float *raw);" in given
    assert "raw" not in header(None, None)


CPP_PROGRAM = """
#include <cstdio>
#include <cstring>

#include "small_cnn.h"

#ifdef SMALL_CNN_STATIC_ARENA
static unsigned char *const arena = small_cnn_static_arena;
#else
alignas(16) static unsigned char arena[SMALL_CNN_ARENA_BYTES];
#endif

int main() {
  static_assert(SMALL_CNN_INPUT_COUNT == 1 && SMALL_CNN_OUTPUT_0_BYTES == 10, "sizes are constants");
  static_assert(SMALL_CNN_OUTPUT_0_ZERO_POINT == -128 && SMALL_CNN_OUTPUT_0_SCALE == 1.0f / 256, "so is the quantisation");
  static_assert(SMALL_CNN_CLASSES == 10, "one name a value");
  int8_t *const image = small_cnn_input_image(arena);
  const int8_t *const answer = small_cnn_output_probabilities(arena);
  if (image != small_cnn_input(arena, 0) || answer != small_cnn_output(arena, 0)) return 3;
  if (strcmp(small_cnn_class_name(0), "a 'cat'_") || strcmp(small_cnn_class_name(9), "class 9")) return 4;
  if (small_cnn_class_name(-1) || small_cnn_class_name(10)) return 5;
  if (fread(image, 1, SMALL_CNN_INPUT_BYTES, stdin) != SMALL_CNN_INPUT_BYTES) return 1;
  small_cnn_invoke(arena);
  fwrite(answer, 1, SMALL_CNN_OUTPUT_BYTES, stdout);
  return small_cnn_input(arena, 1) == nullptr && small_cnn_output(arena, 7) == nullptr ? 0 : 2;
}
"""


@pytest.mark.parametrize("arena", [[], ["-DSMALL_CNN_STATIC_ARENA"]], ids=["the caller's arena", "its own arena"])
def test_the_library_links_with_cpp(arena: list[str], tmp_path: Path) -> None:
    graph = small_cnn()
    write_library(lowered(graph), tmp_path, classes=['a "cat"\\', *(f"class {i}" for i in range(1, 10))])
    (tmp_path / "program.cpp").write_text(CPP_PROGRAM)
    strict = ["-Wall", "-Wextra", "-Werror", "-pedantic", "-I", str(tmp_path), *arena]
    run = {"check": True, "cwd": tmp_path}
    subprocess.run(["gcc", *WARNINGS, "-I", str(tmp_path), *arena, "-O2", "-c", "small_cnn.c"], **run)  # type: ignore[call-overload]
    subprocess.run(["g++", "-std=c++11", *strict, "program.cpp", "small_cnn.o", "-o", "program"], **run)  # type: ignore[call-overload]
    subprocess.run(["g++", "-std=c++20", *strict, "-x", "c++", "-c", "small_cnn.c", "-o", "/dev/null"], **run)  # type: ignore[call-overload]
    vectors = golden(graph, random_inputs(graph, 3))
    for x, y in zip(vectors.inputs[0], vectors.outputs[0], strict=True):
        done = subprocess.run([tmp_path / "program"], input=x.tobytes(), capture_output=True, check=True)
        assert done.stdout == y.tobytes()


@pytest.mark.cross
@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m33"])
def test_the_library_needs_no_c_library_and_no_heap(core: str, tmp_path: Path) -> None:
    write_library(lowered(small_cnn()), tmp_path)
    command = ["arm-none-eabi-gcc", *WARNINGS, f"-mcpu={core}", "-mthumb", "-O2", "-ffreestanding"]
    subprocess.run([*command, "-c", "small_cnn.c", "-o", "small_cnn.o"], check=True, cwd=tmp_path)
    done = subprocess.run(["arm-none-eabi-nm", "small_cnn.o"], check=True, cwd=tmp_path, capture_output=True, text=True)
    symbols = [line.split()[-2:] for line in done.stdout.splitlines()]
    undefined = {name for kind, name in symbols if kind == "U"}
    assert {n for n in undefined if not n.startswith("__aeabi_")} <= {"memcpy", "memset", "memmove"}
    assert {name for kind, name in symbols if kind == "T"} == {"small_cnn_input", "small_cnn_output", "small_cnn_invoke"}
    assert not [name for kind, name in symbols if kind in "BbDd"], "all memory is the caller's arena"


@pytest.mark.parametrize("raw", [Normalization((1.5, -2.0), (0.1, 4.0)), Normalization((0.0,), (1.0,))])
def test_raw_floats_are_quantised_as_the_host_does(raw: Normalization, tmp_path: Path) -> None:
    graph = strided()
    library = tmp_path / "model"
    write_library(lowered(graph), library, normalization=raw)
    p = prefix(graph)
    (source,) = library.glob("*.c")
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-pedantic", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, str(source), "-o", str(tmp_path / "lib.so")], check=True)
    made = ctypes.CDLL(str(tmp_path / "lib.so"))
    place, quantize_input = made[f"{p}_input"], made[f"{p}_quantize_input"]
    place.restype = ctypes.c_void_p
    x = graph[graph.inputs[0]]
    random = np.random.default_rng(7)
    steps = random.integers(-300, 300, (200, *x.shape)) / np.float32(2)  # many of them just between two values
    values = (steps * np.float32(x.scale) * np.float32(raw.std) + np.float32(raw.mean)).astype(np.float32)
    values.ravel()[:6] = [np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-40]
    arena = np.zeros(lowered(graph).arena.arena_bytes, np.int8)
    memory = arena.ctypes.data_as(ctypes.c_void_p)
    start = place(memory, 0) - arena.ctypes.data
    for example in values:
        quantize_input(memory, example.ctypes.data_as(ctypes.c_void_p))
        with np.errstate(invalid="ignore", over="ignore"):
            wanted = to_int8(example[None], x, raw, None)[0]
        np.testing.assert_array_equal(arena[start : start + x.size].reshape(x.shape), wanted)

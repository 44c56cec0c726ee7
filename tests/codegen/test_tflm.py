"""What a TFLite Micro project gets."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from example_graphs import small_cnn, strided
from example_target import BOARD, lowered

from pipeline.codegen.tflm import arena_estimate, arena_kind, operators, resolver_method, tflm_sources
from pipeline.codegen.to_tflite import to_tflite
from pipeline.evidence import SourceProof
from pipeline.firmware.cortex_m import write_firmware
from pipeline.host import build
from pipeline.ir import Graph
from pipeline.locations import data_dir
from pipeline.preprocess import Preprocess
from pipeline.proof.tflm import smallest_arena, tflm_available

HERE = Path(__file__).parent


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
    assert arena_estimate(lowered(graph)) >= smallest_arena(to_tflite(graph))


@dataclass(frozen=True)
class Model:
    graph: Graph
    preprocess: Preprocess | None = None
    source: bytes | None = None
    proof: SourceProof | None = None


def tflm_library(folder: Path, *options: str) -> Path:
    """A TFLM folder whose library is compiled with `options`. It needs no C library: what is used of one's headers lies
    beside TFLM's, what is called of it is in the library."""
    shutil.copytree(HERE / "tflm_interface", folder)
    integers = [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
    typedefs = "".join(f"typedef __{name.upper()}_TYPE__ {name}_t;\n" for name in integers)
    (folder / "stdint.h").write_text(f"#pragma once\n{typedefs}")
    for header in ("stdint", "stddef"):
        (folder / f"c{header}").write_text(f"#include <{header}.h>\n")
    flags = [
        *build.cpu_flags(BOARD).split(),
        "-O2",
        "-ffreestanding",
        "-fno-exceptions",
        "-fno-rtti",
        "-ffunction-sections",
        *options,
    ]
    memory = data_dir("firmware_templates") / "cortex_m" / "memory.c"
    for command in (
        ["gcc", *flags, "-I.", "-c", str(HERE / "tflm_library" / "library.cc")],
        ["gcc", *build.cpu_flags(BOARD).split(), "-O2", "-ffreestanding", "-c", str(memory)],
        ["ar", "rcs", "libtensorflow-microlite.a", "library.o", "memory.o"],
    ):
        subprocess.run([build.TOOLS + command[0], *command[1:]], cwd=folder, check=True)
    return folder


@pytest.mark.cross
@pytest.mark.parametrize("options", [(), ("-DTF_LITE_STRIP_ERROR_STRINGS", "-DNDEBUG")], ids=["with_strings", "release"])
def test_it_links_with_either_build_of_the_library(
    options: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFLM_LIBC", "-nodefaultlibs -lgcc")
    library = tflm_library(tmp_path / "tflm", *options)
    made = write_firmware(Model(small_cnn()), BOARD, tmp_path / "firmware", tflm_dir=library)
    elf = made.elf.with_name("small_cnn_tflm.elf")
    symbols = subprocess.run([f"{build.TOOLS}nm", "-C", str(elf)], capture_output=True, text=True, check=True).stdout
    assert ("MicroPrintf" in symbols) is (not options)  # which main.cc alone calls
    assert "MicroInterpreter::Invoke" in symbols
    binary = tmp_path / "tflm.bin"
    subprocess.run([f"{build.TOOLS}objcopy", "-O", "binary", str(elf), str(binary)], check=True)
    assert build.build_id(binary) != made.build_id  # a board that runs it is not measured as the other


def test_an_arena_that_nobody_tried_is_an_estimate() -> None:
    assert arena_kind({"proven": {"tflm": None}}) == "estimated"
    assert arena_kind({"proven": {"tflm": 16}}) == "computed"

"""Two generated projects, kept as they are: every change of generated text is seen in a diff.

After a change on purpose: UPDATE_GOLDEN=1 pytest tests/codegen/test_golden.py, and read the diff. Files copied as they are
(kernels, start-up, protocol) are not kept twice.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from example_graphs import small_cnn, two_inputs
from example_target import BOARD, lowered

from pipeline.codegen.arena_svg import arena_svg
from pipeline.codegen.library import write_library
from pipeline.codegen.tflm import tflm_sources
from pipeline.codegen.to_tflite import to_tflite
from pipeline.firmware.skeleton import write_skeleton
from pipeline.ir import Graph
from pipeline.locations import data_dir
from pipeline.preprocess import Normalization, Preprocess, byte_tables

GOLDEN = Path(__file__).parent / "golden"


def raw_image() -> Preprocess:
    quant = small_cnn()["image"].quant
    assert quant is not None
    return byte_tables(Normalization((8.0,), (5.0,)), "uint8", quant, 1)


PROJECTS = {"small_cnn": (small_cnn(), raw_image()), "two_inputs": (two_inputs(), None)}


def generate(folder: Path, graph: Graph, preprocess: Preprocess | None) -> None:
    made, model = lowered(graph), to_tflite(graph)
    write_library(made, folder / "model", preprocess)
    write_skeleton(folder, made, preprocess, BOARD)
    (folder / "model.tflite").write_bytes(model)
    (folder / "arena.svg").write_text(arena_svg(made), encoding="utf-8")
    for name, text in tflm_sources(graph, model, 4096, "a size given by the test").items():
        (folder / "tflm" / name).write_text(text, encoding="utf-8")
    templates = {p.read_bytes() for p in data_dir("firmware_templates").rglob("*") if p.is_file()}
    for file in [p for p in folder.rglob("*") if p.is_file() and p.read_bytes() in templates]:
        file.unlink()


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("name", PROJECTS)
def test_generated_project_is_as_it_was(name: str, tmp_path: Path) -> None:
    generate(tmp_path, *PROJECTS[name])
    made = contents(tmp_path)
    if os.environ.get("UPDATE_GOLDEN"):
        shutil.rmtree(GOLDEN / name, ignore_errors=True)
        for file, content in made.items():
            (GOLDEN / name / file).parent.mkdir(parents=True, exist_ok=True)
            (GOLDEN / name / file).write_bytes(content)
    kept = contents(GOLDEN / name)
    assert sorted(made) == sorted(kept)
    for file, content in made.items():
        same = content == kept[file]
        if not same and not file.endswith(".tflite"):
            assert content.decode().splitlines() == kept[file].decode().splitlines(), file
        assert same, f"{file} differs; if that is on purpose: UPDATE_GOLDEN=1 pytest {Path(__file__).name}"


def test_a_project_has_what_it_should() -> None:
    for name in PROJECTS:
        expected = {
            "CMakeLists.txt", "Makefile", "README.md", "arena.svg", "model.tflite", f"model/{name}.c", f"model/{name}.h",
            f"model/{name}_weights.h", "src/board.h", "src/main.c", "src/memory.ld",
            "tflm/main.cc", "tflm/model_data.c", "tflm/model_data.h", "tflm/op_resolver.h",
        }  # fmt: skip
        if PROJECTS[name][1]:
            expected.add(f"model/{name}_preprocess.h")
        assert set(contents(GOLDEN / name)) == expected


@pytest.mark.parametrize("name", PROJECTS)
@pytest.mark.parametrize("compiler", [["gcc", "-std=c99"], ["g++", "-std=c++11", "-x", "c++"]], ids=["C", "C++"])
def test_the_readmes_example_compiles(compiler: list[str], name: str) -> None:
    project = GOLDEN / name
    example = (project / "README.md").read_text().split("```c\n")[1].split("```")[0]
    declarations, calls = example.split("\n\n")[:2], example.split("\n\n")[2]
    values = ", ".join(f"const signed char *{word}" for word in sorted(set(re.findall(r"\bvalues\w*", calls))))
    program = "\n".join(["#include <string.h>", *declarations, f"int f({values}) {{", calls, "return answer[0]; }"])
    command = [*compiler, "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-I", str(project / "model"), "-"]
    if compiler[0] == "gcc":
        command[-1:] = ["-x", "c", "-"]
    done = subprocess.run(command, input=program, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", PROJECTS)
def test_the_tflm_main_compiles_against_its_interface(name: str) -> None:
    templates, project = data_dir("firmware_templates") / "cortex_m", GOLDEN / name
    folders = [project / "tflm", project / "src", project / "model", templates, Path(__file__).parent / "tflm_interface"]
    includes = [argument for folder in folders for argument in ("-I", str(folder))]
    command = [
        "g++",
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fsyntax-only",
        *includes,
        str(project / "tflm" / "main.cc"),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

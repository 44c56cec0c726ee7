"""Firmware that can not be made or read back: what is said, and that nothing is left behind."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from example_graphs import random_inputs, small_cnn, strided, two_inputs
from example_target import BOARD
from packaged import model_of

from pipeline.codegen.to_tflite import to_tflite
from pipeline.errors import BuildError, GraphError, MismatchError, PipelineError, RecipeError, TargetError
from pipeline.firmware.cortex_m import require_target, write_firmware
from pipeline.firmware.manifest import FORMAT, read_manifest
from pipeline.host import build
from pipeline.host.build import cross_build
from pipeline.ir import Array, Graph
from pipeline.ops.conv2d import Conv2d
from pipeline.proof import tflm as oracle
from pipeline.proof.tflm import tflm_available
from pipeline.proof.vectors import golden

pytestmark = pytest.mark.cross


def fails(error: type[PipelineError], match: str, folder: Path, attempt: Callable[[Path], object]) -> str:
    """The message; nothing may be left behind."""
    with pytest.raises(error, match=match) as caught:
        attempt(folder)
    assert list(folder.parent.iterdir()) == []
    return str(caught.value)


def small_memory(**memory: int) -> Callable[[Path], object]:
    target = replace(BOARD, memory=replace(BOARD.memory, **memory))
    return lambda folder: write_firmware(model_of(small_cnn()), target, folder)


@pytest.mark.parametrize(
    ("memory", "match"),
    [
        pytest.param(
            {"ram_bytes": 5200},
            r"the RAM of test-board: it needs more than 5,216 bytes, there are 5,200\. It holds activations 1,056, the "
            r"uploaded input 64, the stack 4,096; the peak of the activations is at layer 2, conv2d 'pw', which holds "
            r"'stem' 512, 'dw' 512, 'pw' 512, scratch 32 bytes at once",
            id="arena, before building",
        ),
        pytest.param(
            {"ram_bytes": 5216},
            r"the RAM of test-board: it needs 5,\d\d\d bytes, there are 5,216\. .* the firmware's own variables \d",
            id="variables, at the linker",
        ),
        pytest.param(
            {"flash_bytes": 1024},
            r"the flash of test-board: it needs more than 1,\d\d\d bytes, there are 1,024\. .* most of them in '",
            id="weights, before building",
        ),
        pytest.param(
            {"flash_bytes": 4096},
            r"the flash of test-board: it needs \d\d?,\d\d\d bytes, there are 4,096\. .* 'stem' \(conv2d\) 144.*"
            r"; code takes \d",
            id="code, at the linker",
        ),
    ],
)
def test_over_budget_names_the_layers(memory: dict[str, int], match: str, tmp_path: Path) -> None:
    message = fails(TargetError, f"(?s){match}", tmp_path / "firmware", small_memory(**memory))
    assert "prune.keep" in message
    assert "pipeline targets" in message


def test_an_unknown_driver_is_named(tmp_path: Path) -> None:
    target = replace(BOARD, device=replace(BOARD.device, hal="cmsdk_art"))
    for attempt in (lambda folder: write_firmware(model_of(strided()), target, folder), lambda _: require_target(target)):
        fails(
            TargetError,
            r"device\.hal = 'cmsdk_art' has no driver\. Did you mean 'cmsdk_uart'\? Use one of: cmsdk_uart",
            tmp_path / "firmware",
            attempt,
        )


def test_the_manifest_names_the_compiler_that_proved_the_c(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mycc, called = tmp_path / "mycc", tmp_path / "called"
    mycc.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && {{ echo "My C compiler 9.8.7"; exit; }}\necho x >> {called}\nexec gcc "$@"\n'
    )
    mycc.chmod(0o755)
    monkeypatch.setenv("CC", str(mycc))
    firmware = write_firmware(model_of(strided()), BOARD, tmp_path / "firmware")
    assert called.is_file(), "the host's proof was compiled by another program"
    assert read_manifest(firmware.folder)["toolchain"]["host C compiler"] == "mycc: My C compiler 9.8.7"


def test_a_missing_toolchain_is_named_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path.parent))
    for attempt in (lambda folder: write_firmware(model_of(strided()), BOARD, folder), lambda _: require_target(BOARD)):
        fails(
            BuildError,
            r"arm-none-eabi-gcc \(builds the firmware\).* not found .* Install: ",
            tmp_path / "firmware",
            attempt,
        )


def test_a_missing_tflm_library_is_named(tmp_path: Path) -> None:
    fails(
        RecipeError,
        r"no libtensorflow-microlite\.a in the tflm_dir /nowhere, its lib/ or gen/\*/lib/\. Give the folder",
        tmp_path / "firmware",
        lambda folder: write_firmware(model_of(strided()), BOARD, folder, tflm_dir=Path("/nowhere")),
    )


@dataclass(frozen=True, kw_only=True)
class OffByOne(Conv2d):
    """A convolution whose reference is wrong: what a kernel with an error looks like from here."""

    def reference(self, graph: Graph, *args: Array) -> tuple[Array, ...]:
        (y,) = super().reference(graph, *args)
        return (np.where(y == y.max(), y - 1, y),)


def test_a_mismatch_names_the_first_layer(tmp_path: Path) -> None:
    graph = small_cnn()
    wrong = OffByOne(inputs=graph.ops[2].inputs, outputs=graph.ops[2].outputs)
    broken = replace(graph, ops=(*graph.ops[:2], wrong, *graph.ops[3:]))
    message = fails(
        MismatchError,
        r"the generated C does not answer .* layer 2 \(off_by_one 'pw'\) is the first to differ",
        tmp_path / "firmware",
        lambda folder: write_firmware(model_of(broken), BOARD, folder, vectors=golden(broken, random_inputs(broken, 40))),
    )
    assert "Nothing is kept" in message


@pytest.mark.skipif(not tflm_available(), reason="TFLM's wheel is for Linux x86-64")
def test_tflm_answering_otherwise_is_a_mismatch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = oracle.tflm_run
    monkeypatch.setattr(oracle, "tflm_run", lambda *args: tuple(y ^ 1 for y in run(*args)))
    fails(
        MismatchError,
        "TFLM on the .tflite file does not answer as the integer reference of 'small_cnn' does: its layers are equal when",
        tmp_path / "firmware",
        lambda folder: write_firmware(model_of(small_cnn()), BOARD, folder),
    )


def test_without_tflm_its_arena_is_an_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = small_cnn()
    monkeypatch.setattr(oracle, "tflm_available", lambda: False)
    manifest = read_manifest(write_firmware(model_of(graph), BOARD, tmp_path / "firmware").folder)
    assert manifest["proven"] == {"vectors": 16, "host_c": 16, "tflm": None, "source": None}
    assert manifest["tflm"]["arena_note"].startswith("an estimate: TFLM could not run")
    monkeypatch.undo()
    if tflm_available():
        assert manifest["tflm"]["arena_bytes"] >= oracle.smallest_arena(to_tflite(graph))


def test_a_place_that_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecipeError, match=r"the firmware folder can not be made in .*file: File exists"):
        write_firmware(model_of(strided()), BOARD, tmp_path / "file" / "firmware")


def test_a_full_disk_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pipeline.firmware.cortex_m.arena_svg", full)
    fails(
        BuildError,
        r"can not be written in .*: No space left on device\. Free some space",
        tmp_path / "firmware",
        lambda folder: write_firmware(model_of(strided()), BOARD, folder),
    )


def test_a_disk_that_the_compiler_finds_full(tmp_path: Path) -> None:
    """It names its own temporary file, which is in the firmware's folder."""
    said = "/x/ccQx.s: fatal error: error writing to /x/ccQx.s: No space left on device"
    (tmp_path / "Makefile").write_text(f"all:\n\t@echo '{said}' >&2; exit 1\n")
    advice = "Free some space, or name a place that has it with --out."
    with pytest.raises(BuildError) as e:
        cross_build(tmp_path, "net")
    assert str(e.value) == f"`make all` of the firmware failed: {said}. {advice}"


def test_a_tflm_firmware_that_is_too_large_is_no_reason_for_other_kernels(tmp_path: Path) -> None:
    said = "ld: region \\`FLASH' overflowed by 1234 bytes"
    (tmp_path / "Makefile").write_text(f'tflm:\n\t@echo "{said}" >&2; exit 1\n')
    with pytest.raises(
        TargetError, match=r"with TFLM the firmware is 1,234 bytes larger than the target's flash\. Leave --tf"
    ):
        build.tflm_build(tmp_path, tmp_path)


def test_a_build_that_is_ended_ends_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What make has started must not go on writing while the folder is removed."""
    (tmp_path / "Makefile").write_text('all:\n\tsh -c "sleep 1; touch late"; touch later\n')
    monkeypatch.setattr("pipeline.host.build.BUILD_TIMEOUT_S", 0.3)
    began = time.monotonic()
    with pytest.raises(BuildError, match=r"`make all` of the firmware took longer than 0\.3 s and was stopped\. Is this"):
        cross_build(tmp_path, "net")
    assert time.monotonic() - began < 0.9
    time.sleep(1)
    assert [p.name for p in tmp_path.iterdir()] == ["Makefile"]


def test_float_inputs_are_refused(tmp_path: Path) -> None:
    graph = two_inputs()
    name = graph.inputs[0]
    tensors = {**graph.tensors, name: replace(graph[name], dtype="float32")}
    unchecked = Graph("floats", tensors, (), (name,), (name,))
    fails(
        GraphError,
        "'a/left' is float32; the firmware's inputs and outputs must be int8",
        tmp_path / "firmware",
        lambda folder: write_firmware(model_of(unchecked), BOARD, folder),
    )


def test_the_linkers_words_are_understood() -> None:
    output = "ld: x.elf section `.text' will not fit in region `FLASH'\nld: region `FLASH' overflowed by 120 bytes\n"
    error = build.link_error(f"{output}collect2: error: ld returned 1 exit status")
    assert error is not None
    assert (error.region, error.excess_bytes) == ("FLASH", 120)
    one = build.link_error("ld: region `RAM' overflowed by 1 byte")
    assert one is not None
    assert (one.region, one.excess_bytes) == ("RAM", 1)
    assert build.link_error("undefined reference to `memcpy'") is None


@pytest.mark.parametrize(
    ("core", "fpu", "match"),
    [
        ("cortex-m99", "", r"cpu\.core = 'cortex-m99' .*: error: unrecognized -mcpu target: cortex-m99\. Give the core as"),
        ("cortex-m4", "vfp99", r"cpu\.fpu = 'vfp99': .*error: unrecognized argument in option '-mfpu=vfp99'"),
        ("cortex-m0", "", r"error: #error the firmware needs Armv7-M or Armv8-M Mainline\. Give"),
    ],
)
def test_a_wrong_core_is_told_in_the_compilers_words(core: str, fpu: str, match: str) -> None:
    with pytest.raises(TargetError, match=match):
        require_target(replace(BOARD, cpu=replace(BOARD.cpu, core=core, fpu=fpu)))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, r"it has no manifest\.json"),
        ("", r"its manifest\.json is damaged \(Expecting value"),
        ("[" * 100_000, r"its manifest\.json is damaged \(maximum recursion"),
        ("3", r"its manifest\.json is another program's: it names no `format`"),
        ('{"target": 3}', r"its manifest\.json is another program's: it names no `format`"),
        (" " * 20_000_000, r"its manifest\.json has more than 16,777,216 bytes"),
    ],
    ids=["none", "empty", "deep", "number", "other", "huge"],
)
def test_what_is_no_firmware_folder(content: str | None, why: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    what_works = r"Give a folder that `pipeline compile` wrote, or the firmware/ folder of a run\."
    with pytest.raises(RecipeError, match=rf"is no firmware folder: {why}.*\. {what_works}"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("manifest", "who"),
    [
        ({"format": 1, "toolchain": {"tinyml-pipeline": "0.0.9"}}, "version 0.0.9"),
        ({"format": 99, "toolchain": {"tinyml-pipeline": "12.1"}}, "version 12.1"),
        ({"format": 1}, "an older version"),
        ({"format": 1, "toolchain": {"tinyml-pipeline": 3}}, "an older version"),
        ({"format": None, "toolchain": []}, "an older version"),
        ({"format": FORMAT + 1}, "a newer version"),
    ],
)
def test_a_firmware_folder_of_another_version(manifest: dict[str, object], who: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    formats = rf"its manifest\.json has format {manifest['format']}, this version reads {FORMAT}"
    with pytest.raises(RecipeError, match=rf".* was made by {who} \({formats}\); compile it again\."):
        read_manifest(tmp_path)


def test_a_runs_folder_is_not_its_firmwares(tmp_path: Path) -> None:
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware" / "manifest.json").touch()
    with pytest.raises(RecipeError, match=rf"it has no manifest\.json\. Did you mean {tmp_path}/firmware\? Give"):
        read_manifest(tmp_path)

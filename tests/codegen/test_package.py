"""Whole firmware folders: they build by themselves, the same everywhere, and are proven."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from example_graphs import small_cnn, strided, two_inputs
from example_target import BOARD
from packaged import model_of

from pipeline.artifacts import Firmware
from pipeline.errors import BuildError, RecipeError
from pipeline.firmware.cortex_m import write_firmware
from pipeline.firmware.manifest import read_manifest
from pipeline.host import build
from pipeline.proof.tflm import tflm_available
from pipeline.proof.vectors import golden

pytestmark = pytest.mark.cross


@pytest.fixture(scope="module")
def firmware(tmp_path_factory: pytest.TempPathFactory) -> Firmware:
    return write_firmware(model_of(small_cnn(), raw=True), BOARD, tmp_path_factory.mktemp("one") / "firmware")


def test_everything_is_there(firmware: Firmware) -> None:
    for name in (
        "model.tflite", "model/small_cnn.h", "model/small_cnn.c", "model/small_cnn_weights.h",
        "model/kernels/add_s8_dense.h", "src/main.c", "src/protocol.c", "src/startup.c", "src/memory.ld",
        "src/hal/cmsdk_uart.c",
        "tflm/model_data.h", "tflm/model_data.c", "tflm/op_resolver.h", "tflm/main.cc", "vectors.npz", "arena.svg",
        "Makefile", "CMakeLists.txt", "README.md", "manifest.json",
        *(f"build/small_cnn.{kind}" for kind in ("elf", "bin", "hex", "map")),
    ):  # fmt: skip
        assert (firmware.folder / name).is_file(), name
    assert not (firmware.folder / "build" / "obj").exists()
    assert [p.name for p in firmware.folder.parent.iterdir()] == ["firmware"]


def test_the_manifest_is_true(firmware: Firmware) -> None:
    manifest = read_manifest(firmware.folder)
    for name, sha256 in manifest["files"].items():
        assert hashlib.sha256((firmware.folder / name).read_bytes()).hexdigest() == sha256
    present = {p.relative_to(firmware.folder).as_posix() for p in firmware.folder.rglob("*") if p.is_file()}
    assert present == {*manifest["files"], "manifest.json"}
    assert firmware.sha256 == manifest["files"]["build/small_cnn.bin"]
    assert firmware.build_id == manifest["image"]["build_id"]
    assert firmware.model_id == manifest["model"]["id"] == small_cnn().sha256()[:16]
    assert manifest["target"]["name"] == "test-board"
    assert manifest["toolchain"]["arm-none-eabi-gcc"].count(".") >= 1
    assert manifest["proven"]["host_c"] == manifest["proven"]["vectors"] == 16
    assert manifest["proven"]["tflm"] == (16 if tflm_available() else None)
    layers = manifest["layers"]
    assert [row["kind"] for row in layers][:3] == ["conv2d", "depthwise_conv2d", "conv2d"]
    assert sum(row["macs"] for row in layers) == manifest["model"]["macs"] == small_cnn().macs()
    assert layers[1]["constant_bytes"] == 72 + 8 * 4 + 8 * 4 + 8  # weights, biases, multipliers, shifts


def test_the_manifest_says_which_variants_were_possible_and_why_one_won(firmware: Firmware) -> None:
    layers = read_manifest(firmware.folder)["layers"]
    name, image, depthwise = "conv2d_s8_1x1__dsp", "conv2d_s8_image__dsp", "depthwise_conv2d_s8_3x3__dsp"
    assert [row["variant"] for row in layers][:4] == [image, depthwise, name, "add_s8_dense"]
    assert [row["kernels"] for row in layers][:4] == [[row["variant"]] for row in layers][:4]
    said = {v["name"]: (v["possible"], v["why"]) for v in layers[0]["variants"]}
    slow, fast = (next(v["cycles"] for v in layers[0]["variants"] if v["name"] == n) for n in ("conv2d_s8", image))
    assert said["conv2d_s8"] == (True, f"about {slow:,} cycles, {image} takes {fast:,}")
    assert said[name] == (False, "its weights are 3x3, not 1x1")
    assert said[image] == (True, f"about {fast:,} cycles, the fewest")
    assert set(said) == {"conv2d_s8"} | {f"conv2d_s8_{way}__dsp" for way in ("1x1", "image", "winograd2", "winograd4")}
    fast = next(v for v in layers[2]["variants"] if v["name"] == name)
    assert fast == {
        "name": name, "possible": True, "why": f"about {fast['cycles']:,} cycles, the fewest", "cost": fast["cost"],
        "cycles": round(1.39 * fast["cost"]),
        "needs": ["dsp"], "scratch_bytes": 32, "code_bytes": 1372,
    }  # fmt: skip
    assert layers[2]["scratch_bytes"] == 32
    assert (firmware.folder / "model" / "kernels" / f"{name}.h").is_file()


def test_sizes_are_the_images(firmware: Firmware) -> None:
    manifest = read_manifest(firmware.folder)
    sections = manifest["image"]["sections"]
    binary = (firmware.folder / "build" / "small_cnn.bin").stat().st_size
    assert firmware.flash_bytes == manifest["image"]["flash_bytes"] == binary
    assert firmware.ram_bytes == sections[".bss"] + sections[".data"] + BOARD.memory.stack_bytes
    least = firmware.arena_bytes + 64 + BOARD.memory.stack_bytes
    assert least <= firmware.ram_bytes < least + 1024
    assert manifest["model"]["constant_bytes"] < firmware.model_flash_bytes < firmware.flash_bytes < 20_000
    assert firmware.model_flash_bytes == manifest["image"]["model_flash_bytes"]


def test_vectors_are_the_references(firmware: Firmware) -> None:
    kept = np.load(firmware.folder / "vectors.npz")
    model = model_of(small_cnn(), raw=True)
    assert kept["input_0"].dtype == np.uint8
    assert model.preprocess is not None
    np.testing.assert_array_equal(kept["preprocess_tables"], model.preprocess.tables)
    expected = golden(model.graph, (kept["input_0"],), model.preprocess)
    np.testing.assert_array_equal(kept["output_0"], expected.outputs[0])


def test_the_same_model_gives_the_same_bytes_anywhere(firmware: Firmware, tmp_path: Path) -> None:
    again = write_firmware(model_of(small_cnn(), raw=True), BOARD, tmp_path / "deeper" / "down" / "other name")
    assert again.sha256 == firmware.sha256
    a, b = (json.loads((f.folder / "manifest.json").read_text())["files"] for f in (firmware, again))
    differing = {name for name in a if a[name] != b[name]}
    assert differing <= {"build/small_cnn.map"}


def test_a_copied_folder_builds_with_make_and_cmake(firmware: Firmware, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(firmware.folder, tmp_path / "copy"))
    generators = [["cmake", "-B", "out"], ["cmake", "--build", "out"]]
    if shutil.which("ninja"):  # names the objects in another order
        generators += [["cmake", "-G", "Ninja", "-B", "ninja"], ["cmake", "--build", "ninja"]]
    for command in (["make", "clean"], ["make"], ["make", "lib"], *generators):
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "warning" not in done.stderr
    binaries = [place / "small_cnn.bin" for name in ("build", "out", "ninja") if (place := folder / name).is_dir()]
    assert len(binaries) >= 2
    for binary in binaries:
        assert hashlib.sha256(binary.read_bytes()).hexdigest() == firmware.sha256
    assert (folder / "build" / "libsmall_cnn.a").is_file()


def edited(name: str, before: str, after: str) -> Callable[[Path], object]:
    """A change of one file of a firmware folder."""

    def edit(folder: Path) -> None:
        text = (folder / name).read_text()
        assert before in text
        (folder / name).write_text(text.replace(before, after))

    return edit


def untouched(_: Path) -> None:
    pass


BUILDS: dict[str, tuple[Callable[[Path], object], list[str], bool]] = {
    "as it is": (untouched, [], True),
    "warnings": (untouched, ["WARNINGS=-Wall"], True),
    "comment": (edited("model/kernels/add_s8_dense.h", "#endif", "/* a word */\n#endif"), [], True),
    "optimised": (untouched, ["OPTIMISE=-O0"], False),
    "all flags": (untouched, ["CFLAGS=-std=c99 -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 -O1"], False),
    "kernel": (edited("model/kernels/pixel_pair.h", "smlad  r1, r8, r10, r1", "smlad  r1, r8, r11, r1"), [], False),
    "preprocess": (edited("model/small_cnn_preprocess.h", "127", "126"), [], False),
    "board": (edited("src/board.h", "BOARD_BAUD ", "BOARD_BAUD 1"), [], False),
    "linker script": (edited("src/memory.ld", ". += 4096", ". += 4128"), [], False),
}


@pytest.mark.parametrize("how", BUILDS)
def test_every_image_has_a_build_id_of_its_own(how: str, firmware: Firmware, tmp_path: Path) -> None:
    change, variables, same = BUILDS[how]
    folder = shutil.copytree(firmware.folder, tmp_path / "copy")
    change(folder)
    done = subprocess.run(["make", "-B", *variables], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    binary = folder / "build" / "small_cnn.bin"
    assert (build.build_id(binary) == firmware.build_id) is same
    assert binary.read_bytes().count(b"m-id-build-") == 1
    assert build.build_id(binary).encode() in (folder / "build" / "small_cnn.elf").read_bytes()


def test_objects_that_were_compiled_with_other_flags_count(firmware: Firmware, tmp_path: Path) -> None:
    """make does not know that they are stale; what is linked has another id all the same."""
    folder = shutil.copytree(firmware.folder, tmp_path / "copy")
    subprocess.run(["make", "build/obj/model/small_cnn.o", "OPTIMISE=-O0"], cwd=folder, capture_output=True, check=True)
    subprocess.run(["make"], cwd=folder, capture_output=True, check=True)
    assert build.build_id(folder / "build" / "small_cnn.bin") != firmware.build_id


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image, _: image + b"\0", "{own}"),
        (lambda image, own: image.replace(own, b"0" * 16), "0000000000000000"),
        (lambda image, own: image.replace(own, b""), "none"),
        (lambda image, own: image + b"m-id-build-%b\0" % own, "{own}, {own}"),
    ],
    ids=["other bytes", "zeros", "no digits", "two"],
)
def test_a_build_id_that_is_not_the_images(
    change: Callable[[bytes, bytes], bytes], said: str, firmware: Firmware, tmp_path: Path
) -> None:
    image = firmware.elf.with_suffix(".bin").read_bytes()
    (tmp_path / "net.bin").write_bytes(change(image, firmware.build_id.encode()))
    said = said.format(own=firmware.build_id)
    with pytest.raises(
        BuildError, match=rf"net\.bin must hold the build id [0-9a-f]{{16}}, .*; it holds {said}\. Is sha256sum"
    ):
        build.build_id(tmp_path / "net.bin")


def test_several_inputs_and_outputs_link(tmp_path: Path) -> None:
    made = write_firmware(model_of(two_inputs()), BOARD, tmp_path / "firmware")
    kept = np.load(made.folder / "vectors.npz")
    assert sorted(kept) == ["input_0", "input_1", "output_0", "output_1"]


def test_an_older_folder_is_replaced_and_a_foreign_one_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "firmware"
    write_firmware(model_of(strided()), BOARD, folder)
    (folder / "build" / "stale").write_text("")
    write_firmware(model_of(two_inputs()), BOARD, folder)
    assert not (folder / "build" / "stale").exists()
    assert (folder / "model" / "two_inputs.c").is_file()
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    with pytest.raises(RecipeError, match="no firmware folder of ours; it is left alone"):
        write_firmware(model_of(strided()), BOARD, precious)
    assert [p.name for p in precious.iterdir()] == ["thesis.txt"]

"""`pipeline compile` and `pipeline measure`, from the command line to the emulated board."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from json_outputs import check
from typer.testing import CliRunner, Result

from pipeline.cli import app
from pipeline.firmware.folder import load_firmware
from pipeline.firmware.manifest import FORMAT

FILE = Path(__file__).parent / "importers" / "files" / "cnn_uint8_edges.tflite"
pytestmark = [pytest.mark.cross, pytest.mark.qemu]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    work = tmp_path_factory.mktemp("compiled")
    done = run("compile", FILE, "--target", "cortex-m4", "--out", work / "fw", "--json", work / "compile.json")
    assert done.exit_code == 0, done.output
    for word in ("arena peak", "bit-exact", "flash", "conv2d"):
        assert word in done.output
    report = json.loads((work / "compile.json").read_text())
    assert report["bit_exact"]["vectors"] == report["bit_exact"]["host_c"] > 0
    firmware = load_firmware(work / "fw")[0]
    assert report["flash_bytes"] == firmware.flash_bytes
    assert (report["model_flash_bytes"], report["model_ram_bytes"]) == (firmware.model_flash_bytes, firmware.arena_bytes)
    assert report["peak_layers"]
    check(report, "compile")
    assert report["kinds"]["tflm_arena_bytes"] == ("estimated" if report["bit_exact"]["tflm"] is None else "computed")
    assert (work / "fw" / "arena.svg").is_file()
    return work / "fw"


def test_measure_scores_labelled_inputs_on_the_device(folder: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    x = rng.integers(0, 256, (9, 9, 7, 3), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", x=x, y=np.arange(9) % 4)
    done = run(
        "measure", folder, "--inputs", tmp_path / "set.npz", "--limit", 7,
        "--outputs", tmp_path / "answers.npy", "--json", tmp_path / "m.json",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "m.json").read_text())
    answers = np.load(tmp_path / "answers.npy", allow_pickle=False)
    assert answers.dtype == np.int8
    assert len(answers) == report["bit_exact"]["vectors"] == report["bit_exact"]["oracles"]["device"] == 7
    right = int((answers.reshape(7, -1).argmax(axis=1) == np.arange(7) % 4).sum())
    assert report["accuracy"]["device"] == pytest.approx(right / 7)
    assert f"{right} of 7" in done.output
    assert report["kind"] == "simulated"
    assert report["measurement"]["energy_kind"] == "estimated"
    check(report, "measure")
    assert 0 < report["measurement"]["stack_bytes"] < 4096
    assert report["measurement"]["model_flash_bytes"] < report["measurement"]["flash_bytes"]
    assert report["kinds"]["measurement"] == {
        "instructions": "simulated", "cycles": "simulated", "cycles_low": "simulated", "cycles_high": "simulated",
        "latency_us_median": "simulated", "energy_uj": "estimated", "ram_bytes": "computed", "flash_bytes": "computed",
        "model_ram_bytes": "computed", "model_flash_bytes": "computed", "stack_bytes": "simulated",
    }  # fmt: skip
    assert report["kinds"]["accuracy"]["device"] == "simulated"


def test_measure_without_inputs_replays_the_kept_vectors(folder: Path, tmp_path: Path) -> None:
    done = run("measure", folder, "--limit", 2, "--json", tmp_path / "m.json")
    assert done.exit_code == 0, done.output
    report = json.loads((tmp_path / "m.json").read_text())
    check(report, "measure")
    assert report["accuracy"] == {"device": None, "recall": None}, "there are no labels"
    assert "accuracy" not in report["kinds"]
    assert "2 of 2 vectors" in done.output


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("compile", "nope.tflite", "--target", "cortex-m4"), 2, "nope.tflite does not exist"),
        (("compile", __file__, "--target", "cortex-m4"), 2, "of no type that is imported"),
        (("compile", FILE, "--target", "cortex-m5"), 2, "Did you mean"),
        (
            ("compile", FILE, "--target", "cortex-m4", "--optimize", "spead"),
            2,
            "no optimize = 'spead'. Did you mean 'speed'?",
        ),
        (("compile", FILE, "--target", "cortex-m4", "--model-flash", 0), 2, "model_flash_bytes = 0 leaves no room at all"),
        (
            ("compile", FILE, "--target", "cortex-m4", "--model-flash", 1),
            2,
            "can not do with 1 bytes of flash for constants",
        ),
        (("compile", FILE, "--target", "cortex-m4", "--model-ram", 1), 2, "can not do with 1 bytes of RAM for activations"),
        (("compile", FILE, "--target", "cortex-m4", "--json", "nowhere/x.json"), 2, "--json nowhere/x.json can not be"),
        (
            ("compile", FILE, "--target", "cortex-m4", "--out", "/etc/passwd"),
            2,
            "/etc/passwd exists and is no firmware folder",
        ),
        (("run", "--target", "cortex-m4", "--out", "/etc/passwd"), 2, "can not be made in /etc/passwd: it is a file. Give"),
        (
            ("measure", "nowhere"),
            2,
            "nowhere is no firmware folder: it does not exist. Give a folder that `pipeline compile`",
        ),
        (("measure", __file__), 2, "is no firmware folder: it is a file. Give a folder that `pipeline compile` wrote"),
        (("measure", "nowhere", "--outputs", "nowhere/x.npy"), 2, "--outputs nowhere/x.npy can not be written"),
    ],
)
def test_mistakes_are_one_paragraph(arguments: tuple[object, ...], code: int, said: str) -> None:
    done = run(*arguments)
    assert done.exit_code == code
    assert said in " ".join(done.output.split())
    assert "Traceback" not in done.output


def test_a_linux_folder_is_no_firmware(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"format": FORMAT, "family": "linux"}))
    done = run("measure", tmp_path)
    assert done.exit_code == 2
    assert "was written for a Linux computer" in " ".join(done.output.split())


def test_a_folder_of_another_version_is_refused(folder: Path, tmp_path: Path) -> None:
    old = shutil.copytree(folder, tmp_path / "old")
    manifest = json.loads((old / "manifest.json").read_text())
    manifest |= {"format": 1, "toolchain": {"tinyml-pipeline": "0.0.1"}}
    (old / "manifest.json").write_text(json.dumps(manifest))
    done = run("measure", old)
    assert done.exit_code == 2
    said = " ".join(done.output.split())
    assert (
        f"was made by version 0.0.1 (its manifest.json has format 1, this version reads {FORMAT}); compile it again." in said
    )
    assert "Traceback" not in said


def test_inputs_of_another_shape_are_refused(folder: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((2, 5, 5, 3), np.uint8))
    done = run("measure", folder, "--inputs", tmp_path / "x.npy")
    assert done.exit_code == 2
    assert "takes examples of shape" in " ".join(done.output.split())

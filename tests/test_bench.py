"""scripts/bench.py without a device: its arguments, the baseline's hash rule, and the page and chart of made-up rows."""

from __future__ import annotations

import hashlib
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from example_graphs import small_cnn
from load_script import script

from pipeline import target as targets
from pipeline.codegen.to_tflite import to_tflite
from pipeline.host import build

bench, rows, pages, chart = (script(name) for name in ("bench", "bench_rows", "bench_page", "bench_chart"))
OURS, OTHER = "a" * 64, "b" * 64
BASELINE = rows.Baseline("Peer <1>", "cortex-m4", "Told by nobody", (rows.Peer("net", OURS, 30_000_000, 36_400_000, 2048),))
NET = rows.Subject("net", Path("/somewhere/net_int8.tflite"), OURS, 2_000_000)
ODD = rows.Subject("odd", Path("/somewhere/odd.tflite"), OTHER, 1000)


def row(subject: Any = NET, target: str = "cortex-m4", optimize: str = "speed", instructions: int = 10_000_000) -> Any:
    core = targets.load(target).cpu.core
    return rows.Row(
        subject=subject,
        target=target,
        optimize=optimize,
        macs=1_600_000,
        instructions=instructions,
        cycles=10_003_337,
        cycles_low=9_859_342,
        cycles_high=10_147_332,
        latency_us=83_361.0,
        model_flash_bytes=4096,
        arena_bytes=1024,
        flash_bytes=8192,
        ram_bytes=2048,
        bit_exact="16 of 16",
        oracles=frozenset({"tflm"}),
        ratio=BASELINE.ratio(subject.sha256, core, instructions),
    )


LAYERS = (rows.LayerCost("conv2d", "8x8x4", "conv2d_s8", 9_000_000), rows.LayerCost("softmax", "4", "softmax_s8", 1_000_000))
FOUND = pages.Bench(
    subjects=(NET, ODD),
    asked=("all",),
    targets=(targets.load("cortex-m4"), targets.load("cortex-m3")),
    modes=("speed", "size"),
    rows=(
        replace(row(), layers=LAYERS),
        row(optimize="size", instructions=20_000_000),
        row(ODD),
        rows.Unfit(NET, "cortex-m3", "speed", "Model 'net' does not fit into 80 KiB"),
        row(ODD, "cortex-m3"),
    ),
    baseline=BASELINE,
)
PAGE = "\n".join(pages.page(FOUND, Path("docs/speed.md"), ["a-gcc 1", "QEMU 2"]))


def test_a_ratio_is_for_the_very_file_on_the_very_core() -> None:
    assert BASELINE.ratio(OURS, "cortex-m4", 10_000_000) == 3.0
    assert BASELINE.ratio(OTHER, "cortex-m4", 10_000_000) is None
    assert BASELINE.ratio("", "cortex-m4", 10_000_000) is None  # a built-in network of that name
    assert BASELINE.ratio(OURS, "cortex-m7", 10_000_000) is None


def test_the_recorded_baseline_has_the_four_files_once_each() -> None:
    recorded = rows.Baseline.read()
    assert {peer.name for peer in recorded.models} == {"resnet8", "ds_cnn", "mobilenet_v1_025", "fc_autoencoder"}
    assert len({peer.sha256 for peer in recorded.models}) == 4
    assert all(len(peer.sha256) == 64 for peer in recorded.models)
    assert "QEMU 7.2 mps2-an386, gcc 12.2" in recorded.conditions


@pytest.mark.parametrize(
    ("count", "said"),
    [(10_003_337, "10.0 M"), (721_000, "721 k"), (999_499, "999 k"), (999_500, "1.00 M"), (123_456_789, "123 M")],
)
def test_three_digits(count: int, said: str) -> None:
    assert rows.millions(count) == said


def test_the_page_has_the_command_and_no_path_of_this_machine() -> None:
    command = 'make bench MODELS="net_int8.tflite odd.tflite" TARGETS=all OPTIMIZE="speed size" PAGE=docs/speed.md'
    assert f"Written by `{command}`; not edited by hand." in PAGE
    assert "somewhere" not in PAGE
    known = replace(FOUND, subjects=(NET,))
    assert pages.command(known, Path("/x/speed.md")) == (
        'make bench MODELS="path/to/mlperf/*.tflite" TARGETS=all OPTIMIZE="speed size" PAGE=speed.md'
    )
    built_in = replace(FOUND, subjects=(rows.Subject("net"),), asked=("cortex-m4",), modes=("speed",))
    assert pages.command(built_in, Path("docs/speed.md")) == (
        "make bench TARGETS=cortex-m4 OPTIMIZE=speed PAGE=docs/speed.md"
    )


LINES = {
    "conditions": f"- Made with a-gcc 1 and QEMU 2; the model's code at `{build.MODEL_OPTIMISE}`.",
    "oracles": "those of the integer reference and of TensorFlow Lite Micro. Nothing here was measured on a physical board.",
    "picture": "![Instructions of one inference, a panel a model](speed.svg)",
    "model": f"| net | 2,000,000 | 1,600,000 | `net_int8.tflite` | `{OURS}` |",
    "against": "| net | speed | 30,000,000 | **3.00** | 36.4 M | 3.64 | 2 KiB | 2.00 |",
    "with_ratio": "| net | speed | 10,000,000 | 6.25 | 10.0 M | 9.86 M to 10.1 M | 4 KiB | 1 KiB | 8 KiB | 2 KiB | 3.00 |",
    "half": "| net | size | 20,000,000 | 12.50 | 10.0 M | 9.86 M to 10.1 M | 4 KiB | 1 KiB | 8 KiB | 2 KiB | 1.50 |",
    "another_file": "| odd | speed | 10,000,000 | 6.25 | 10.0 M | 9.86 M to 10.1 M | 4 KiB | 1 KiB | 8 KiB | 2 KiB |  |",
    "another_core": "| odd | speed | 10,000,000 | 6.25 | 10.0 M | 9.86 M to 10.1 M | 4 KiB | 1 KiB | 8 KiB | 2 KiB |",
    "too_large": "| net | speed | does not fit |  |  |  |  |  |  |  |",
    "why": "- Model 'net' does not fit into 80 KiB (speed).",
    "layers_of": "### net on cortex-m4, speed",
    "layer": "| 0 | conv2d | 8x8x4 | `conv2d_s8` | 9,000,000 | 90.0 % |",
    "sum": "|  | sum |  |  | 10,000,000 |  |",
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_of_the_page(name: str) -> None:
    assert LINES[name] in PAGE.splitlines()


def test_a_baseline_that_met_no_file_has_no_section() -> None:
    page = "\n".join(pages.page(replace(FOUND, rows=(row(ODD),)), Path("p.md"), []))
    assert "Against" not in page
    assert "ratio" not in page
    assert "Where the instructions go" not in page


def test_every_table_has_as_many_cells_in_each_row() -> None:
    tables = [table.splitlines() for table in PAGE.split("\n\n") if table.startswith("|")]
    assert len(tables) == 5
    assert all(len({line.count("|") for line in table}) == 1 for table in tables)


def test_the_chart_has_a_bar_a_row_and_one_for_the_baseline() -> None:
    svg = chart.chart_svg(FOUND.rows, ["cortex-m4", "cortex-m3"], BASELINE)
    assert svg == chart.chart_svg(FOUND.rows, ["cortex-m4", "cortex-m3"], BASELINE)
    space = "{http://www.w3.org/2000/svg}"
    bars = [r for r in ET.fromstring(svg).iter(f"{space}rect") if r.find(f"{space}title") is not None]
    said = {r.findtext(f"{space}title"): float(r.attrib["width"]) for r in bars}
    assert list(said) == [
        "net on cortex-m4, Peer <1>: 30,000,000 instructions",
        "net on cortex-m4, speed: 10,000,000 instructions",
        "net on cortex-m4, size: 20,000,000 instructions",
        "odd on cortex-m4, speed: 10,000,000 instructions",
        "odd on cortex-m3, speed: 10,000,000 instructions",
    ]
    peer, speed, size, *_ = said.values()
    assert (peer / speed, peer / size) == pytest.approx((3, 1.5))
    assert svg.count("does not fit") == 1


def test_all_are_the_emulated_cortex_m_the_default_first() -> None:
    found = bench._cores(["all"])
    names = [t.name for t in found if t.name in ("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55")]
    assert names == ["cortex-m4", "cortex-m3", "cortex-m7", "cortex-m33", "cortex-m55"]
    assert found[0].name == "cortex-m4"
    assert {(t.family, t.device.transport) for t in found} == {("cortex_m", "qemu")}


def test_a_file_is_called_as_the_baseline_calls_it(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(to_tflite(small_cnn()))
    sha256 = hashlib.sha256((tmp_path / "x.tflite").read_bytes()).hexdigest()
    [own] = bench._subjects([tmp_path / "x.tflite"], BASELINE)
    assert (own.name, own.sha256, own.macs > 0) == ("x", sha256, True)
    known = replace(BASELINE, models=(replace(BASELINE.models[0], sha256=sha256),))
    assert bench._subjects([tmp_path / "x.tflite"], known)[0].name == "net"
    assert [s.name for s in bench._subjects([], BASELINE)] == list(bench.NETWORKS)


WRONG = {
    "mode": (("--optimize", "sped"), "there is no optimize = 'sped'. Did you mean 'speed'?"),
    "target": (("--targets", "cortex-m5"), "cortex-m5"),
    "linux": (("--targets", "raspberry-pi-4"), "target raspberry-pi-4 is of family 'linux'"),
    "model": (("none.tflite",), "model none.tflite is no file; give paths of .tflite or .onnx files"),
    "folder": (("--page", "nowhere/page.md"), "--page nowhere/page.md: nowhere is no folder; make it first"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said_before_any_work(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    given, said = WRONG[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["bench.py", *given])
    monkeypatch.setattr(bench, "_measured", lambda *_: pytest.fail("it went on"))
    assert bench.main() == 2
    assert said in capsys.readouterr().err


def test_two_models_of_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_subject", lambda path, _: rows.Subject(path.stem, path, OTHER))
    paths = [tmp_path / "a" / "net.tflite", tmp_path / "b" / "net.tflite"]
    for path in paths:
        path.parent.mkdir()
        path.touch()
    with pytest.raises(bench.RecipeError, match=r"two models are called net.*Rename a file"):
        bench._subjects(paths, BASELINE)

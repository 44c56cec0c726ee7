"""What is said of a Linux target: how far it is from the reference, who measured, and what makes its latencies doubtful."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rich.console import Console

from pipeline import target
from pipeline.devices.linux.computer import energy
from pipeline.evidence import BitExact, Comparison, Differences
from pipeline.measurement.kind import Kind
from pipeline.measurement.linux import Conditions, LinuxMeasurement, ModelFigures, Timing
from pipeline.power.base import WindowEnergy
from pipeline.report.figures import Figure, Report
from pipeline.report.table import print_summary
from pipeline.report.warnings import warnings
from pipeline.report.write import outcome_text, write_report

DIFFERENCES = Differences({0: 3_596, 1: 3, -2: 1})


def on_linux(report: Report, clock: Literal["device", "host"], *, top1: float | None = 1.0, invalid: str = "") -> Report:
    """The same run on a Raspberry Pi 4, or with this computer in its place."""
    timing = Timing(ticks_ns=(80_000, 82_000, 90_000), threads=1, reached=True)
    model = ModelFigures(
        file="digits.onnx", engine="onnxruntime", options={}, load_ms=9.0, cold_start_ms=120.0, warmup_runs=20, warm=True,
        peak_rss_bytes=42_000_000, timing=timing, all_cores=None, per_second=11_000.0, operators=None,
    )  # fmt: skip
    conditions = Conditions(None, (), (), None, 0.0)
    m = LinuxMeasurement(
        device="ONNX Runtime on a test computer", clock=clock, computer={}, int8=model, float32=None, before=conditions,
        after=conditions, others_cores=0.0, rails=None, meter=None, invalid=(invalid,) if invalid else (),
        warnings=("int8 is slower than float",),
    )  # fmt: skip
    kind: Kind = "measured" if clock == "device" else "host"
    figures = (Figure("accuracy", 0.9694, kind), Figure("latency_us_median", 82.0, kind))
    exact = BitExact(360, 356, {"tflm": 360, "onnxruntime": 356})
    agreement = Comparison(360, DIFFERENCES, top1)
    changed = replace(report.measured, measurement=m, bit_exact=exact, agreement=agreement, energy_uj=None, energy_kind=None)
    stages = (*report.stages[:-1], replace(report.stages[-1], figures=figures))
    return replace(report, target=target.load("raspberry-pi-4"), measured=changed, stages=stages)


def printed(report: Report) -> str:
    out = io.StringIO()
    print_summary(report, Console(file=out, width=200))
    return " ".join(out.getvalue().split())


def test_agreement_stands_where_bytes_need_not_be_equal(report: Report, tmp_path: Path) -> None:
    pi = on_linux(report, "device")
    said = (
        "with the integer reference: same class for 100.00 % of 360 images, 99.89 % of all values equal, none off by more "
        "than 2 LSB; TFLite Micro equal on 360"
    )
    assert f"agreement {said}" in printed(pi)
    assert "measured on the device, ONNX Runtime on a test computer" in printed(pi)
    write_report(pi, tmp_path)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert f'<div class="exact"><b>agreement</b> {said}</div>' in page
    assert json.loads(outcome_text([pi], []))["agreement"] == {
        "vectors": 360, "top1": 1.0, "equal_values": 3596 / 3600, "max_lsb": 2,
    }  # fmt: skip
    assert "same class" not in printed(on_linux(report, "device", top1=None))


def test_a_stand_in_is_never_called_measured(report: Report) -> None:
    host = on_linux(report, "host")
    text = printed(host)
    assert "host on this computer, ONNX Runtime on a test computer; no raspberry-pi-4 was measured" in text
    assert "no raspberry-pi-4 was measured: its runner worked on this computer. Name its host in bench.toml." in text
    assert "measured on the device" not in text


def test_energy_that_nothing_tells_has_no_kind(report: Report, tmp_path: Path) -> None:
    host = on_linux(report, "host")
    assert host.json()["measurement"]["energy_uj"] is None
    assert host.json()["measurement"]["energy_kind"] is None
    write_report(host, tmp_path)
    assert "<dt>energy</dt>" not in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "estimated" not in printed(host)


def test_a_stand_ins_power_is_not_the_targets(report: Report) -> None:
    """A Pi 5 that stands in for another board has rails of its own."""
    rails = WindowEnergy(busy_mw=4000.0, idle_mw=2500.0, energy_uj=123.0, interval_uj=1.0, samples=80)
    pi, host = (replace(on_linux(report, c).measured.measurement, rails=rails) for c in ("device", "host"))
    pi_4 = target.load("raspberry-pi-4")
    assert energy(pi, pi_4) == (123.0, "measured")
    assert pi.metrics()["energy_uj"] == 123.0
    assert energy(host, pi_4) is None
    assert not {"energy_uj", "idle_power_mw", "busy_power_mw"} & set(host.metrics())


def test_doubtful_latencies_are_a_warning(report: Report) -> None:
    found = warnings(on_linux(report, "device", invalid="it was throttled"))
    assert found == ["the latencies must not be quoted: it was throttled.", "int8 is slower than float."]


def test_several_targets_are_a_list_in_json(report: Report) -> None:
    both = json.loads(outcome_text([report, on_linux(report, "host")], []))
    assert [t["target"] for t in both["targets"]] == ["cortex-m4", "raspberry-pi-4"]
    assert both["agreement"] == []

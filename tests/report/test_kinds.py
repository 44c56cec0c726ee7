"""Every number in a JSON output has a kind, and every output is as its schema says."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import pytest
from json_outputs import SCHEMAS, check, faults, without_kind
from test_linux import on_linux

from pipeline.measurement.kind import Kind
from pipeline.measurement.kinds import FORMAT, kinds
from pipeline.report.agreement import TargetAgreement
from pipeline.report.figures import Figure, Report, StageResult
from pipeline.report.write import outcome_text


def read(*reports: Report) -> Any:
    pairs = [TargetAgreement(("a", "b"), 360, 1.0, 0.99, 2)] if len(reports) > 1 else []
    return json.loads(outcome_text(reports, pairs))


def test_a_board(report: Report) -> None:
    output = read(report)
    check(output, "report")
    assert output["format"] == FORMAT
    assert output["stages"][5]["kinds"]["latency_us_median"] == "simulated"
    assert output["stages"][5]["kinds"]["energy_uj"] == "estimated"
    assert output["stages"][0]["kinds"]["macs"] == "computed"
    assert output["kinds"] == {
        "accuracy": dict.fromkeys(("float", "pruned", "distilled", "int8"), "computed") | {"device": "simulated"},
        "bit_exact": {
            "vectors": "computed", "equal": "computed", "oracles": {"host_c": "computed", "device": "computed"},
        },
        "measurement": {
            "instructions": "simulated", "cycles": "simulated", "latency_us_median": "simulated", "energy_uj": "estimated",
            "ram_bytes": "computed", "flash_bytes": "computed",
        },
    }  # fmt: skip


def test_a_real_board_measures(report: Report) -> None:
    m = replace(report.measured.measurement, clock="device")
    output = read(replace(report, measured=replace(report.measured, measurement=m)))
    check(output, "report")
    assert output["kinds"]["measurement"]["cycles"] == output["kinds"]["accuracy"]["device"] == "measured"


@pytest.mark.parametrize(("clock", "kind"), [("device", "measured"), ("host", "host")])
def test_a_computer(clock: Literal["device", "host"], kind: Kind, report: Report) -> None:
    output = read(on_linux(report, clock))
    check(output, "report")
    assert output["kinds"]["agreement"] == dict.fromkeys(("vectors", "top1", "equal_values", "max_lsb"), "computed")
    assert output["kinds"]["measurement"] == {"latency_us_median": kind, "ram_bytes": kind, "flash_bytes": "computed"}
    assert output["kinds"]["accuracy"]["device"] == kind
    check(read(on_linux(report, clock, top1=None)), "report")


def test_several_targets(report: Report) -> None:
    output = read(report, on_linux(report, "host"))
    check(output, "outcome")
    assert output["agreement"][0]["kinds"] == dict.fromkeys(("vectors", "top1", "equal_values", "max_lsb"), "computed")


def test_what_is_no_number_has_no_kind(report: Report) -> None:
    output = read(replace(report, stages=(StageResult("train", (Figure("loss", float("nan"), "computed"),), 1.0),)))
    assert output["stages"][0] == {"name": "train", "metrics": {"loss": None}, "kinds": {}}
    assert output["kinds"]["accuracy"] == {"device": "simulated"}
    check(output, "report")
    assert kinds({"a": None, "b": True, "c": "2", "d": {"e": None}}, "computed") == {}
    assert kinds({"a": 1, "b": {"c": 2.5}, "d": 3}, "computed", b="measured", d="host") == {
        "a": "computed", "b": {"c": "measured"}, "d": "host",
    }  # fmt: skip


def edit(*path: str | int, value: Any = None) -> Callable[[Any], None]:
    def change(output: Any) -> None:
        for name in path[:-1]:
            output = output[name]
        if value is None:
            del output[path[-1]]
        else:
            output[path[-1]] = value

    return change


FAULTS = {
    "no kind": (edit("kinds", "measurement", "cycles"), [], ["$.measurement.cycles"]),
    "no kind of an oracle": (edit("kinds", "bit_exact", "oracles", "device"), [], ["$.bit_exact.oracles.device"]),
    "no kind of a metric": (edit("stages", 0, "kinds", "macs"), [], ["$.stages[0].metrics.macs"]),
    "no kinds": (edit("stages", 4, "kinds"), ["$.stages[4]: kinds is missing"], [
        f"$.stages[4].metrics.{name}" for name in ("flash_bytes", "ram_bytes", "arena_bytes")
    ]),
    "unknown kind": (edit("kinds", "accuracy", "device", value="guessed"), ["$.kinds.accuracy.device: 'guessed'"], []),
    "new figure": (edit("measurement", "volts", value=3), ["$.measurement.volts is not in"], ["$.measurement.volts"]),
    "other format": (edit("format", value=2), ["$.format: 2 is not 1"], []),
    "no target": (edit("target"), ["$: target is missing"], []),
    "a text": (edit("measurement", "cycles", value="9"), ["$.measurement.cycles: '9' is no integer or null"], []),
    "more than all": (edit("accuracy", "int8", value=96.9), ["$.accuracy.int8: 96.9 is out of range"], []),
    "truth": (edit("bit_exact", "equal", value=True), ["$.bit_exact.equal: True is no integer"], []),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_the_check_finds(case: str, report: Report) -> None:
    change, wrong, unlabelled = FAULTS[case]
    output = copy.deepcopy(read(report))
    change(output)
    schema = json.loads((SCHEMAS / "report.schema.json").read_text())
    found = list(faults(output, schema, schema))
    assert [line[: len(start)] for line, start in zip(found, wrong, strict=True)] == wrong
    assert list(without_kind(output)) == unlabelled


def test_the_schema_of_several_targets_looks_into_each(report: Report) -> None:
    output = read(report, on_linux(report, "host"))
    del output["targets"][1]["run_id"]
    schema = json.loads((SCHEMAS / "outcome.schema.json").read_text())
    assert list(faults(output, schema, schema)) == ["$.targets[1]: run_id is missing"]

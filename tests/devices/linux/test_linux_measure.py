"""Figures of a whole measurement: what makes them invalid, what is said about them, and clocks that lie."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loopback import TARGET, Pi, script

from pipeline.devices.linux import measure as linux_measure
from pipeline.devices.linux.measure import LinuxSettings, measure, replay
from pipeline.devices.linux.process import ProcessComputer
from pipeline.devices.linux.replies import Elapsed
from pipeline.devices.linux.ssh import SshComputer
from pipeline.errors import DeviceError
from pipeline.measurement.linux import Conditions, LinuxMeasurement, Operator, warnings, why_invalid
from pipeline.power.pmic import power_mw, rail_energy

QUICK = LinuxSettings(seconds=0.5, min_seconds=0.1, interval=0.2, throughput_seconds=0.1)
IMAGE = np.random.default_rng(0).integers(0, 256, (1, 8, 8, 1)).astype(np.uint8)
CALM = Conditions(50.0, ("performance",), (1_800_000,) * 4, 0, 0.01)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, None]:
    """On this system only: what is tested here is installed or compiled for it."""
    return tmp_path_factory.mktemp("pi"), None


def both(models: Path) -> dict[str, Path]:
    return {"int8": models / "model.onnx", "float": models / "model_float.onnx"}


@pytest.fixture(scope="module")
def measured(models: Path) -> LinuxMeasurement:
    return measure(ProcessComputer(TARGET), both(models), [IMAGE], QUICK)


def test_every_figure_is_there(measured: LinuxMeasurement) -> None:
    assert measured.clock == "host"
    assert measured.kind == "host"
    found = measured.metrics()
    assert found["latency_us_p50"] <= found["latency_us_p90"] <= found["latency_us_p99"] <= found["latency_us_max"]
    assert found["runs"] == found["float_runs"] >= 100
    assert found["cold_start_ms"] > found["load_ms"] > 0
    assert found["peak_rss_bytes"] > 10**7
    assert found["inferences_per_second"] > 100
    assert found["int8_speedup"] == pytest.approx(found["float_latency_us_p50"] / found["latency_us_p50"])
    assert "energy_uj" not in found
    assert {"QLinearConv", "QGemm"} <= {o.operator for o in measured.int8.operators or ()}
    assert measured.int8.engine.startswith("onnxruntime ")
    assert measured.int8.options.threads == 1


def test_replay_is_whole(models: Path) -> None:
    raw = np.stack([IMAGE] * 70)
    (y,) = replay(ProcessComputer(TARGET), models / "model.onnx", [raw])
    assert y.shape == (70, 1, 10)


def test_int8_slower_than_float_is_said_plainly(measured: LinuxMeasurement) -> None:
    quick = measured.int8
    slow = replace(quick, timing=replace(quick.timing, ticks_ns=tuple(3 * t for t in quick.timing.ticks_ns)))
    said = warnings(slow, quick, CALM)
    assert any(w.startswith("int8 is slower than float32 here: ") and "every node is fused" in w for w in said)
    unfused = replace(slow, operators=(*(slow.operators or ()), Operator("x", "DequantizeLinear", 1.0)))
    assert any("1 of its nodes were not fused" in w for w in warnings(unfused, quick, CALM))
    assert not any("slower" in w for w in (*warnings(quick, slow, CALM), *warnings(quick, None, CALM)))


@pytest.mark.parametrize(
    ("before", "after", "others", "words"),
    [
        (CALM, CALM, 0.01, None),
        (replace(CALM, throttled=None), replace(CALM, throttled=None), 0.0, None),
        (replace(CALM, throttled=0x50000), replace(CALM, throttled=0x50000), 0.0, None),  # long ago
        (replace(CALM, throttled=0x50005), CALM, 0.0, r"throttled before the measurement \(under-voltage, throttled\)"),
        (CALM, replace(CALM, throttled=0x8), 0.0, r"throttled after the measurement \(soft temperature limit\)"),
        (CALM, replace(CALM, throttled=0x20000), 0.0, r"throttled during the measurement \(frequency capped\)"),
        (CALM, CALM, 0.5, r"other processes used 0.50 of a core meanwhile"),
        (replace(CALM, others_cores=1.2), CALM, 0.0, r"used 1.20 of a core before it began"),
    ],
)
def test_what_makes_it_invalid(before: Conditions, after: Conditions, others: float, words: str | None) -> None:
    reasons = why_invalid(before, after, others)
    assert len(reasons) == (words is not None)
    if words:
        assert re.search(words, reasons[0])


def test_warnings_about_the_computer(measured: LinuxMeasurement) -> None:
    said = warnings(replace(measured.int8, warm=False), None, replace(CALM, governors=("ondemand",)))
    assert any("governor is ondemand" in w for w in said)
    assert any("had not settled" in w for w in said)


SECOND = {"monotonic_ns": 10**9, "raw_ns": 10**9, "boot_ns": 10**9, "wall_ns": 10**9}


@pytest.mark.parametrize(
    ("changes", "here", "words"),
    [
        ({}, 1.1, None),
        ({"wall_ns": 10**9 + 3600 * 10**9}, 1.1, r"jumped by \+3600.0 s .*\(wall against monotonic\)"),
        ({"boot_ns": 9 * 10**9}, 1.1, r"jumped by \+8.0 s"),
        ({"raw_ns": 5 * 10**8}, 1.1, r"jumped by -0.5 s"),
        (dict.fromkeys(SECOND, 7 * 10**9), 1.1, "counted 7.00 s while 1.10 s passed here"),
        (dict.fromkeys(SECOND, -(10**9)), 1.1, "counted -1.00 s"),
    ],
)
def test_clocks_are_compared(changes: dict[str, int], here: float, words: str | None) -> None:
    problem = Elapsed(**{**SECOND, **changes}).problem(here)
    assert (problem is None) == (words is None)
    if words:
        assert re.search(words, str(problem))


JUMPY_CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t which, struct timespec *t) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(which, t);
    if (which == CLOCK_REALTIME) {
        static long calls;
        t->tv_sec += 3600 * calls++;
    }
    return result;
}
"""


@pytest.mark.ssh
def test_clock_jump(own_pi: Pi, models: Path, tmp_path: Path) -> None:
    """A wall clock that is an hour further at every look."""
    (tmp_path / "clock.c").write_text(JUMPY_CLOCK)
    command = ["gcc", "-shared", "-fPIC", "clock.c", "-o", "clock.so", "-ldl"]
    subprocess.run(command, check=True, cwd=tmp_path)
    own_pi.env.append(f"export LD_PRELOAD={tmp_path}/clock.so")
    own_pi.start()
    with (
        SshComputer(TARGET, own_pi.host()) as computer,
        pytest.raises(DeviceError, match=r"raspberry-pi-4 \(pi\): time: its clock jumped by \+\d+.0 s .*, twice"),
    ):
        measure(computer, both(models), [IMAGE], QUICK)


def vcgencmd(pi: Pi, throttled: str, rails: str = "exit 1") -> None:
    text = f'#!/bin/sh\ncase "$1" in get_throttled) {throttled} ;; pmic_read_adc) {rails} ;; esac\n'
    script(pi.bin / "vcgencmd", text)


RAILS = """   3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.20000000A
   VDD_CORE_A current(7)={core}A
   3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
   VDD_CORE_V volt(15)=0.80000000V
   EXT5V_V volt(24)=5.15000000V
   BATT_V volt(25)=0.00000000V"""


@pytest.mark.ssh
def test_a_pi_that_throttles_and_has_rails(own_pi: Pi, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in vcgencmd: under-voltage since the first look, rails that draw more while the runner computes."""
    rails = RAILS.format(core="1.50000000").replace("\n", "\\n")
    vcgencmd(own_pi, "echo throttled=0x50005", f'printf "{rails}\\n"')
    own_pi.start()
    monkeypatch.setattr(linux_measure, "IDLE_S", 1.2)
    monkeypatch.setattr(linux_measure, "BUSY_S", 1.2)
    with SshComputer(TARGET, own_pi.host()) as computer:
        found = measure(computer, {"int8": models / "model.onnx"}, [IMAGE], QUICK)
    assert (found.clock, found.kind, found.float32) == ("device", "measured", None)
    assert found.before.throttled == 0x50005
    assert found.invalid[0].startswith("it was throttled before the measurement (under-voltage, throttled)")
    assert found.metrics()["valid"] == 0
    assert found.rails
    assert found.rails.busy_mw == found.rails.idle_mw == pytest.approx(0.37e3 + 0.66e3 + 1.2e3)
    assert found.metrics()["energy_uj"] == pytest.approx(0.0)


def test_rail_power_and_energy() -> None:
    idle, busy = (RAILS.format(core=f"{a:.8f}") for a in (0.5, 1.5))
    assert power_mw(idle) == pytest.approx(370 + 660 + 400)
    found = rail_energy([(i, idle) for i in range(10)], [(i, busy) for i in range(10)], elapsed_ns=2 * 10**9, runs=1000)
    assert found.busy_mw - found.idle_mw == pytest.approx(800)
    assert found.energy_uj == pytest.approx(0.8 * 2e6 / 1000)  # 0.8 W for 2 ms each
    assert found.interval_uj == pytest.approx(0)
    noisy = rail_energy([(0, idle), (1, busy)] * 5, [(i, busy) for i in range(10)], elapsed_ns=2 * 10**9, runs=1000)
    assert noisy.interval_uj > 100


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda: power_mw('error=1 error_msg="Command not registered"'), "no rail with both"),
        (lambda: rail_energy([(0, RAILS)] * 3, [(0, RAILS)] * 20, 10**9, 10), "3 idle and 20 busy"),
        (lambda: rail_energy([(0, RAILS)] * 20, [(0, RAILS)] * 20, 10**9, 0), "during 0 inferences"),
    ],
)
def test_rails_that_say_nothing(action: Any, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        action()

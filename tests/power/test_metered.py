"""Energy per inference with a meter in the supply: the arithmetic, and a whole measurement with a simulated PPK2."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_graphs import small_cnn
from ppk2_simulator import Simulator

from pipeline import target
from pipeline.codegen.onnx.to_onnx import Raw, save, to_onnx
from pipeline.devices.device import MissingError
from pipeline.devices.linux import measure as linux_measure
from pipeline.devices.linux.computer import energy
from pipeline.devices.linux.measure import LinuxSettings, measure
from pipeline.devices.linux.process import ProcessComputer
from pipeline.devices.linux.protocol import Runner
from pipeline.devices.linux.ssh import SshComputer
from pipeline.devices.resolve import resolve_device
from pipeline.errors import DeviceError, RecipeError
from pipeline.ir import Array
from pipeline.measurement.linux import LinuxMeasurement
from pipeline.power.base import Samples, meter_energy
from pipeline.power.ppk2 import Ppk2
from pipeline.preprocess import Normalization, Preprocess

ZERO = target.load("raspberry-pi-zero-2w")
IDLE_A, BUSY_A = 0.1, 0.26
SECOND = 10**9


def steady(amperes: float) -> Callable[[Array], Array]:
    """With a ripple at 100 Hz, as of a switching supply."""
    return lambda t: amperes + 0.02 * np.sin(2 * np.pi * 100 * t)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "model.onnx"
    raw = Raw(Preprocess("uint8", (np.arange(256) - 128).astype(np.int8)[None]), Normalization())
    path.write_bytes(save(to_onnx(small_cnn(), raw)))
    return path


def measured(model: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> LinuxMeasurement:
    monkeypatch.setattr(linux_measure, "IDLE_S", 1.5)
    monkeypatch.setattr(linux_measure, "BUSY_S", 2.0)
    quick = LinuxSettings(seconds=0.3, min_seconds=0.1, interval=0.5, throughput_seconds=0.1)
    image = np.zeros((1, 8, 8, 1), np.uint8)
    with Ppk2(simulator.path, 5000, keep_power=True) as meter:
        return measure(ProcessComputer(ZERO.name), {"int8": model}, [image], quick, meter)


def test_a_whole_measurement(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The simulated device draws 0.8 W more while the runner computes: every inference took a share of that."""
    asked: list[dict[str, Any]] = []
    ask = Runner.ask

    def heard(self: Runner, op: str, *args: Any, **fields: Any) -> dict[str, Any]:
        answer = ask(self, op, *args, **fields)
        if op == "power":
            asked.append(answer)
        return answer

    monkeypatch.setattr(Runner, "ask", heard)
    with Simulator(steady(IDLE_A), steady(BUSY_A)) as simulator:
        found = measured(model, simulator, monkeypatch)
    assert simulator.powered
    assert found.meter
    assert found.meter.energy
    assert (found.meter.meter, found.meter.rate_hz) == (f"ppk2 on {simulator.path}", 100_000)
    assert found.meter.invalid == ()
    assert found.meter.energy.idle_mw == pytest.approx(500, rel=0.005)
    assert found.meter.energy.busy_mw == pytest.approx(1300, rel=0.005)
    idle, busy = asked
    assert idle["runs"] == 0
    assert found.meter.energy.energy_uj == pytest.approx(0.8e6 * busy["elapsed_ns"] / 1e9 / busy["runs"], rel=0.005)
    on_a_pi = replace(found, clock="device")
    assert energy(on_a_pi, ZERO) == (found.meter.energy.energy_uj, "measured")
    assert on_a_pi.metrics()["energy_uj"] == found.meter.energy.energy_uj
    assert on_a_pi.metrics()["meter_samples_lost"] == 0


def test_doubtful_is_not_quoted(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Simulator(steady(IDLE_A), lost=[(n, n + 30) for n in range(0, 100_000, 1000)]) as simulator:
        found = measured(model, simulator, monkeypatch)
    assert found.meter
    assert any("drew no more at work than idle" in w for w in found.warnings)
    assert any("samples were lost: use a USB port" in w for w in found.warnings)
    assert energy(found, ZERO) is None
    on_a_pi = replace(found, clock="device")
    assert "energy_uj" not in on_a_pi.metrics()
    estimated = ZERO.power.active_mw * found.int8.timing.percentile_us(50) / 1000
    assert energy(on_a_pi, ZERO) == (pytest.approx(estimated), "estimated")


def constant(watts: float, seconds: float, lost: int = 0) -> Samples:
    t = np.arange(int(seconds * 1000)) / 1000
    return Samples(t, watts + 0.01 * np.random.default_rng(0).standard_normal(len(t)), 1000.0, lost)


def test_only_what_is_between_the_times_counts() -> None:
    """A peak before the window and one after it change nothing."""
    busy = constant(1.5, 5)
    busy.watts[:900] = busy.watts[4100:] = 9.0
    found = meter_energy("m", constant(0.5, 3), busy, ((0.1, 2.9), (0.95, 4.05)), 2 * SECOND, 1000)
    assert found.invalid == ()
    assert found.energy
    assert found.energy.energy_uj == pytest.approx(1.0 * 2e6 / 1000, rel=0.005)
    assert 0 < found.energy.interval_uj < 10
    assert found.energy.samples == 28 + 31


@pytest.mark.parametrize(
    ("idle", "busy", "runs", "words"),
    [
        (
            constant(0.5, 3),
            constant(1.5, 0.5),
            100,
            "the window is too short: in means over 0.1 s it gave 28 idle and 5 busy",
        ),
        (constant(0.5, 3), constant(1.5, 3), 0, "during 0 inferences"),
        (constant(0.5, 3), constant(0.5, 3), 100, "drew no more at work than idle"),
        (constant(0.5, 3), constant(1.5, 3, lost=30), 100, "30 of 6030 samples were lost"),
    ],
)
def test_doubts(idle: Samples, busy: Samples, runs: int, words: str) -> None:
    found = meter_energy("m", idle, busy, ((0.1, 2.9), (0.0, 2.9)), 2 * SECOND, runs)
    assert len(found.invalid) == 1
    assert words in found.invalid[0]


def bench(folder: Path, text: str) -> Path:
    path = folder / "bench.toml"
    path.write_text(f"[{ZERO.name}]\n{text}\n")
    return path


def test_as_the_bench_file_says(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "numpy-2-py3-none-any.whl").write_bytes(b"")
    with Simulator(steady(IDLE_A)) as simulator:
        text = f'host = "pi@zero"\nwheels = "wheels"\nmeter = "ppk2"\nmeter_port = "{simulator.path}"\nsupply_mv = 4900'
        path = bench(tmp_path, text)
        with resolve_device(ZERO, path).meter() as meter:
            assert meter
            assert meter.name == f"ppk2 on {simulator.path}"
    assert simulator.powered  # cut under a running computer, it damages the file system
    assert simulator.supply_mv == 4900
    computer = resolve_device(ZERO, path).open_computer()
    assert isinstance(computer, SshComputer)
    assert computer._wheels == tmp_path / "wheels"
    with pytest.raises(MissingError, match=r"this computer stands in for raspberry-pi-zero-2w, and its power is not that"):
        resolve_device(ZERO).meter()
    with pytest.raises(MissingError, match=r'names no meter of raspberry-pi-zero-2w \(pi\): .* add meter = "ppk2" and'):
        resolve_device(ZERO, bench(tmp_path, 'host = "pi"')).meter()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('host = "pi"\nmeter = "ppk3"', r"meter = 'ppk3' is not known. Did you mean 'ppk2'"),
        ('host = "pi"\nmeter = "ppk2"', r"also needs meter_port, where it is"),
        ('meter = "ppk2"\nmeter_port = "/dev/ttyACM0"', r"raspberry-pi-zero-2w\.host is missing"),
        ('host = "pi"\nmeter_port = "/dev/ttyACM0"', r'add meter = "ppk2"'),
        ('host = "pi"\nmeter = "ppk2"\nmeter_port = "x"\nsupply_mv = 5100', r"supply_mv = 5100 is out of range"),
        ('host = "pi"\nmeter_mode = "both"', r"meter_mode = 'both' is not known"),
        ('host = "pi"\nmeter_prot = "x"', r"Did you mean 'meter_port'"),
    ],
)
def test_wrong_bench_files(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        resolve_device(ZERO, bench(tmp_path, text))


def test_no_wheels_there(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"raspberry-pi-zero-2w.wheels: .*nothing holds no .whl file"):
        resolve_device(ZERO, bench(tmp_path, 'host = "pi"\nwheels = "nothing"'))


def test_a_meter_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    path = bench(tmp_path, 'host = "pi"\nmeter = "ppk2"\nmeter_port = "/dev/no-meter"')
    device = resolve_device(ZERO, path)
    with pytest.raises(
        DeviceError, match=r"the meter of raspberry-pi-zero-2w \(pi\) is not at '/dev/no-meter': there is no"
    ):
        device.require()
    with pytest.raises(DeviceError, match="ppk2 on /dev/no-meter: open"), device.meter():
        pass

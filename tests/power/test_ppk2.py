"""Nordic's PPK2, simulated: known charge, every way the wire can fail, and power that is never left on by accident."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ppk2_simulator import CALIBRATION, METADATA, RATE_HZ, Simulator, encode

from pipeline.errors import DeviceError
from pipeline.ir import Array
from pipeline.power.base import Samples
from pipeline.power.ppk2 import Calibration, Ppk2, decode

OFF, ON = b"\x0c\x00", b"\x0c\x01"
CALIBRATED = Calibration.parse(METADATA)


def bursts(t: Array) -> Array:
    """25 uA asleep, 12.3 mA for 30 ms of every 100, then a tenth of a second at 180 mA."""
    return np.where(t % 1 > 0.9, 0.18, np.where(t % 0.1 < 0.03, 0.0123, 25e-6))


def flat(amperes: float) -> Any:
    return lambda t: np.full(len(t), amperes)


@pytest.mark.parametrize("mode", ["ampere", "source"])
def test_known_charge(mode: Any) -> None:
    with Simulator(bursts) as simulator, Ppk2(simulator.path, 3300, mode) as meter:
        meter.start()
        time.sleep(1.2)
        found = meter.stop()
    assert simulator.commands[:5] == [b"\x07", b"\x19", b"\x11" + bytes([1 + (mode == "source")]), b"\x0d\x0c\xe4", ON]
    assert simulator.commands[-2:] == [OFF, b"\x07"]
    assert found.lost == 0
    assert found.rate_hz == RATE_HZ
    assert found.t_seconds[-1] == pytest.approx((len(found.watts) - 1) / RATE_HZ)
    assert len(found.watts) >= 1.1 * RATE_HZ
    within = found.t_seconds < 1.0
    joules = found.watts[within].sum() / RATE_HZ
    assert joules == pytest.approx(3.3 * bursts(np.arange(RATE_HZ) / RATE_HZ).mean(), rel=0.005)


@pytest.mark.parametrize("amperes", [12e-6, 150e-6, 1.7e-3, 21e-3, 0.35])
def test_every_range(amperes: float) -> None:
    data = encode(np.full(20_000, amperes), 7, 5.0).tobytes()
    assert decode(data, CALIBRATED, 5.0, 0.2).watts.mean() == pytest.approx(5.0 * amperes, rel=0.002)


def test_calibration_is_read_whole() -> None:
    assert CALIBRATED.r.tolist() == list(CALIBRATION["R"])
    assert CALIBRATED.i.tolist() == pytest.approx(list(CALIBRATION["I"]))


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "it said nothing within"),
        (METADATA[:200].encode(), "its metadata has no end after 200 bytes"),
        (METADATA.replace("R3: 0.94", "R3: nan").encode(), "R3 missing or no number"),
        (METADATA.replace("UG", "UX").encode(), "UG0, UG1, UG2 and others missing"),
        (METADATA.replace("R4: 0.043", "R4: 0.000").encode(), "R4 = 0 is no shunt's resistance"),
        (bytes(range(256)) * 40, "its metadata has no end after 4096 bytes"),
        (b"\xff\xfe\x00 END", "R0, R1, R2 and others missing"),
    ],
)
def test_metadata_that_is_none(metadata: bytes | None, words: str) -> None:
    began = time.monotonic()
    with (
        Simulator(flat(0.1), metadata=metadata) as simulator,
        pytest.raises(DeviceError, match=f"^ppk2 on /dev/pts/.*: read calibration: .*{words}.*bench.toml"),
        Ppk2(simulator.path, 5000),
    ):
        pass
    assert time.monotonic() - began < 6
    assert all(c in (b"\x07", b"\x19") for c in simulator.commands)  # told nothing that could switch anything


def sampled(simulator: Simulator, seconds: float) -> Samples:
    with Ppk2(simulator.path, 5000) as meter:
        meter.start()
        time.sleep(seconds)
        return meter.stop()


def test_lost_samples_are_counted() -> None:
    with Simulator(flat(0.1), lost=[(20_000, 20_019), (30_000, 30_039)]) as simulator:
        found = sampled(simulator, 0.5)
    assert found.lost == 60
    assert np.diff(found.t_seconds).max() == pytest.approx(41 / RATE_HZ)
    assert found.watts.mean() == pytest.approx(0.5, rel=0.005)


def test_losses_that_the_counter_can_not_show() -> None:
    data = np.concatenate([encode(np.full(50_000, 0.1), 0, 5.0), encode(np.full(50_000, 0.1), 114_000, 5.0)]).tobytes()
    short, gap = decode(data, CALIBRATED, 5.0, 1.0), 64_000
    assert short.lost == gap % 64
    assert decode(data, CALIBRATED, 5.0, 1.64).lost == gap
    gaps = np.delete(encode(np.full(100_000, 0.1), 0, 5.0), [*range(500, 540), 700, 900])
    found = decode(gaps.tobytes(), CALIBRATED, 5.0, 1.0)
    assert found.lost == 42
    assert found.t_seconds[-1] == pytest.approx(0.99999)


@pytest.mark.parametrize(
    ("data", "seconds", "words"),
    [
        (b"", 1.0, "no sample came in 1.00 s"),
        (b"\xff" * 4000, 0.01, "1000 of 1000 samples are garbled"),
        (bytes(400_000), 1.0, "numbered as those of 64.00 s"),
    ],
)
def test_bytes_that_are_no_samples(data: bytes, seconds: float, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        decode(data, CALIBRATED, 5.0, seconds)


def test_garbled_stream() -> None:
    with (
        Simulator(flat(0.1), garbage=True) as simulator,
        pytest.raises(DeviceError, match=r"sample: \d+ of \d+ samples are garbled"),
    ):
        sampled(simulator, 0.2)
    assert simulator.commands[-2:] == [OFF, b"\x07"]


def test_pulled_in_the_middle() -> None:
    with (
        Simulator(flat(0.1), hangs_up=0.3) as simulator,
        pytest.raises(DeviceError, match=r"^ppk2 on .*: (sample|stop): .*Check its USB cable, run again"),
    ):
        sampled(simulator, 0.6)


def interrupted(simulator: Simulator, keep_power: bool) -> None:
    with Ppk2(simulator.path, 5000, "source", keep_power=keep_power) as meter:
        meter.start()
        raise KeyboardInterrupt


@pytest.mark.parametrize(("keep", "powered"), [(False, False), (True, True)])
def test_power_on_every_way_out(keep: bool, powered: bool) -> None:
    with Simulator(flat(0.1)) as simulator, pytest.raises(KeyboardInterrupt):
        interrupted(simulator, keep)
    assert simulator.powered is powered
    assert (OFF in simulator.commands) is not powered
    assert simulator.commands.index(ON) > simulator.commands.index(b"\x0d\x13\x88")


def test_no_such_port(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"^ppk2 on .*nothing: open: .*meter_port"), Ppk2(str(tmp_path / "nothing"), 5000):
        pass
    assert not os.listdir(tmp_path)

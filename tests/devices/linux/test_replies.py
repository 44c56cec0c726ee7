"""Answers that are well-formed JSON and yet wrong: keys that lack, other types, absurd numbers, lists of another length,
terminal escapes. Each ends as a DeviceError that says which request, and what was answered."""

from __future__ import annotations

import contextlib
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from loopback import TARGET

from pipeline.devices.linux.measure import LinuxSettings, engines, measure, replay
from pipeline.devices.linux.process import ProcessChannel, ProcessComputer
from pipeline.devices.linux.protocol import CHUNK_BYTES, Runner
from pipeline.devices.linux.replies import MAX_QUOTED
from pipeline.devices.linux.ssh_wheels import fetch
from pipeline.errors import DeviceError
from pipeline.firmware.linux import LinuxPackage
from pipeline.ir import Graph
from pipeline.measurement.linux import ComputerInfo, LinuxMeasurement
from pipeline.stages._measure_linux import _answers

STAND_IN = Path(__file__).with_name("stand_in.py")
QUICK = LinuxSettings(seconds=0.1, min_seconds=0.0, throughput_seconds=0.1)
ADVICE = "That is no answer of the runner: run it again; if it stays so, python3 there is broken, or another program answers"
IMAGE = np.zeros((1, 8, 8, 1), np.uint8)


class StandIn(ProcessComputer):
    """This computer with a stand-in for the runner, whose answers to `op` are altered by the statement `change`."""

    def __init__(self, op: str = "", change: str = "") -> None:
        super().__init__(TARGET)
        self._command = [sys.executable, str(STAND_IN), op, change]

    @contextlib.contextmanager
    def runner(self) -> Iterator[Runner]:
        with Runner(ProcessChannel(self._command), self.where) as runner:
            yield runner


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Of which the stand-in only hears the checksum."""
    (tmp_path / "model.onnx").write_bytes(b"x")
    return tmp_path / "model.onnx"


def measured(computer: ProcessComputer, model: Path) -> LinuxMeasurement:
    return measure(computer, {"int8": model}, [IMAGE], QUICK)


def test_the_stand_in_is_right_when_it_is_not_altered(model: Path) -> None:
    computer = StandIn()
    found = measured(computer, model)
    assert found.device == "Raspberry Pi 4 Model B Rev 1.5, Debian, Linux 6.6"
    assert found.int8.timing.percentile_us(50) == 100
    assert found.int8.all_cores
    assert found.int8.all_cores.threads == 4
    assert found.rails
    assert (found.rails.samples, found.warnings) == (
        20,
        ("the CPU governor is ondemand; latencies of short models depend on it",),
    )
    assert engines(computer) == {"onnxruntime"}
    (y,) = replay(computer, model, [np.stack([IMAGE] * 7)])
    assert y.shape == (7, 1, 10)


ZERO_NS = f"shape=[1], data='AAAAAAAAAAA=', crc32={zlib.crc32(bytes(8))}"
WRONG = {
    "hello lacks a key": ("start", "del answer['protocol']", ".protocol is missing"),
    "hello of another type": ("start", "answer['protocol'] = 'one'", ".protocol must be an integer, got 'one'"),
    "info lacks a key": ("info", "del answer['cores']", ".cores is missing"),
    "info, no number": ("info", "answer['cores'] = '4'", ".cores must be an integer, got '4'"),
    "info, a negative one": ("info", "answer['cores'] = -4", ".cores = -4 is out of range; it must be between 1 and 1024"),
    "info, a huge one": ("info", "answer['cores'] = 10**9", ".cores = 1000000000 is out of range"),
    "info, an absurd one": ("info", "answer['ram_bytes'] = 10**4000", ".ram_bytes must be an integer, got inf"),
    "info, a list": ("info", "answer['engines'] = ['x']", ".engines must be a table, got ['x']"),
    "info, within": ("info", "answer['engines'] = {'x': None}", ".engines.x must be a string, got None"),
    "state, NaN": ("state", "answer['others_cores'] = float('nan')", ".others_cores = nan is not a finite number"),
    "state, infinite": ("state", "answer['temperature_c'] = 1e999", ".temperature_c = inf is not a finite number"),
    "state, an absurd one": ("state", "answer['temperature_c'] = 10**400", ".temperature_c = inf is not a finite number"),
    "state, too long": ("state", "answer['governors'] = ['x'] * 5000", ": governors or frequencies_khz of more than 1024"),
    "state, an entry": ("state", "answer['frequencies_khz'] = [1, -1]", ".frequencies_khz = -1 is out of range"),
    "load, within": ("load", "del answer['options']['threads']", ".options.threads is missing"),
    "load, another engine": ("load", "answer['options']['engine'] = 'x'", ".options.engine = 'x' is not known"),
    "load, a negative time": ("load", "answer['load_ns'] = -1", ".load_ns = -1 is out of range"),
    "feed lacks a key": ("feed", "del answer['outputs']", ".outputs is missing"),
    "feed, no array": ("feed", "answer['outputs'] = [None]", ".outputs[0] must be a table, got None"),
    "feed, another dtype": ("feed", "answer['outputs'][0]['dtype'] = 'object'", ".outputs[0].dtype = 'object' is not known"),
    "feed, a checksum": ("feed", "answer['outputs'][0]['crc32'] ^= 1", ".outputs[0]: the array is damaged: 10 bytes"),
    "feed, a shape": ("feed", "answer['outputs'][0]['shape'] = [9]", "10 bytes, of this checksum or another, for 9."),
    "feed, a huge shape": ("feed", "answer['outputs'][0]['shape'] = [2**30] * 9", "the array is damaged: 10 bytes"),
    "feed, a rank": ("feed", "answer['outputs'][0]['shape'] = [1] * 99 + [10]", "the array is damaged: 10 bytes"),
    "feed, no base64": ("feed", "answer['outputs'][0]['data'] = '?'", "the array is damaged: 0 bytes"),
    "warmup, no boolean": ("warmup", "answer['steady'] = 1", ".steady must be a boolean (true or false), got 1"),
    "memory, a fraction": ("memory", "answer['peak_rss_bytes'] = 1.5", ".peak_rss_bytes must be an integer, got 1.5"),
    "profile, within": ("profile", "answer['nodes'][0]['us'] = 'x'", ".nodes[0].us must be a number, got 'x'"),
    "profile, a text": ("profile", "answer['nodes'] = 'x'", ".nodes[0] must be a table, got 'x'"),
    "profile, too long": ("profile", "answer['nodes'] *= 20000", ": nodes has 20,000 entries; 10,000 are the most"),
    "throughput, negative": ("throughput", "answer['per_second'] = -1.0", ".per_second = -1.0 is out of range"),
    "time, no runs": (
        "time",
        "answer['ticks_ns']['int8'].update(shape=[0], data='', crc32=0)",
        ".ticks_ns.int8.shape = 0 is out of range",
    ),
    "time, no time": (
        "time",
        f"answer['ticks_ns']['int8'].update({ZERO_NS})",
        ": ticks_ns.int8 must be nanoseconds above zero",
    ),
    "time, bytes": (
        "time",
        "answer['ticks_ns']['int8'].update(dtype='int8', shape=[800])",
        ": ticks_ns.int8 must be nanoseconds above zero",
    ),
    "time, another model": ("time", "answer['ticks_ns'] = {}", ".ticks_ns are of [], not of ['int8']"),
    "time, a clock": ("time", "del answer['window']['elapsed']['wall_ns']", ".window.elapsed.wall_ns is missing"),
    "power, no text": ("power", "answer['samples'][3]['text'] = 5", ".samples[3].text must be a string, got 5"),
    "power, too long": ("power", "answer['samples'] *= 1000", ": samples has 10,000 entries; 3,000 are the most"),
    "power, a huge one": ("power", "answer['samples'][3]['text'] = '9' * 400", "[3]: text is no reading of a power chip's"),
    "power, a clock": ("power", "answer['elapsed_ns'] = 10**12", ".elapsed_ns = 1000000000000 while 0."),
    "power, no time": ("power", "answer['elapsed_ns'] = 0", ".elapsed_ns = 0 is out of range"),
}
"""(request, what is done to its answer, what is said of it)."""


@pytest.mark.parametrize(("op", "change", "words"), WRONG.values(), ids=WRONG)
def test_a_wrong_answer_is_told(model: Path, op: str, change: str, words: str) -> None:
    with pytest.raises(DeviceError) as caught:
        measured(StandIn(op, change), model)
    message = str(caught.value)
    assert message.startswith(f"raspberry-pi-4 (this computer): {op}")
    assert words in message
    assert ADVICE in message
    assert message.isprintable()
    assert len(message) < MAX_QUOTED + 300


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("answer['outputs'] = []", ".outputs have the shapes [] for 3 inputs"),
        ("answer['outputs'] *= answer['id'] - 1", ".outputs have the shapes [(1, 1, 10), (1, 1, 10)] for 1 inputs"),
        ("answer['outputs'][0]['shape'] = [5, 6]", ".outputs have the shapes [(5, 6)] for 3 inputs"),
        ("answer['outputs'][0]['shape'] = [30]", ".outputs have the shapes [(30,)] for 3 inputs"),
        ("answer['outputs'] = 7", ".outputs[0] must be a table, got 7"),
    ],
)
def test_answers_to_other_inputs_than_were_sent(model: Path, change: str, words: str) -> None:
    """Four inputs, three of which fill the first request."""
    large = np.zeros((4, CHUNK_BYTES // 3), np.uint8)
    with pytest.raises(DeviceError) as caught:
        replay(StandIn("replay", change), model, [large])
    assert str(caught.value).startswith(f"raspberry-pi-4 (this computer): replay{words}. {ADVICE}")


@pytest.mark.parametrize(
    ("change", "dtype", "words"),
    [
        (
            "answer['outputs'] *= 2",
            np.int8,
            "answers with uint8 (3, 1, 10), uint8 (3, 1, 10) there, where its outputs are int8",
        ),
        ("answer['outputs'][0]['shape'] = [3, 2, 5]", np.int8, ""),
        (
            "answer['outputs'][0].update(shape=[3, 1], data='AAAA', crc32=zlib.crc32(bytes(3)))",
            np.int8,
            "with int8 (3, 1) there",
        ),
        ("", np.float32, "with int8 (3, 1, 10) there, where its outputs are float32 (3, 1, 10). Another program answers"),
    ],
)
def test_answers_of_another_model(model: Path, graph: Graph, change: str, dtype: type, words: str) -> None:
    like = [np.zeros((3, 1, 10), dtype)]
    package = LinuxPackage(
        folder=model.parent, model=SimpleNamespace(graph=graph, preprocess=None), flash_bytes=0, sha256="", model_id="",
        raw=None, agreement=None,
    )  # fmt: skip
    computer = StandIn("replay", f"import zlib; {change}")
    if not words:  # a shape is a matter of taste, as long as the values are these
        (y,) = _answers(package, computer, model, [np.stack([IMAGE] * 3)], like)
        assert (y.shape, y.dtype) == ((3, 1, 10), np.int8)
        return
    with pytest.raises(DeviceError) as caught:
        _answers(package, computer, model, [np.stack([IMAGE] * 3)], like)
    assert str(caught.value).startswith("raspberry-pi-4 (this computer): replay: model.onnx answers with")
    assert words in str(caught.value)


def test_a_power_chip_that_reports_nothing(model: Path) -> None:
    change = "for s in answer['samples']: s['text'] = 'error=1'"
    words = r"^raspberry-pi-4 \(this computer\): power: vcgencmd pmic_read_adc reports no rail .*'error=1'\.$"
    with pytest.raises(DeviceError, match=words):
        measured(StandIn("power", change), model)


def test_escapes_and_pages_of_words_are_quoted_as_text(model: Path) -> None:
    """Wherever a figure keeps a string, and wherever a message quotes one."""
    found = measured(StandIn("info", r"answer['model'] = '\x1b[31mred\n' + 'y' * 10**6"), model)
    assert found.device.startswith(r"\x1b[31mred\nyyy")
    assert found.device.isprintable()
    assert len(found.device) <= 200
    found = measured(StandIn("state", r"answer['governors'] = ['\x1b[2J']"), model)
    assert found.warnings == (r"the CPU governor is \x1b[2J; latencies of short models depend on it",)
    found = measured(StandIn("profile", r"answer['nodes'][0]['node'] = '\x9b2J'"), model)
    assert found.int8.operators
    assert found.int8.operators[0].node == r"\x9b2J"
    with pytest.raises(DeviceError, match=r"info\.cores must be an integer, got \['.*y…y") as caught:
        measured(StandIn("info", r"answer['cores'] = ['\x1b[31m' + 'y' * 10**6] * 3"), model)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < MAX_QUOTED + 300


@pytest.mark.parametrize("damage", ["'[' * 100_000", "'[' * 400 + ']' * 400", "'{}'", "'5'", "'\"x\"'", "'{\"ok\": 1}'"])
def test_json_that_is_no_answer(damage: str) -> None:
    with (
        pytest.raises(DeviceError, match="info: the answer is garbled"),
        StandIn("info", f"print({damage}, flush=True)").runner() as runner,
    ):
        runner.ask("info")


@pytest.mark.parametrize(
    "change",
    [
        *({"libc": libc} for libc in ("glibc-2.9999999999", "glibc-2", "glibc-2.²", "-")),
        *({"python": version} for version in ("3", "", "3.1111")),
        {"machine": "--target"},
    ],
)
def test_no_wheels_are_looked_for_that_can_not_be(change: dict[str, str], tmp_path: Path) -> None:
    with StandIn().runner() as runner:
        info = replace(runner.ask_for(ComputerInfo, "info"), **change)
    assert (
        fetch(info, ["numpy"], tmp_path) == f"there are no wheels for {info.machine}, {info.libc} and Python {info.python}"
    )

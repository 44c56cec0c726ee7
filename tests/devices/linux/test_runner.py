"""The runner in a local process: engines, figures, and requests that it must not trust."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loopback import until

from pipeline.devices.linux.process import ProcessChannel, ProcessComputer
from pipeline.devices.linux.protocol import MAX_LINE, RUNNER, Refusal, Runner, runner_archive, runner_files
from pipeline.devices.linux.replies import Timed, encode
from pipeline.errors import DeviceError
from pipeline.ir import Graph

COMPUTER = ProcessComputer("raspberry-pi-4")


@pytest.fixture
def runner() -> Iterator[Runner]:
    with COMPUTER.runner() as runner:
        yield runner


def load(runner: Runner, file: Path, name: str = "m", **options: Any) -> dict[str, Any]:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return runner.ask("load", name=name, file=COMPUTER.place(file), sha256=digest, **options)


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (1, 8, 8, 1)).astype(np.uint8)


def test_is_old_python_that_stands_alone() -> None:
    """Raspberry Pi OS bullseye has 3.9; and nothing of this project is there. The runner's own files must not hide another
    module of their name."""
    imported: set[str] = set()
    for file in runner_files():
        tree = ast.parse(file.read_text(), feature_version=(3, 8))
        imported |= {a.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        imported |= {n.module.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    own = {file.stem for file in runner_files()} - {"__main__"}
    engines = {"numpy", "onnxruntime", "ai_edge_litert", "tflite_runtime"}
    assert not own & set(sys.stdlib_module_names)
    assert imported - set(sys.stdlib_module_names) == engines | own


def test_travels_as_one_file(tmp_path: Path) -> None:
    """The same bytes whenever it is made; it runs under a name that is its checksum."""
    archive = runner_archive()
    assert archive == runner_archive()
    program = tmp_path / f"{hashlib.sha256(archive).hexdigest()}.pyz"
    program.write_bytes(archive)
    with Runner(ProcessChannel([sys.executable, "-I", "-B", str(program)]), "here") as runner:
        assert runner.ask("info")["protocol"] == 1
    assert list(tmp_path.iterdir()) == [program]


def test_info_and_state(runner: Runner) -> None:
    info, state = runner.ask("info"), runner.ask("state", seconds=0.1)
    assert info["engines"]["onnxruntime"]
    assert info["cores"] >= 1
    assert info["ram_bytes"] > 10**8
    assert state["others_cores"] >= 0


def test_every_option_is_explicit_and_answered(runner: Runner, models: Path) -> None:
    core = min(os.sched_getaffinity(0))
    found = load(runner, models / "model.onnx", threads=2, affinity=[core], optimization="basic", spinning=False)
    wanted = {"engine": "onnxruntime", "threads": 2, "inter_threads": 1, "optimization": "basic", "spinning": False}
    assert found["options"] == {**wanted, "affinity": [core]}
    assert found["inputs"] == [["image", "uint8", [1, 8, 8, 1]]]
    assert found["load_ns"] > 0


def test_both_engines_answer_alike(models: Path, graph: Graph) -> None:
    """The same network as .onnx (raw uint8 in, uint8 out) and .tflite (int8)."""
    raw = np.stack([image(i) for i in range(50)])
    with COMPUTER.runner() as runner:
        load(runner, models / "model.onnx", "onnx")
        assert load(runner, models / "model.tflite", "tflite")["options"]["engine"] == "ai_edge_litert"
        onnx = runner.replay("onnx", [raw])[0].astype(np.int16) - 128
        (tflite,) = runner.replay("tflite", [(raw.astype(np.int16) - 128).astype(np.int8)])
        assert runner.ask("feed", name="tflite", inputs=[encode(image().view(np.int8))])["outputs"]
        assert runner.ask("profile", name="tflite")["nodes"] is None
    (reference,) = graph.run((raw.astype(np.int16) - 128).astype(np.int8))
    assert np.abs(onnx - reference).max() <= 3
    assert np.abs(tflite.astype(np.int16) - reference).max() <= 3


def test_timing_profile_and_throughput(runner: Runner, models: Path) -> None:
    load(runner, models / "model.onnx", "int8")
    load(runner, models / "model_float.onnx", "float")
    for name in ("int8", "float"):
        runner.ask("feed", name=name, inputs=[encode(image())])
        assert runner.ask("warmup", name=name)["runs"] >= 10
    timed = runner.ask_for(Timed, "time", names=["int8", "float"], seconds=5.0, min_seconds=0.2, interval=0.2)
    ticks = {n: t.array() for n, t in timed.ticks_ns.items()}
    assert timed.reached
    assert len(ticks["int8"]) == len(ticks["float"]) >= 100
    assert min(t.min() for t in ticks.values()) > 0
    nodes = runner.ask("profile", name="int8", runs=10)["nodes"]
    assert {"QLinearConv", "QGemm"} <= {n["operator"] for n in nodes}
    assert runner.ask("throughput", name="int8", workers=2, seconds=0.2)["per_second"] > 100
    ballast = np.ones(400 * 2**20, np.uint8)  # of the parent, which is not to be counted
    with COMPUTER.runner() as fresh:
        load(fresh, models / "model.onnx")
        assert 10**7 < fresh.ask("memory")["peak_rss_bytes"] < ballast.nbytes


def test_runs_stop_at_the_limit(runner: Runner, models: Path) -> None:
    load(runner, models / "model.onnx")
    runner.ask("feed", name="m", inputs=[encode(image())])
    timed = runner.ask("time", names=["m"], seconds=0.3, min_seconds=0.0, min_runs=200_000, max_runs=200_000)
    assert not timed["reached"]
    assert timed["window"]["elapsed"]["monotonic_ns"] < 1.5e9


@pytest.mark.parametrize(
    ("op", "fields", "words"),
    [
        ("nope", {}, "unknown operation 'nope'; known: feed, info"),
        ("__init__", {}, "unknown operation"),
        ("named", {}, "unknown operation"),
        ("time", {"names": ["x"]}, "no model 'x' is loaded"),
        ("time", {"names": "m"}, "names must be of type list"),
        ("time", {"names": []}, "names must be a list of loaded models"),
        ("time", {"names": ["m"], "seconds": 1e9}, "seconds must be between 0.01 and 300.0"),
        ("time", {"names": ["m"], "max_runs": 10**9}, "max_runs must be between"),
        ("time", {"names": ["m"], "interval": True}, "interval must be of type float"),
        ("load", {"name": "m2"}, "file must be of type str"),
        ("load", {"name": "m2", "file": "/nowhere.onnx", "sha256": "0"}, "No such file"),
        ("load", {"name": "m2", "file": "/etc/passwd.onnx", "threads": 0}, "threads must be between 1 and 1024"),
        ("load", {"name": "m2", "file": "x.onnx", "engine": "tensorrt"}, "engine must be one of onnxruntime"),
        ("load", {"name": "m2", "file": "x.onnx", "affinity": [9999]}, "affinity must name cores of"),
        ("load", {"name": "m", "file": "x.onnx"}, "loaded already"),
        ("feed", {"name": "m", "inputs": []}, "the model takes"),
        ("feed", {"name": "m", "inputs": [5]}, "an array needs dtype"),
        ("replay", {"name": "m", "inputs": [encode(np.zeros((2, 1, 8, 9, 1), np.uint8))]}, "the model takes"),
        ("venv", {"path": "x", "requirements": ["--index-url=evil"]}, "requirements must be names"),
        ("throughput", {"name": "m", "workers": 5000}, "workers must be between 1 and 1024"),
        *((op, {"name": "m"}, "no input yet: send `feed` first") for op in ("warmup", "throughput", "profile", "power")),
        ("time", {"names": ["m"]}, "no input yet"),
        ("unload", {"name": "n"}, "no model 'n' is loaded"),
    ],
)
def test_wrong_requests_are_refused_and_survived(
    runner: Runner, models: Path, op: str, fields: dict[str, Any], words: str
) -> None:
    load(runner, models / "model.onnx")
    with pytest.raises(Refusal, match=words) as e:
        runner.ask(op, **fields)
    assert str(e.value).startswith(f"raspberry-pi-4 (this computer): {op}: ")
    assert runner.ask("info")["protocol"] == 1


def arrays() -> Iterator[tuple[str, dict[str, Any]]]:
    good = encode(image())
    raw = base64.b64decode(good["data"])
    yield "Damaged", {**good, "crc32": good["crc32"] ^ 1}
    yield "BadRequest", {**good, "data": good["data"][:-4]}
    yield "BadRequest", {**good, "data": "!" * len(good["data"])}
    yield "BadRequest", {**good, "shape": [1, 8, 8, 2]}
    yield "BadRequest", {**good, "shape": [-1, -8, 8, 1]}
    yield "BadRequest", {**good, "shape": [True, 8, 8, 1]}
    yield "BadRequest", {**good, "shape": [1] * 60}
    yield "TooLarge", {**good, "shape": [2**20, 2**20, 2**20]}
    yield "BadRequest", {**good, "dtype": "object"}
    yield "BadRequest", {**good, "dtype": ["uint8"]}
    yield "BadRequest", {"dtype": "uint8", "shape": [1, 8, 8, 1], "data": None, "crc32": zlib.crc32(raw)}


def test_arrays_are_checked(runner: Runner, models: Path) -> None:
    load(runner, models / "model.onnx")
    for name, value in arrays():
        with pytest.raises(Refusal) as e:
            runner.ask("feed", name="m", inputs=[value])
        assert e.value.name in (name, "TypeError"), value


def talk(lines: bytes) -> list[dict[str, Any]]:
    """What a runner answers to raw bytes."""
    command = [sys.executable, "-I", "-B", str(RUNNER)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    process.stdin.write(lines)
    process.stdin.write(b'{"id": 99, "op": "quit"}\n')
    process.stdin.flush()
    answers = [json.loads(line) for line in process.stdout]
    process.stdin.close()
    process.stdout.close()
    assert process.wait(timeout=10) == 0
    return answers


def test_lines_that_are_no_requests() -> None:
    bad = [b"{}", b"[]", b"nonsense", b'{"id": "1", "op": "info"}', b'{"id": 1, "op": 5}', b"\xff\xfe", b"[" * 100_000, b""]
    answers = talk(b"\n".join(bad) + b"\n")
    assert [a["ok"] for a in answers] == [True, *[False] * len(bad), True]
    assert {a["error"]["name"] for a in answers[1:-1]} == {"BadRequest"}


def test_a_line_without_end_is_cut_off() -> None:
    answers = talk(b"x" * (33 * 2**20) + b"\n")
    assert answers[1]["error"]["name"] == "TooLarge"
    assert answers[2]["ok"]


def test_prints_of_libraries_do_not_reach_the_wire(tmp_path: Path) -> None:
    """What an import writes to stdout, from Python or from C, must not be taken for answers."""
    package = tmp_path / "ai_edge_litert"
    package.mkdir()
    (package / "__init__.py").write_text("import os\nprint('hello')\nos.write(1, b'from C\\n')\n")
    (package / "interpreter.py").write_text("class Interpreter: ...\n")
    (tmp_path / "ai_edge_litert-1.dist-info").mkdir()
    (tmp_path / "ai_edge_litert-1.dist-info" / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: ai-edge-litert\nVersion: 1\n"
    )
    (tmp_path / "m.tflite").write_bytes(b"x")
    start = f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r}); runpy.run_path({str(RUNNER)!r}, run_name='__main__')"
    with Runner(ProcessChannel([sys.executable, "-c", start]), "here") as runner:
        with pytest.raises(Refusal):
            load(runner, tmp_path / "m.tflite")
        assert runner.ask("info")["engines"]["ai_edge_litert"] == "1"


def test_it_ends_when_stdin_does_even_while_it_works(models: Path) -> None:
    channel = ProcessChannel([sys.executable, "-I", "-B", str(RUNNER)])
    runner = Runner(channel, "here").__enter__()
    load(runner, models / "model.onnx")
    runner.ask("feed", name="m", inputs=[encode(image())])
    runner._send({"id": 1000, "op": "throughput", "name": "m", "seconds": 60.0}, "throughput")
    process = channel._process
    assert process.stdin
    process.stdin.close()
    until(lambda: process.poll() is not None, "the runner did not end", 5)
    runner.__exit__()


def test_a_crash_is_named(runner: Runner) -> None:
    channel = runner._channel
    assert isinstance(channel, ProcessChannel)
    threading.Timer(0.3, os.kill, (channel.pid, signal.SIGSEGV)).start()
    with pytest.raises(DeviceError, match=r"raspberry-pi-4 \(this computer\): state: the runner ended \(killed by SIGSEGV"):
        runner.ask("state", seconds=9.0)


def test_a_program_that_is_no_runner() -> None:
    with pytest.raises(DeviceError, match=r"x: start: the runner ended \(exit status 3: no luck\)"):
        Runner(
            ProcessChannel([sys.executable, "-c", "import sys; sys.exit(print('no luck', file=sys.stderr) or 3)"]), "x"
        ).__enter__()
    with pytest.raises(DeviceError, match="x: start: the answer is garbled: b'y'"):
        Runner(ProcessChannel([sys.executable, "-c", "while True: print('y')"]), "x").__enter__()
    with pytest.raises(DeviceError, match=f"x: start: an answer of more than {MAX_LINE:,} bytes"):
        Runner(ProcessChannel([sys.executable, "-c", "while True: print('y' * 2**20, end='')"]), "x").__enter__()
    with pytest.raises(DeviceError, match="can not be started: /no/python"):
        ProcessChannel(["/no/python"])


@pytest.mark.parametrize(
    "program",
    [
        """import json; print(json.dumps({"ok": False, "error": {"name": "Odd", "message": "\\x1b[31mno" + "y" * 1000}}))""",
        "import sys; sys.exit('\\x1b[31mno' + 'y' * 1000)",
    ],
    ids=["answer", "last_words"],
)
def test_what_a_program_says_is_quoted_as_text(program: str) -> None:
    """A terminal's escapes do not reach the terminal, nor do pages of words."""
    with pytest.raises(DeviceError, match=r"^x: start: .*\\x1b\[31mno.*y…y.*\.$") as caught:
        Runner(ProcessChannel([sys.executable, "-c", program]), "x").__enter__()
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 700

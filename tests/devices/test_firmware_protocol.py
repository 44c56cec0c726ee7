"""What the firmware says, word for word: MLPerf Tiny's device protocol, and our own commands as other hosts see them."""

from __future__ import annotations

import re
import subprocess
import zlib
from collections.abc import Callable

import numpy as np
import pytest

from pipeline.artifacts import Firmware
from pipeline.fixedpoint import dequantize
from pipeline.proof.vectors import random

pytestmark = [pytest.mark.cross, pytest.mark.qemu]

EMULATOR = ["qemu-system-arm", "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "stdio"]
EMULATOR += ["-icount", "shift=0", "-semihosting-config", "enable=on,target=native"]
BANNER = ["m-timestamp-mode-performance", "m-lap-us-#", "m-init-done", "m-ready"]


def talk(firmware: Firmware, sent: bytes | str) -> list[str]:
    """Everything the board prints when all of `sent` is pasted in one write, and then `exit%`."""
    data = sent.encode() if isinstance(sent, str) else sent
    command = [*EMULATOR, "-kernel", str(firmware.elf)]
    done = subprocess.run(command, input=data + b"exit%", capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode("ascii")
    assert text.endswith("m-exit\r\nm-ready\r\n")
    assert text.count("\r") == text.count("\n") == text.count("\r\n")
    return text.split("\r\n")[:-3]


def answers(firmware: Firmware, sent: bytes | str) -> list[str]:
    """Without the banner; times are replaced by #."""
    lines = [re.sub(r"^m-lap-us-\d+$", "m-lap-us-#", line) for line in talk(firmware, sent)]
    assert lines[: len(BANNER)] == BANNER
    return lines[len(BANNER) :]


@pytest.mark.parametrize(
    ("sent", "reply"),
    [
        pytest.param("", [], id="banner"),
        pytest.param("name%" * 8, ["m-name-dut-[cortex-m4]", "m-ready"] * 8, id="eight_in_one_write"),
        pytest.param(
            "profile%", ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[small_cnn]", "m-ready"], id="profile"
        ),
        pytest.param("timestamp%", ["m-lap-us-#", "m-ready"], id="timestamp"),
        pytest.param("\r\nname%\r\n", ["m-name-dut-[cortex-m4]", "m-ready"], id="line_ends_are_ignored"),
        pytest.param("hello world%", ["e-[Unknown command: hello]", "m-ready"], id="unknown"),
        pytest.param("%", ["e-[Unknown command: ]", "m-ready"], id="empty"),
        pytest.param("na\x07me\xff%".encode("latin-1"), ["e-[Unknown command: na?me?]", "m-ready"], id="unprintable"),
        pytest.param("Name%", ["e-[Unknown command: Name]", "m-ready"], id="case_matters"),
        pytest.param("x" * 80 + "%name%", ["e-[Command longer than 80 characters]", "m-ready", "m-name-dut-[cortex-m4]",
                                           "m-ready"], id="too_long"),
        pytest.param("x" * 5000 + "%", ["e-[Command longer than 80 characters]", "m-ready"], id="much_too_long"),
        pytest.param("db%", ["e-[Command 'db' requires a subcommand]", "m-ready"], id="db_alone"),
        pytest.param("db load%db load 0%db load 65%db load -1%db load 99999999999%",
                     ["e-[db load takes 1 to 64 bytes]", "m-ready"] * 5, id="db_load_out_of_range"),
        pytest.param("db 00%", ["e-[Command 'db load N' must come first]", "m-ready"], id="db_hex_first"),
        pytest.param("db load 2%db 0g%db 123%db 4%db 45%",
                     ["m-[Expecting 2 bytes]", "m-ready", "e-[Invalid hex digit]", "m-ready",
                      "e-[Insufficient number of hex digits]", "m-ready", "e-[Insufficient number of hex digits]", "m-ready",
                      "m-load-done", "m-ready"], id="db_bad_hex"),
        pytest.param("db load 10%db 000102030405%db 0607A8fF%db print%",
                     ["m-[Expecting 10 bytes]", "m-ready", "m-ready", "m-load-done", "m-ready",
                      "m-buffer-00-01-02-03-04-05-06-07", "m-buffer-a8-ff", "m-ready"], id="db_print"),
        pytest.param("infer 0%infer x%infer 1 -1%infer 1 y%",
                     ["e-[Inference iterations must be >0]", "m-ready"] * 2
                     + ["e-[Inference warmup must be >=0]", "m-ready"] * 2,
                     id="infer_bad_numbers"),
        pytest.param("run 1%run 0%run%",
                     ["e-[run: no whole input is loaded]", "m-ready"]
                     + ["e-[run takes the number of inferences]", "m-ready"] * 2, id="run_without_input"),
        pytest.param("bulk 63 0%bulk 64%bulk 64 xyz%",
                     ["e-[bulk takes 64 and the bytes' CRC-32 in hexadecimal]", "m-ready"] * 3, id="bulk_refused"),
    ],
)  # fmt: skip
def test_reply(firmware: Callable[..., Firmware], sent: str, reply: list[str]) -> None:
    assert answers(firmware(), sent) == reply


def chunks(data: bytes) -> str:
    """As the official host uploads: `db load N%`, then 31 bytes a command."""
    parts = [f"db {data[i : i + 31].hex()}%" for i in range(0, len(data), 31)]
    return f"db load {len(data)}%" + "".join(parts)


@pytest.mark.parametrize("seed", [1, 2])
def test_infer_gives_the_reference_in_real_numbers(firmware: Callable[..., Firmware], seed: int) -> None:
    built = firmware()
    graph = built.model.graph
    vectors = random(graph, 1, built.model.preprocess, seed)
    data = vectors.inputs[0].tobytes()
    said = answers(built, chunks(data) + "infer 2 1%results%")
    results = next(line for line in said if line.startswith("m-results"))
    assert said == [
        *["m-[Expecting 64 bytes]", "m-ready", "m-ready", "m-ready", "m-load-done", "m-ready"],
        *[
            "m-warmup-start-1",
            "m-warmup-done",
            "m-infer-start-2",
            "m-lap-us-#",
            "m-lap-us-#",
            "m-infer-done",
            results,
            "m-ready",
        ],
        *[results, "m-ready"],
    ]
    numbers = [float(n) for n in results.removeprefix("m-results-[").removesuffix("]").split(",")]
    y = graph[graph.outputs[0]]
    want = dequantize(vectors.outputs[0].reshape(-1), y.scale, y.zero_point)
    np.testing.assert_allclose(numbers, want, atol=y.scale / 1000)


def test_time_grows_with_the_runs(firmware: Callable[..., Firmware]) -> None:
    said = talk(firmware(), "infer 4 0%infer 40 0%")
    laps = [int(line.removeprefix("m-lap-us-")) for line in said if line.startswith("m-lap-us-")][1:]
    assert laps == sorted(laps)
    assert (laps[3] - laps[2]) / (laps[1] - laps[0]) == pytest.approx(10, rel=0.02)


def test_extensions_in_text(firmware: Callable[..., Firmware]) -> None:
    """bulk is announced, then the raw bytes follow; run gives ticks, the raw outputs and their CRC."""
    built = firmware()
    vectors = random(built.model.graph, 1, built.model.preprocess, seed=5)
    data, answer = vectors.inputs[0].tobytes(), vectors.outputs[0].tobytes()
    said = answers(built, f"bulk 64 {zlib.crc32(data):08x}%".encode() + data + b"run 2%id%")
    first, second = said[4], said[5]
    counts = [int(line.removeprefix("m-ticks-")) for line in (first, second)]
    assert abs(counts[0] - counts[1]) <= 20  # the same work; bytes of `id%` may arrive meanwhile, each an interrupt
    assert said == [
        *["m-[Expecting 64 bytes]", "m-ready", "m-load-done", "m-ready"],
        *[first, second, f"m-output-{answer.hex()}", f"m-crc-{zlib.crc32(answer):08x}", "m-ready"],
        *["m-id-protocol-1", "m-id-board-cortex-m4", "m-id-core-c24", f"m-id-model-{built.model_id}"],
        *[f"m-id-build-{built.build_id}", "m-id-input-64"],
        *[f"m-id-arena-{built.arena_bytes}", f"m-id-ram-{built.ram_bytes}", "m-id-timer-systick", "m-id-tick_hz-25000000"],
        "m-ready",
    ]


def test_a_bad_crc_loads_nothing(firmware: Callable[..., Firmware]) -> None:
    data = bytes(64)
    said = answers(firmware(), b"bulk 64 12345678%" + data + b"run 1%")
    assert said == [
        *["m-[Expecting 64 bytes]", "m-ready", f"e-[bulk: CRC-32 is {zlib.crc32(data):08x}]", "m-ready"],
        *["e-[run: no whole input is loaded]", "m-ready"],
    ]


def test_several_outputs_and_long_ones(firmware: Callable[..., Firmware]) -> None:
    """Each output starts a line of its own; real numbers follow each output's own scale."""
    built = firmware("cortex-m4", "two_inputs")
    vectors = random(built.model.graph, 1, seed=3)
    data = b"".join(x.tobytes() for x in vectors.inputs)
    said = answers(built, f"bulk {len(data)} {zlib.crc32(data):08x}%".encode() + data + b"run 1%results%")
    assert [line for line in said if "output" in line] == [f"m-output-{y.tobytes().hex()}" for y in vectors.outputs]
    crc = zlib.crc32(b"".join(y.tobytes() for y in vectors.outputs))
    assert f"m-crc-{crc:08x}" in said
    results = next(line for line in said if line.startswith("m-results"))
    assert results.count(",") == sum(y.size for y in vectors.outputs) - 1

"""Replaying vectors on a device, comparing every answer, and saying which layer is the first to differ."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from pipeline.artifacts import Firmware, QuantizedModel
from pipeline.devices.board.board import Board
from pipeline.devices.board.qemu import QemuBoard
from pipeline.devices.device import Counter, Device
from pipeline.errors import MismatchError
from pipeline.evidence import BitExact
from pipeline.ir import Array
from pipeline.measurement.board import Measurement
from pipeline.proof import tflm as oracle
from pipeline.proof.board_layers import first_wrong_layer
from pipeline.proof.host_c import HostC
from pipeline.proof.prove import prove_tflm
from pipeline.proof.source_tflite import prove_source
from pipeline.proof.vectors import Vectors
from pipeline.stage import Progress
from pipeline.target import Target


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """What a board did. `answers` are its own to every vector, uint8 (n, bytes of all outputs), each proven right;
    `measurement` is the timing of the first."""

    answers: Array
    measurement: Measurement
    bit_exact: BitExact


def replay(
    firmware: Firmware,
    device: Device,
    golden: Vectors,
    progress: Progress,
    *,
    what: str = "images",
    runs: int,
    counter: Counter = "plugin",
) -> Session:
    """Replay `golden` through the device that runs `firmware`, time `runs` inferences of the first vector, then ask the
    oracles on this host. DeviceError; MismatchError when anybody answers with other bytes than the reference."""
    n = len(golden)
    with device.open_board(firmware, counter) as board:
        answers = np.empty((n, rows(golden.outputs).shape[1]), np.uint8)
        with progress(f"{what} replayed", n) as advance:
            for i, answer in enumerate(board.replay(rows(golden.inputs))):
                answers[i] = answer.view(np.uint8)
                advance()
        right = equal(golden, answers)
        if not right.all():
            raise device_mismatch(firmware, device.target, golden, right, board)
        measurement = timed(board, golden, runs)
    oracles = {"tflm": None, "device": n, **host_oracles(firmware, golden)}
    return Session(answers, measurement, BitExact(n, min(k for k in oracles.values() if k is not None), oracles))


def rows(tensors: tuple[Array, ...]) -> Array:
    """The bytes (n, total) that the wire carries for n examples: every tensor's, one after the other."""
    n = len(tensors[0])
    return np.concatenate([np.ascontiguousarray(t).reshape(n, -1).view(np.uint8) for t in tensors], axis=1)


def equal(golden: Vectors, answers: Array) -> Array:
    """Which of the n examples were answered with the reference's very bytes: bool (n,)."""
    return np.asarray((rows(golden.outputs) == answers).all(axis=1))


def timed(device: Board, golden: Vectors, runs: int) -> Measurement:
    """Timing of the first example, once its answer is proven right: a fast wrong answer is no measurement."""
    measurement = device.measure(rows(golden.inputs)[0], runs=runs)
    if measurement.output_crc32 != zlib.crc32(rows(golden.outputs)[0].tobytes()):
        raise MismatchError(
            f"{device.where} answered the first image rightly once, but not after {runs} runs in a row: inference leaves "
            "something behind that changes the next one. Look for code that writes outside its memory."
        )
    return measurement


def host_oracles(firmware: Firmware, golden: Vectors) -> dict[str, int]:
    """How many examples the generated C on this host, and TFLM where it can run, answer with the reference's bytes: all, or
    MismatchError. TFLM gets the user's own .tflite file where there is one, else the one written here. A user's file that
    only LiteRT can run is told apart, by the engine's name; GraphError when it answers otherwise."""
    graph = firmware.model.graph
    with HostC(graph, firmware.folder / "model", firmware.model.preprocess) as host:
        if not equal(golden, rows(host.run(*golden.inputs))).all():
            found = oracle.first_difference(graph, golden.int8_inputs, host.layers(*golden.inputs))
            raise MismatchError(f"the generated C on this host does not answer as the integer reference: {found}.")
    found_equal = {"host_c": len(golden)}
    if firmware.model.source is not None:
        source = prove_source(firmware.model.source, graph, golden)
        found_equal[source.by] = source.equal
    if "tflm" not in found_equal:  # nobody gave a file, or TFLM is not the one to ask about it
        by_tflm = prove_tflm(graph, (firmware.folder / "model.tflite").read_bytes(), golden)
        found_equal |= {} if by_tflm is None else {"tflm": by_tflm}
    return found_equal


def device_mismatch(firmware: Firmware, target: Target, golden: Vectors, right: Array, device: Board) -> MismatchError:
    """What to say when the device answers wrongly: which layer, found with the first wrong vector."""
    wrong = np.flatnonzero(~right)
    if isinstance(firmware.model, QuantizedModel) or firmware.model.graph.sha256()[:16] == firmware.model_id:
        culprit = f"{_culprit(firmware, target, golden, wrong[:1], device)}."
    else:  # read back from a file that says some operators in several steps: its layers are not the firmware's own
        culprit = "Compile the model anew to learn which layer it is."
    return MismatchError(
        f"{device.where} answered {len(wrong)} of {len(right)} vectors with other bytes than the integer reference, first "
        f"vector {wrong[0]}. {culprit}"
    )


def _culprit(firmware: Firmware, target: Target, golden: Vectors, pick: Array, device: Board) -> str:
    graph = firmware.model.graph
    inputs, int8_inputs = (tuple(x[pick] for x in xs) for xs in (golden.inputs, golden.int8_inputs))
    with HostC(graph, firmware.folder / "model", firmware.model.preprocess) as host:
        found = oracle.first_difference(graph, int8_inputs, host.layers(*inputs))
    if found:
        return f"The generated C is wrong on this host too: {found}"
    cause = "The same C is right on this host, so compiler, core or memory make the difference"
    if not isinstance(device, QemuBoard):
        return cause
    layer = first_wrong_layer(firmware, target, rows(inputs)[0], int8_inputs)
    return f"{cause}: {layer or 'but not when it reports each layer, so it changes from build to build'}"

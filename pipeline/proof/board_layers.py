"""Which layer a device computes wrongly, asked of the device: the same firmware, built to report every layer's checksum."""

from __future__ import annotations

import shutil
import tempfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.artifacts import Firmware
from pipeline.devices.board.link import INFER_TIMEOUT_S
from pipeline.devices.board.protocol import upload
from pipeline.devices.board.qemu import QemuBoard
from pipeline.host.build import cross_build
from pipeline.ir import Array
from pipeline.target import Target


def first_wrong_layer(firmware: Firmware, target: Target, frame: Array, int8_inputs: tuple[Array, ...]) -> str | None:
    """Say which layer is the first to differ for one example, on an emulated board; None when none does.

    `frame` is what the wire carries, `int8_inputs` the same as the graph takes it, each (1, *tensor.shape). BuildError."""
    expected = _expected(firmware, int8_inputs)
    with tempfile.TemporaryDirectory(prefix="layer_trace_") as work:
        folder = Path(work) / "firmware"
        shutil.copytree(firmware.folder, folder, ignore=shutil.ignore_patterns("build"))
        image = cross_build(folder, firmware.elf.stem, options="-include src/layer_trace.h")
        with QemuBoard(replace(firmware, elf=image.elf, build_id=image.build_id), target, "systick") as device:
            upload(device.link, frame.tobytes())
            lines = device.link.command("run 1", INFER_TIMEOUT_S, steps=1 + len(expected))
    got = [line.removeprefix("m-layer-") for line in lines if line.startswith("m-layer-")]
    for (i, kind, name, crc), line in zip(expected, got, strict=True):
        if line != f"{i}-{crc:08x}":
            return f"layer {i} ({kind} {name!r}) is the first to differ on the board"
    return None


def _expected(firmware: Firmware, int8_inputs: tuple[Array, ...]) -> list[tuple[int, str, str, int]]:
    """(layer, kind, tensor, CRC-32 of its values) in the order in which the firmware reports them."""
    graph = firmware.model.graph
    crc: dict[str, int] = {}

    def visit(name: str, values: Array) -> None:
        crc[name] = zlib.crc32(np.ascontiguousarray(values).tobytes())

    graph.trace(*int8_inputs, visit=visit)
    return [(i, op.kind, name, crc[name]) for i, op in enumerate(graph.ops) for name in op.outputs]

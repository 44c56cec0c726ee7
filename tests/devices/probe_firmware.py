"""A firmware that misbehaves on request: the board's own code around tests/devices/probe/probe.c."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.artifacts import Firmware, QuantizedModel
from pipeline.data.dataset import Dataset
from pipeline.firmware.skeleton import write_skeleton
from pipeline.host.build import cross_build
from pipeline.ir import Graph, Quant, Tensor
from pipeline.lowering.lower import lower
from pipeline.ops.relu import Relu
from pipeline.target import Target


def build_probe(board: Target, folder: Path, digits: Dataset) -> Firmware:
    """Its first input byte says what goes wrong."""
    tensor = Tensor((1, 16), "int8", Quant((0.5,), 0))
    relu = Relu(inputs=("x",), outputs=("y",))
    graph = Graph("probe", {"x": tensor, "y": tensor}, (relu,), ("x",), ("y",)).checked()
    write_skeleton(folder, lower(graph, board.cpu, board.memory), None, board)
    shutil.copytree(Path(__file__).parent / "probe", folder / "model")
    image = cross_build(folder, "probe")
    model = QuantizedModel(graph, digits, None)
    return Firmware(
        folder=folder,
        elf=image.elf,
        model=model,
        flash_bytes=image.flash_bytes,
        ram_bytes=image.ram_bytes,
        model_flash_bytes=image.model_flash_bytes,
        arena_bytes=32,
        layer_constant_bytes=(256,),
        build_id=image.build_id,
        sha256="",
        model_id="feedfacecafebeef",
    )

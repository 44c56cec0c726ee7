"""A firmware of no contents, and the bench file of a board behind a stand-in's wire."""

from __future__ import annotations

from pathlib import Path

from pipeline import target
from pipeline.artifacts import Firmware, QuantizedModel
from pipeline.ir import Graph, Quant, Tensor

TARGET = target.load("cortex-m4")
QUANT = Quant((0.1,))
GRAPH = Graph("g", {n: Tensor((1, 4), "int8", QUANT) for n in "xy"}, (), ("x",), ("y",))
FIRMWARE = Firmware(
    folder=Path(),
    elf=Path("g.elf"),
    model=QuantizedModel(GRAPH, None, None),  # type: ignore[arg-type]  # no data is needed here
    flash_bytes=1,
    ram_bytes=2,
    model_flash_bytes=1,
    arena_bytes=3,
    layer_constant_bytes=(),
    build_id="fedcba9876543210",
    sha256="",
    model_id="0123456789abcdef",
)
TIMEOUT_S = 0.4


def bench(folder: Path, port: str, kind: str = "measured") -> Path:
    """A bench file with one board; the pseudo terminal or socket that stands for its wire is said to lead to a real one."""
    path = folder / "bench.toml"
    path.write_text(f'[cortex-m4]\nport = "{port}"\n' + (f'kind = "{kind}"\n' if kind else ""))
    return path


READY = b"m-ready\r\n"

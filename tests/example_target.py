"""A board of the tests' own, so that editing a shipped target changes no expectation here."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pipeline.codegen.library import write_library
from pipeline.ir import Graph
from pipeline.lowering.lower import Lowered, lower
from pipeline.preprocess import Preprocess
from pipeline.proof.host_c import HostC
from pipeline.target import Cpu, DeviceSpec, Memory, Power, Target

BOARD = Target(
    name="test-board",
    family="cortex_m",
    description="A Cortex-M4F for tests (MPS2 AN386 in QEMU)",
    source="Arm DAI 0386",
    cpu=Cpu(core="cortex-m4", clock_hz=100_000_000, fpu="fpv4-sp-d16", isa=("dsp",)),
    memory=Memory(flash_bytes=262_144, ram_bytes=65_536, flash_origin=0, ram_origin=0x20000000),
    device=DeviceSpec(transport="qemu", machine="mps2-an386", hal="cmsdk_uart", uart_base=0x40004000),
    power=Power(active_mw=10.0),
)

ROOMY = Memory(flash_bytes=2**30, ram_bytes=2**30, ram_origin=0x40000000)
PLAIN = replace(BOARD.cpu, core="cortex-m3", fpu="", isa=())
"""A core that can do nothing but the general variants."""


def lowered(graph: Graph, cpu: Cpu = BOARD.cpu) -> Lowered:
    """With as much memory as it wants."""
    return lower(graph, cpu, ROOMY)


@contextmanager
def host_c(graph: Graph | Lowered, preprocess: Preprocess | None = None) -> Iterator[HostC]:
    """The graph's library, written for the board and built for this machine."""
    made = graph if isinstance(graph, Lowered) else lowered(graph)
    with tempfile.TemporaryDirectory() as folder:
        write_library(made, Path(folder), preprocess)
        with HostC(made.graph, Path(folder), preprocess) as host:
            yield host

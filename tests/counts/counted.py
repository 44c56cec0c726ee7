"""Libraries in one image on an emulated core: what each layer executes and how long the code is, to the instruction."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.codegen.library import write_library
from pipeline.codegen.to_c import prefix
from pipeline.devices.board import plugin
from pipeline.devices.board.qemu import find_qemu
from pipeline.host.build import MODEL_OPTIMISE, TOOLS, cpu_flags
from pipeline.ir import Array
from pipeline.locations import data_dir
from pipeline.lowering.lower import Lowered
from pipeline.target import Target

HERE = Path(__file__).parent
SEMIHOSTING = HERE.parent / "ops" / "board"
# As the firmware's Makefile has them.
FLAGS = ("-std=c99", "-ffreestanding", "-ffunction-sections", "-fdata-sections", "-Wall", "-Wextra", "-pedantic", "-Werror")
# Nothing moves across a mark. Where kernels are inlined, as in digits_cnn, that costs the compiler some tenths of a percent.
NEXT_LAYER = '-DNN_TRACE(i, name, pointer, bytes)=__asm volatile("mov r10, r10\\n\\tmov r9, r9" : : : "memory")'


@dataclass(frozen=True, slots=True)
class Counted:
    """A library: the instructions of its layers in order and those after the last; bytes of each of its functions."""

    instructions: tuple[int, ...]
    functions: Mapping[str, int]


def compiler() -> str:
    """The cross compiler's own words for its version, those of its distributor among them."""
    done = subprocess.run([f"{TOOLS}gcc", "--version"], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.splitlines()[0]


def count(graphs: tuple[Lowered, ...], inputs: tuple[tuple[Array, ...], ...], target: Target, folder: Path) -> list[Counted]:
    """One inference of each graph on the target's emulated core, all in one image that is built in `folder`."""
    build = _Build(target, folder)
    with ThreadPoolExecutor(2) as workers:
        objects = list(workers.map(build.library, graphs))
    (folder / "arenas.bin").write_bytes(b"".join(_arena(g, x) for g, x in zip(graphs, inputs, strict=True)))
    build.image(graphs, objects)
    model = plugin.core(target.cpu.core)
    lines = (plugin.counts(line, model).instructions for line in _run(target, folder))
    counted = [
        Counted(tuple(next(lines) for _ in range(len(graph.layers) + 1)), _functions(file))
        for graph, file in zip(graphs, objects, strict=True)
    ]
    assert next(lines, None) is None, "more was counted than there are layers"
    return counted


@dataclass(frozen=True, slots=True)
class _Build:
    target: Target
    folder: Path

    def library(self, graph: Lowered) -> Path:
        """The graph's generated library, compiled as the firmware's Makefile compiles it, with marks between its layers."""
        p = prefix(graph.graph)
        place = self.folder / p
        write_library(graph, place)
        self._gcc(MODEL_OPTIMISE, NEXT_LAYER, "-c", str(place / f"{p}.c"), "-o", str(self.folder / f"{p}.o"))
        return self.folder / f"{p}.o"

    def image(self, graphs: tuple[Lowered, ...], objects: list[Path]) -> None:
        prefixes = [prefix(g.graph) for g in graphs]
        headers = [f'#include "{p}/{p}.h"' for p in prefixes]
        table = ", ".join(f"{{ {p}_invoke, {p.upper()}_ARENA_BYTES }}" for p in prefixes)
        largest = max(g.arena.arena_bytes for g in graphs)
        facts = [*headers, f"#define LIBRARIES {table}", f"#define LARGEST_ARENA {largest}", ""]
        (self.folder / "libraries.h").write_text("\n".join(facts))
        memory = self.target.memory
        where = {"FLASH_AT": memory.flash_origin, "FLASH_SIZE": memory.flash_bytes}
        where |= {"RAM_AT": memory.ram_origin, "RAM_SIZE": memory.ram_bytes}
        sources = [HERE / "count.c", data_dir("firmware_templates") / "cortex_m" / "memory.c", *objects]
        link = ["-nostdlib", *(f"-Wl,--defsym={k}={v}" for k, v in where.items()), "-T", str(HERE / "count.ld")]
        includes = [f"-I{self.folder}", f"-I{SEMIHOSTING}"]
        self._gcc("-Os", *includes, *link, *map(str, sources), "-lgcc", "-o", str(self.folder / "count.elf"))

    def _gcc(self, *arguments: str) -> None:
        command = [f"{TOOLS}gcc", *cpu_flags(self.target).split(), *FLAGS, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr


def _arena(lowered: Lowered, inputs: tuple[Array, ...]) -> bytes:
    graph, arena = lowered.graph, lowered.arena
    image = np.zeros(arena.arena_bytes, np.uint8)
    for name, x in zip(graph.inputs, inputs, strict=True):
        data = np.ascontiguousarray(x).reshape(-1).view(np.uint8)
        image[arena.slots[name].offset :][: data.size] = data
    return image.tobytes()


def _run(target: Target, folder: Path) -> list[str]:
    """The plugin's lines, one a pair of marks."""
    qemu = find_qemu()
    command = [qemu, "-M", target.device.machine, "-display", "none", "-monitor", "none", "-serial", "null", "-nodefaults"]
    command += ["-semihosting-config", "enable=on,target=native", "-kernel", "count.elf"]
    command += ["-plugin", f"{plugin.build(qemu)},out={folder / 'counts'},core={plugin.core(target.cpu.core).table}"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"{target.name} in QEMU failed ({done.returncode}): {done.stderr}"
    return (folder / "counts").read_text().splitlines()


def _functions(file: Path) -> dict[str, int]:
    """How long an object's functions are, each of which has a section of its own."""
    done = subprocess.run([f"{TOOLS}size", "-A", "-d", str(file)], capture_output=True, text=True, timeout=60, check=True)
    return {name: int(size) for name, size in re.findall(r"^\.text\.(\S+)\s+(\d+)", done.stdout, re.MULTILINE)}

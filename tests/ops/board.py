"""A generated library on an emulated Cortex-M4 (QEMU's mps2-an386), bare metal: vectors and answers go through files by
semihosting, so that one boot runs them all."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np

from pipeline.codegen.library import write_library
from pipeline.codegen.to_c import prefix
from pipeline.ir import Array
from pipeline.locations import data_dir
from pipeline.lowering.arena import Plan, Slot
from pipeline.lowering.lower import Lowered

HERE = Path(__file__).parent
CPU = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffreestanding", "-nostdlib", "-ffunction-sections")


GUARD_BYTES, GUARD = 32, 0x5A  # around every activation, and what they must still hold afterwards


def run_on_board(lowered: Lowered, inputs: tuple[Array, ...], folder: Path) -> tuple[Array, ...]:
    """The outputs for n examples, each (n, *tensor.shape), computed in `folder`; AssertionError when a kernel has written
    outside its output."""
    graph = lowered.graph
    n, p, spaced = len(inputs[0]), prefix(graph), guarded(lowered)
    write_library(replace(lowered, arena=spaced), folder / "model")
    command = [
        "arm-none-eabi-gcc", *CPU, *FLAGS, "-I", str(folder / "model"), "-T", str(HERE / "board" / "board.ld"),
        f'-DMODEL_HEADER="{p}.h"', f"-DMODEL(name)={p}_##name", f"-DMODEL_ARENA_BYTES={p.upper()}_ARENA_BYTES",
        f"-DEXAMPLES={n}", f"-DGUARD={GUARD}",
        f"-DINPUT_BYTES={','.join(str(graph[name].nbytes) for name in graph.inputs)}",
        f"-DOUTPUT_BYTES={','.join(str(graph[name].nbytes) for name in graph.outputs)}",
        str(HERE / "board" / "board.c"), str(folder / "model" / f"{p}.c"),
        str(data_dir("firmware_templates") / "cortex_m" / "memory.c"), "-lgcc", "-o", str(folder / "board.elf"),
    ]  # fmt: skip
    built = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert built.returncode == 0, built.stderr
    frames = [np.ascontiguousarray(x).reshape(n, -1).view(np.uint8) for x in inputs]
    (folder / "inputs.bin").write_bytes(np.concatenate(frames, axis=1).tobytes())
    emulator = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "null"]
    emulator += ["-semihosting-config", "enable=on,target=native", "-kernel", "board.elf"]
    done = subprocess.run(emulator, cwd=folder, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, f"the emulated board failed ({done.returncode}): {done.stderr}"
    _check_guards(spaced, np.fromfile(folder / "arena.bin", np.uint8).reshape(n, -1))
    rows = np.fromfile(folder / "outputs.bin", np.uint8).reshape(n, -1)
    parts = np.split(rows, np.cumsum([graph[name].nbytes for name in graph.outputs])[:-1], axis=1)
    return tuple(
        np.ascontiguousarray(part).view(np.dtype(graph[name].dtype)).reshape(n, *graph[name].shape)
        for part, name in zip(parts, graph.outputs, strict=True)
    )


def guarded(lowered: Lowered) -> Plan:
    """The plan spread out, with gaps in between: an output that lies over an input of its operator stays where it is to that
    input, nothing else shares memory."""
    graph, tight, end = lowered.graph, lowered.arena, GUARD_BYTES
    lumps = [{name: 0} for name in graph.inputs]  # where activations lie to each other
    for op in graph.ops:
        for name in op.outputs:
            y = tight.slots[name]
            over = [n for n in op.inputs if n in tight.slots and _overlap(tight.slots[n], y)]
            if not over:
                lumps.append({name: 0})
            for n in over[:1]:
                lump = next(lump for lump in lumps if n in lump)
                lump[name] = lump[n] + y.offset - tight.slots[n].offset
    slots: dict[str, Slot] = {}
    scratch: dict[int, Slot] = {}
    for lump in lumps:
        first = min(lump.values())
        slots |= {n: replace(tight.slots[n], offset=end + at - first) for n, at in lump.items()}
        end = -(-max(slots[n].offset + slots[n].nbytes for n in lump) // 16) * 16 + GUARD_BYTES
    for i, slot in tight.scratch.items():
        scratch[i] = replace(slot, offset=end)
        end += -(-slot.nbytes // 16) * 16 + GUARD_BYTES
    return replace(tight, slots=slots, scratch=scratch, arena_bytes=end)


def _overlap(a: Slot, b: Slot) -> bool:
    return a.offset < b.offset + b.nbytes and b.offset < a.offset + a.nbytes


def _check_guards(spaced: Plan, arenas: Array) -> None:
    outside = np.ones(arenas.shape[1], bool)
    for slot in (*spaced.slots.values(), *spaced.scratch.values()):
        outside[slot.offset : slot.offset + slot.nbytes] = False
    hit = np.flatnonzero((arenas[:, outside] != GUARD).any(axis=0))
    if len(hit):
        at = np.flatnonzero(outside)[hit[0]]
        near = min(spaced.slots, key=lambda name: abs(spaced.slots[name].offset + spaced.slots[name].nbytes - at))
        raise AssertionError(f"a kernel wrote outside its output, near the end of {near!r}")

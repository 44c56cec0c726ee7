"""A generated library on an emulated Cortex-M4 (QEMU's mps2-an386), bare metal: vectors and answers go through files by
semihosting, so that one boot runs them all."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np

from pipeline.codegen.library import write_library
from pipeline.codegen.to_c import prefix
from pipeline.ir import Array, Graph
from pipeline.locations import data_dir

HERE = Path(__file__).parent
CPU = ("-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")
FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-pedantic", "-ffreestanding", "-nostdlib", "-ffunction-sections")


def run_on_board(graph: Graph, inputs: tuple[Array, ...], folder: Path) -> tuple[Array, ...]:
    """The outputs for n examples, each (n, *tensor.shape), computed in `folder`."""
    n, p = len(inputs[0]), prefix(graph)
    write_library(graph, folder / "model")
    command = [
        "arm-none-eabi-gcc", *CPU, *FLAGS, "-I", str(folder / "model"), "-T", str(HERE / "board" / "board.ld"),
        f'-DMODEL_HEADER="{p}.h"', f"-DMODEL(name)={p}_##name", f"-DMODEL_ARENA_BYTES={p.upper()}_ARENA_BYTES",
        f"-DEXAMPLES={n}",
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
    rows = np.frombuffer((folder / "outputs.bin").read_bytes(), np.uint8).reshape(n, -1)
    parts = np.split(rows, np.cumsum([graph[name].nbytes for name in graph.outputs])[:-1], axis=1)
    return tuple(
        np.ascontiguousarray(part).view(np.dtype(graph[name].dtype)).reshape(n, *graph[name].shape)
        for part, name in zip(parts, graph.outputs, strict=True)
    )

"""The generated C on this machine: built with AddressSanitizer and UndefinedBehaviorSanitizer, warnings as errors, and fed
vectors over stdin. It proves the C before a board sees it; its timing says nothing about a board."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from pathlib import Path
from typing import Self

import numpy as np

from pipeline.codegen.to_c import prefix
from pipeline.errors import BuildError, GraphError, MismatchError
from pipeline.host.processes import run_group
from pipeline.host.tools import find_compiler
from pipeline.ir import Array, Graph, Tensor
from pipeline.locations import data_dir
from pipeline.preprocess import Preprocess

WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
COMPILE_TIMEOUT_S = 300
REPLAY_TIMEOUT_S = 600


class HostC:
    """A graph's library in `folder` (`<p>.c` and what it includes) as a host program, usable in a `with` block."""

    def __init__(self, graph: Graph, folder: Path, preprocess: Preprocess | None = None) -> None:
        self.graph, self.preprocess = graph, preprocess
        self._library = folder
        self._program: Path | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory(prefix="host_c_")
        work = Path(self._temporary.name)
        try:
            self._program = self._compile(self._library, work / "replay")
        except BaseException:
            self._temporary.cleanup()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._program = None
        if self._temporary is not None:
            self._temporary.cleanup()

    def run(self, *inputs: Array) -> tuple[Array, ...]:
        """The outputs, each (n, *tensor.shape), for n examples. With a preprocess, input 0 is raw bytes."""
        return self._replay(inputs, [self.graph[n] for n in self.graph.outputs], ())

    def layers(self, *inputs: Array) -> dict[str, Array]:
        """Every operator's outputs by tensor name, each (n, *tensor.shape)."""
        names = [name for op in self.graph.ops for name in op.outputs]
        traced = [self.graph[n] for n in names]
        values = self._replay(inputs, traced + [self.graph[n] for n in self.graph.outputs], ("trace",))
        return dict(zip(names, values, strict=False))

    def _compile(self, source: Path, program: Path) -> Path:
        p, harness = prefix(self.graph), data_dir("firmware_templates") / "host"
        up = p.upper()

        def sizes(names: tuple[str, ...]) -> str:
            return ", ".join(str(self.graph[n].nbytes) for n in names)

        command = [
            find_compiler(), *WARNINGS, *SANITIZERS, "-O1", "-g",
            "-I", str(source), "-I", str(harness), "-include", str(harness / "replay.h"),
            f"-D{up}_STATIC_ARENA", f'-DMODEL_HEADER="{p}.h"',
            f"-DMODEL(name)={p}_##name", f"-DMODEL_MACRO(name)={up}_##name",
            f"-DMODEL_HAS_PREPROCESS={int(self.preprocess is not None)}",
            f"-DINPUT_SIZES={sizes(self.graph.inputs)}", f"-DOUTPUT_SIZES={sizes(self.graph.outputs)}",
            str(harness / "replay.c"), str(source / f"{p}.c"), "-o", str(program),
        ]  # fmt: skip
        done = self._finish(command, b"", COMPILE_TIMEOUT_S)
        if done.returncode:
            complaints = done.stderr.decode(errors="replace")
            lines = re.findall(r".*(?:error:|undefined|cannot find).*", complaints) or ["no message"]
            raise BuildError(
                f"the generated C of {self.graph.name!r} does not build for the host: {lines[0]} ({len(lines)} such lines; "
                f"compiler: {command[0]}, flags {' '.join(WARNINGS)})."
            )
        return program

    def _replay(self, inputs: tuple[Array, ...], wanted: list[Tensor], mode: tuple[str, ...]) -> tuple[Array, ...]:
        if self._program is None:
            raise BuildError(f"the host build of {self.graph.name!r} is used outside its `with` block.")
        n = self._examples(inputs)
        frames = np.concatenate([np.ascontiguousarray(x).reshape(n, -1).view(np.uint8) for x in inputs], axis=1)
        done = self._finish([str(self._program), *mode], frames.tobytes(), REPLAY_TIMEOUT_S)
        report = done.stderr.decode(errors="replace")
        if done.returncode:
            first = next((line for line in report.splitlines() if "error" in line.lower()), report[:200] or "no message")
            raise MismatchError(
                f"the generated C of {self.graph.name!r} fails on the host, under sanitizers: {first.strip().rstrip('.')}."
            )
        each = sum(t.nbytes for t in wanted)
        if len(done.stdout) != n * each:
            raise MismatchError(
                f"the generated C of {self.graph.name!r} gave {len(done.stdout)} bytes for {n} vectors; expected {n * each}."
            )
        rows = np.frombuffer(done.stdout, np.uint8).reshape(n, each)
        ends = np.cumsum([t.nbytes for t in wanted])
        parts = np.split(rows, ends[:-1], axis=1)
        return tuple(
            np.ascontiguousarray(part).view(np.dtype(t.dtype)).reshape(n, *t.shape)
            for part, t in zip(parts, wanted, strict=True)
        )

    def _finish(self, command: list[str], given: bytes, timeout_s: float) -> subprocess.CompletedProcess[bytes]:
        assert self._temporary is not None, "used outside its `with` block"
        # Nothing is allocated, so nothing leaks; and the leak check fails where processes are traced. What a compiler leaves
        # behind that is killed is in our folder, which goes with us.
        environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0", "TMPDIR": self._temporary.name}
        try:
            return run_group(command, environment, timeout_s, given)
        except subprocess.TimeoutExpired:
            what = Path(command[0]).name
            raise BuildError(
                f"{what} took longer than {timeout_s:g} s on the generated C of {self.graph.name!r} and was stopped; replay "
                f"fewer vectors, or look for what else keeps this machine busy."
            ) from None

    def _examples(self, inputs: tuple[Array, ...]) -> int:
        for i, (name, x) in enumerate(zip(self.graph.inputs, inputs, strict=True)):
            dtype = self.preprocess.dtype if self.preprocess and i == 0 else self.graph[name].dtype
            if x.dtype != np.dtype(dtype) or x.shape[1:] != self.graph[name].shape or len(x) != len(inputs[0]):
                want = f"{dtype} of shape (n, {', '.join(map(str, self.graph[name].shape))})"
                raise GraphError(f"input {name!r} takes {want}, got {x.dtype}{x.shape}.")
        return len(inputs[0])

"""What the oracles said of a model: which vectors were compared, and how far apart the answers were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.ir import Array


@dataclass(frozen=True, slots=True)
class Differences:
    """`counts[d]`: how many values differ by d LSB from the reference (ONNX Runtime minus reference)."""

    counts: Mapping[int, int]

    @property
    def values(self) -> int:
        return sum(self.counts.values())

    @property
    def max_lsb(self) -> int:
        return max(map(abs, self.counts), default=0)

    @property
    def equal(self) -> float:
        """The fraction of values that are equal."""
        return self.counts.get(0, 0) / max(self.values, 1)

    @staticmethod
    def between(got: Sequence[Array], reference: Sequence[Array], lsb: Sequence[float]) -> Differences:
        """Of several tensors, one LSB of each being `lsb` in its own numbers."""
        steps = [np.rint((g.astype(np.float64) - r) / s).ravel() for g, r, s in zip(got, reference, lsb, strict=True)]
        d, n = np.unique(np.concatenate(steps), return_counts=True)
        return Differences({int(a): int(b) for a, b in zip(d, n, strict=True)})


@dataclass(frozen=True, slots=True)
class Comparison:
    """Answers to `vectors` inputs against the reference's; `top1` is the fraction whose largest value is the same, None
    when there are no scores to compare."""

    vectors: int
    differences: Differences
    top1: float | None


@dataclass(frozen=True, slots=True)
class BitExact:
    """How many vectors were replayed, and how many each oracle answered with the integer reference's very bytes. An oracle
    that this machine can not run (TFLM's wheel is for Linux x86-64) is None, never a number. Only ONNX Runtime and LiteRT's
    optimised kernels, which round otherwise, may be equal on fewer vectors than all."""

    vectors: int
    equal: int  # vectors on which every oracle that ran was equal
    oracles: Mapping[str, int | None]  # "tflm", "host_c", "device"; "tflm", "onnxruntime" on Linux


Engine = Literal["tflm", "litert", "litert_optimised"]


@dataclass(frozen=True, slots=True)
class SourceProof:
    """The user's file, run `by` whom, gave the integer reference's very answers to `equal` of `vectors` examples, and was
    off by at most `max_lsb` steps. All are equal but for kernels that round otherwise. `note` says why it was
    not TFLM, if it was not; of an .onnx file, what was compared."""

    by: Engine | Literal["onnxruntime"]
    vectors: int
    equal: int
    max_lsb: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Proof:
    """How many vectors were replayed, and that each oracle gave the reference's bytes for all; `tflm` is None where TFLM can
    not run. `tflm_arena_bytes` is the smallest that works, `tflm_arena_note` how it was found. `source` is what
    was proven of the user's own file, None where there was none."""

    vectors: int
    host_c: int
    tflm: int | None
    tflm_arena_bytes: int
    tflm_arena_note: str
    source: SourceProof | None = None

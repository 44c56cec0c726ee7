"""What is known of each Arm core, from Arm's own manuals: how it identifies itself, and how fast it can be at most."""

from __future__ import annotations

from dataclasses import dataclass

FASTEST_MACS_PER_CYCLE = 8
SLACK = 10
"""How much faster than a core's best a claim must be to be impossible: a model's MACs count the taps of a window that fall
on padding, which need no work. A 3x3 window on a 1x1 image has 8 such of 9. (Real code is far from a core's best.)"""


@dataclass(frozen=True, slots=True)
class Part:
    """`number` is the part number in the CPUID register, in hexadecimal; `macs_per_cycle` the most multiply-accumulates of
    8-bit numbers that any sequence of its instructions does in a cycle, rounded up."""

    number: str
    macs_per_cycle: int


# Sources: Arm's Technical Reference Manual of each core: the table of the system control registers (CPUID), and of the
# instructions' timing. Without DSP instructions a multiplication and an addition, of one cycle each at least; with them
# SMLAD, two in a cycle; with Helium (MVE) VMLADAV.S8, sixteen in two beats of four.
PARTS = {
    "cortex-m0": Part("c20", 1),
    "cortex-m0plus": Part("c60", 1),
    "cortex-m3": Part("c23", 1),
    "cortex-m4": Part("c24", 2),
    "cortex-m7": Part("c27", 2),
    "cortex-m23": Part("d20", 1),
    "cortex-m33": Part("d21", 2),
    "cortex-m55": Part("d22", 8),
    "cortex-m85": Part("d23", 8),
}


def fewest_cycles(core: str, macs: int) -> int:
    """No core of that name runs a model of `macs` multiply-accumulates in fewer; at least 1."""
    fastest = PARTS[core].macs_per_cycle if core in PARTS else FASTEST_MACS_PER_CYCLE
    return max(1, macs // (fastest * SLACK))

"""A board of the tests' own, so that editing a shipped target changes no expectation here."""

from __future__ import annotations

from pipeline.target import Cpu, DeviceSpec, Memory, Power, Target

BOARD = Target(
    name="test-board",
    family="cortex_m",
    description="A Cortex-M4F for tests (MPS2 AN386 in QEMU)",
    source="Arm DAI 0386",
    cpu=Cpu(core="cortex-m4", clock_hz=100_000_000, fpu="fpv4-sp-d16"),
    memory=Memory(flash_bytes=262_144, ram_bytes=65_536, flash_origin=0, ram_origin=0x20000000),
    device=DeviceSpec(transport="qemu", machine="mps2-an386", hal="cmsdk_uart", uart_base=0x40004000),
    power=Power(active_mw=10.0),
)

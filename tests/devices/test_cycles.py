"""The counting plugin, instruction by instruction: short programs between the markers, counted by hand."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.devices.board import plugin
from pipeline.devices.board.qemu import find_qemu

pytestmark = [pytest.mark.cross, pytest.mark.qemu]

START = """
    .syntax unified
    .thumb
    .section .vectors
    .word 0x20010000, start + 1
    .text
    .thumb_func
start:
    ldr r0, =0xE000ED88
    mov r1, #0xF00000
    str r1, [r0]            @ the FPU on
    ldr r8, =0x20001000     @ some RAM to load from
    movs r5, #9
    movs r6, #3
    mov r9, r9
"""
END = """
    mov r10, r10
    movs r0, #0x18
    ldr r1, =0x20026
    bkpt 0xab
    .ltorg
"""

# (program, instructions, cycles without refills, jumps taken). Cortex-M4 TRM, table 3-1.
PROGRAMS = {
    "nothing": ("", 0, 0, 0),
    "alu": ("adds r0, r0, r1\n add r2, r3, #5\n nop", 3, 3, 0),
    "one_load": ("ldr r0, [r8]\n nop", 2, 3, 0),
    "loads_pipeline": ("ldr r0, [r8]\n ldr r1, [r8, #4]\n ldrb r2, [r8]\n ldrsh.w r3, [r8]", 4, 5, 0),
    "store_then_load": ("str r0, [r8]\n ldr r1, [r8]", 2, 2, 0),
    "ldrd": ("ldrd r0, r1, [r8]", 1, 3, 0),
    "ldm": ("ldmia.w r8, {r0-r3}", 1, 5, 0),
    "push_pop": ("push {r0-r3}\n pop {r0-r3}", 2, 10, 0),
    "multiply": ("mul r0, r1, r2\n mla r0, r1, r2, r3\n smlad r0, r1, r2, r3", 3, 3, 0),
    "multiply_long": ("smull r0, r1, r2, r3\n smlal r0, r1, r2, r3\n umaal r0, r1, r2, r3", 3, 3, 0),
    "divide": ("sdiv r0, r5, r6", 1, 6, 0),
    "it": ("cmp r5, r6\n ite eq\n moveq r0, r1\n movne r0, r2", 4, 3, 0),
    "branch_taken": ("b 1f\n nop\n nop\n 1: nop", 2, 2, 1),
    "branch_not_taken": ("cmp r5, r5\n bne 1f\n nop\n 1: nop", 4, 4, 0),
    "loop": ("movs r0, #100\n 1: subs r0, #1\n bne 1b", 201, 201, 99),
    "call": ("bl 2f\n b 3f\n 2: bx lr\n 3: nop", 4, 4, 3),
    "float": ("vadd.f32 s0, s1, s2\n vmul.f32 s0, s1, s2\n vmla.f32 s0, s1, s2\n vdiv.f32 s0, s1, s2", 4, 19, 0),
    "float_moves": ("vmov s0, r0\n vmov r0, r1, s2, s3\n vmov r0, s0", 3, 4, 0),
    # QEMU looks at the halfword behind an instruction that stands 4 bytes before the end of a page (of 1 KiB).
    "page_end": ("b 1f\n .balign 1024\n .space 1020\n 1: nop\n add.w r0, r0, r1\n nop", 4, 4, 1),
    "page_end_mark": ("b 1f\n .balign 1024\n .space 1020\n 1:", 1, 1, 1),
    "float_memory": ("vldr s0, [r8]\n vstr s0, [r8]\n vpush {s0-s3}\n vpop {s0-s3}", 4, 14, 0),
}  # fmt: skip


def count(program: str, folder: Path, core: str = "m4") -> str:
    """The plugin's line for `program` between the markers."""
    (folder / "p.s").write_text(START + program + END)
    script = "SECTIONS { . = 0; .text : { *(.vectors) *(.text) } }"
    (folder / "p.ld").write_text(script)
    compile_ = ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard", "-mthumb", "-nostdlib"]
    compile_ += ["-T", str(folder / "p.ld"), str(folder / "p.s"), "-o", str(folder / "p.elf")]
    subprocess.run(compile_, check=True, capture_output=True, text=True)
    qemu = find_qemu()
    run = [qemu, "-M", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "null", "-icount", "shift=0"]
    run += ["-semihosting-config", "enable=on,target=native", "-kernel", str(folder / "p.elf")]
    run += ["-plugin", f"{plugin.build(qemu)},out={folder / 'counts'},core={core}"]
    subprocess.run(run, check=True, capture_output=True, timeout=30)
    (line,) = (folder / "counts").read_text().splitlines()
    return line


@pytest.mark.parametrize("name", PROGRAMS)
def test_counts(name: str, tmp_path: Path) -> None:
    program, instructions, base, taken = PROGRAMS[name]
    found = plugin.counts(count(program, tmp_path), plugin.core("cortex-m4"))
    assert found == plugin.Counts(instructions, base + 2 * taken, base + taken, base + 3 * taken)


M3_MULTIPLICATIONS = {
    "mul r0, r1, r2": 1,
    "mla r0, r1, r2, r3": 2,
    "mls r0, r1, r2, r3": 2,
    "smull r0, r1, r2, r3": 4,
    "umlal r0, r1, r2, r3": 6,
}


@pytest.mark.parametrize(("program", "cycles"), M3_MULTIPLICATIONS.items())
def test_the_m3_multiplies_slowly(program: str, cycles: int, tmp_path: Path) -> None:
    assert plugin.counts(count(program, tmp_path, "m3"), plugin.core("cortex-m3")).cycles == cycles


def test_counts_that_can_not_be_written_end_the_emulator(tmp_path: Path) -> None:
    """Otherwise the figures of an earlier inference would be taken for those of this one."""
    (tmp_path / "counts").symlink_to("/dev/full")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        count("nop", tmp_path)
    assert caught.value.stderr == b"cortex_m_cycles: the counts can not be written: No space left on device\n"


def test_cores_without_a_table_have_a_wider_band() -> None:
    line = '{"instructions": 1000, "base_cycles": 1200, "taken": 100}'
    assert plugin.counts(line, plugin.core("cortex-m4")) == plugin.Counts(1000, 1400, 1300, 1500)
    assert plugin.counts(line, plugin.core("cortex-m7")) == plugin.Counts(1000, 952, 650, 1500)


def test_the_plugin_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = plugin.build(find_qemu())
    written = first.stat().st_mtime_ns
    assert plugin.build(find_qemu()) == first
    assert first.stat().st_mtime_ns == written
    assert [p.name for p in first.parent.iterdir()] == [first.name]


def test_the_source_compiles_for_every_interface(tmp_path: Path) -> None:
    """QEMU 9.0 and 9.1 changed the plugin interface; warnings are errors here."""
    source = plugin.data_dir("firmware_templates") / "qemu_plugin" / "cortex_m_cycles.c"
    for api in (1, 2, 3):
        command = ["cc", "-std=c99", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Werror", f"-DPLUGIN_API={api}"]
        done = subprocess.run([*command, str(source), "-o", str(tmp_path / "p.so")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

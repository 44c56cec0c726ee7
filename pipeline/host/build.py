"""Cross-building a generated folder with its own Makefile, and reading what the linker made of it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import BuildError, TargetError
from pipeline.host import tools
from pipeline.host.processes import run_group
from pipeline.target import Target

BUILD_TIMEOUT_S = 600
FIRMWARE_OPTIMISE = "-Os"
# Measured with gcc 12 on the emulated Cortex-M4 (make bench), MLPerf's resnet8 and ds_cnn, instructions and flash: this
# 33.2 M, 88.9 KiB and 12.3 M, 37.0 KiB; -funroll-loops 36.1 M, 94.3 and 12.6 M, 41.6; -O3 32.1 M, 92.4 and 9.2 M, 46.8.
MODEL_OPTIMISE = "-O2"
TOOLS = "arm-none-eabi-"
ID_LINE = re.compile(rb"(?<=m-id-build-)[0-9a-f]{16}(?=\0)")
STRICT = "-Wall -Wextra -pedantic -Werror"


@dataclass(frozen=True, slots=True)
class Image:
    """A linked firmware. `sections` are bytes by name; flash holds code, constants and the initial values of variables; RAM
    holds variables, arena and the stack reserve. `build_id` is what it answers when asked which build it is.
    `model_flash_bytes` is the part of the flash that is the model's: constants, layers and kernels."""

    elf: Path
    binary: Path
    build_id: str
    sections: Mapping[str, int]
    model_flash_bytes: int

    @property
    def flash_bytes(self) -> int:
        return sum(self.sections.get(s, 0) for s in (".text", ".data"))

    @property
    def ram_bytes(self) -> int:
        return sum(self.sections.get(s, 0) for s in (".data", ".bss", ".stack"))


class DoesNotFitError(BuildError):
    """The image is `excess_bytes` larger than the target's memory, as the linker found, or its model's part than the budget.
    `region` is "FLASH" or "RAM"."""

    def __init__(self, message: str, region: str, excess_bytes: int, *, of_budget: bool = False) -> None:
        super().__init__(message)
        self.region, self.excess_bytes, self.of_budget = region, excess_bytes, of_budget


def require_tools(*needed: tools.Tool) -> None:
    """BuildError naming what is missing and how to get it, before any work."""
    missing = [tool for tool in needed if tools.find(tool).path is None]
    if missing:
        names = " and ".join(f"{t.name} ({t.purpose})" for t in missing)
        raise BuildError(f"{names} not found on this machine. Install: {tools.how_to_get(missing)}.")


def cpu_flags(target: Target) -> str:
    """gcc's flags for the target's core: `-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16`."""
    float_abi = f"-mfloat-abi=hard -mfpu={target.cpu.fpu}" if target.cpu.fpu else "-mfloat-abi=soft"
    return f"-mcpu={target.cpu.core} -mthumb {float_abi}"


def require_core(target: Target) -> None:
    """TargetError, in the compiler's words, when it can not compile for the target's core and FPU."""
    require_tools(tools.CROSS_COMPILER)
    command = [f"{TOOLS}gcc", *cpu_flags(target).split(), "-ffreestanding", "-x", "c", "-S", "-", "-o", os.devnull]
    source = "#if __ARM_ARCH < 7\n#error the firmware needs Armv7-M or Armv8-M Mainline\n#endif\nint x;\n"
    for feature in target.cpu.isa:
        error = f"#error cpu.isa names {feature}, which the core has not"
        source += f"#ifndef __ARM_FEATURE_{feature.upper()}\n{error}\n#endif\n"
    done = subprocess.run(command, input=source, capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise TargetError(
            f"target {target.name}: {TOOLS}gcc refuses cpu.core = {target.cpu.core!r} with cpu.fpu = {target.cpu.fpu!r}: "
            f"{_first_complaint(done.stderr)}. Give the core as gcc's -mcpu has it, and its FPU as -mfpu, or an empty fpu."
        )


def tflm_arch(target: Target) -> str:
    """What TFLM's own Makefile calls the core with the same float ABI. Source: its cortex_m_generic_makefile.inc."""
    return target.cpu.core + ("+fp" if target.cpu.fpu and target.cpu.core in ("cortex-m4", "cortex-m7") else "")


def cross_build(folder: Path, name: str, options: str = "") -> Image:
    """Run `make` in `folder`, warnings as errors, with further compiler `options`; leaves build/<name>.{elf,bin,hex,map}, no
    objects. BuildError with the compiler's first complaint, DoesNotFitError with the linker's."""
    require_tools(tools.CROSS_COMPILER, tools.MAKE)
    _make(folder, "all", f"WARNINGS={STRICT} {options}".rstrip())
    elf = folder / "build" / f"{name}.elf"
    binary = elf.with_suffix(".bin")
    image = Image(elf, binary, build_id(binary), _sections(elf), _model_flash_bytes(elf.with_suffix(".map")))
    shutil.rmtree(folder / "build" / "obj")
    return image


def tflm_build(folder: Path, tflm_dir: Path) -> None:
    """Link build/<name>_tflm.elf, with the TFLM library in `tflm_dir`. BuildError as `cross_build`; TargetError when it is
    too large, which no other choice of kernels changes."""
    try:
        _make(folder, "tflm", f"TFLM_DIR={tflm_dir.resolve()}")
    except DoesNotFitError as e:
        region = "flash" if e.region == "FLASH" else e.region
        raise TargetError(
            f"with TFLM the firmware is {e.excess_bytes:,} bytes larger than the target's {region}. Leave --tflm-dir "
            f"(codegen.tflm_dir) out, or choose a target with more {region} (`pipeline targets`)."
        ) from None
    shutil.rmtree(folder / "build" / "obj")


def build_id(binary: Path) -> str:
    """The id that the image in `binary` answers with; BuildError unless it is the image's own: the first 16 hex digits of
    its sha256, with zeros in their place."""
    image = binary.read_bytes()
    found = ID_LINE.findall(image)
    own = hashlib.sha256(ID_LINE.sub(b"0" * 16, image)).hexdigest()[:16]
    if [own.encode()] != found:
        said = b", ".join(found).decode() or "none"
        raise BuildError(
            f"{binary.name} must hold the build id {own}, which is the sha256 of its bytes; it holds {said}. Is sha256sum, "
            "or shasum, of this machine another program?"
        )
    return own


def _make(folder: Path, goal: str, *variables: str) -> None:
    make = tools.find(tools.MAKE).path
    assert make is not None  # require_tools
    # Flags meant for the user's own programs would change the firmware.
    environment = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "CFLAGS", "CPPFLAGS", "LDFLAGS")}
    command = [make, "-C", str(folder), "-j", str(os.cpu_count() or 1), goal, f"CROSS_COMPILE={TOOLS}", *variables]
    with tempfile.TemporaryDirectory(dir=folder) as temporary:  # a compiler that is killed leaves its own files behind
        try:
            done = run_group(command, {**environment, "TMPDIR": temporary}, BUILD_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise BuildError(
                f"`make {goal}` of the firmware took longer than {BUILD_TIMEOUT_S} s and was stopped. Is this machine busy? "
                "Run it again."
            ) from None
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace")
        why = _first_complaint(said).replace(f"{folder}/", "")
        full = re.search(r"No space left on device|[Qq]uota exceeded", said)
        advice = " Free some space, or name a place that has it with --out." if full else ""
        raise link_error(said) or BuildError(f"`make {goal}` of the firmware failed: {why}.{advice}")


def link_error(output: str) -> DoesNotFitError | None:
    """What the linker says when the image exceeds a memory region, or None when it says something else."""
    if found := re.search(r"region `(FLASH|RAM)' overflowed by (\d+) bytes?", output):
        return DoesNotFitError(found[0], found[1], int(found[2]))
    return None


def _first_complaint(output: str) -> str:
    """The first line that says why; make's own come after the tool's."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for telling in (r"(?i)\berror:|No space left|undefined reference|cannot find|No such file", r"\*\*\*"):
        if said := [line for line in lines if re.search(telling, line)]:
            return said[0].rstrip(".")
    return (lines or ["no message"])[0].rstrip(".")


def _model_flash_bytes(link_map: Path) -> int:
    """What the linker kept of the model's own objects, in flash."""
    kept = link_map.read_text(encoding="utf-8").split("Linker script and memory map", 1)[1]
    rows = re.findall(r"^ \.(?:text|rodata)\S*\s+0x[0-9a-f]+\s+0x([0-9a-f]+) build/obj/model/", kept, re.MULTILINE)
    return sum(int(size, 16) for size in rows)


def _sections(elf: Path) -> dict[str, int]:
    """Bytes of each section that takes memory on the device, from `size -A -d`."""
    done = subprocess.run([f"{TOOLS}size", "-A", "-d", str(elf)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise BuildError(f"{TOOLS}size can not read {elf}: {done.stderr.strip()}")
    rows = re.findall(r"^(\.\S+)\s+(\d+)\s+\d+\s*$", done.stdout, re.MULTILINE)
    return {name: int(size) for name, size in rows if name in (".text", ".data", ".bss", ".stack")}

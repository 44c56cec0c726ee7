"""A target is a TOML file: data only, validated once here, trusted afterwards. Never a port or a host (see bench.toml)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from pipeline.errors import TargetError, did_you_mean
from pipeline.locations import data_dir
from pipeline.strict import NO_KEY, limits, parse, read_toml

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


def _require_names(**values: str) -> None:
    """ValueError for a value that is no plain name: they go into Makefiles, C strings, command lines and file names."""
    for key, value in values.items():
        if value and not _NAME.fullmatch(value):
            raise ValueError(
                f"{key} = {value!r} must be letters, digits, '.', '_', '+' or '-', 64 at most, the first no sign."
            )


Isa = Literal["dsp"]
FLASHED_FILES = ("bin", "hex", "elf")
"""What a flash command may ask for, in braces."""


def require_flash_command(words: Sequence[str]) -> None:
    """ValueError unless it is a program, the words after it, and in one of them the file to flash."""
    asks = any(f"{{{kind}}}" in word for word in words[1:] for kind in FLASHED_FILES)
    if words and not (words[0] and asks and "\0" not in "".join(words)):
        raise ValueError(
            "flash must be the words of a command, the program first, and {bin}, {hex} or {elf} where the file goes: "
            'flash = ["st-flash", "--reset", "write", "{bin}", "0x08000000"]. No shell reads it.'
        )


@dataclass(frozen=True, slots=True)
class Cpu:
    """`core` is gcc's -mcpu; `fpu` gcc's -mfpu ("": none, soft float); `clock_hz` the reference clock of all latencies;
    `isa` the extensions that a kernel may need."""

    core: str
    clock_hz: int = limits(low=1, high=10**10)
    fpu: str = ""
    isa: tuple[Isa, ...] = ()
    cores: int = limits(1, low=1, high=64)

    def __post_init__(self) -> None:
        _require_names(core=self.core, fpu=self.fpu)


@dataclass(frozen=True, slots=True)
class Memory:
    """What the model, its firmware and its stack may use of the part, in bytes. Origins are absolute addresses."""

    flash_bytes: int = limits(low=1024)
    ram_bytes: int = limits(low=1024)
    flash_origin: int = limits(0, low=0)
    ram_origin: int = limits(0x20000000, low=0)
    stack_bytes: int = limits(4096, low=512)

    def require_map(self) -> None:
        """ValueError unless flash and RAM have addresses of their own in 32 bits."""
        flash_end, ram_end = self.flash_origin + self.flash_bytes, self.ram_origin + self.ram_bytes
        if max(flash_end, ram_end) > 2**32:
            raise ValueError("memory: flash and RAM must end below 4 GiB, at 0x1_0000_0000.")
        if self.flash_origin < ram_end and self.ram_origin < flash_end:
            raise ValueError(
                f"memory: flash (0x{self.flash_origin:08x} to 0x{flash_end:08x}) and RAM (0x{self.ram_origin:08x} to "
                f"0x{ram_end:08x}) overlap; take origins and sizes from the part's memory map."
            )


@dataclass(frozen=True, slots=True)
class DeviceSpec:
    """How the device is reached by default. `hal` names firmware_templates/cortex_m/hal/<hal>.c; `machine` is QEMU's.
    `core_clock_hz` is what the core's own timers count at on this device, if not the reference clock (0: it is). `model` is
    what a Linux computer's own name for itself must contain (/proc/device-tree/model), or it is refused; "": any will do.
    `flash` is the command that puts a firmware on the board (none: by hand); `{bin}`, `{hex}`, `{elf}` and `{port}` in its
    words stand for the file and the port."""

    transport: Literal["qemu", "serial", "ssh", "process"]
    machine: str = ""
    hal: str = ""
    uart_base: int = limits(0, low=0)
    uart_irq: int = limits(0, low=0, high=479)
    peripheral_clock_hz: int = limits(25_000_000, low=1)
    core_clock_hz: int = limits(0, low=0)
    baud: int = limits(115200, low=300)
    timer: Literal["systick", "dwt"] = "systick"
    model: str = ""
    flash: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require_names(machine=self.machine, hal=self.hal)
        require_flash_command(self.flash)


@dataclass(frozen=True, slots=True)
class Power:
    """The datasheet's active power at `clock_hz`; energy = power x time, always labelled `estimated`."""

    active_mw: float = limits(low=0.0)
    source: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """`driver` is the board's own C file, instead of `device.hal`: `<board>/hal.c` beside `<board>.toml`, or that of the
    board it inherits from."""

    name: str
    family: Literal["cortex_m", "linux"]
    description: str
    source: str
    cpu: Cpu
    memory: Memory
    device: DeviceSpec
    power: Power
    tested: str = "not yet"
    driver: Path | None = field(default=None, metadata=NO_KEY)

    def __post_init__(self) -> None:
        _require_names(name=self.name)
        if self.family == "cortex_m":
            self.memory.require_map()

    @property
    def core_hz(self) -> int:
        """The rate of the device's SysTick and cycle counter."""
        return self.device.core_clock_hz or self.cpu.clock_hz


def as_table(target: Target) -> dict[str, Any]:
    """The target as it goes into a folder that may be given away: without what is of this computer only."""
    table = asdict(target)
    del table["device"]["flash"], table["driver"]
    return table


def folders(extra: Path | None = None) -> tuple[Path, ...]:
    """Searched in order: --targets-dir, ./targets, the shipped ones."""
    candidates = ([extra] if extra else []) + [Path("targets"), data_dir("targets")]
    return tuple(dict.fromkeys(d.resolve() for d in candidates if d.is_dir()))


def names(extra: Path | None = None) -> list[str]:
    return sorted({p.stem for d in folders(extra) for p in d.glob("*.toml")})


def load(name: str, extra: Path | None = None) -> Target:
    """The target called `name`. TargetError (exit 2) when unknown or invalid."""
    if extra and not extra.is_dir():
        raise TargetError(f"--targets-dir {extra} is not a folder.")
    table, path, driver = _merged(name, extra, ())
    if table.get("name", name) != name:
        raise TargetError(f"{path}: name is {table['name']!r} but the file is {name}.toml; make them equal.")
    return replace(parse(Target, {**table, "name": name}, f"{path}: ", TargetError), driver=driver)


def _merged(name: str, extra: Path | None, below: tuple[str, ...]) -> tuple[dict[str, Any], Path, Path | None]:
    """The table, the file, and the driver of its own or of the nearest that it inherits from and that says which."""
    if name in below:
        raise TargetError(f"targets inherit in a circle: {' -> '.join((*below, name))}.")
    path = next(
        (d / f"{name}.toml" for d in folders(extra) if name in names(extra) and (d / f"{name}.toml").is_file()), None
    )
    if path is None:
        known = names(extra)
        where = f"target {below[-1]!r} inherits the " if below else ""
        raise TargetError(f"{where}unknown target {name!r}.{did_you_mean(name, known)} Known targets: {', '.join(known)}.")
    table = read_toml(path, TargetError)
    driver = _own_driver(path)
    parent = table.pop("inherits", None)
    if parent is None:
        return table, path, driver
    base, _, inherited = _merged(str(parent), extra, (*below, name))
    base = {k: v for k, v in base.items() if k not in ("name", "tested")}  # what was tested is the other board
    device = table.get("device")
    if driver is None and not (isinstance(device, Mapping) and "hal" in device):
        driver = inherited
    return _overlay(base, table), path, driver


def _own_driver(file: Path) -> Path | None:
    """`<board>/hal.c` beside the target file. TargetError when a link leads out of the folder of targets: what is there goes
    into what is given away."""
    path = file.with_suffix("") / "hal.c"
    if not path.exists() and not path.is_symlink():
        return None
    try:
        inside = path.resolve().is_relative_to(file.parent)
    except (OSError, RuntimeError):  # a link to itself
        inside = False
    if not (inside and path.is_file()):
        raise TargetError(f"{path} must be a C file in {file.parent}, no link to elsewhere: copy the board's driver there.")
    return path


def _overlay(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _overlay(merged[key], value) if both else value
    return merged

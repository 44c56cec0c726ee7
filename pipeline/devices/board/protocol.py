"""The commands of our firmware beyond MLPerf Tiny's: identity, checked upload, raw outputs, stack use."""

from __future__ import annotations

import shlex
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.devices.board.cores import PARTS
from pipeline.devices.board.link import SLOWEST_BYTES_A_SECOND, Link, RefusedError, shown, whole
from pipeline.errors import DeviceError

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.artifacts import Firmware
    from pipeline.target import Target

VERSION = 1
UPLOAD_ATTEMPTS = 3


class OtherBoardError(DeviceError):
    """What answers is not the board that was asked for, whatever firmware it runs."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the board says it is. `build` tells its image from any other; `core` is the part number in its CPUID register, in
    hexadecimal."""

    board: str
    core: str
    model: str
    build: str
    input_bytes: int
    arena_bytes: int
    ram_bytes: int
    timer: str
    tick_hz: int


@dataclass(frozen=True, slots=True)
class Run:
    """The ticks of every inference, at the identity's tick_hz, and the raw output bytes of the last."""

    ticks: tuple[int, ...]
    output: bytes
    crc32: int


def identify(link: Link, firmware: Firmware, target: Target) -> Identity:
    """What the board answers when it is asked who it is. DeviceError unless that is the target, with its core and clock, and
    the image of this firmware, by its build id."""
    name = link.message("name-dut", link.command("name"), "name").strip("[]")
    if name != target.name:
        raise OtherBoardError(
            f"{link.where} answers as {name!r}, not as {target.name!r}. Connect the right board (or name its port in "
            f"bench.toml), or run with `--target {name}` if that is the board you mean. If it is the right one, with "
            f"another target's firmware, {by_hand(firmware)}."
        )
    try:
        lines = link.command("id")
    except RefusedError:
        raise DeviceError(
            f"{link.where} answers as {name!r} but does not know the command `id`: it runs a firmware of another maker. "
            f"To go on, {by_hand(firmware)}."
        ) from None
    version = link.number("id-protocol", lines, "id")
    if version != VERSION:
        raise DeviceError(
            f"{link.where} speaks version {version} of our protocol, this program version {VERSION}. To go on, "
            f"{by_hand(firmware)}."
        )
    found = Identity(
        board=link.message("id-board", lines, "id"),
        core=link.message("id-core", lines, "id"),
        model=link.message("id-model", lines, "id"),
        build=_build(link, lines, firmware),
        input_bytes=link.number("id-input", lines, "id"),
        arena_bytes=link.number("id-arena", lines, "id"),
        ram_bytes=link.number("id-ram", lines, "id"),
        timer=link.message("id-timer", lines, "id"),
        tick_hz=link.number("id-tick_hz", lines, "id"),
    )
    part = PARTS.get(target.cpu.core)
    if part is not None and found.core != part.number:
        named = next((f"a {name}" for name, part in PARTS.items() if part.number == found.core), "another core")
        raise OtherBoardError(
            f"{link.where} has {named} (CPUID part {found.core}), but target {target.name} says {target.cpu.core} "
            f"({part.number}): its cycles, and code built for the other core, could be wrong. Mend "
            "`core` (or `machine`) in the target file."
        )
    if found.tick_hz != target.core_hz:
        raise DeviceError(
            f"{link.where} says that its timer ({found.timer}) ticks {found.tick_hz:,} times a second, but the core of "
            f"target {target.name} runs at {target.core_hz:,} Hz: the reply was garbled, or its firmware was built for "
            "another clock. Check cable and baud rate, and `core_clock_hz` (or `clock_hz`) in the target file; then build "
            "and flash it again."
        )
    if found.model != firmware.model_id:
        raise DeviceError(
            f"{link.where} runs model {found.model}, but {firmware.elf.name} holds model {firmware.model_id}. An older "
            f"firmware is still on the board: {by_hand(firmware)}."
        )
    if found.build != firmware.build_id:
        raise DeviceError(
            f"{link.where} runs build {found.build} of this model, but {firmware.elf.name} is build {firmware.build_id}: it "
            "was built with other flags, kernels or versions, so that sizes and times of the two must not be mixed. To "
            f"go on, {by_hand(firmware)}."
        )
    return found


def _build(link: Link, lines: list[str], firmware: Firmware) -> str:
    """DeviceError when the board names no build, as firmware did before there were build ids."""
    if not any(line.startswith("m-id-build-") for line in lines):
        raise DeviceError(
            f"{link.where} does not say which build it runs: its firmware was made by an older version of this program. "
            f"To go on, {by_hand(firmware)}."
        )
    return link.message("id-build", lines, "id")


def image(firmware: Firmware) -> Path:
    """What is flashed."""
    return firmware.elf.with_suffix(".bin")


def by_hand(firmware: Firmware) -> str:
    """What to do where nothing flashes the board, as the end of a sentence."""
    return f"flash {image(firmware)}, then run `pipeline measure {shlex.quote(str(firmware.folder))}`"


def upload(link: Link, data: bytes) -> None:
    """Put one input on the board, checked by CRC-32. It is sent again when bytes were lost or garbled: that is safe, since
    nothing is loaded before the CRC agrees."""
    announce = f"bulk {len(data)} {zlib.crc32(data):08x}"
    said = ""
    for _ in range(UPLOAD_ATTEMPTS):
        try:
            link.command(announce)
            link.send(data)
            asked = f"the {len(data)} bytes of `{announce}`"
            lines = link.answer(asked, link.answer_timeout_s + len(data) / SLOWEST_BYTES_A_SECOND)
        except RefusedError as e:
            said = e.reason
            continue
        if lines != ["m-load-done"]:
            raise DeviceError(
                f"{link.where} answered an upload with {shown(lines)} instead of m-load-done: the reply is garbled, or the "
                "firmware is not the one built for this run. Run it again; then check the cable."
            )
        return
    raise DeviceError(
        f"{link.where} did not get the {len(data)} input bytes in {UPLOAD_ATTEMPTS} attempts; the last time it said "
        f"{said!r} (sent: CRC-32 {zlib.crc32(data):08x}). Bytes are lost on the wire: check cable, ground and baud rate, or "
        "choose a lower `baud` in the target file."
    )


def run_loaded(link: Link, times: int, timeout_s: float) -> Run:
    """Infer the uploaded input `times` times, each within `timeout_s`. The output's CRC-32 is checked."""
    command = f"run {times}"
    lines = link.command(command, timeout_s, steps=times)
    ticks = [t for line in lines if (t := whole(line.removeprefix("m-ticks-"))) is not None]
    output = "".join(line.removeprefix("m-output-") for line in lines if line.startswith("m-output-"))
    crc = link.message("crc", lines, command)
    try:
        run = Run(tuple(ticks), bytes.fromhex(output), int(crc, 16))
    except ValueError:
        run = None
    if run is None or len(ticks) != times or zlib.crc32(run.output) != run.crc32:
        raise DeviceError(
            f"{link.where} answered `{command}` with output bytes that do not agree with their CRC-32 ({crc}), or with "
            f"{len(ticks)} timings for {times} runs: the reply was garbled on the wire. Check cable, ground and baud rate, "
            "then run it again."
        )
    return run


def stack_use(link: Link) -> tuple[int, int]:
    """(bytes of stack that were ever in use, bytes reserved), by painting."""
    value = link.message("stack", link.command("stack"), "stack")
    used, reserved = map(whole, value.partition("-")[::2])
    if used is None or reserved is None:
        raise DeviceError(f"{link.where} answered `stack` with {value}, not with two numbers; run it again.")
    return used, reserved

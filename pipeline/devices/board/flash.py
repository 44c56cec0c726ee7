"""Flashing: the tool that a board's entry or target file names, run as a list of words, never through a shell."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from pipeline.artifacts import Firmware
from pipeline.devices.board.protocol import image
from pipeline.display import short
from pipeline.errors import DeviceError
from pipeline.host.processes import run_alone
from pipeline.target import FLASHED_FILES

TIMEOUT_S = 180.0
MAX_SAID = 300


def require_tool(words: Sequence[str], where: str) -> None:
    """DeviceError when the program that flashes is not on this computer."""
    if shutil.which(words[0]) is None:
        raise DeviceError(
            f"{where} is flashed with {words[0]!r}, which is no program on this computer. Install it, or mend `flash` in "
            "bench.toml (else in the target file); without that key you flash by hand."
        )


def flash(words: Sequence[str], firmware: Firmware, port: str, where: str) -> None:
    """Run the tool, with the paths of the firmware's files in their places. DeviceError when it fails or hangs."""
    require_tool(words, where)
    command = filled(words, firmware, port)
    said = f"{where} could not be flashed: `{shlex.join(command)}`"
    advice = "Check that the board has power and its debug probe is connected, and `flash` in bench.toml or the target file."
    try:
        done = run_alone(command, os.environ, TIMEOUT_S)
    except OSError as e:
        raise DeviceError(f"{said} can not be run: {e.strerror}. Install the tool again, or mend `flash`.") from None
    except subprocess.TimeoutExpired:
        raise DeviceError(f"{said} did not end within {TIMEOUT_S:g} s, and was ended. {advice}") from None
    if done.returncode != 0:
        words_of_it = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
        how = f"ended with exit code {done.returncode}" if done.returncode > 0 else f"died of signal {-done.returncode}"
        raise DeviceError(f"{said} {how}: {short(words_of_it, MAX_SAID) or 'it printed no reason'}. {advice}")


def filled(words: Sequence[str], firmware: Firmware, port: str) -> list[str]:
    """The command: `{bin}`, `{hex}`, `{elf}` and `{port}` in any word stand for what their names say."""
    values = {kind: str(image(firmware).with_suffix(f".{kind}").absolute()) for kind in FLASHED_FILES} | {"port": port}
    return [re.sub(r"\{(\w+)\}", lambda m: values.get(m[1], m[0]), word) for word in words]

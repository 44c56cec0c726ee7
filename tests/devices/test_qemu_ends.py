"""However an emulator or its user ends, no emulator and no file is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from emulated import M4, first_byte, linux_only

from pipeline.artifacts import Firmware
from pipeline.devices.resolve import resolve_device
from pipeline.errors import DeviceError
from pipeline.proof.vectors import random

pytestmark = [pytest.mark.cross, pytest.mark.qemu]


def processes(elf: Path) -> list[int]:
    """Every process of this machine that runs `elf` in QEMU."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(elf).encode() in words and b"qemu" in words[0]:
                found.append(int(folder.name))
    return found


def gone(elf: Path, within_s: float = 10) -> bool:
    end = time.monotonic() + within_s
    while processes(elf) and time.monotonic() < end:
        time.sleep(0.05)
    return not processes(elf)


@pytest.fixture
def own_elf(firmware: Callable[..., Firmware], tmp_path: Path) -> Firmware:
    """The network's firmware under a path of its own, by which its processes are told from others'."""
    elf = tmp_path / "own.elf"
    elf.write_bytes(firmware().elf.read_bytes())
    return replace(firmware(), elf=elf)


@linux_only
def test_an_emulator_that_is_killed(own_elf: Firmware) -> None:
    x = random(own_elf.model.graph, 1, own_elf.model.preprocess).inputs[0][0]
    with resolve_device(M4).open_board(own_elf) as device:
        device.infer(x)
        (qemu,) = processes(own_elf.elf)
        os.kill(qemu, signal.SIGKILL)
        with pytest.raises(DeviceError, match=r"connection to cortex-m4 in QEMU .* broke: QEMU was killed by signal 9"):
            device.infer(x)
    assert gone(own_elf.elf)


@linux_only
def test_an_emulator_that_is_killed_in_the_middle_of_a_run(probe: Callable[..., Firmware], tmp_path: Path) -> None:
    elf = tmp_path / "own.elf"
    elf.write_bytes(probe().elf.read_bytes())
    with resolve_device(M4).open_board(replace(probe(), elf=elf)) as device:
        (qemu,) = processes(elf)
        killer = threading.Timer(0.3, os.kill, (qemu, signal.SIGKILL))
        killer.start()
        with pytest.raises(DeviceError, match="QEMU was killed by signal 9: it printed no reason"):
            device.infer(first_byte(4))
        killer.join()


@linux_only
def test_an_emulator_that_stops(probe: Callable[..., Firmware], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is stopped takes no signal but SIGKILL."""
    monkeypatch.setattr("pipeline.devices.board.board.INFER_TIMEOUT_S", 0.5)
    elf = tmp_path / "own.elf"
    elf.write_bytes(probe().elf.read_bytes())
    with resolve_device(M4).open_board(replace(probe(), elf=elf)) as device:
        (qemu,) = processes(elf)
        os.kill(qemu, signal.SIGSTOP)
        with pytest.raises(DeviceError, match=r"did not answer .* within .* s\. The firmware hangs in the emulator"):
            device.infer(first_byte(0))
    assert gone(elf)


@linux_only
def test_an_exception_leaves_no_emulator(own_elf: Firmware) -> None:
    def use() -> None:
        with resolve_device(M4).open_board(own_elf):
            assert processes(own_elf.elf)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert gone(own_elf.elf)


@linux_only
def test_a_wrong_identity_leaves_no_emulator(own_elf: Firmware) -> None:
    other = replace(own_elf, model_id="0" * 16)
    with pytest.raises(DeviceError, match=r"runs model [0-9a-f]{16}, but own\.elf holds model 0000000000000000"):
        resolve_device(M4).open_board(other).__enter__()
    assert gone(own_elf.elf)


SCRIPT = """
import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from pipeline import target
from pipeline.data.dataset import Dataset
from pipeline.devices.resolve import resolve_device
firmware = SimpleNamespace(elf=Path(sys.argv[1]), model_id=sys.argv[2], build_id=sys.argv[3], ram_bytes=0, flash_bytes=0)
with resolve_device(target.load("cortex-m4")).open_board(firmware) as device:
    print("ready", flush=True)
    while True:
        device._run(np.zeros(64, np.uint8), 1)
"""


@linux_only
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["ctrl_c", "sigterm", "sigkill"])
def test_no_emulator_and_no_file_outlives_us(how: signal.Signals, own_elf: Firmware, tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(own_elf.elf), own_elf.model_id, own_elf.build_id]
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as user:
        assert user.stdout is not None
        assert user.stdout.readline() == b"ready\n"
        assert len(processes(own_elf.elf)) == 1
        user.send_signal(how)
        user.wait(timeout=20)
    assert gone(own_elf.elf)
    assert list(temporary.iterdir()) == []


def test_an_emulator_that_does_not_start(firmware: Callable[..., Firmware], tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"QEMU ended with exit code 1: .*none\.elf: No such file"):
        resolve_device(M4).open_board(replace(firmware(), elf=tmp_path / "none.elf")).__enter__()

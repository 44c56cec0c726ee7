"""The conformance suite over a real OpenSSH server: what must work, and every fault that must end in words."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from loopback import TARGET, Pi, Wire, fails, script, until

from pipeline import target
from pipeline.codegen.onnx.to_onnx import save, to_onnx
from pipeline.devices.linux.measure import replay
from pipeline.devices.linux.process import ProcessComputer
from pipeline.devices.linux.protocol import ConnectionLost, Refusal, Runner
from pipeline.devices.linux.replies import encode
from pipeline.devices.linux.ssh import SshComputer
from pipeline.devices.linux.ssh_connect import connect
from pipeline.devices.resolve import resolve_device
from pipeline.errors import DeviceError, RecipeError
from pipeline.importers.tflite.importer import load_tflite

pytestmark = pytest.mark.ssh


def loaded(runner: Runner, computer: Any, model: Path, **options: Any) -> dict[str, Any]:
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    return runner.ask("load", name="m", file=computer.place(model), sha256=digest, **options)


def images(n: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (n, 1, 8, 8, 1)).astype(np.uint8)


def parts(pi: Pi) -> list[Path]:
    return list(pi.cache.glob("*.part"))


# --- in order


def test_answers_are_those_of_a_local_process(pi: Pi, models: Path) -> None:
    answers = []
    for computer in (SshComputer(TARGET, pi.host()), ProcessComputer(TARGET)):
        with computer, computer.runner() as runner:
            loaded(runner, computer, models / "model.onnx")
            answers.append(runner.replay("m", [images(200)])[0])
    np.testing.assert_array_equal(*answers)
    assert len(np.unique(answers[0])) > 5


def test_two_hundred_real_images_through_resnet8(pi: Pi, shared: Path, tmp_path: Path) -> None:
    """On arm64 these are onnxruntime's NEON kernels: they give what x86's give."""
    graph = load_tflite(next((shared / "models/mlperf_tiny/resnet8").glob("*.tflite")))
    file = tmp_path / "resnet8.onnx"
    file.write_bytes(save(to_onnx(graph)))
    with np.load(shared / "data" / "ic01.npz") as data:
        raw, labels = data["x"].reshape(-1, 1, 32, 32, 3), data["y"]
    assert len(raw) == 200
    answers = []
    for computer in (SshComputer(TARGET, pi.host()), ProcessComputer(TARGET)):
        with computer:
            answers.append(replay(computer, file, [raw])[0])
    np.testing.assert_array_equal(*answers)
    assert (answers[0].reshape(200, -1).argmax(1) == labels).sum() >= 165  # TFLM has 173


def test_files_are_private_whole_and_reused(pi: Pi, models: Path) -> None:
    with SshComputer(TARGET, pi.host()) as computer:
        path = pi.home / computer.place(models / "model.onnx")
        assert path.read_bytes() == (models / "model.onnx").read_bytes()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(pi.cache.stat().st_mode) == 0o700
        before = path.stat()
        pi.cache.chmod(0o755)
        computer.place(models / "model.onnx")
        assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        assert stat.S_IMODE(pi.cache.stat().st_mode) == 0o700
    assert not parts(pi)


def test_clean_leaves_nothing(pi: Pi) -> None:
    with SshComputer(TARGET, pi.host()):
        assert pi.cache.is_dir()
    SshComputer(TARGET, pi.host()).clean()
    assert not pi.cache.exists()
    SshComputer(TARGET, pi.host()).clean()


def test_stale_parts_are_swept(pi: Pi, models: Path) -> None:
    pi.cache.mkdir(parents=True, exist_ok=True)
    old, fresh = pi.cache / "a.part", pi.cache / "b.part"
    for file in (old, fresh):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    with SshComputer(TARGET, pi.host()) as computer:
        (pi.home / computer.place(models / "model_float.onnx")).unlink()
        computer.place(models / "model_float.onnx")
    assert (old.exists(), fresh.exists()) == (False, True)
    fresh.unlink()


def test_no_process_stays(pi: Pi, models: Path) -> None:
    with SshComputer(TARGET, pi.host()) as computer, computer.runner() as runner:
        loaded(runner, computer, models / "model.onnx")
        assert pi.processes()
    until(lambda: not pi.processes(), "the runner outlived its connection")


def test_a_new_host_key_is_recorded_when_told_so(pi: Pi, tmp_path: Path) -> None:
    known = tmp_path / "ssh" / "known_hosts"
    with SshComputer(TARGET, pi.host(known_hosts=known, accept_new_host_key=True)):
        assert f"[127.0.0.1]:{pi.port} ssh-ed25519" in known.read_text()
    with SshComputer(TARGET, pi.host(known_hosts=known)):
        pass


def test_jump_host(pi: Pi) -> None:
    """The same server is its own jump host: two connections, one inside the other."""
    host = pi.host("inner")
    hop = f" HostName 127.0.0.1\n Port {pi.port}\n IdentityFile {pi.user_key}\n IdentitiesOnly yes\n"
    host.config.write_text(f"Host gate\n{hop}Host inner\n ProxyJump gate\n{hop}")
    connect(TARGET, host).close()


def test_an_odd_file_name_reaches_no_shell(pi: Pi, models: Path, tmp_path: Path) -> None:
    odd = tmp_path / "m.$(touch pwned);touch pwned #"
    shutil.copy(models / "model.onnx", odd)
    with SshComputer(TARGET, pi.host()) as computer, computer.runner() as runner:
        runner.ask("info")
        with pytest.raises(Refusal, match=r"engine must be one of ai_edge_litert|NoEngine"):  # not .onnx: .tflite
            loaded(runner, computer, odd, engine="onnxruntime")
    assert not list(pi.home.rglob("pwned"))


# --- faults


def test_drop_in_an_upload_is_made_good(pi: Pi, wire: Wire, tmp_path: Path) -> None:
    big = tmp_path / "big.bin"
    big.write_bytes(np.random.default_rng(2).bytes(3_000_000))
    with SshComputer(TARGET, pi.host(port=wire.port)) as computer:
        wire.cut_after, wire.cuts = 1_000_000, 1
        path = pi.home / computer.place(big)
        assert wire.cuts == 0
        assert path.read_bytes() == big.read_bytes()


def test_a_wire_that_always_breaks(pi: Pi, wire: Wire, tmp_path: Path) -> None:
    big = tmp_path / "big.bin"
    big.write_bytes(np.random.default_rng(3).bytes(3_000_000))
    with SshComputer(TARGET, pi.host(port=wire.port)) as computer:
        wire.cut_after, wire.cuts = 1_000_000, 1000
        with fails(r"raspberry-pi-4 \(pi:\d+\): upload: the connection was lost", "tried 3 times"):
            computer.place(big)
    assert not (pi.cache / f"{hashlib.sha256(big.read_bytes()).hexdigest()}.bin").exists()


def test_drop_in_a_run(pi: Pi, wire: Wire, models: Path) -> None:
    with SshComputer(TARGET, pi.host(port=wire.port)) as computer:
        with fails(r"raspberry-pi-4 \(pi:\d+\): throughput: the connection was lost"), computer.runner() as runner:
            loaded(runner, computer, models / "model.onnx")
            runner.ask("feed", name="m", inputs=[encode(images(1)[0])])
            threading.Timer(1.0, wire.cut).start()
            runner.ask("throughput", name="m", seconds=60.0, timeout_s=90)
        until(lambda: not pi.processes(), "the runner outlived its connection")
        with computer.runner() as again:  # the device recovers by itself
            assert again.ask("info")["protocol"] == 1


def test_drop_in_a_result(pi: Pi, wire: Wire, models: Path) -> None:
    with SshComputer(TARGET, pi.host(port=wire.port)) as computer, computer.runner() as runner:
        loaded(runner, computer, models / "model.onnx")
        wire.down_cut_after, wire.cuts = 60_000, 1
        with fails(r"raspberry-pi-4 \(pi:\d+\): replay: the connection was lost"):
            for _ in range(20):
                runner.replay("m", [images(2000)])
    until(lambda: not pi.processes(), "the runner outlived its connection")


def test_a_frozen_wire_is_noticed(pi: Pi, wire: Wire, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No reset comes, only silence."""
    from pipeline.devices.linux import protocol as linux_protocol

    monkeypatch.setattr(linux_protocol, "PING_S", 0.5)
    with SshComputer(TARGET, pi.host(port=wire.port)) as computer:
        with fails(r"raspberry-pi-4 \(pi:\d+\): throughput: nothing was heard for 3 s"), computer.runner() as runner:
            loaded(runner, computer, models / "model.onnx")
            runner.ask("feed", name="m", inputs=[encode(images(1)[0])])
            monkeypatch.setattr(linux_protocol, "SILENCE_S", 3.0)
            wire.frozen.set()
            runner.ask("throughput", name="m", seconds=60.0, timeout_s=90)
        wire.frozen.clear()
        wire.cut()
    until(lambda: not pi.processes(), "the runner outlived its connection")


def test_runner_killed(pi: Pi, models: Path) -> None:
    with SshComputer(TARGET, pi.host()) as computer:
        with fails(r"raspberry-pi-4 \(pi\): throughput: the runner was killed by a signal"), computer.runner() as runner:
            loaded(runner, computer, models / "model.onnx")
            runner.ask("feed", name="m", inputs=[encode(images(1)[0])])
            threading.Timer(0.5, lambda: [os.kill(p, 9) for p in pi.processes()]).start()
            runner.ask("throughput", name="m", seconds=60.0, timeout_s=90)
        with computer.runner() as again:
            assert again.ask("info")["protocol"] == 1


def test_no_python3(own_pi: Pi) -> None:
    own_pi.start()
    (own_pi.bin / "python3").unlink()
    with (
        fails(r"raspberry-pi-4 \(pi\): start: python3 is not installed there", "apt install python3"),
        SshComputer(TARGET, own_pi.host()),
    ):
        pass


def test_python_that_can_not_start(own_pi: Pi) -> None:
    script(own_pi.bin / "python3", "#!/bin/sh\necho 'broken pipe dream' >&2; exit 3\n")
    own_pi.start()
    with fails(r"raspberry-pi-4 \(pi\): start: ", "exit status 3: broken pipe dream"), SshComputer(TARGET, own_pi.host()):
        pass


def test_a_login_script_that_talks(own_pi: Pi) -> None:
    own_pi.env.append("case \"$SSH_ORIGINAL_COMMAND\" in *python3*) echo 'Welcome to my Pi!' ;; esac")
    own_pi.start()
    with SshComputer(TARGET, own_pi.host()) as computer, computer.runner() as runner:
        assert runner.ask("info")["protocol"] == 1


def test_disk_full(small_pi: Callable[[int], Pi], tmp_path: Path) -> None:
    pi = small_pi(256 * 1024)
    big = tmp_path / "big.bin"
    big.write_bytes(np.random.default_rng(4).bytes(400_000))
    pi.start()
    with SshComputer(TARGET, pi.host()) as computer:
        with fails(
            r"raspberry-pi-4 \(pi\): upload: its disk is full \([\d,]+ bytes free, 400,000 needed\); nothing was kept"
        ):
            computer.place(big)
        names = computer._sftp().listdir(".cache/tinyml-pipeline")
        assert [n for n in names if not n.endswith(".pyz")] == []
        with computer.runner() as runner:
            assert runner.ask("info")["disk_free_bytes"] > 0


def test_damaged_file_is_not_run(pi: Pi, models: Path) -> None:
    with SshComputer(TARGET, pi.host()) as computer, computer.runner() as runner:
        path = pi.home / computer.place(models / "model.onnx")
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with fails(r"raspberry-pi-4 \(pi\): load: ", "sha256", "Damaged"):
            loaded(runner, computer, models / "model.onnx")
        path.write_bytes(good)


def test_garbled_answers(own_pi: Pi) -> None:
    script(
        own_pi.bin / "python3",
        '#!/bin/sh\necho \'{"id": 0, "ok": true, "protocol": 1}\'; echo \'{"id": 1, "ok": tr\'; sleep 5\n',
    )
    own_pi.start()
    with fails(r"raspberry-pi-4 \(pi\): info: the answer is garbled"), SshComputer(TARGET, own_pi.host()):
        pass


def test_another_protocol(own_pi: Pi) -> None:
    script(own_pi.bin / "python3", '#!/bin/sh\necho \'{"id": 0, "ok": true, "protocol": 99}\'\n')
    own_pi.start()
    with fails("start: the runner speaks protocol 99, not 1"), SshComputer(TARGET, own_pi.host()):
        pass


def test_lost_is_a_device_error() -> None:
    assert issubclass(ConnectionLost, DeviceError)


@pytest.fixture
def bench(pi: Pi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bench file with the Pi as raspberry-pi-4 and as a target of its own, in a home whose SSH files lead there."""
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    shutil.copy(pi.host().config, ssh / "config")
    shutil.copy(pi.known_hosts, ssh / "known_hosts")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "loopback.toml").write_text('inherits = "raspberry-pi-4"\n[device]\nmodel = ""\n')
    (tmp_path / "bench.toml").write_text(f'[{TARGET}]\nhost = "pi"\n[loopback]\nhost = "pi"\n')
    return tmp_path / "bench.toml"


def test_as_the_bench_file_and_the_users_own_ssh_files_say(pi: Pi, bench: Path) -> None:
    """~/.ssh/config and ~/.ssh/known_hosts are found, and `clean` ends what a run began."""
    board = target.load("loopback", bench.parent / "targets")
    with resolve_device(board, bench).open_computer() as computer, computer.runner() as runner:
        assert runner.where == "loopback (pi)"
        assert runner.ask("info")["protocol"] == 1
    assert pi.cache.is_dir()
    assert resolve_device(board, bench).clean() == "loopback (pi): removed ~/.cache/tinyml-pipeline"
    assert not pi.cache.exists()
    (bench.parent / "empty.toml").touch()
    assert resolve_device(board, bench.parent / "empty.toml").clean().endswith("nothing to remove")
    with pytest.raises(RecipeError, match=r"the bench file .*none\.toml does not exist"):
        resolve_device(board, bench.parent / "none.toml").clean()


def test_another_computer_is_refused(pi: Pi, bench: Path) -> None:
    """Its figures would be called a Raspberry Pi's; what was uploaded to ask it can still be removed."""
    board = target.load(TARGET)
    with SshComputer("loopback", pi.host()) as computer, computer.runner() as runner:
        model = runner.ask("info")["model"]
    with (
        fails(
            r"raspberry-pi-4 \(pi\): identify: it answers as another computer, ",
            re.escape(f"{model!r}, not as 'Raspberry Pi 4 Model B'"),
            r"right host in bench\.toml",
            r'targets/NAME\.toml with inherits = "raspberry-pi-4"',
        ),
        resolve_device(board, bench).open_computer(),
    ):
        pass
    assert resolve_device(board, bench).clean() == "raspberry-pi-4 (pi): removed ~/.cache/tinyml-pipeline"
    with resolve_device(replace(board, device=replace(board.device, model=model)), bench).open_computer() as computer:
        assert computer.clock == "device"

"""A real OpenSSH server on loopback that stands for a Raspberry Pi, and a wire to it that can be cut or frozen."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.devices.linux.ssh_connect import SshHost
from pipeline.errors import DeviceError

TARGET = "raspberry-pi-4"
ROOT = Path(__file__).resolve().parents[3]
SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip())
    path.chmod(0o755)
    return path


class Pi:
    """An SSH server with its own host key, user key, home and PATH. `env` lines are exported in every session. With `root`,
    a folder that holds another system, it lives in there, `folder` being below it."""

    def __init__(self, folder: Path, *, mount_bytes: int = 0, root: Path | None = None) -> None:
        self.folder, self.home, self.bin, self._root = folder, folder / "home", folder / "bin", root
        self.home.mkdir(parents=True)
        self.bin.mkdir()
        self.port = free_port()
        self.host_key, self.user_key = key(folder / "host_key"), key(folder / "user_key")
        self.known_hosts = folder / "known_hosts"
        self.trust()
        self.env: list[str] = []
        for tool in ("sh", "df", "rm", "env", "dirname", "sleep", "printf"):
            found = shutil.which(tool, path=f"{root}/usr/bin:{root}/bin") if root else shutil.which(tool)
            (self.bin / tool).symlink_to(self.inside(Path(str(found))))
        self.python("/usr/bin/python3" if root else sys.executable)
        self._mount_bytes = mount_bytes
        self._server: subprocess.Popen[bytes] | None = None

    def python(self, executable: str) -> None:
        script(self.bin / "python3", f'#!/bin/sh\nexec {executable} "$@"\n')

    def trust(self) -> None:
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {self.host_key.with_suffix('.pub').read_text()}")

    def inside(self, path: Path) -> str:
        """The path as the Pi itself sees it."""
        return f"/{path.relative_to(self._root)}" if self._root else str(path)

    def start(self) -> None:
        login = script(
            self.folder / "login.sh",
            f"""
            #!/bin/sh
            export HOME={self.inside(self.home)} PATH={self.inside(self.bin)}
            cd {self.inside(self.home)}
            . {self.inside(self.folder)}/env.sh
            case "$SSH_ORIGINAL_COMMAND" in
                */sftp-server) exec $SSH_ORIGINAL_COMMAND ;;
                *) exec /bin/sh -c "$SSH_ORIGINAL_COMMAND" ;;
            esac
            """,
        )
        (self.folder / "env.sh").write_text("\n".join(self.env) + "\n")
        authorized = self.folder / "authorized_keys"
        authorized.write_text(self.user_key.with_suffix(".pub").read_text())
        config = self.folder / "sshd_config"
        config.write_text(
            textwrap.dedent(
                f"""
                ListenAddress 127.0.0.1:{self.port}
                HostKey {self.inside(self.host_key)}
                AuthorizedKeysFile {self.inside(authorized)}
                PidFile none
                UsePAM no
                StrictModes no
                PasswordAuthentication no
                KbdInteractiveAuthentication no
                PermitRootLogin prohibit-password
                Subsystem sftp /usr/lib/openssh/sftp-server
                ForceCommand {self.inside(login)}
                """
            )
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd's privilege separation wants it
        command = [str(SSHD), "-D", "-e", "-f", self.inside(config)]
        if self._root:
            command = ["chroot", str(self._root), "/usr/sbin/sshd", *command[1:]]
        if self._mount_bytes:  # in a mount namespace of its own, the cache folder on a small disk
            cache = self.home / ".cache"
            cache.mkdir()
            mount = f'mount -t tmpfs -o size={self._mount_bytes},mode=700 tmpfs "{cache}" && exec "$@"'
            command = ["unshare", *([] if os.geteuid() == 0 else ["-Ur"]), "-m", "sh", "-c", mount, "sh", *command]
        with (self.folder / "sshd.log").open("ab") as log:
            self._server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True)
        until(lambda: answers(self.port), f"sshd did not start: {(self.folder / 'sshd.log').read_text()}")

    def stop(self) -> None:
        if self._server:
            self._server.terminate()
            self._server.wait(timeout=10)
            self._server = None
        for pid in self.processes():
            os.kill(pid, 9)

    def host(self, host: str = "pi", port: int = 0, **changes: object) -> SshHost:
        """How to reach it, through `port` if given, by its own key and nothing of this computer's user."""
        config = self.folder / "ssh_config"
        config.write_text(
            f"Host pi\n HostName 127.0.0.1\n Port {self.port}\n IdentityFile {self.user_key}\n IdentitiesOnly yes\n"
        )
        if port:
            known = self.folder / "known_hosts_proxy"
            known.write_text(f"[127.0.0.1]:{port} {self.host_key.with_suffix('.pub').read_text()}")
            changes.setdefault("known_hosts", known)
        settings = {
            "host": f"{host}:{port}" if port else host,
            "config": config,
            "known_hosts": self.known_hosts,
            "attempts": 1,
        }
        return SshHost(**{**settings, **changes})  # type: ignore[arg-type]

    @property
    def cache(self) -> Path:
        return self.home / ".cache" / "tinyml-pipeline"

    def processes(self) -> list[int]:
        """Runners that were started from this Pi's home."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes()
                    here = os.readlink(entry / "cwd").startswith(str(self.home))
                except OSError:
                    continue
                if here and b".py" in words:
                    found.append(int(entry.name))
        return found


class Wire:
    """A TCP proxy to a port. `cut_after`: after so many bytes from the client, every connection is reset, `cuts` times."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self.cut_after, self.cuts, self.down_cut_after = 0, 0, 0
        self.frozen = threading.Event()
        self._pairs: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Only what is connected now: the client may be back before the last of them is hung up."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for s in pairs:
            hang_up(s)

    def close(self) -> None:
        self._server.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                return
            with self._lock:
                self._pairs += [near, far]
            threading.Thread(target=self._copy, args=(near, far, "cut_after"), daemon=True).start()
            threading.Thread(target=self._copy, args=(far, near, "down_cut_after"), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, limit: str) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(16384):
                while self.frozen.is_set():
                    time.sleep(0.05)
                passed += len(data)
                if self.cuts and getattr(self, limit) and passed > getattr(self, limit):
                    self.cuts -= 1
                    self.cut()
                sink.sendall(data)
        for s in (source, sink):
            hang_up(s)


def hang_up(s: socket.socket) -> None:
    """Shut down first: a mere close waits for the thread that is still reading."""
    with contextlib.suppress(OSError):
        s.shutdown(socket.SHUT_RDWR)
    s.close()


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as s:
            return s.recv(4) == b"SSH-"
    except OSError:
        return False


def until(condition: Callable[[], bool], message: str, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, message
        time.sleep(0.05)


def fails(*words: str) -> Any:
    """`with` this, a DeviceError must come that says the words, in this order."""
    return pytest.raises(DeviceError, match="".join(f"(?s:.*){w}" for w in words))

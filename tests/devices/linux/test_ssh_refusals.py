"""SSH connections that must not come about, each with what to do: keys, hosts, settings, ports."""

from __future__ import annotations

import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from loopback import TARGET, Pi, fails, free_port, key

from pipeline.devices.linux.ssh import SshComputer

pytestmark = pytest.mark.ssh


def test_wrong_key(pi: Pi, tmp_path: Path) -> None:
    host = pi.host()
    host.config.write_text(host.config.read_text().replace(str(pi.user_key), str(key(tmp_path / "other"))))
    with fails(r"raspberry-pi-4 \(pi\): log in: ", "accepts none of the keys", "ssh-copy-id pi"), SshComputer(TARGET, host):
        pass


def test_encrypted_key(pi: Pi, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    shutil.copy(pi.user_key, locked)
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(locked)], check=True, capture_output=True)
    host = pi.host()
    host.config.write_text(host.config.read_text().replace(str(pi.user_key), str(locked)))
    with fails(r"raspberry-pi-4 \(pi\): log in: ", "encrypted", "ssh-add"), SshComputer(TARGET, host):
        pass


def test_unknown_host_key(pi: Pi, tmp_path: Path) -> None:
    with (
        fails(r"raspberry-pi-4 \(pi\): host key: ", "not known", "ssh-ed25519 SHA256:", "--accept-new-host-key"),
        SshComputer(TARGET, pi.host(known_hosts=tmp_path / "none")),
    ):
        pass


def test_changed_host_key(pi: Pi, tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{pi.port} {key(tmp_path / 'old').with_suffix('.pub').read_text()}")
    for accept in (False, True):
        with (
            fails(r"raspberry-pi-4 \(pi\): host key: ", "CHANGED", r"ssh-keygen -R '\[127.0.0.1\]"),
            SshComputer(TARGET, pi.host(known_hosts=known, accept_new_host_key=accept)),
        ):
            pass


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("pi@127.0.0.1:{closed}", r"refuses the connection; is its SSH server running \(.*\)\?$"),
        ("pi@no-such-host.invalid", "not known on this network"),
        ("pi;touch x", "is not a host"),
        ("", "is not a host"),
        (f"pi@{'a' * 70}", "is not a host: 'a+' can be no name on a network"),
        ("pi@a..b", "is not a host: 'a..b' can be no name on a network"),
    ],
)
def test_unreachable(pi: Pi, host: str, words: str) -> None:
    with fails(words), SshComputer(TARGET, pi.host(host.format(closed=free_port()), attempts=2)):
        pass


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("Port ssh", r"ssh_config: Port and ConnectTimeout of pi must be numbers \(.*'ssh'\)"),
        ("ConnectTimeout long", r"ssh_config: Port and ConnectTimeout of pi must be numbers \(.*'long'\)"),
        ("ProxyCommand 'nc", r"ssh_config: ProxyCommand 'nc can not be read: No closing quotation"),
    ],
)
def test_a_wrong_setting_in_the_users_ssh_config(pi: Pi, setting: str, words: str) -> None:
    host = pi.host()
    host.config.write_text(f"Host pi\n {setting}\n{host.config.read_text()}")
    with fails(words), SshComputer(TARGET, host):
        pass


def test_a_damaged_key_file(pi: Pi, tmp_path: Path) -> None:
    (tmp_path / "damaged").write_bytes(b"\xff" * 500)
    host = pi.host()
    host.config.write_text(host.config.read_text().replace(str(pi.user_key), str(tmp_path / "damaged")))
    with fails(r"raspberry-pi-4 \(pi\): log in: a private key can not be read", "/damaged"), SshComputer(TARGET, host):
        pass


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"[127.0.0.1]:1 ssh-ed25519 AAAA!x", r"the key in the line '\[127.0.0.1\]:1 ssh-ed25519 AAAA!x' is damaged"),
        (b"\xff\xfe", "codec can't decode"),
    ],
)
def test_a_damaged_known_hosts_file(pi: Pi, tmp_path: Path, line: bytes, words: str) -> None:
    known = tmp_path / "known_hosts"
    known.write_bytes(line + b"\n" + pi.known_hosts.read_bytes())
    with fails("known_hosts can not be used: ", words), SshComputer(TARGET, pi.host(known_hosts=known)):
        pass


def test_something_else_on_the_port(pi: Pi) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = pi.host("silent")
        host.config.write_text(f"Host silent\n HostName 127.0.0.1\n Port {silent.getsockname()[1]}\n ConnectTimeout 1\n")
        with (
            fails(r"raspberry-pi-4 \(silent\): connect: no SSH server answers properly at 127.0.0.1 port"),
            SshComputer(TARGET, host),
        ):
            pass

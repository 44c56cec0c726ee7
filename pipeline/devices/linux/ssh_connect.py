"""A connection to an SSH host, set up as `ssh` would: ~/.ssh/config, keys, agent, known hosts, jump hosts. Nothing is asked
for interactively, and no key is trusted on first sight unless told so."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from pipeline.display import plain, short
from pipeline.errors import DeviceError

HOME_SSH = Path("~/.ssh")
CONNECT_S = 10.0
ATTEMPTS = 3
KEEPALIVE_S = 5
_HOST = re.compile(r"(?:(?P<user>[^@\s]+)@)?(?:\[(?P<bracketed>[^]\s]+)]|(?P<host>[^:@\s/]+))(?::(?P<port>\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class SshHost:
    """`host` is what one would type after `ssh`: "pi@raspberrypi", "bench-pi" (a Host of the config), "pi@10.0.0.7:2222".
    `config` and `known_hosts` are files; unknown host keys are refused unless `accept_new_host_key` (it is then written
    to the known hosts file)."""

    host: str
    accept_new_host_key: bool = False
    config: Path = HOME_SSH / "config"
    known_hosts: Path | None = None  # None: UserKnownHostsFile of the config, else ~/.ssh/known_hosts
    attempts: int = ATTEMPTS


class _Refuse(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]  # paramiko is untyped
    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        raise _UnknownKey(f"{key.get_name()} {key.fingerprint}")


class _Accept(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """As `ssh -o StrictHostKeyChecking=accept-new`: written down, so that a change is noticed next time."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._file.open("a", encoding="ascii") as f:
            f.write(f"{hostname} {key.get_name()} {key.get_base64()}\n")


class _UnknownKey(paramiko.SSHException):  # type: ignore[misc]
    pass


def connect(target: str, host: SshHost) -> paramiko.SSHClient:
    """An authenticated connection. `target` names the board in messages. DeviceError says which host and what failed;
    an unreachable host is tried `attempts` times, refusals of keys once."""
    settings = _settings(host)
    for attempt in range(1, host.attempts + 1):
        try:
            return _connect_once(host, settings)
        except (OSError, EOFError) as e:
            if attempt == host.attempts:
                raise _error(target, host, "connect", _unreachable(e, settings)) from None
        except paramiko.BadHostKeyException as e:
            raise _error(
                target, host, "host key",
                f"the host's key has CHANGED since it was recorded (now {e.key.get_name()} {e.key.fingerprint}). If it was "
                f"set up anew, remove its old key (ssh-keygen -R '{_recorded_as(settings)}') and compare the new one; "
                "otherwise something else is answering in its place",
            ) from None  # fmt: skip
        except _UnknownKey as e:
            raise _error(
                target, host, "host key",
                f"the host's key is not known ({e}). Compare the fingerprint on the host (ssh-keygen -lf "
                "/etc/ssh/ssh_host_ed25519_key.pub), then log in once with ssh or use --accept-new-host-key",
            ) from None  # fmt: skip
        except paramiko.PasswordRequiredException:
            raise _error(
                target, host, "log in", "the private key is encrypted; unlock it for the agent with ssh-add and run again"
            ) from None
        except paramiko.AuthenticationException:
            raise _error(
                target, host, "log in",
                f"the host accepts none of the keys for user {settings['user']!r} (tried: {_keys(settings)}). Install one "
                f"with ssh-copy-id {host.host}, or name the right one with IdentityFile in {host.config}",
            ) from None  # fmt: skip
        except ValueError as e:  # the settings are checked: paramiko says no more of a key file that is damaged
            raise _error(
                target, host, "log in",
                f"a private key can not be read ({e}). Tried: {_keys(settings)}. Name a whole one with IdentityFile in "
                f"{host.config}",
            ) from None  # fmt: skip
        except paramiko.SSHException as e:
            if attempt == host.attempts:
                where = f"{settings['hostname']} port {settings['port']}"
                raise _error(target, host, "connect", f"no SSH server answers properly at {where} ({e})") from None
        time.sleep(0.5 * 2**attempt)
    raise AssertionError("the last attempt returns or raises")


def _settings(host: SshHost) -> dict[str, Any]:
    """The config's settings for the host, with `hostname`, `port`, `user` and `connecttimeout` always there."""
    match = _HOST.fullmatch(host.host)
    if not match:
        raise DeviceError(f"{host.host!r} is not a host; write user@name, user@name:port, or a Host of {host.config}.")
    name = match["bracketed"] or match["host"]
    config = paramiko.SSHConfig()
    file = host.config.expanduser()
    try:
        if file.is_file():
            with file.open(encoding="utf-8") as f:
                config.parse(f)
        found = dict(config.lookup(name))
    except (paramiko.SSHException, OSError, UnicodeDecodeError) as e:  # ConfigParseError among them
        raise DeviceError(f"{file} can not be used: {e}.") from None
    if match["user"]:
        found["user"] = match["user"]
    if match["port"]:
        found["port"] = match["port"]
    if "user" not in found:
        import getpass

        found["user"] = getpass.getuser()
    try:
        found["hostname"].encode("idna")
        found["port"] = int(found.get("port", 22))
        found["connecttimeout"] = float(found.get("connecttimeout", CONNECT_S))
    except UnicodeError:
        raise DeviceError(f"{host.host!r} is not a host: {found['hostname']!r} can be no name on a network.") from None
    except ValueError as e:
        raise DeviceError(f"{file}: Port and ConnectTimeout of {name} must be numbers ({e}).") from None
    return found


def _connect_once(host: SshHost, settings: Mapping[str, Any]) -> paramiko.SSHClient:
    client = paramiko.SSHClient()
    files = _known_hosts(host, settings)
    for file in (*files, Path("/etc/ssh/ssh_known_hosts")):
        if file.is_file():
            _load_known(client, file)
    client.set_missing_host_key_policy(_Accept(files[0]) if host.accept_new_host_key else _Refuse())
    only = str(settings.get("identitiesonly", "no")).lower() == "yes"
    keys = [str(k) for k in map(Path, settings.get("identityfile", [])) if k.expanduser().is_file()]
    timeout = settings["connecttimeout"]
    sock = _socket(host, settings, timeout)
    try:
        client.connect(
            settings.get("hostkeyalias", settings["hostname"]), port=settings["port"], username=settings["user"], sock=sock,
            key_filename=keys or None, allow_agent=not only, look_for_keys=not only and not keys,
            timeout=timeout, banner_timeout=timeout, auth_timeout=timeout, channel_timeout=timeout,
        )  # fmt: skip
    except BaseException:
        client.close()
        with contextlib.suppress(Exception):
            sock.close()
        raise
    transport = client.get_transport()
    assert transport is not None  # connected just now
    transport.set_keepalive(KEEPALIVE_S)
    return client


def _socket(host: SshHost, settings: Mapping[str, Any], timeout: float) -> Any:
    """A connected socket, or what stands for one: a ProxyCommand's pipes, a channel through a jump host."""
    command, jump = settings.get("proxycommand"), settings.get("proxyjump")
    if jump and str(jump).lower() != "none":
        if "," in jump:
            raise DeviceError(
                f"{host.host}: ProxyJump over several hosts ({jump}) is not supported; use ProxyCommand ssh -W."
            )
        gate = SshHost(jump, config=host.config, known_hosts=host.known_hosts, attempts=1)
        client = connect(f"jump host of {host.host}", gate)
        transport = client.get_transport()
        assert transport is not None
        channel = transport.open_channel(
            "direct-tcpip", (settings["hostname"], settings["port"]), ("127.0.0.1", 0), timeout=timeout
        )
        channel.gate = client  # lives as long as the channel
        return channel
    if command and str(command).lower() != "none":
        try:
            return paramiko.ProxyCommand(command)  # split by shlex, run without a shell
        except ValueError as e:
            raise DeviceError(f"{host.config}: ProxyCommand {command} can not be read: {e}.") from None
    sock = socket.create_connection((settings["hostname"], settings["port"]), timeout=timeout)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _load_known(client: paramiko.SSHClient, file: Path) -> None:
    try:
        client.load_system_host_keys(str(file))
    except paramiko.hostkeys.InvalidHostKey as e:
        line = short(str(e.line), 100)
        raise DeviceError(f"{file} can not be used: the key in the line {line!r} is damaged. Remove that line.") from None
    except (OSError, UnicodeDecodeError) as e:
        raise DeviceError(f"{file} can not be used: {e}. Mend it, or move it away.") from None


def _keys(settings: Mapping[str, Any]) -> str:
    return ", ".join(settings.get("identityfile", [])) or "the agent's keys and ~/.ssh/id_*"


def _known_hosts(host: SshHost, settings: Mapping[str, Any]) -> list[Path]:
    if host.known_hosts:
        return [host.known_hosts]
    named = str(settings.get("userknownhostsfile", "")).split()
    return [Path(f).expanduser() for f in named] or [(HOME_SSH / "known_hosts").expanduser()]


def _recorded_as(settings: Mapping[str, Any]) -> str:
    name = settings.get("hostkeyalias", settings["hostname"])
    return name if settings["port"] == 22 else f"[{name}]:{settings['port']}"


def _unreachable(e: BaseException, settings: Mapping[str, Any]) -> str:
    where = f"{settings['hostname']} port {settings['port']}"
    if isinstance(e, socket.gaierror):
        return f"the name {settings['hostname']!r} is not known on this network; check it, or give the address"
    if isinstance(e, TimeoutError):
        return f"{where} does not answer; is it switched on and on this network?"
    if isinstance(e, ConnectionRefusedError):
        return f"{where} refuses the connection; is its SSH server running (sudo raspi-config, Interface Options, SSH)?"
    return f"{where} can not be reached ({e or type(e).__name__})"


def _error(target: str, host: SshHost, step: str, message: str) -> DeviceError:
    """`message` may quote the host; a question ends itself."""
    end = "" if message.endswith("?") else "."
    return DeviceError(f"{target} ({host.host}): {step}: {plain(message)}{end}")

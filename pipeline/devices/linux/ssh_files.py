"""Files on a computer behind SSH, named by their content, in one private folder; a file under its final name is whole."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import secrets
import stat

import paramiko

from pipeline.errors import DeviceError

FOLDER = ".cache/tinyml-pipeline"  # relative to the login directory, where SFTP and commands start
BLOCK = 32768
STALE_S = 3600
SPARE_BYTES = 65536  # a disk with less than this beyond what is needed counts as full


class DiskError(DeviceError):
    """A file could not be written; `wanted` bytes were needed. Nothing was kept of it."""

    def __init__(self, message: str, wanted: int, full: bool) -> None:
        super().__init__(message)
        self.wanted, self.full = wanted, full


def place(files: paramiko.SFTPClient, data: bytes, suffix: str) -> str:
    """The remote path of a file with these bytes, uploaded if it is not there: written under a temporary name, read back,
    renamed. DiskError when the host does not take it, paramiko's and socket's exceptions when the connection is lost."""
    make_folder(files)
    final = f"{FOLDER}/{hashlib.sha256(data).hexdigest()}{suffix}"
    with contextlib.suppress(FileNotFoundError):
        if files.stat(final).st_size == len(data):
            return final
    part = f"{final}.{secrets.token_hex(8)}.part"
    try:
        _write(files, part, data)
        _sweep(files, files.stat(part).st_mtime or 0)
        files.posix_rename(part, final)
    except BaseException as e:
        with contextlib.suppress(Exception):
            files.remove(part)
        if isinstance(e, OSError) and not lost(files, e):
            raise DiskError(str(e.strerror or e), len(data), e.errno == errno.ENOSPC) from None
        raise
    return final


def _write(files: paramiko.SFTPClient, path: str, data: bytes) -> None:
    with files.open(path, "wx") as f:
        f.set_pipelined(True)
        files.chmod(path, 0o600)
        for i in range(0, len(data), BLOCK):
            f.write(data[i : i + BLOCK])
    with files.open(path, "r") as f:
        f.prefetch(files.stat(path).st_size)
        if f.read(len(data) + 1) != data:
            raise DiskError("what was read back is not what was written", len(data), full=False)


def make_folder(files: paramiko.SFTPClient) -> None:
    """The folder, readable by its user alone."""
    for folder in (FOLDER.rpartition("/")[0], FOLDER):
        try:
            files.mkdir(folder, 0o700)
        except OSError as e:  # it exists, or the look below says what is wrong
            if lost(files, e):
                raise
    try:
        found = files.lstat(FOLDER)
        if stat.S_ISDIR(found.st_mode or 0):
            if (found.st_mode or 0) & 0o077:
                files.chmod(FOLDER, 0o700)
            return
    except OSError as e:
        if lost(files, e):
            raise
        raise DiskError(f"~/{FOLDER} can not be made: {e.strerror or e}", 0, e.errno == errno.ENOSPC) from None
    raise DiskError(f"~/{FOLDER} is not a folder; move it away", 0, full=False)


def _sweep(files: paramiko.SFTPClient, now: float) -> None:
    """Remove what uploads that broke off an hour ago or more left, by the host's own clock."""
    for entry in files.listdir_attr(FOLDER):
        if entry.filename.endswith(".part") and now - (entry.st_mtime or 0) > STALE_S:
            with contextlib.suppress(OSError):
                files.remove(f"{FOLDER}/{entry.filename}")


def lost(files: paramiko.SFTPClient, e: BaseException) -> bool:
    """True when the connection failed, and not the file."""
    if isinstance(e, paramiko.SSHException | EOFError | ConnectionError | TimeoutError):
        return True
    channel = files.get_channel()
    transport = channel.get_transport() if channel else None
    return transport is None or not transport.is_active() or str(e) == "Socket is closed"

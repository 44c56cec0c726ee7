"""Untrusted files, at sizes that are known."""

from __future__ import annotations

from pathlib import Path

from pipeline.errors import GraphError


def read_bytes(path: Path, limit: int) -> bytes:
    """A file's content; GraphError when it is missing, unreadable or larger than `limit` bytes."""
    try:
        if path.stat().st_size > limit:
            raise GraphError(f"{path} has {path.stat().st_size:,} bytes; models of up to {limit:,} bytes are read")
        return path.read_bytes()
    except OSError as e:
        raise GraphError(f"{path} can not be read: {e.strerror or e}") from None

"""The far end of a serial line, in bytes: a pseudo terminal or TCP socket on which a script answers, rightly or wrongly."""

from __future__ import annotations

import os
import pty
import socket
import threading
import tty
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace

import serial.rfc2217

Answer = Callable[[bytes], bytes | Iterator[bytes]]
"""What to send, at once or bit by bit, for one thing received: a command up to its %, or the bytes that `bulk` announced."""

IDENTITY = {
    "protocol": "1",
    "board": "cortex-m4",
    "core": "c24",
    "model": "0123456789abcdef",
    "build": "fedcba9876543210",
    "input": "4",
    "arena": "64",
    "ram": "5000",
    "timer": "dwt",
    "tick_hz": "25000000",
}


def board(**changes: bytes | Callable[[int], bytes]) -> Answer:
    """A board that answers every command as the firmware does, but for `changes`: command word -> other bytes, or a function
    of how often it was asked before. `upload` is the answer to the raw bytes, `identity_KEY` one value of `id`."""
    identity = {k: changes.get(f"identity_{k}", v.encode()) for k, v in IDENTITY.items()}
    output = bytes([1, 2, 250, 4])
    replies: dict[str, bytes | Callable[[int], bytes]] = {
        "name": b"m-name-dut-[cortex-m4]\r\nm-ready\r\n",
        "id": b"".join(b"m-id-%s-%b\r\n" % (k.encode(), v) for k, v in identity.items() if v) + b"m-ready\r\n",
        "bulk": b"m-[Expecting 4 bytes]\r\nm-ready\r\n",
        "upload": b"m-load-done\r\nm-ready\r\n",
        "run": b"m-ticks-77\r\nm-output-%b\r\nm-crc-%08x\r\nm-ready\r\n" % (output.hex().encode(), zlib.crc32(output)),
        "stack": b"m-stack-200-4096\r\nm-ready\r\n",
        "": b"e-[Unknown command: ]\r\nm-ready\r\n",
    }
    replies |= changes
    asked: dict[str, int] = {}

    def answer(received: bytes) -> bytes:
        word = received.rstrip(b"%").split(b" ")[0].decode() if received.endswith(b"%") else "upload"
        asked[word] = asked.get(word, -1) + 1
        reply = replies.get(word, b"e-[Unknown command: %b]\r\nm-ready\r\n" % word.encode())
        return reply(asked[word]) if callable(reply) else reply

    return answer


class _Script:
    """Cuts what is received into commands and uploads, and sends the answers."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._buffer = bytearray()
        self._raw = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        while True:
            end = self._raw if self._raw else self._buffer.find(b"%") + 1
            if not end or len(self._buffer) < end:
                return
            one = bytes(self._buffer[:end])
            del self._buffer[:end]
            reply = self._answer(one)
            if not isinstance(reply, bytes):
                yield from reply
                continue
            self._raw = int(one.split()[1]) if one.startswith(b"bulk ") and reply.startswith(b"m-[Expecting") else 0
            yield reply


@contextmanager
def serial_line(answer: Answer, first: bytes = b"") -> Iterator[str]:
    """The path of a pseudo terminal, opened with pyserial as a real port is; `first` is sent before anything is asked."""
    mine, theirs = pty.openpty()
    tty.setraw(theirs)
    stop = threading.Event()

    def serve() -> None:
        script = _Script(answer)
        os.set_blocking(mine, False)
        while not stop.wait(0.002):
            try:
                for reply in script.feed(os.read(mine, 65536)):
                    os.write(mine, reply)
            except BlockingIOError:
                continue

    os.write(mine, first)
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield os.ttyname(theirs)
    finally:
        stop.set()
        thread.join()
        os.close(mine)
        os.close(theirs)


@contextmanager
def tcp_line(answer: Answer, first: bytes = b"") -> Iterator[str]:
    """A socket:// address; an empty answer hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            script = _Script(answer)
            connection.sendall(first)
            with suppress(OSError):  # the other end has hung up
                while data := connection.recv(65536):
                    for reply in script.feed(data):
                        if not reply:
                            return
                        connection.sendall(reply)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"socket://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.close()
        thread.join(timeout=5)


@contextmanager
def rfc2217_line(answer: Answer) -> Iterator[str]:
    """An rfc2217:// address, with pyserial's own server side of the protocol."""
    server = socket.create_server(("127.0.0.1", 0))
    settings = SimpleNamespace(cts=True, dsr=True, ri=False, cd=True, parity="N", bytesize=8, stopbits=1, baudrate=115200)
    settings.reset_input_buffer = settings.reset_output_buffer = lambda: None

    def serve() -> None:
        connection, _ = server.accept()
        with connection, suppress(OSError):  # the other end has hung up
            manager = serial.rfc2217.PortManager(settings, SimpleNamespace(write=connection.sendall))
            script = _Script(answer)
            while data := connection.recv(65536):
                for reply in script.feed(b"".join(manager.filter(data))):
                    connection.sendall(b"".join(manager.escape(reply)))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"rfc2217://127.0.0.1:{server.getsockname()[1]}"
    finally:
        server.close()
        thread.join(timeout=5)

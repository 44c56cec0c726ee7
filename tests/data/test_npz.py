"""npz files that may be anything: damaged, hostile, huge."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.npz import MAX_BYTES, read_npz
from pipeline.errors import RecipeError

RNG = np.random.default_rng(0)
HINT = "Give an .npz file of plain number arrays, as numpy.savez writes it."


def with_header(folder: Path, header: bytes, name: str = "x") -> Path:
    """An npz file whose one array has this header and no values."""
    path = folder / "odd.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
    return path


def test_named_arrays_or_all(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, x=np.arange(3), y=np.ones(2), other=np.zeros(1))
    assert list(read_npz(path, ("y",), ("z", "x"))) == ["y", "x"]
    assert list(read_npz(path, optional=None)) == ["x", "y", "other"]
    np.testing.assert_array_equal(read_npz(path, ("x",))["x"], [0, 1, 2])


def test_missing_file_and_missing_array(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(RecipeError) as e:
        read_npz(path, ("x",))
    assert str(e.value) == f"{path} does not exist. {HINT}"
    np.savez(path, **{"y": np.ones(2), "\x1b[31m": np.ones(1)})
    with pytest.raises(RecipeError) as e:
        read_npz(path, ("x",), called="inputs a.npz", hint="Give x.")
    assert str(e.value) == "inputs a.npz has no array 'x'; it has y, \\x1b[31m. Give x."


HEADERS = {
    "brackets": b"(" * 5000,
    "minus signs": b"-" * 5000 + b"1",
    "no description": b"{'descr': (), 'fortran_order': False, 'shape': (1,), }",
    "mixed keys": b"{'descr': '<f4', b'x': False, 'shape': (1,), }",
    "size beyond int64": b"{'descr': '<f4', 'fortran_order': False, 'shape': (40, 59223372036854775807), }",
    "size beyond memory": b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000000, ), }",
    "objects": b"{'descr': 'O', 'fortran_order': False, 'shape': (1,), }",
    "no values": b"{'descr': '<f4', 'fortran_order': False, 'shape': (100,), }",
    "terminal codes": b"{'descr': '\x1b[31m', 'fortran_order': False, 'shape': (100,), }",
    "a page of text": b"x " * 4000,
}


@pytest.mark.parametrize("case", HEADERS)
def test_hostile_headers_end_with_a_short_message(case: str, tmp_path: Path) -> None:
    path = with_header(tmp_path, HEADERS[case])
    with pytest.raises(RecipeError) as e:
        read_npz(path, ("x",))
    message = str(e.value)
    assert message.startswith(f"{path} can not be read as an .npz file of plain arrays (")
    assert message.endswith(f"). {HINT}")
    assert len(message) < 500
    assert message.isprintable()


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="does not exist"):
        read_npz(tmp_path)


def test_bombs_are_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, x=np.zeros(50_000_000, np.uint8))
    assert path.stat().st_size < 100_000
    with pytest.raises(
        RecipeError, match=r"holds 50,000,128 bytes of arrays, more than the 1,000,000 that are loaded at most"
    ):
        read_npz(path, ("x",), max_bytes=1_000_000)
    assert MAX_BYTES <= 8 * 2**30


def test_a_bomb_that_lies_about_its_size_is_read_no_further(tmp_path: Path) -> None:
    honest = io.BytesIO()
    np.savez_compressed(honest, x=np.zeros(50_000_000, np.uint8))
    lying = honest.getvalue().replace(struct.pack("<I", 50_000_128), struct.pack("<I", 1000))
    assert lying != honest.getvalue()
    path = tmp_path / "lying.npz"
    path.write_bytes(lying)
    with pytest.raises(RecipeError, match=r"can not be read as an \.npz file of plain arrays"):
        read_npz(path, ("x",), max_bytes=1_000_000)


def test_pickled_arrays_are_never_loaded(tmp_path: Path) -> None:
    path = tmp_path / "objects.npz"
    np.savez(path, x=np.empty(40, object))
    with pytest.raises(RecipeError, match=r"Object arrays cannot be loaded when allow_pickle=False"):
        read_npz(path, ("x",))


def test_damaged_files_end_with_a_message(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    x = RNG.integers(0, 200, (50, 4, 5, 3)).astype(np.uint8)
    stored, compressed = io.BytesIO(), io.BytesIO()
    np.savez(stored, x=x, y=np.arange(50))
    np.savez_compressed(compressed, x=x, y=np.arange(50))
    for content in (stored.getvalue(), compressed.getvalue()):
        for _ in range(200):
            broken = bytearray(content[: RNG.integers(0, len(content))] if RNG.random() < 0.3 else content)
            for position in RNG.integers(0, max(len(broken), 1), 8) if broken else ():
                broken[position] = RNG.integers(0, 256)
            path.write_bytes(broken)
            with contextlib.suppress(RecipeError):  # nothing else may come out; a changed pixel is a good file
                read_npz(path, ("x",), ("y",))

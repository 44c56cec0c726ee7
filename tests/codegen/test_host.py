"""The host build of generated C: what it catches, and what it says then."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_graphs import random_inputs, small_cnn, two_inputs
from example_target import host_c, lowered

from pipeline.codegen.library import write_library
from pipeline.errors import BuildError, GraphError, MismatchError
from pipeline.host import tools
from pipeline.proof import host_c as host
from pipeline.proof.host_c import HostC


def edited(folder: Path, old: str, new: str) -> Path:
    """The small model's library with one edit in its kernel calls."""
    write_library(lowered(small_cnn()), folder)
    source = folder / "small_cnn.c"
    text = source.read_text()
    assert text.count(old) == 1
    source.write_text(text.replace(old, new))
    return folder


def test_a_write_beyond_the_arena_is_caught(tmp_path: Path) -> None:
    library = edited(tmp_path, "AT_pw = ", "AT_pw = SMALL_CNN_ARENA_BYTES - 100, unused = ")
    x = random_inputs(small_cnn(), 1)
    with HostC(small_cnn(), library) as c, pytest.raises(MismatchError, match=r"(?i)sanitizer.*overflow"):
        c.run(*x)


def test_a_compile_error_is_a_build_error(tmp_path: Path) -> None:
    library = edited(tmp_path, "conv2d_s8_image__dsp(&layer_stem,", "int unused; conv2d_s8_image__dsp(&layer_stem,")
    with (
        pytest.raises(BuildError, match=r"'small_cnn' does not build for the host: .*unused variable"),
        HostC(small_cnn(), library),
    ):
        pass


@pytest.mark.parametrize(
    "x",
    [np.zeros((2, 1, 8, 8, 1), np.uint8), np.zeros((2, 1, 8, 9, 1), np.int8), np.zeros((2, 64), np.int8)],
    ids=["dtype", "shape", "rank"],
)
def test_a_wrong_input_is_named(x: np.ndarray) -> None:
    with host_c(small_cnn()) as c, pytest.raises(GraphError, match=r"'image' takes int8 of shape \(n, 1, 8, 8, 1\), got"):
        c.run(x)


def test_inputs_must_be_as_many() -> None:
    left, right = random_inputs(two_inputs(), 3)
    with host_c(two_inputs()) as c, pytest.raises(GraphError, match=r"'a\.left' takes"):
        c.run(left, right[:2])


def test_outside_its_block_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="outside its `with` block"):
        HostC(small_cnn(), tmp_path).run(*random_inputs(small_cnn(), 1))


def test_a_program_that_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "REPLAY_TIMEOUT_S", 1e-6)
    with host_c(small_cnn()) as c, pytest.raises(BuildError, match="replay took longer than 1e-06 s"):
        c.run(*random_inputs(small_cnn(), 1))


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(BuildError, match=r"(?s)C compiler.*install"):
        tools.find_compiler()

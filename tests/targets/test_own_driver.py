"""A board from outside: `targets/<board>.toml` and, for a chip family of its own, `targets/<board>/hal.c`. One runs in
`tests/test_extending.py`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from example_graphs import small_cnn

from pipeline import target
from pipeline.errors import BuildError, TargetError
from pipeline.firmware.cortex_m import write_firmware
from pipeline.firmware.folder import CompiledModel
from pipeline.firmware.skeleton import driver
from pipeline.locations import data_dir

SHIPPED = (data_dir("firmware_templates") / "cortex_m" / "hal" / "cmsdk_uart.c").read_text(encoding="utf-8")
BOARD = 'inherits = "cortex-m4"\ndescription = "a board of my own"\n'


def own(folder: Path, name: str = "my-board", text: str = SHIPPED, toml: str = BOARD) -> Path:
    """A folder of targets with one board and its driver, which it returns."""
    (folder / name).mkdir(parents=True)
    (folder / f"{name}.toml").write_text(toml)
    path = folder / name / "hal.c"
    path.write_text(text)
    return path


@pytest.mark.cross
def test_what_does_not_compile_is_named(tmp_path: Path) -> None:
    own(tmp_path, text="#error no clock was set\n")
    with pytest.raises(BuildError, match=r"src/hal/my-board\.c.*no clock was set"):
        write_firmware(CompiledModel(small_cnn(), None), target.load("my-board", tmp_path), tmp_path / "firmware")
    assert not (tmp_path / "firmware").exists()


def test_it_is_found_beside_its_target_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = own(tmp_path / "targets")
    assert driver(target.load("my-board", tmp_path / "targets")) == path
    monkeypatch.chdir(tmp_path)
    assert driver(target.load("my-board")) == path
    assert driver(target.load("cortex-m4")).name == "cmsdk_uart.c"


@pytest.mark.parametrize(
    ("toml", "where"),
    [
        ('inherits = "my-board"\n', "my-board/hal.c"),
        ('inherits = "my-board"\n[device]\nbaud = 9600\n', "my-board/hal.c"),
        ('inherits = "my-board"\n[device]\nhal = "cmsdk_uart"\n', "hal/cmsdk_uart.c"),
    ],
)
def test_the_nearest_that_says_which(toml: str, where: str, tmp_path: Path) -> None:
    """A variant of a board has its driver, unless it has or names another."""
    own(tmp_path)
    (tmp_path / "variant.toml").write_text(toml)
    assert driver(target.load("variant", tmp_path)).as_posix().endswith(where)
    second = tmp_path / "variant" / "hal.c"
    second.parent.mkdir()
    second.write_text(SHIPPED)
    assert driver(target.load("variant", tmp_path)) == second


@pytest.mark.parametrize("how", ["the file", "its folder", "to nothing", "to itself", "no file"])
def test_what_is_not_in_the_folder_of_targets_is_refused(how: str, tmp_path: Path) -> None:
    path, outside = own(tmp_path / "targets"), tmp_path / "outside"
    outside.mkdir()
    (outside / "hal.c").write_text("a secret\n")
    path.unlink()
    if how == "the file":
        path.symlink_to(outside / "hal.c")
    elif how == "its folder":
        path.parent.rmdir()
        path.parent.symlink_to(outside)
    elif how == "no file":
        path.mkdir()
    else:
        path.symlink_to("nothing.c" if how == "to nothing" else "hal.c")
    with pytest.raises(TargetError, match=r"my-board/hal\.c must be a C file in .*targets, no link to elsewhere"):
        target.load("my-board", tmp_path / "targets")


def test_a_link_within_the_folder_is_good(tmp_path: Path) -> None:
    own(tmp_path)
    (tmp_path / "twin").mkdir()
    (tmp_path / "twin.toml").write_text(BOARD)
    (tmp_path / "twin" / "hal.c").symlink_to(os.path.join("..", "my-board", "hal.c"))
    assert driver(target.load("twin", tmp_path)).read_text() == SHIPPED


def test_it_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "my-board.toml").write_text('driver = "/etc/passwd"\n' + BOARD)
    with pytest.raises(TargetError, match=r"my-board\.toml: driver: unknown key"):
        target.load("my-board", tmp_path)


def test_a_driver_that_is_gone(tmp_path: Path) -> None:
    path = own(tmp_path)
    board = target.load("my-board", tmp_path)
    path.unlink()
    with pytest.raises(TargetError, match=r"target my-board: its driver .*my-board/hal\.c is gone\. Put it there again"):
        driver(board)


def test_a_chip_family_that_nobody_knows() -> None:
    board = target.load("cortex-m4")
    unknown = replace(board, name="my-board", device=replace(board.device, hal="stm32"))
    with pytest.raises(TargetError, match=r"'stm32' has no driver.*write your own, .*: my-board/hal\.c, beside"):
        driver(unknown)

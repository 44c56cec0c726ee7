"""Modules of the user's that are not as most are."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.errors import RecipeError
from pipeline.host.users_code import users_object


def test_a_module_that_is_no_file() -> None:
    with pytest.raises(RecipeError, match=r"model\.factory 'sys:built': sys has no function 'built'\. It has: "):
        users_object("model.factory", "sys:built", [], "function")


def test_a_module_that_takes_its_folder_off_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "tidy_module.py").write_text(f"import sys\nsys.path.remove({str(tmp_path)!r})\ndef build(): pass\n")
    before = [*sys.path]
    assert users_object("model.factory", "tidy_module:build", [tmp_path], "function").__name__ == "build"
    assert sys.path == before

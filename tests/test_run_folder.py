"""A run's folder gets its name when all went well; each stage has a place of its own in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import PipelineError
from pipeline.plan import steps_of
from pipeline.run_folder import run_folder
from pipeline.stages.distill import Distill
from pipeline.stages.prune import Prune
from pipeline.stages.train import Train


def test_folders_are_numbered_and_never_reused(tmp_path: Path) -> None:
    for used in ("a-1", "a-2.failed", "a-3.partial"):
        (tmp_path / used).mkdir()
    with run_folder(tmp_path, "a") as first, run_folder(tmp_path, "a") as second:
        assert (first.work.name, second.work.name) == ("a-4.partial", "a-5.partial")
        (first.work / "x").write_text("1")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a-1", "a-2.failed", "a-3.partial", "a-4", "a-5"]
    assert (first.final / "x").read_text() == "1"


def fail_in(folder: Path, finished: bool) -> None:
    with run_folder(folder, "a") as made:
        (made.work / "x").touch()
        if finished:
            made.finish()
        raise PipelineError("the tracker failed.")


def test_a_failure_after_the_folder_got_its_name_takes_it_back(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="the tracker failed"):
        fail_in(tmp_path, finished=True)
    assert [p.name for p in tmp_path.iterdir()] == ["a-1.failed"]


def test_a_failure_is_said_though_the_folder_can_not_be_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, to: Path) -> Path:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(PipelineError, match="the tracker failed") as e:
        fail_in(tmp_path, finished=False)
    assert e.value.__notes__ == [f"What was made until then is in {tmp_path / 'a-1.partial'}."]


def test_each_stage_has_a_folder_of_its_own() -> None:
    assert [folder for folder, _ in steps_of([Train(), Prune(), Prune(), Distill(), Prune()])] == [
        "train", "prune", "prune-2", "distill", "prune-3",
    ]  # fmt: skip

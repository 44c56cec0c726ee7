"""A firmware folder that is there whole or not at all, wherever it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.firmware.atomic import replaced_whole


def test_interrupted_between_the_two_renames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder that was there before is there again."""
    folder = tmp_path / "firmware"
    folder.mkdir()
    (folder / "manifest.json").write_text("before")
    rename = Path.rename

    def once(self: Path, place: Path) -> Path:
        if place == folder and self.suffix != ".old":
            raise KeyboardInterrupt
        return rename(self, place)

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(KeyboardInterrupt), replaced_whole(folder) as work:
        (work / "manifest.json").write_text("after")
    assert [p.name for p in tmp_path.iterdir()] == ["firmware"]
    assert (folder / "manifest.json").read_text() == "before"


def test_a_link_to_the_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    link = tmp_path / "firmware"
    link.symlink_to(tmp_path / "disk")
    for text in ("first", "second"):
        with replaced_whole(link) as work:
            (work / "manifest.json").write_text(text)
        assert (tmp_path / "disk" / "manifest.json").read_text() == text
    assert link.is_symlink()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["disk", "firmware"]

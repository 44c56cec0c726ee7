"""The recipe that a run saves is run again as it is, from anywhere, when what it was made from is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pipeline import rerun
from pipeline.cli import app
from pipeline.data.checkpoint import save_weights
from pipeline.data.dataset import DataRecipe
from pipeline.data.dataset import load as load_data
from pipeline.data.source import ModelRecipe
from pipeline.data.source import load as load_source
from pipeline.errors import RecipeError
from pipeline.host.users_sources import sources_of
from pipeline.recipe import load

RECIPE = """
name = "own"
seed = 2
[data]
source = "digits-of-mine.npz"
std = 8.0
[model]
factory = "nets.small:build"
arguments = {width = 6}
[train]
epochs = 1
[codegen]
vectors = 8
[measure]
vectors = 8
"""
SMALL = """
from torch import nn
import head
from .parts import block
def build(shape, classes, width):
    return nn.Sequential(block(shape[0], width), nn.Flatten(), head.linear(width * 36, classes))
"""
PARTS = """
from torch import nn
def block(channels, width):
    return nn.Sequential(nn.Conv2d(channels, width, 3), nn.BatchNorm2d(width), nn.ReLU())
"""
HEAD = "from torch import nn\ndef linear(n, m):\n    return nn.Linear(n, m)\n"


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, ["run", *words], env={"COLUMNS": "300"})


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a recipe with a package, a module beside it and data of its own; the current folder is another one."""
    place, elsewhere = tmp_path / "place", tmp_path / "elsewhere"
    (place / "nets").mkdir(parents=True)
    elsewhere.mkdir()
    files = {"nets/__init__.py": "", "nets/small.py": SMALL, "nets/parts.py": PARTS, "head.py": HEAD, "other.py": "1 / 0"}
    for name, text in {**files, "r.toml": RECIPE}.items():
        (place / name).write_text(text)
    digits = load_data(DataRecipe(limit=200), seed=0)
    arrays = {"x_train": digits.x_train, "y_train": digits.y_train, "x_test": digits.x_test, "y_test": digits.y_test}
    np.savez(place / "digits-of-mine.npz", **arrays)
    monkeypatch.chdir(elsewhere)
    return place


def figures(run: Path) -> Any:
    report = json.loads((run / "report.json").read_text())
    for stage in report["stages"]:
        stage["metrics"].pop("stage_s", None)
    return {k: v for k, v in report.items() if k != "run_id"}


@pytest.mark.cross
@pytest.mark.qemu
def test_the_same_figures_when_the_originals_are_gone(place: Path, tmp_path: Path) -> None:
    done = invoke(str(place / "r.toml"), "-t", "cortex-m4", "--out", str(tmp_path / "build"))
    assert done.exit_code == 0, done.output
    run = (tmp_path / "build" / "own-cortex-m4-1").rename(tmp_path / "moved")
    copied = {f.relative_to(run).as_posix() for top in ("code", "data") for f in (run / top).rglob("*") if f.is_file()}
    assert copied == {
        "code/head.py", "code/nets/__init__.py", "code/nets/parts.py", "code/nets/small.py", "data/digits-of-mine.npz",
    }  # fmt: skip
    shutil.rmtree(place)
    again = invoke(str(run / "recipe.toml"), "-t", "cortex-m4", "--out", str(tmp_path / "build"))
    assert again.exit_code == 0, again.output
    second = tmp_path / "build" / "own-cortex-m4-1"
    assert figures(second) == figures(run)
    assert (second / "recipe.toml").read_text() == (run / "recipe.toml").read_text()


def test_until_train_for_two_targets_each_recipe_finds_the_code(place: Path, tmp_path: Path) -> None:
    (tmp_path / "desk").mkdir()
    (tmp_path / "desk" / "desk.toml").touch()
    words = ("-t", "cortex-m4", "-t", "raspberry-pi-4", "--until", "train", "--out", str(tmp_path / "build"))
    desk = ("--targets-dir", "../desk", "--bench", "../desk/desk.toml")
    done = invoke(str(place / "r.toml"), *words, *desk, "--set", "measure={vectors=8}")
    assert done.exit_code == 0, done.output
    resolved = f"--targets-dir {tmp_path}/desk --bench {tmp_path}/desk/desk.toml"
    said = [line for line in done.output.splitlines() if line.startswith("go on with")]
    assert said
    assert all(line.endswith(resolved) for line in said)
    shutil.rmtree(place)
    (run,) = (tmp_path / "build").iterdir()
    for target in ("cortex-m4", "raspberry-pi-4"):
        recipe = load(run / target / "recipe.toml")
        assert recipe.code_folders[0] == run / "code"
        assert recipe.data.source == "../data/digits-of-mine.npz"


def test_large_files_are_named_by_path_and_hash(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerun, "COPIED_BYTES", 10)
    recipe = load(place / "r.toml")
    data = load_data(recipe.data, recipe.seed, recipe.folder)
    module = load_source(recipe.model, data, recipe.seed, recipe.folder, recipe.code_folders).module
    save_weights(module, place / "w.npz")
    work = tmp_path / "work"
    work.mkdir()
    kept = rerun.keep(load(place / "r.toml", ["model.checkpoint=w.npz"]), work)
    (work / "recipe.toml").write_text(kept.toml((), work))
    assert sorted(f.name for f in work.iterdir()) == ["code", "recipe.toml"]
    again = load(work / "recipe.toml")
    assert (again.data.source, again.model.checkpoint) == (str(place / "digits-of-mine.npz"), place / "w.npz")
    load_source(again.model, load_data(again.data, 1, again.folder), 1, again.folder, again.code_folders)
    for file, message in (
        ("w.npz", r"w\.npz is not the file that the recipe was made for: its sha256 is .*, model\.checkpoint_sha256 says"),
        ("digits-of-mine.npz", r"digits-of-mine\.npz is not the file .*, data\.sha256 says .*, or leave data\.sha256 out"),
    ):
        with (place / file).open("ab") as opened:
            opened.write(b"more")
        with pytest.raises(RecipeError, match=message):
            load_source(again.model, load_data(again.data, 1, again.folder), 1, again.folder, again.code_folders)


def test_data_and_checkpoint_of_one_name_are_both_kept(place: Path, tmp_path: Path) -> None:
    recipe = load(place / "r.toml")
    data = load_data(recipe.data, recipe.seed, recipe.folder)
    module = load_source(recipe.model, data, recipe.seed, recipe.folder, recipe.code_folders).module
    (place / "weights").mkdir()
    save_weights(module, place / "weights" / "digits-of-mine.npz")
    work = tmp_path / "work"
    work.mkdir()
    kept = rerun.keep(load(place / "r.toml", ["model.checkpoint=weights/digits-of-mine.npz"]), work)
    (work / "recipe.toml").write_text(kept.toml((), work))
    shutil.rmtree(place)
    again = load(work / "recipe.toml")
    load_source(again.model, load_data(again.data, 1, again.folder), 1, again.folder, again.code_folders)


def test_a_calibration_set_of_ones_own_is_kept(place: Path, tmp_path: Path) -> None:
    (place / "calibration").mkdir()
    (place / "calibration" / "mine.toml").write_text('source = "digits-of-mine.npz"\ncount = 20\n')
    work = tmp_path / "work"
    work.mkdir()
    recipe = load(place / "r.toml", ["quantize.calibration=mine"])
    (work / "recipe.toml").write_text(rerun.keep(recipe, work).toml((), work))
    assert (work / "code" / "calibration" / "mine.toml").is_file()
    shutil.rmtree(place)
    assert load(work / "recipe.toml").stages == recipe.stages
    shutil.rmtree(work / "code" / "calibration")
    with pytest.raises(RecipeError, match=r"quantize\.calibration = 'mine' is not known\. Known sets: digits"):
        load(work / "recipe.toml")


def test_a_code_folder_that_is_none(place: Path) -> None:
    with pytest.raises(RecipeError, match=r"r\.toml: code = 'gone': .*gone is no folder"):
        load(place / "r.toml", ["code=gone"])
    recipe, digits = load(place / "r.toml", ["code=nets"]), load_data(DataRecipe(), 1)
    with pytest.raises(RecipeError, match=r"no module 'other'; looked in .*place.nets, .*elsewhere"):
        load_source(ModelRecipe("other:build"), digits, 1, recipe.folder, recipe.code_folders)


SOURCES = {
    "nothing of the user's": ("torch.nn", []),
    "no such module": ("gone", []),
    "a module": ("head", ["head.py"]),
    "a package": ("nets", ["nets/__init__.py"]),
    "a circle": ("a", ["a.py", "b.py"]),
    "broken": ("broken", ["broken.py"]),
    "relative, above": ("p.q.deep", ["p/__init__.py", "p/q/__init__.py", "p/q/deep.py", "p/top.py"]),
    "this package is installed": ("uses", ["uses.py"]),
}


@pytest.mark.parametrize("case", SOURCES)
def test_which_files_a_module_needs(case: str, place: Path) -> None:
    (place / "p" / "q").mkdir(parents=True)
    more = {
        "a.py": "import b",
        "b.py": "def f():\n    from a import x",
        "broken.py": "def (",
        "p/__init__.py": "",
        "p/top.py": "",
    }
    uses = {"uses.py": "import pipeline.ir\nimport numpy", "p/q/__init__.py": "", "p/q/deep.py": "from .. import top"}
    for name, text in {**more, **uses}.items():
        (place / name).write_text(text)
    module, files = SOURCES[case]
    assert [*sources_of([module], (place, Path(rerun.__file__).parents[1]))] == files

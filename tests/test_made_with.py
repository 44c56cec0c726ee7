"""A run that starts from an artifact has the settings that it was made with, or is refused; what is still to run is free."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import target
from pipeline.data.dataset import DataRecipe, Dataset
from pipeline.data.dataset import load as load_data
from pipeline.errors import RecipeError
from pipeline.made_with import made_with
from pipeline.plan import plan, steps_of
from pipeline.recipe import load
from pipeline.saved.index import INDEX, write_index

RECIPE = """
name = "small"
seed = 3
code = "."
stages = ["train", "prune", "mine:Own", "prune", "quantize", "codegen", "measure"]
[data]
source = "digits"
[model]
factory = "digits_cnn"
checkpoint = "w.npz"
[prune]
keep = 0.8
["mine:Own"]
scale = 2.0
notes = "n.txt"
[codegen]
tflm_dir = "lib"
"""
OWN = """
from dataclasses import dataclass
from pathlib import Path
from pipeline.artifacts import FloatModel
@dataclass(frozen=True)
class Own:
    scale: float = 1.0
    sizes: tuple[int, ...] = (1, 2)
    notes: Path | None = None
    name = "own"
    consumes = FloatModel
    produces = FloatModel
    def run(self, artifact, ctx):
        return artifact
"""
BOARD, COMPUTER = target.load("cortex-m4"), target.load("raspberry-pi-4")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_data(DataRecipe(limit=100), seed=3)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "place"
    place.mkdir()
    for name, text in {"r.toml": RECIPE, "mine.py": OWN, "w.npz": "weights", "n.txt": "notes"}.items():
        (place / name).write_text(text)
    return place


def made(place: Path, stage: str, data: Dataset) -> Path:
    """The folder of what `stage` of the recipe made, as far as its index goes."""
    recipe = load(place / "r.toml")
    folder = place / stage
    folder.mkdir()
    settings = made_with(recipe, steps_of(recipe.stages), stage)
    write_index(folder, "float_model", stage, data, (), made_with=settings, modules={})
    return folder


RUN_ALL = "or run the recipe from its beginning."
REFUSED = {
    "prune.keep=0.4": "made with prune.keep = 0.8, and the recipe says 0.4. Give --set prune.keep=0.8, or start from train.",
    "prune.criterion=magnitude": """Give --set 'prune.criterion="taylor"', or start from train.""",
    "train.epochs=7": f"was made with train.epochs = 30, and the recipe says 7. Give --set train.epochs=30, {RUN_ALL}",
    '"mine:Own".scale=3': """with "mine:Own".scale = 2.0, and the recipe says 3.0. Give --set '"mine:Own".scale=2.0', or""",
    '"mine:Own".sizes=[1]': 'made with "mine:Own".sizes = [1, 2], and the recipe says [1]. Give',
    "seed=4": f"was made with seed = 3, and the recipe says 4. Give --set seed=3, {RUN_ALL}",
    "model.factory=ds_cnn": "was made with model.factory = \"digits_cnn\", and the recipe says \"ds_cnn\". Give --set",
    "model.arguments={width=3}": "was made with model.arguments = {}, and the recipe says {\"width\" = 3}. Give --set",
    "model.checkpoint=r.toml": "as model.checkpoint, and the recipe gives another. Give that file, or run the recipe",
    "stages=['train', 'mine:Own', 'prune', 'prune', 'quantize', 'codegen', 'measure']": (
        "went through train, prune, own, prune-2, and the recipe's stages up to prune-2 are train, own, prune, prune-2. Give"
    ),
}  # fmt: skip


@pytest.mark.parametrize("setting", REFUSED)
def test_other_settings_than_it_was_made_with(setting: str, place: Path, digits: Dataset) -> None:
    folder = made(place, "prune-2", digits)
    recipe = load(place / "r.toml", [setting])
    with pytest.raises(RecipeError) as caught:
        plan(recipe, "", folder, [BOARD])
    assert str(caught.value).startswith(f"--from {folder}: it w")
    assert REFUSED[setting] in str(caught.value)


@pytest.mark.parametrize("setting", ["quantize.count=50", "measure.vectors=8", "data.limit=200", "codegen.vectors=3"])
def test_what_is_still_to_run_may_differ(setting: str, place: Path, digits: Dataset) -> None:
    """And the data, which have a sha256 of their own."""
    folder = made(place, "prune-2", digits)
    planned = plan(load(place / "r.toml", [setting]), "", folder, [BOARD])
    assert [name for name, _ in (*planned.shared, *planned.each)] == ["quantize", "codegen", "measure"]


def test_a_file_is_what_is_in_it(place: Path, digits: Dataset) -> None:
    folder = made(place, "prune-2", digits)
    moved = place.rename(place.with_name("moved"))
    folder = moved / folder.name
    plan(load(moved / "r.toml"), "", folder, [BOARD])
    (moved / "n.txt").write_text("others")
    with pytest.raises(
        RecipeError, match=r'made with the file of sha256:\w{64} as "mine:Own"\.notes, and .* Give that file'
    ):
        plan(load(moved / "r.toml"), "", folder, [BOARD])


def test_what_the_target_has_no_use_for_may_be_left_out(place: Path, digits: Dataset) -> None:
    """As a run's own recipe does for each of its targets."""
    folder = made(place, "codegen", digits)
    (place / "r.toml").write_text(RECIPE.replace('tflm_dir = "lib"', ""))
    plan(load(place / "r.toml"), "", folder, [COMPUTER])
    with pytest.raises(
        RecipeError, match=r'with codegen\.tflm_dir = ".*/lib", and the recipe leaves it out\. .* quantize\.'
    ):
        plan(load(place / "r.toml"), "", folder, [BOARD])


def test_a_setting_that_was_not_there(place: Path, digits: Dataset) -> None:
    (place / "r.toml").write_text(RECIPE.replace('tflm_dir = "lib"', ""))
    folder = made(place, "codegen", digits)
    (place / "r.toml").write_text(RECIPE)
    with pytest.raises(RecipeError, match=r"it was made without codegen\.tflm_dir, and the recipe says .* Leave it out, or"):
        plan(load(place / "r.toml"), "", folder, [BOARD])
    (folder / INDEX).write_text((folder / INDEX).read_text().replace('"seed": 3', '"seed": "3"'))
    with pytest.raises(RecipeError, match=r"made_with\.seed must be an integer"):
        plan(load(place / "r.toml"), "", folder, [BOARD])

"""Recipes: what is read, what --set changes, and the message for everything that can be wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from pipeline.errors import RecipeError
from pipeline.recipe import default_path, load
from pipeline.stages.distill import Distill
from pipeline.stages.prune import Prune

SMALL = """
name = "small"
seed = 7
[data]
source = "digits"
[model]
factory = "digits_cnn"
"""


def write(folder: Path, text: str = SMALL) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def names(path: Path, *overrides: str) -> list[str]:
    return [s.name for s in load(path, overrides).stages]


def test_default_recipe_has_every_stage() -> None:
    recipe = load(default_path())
    assert [s.name for s in recipe.stages] == ["train", "prune", "distill", "quantize", "codegen", "measure"]
    assert (recipe.name, recipe.data.source, recipe.model.factory) == ("digits", "digits", "digits_cnn")


def test_optional_stages_run_when_their_table_is_there(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert names(path) == ["train", "quantize", "codegen", "measure"]
    assert names(path, "prune.keep=0.4") == ["train", "prune", "quantize", "codegen", "measure"]
    assert names(write(tmp_path, SMALL + "[prune]\n[distill]\n"), "distill=false") == [
        "train", "prune", "quantize", "codegen", "measure",
    ]  # fmt: skip


def test_stages_can_be_listed(tmp_path: Path) -> None:
    listed = ["train", "prune", "prune", "quantize", "codegen", "measure"]
    assert names(write(tmp_path), f"stages={listed}") == listed


def test_the_table_of_a_stage_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    listed = ["train", "quantize", "codegen", "measure"]
    path = write(tmp_path, f"stages = {listed}\n{SMALL}")
    with pytest.raises(RecipeError, match=r"recipe\.toml: prune: `stages` does not list it, so its table is of no use"):
        load(path, ["prune.keep=0.3"])
    assert names(path, "prune=false") == listed


@pytest.mark.parametrize("kind", ["regression", "reconstruction", "classification"])
def test_a_stage_can_be_switched_off_whatever_the_task(kind: str, tmp_path: Path) -> None:
    path = write(tmp_path, SMALL + "[prune]\n[distill]\n")
    assert "distill" not in names(path, f"task.kind={kind}", "distill=false")


def test_set_overrides_with_toml_values(tmp_path: Path) -> None:
    recipe = load(
        write(tmp_path, SMALL + "[prune]\nkeep = 0.9\n"),
        ["prune.keep=0.4", "seed = 3", "prune.criterion=taylor", 'data.classes=["a", "b"]', "distill.epochs=2", "name=x-1"],
    )
    assert (recipe.seed, recipe.name, recipe.data.classes) == (3, "x-1", ("a", "b"))
    assert recipe.stages[1] == Prune(keep=0.4, criterion="taylor")
    assert recipe.stages[2] == Distill(epochs=2)


BAD = {
    "unknown key": ("prune.kep=0.5", r"recipe\.toml: prune\.kep: unknown key\. Did you mean 'keep'\? Known keys: keep, "),
    "unknown table": ("prun.keep=0.5", r"recipe\.toml: prun: unknown key\. Did you mean 'prune'\?"),
    "unknown data key": ("data.sorce=digits", r"data\.sorce: unknown key\. Did you mean 'source'\?"),
    "below range": ("prune.keep=-3", r"prune\.keep = -3\.0 is out of range; it must be between 0\.01 and 1\.0\."),
    "above range": ("seed=-1", r"seed = -1 is out of range; it must be between 0 and 4294967295\."),
    "not a number": ("train.learning_rate=nan", r"learning_rate = nan is not a finite number"),
    "wrong type": ("train.epochs=many", r"train\.epochs must be an integer, got 'many'"),
    "fraction for a count": ("train.epochs=2.5", r"train\.epochs must be an integer, got 2\.5"),
    "truth for a count": ("train.epochs=true", r"train\.epochs must be an integer, got True"),
    "unknown choice": ("prune.criterion=tailor", r"'tailor' is not known\. Did you mean 'taylor'\? Use one of: "),
    "table as value": ("train=3", r"train must be a table, got 3"),
    "unknown stage": ('stages=["trian"]', r"unknown stage 'trian'\. Did you mean 'train'\?"),
    "name with a slash": ("name=a/b", r"name = 'a/b' must be letters, digits"),
    "name that climbs": ('name=".."', r"name = '\.\.' must be letters, digits"),
    "huge seed": (
        "quantize.seed=18446744073709551616",
        r"quantize\.seed = 1844674.* must be between 0 and 1844674",
    ),
    "no value": ("prune.keep", r"--set prune\.keep: --set takes key=value with a TOML value, such as"),
    "no key": ("=3", r"--set =3: --set takes key=value"),
    "broken value": ("train.epochs=[1", r"--set train\.epochs=\[1: '\[1' is not a TOML value"),
    "number of 400 digits": (f"train.learning_rate={'9' * 400}", r"learning_rate must be a number, got 999"),
    "unknown data": ("data.source=digts", r"data\.source = 'digts' is not known\. Did you mean 'digits'\?"),
    "no data file": ("data.source=a/b.npz", r"a/b\.npz does not exist\. Give the path of an \.npz file with x_train, "),
    "unknown model": ("model.factory=digts_cnn", r"'digts_cnn' is not known\. Did you mean 'digits_cnn'\?"),
    "no checkpoint": ("model.checkpoint=w.pt", r"model\.checkpoint .*w\.pt does not exist\."),
    "unknown calibration": ("quantize.calibration=digt", r"calibration = 'digt' is not known\. Did you mean 'digits'\?"),
    "no last stage": ('stages=["train"]', r"the last must be 'measure'; 'train' gives a FloatModel"),
    "no teacher": ("distill.epochs=3", r"distill has no teacher"),
    "two lines": ("train.epochs=3\nname=2", r"such as .*, on one line\."),
}


@pytest.mark.parametrize("case", BAD)
def test_what_can_be_wrong(case: str, tmp_path: Path) -> None:
    override, message = BAD[case]
    with pytest.raises(RecipeError, match=message) as raised:
        load(write(tmp_path), [override])
    assert raised.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"recipe\.toml\.name is missing|name is missing"),
        ('name = "a"\n[model]\n', r"the table \[data\] is missing; .*digits\.toml shows one"),
        ('name = "a"\n[data]\nsource = "digits"\n', r"the table \[model\] is missing"),
        ("name = ", r"recipe\.toml is not valid TOML: "),
        ('name = "\udcff"', r"recipe\.toml is not valid TOML: "),
        ('name = "a"\nname = "b"', r"recipe\.toml is not valid TOML: "),
    ],
)
def test_what_can_be_wrong_with_the_file(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RecipeError, match=message):
        load(path)


def test_a_file_without_end_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"/dev/zero is larger than 1,000,000 bytes; this is not a settings file"):
        load(Path("/dev/zero"))


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"nope\.toml does not exist\. `pipeline init DIR` writes a recipe"):
        load(tmp_path / "nope.toml")
    with pytest.raises(RecipeError, match=r"can not be read: Is a directory"):
        load(tmp_path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("#" * 1_000_001)
    with pytest.raises(RecipeError, match="larger than 1,000,000 bytes"):
        load(path)


def test_resolved_recipe_reads_back_as_the_same(tmp_path: Path) -> None:
    text = (
        SMALL.replace('"digits"', '"data/my.npz"')
        + 'checkpoint = "w.npz"\narguments = {width = 8, "odd key" = [1, 2]}\n[prune]\n'
    )
    (tmp_path / "data").mkdir()
    for file in ("data/my.npz", "w.npz"):  # their content is not looked at here
        (tmp_path / file).touch()
    recipe = load(write(tmp_path, text), ['data.classes=["a\\"b", "ü"]', "data.mean=[1, 2.5]"])
    again = tmp_path / "elsewhere" / "recipe.toml"
    again.parent.mkdir()
    again.write_text(recipe.toml(()), encoding="utf-8")
    read = load(again)
    assert read.settings() == recipe.settings()
    assert read.stages == recipe.stages
    assert read.data.source == str(tmp_path / "data" / "my.npz")
    assert read.model.checkpoint == tmp_path / "w.npz"
    assert tomllib.loads(recipe.toml(()))["data"]["classes"] == ['a"b', "ü"]


ODD = ["2024-01-01", "2024-01-01T12:30:00", "12:30:00", "2024-01-01T12:30:00+01:00", "inf", "-inf", "nan", "[inf, 1.0]"]


@pytest.mark.parametrize("table", ["model", "data"])
@pytest.mark.parametrize("value", ODD)
def test_arguments_of_every_kind_that_toml_has_are_written_as_they_were(value: str, table: str, tmp_path: Path) -> None:
    text = SMALL.replace('"digits"', '"mine:arrays"')
    recipe = load(write(tmp_path, text), [f"{table}.arguments={{x = {value}}}"])
    read = load(write(tmp_path, recipe.toml(())))
    assert repr(read.settings()) == repr(recipe.settings())
    assert read.sha256() == recipe.sha256()


def test_identity_is_of_the_settings_not_of_the_place(tmp_path: Path) -> None:
    text = SMALL + 'checkpoint = "w.npz"\n'
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
        (folder / "w.npz").touch()
    first, second = (load(write(folder, text)) for folder in folders)
    assert first.sha256() == second.sha256()
    assert first.sha256() != load(write(folders[0], text), ["train.epochs=3"]).sha256()

"""A recipe names stages, data, a loss and a tracker of the user's as "module:Name": checked as the built-in ones are, and
whatever is wrong with them is said in words, with the place in the user's code. `test_extending.py` runs them all."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline import target
from pipeline.cli import app
from pipeline.errors import DeviceError, RecipeError
from pipeline.recipe import load
from pipeline.run import run
from pipeline.tracking.users import UsersTracker

NUMBER = count()  # modules of their own names: Python keeps what it imported
RECIPE = """
name = "own"
seed = 1
[data]
source = "{m}:digits"
arguments = {{ most = 150 }}
std = 8.0
[model]
factory = "digits_cnn"
[train]
epochs = 1
loss = "{m}:focal"
[tracking]
tracker = "{m}:Diary"
["{m}:Denoise"]
strength = 0.25
[codegen]
vectors = 8
[measure]
vectors = 8
"""
CODE = """
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal
import torch
from pipeline.artifacts import FloatModel
from pipeline.strict import limits

def digits(most):
    from sklearn.datasets import load_digits
    found = load_digits()
    x, y = found.images.astype("uint8"), found.target
    return {"x_train": x[:most], "y_train": y[:most], "x_test": x[most:most + 60], "y_test": y[most:most + 60]}

def focal(logits, labels):
    p = torch.log_softmax(logits, 1).gather(1, labels[:, None])[:, 0]
    return -((1 - p.exp()) ** 2 * p).mean()

@dataclass(frozen=True)
class Denoise:
    name: ClassVar[str] = "denoise"
    consumes: ClassVar[type] = FloatModel
    produces: ClassVar[type] = FloatModel
    strength: float = limits(0.5, low=0.0, high=1.0)
    mode: Literal["soft", "hard"] = "soft"

    def check(self, recipe, source, targets):
        if source is not None and self.strength == 1.0:
            raise ValueError(f"nothing is left of {source.data.name}")

    def run(self, artifact, ctx):
        import copy
        module = copy.deepcopy(artifact.module)
        with torch.no_grad():
            for p in module.parameters():
                p.mul_(1 - self.strength / 100)
        ctx.log.metrics({"strength": self.strength})
        return FloatModel(module, artifact.data)

class Log:
    def __init__(self, lines): self.lines = lines
    def metrics(self, values, kind="computed", step=None): self.lines.append(["metrics", kind, *values])
    def params(self, values): self.lines.append(["params", *values])
    def tags(self, values): self.lines.append(["tags", *values])
    def file(self, path, folder=""): self.lines.append(["file", path.name])
    def text(self, text, name): self.lines.append(["text", name])
    def dataset(self, name, sha256, source, profile): self.lines.append(["dataset", name, source])
    def files(self, folder, name): self.lines.append(["files", name])

class Diary:
    def __init__(self, experiment, run_name):
        self.run_id, self.page, self.lines = run_name, f"diary of {experiment}", []
        self.log = Log(self.lines)
    def __enter__(self): return self
    def __exit__(self, kind, error, trace):
        self.lines.append(["ended", kind.__name__ if kind else None])
        Path("diary.json").write_text(json.dumps(self.lines))
    @contextmanager
    def stage(self, name, params):
        self.lines.append(["stage", name, *params])
        yield Log(self.lines)
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe's folder with a module of its own; the current folder is another one."""
    (tmp_path / "place").mkdir()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    return tmp_path / "place"


def written(place: Path, code: str = CODE, recipe: str = RECIPE) -> tuple[str, Path]:
    """The module's name, and the recipe."""
    module = f"own_parts_{next(NUMBER)}"
    (place / f"{module}.py").write_text(code)
    (place / "r.toml").write_text(recipe.format(m=module))
    return module, place / "r.toml"


def invoke(*words: str) -> Any:
    return CliRunner().invoke(app, ["run", *words], env={"COLUMNS": "300"})


def test_what_is_read_is_what_was_written(place: Path) -> None:
    module, path = written(place)
    recipe = load(path, [f'"{module}:Denoise".strength=0.75'])
    assert [s.name for s in recipe.stages] == ["train", "denoise", "quantize", "codegen", "measure"]
    assert recipe.stages[1].strength == 0.75  # type: ignore[attr-defined]
    assert recipe.given["denoise"] == {"strength"}
    (place / "again.toml").write_text(recipe.toml([target.load("cortex-m4")]))
    again = load(place / "again.toml")
    assert (again.stages, again.tracking, again.data, again.references) == (
        recipe.stages, recipe.tracking, recipe.data, recipe.references,
    )  # fmt: skip


ORDER = {
    "where it fits last": ([], "train denoise quantize codegen measure"),
    "behind the optional ones": (["prune={}", "distill={}"], "train prune distill denoise quantize codegen measure"),
    "after one": (["prune={}", '"{m}:Denoise".after=train'], "train denoise prune quantize codegen measure"),
    "listed": (
        ['stages=["train", "{m}:Denoise", "{m}:Denoise", "quantize", "codegen", "measure"]'],
        "train denoise denoise quantize codegen measure",
    ),
    "left out": (['"{m}:Denoise"=false'], "train quantize codegen measure"),
}


@pytest.mark.parametrize("case", ORDER)
def test_its_place(case: str, place: Path) -> None:
    settings, order = ORDER[case]
    module, path = written(place)
    recipe = load(path, [s.replace("{m}", module) for s in settings])
    assert " ".join(s.name for s in recipe.stages) == order


WRONG_SETTING = {
    "unknown key": ('"{m}:Denoise".strenth=0.1', r"own_parts_\d+:Denoise\.strenth: unknown key\. Did you mean 'strength'\?"),
    "out of range": ('"{m}:Denoise".strength=2', r"Denoise\.strength = 2\.0 is out of range; it must be between 0\.0 and "),
    "unknown choice": ('"{m}:Denoise".mode=sofd', r"Denoise\.mode = 'sofd' is not known\. Did you mean 'soft'\?"),
    "no table": ('"{m}:Denoise"=3', r"own_parts_\d+:Denoise must be a table, got 3"),
    "no such module": ('"nowhere_at_all:Stage".a=1', r"stage 'nowhere_at_all:Stage': no module 'nowhere_at_all'; looked i"),
    "no such class": ('"{m}:Denois"={{}}', r"has no class 'Denois'\. Did you mean 'Denoise'\? It has: "),
    "a function": ('"{m}:focal"={{}}', r"':?.*:focal' is no stage: it is a function\. A stage is a frozen dataclass with"),
    "no stage": ('"{m}:Log"={{}}', r":Log' is no stage: it has no `name`\. A stage is"),
    "after what is not there": ('"{m}:Denoise".after=prun', r"Denoise\.after = 'prun' is no stage of this recipe\. .*train"),
    "not listed": ('stages=["train","quantize","codegen","measure"]', r"Denoise: `stages` does not list it"),
    "unknown loss": ("train.loss=tasks", r"train\.loss = 'tasks' is not known\. Did you mean 'task"),
    "smoothing": ("train.label_smoothing=0.1", r"train\.label_smoothing is of no use with loss = 'own_parts"),
    "unknown tracker": ("tracking.tracker=mlfow", r"tracker = 'mlfow' is not known\. Did you mean 'mlflow'\?"),
    "unknown tracking key": ("tracking.uri=x", r"tracking\.uri: unknown key"),
    "arguments of no use": ("data.source=digits", r"data\.arguments is of no use with source = 'digits'"),
    "hash of no use": ("data.sha256=ab", r"data\.sha256 is of no use with source = 'own_parts"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_SETTING)
def test_a_wrong_setting_is_refused_when_the_recipe_is_read(case: str, place: Path) -> None:
    setting, message = WRONG_SETTING[case]
    module, path = written(place)
    with pytest.raises(RecipeError, match=message):
        load(path, [setting.replace("{m}", module).replace("{{}}", "{}")])


WRONG_CODE = {
    "broken import": ("import json\n", "import json\n1 / 0\n", r"importing own_parts_\d+ failed: ZeroDivisionError.*line "),
    "not frozen": ("frozen=True", "frozen=False", r"Denoise' is no stage: it is no frozen dataclass"),
    "a built-in's name": ('"denoise"', '"prune"', r"its name is 'prune', and a built-in stage has it\. Give the class ano"),
    "a name that climbs": ('"denoise"', '"../x"', r"its name '\.\./x' must be lower-case letters"),
    "no artifact": ("consumes: ClassVar[type] = FloatModel", "consumes: ClassVar[type] = 3", r"must be artifact classes"),
    "fits nowhere": (
        "produces: ClassVar[type] = FloatModel", "produces: ClassVar[type] = dict",
        r"Denoise takes a FloatModel and gives a dict, which fits nowhere in train, quantize, codegen, measure",
    ),
    "odd annotation": ("mode: Literal", "mode: Litteral", r"can not be made: NameError: name 'Litteral'|importing .* Name"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG_CODE)
def test_what_is_wrong_with_a_stage_is_said_when_the_recipe_is_read(case: str, place: Path) -> None:
    before, after, message = WRONG_CODE[case]
    assert before in CODE
    _, path = written(place, CODE.replace(before, after, 1))
    with pytest.raises(RecipeError, match=message):
        load(path)


M4 = target.load("cortex-m4")
FAILS = {
    "data: raises": ('x, y = found', '1 / 0; x, y = found', r"data\.source '.*:digits' failed .*ZeroDivisionError.*line "),
    "data: other": ('return {"x_train"', 'return 3; {"x_train"', r"must return a dict of the arrays x_train, .*; got a int"),
    "data: lacks one": ('"y_test": y', '"y_tes": y', r"must return 'y_test' as a numpy array; it has x_train, y_train, x_"),
    "data: a list": ('"y_test": y[most:most + 60]', '"y_test": [1]', r"must return 'y_test' as a numpy array; it is a list"),
    "data: arguments": ("def digits(most)", "def digits(least)", r"unexpected keyword argument 'most'"),
    "loss: raises": ("p = torch.log", "1 / 0; p = torch.log", r"train\.loss '.*:focal' failed for outputs \(2, 10\) .*line"),
    "loss: no scalar": (" * p).mean()", " * p)", r"must return a scalar tensor.*; got a tensor of shape \(2,\)"),
    "loss: a number": (" * p).mean()", " * p).mean().item()", r"must return a scalar tensor.*; got a float"),
    "loss: detached": (" * p).mean()", " * p).mean().detach()", r"does not depend on the outputs: look for detach\(\)"),
    "loss: infinite": (" * p).mean()", " * p).mean() / 0", r"for two of the data's images is no finite number"),
    "stage: check": ("self.strength == 1.0", "self.strength == 0.25", r"check\(\) of stage '.*:Denoise' failed: ValueErro"),
    "stage: run": ("import copy\n", "import copi\n", r"run\(\) of stage '.*:Denoise' failed: ModuleNotFoundError.*line \d"),
    "stage: gives other": ("return FloatModel(module", "return 3; (module", r"'denoise' gave a int, but says that it prod"),
    "tracker: raises": (
        "def params(self, values): ", "def params(self, values): 1 / 0; ", r"failed in params\(\): ZeroDivisionError.*line "
    ),
    "tracker: its log": ("def files(", "def filles(", r"is no tracker: its log has no `files`\. pipeline/tracking/tracker"),
    "tracker: lacks one": ("def stage(", "def stages(", r"Diary' is no tracker: it has no `stage`"),
    "tracker: __init__": ("def __init__(self, experiment, ", "def __init__(self, ", r"Diary' failed for \('own', .*TypeEr"),
}  # fmt: skip


@pytest.mark.cross
@pytest.mark.qemu
@pytest.mark.parametrize("case", FAILS)
def test_what_fails_in_a_run_is_said_with_its_place(case: str, place: Path) -> None:
    before, after, message = FAILS[case]
    assert before in CODE
    _, path = written(place, CODE.replace(before, after, 1))
    with pytest.raises(RecipeError, match=message):
        run(load(path), M4)


@pytest.mark.cross
@pytest.mark.qemu
def test_the_users_tracker_is_told_of_a_failure(place: Path) -> None:
    _, path = written(place, CODE.replace("import copy\n", "import copi\n"))
    done = invoke(str(path), "-t", "cortex-m4")
    assert done.exit_code == 2
    assert "Traceback" not in done.output
    assert json.loads(Path("diary.json").read_text())[-1] == ["ended", "RecipeError"]


TRACKER = """
class Log:
    metrics = params = tags = file = text = dataset = files = lambda self, *a, **k: None

class Part:
    def __enter__(self): return Log()
    def __exit__(self, kind, error, trace): raise OSError("disk full")

class Full(Part):
    run_id = page = "x"
    log = Log()
    def __init__(self, experiment, run_name): pass
    def stage(self, name, params): return Part()
"""


@pytest.mark.parametrize("error", [DeviceError("the device is gone"), KeyboardInterrupt()], ids=["failure", "ctrl-c"])
def test_a_tracker_that_fails_at_the_end_hides_no_other_error(error: BaseException, tmp_path: Path) -> None:
    module = f"full{next(NUMBER)}"
    (tmp_path / f"{module}.py").write_text(TRACKER)
    tracker = UsersTracker(f"{module}:Full", (tmp_path,), "e", "r")
    with pytest.raises(type(error)) as e, tracker, tracker.stage("train", {}):
        raise error
    assert e.value is error
    stage, whole = error.__notes__
    assert stage.startswith(f"tracking.tracker '{module}:Full' failed when stage 'train' ended: OSError: disk full (")
    assert whole.startswith(f"tracking.tracker '{module}:Full' failed when the run ended: OSError: disk full (")
    with pytest.raises(RecipeError, match="failed when the run ended"), tracker:
        pass

"""report.json, the terminal's table, the plots and the page, all from one finished run."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from example_graphs import activation, small_cnn, two_inputs
from example_target import lowered
from rich.console import Console
from scored import scored

from pipeline.artifacts import Package
from pipeline.evidence import BitExact
from pipeline.ir import Graph
from pipeline.ops.split import Split
from pipeline.report import plots, table
from pipeline.report.figures import KINDS, Figure, Report, StageResult, as_json, layers, show
from pipeline.report.page import _cards
from pipeline.report.table import print_summary, rows
from pipeline.report.warnings import warnings
from pipeline.report.write import outcome_text, write_report
from pipeline.tasks.regression import Regression

HALVES = {"x": activation(1, 3, 4, 6), "a": activation(1, 3, 4, 3), "b": activation(1, 3, 4, 3)}
SPLIT = Graph("split", HALVES, (Split(inputs=("x",), outputs=("a", "b"), axis=3),), ("x",), ("a", "b")).checked()


def test_json_has_exactly_the_documented_keys(report: Report) -> None:
    read = json.loads(outcome_text([report], []))
    assert list(read) == [
        "format",
        "target",
        "run_id",
        "stages",
        "task",
        "headline",
        "accuracy",
        "bit_exact",
        "measurement",
        "kinds",
    ]
    assert [s["name"] for s in read["stages"]] == ["train", "prune", "distill", "quantize", "codegen", "measure"]
    assert read["stages"][0]["metrics"]["macs"] == 412_544
    assert read["accuracy"] == {"float": 0.9806, "pruned": 0.9722, "distilled": 0.975, "int8": 0.9694, "device": 0.9694}
    assert read["bit_exact"] == {"vectors": 360, "equal": 360, "oracles": {"tflm": None, "host_c": 360, "device": 360}}
    assert read["measurement"] == {
        "clock": "simulated",
        "instructions": 121_003,
        "cycles": 148_140,
        "latency_us_median": 1234.5,
        "energy_uj": 53.8,
        "energy_kind": "estimated",
        "ram_bytes": 9216,
        "flash_bytes": 23456,
    }


def test_left_out_stages_are_null_in_json(report: Report) -> None:
    short = replace(report, stages=tuple(s for s in report.stages if s.name not in ("prune", "distill")))
    assert short.json()["accuracy"] == {"float": 0.9806, "pruned": None, "distilled": None, "int8": 0.9694, "device": 0.9694}


def test_of_a_repeated_stage_the_last_one_counts(report: Report) -> None:
    def stage(name: str, **values: float) -> StageResult:
        return StageResult(name, tuple(Figure(n, v, "computed") for n, v in values.items()), 1.0)

    train, prune, *others = report.stages
    twice = replace(report, stages=(train, prune, stage("prune", accuracy=0.92), *others))
    assert twice.headlines() == {**report.headlines(), "pruned": 0.92}
    numbers = (stage("train", r2=0.5, mae=9.0), stage("prune", r2=0.4, mae=10.0), stage("prune", r2=0.3, mae=11.0))
    task = Regression(mean=(0.0,), std=(1.0,), names=("y",))
    assert replace(report, stages=numbers, measured=None, task=task).json()["scores"]["pruned"] == {"r2": 0.3, "mae": 11.0}


def test_a_figure_that_is_no_number_is_null_in_json(report: Report) -> None:
    odd = replace(report, stages=(StageResult("train", (Figure("loss", float("nan"), "computed"),), 1.0),))
    assert json.loads(as_json(odd.json()))["stages"][0]["metrics"] == {"loss": None}


@pytest.mark.parametrize("width", [50, 80, 120])
def test_table_is_never_cut(report: Report, width: int) -> None:
    text = printed(report, width)
    table = text[: text.index("run folder")]
    assert max(map(len, table.splitlines())) <= width
    assert "…" not in text
    for cell in ("98.1 %", "412,544", "5,402", "22.9 KiB", "9 KiB", "1.23 ms", "53.8 µJ", "121,003", "148,140"):
        assert cell in text
    for place in (report.folder, report.firmware, report.page):
        assert str(place) in text  # on one line, so that it can be copied


def test_no_row_mixes_kinds(report: Report) -> None:
    found = list(rows(report))
    assert [kind for kind, _, _ in found] == sorted((kind for kind, _, _ in found), key=list(KINDS).index)
    accuracy = {kind: cells for kind, label, cells in found if label == "accuracy"}
    assert accuracy["computed"][-1] == ""
    assert accuracy["simulated"] == ["", "", "", "", "", "96.9 %"]


def test_figures_of_fewer_images_say_so(report: Report) -> None:
    assert "images replayed" not in printed(report, 200)
    exact = BitExact(100, 100, {"device": 100})
    text = printed(replace(report, measured=replace(report.measured, bit_exact=exact)), 200)
    assert "accuracy of the 100 images replayed, of 355" in text


def test_a_difference_is_said_aloud(report: Report) -> None:
    exact = BitExact(360, 359, {"tflm": 360, "host_c": 360, "device": 359})
    text = printed(replace(report, measured=replace(report.measured, bit_exact=exact)), 120)
    assert "NOT bit-exact  359 of 360 vectors: TFLite Micro 360, generated C on the host 360, device 359" in text


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("accuracy", 0.97222, "97.2 %"),
        ("recall_7", 1.0, "100.0 %"),
        ("flash_bytes", 812, "812 B"),
        ("ram_bytes", 1_008, "1,008 B"),
        ("ram_bytes", 262_144, "256 KiB"),
        ("ram_bytes", 55_008, "53.7 KiB"),
        ("flash_bytes", 1_023_000, "999 KiB"),
        ("flash_bytes", 1_023_500, "0.976 MiB"),
        ("flash_bytes", 2_097_152, "2 MiB"),
        ("latency_us_median", 999.6, "1 ms"),
        ("latency_us_median", 12.5, "12.5 µs"),
        ("latency_us_median", 104_000, "104 ms"),
        ("energy_uj", 5496, "5.5 mJ"),
        ("macs", 12_501_632, "12.5 M"),
        ("macs", 412_544, "412,544"),
    ],
)
def test_figures_carry_their_unit(name: str, value: float, text: str) -> None:
    assert show(name, value) == text


def test_what_should_not_be_overlooked_is_a_warning(report: Report, tmp_path: Path) -> None:
    assert warnings(report) == []
    bad = (
        scored("train", {"cat": 0.9, "dog": 0.9}, accuracy=0.9),
        scored("quantize", {"cat": 0.24, "dog": 0.0}, accuracy=0.12),
    )
    worse = replace(report, stages=bad, measured=replace(report.measured, scores={"accuracy": 0.12}))
    guessing, unseen, lost = warnings(worse)
    assert guessing.startswith("the model hardly beats guessing among 10 classes")
    assert unseen == "quantize: class 'dog' is never recognised; see the recall by class in the report."
    assert lost.startswith("int8 costs 78.0 points of accuracy; try --set quantize.mode=qat, or more calibration images.")
    assert guessing in " ".join(printed(worse, 300).split())
    stayed = replace(report, stages=(StageResult("distill", (Figure("best_epoch", 0.0, "computed"),), 1.0),))
    (said,) = [w for w in warnings(stayed) if "came in" in w]
    assert said.startswith(
        "distill: no epoch was better on the validation images than the weights that came in, so those stay"
    )
    write_report(worse, tmp_path)
    assert guessing in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("before", "lost"),
    [
        ((("train", 0.95), ("distill", 0.94), ("prune", 0.90)), ""),  # pruned after it was distilled
        ((("train", 0.95), ("prune", 0.85), ("prune", 0.90)), ""),
        ((("train", 0.85), ("tune", 0.95)), "6.0 points"),  # a stage of the user's own
        ((("train", 0.95), ("prune", 0.85), ("distill", 0.95), ("swap", None)), "6.0 points"),
        ((), ""),  # a run that goes on from what was saved before
    ],
)
def test_int8_is_held_against_what_was_quantized(
    before: tuple[tuple[str, float | None], ...], lost: str, report: Report
) -> None:
    def stage(name: str, accuracy: float | None) -> StageResult:
        return StageResult(name, () if accuracy is None else (Figure("accuracy", accuracy, "computed"),), 1.0)

    stages = [*(stage(name, accuracy) for name, accuracy in before), stage("quantize", 0.89)]
    found = warnings(replace(report, stages=(*stages, *report.stages[4:])))
    assert [w for w in found if w.startswith("int8 costs")] == (
        [f"int8 costs {lost} of accuracy; try --set quantize.mode=qat, or more calibration images."] if lost else []
    )


def test_layers_of_the_graph(report: Report) -> None:
    first, second = layers(report.measured.package)
    assert (first.index, first.name, second.index) == (0, "y0", 1)
    assert (first.op, first.constant_bytes, first.macs, first.output_bytes) == ("conv2d", 36 + 4 * 5, 36 * 36, 36 * 4)
    assert (second.constant_bytes, second.macs, second.output_bytes) == (360 + 10 * 5, 16 * 360, 160)


@pytest.mark.parametrize("graph", [small_cnn(), two_inputs(), SPLIT], ids=["small_cnn", "two_inputs", "split"])
def test_layers_are_those_of_the_manifest(graph: Graph, report: Report) -> None:
    package = report.measured.package
    stored = lowered(graph).sizes
    constants = tuple(x.constant_bytes for x in stored)
    shown = layers(replace(package, model=replace(package.model, graph=graph), layer_constant_bytes=constants))
    assert [(x.index, x.name, x.op, x.constant_bytes, x.macs, x.output_bytes) for x in shown] == [
        (x.index, x.name, x.kind, x.constant_bytes, x.macs, x.output_bytes) for x in stored
    ]


def test_files_for_an_engine_hold_weights_without_tables(report: Report, tmp_path: Path) -> None:
    package = Package(folder=tmp_path, model=report.measured.package.model, flash_bytes=1, sha256="", model_id="")
    assert [x.constant_bytes for x in layers(package)] == [36, 360]


def test_a_plot_panel_shows_one_kind(report: Report) -> None:
    canvas = plots.accuracy(report)
    assert canvas is not None
    assert [ax.get_title(loc="left") for ax in canvas.axes] == ["computed", "simulated"]
    computed, simulated = ([list(line.get_ydata()) for line in ax.lines] for ax in canvas.axes)
    assert computed == [[0.9806, 0.9722, 0.975, 0.9694], [0.9444, 0.9167, 0.9167, 0.9143]]
    assert simulated == [[0.9694], [0.9143]]
    recall = plots.recall(report)
    assert recall is not None
    assert [ax.get_title(loc="left") for ax in recall.axes] == ["recall (computed)", "recall (simulated)"]


def test_of_many_classes_the_worst_are_shown(report: Report) -> None:
    figures = tuple(Figure(f"recall_class {i}", i / 100, "computed") for i in range(100))
    canvas = plots.recall(replace(report, stages=(StageResult("quantize", figures, 1.0),)))
    assert canvas is not None
    labels = [t.get_text() for t in canvas.axes[0].get_yticklabels()]
    assert labels == [f"class {i}" for i in range(24)]
    assert canvas.get_supxlabel() == "the 24 worst classes; 76 more are at least as good"


def test_files_are_written_twice_the_same(report: Report, tmp_path: Path) -> None:
    texts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        written = write_report(report, tmp_path / name)
        assert {p.name for p in written} == {
            "report.json", "report.html", "recipe.toml", "accuracy.svg", "cost.svg", "layers.svg", "recall.svg",
        }  # fmt: skip
        texts.append([p.read_bytes() for p in written])
    assert texts[0] == texts[1]


class _Page(HTMLParser):
    """Counts elements, collects text, and remembers what would be fetched from elsewhere."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.counts: dict[str, int] = {}
        self.fetched: list[str] = []
        self.words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag in ("script", "link", "img", "iframe"):
            self.fetched.append(tag)
        self.fetched += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href") and not (v or "").startswith("#")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_page_needs_nothing_else(report: Report, tmp_path: Path) -> None:
    write_report(report, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = _Page(html)
    assert page.fetched == []
    assert page.counts["svg"] == 4
    assert "url(http" not in html
    text = re.sub(r"\s+", " ", " ".join(page.words))
    for said in ("96.9 %", "22.9 KiB", "148,140 (135,000 to 161,000)", "without flash wait states", "estimated", "conv2d"):
        assert said in text
    assert ": by a model. They are never mixed in one row or plot panel." in text


def test_only_figures_of_train_are_called_float(report: Report) -> None:
    """A run that goes on from a saved artifact has no stage `train`, and its first figures are none of the float model."""

    def details(run: Report) -> dict[str, str]:
        return {label: detail for label, _, detail, _ in _cards(run)}

    whole = details(report)
    assert whole["accuracy on the device"] == "float: 98.1 % computed"
    assert whole["MACs"] == "48 % of the float model"
    for first in ("prune", "quantize", "measure"):
        begin = [s.name for s in report.stages].index(first)
        rest = details(replace(report, stages=report.stages[begin:]))
        assert rest["accuracy on the device"] == ""
        assert rest.get("MACs", "") == ""


def test_the_list_of_figures_is_named_for_what_it_has(report: Report, tmp_path: Path) -> None:
    write_report(replace(report, stages=(scored("quantize", {"cat": 0.9}),)), tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<summary>Every figure of every stage but recall by class</summary>" in html
    assert "worst_class_recall" in html
    assert "recall_cat" not in html
    write_report(replace(report, stages=(StageResult("train", (Figure("macs", 9.0, "computed"),), 1.0),)), tmp_path)
    assert "<summary>Every figure of every stage</summary>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_it_is_said_from_where_mlflow_shows_the_run(report: Report) -> None:
    assert "MLflow         in this folder: pipeline ui, then http://127.0.0.1:5000/" in printed(report, 80)
    served = replace(report, page="https://mlflow.example/#/experiments/1/runs/2")
    assert "MLflow         https://mlflow.example/" in printed(served, 80)


def test_the_arenas_picture_is_in_the_page(report: Report, tmp_path: Path) -> None:
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware" / "arena.svg").write_text('<?xml version="1.0"?>\n<svg><text>Arena of digits</text></svg>')
    write_report(report, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<svg><text>Arena of digits</text></svg>" in html
    assert "<?xml" not in html


def test_names_in_the_page_are_escaped(report: Report, tmp_path: Path) -> None:
    sly = replace(report, recipe_toml='name = "<script>alert(1)</script>"')
    write_report(sly, tmp_path)
    assert "<script" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def printed(report: Report, width: int) -> str:
    out = io.StringIO()
    print_summary(report, Console(file=out, width=width))
    return out.getvalue()


def test_an_accuracy_has_its_interval_and_what_was_kept_its_reason() -> None:
    accuracy = {"accuracy": 0.986, "accuracy_low": 0.9675, "accuracy_high": 0.994, "images": 355.0}
    kept = {"macs_kept": 0.326, "macs_asked": 0.4, "channels_multiple": 4.0}

    def stage(name: str, values: dict[str, float]) -> StageResult:
        return StageResult(name, tuple(Figure(k, v, "computed") for k, v in values.items()), 1.0)

    train, prune = stage("train", accuracy), stage("prune", {**accuracy, **kept})
    assert table._interval((train, stage("codegen", {})), "computed") == ("95 % of 355", ["96.8-99.4", ""])
    assert table._interval((train,), "simulated") is None
    uncertain = stage("augment", {"images": 40.0})  # a user's stage, whose images have nothing to do with an accuracy
    assert table._interval((train, uncertain), "computed") == ("95 % of 355", ["96.8-99.4", ""])
    assert table._interval((uncertain, stage("half", {"images": 9.0, "accuracy_low": 0.9})), "computed") is None
    assert table._interval((train, stage("measure", {**accuracy, "images": 5.0})), "computed")[0] == "95 % interval"
    assert table.kept_line((train, prune)) == "kept 33 % of the MACs (asked 40 %; channels in fours)"
    assert table.kept_line((stage("prune", {**kept, "macs_kept": 0.4}),)) == "kept 40 % of the MACs"
    assert table.kept_line((train,)) == ""

"""The page that `make bench PAGE=docs/benchmarks.md` writes: the same from the same figures, without a date."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench_chart import chart_svg
from bench_rows import Baseline, Row, Subject, Unfit, cells, millions

from pipeline.display import byte_size
from pipeline.host import build, tools
from pipeline.target import Target

COLUMNS = ("model", "optimize", "instructions", "per MAC", "cycles", "band", "model flash", "model RAM", "flash", "RAM")
CONDITIONS = """\
One inference of a random input, the median of five, once all answers to 16 random inputs were found equal, byte for byte, to
those of {oracles}. Nothing here was measured on a physical board.

- Made with {versions}; the model's code at `{model_flags}`.
- Instructions are counted exactly, in QEMU (simulated). Cycles are estimated from the core's instruction timing table
  without flash wait states (simulated): a middle value and its band. Tables are published for the Cortex-M3 and M4 alone;
  for the others the M4's is scaled by Arm's CoreMark/MHz, and the band is wide.
- Model flash: constants and code of kernels and layers. Model RAM: the arena, which holds activations, scratch, inputs and
  outputs. Flash and RAM: the whole linked image, with start-up, protocol, upload buffer and stack reserve (computed).
- `optimize`: the fewest estimated cycles that the target's flash has room for (speed), the least flash (size), or a percent
  of one for a percent of the other (balanced). The target's memory is the only limit.
- MACs: multiply-accumulates in the file, and those left once channels that can not change any output are removed, which
  "per MAC" counts."""
LAYERS = """\
Each layer for the same input, counted in a build with a mark between two layers: it costs two instructions, and the compiler
moves no code across it, so the sum is not quite the inference's count. A test in `tests/counts` holds these figures.
"""


@dataclass(frozen=True, slots=True)
class Bench:
    """All that one `make bench` found; `asked` are the targets as the command line named them, `rows` in the order of
    `targets`, within it of `subjects`, within it of `modes`."""

    subjects: tuple[Subject, ...]
    asked: tuple[str, ...]
    targets: tuple[Target, ...]
    modes: tuple[str, ...]
    rows: tuple[Row | Unfit, ...]
    baseline: Baseline

    def on(self, target: str) -> list[Row | Unfit]:
        return [row for row in self.rows if row.target == target]

    def measured(self) -> list[Row]:
        return [row for row in self.rows if isinstance(row, Row)]


def write_page(path: Path, bench: Bench) -> None:
    """The page, and its chart beside it."""
    chart = path.with_suffix(".svg")
    versions = [tools.find(tool).said for tool in (tools.CROSS_COMPILER, tools.QEMU)]
    chart.write_text(chart_svg(bench.rows, [t.name for t in bench.targets], bench.baseline), encoding="utf-8")
    path.write_text("\n".join(page(bench, path, versions)) + "\n", encoding="utf-8")


def page(bench: Bench, path: Path, versions: Sequence[str]) -> Iterator[str]:
    """The lines of the page."""
    yield "# Benchmarks"
    yield ""
    yield f"Written by `{command(bench, path)}`; not edited by hand."
    yield ""
    tflm = all("tflm" in row.oracles for row in bench.measured())
    oracles = "the integer reference" + (" and of TensorFlow Lite Micro" if tflm else "")
    yield CONDITIONS.format(oracles=oracles, versions=" and ".join(versions), model_flags=build.MODEL_OPTIMISE)
    yield ""
    yield f"![Instructions of one inference, a panel a model]({path.with_suffix('.svg').name})"
    yield ""
    yield from _models(bench)
    yield from _against(bench)
    for target in bench.targets:
        yield from _core(bench, target)
    yield from _layers(bench)


def command(bench: Bench, path: Path) -> str:
    """What makes this page; of a model's file the name alone, as another's is somewhere else."""
    files = [s.file for s in bench.subjects if s.file]
    known = all(bench.baseline.of(s.sha256) for s in bench.subjects)
    models = "path/to/mlperf/*.tflite" if known else " ".join(file.name for file in files)
    said = {"MODELS": models, "TARGETS": " ".join(bench.asked), "OPTIMIZE": " ".join(bench.modes)}
    said["PAGE"] = path.name if path.is_absolute() else path.as_posix()
    return " ".join(["make bench", *(f'{k}="{v}"' if set(v) & set(" *") else f"{k}={v}" for k, v in said.items() if v)])


def _models(bench: Bench) -> Iterator[str]:
    left = {row.subject: row.macs for row in bench.measured()}
    rows = [
        (
            s.name,
            f"{s.macs:,}" if s.file else "",
            f"{left[s]:,}" if s in left else "",
            f"`{s.file.name}`" if s.file else "built-in, untrained",
            f"`{s.sha256}`" if s.file else "",
        )
        for s in bench.subjects
    ]
    yield "## Models"
    yield ""
    yield from _table(("model", "MACs", "left", "file", "sha256"), rows, "lrrll")
    yield ""


def _against(bench: Bench) -> Iterator[str]:
    """The baseline's figures and how many times ours they are, on its core."""
    base = bench.baseline
    found = [(peer, row) for row in bench.measured() if row.ratio and (peer := base.of(row.subject.sha256))]
    if not found:
        return
    core = found[0][1].target
    yield f"## Against {base.engine} on {core}"
    yield ""
    yield f"{base.conditions}."
    yield "Beside each of its figures stands how many times ours that is, for the very same file."
    yield ""
    head = ("model", "optimize", "instructions", "times ours", "cycles", "times ours", "arena", "times ours")
    rows = [
        (
            peer.name,
            row.optimize,
            f"{peer.instructions:,}",
            f"**{row.ratio:.2f}**",
            millions(peer.cycles),
            f"{peer.cycles / row.cycles:.2f}",
            byte_size(peer.arena_bytes),
            f"{peer.arena_bytes / row.arena_bytes:.2f}",
        )
        for peer, row in found
    ]
    yield from _table(head, rows, "llrrrrrr")
    yield ""


def _core(bench: Bench, target: Target) -> Iterator[str]:
    rows = bench.on(target.name)
    ratios = any(isinstance(row, Row) and row.ratio for row in rows)
    columns = (*COLUMNS, "ratio") if ratios else COLUMNS
    yield f"## {target.name}"
    yield ""
    yield f"{target.description}."
    if ratios:
        yield f"Ratio: the instructions of {bench.baseline.engine} on this core, divided by these."
    yield ""
    yield from _table(columns, [cells(row, columns) for row in rows], "ll" + "r" * (len(columns) - 2))
    yield ""
    unfit = [row for row in rows if isinstance(row, Unfit)]
    for why in dict.fromkeys(row.why for row in unfit):
        modes = ", ".join(row.optimize for row in unfit if row.why == why)
        yield f"- {why} ({modes})."
    if unfit:
        yield ""


def _layers(bench: Bench) -> Iterator[str]:
    rows = [row for row in bench.measured() if row.layers]
    if not rows:
        return
    yield "## Where the instructions go"
    yield ""
    yield LAYERS
    for row in rows:
        total = sum(layer.instructions for layer in row.layers)
        yield f"### {row.subject.name} on {row.target}, {row.optimize}"
        yield ""
        lines = [
            (
                f"{i}",
                layer.kind,
                layer.shape,
                f"`{layer.variant}`",
                f"{layer.instructions:,}",
                _percent(layer.instructions, total),
            )
            for i, layer in enumerate(row.layers)
        ]
        yield from _table(
            ("layer", "operator", "output", "variant", "instructions", "share"),
            [*lines, ("", "sum", "", "", f"{total:,}", "")],
            "rlllrr",
        )
        yield ""


def _percent(part: int, total: int) -> str:
    return f"{100 * part / total:.1f} %"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> Iterator[str]:
    """Markdown; `align` has a letter a column, l or r."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join('--:' if a == 'r' else '---' for a in align)}|"
    for row in rows:
        yield f"| {' | '.join(row)} |"

"""What inference costs on emulated boards, one row a network: `make bench`. Or of your own models, on several cores:

make bench MODELS="a.tflite b.tflite" TARGETS="cortex-m4 cortex-m7" OPTIMIZE="speed size" PAGE=docs/benchmarks.md

Without models, the built-in convolutional networks are quantized as they are, untrained: sizes are exact, and instructions
depend on the weights' values by far less than a percent. Instructions are counted exactly, cycles estimated from the core's
timing table.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from bench_layers import layer_costs
from bench_page import Bench, write_page
from bench_rows import Baseline, Row, Subject, Unfit, cells
from unrecorded import Unrecorded, silent

import pipeline
from pipeline import target as targets
from pipeline.artifacts import Firmware, QuantizedModel
from pipeline.compile import import_model
from pipeline.devices.resolve import resolve_device
from pipeline.errors import GraphError, PipelineError, RecipeError, TargetError
from pipeline.lowering.budget import Budget, budget_of
from pipeline.stage import Context
from pipeline.target import Target

NETWORKS = {  # raw images (H, W, C) and classes, those of the data sets they were designed for
    "digits_cnn": ((8, 8, 1), 10),
    "resnet8": ((32, 32, 3), 10),
    "ds_cnn": ((49, 10, 1), 12),
    "mobilenet_v1_025": ((96, 96, 3), 2),
}
IMAGES_PER_CLASS = 8
WIDTHS = {
    "model": 24, "optimize": 10, "MACs": 12, "instructions": 14, "per MAC": 9, "cycles": 10, "band": 20, "latency": 10,
    "model flash": 12, "model RAM": 11, "flash": 10, "RAM": 10, "ratio": 7, "bit-exact": 11,
}  # fmt: skip
ALL = "all"


def main() -> int:
    arguments = _parser().parse_args()
    try:
        baseline = Baseline.read()
        subjects = _subjects(arguments.models, baseline)
        cores = _cores(arguments.targets)
        modes = tuple(dict.fromkeys(arguments.optimize))
        budgets = [budget_of(mode, None, None) for mode in modes]
        page: Path | None = arguments.page
        if page is not None and not page.parent.is_dir():
            raise RecipeError(f"--page {page}: {page.parent} is no folder; make it first, or name another.")
        rows = list(_measured(subjects, cores, budgets, baseline, page is not None, arguments.layers))
    except PipelineError as e:
        print(f"Error: {e}", file=sys.stderr)
        return e.exit_code
    if page is not None:
        write_page(page, Bench(subjects, tuple(arguments.targets), tuple(cores), modes, tuple(rows), baseline))
        print(f"\n{page} and {page.with_suffix('.svg')}")
    return 0 if any(isinstance(row, Row) for row in rows) else TargetError.exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", help="int8 .tflite or .onnx files")
    parser.add_argument(
        "--targets", nargs="+", default=["cortex-m4"], metavar="TARGET", help=f"`{ALL}`: each Cortex-M that runs in QEMU"
    )
    parser.add_argument("--optimize", nargs="+", default=["speed"], metavar="MODE", help="speed, size, balanced")
    parser.add_argument("--layers", action="store_true", help="count each layer, too")
    parser.add_argument("--page", type=Path, metavar="FILE.md", help="write a page of it, and its chart beside it")
    return parser


def _subjects(models: Sequence[Path], baseline: Baseline) -> tuple[Subject, ...]:
    """The files, each by the name that the baseline has for it, or else its own; without files the built-in networks."""
    missing = next((path for path in models if not path.is_file()), None)
    if missing:
        raise GraphError(f"model {missing} is no file; give paths of .tflite or .onnx files, or none at all.")
    found = [_subject(path, baseline) for path in models] or [Subject(name) for name in NETWORKS]
    twice = next((s.name for i, s in enumerate(found) if s.name in [t.name for t in found[:i]]), None)
    if twice:
        raise RecipeError(f"two models are called {twice}: rows and layers are told apart by that. Rename a file.")
    return tuple(found)


def _subject(path: Path, baseline: Baseline) -> Subject:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    peer = baseline.of(sha256)
    return Subject(peer.name if peer else path.stem, path, sha256, import_model(path).graph.macs())


def _cores(names: Sequence[str]) -> list[Target]:
    """In the order in which they are named; of all of them the default first, then cortex-m3, cortex-m7, cortex-m33..."""
    if ALL in names:
        loaded = [targets.load(name) for name in targets.names()]
        emulated = [t for t in loaded if t.family == "cortex_m" and t.device.transport == "qemu"]
        return sorted(emulated, key=lambda t: (t.name != "cortex-m4", len(t.name), t.name))
    found = [targets.load(name) for name in dict.fromkeys(names)]
    other = next((t for t in found if t.family != "cortex_m"), None)
    if other:
        raise TargetError(f"target {other.name} is of family {other.family!r}; instructions are counted on 'cortex_m' ones.")
    return found


def _measured(
    subjects: Sequence[Subject],
    cores: Sequence[Target],
    budgets: Sequence[Budget],
    baseline: Baseline,
    for_page: bool,
    layers: bool,
) -> Iterator[Row | Unfit]:
    """Every model on every core in every mode, printed as it comes. The page has the layers of the baseline's core."""
    quantized: dict[str, QuantizedModel] = {}
    with tempfile.TemporaryDirectory() as work:
        for target in cores:
            print(f"\n{target.name}: {target.description}. One inference, median of 5; cycles and latency are estimates.\n")
            print(_line(tuple(WIDTHS)), flush=True)
            for subject, budget in product(subjects, budgets):
                of_page = for_page and target.cpu.core == baseline.core and budget.optimize == "speed"
                try:
                    firmware = _firmware(subject, target, Path(work), budget, quantized)
                    row: Row | Unfit = _row(subject, target, budget, firmware, baseline, layers or of_page)
                except TargetError as e:
                    row = Unfit(subject, target.name, budget.optimize, str(e).partition(". ")[0])
                    print(e, file=sys.stderr)
                print(_line(cells(row, tuple(WIDTHS))), flush=True)
                if layers and isinstance(row, Row):
                    for i, layer in enumerate(row.layers):
                        print(f"  {i:>3} {layer.kind:<22}{layer.shape:<14}{layer.variant:<40}{layer.instructions:>14,}")
                yield row


def _row(subject: Subject, target: Target, budget: Budget, firmware: Firmware, baseline: Baseline, with_layers: bool) -> Row:
    result = pipeline.measure(firmware)
    timed, exact = result.measurement, result.bit_exact
    assert timed.instructions is not None  # the plugin counts all of them
    assert timed.cycles is not None
    assert timed.cycles_low is not None
    assert timed.cycles_high is not None
    return Row(
        subject=subject,
        target=target.name,
        optimize=budget.optimize,
        macs=firmware.model.graph.macs(),
        instructions=timed.instructions,
        cycles=timed.cycles,
        cycles_low=timed.cycles_low,
        cycles_high=timed.cycles_high,
        latency_us=result.latency_us_median,
        model_flash_bytes=firmware.model_flash_bytes,
        arena_bytes=firmware.arena_bytes,
        flash_bytes=firmware.flash_bytes,
        ram_bytes=firmware.ram_bytes,
        bit_exact=f"{exact.equal} of {exact.vectors}",
        oracles=frozenset(exact.oracles),
        ratio=baseline.ratio(subject.sha256, target.cpu.core, timed.instructions),
        layers=layer_costs(firmware, target) if with_layers else (),
    )


def _firmware(
    subject: Subject, target: Target, folder: Path, budget: Budget, quantized: dict[str, QuantizedModel]
) -> Firmware:
    """Over that of the target before, if there is one: `folder` has room for one of each model."""
    from pipeline.firmware.cortex_m import write_firmware

    out = folder / subject.name
    if subject.file is not None:
        return pipeline.compile_model(subject.file, target, out, budget=budget)
    if subject.name not in quantized:
        quantized[subject.name] = _untrained(subject.name, target, folder)
    return write_firmware(quantized[subject.name], target, out, budget=budget)


def _untrained(name: str, target: Target, folder: Path) -> QuantizedModel:
    """The built-in network with its first weights, calibrated on noise."""
    from pipeline.artifacts import FloatModel
    from pipeline.data import dataset, source
    from pipeline.stages.quantize import Quantize

    shape, classes = NETWORKS[name]
    noise = np.random.default_rng(0)
    labels = np.arange(classes * IMAGES_PER_CLASS, dtype=np.int64) % classes
    images = noise.integers(0, 256, (labels.size, *shape), np.uint8)
    np.savez(folder / f"{name}.npz", x_train=images, y_train=labels, x_test=images[::2], y_test=labels[::2])
    data = dataset.load(dataset.DataRecipe(source=f"{name}.npz", mean=(128.0,), std=(64.0,)), 0, folder)
    module = source.load(source.ModelRecipe(factory=name), data, 0).module
    context = Context(resolve_device(target), folder, 0, Unrecorded(), silent, name=name)
    return Quantize(count=classes * 4).run(FloatModel(module, data), context)


def _line(words: Sequence[str]) -> str:
    first, *others = words
    widths = list(WIDTHS.values())
    return f"{first:<{widths[0]}}" + "".join(f"{c:>{w}}" for c, w in zip(others, widths[1:], strict=True))


if __name__ == "__main__":
    sys.exit(main())

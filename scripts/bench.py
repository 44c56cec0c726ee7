"""What inference costs on an emulated board, one row a network: `make bench`. Or of your own models:

make bench MODELS="a.tflite b.tflite" TARGET=cortex-m7

Without models, the built-in convolutional networks are quantized as they are, untrained: sizes are exact, and instructions
depend on the weights' values by far less than a percent. Instructions are counted exactly, cycles estimated from the core's
timing table.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from unrecorded import Unrecorded, silent

import pipeline
from pipeline import target as targets
from pipeline.artifacts import Firmware
from pipeline.devices.resolve import resolve_device
from pipeline.errors import PipelineError
from pipeline.report.figures import show
from pipeline.stage import Context
from pipeline.target import Target

NETWORKS = {  # raw images (H, W, C) and classes, those of the data sets they were designed for
    "digits_cnn": ((8, 8, 1), 10),
    "resnet8": ((32, 32, 3), 10),
    "ds_cnn": ((49, 10, 1), 12),
    "mobilenet_v1_025": ((96, 96, 3), 2),
}
IMAGES_PER_CLASS = 8
COLUMNS = ("network", "MACs", "instructions", "per MAC", "cycles", "latency", "flash", "RAM", "bit-exact")
WIDTHS = (24, 12, 14, 9, 14, 10, 11, 11, 11)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL", help="int8 .tflite or .onnx files")
    parser.add_argument("--target", default="cortex-m4")
    arguments = parser.parse_args()
    try:
        target = targets.load(arguments.target)
        print(f"{target.name}: {target.description}. One inference, median of 5; cycles and latency are estimates.\n")
        print(_line(COLUMNS), flush=True)
        with tempfile.TemporaryDirectory() as folder:
            for model in arguments.models or NETWORKS:
                print(_line(_row(model, target, Path(folder))), flush=True)
    except PipelineError as e:
        print(f"Error: {e}", file=sys.stderr)
        return e.exit_code
    return 0


def _row(model: Path | str, target: Target, folder: Path) -> tuple[str, ...]:
    if isinstance(model, Path):
        firmware = pipeline.compile_model(model, target, folder / model.stem)
    else:
        firmware = _untrained(model, target, folder)
    result = pipeline.measure(firmware)
    timed, exact, macs = result.measurement, result.bit_exact, firmware.model.graph.macs()
    assert timed.instructions is not None  # the plugin counts both
    assert timed.cycles is not None
    return (
        model.stem if isinstance(model, Path) else model,
        f"{macs:,}",
        f"{timed.instructions:,}",
        f"{timed.instructions / macs:.2f}",
        f"{timed.cycles:,}",
        show("latency_us_median", result.latency_us_median),
        show("flash_bytes", firmware.flash_bytes),
        show("ram_bytes", firmware.ram_bytes),
        f"{exact.equal} of {exact.vectors}",
    )


def _untrained(name: str, target: Target, folder: Path) -> Firmware:
    """The built-in network with its first weights, calibrated on noise."""
    from pipeline.artifacts import FloatModel
    from pipeline.data import dataset, source
    from pipeline.firmware.cortex_m import write_firmware
    from pipeline.stages.quantize import Quantize

    shape, classes = NETWORKS[name]
    noise = np.random.default_rng(0)
    labels = np.arange(classes * IMAGES_PER_CLASS, dtype=np.int64) % classes
    images = noise.integers(0, 256, (labels.size, *shape), np.uint8)
    np.savez(folder / f"{name}.npz", x_train=images, y_train=labels, x_test=images[::2], y_test=labels[::2])
    data = dataset.load(dataset.DataRecipe(source=f"{name}.npz", mean=(128.0,), std=(64.0,)), 0, folder)
    module = source.load(source.ModelRecipe(factory=name), data, 0).module
    context = Context(resolve_device(target), folder, 0, Unrecorded(), silent, name=name)
    model = Quantize(count=classes * 4).run(FloatModel(module, data), context)
    return write_firmware(model, target, folder / name)


def _line(cells: tuple[str, ...]) -> str:
    first, *others = cells
    return f"{first:<{WIDTHS[0]}}" + "".join(f"{c:>{w}}" for c, w in zip(others, WIDTHS[1:], strict=True))


if __name__ == "__main__":
    sys.exit(main())

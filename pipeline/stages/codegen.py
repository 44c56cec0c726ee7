"""From the int8 graph to a folder for the target, proven: firmware that is built, or ONNX files with their runner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pipeline.artifacts import Firmware, Package, QuantizedModel
from pipeline.codegen import tflm
from pipeline.firmware.cortex_m import write_firmware
from pipeline.firmware.manifest import read_manifest
from pipeline.lowering.budget import Budget, Optimize
from pipeline.proof import vectors
from pipeline.stage import Context, StagesOfRecipe
from pipeline.strict import limits

if TYPE_CHECKING:
    from pipeline.data.source import Source
    from pipeline.firmware.linux import LinuxPackage
    from pipeline.target import Target

FIRMWARE_STEPS, LINUX_STEPS = 4, 2  # what write_firmware and write_linux report


@dataclass(frozen=True)
class Codegen:
    """Write, prove and build what the target runs. `vectors` test images are replayed through the generated C (under
    sanitizers) and through TFLM, which must give the integer reference's bytes; for a Linux target through ONNX Runtime,
    layer by layer within the tolerance table, and through TFLM. `tflm_dir`, a folder with a prebuilt TensorFlow Lite Micro
    library, also builds that firmware. On a microcontroller `optimize` says what is to be least: cycles, as estimated
    ("speed"), flash ("size"), or a percent of one for a percent of the other ("balanced"); `model_flash_bytes` and
    `model_ram_bytes` are what the model alone may take."""

    vectors: int = limits(64, low=1)
    tflm_dir: Path | None = None
    optimize: Optimize = "speed"
    model_flash_bytes: int | None = limits(None, low=1)
    model_ram_bytes: int | None = limits(None, low=1)

    name: ClassVar[str] = "codegen"
    consumes: ClassVar[type] = QuantizedModel
    produces: ClassVar[type] = Package

    def unused(self, targets: Sequence[Target]) -> Mapping[str, str]:
        if not targets or any(target.family == "cortex_m" for target in targets):
            return {}
        where = f"to {', '.join(t.name for t in targets)}"
        chosen = f"{where}: its kernels are ONNX Runtime's and LiteRT's own. Leave it out."
        budget = dict.fromkeys(("optimize", "model_flash_bytes", "model_ram_bytes"), chosen)
        return {"tflm_dir": f"{where}: TFLM is for microcontrollers. Leave it out.", **budget}

    def check(self, recipe: StagesOfRecipe, source: Source | None, targets: Sequence[Target]) -> None:
        """RecipeError when `tflm_dir` holds no library."""
        if targets and self.tflm_dir is not None:
            tflm.require_library(self.tflm_dir)

    def run(self, artifact: QuantizedModel, ctx: Context) -> Package:
        """The package in `<folder>/firmware`. Raises as `write_firmware` and `write_linux` do."""
        return self._linux(artifact, ctx) if ctx.target.family == "linux" else self._firmware(artifact, ctx)

    def _firmware(self, artifact: QuantizedModel, ctx: Context) -> Firmware:
        data = artifact.data
        images = data.x_test[: self.vectors]
        golden = vectors.from_images(artifact.graph, images, data.normalization, artifact.preprocess)
        with ctx.progress("steps", FIRMWARE_STEPS) as advance:
            firmware = write_firmware(
                artifact,
                ctx.target,
                ctx.folder / "firmware",
                vectors=golden,
                tflm_dir=self.tflm_dir,
                budget=Budget(self.optimize, self.model_flash_bytes, self.model_ram_bytes),
                report=lambda what: advance(1, what),
            )
        _log_firmware(firmware, ctx)
        return firmware

    def _linux(self, artifact: QuantizedModel, ctx: Context) -> LinuxPackage:
        from pipeline.firmware.linux import write_linux

        with ctx.progress("steps", LINUX_STEPS) as advance:
            package = write_linux(
                artifact,
                ctx.target,
                ctx.folder / "firmware",
                images=artifact.data.x_test[: self.vectors],
                float_module=artifact.float_module,
                report=lambda what: advance(1, what),
            )
        _log_linux(package, ctx)
        return package


def _log_firmware(firmware: Firmware, ctx: Context) -> None:
    manifest = read_manifest(firmware.folder)
    ctx.log.metrics(
        {
            "flash_bytes": firmware.flash_bytes,
            "ram_bytes": firmware.ram_bytes,
            "model_flash_bytes": firmware.model_flash_bytes,
            "arena_bytes": firmware.arena_bytes,
            "constant_bytes": manifest["model"]["constant_bytes"],
            "macs": firmware.model.graph.macs(),
            "host_c_vectors": manifest["proven"]["host_c"],
            "tflm_vectors": manifest["proven"]["tflm"] or 0,
        }
    )
    ctx.log.metrics({"tflm_arena_bytes": manifest["tflm"]["arena_bytes"]}, tflm.arena_kind(manifest))
    ctx.log.tags(
        {
            "firmware_sha256": firmware.sha256,
            "model_id": firmware.model_id,
            "build_id": firmware.build_id,
            "toolchain": manifest["toolchain"]["arm-none-eabi-gcc"],
            "tflm": "compared" if manifest["proven"]["tflm"] is not None else "absent: its wheel is for Linux x86-64",
        }
    )


def _log_linux(package: LinuxPackage, ctx: Context) -> None:
    whole = package.agreement.end_to_end
    worst = max((layer.differences.max_lsb for layer in package.agreement.layers), default=0)
    ctx.log.metrics(
        {
            "flash_bytes": package.flash_bytes,
            "macs": package.model.graph.macs(),
            "agreement_vectors": whole.vectors,
            "agreement_equal_values": whole.differences.equal,
            "agreement_max_lsb": whole.differences.max_lsb,
            "agreement_worst_layer_lsb": worst,
        }
    )
    ctx.log.tags({"onnx_sha256": package.sha256, "model_id": package.model_id})

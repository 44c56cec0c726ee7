"""From the int8 graph to a firmware folder that is built and proven."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pipeline.codegen import vectors
from pipeline.codegen.manifest import read_manifest
from pipeline.codegen.package import write_firmware
from pipeline.errors import TargetError
from pipeline.stage import Context, Firmware, QuantizedModel
from pipeline.strict import limits

STEPS = 4  # what write_firmware reports


@dataclass(frozen=True)
class Codegen:
    """Write, prove and build the firmware. `vectors` test images are replayed through the generated C (under sanitizers) and
    through TFLM, which must give the integer reference's bytes. `tflm_dir`, a folder with a prebuilt TensorFlow Lite Micro
    library, also builds that firmware."""

    vectors: int = limits(64, low=1)
    tflm_dir: Path | None = None

    name: ClassVar[str] = "codegen"
    consumes: ClassVar[type] = QuantizedModel
    produces: ClassVar[type] = Firmware

    def run(self, artifact: QuantizedModel, ctx: Context) -> Firmware:
        """The firmware in `<run folder>/firmware`. Raises as `write_firmware` does, and TargetError for other families."""
        if ctx.target.family != "cortex_m":
            raise TargetError(
                f"target {ctx.target.name} is of family {ctx.target.family!r}; firmware is generated for 'cortex_m' only. "
                f"`pipeline targets` lists what there is."
            )
        data = artifact.data
        images = data.x_test[: self.vectors]
        golden = vectors.from_images(artifact.graph, images, data.normalization, artifact.preprocess)
        with ctx.progress("codegen", STEPS) as advance:
            firmware = write_firmware(
                artifact,
                ctx.target,
                ctx.folder / "firmware",
                vectors=golden,
                tflm_dir=self.tflm_dir,
                report=lambda what: advance(1, what),
            )
        self._log(firmware, ctx)
        return firmware

    @staticmethod
    def _log(firmware: Firmware, ctx: Context) -> None:
        manifest = read_manifest(firmware.folder)
        graph = firmware.model.graph
        ctx.log.metrics(
            {
                "flash_bytes": firmware.flash_bytes,
                "ram_bytes": firmware.ram_bytes,
                "arena_bytes": firmware.arena_bytes,
                "constant_bytes": manifest["model"]["constant_bytes"],
                "tflm_arena_bytes": manifest["tflm"]["arena_bytes"],
                "macs": graph.macs(),
                "host_c_vectors": manifest["proven"]["host_c"],
                "tflm_vectors": manifest["proven"]["tflm"] or 0,
            }
        )
        ctx.log.tags(
            {
                "firmware_sha256": firmware.sha256,
                "model_id": firmware.model_id,
                "toolchain": manifest["toolchain"]["arm-none-eabi-gcc"],
                "tflm": "compared" if manifest["proven"]["tflm"] is not None else "absent: its wheel is for Linux x86-64",
            }
        )

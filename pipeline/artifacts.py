"""What flows between stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self

from pipeline.errors import GraphError
from pipeline.evidence import BitExact
from pipeline.measurement.kind import Kind

if TYPE_CHECKING:  # torch and numpy stay out of `pipeline --help`
    from torch import nn

    from pipeline.data.dataset import Dataset
    from pipeline.evidence import Comparison, SourceProof
    from pipeline.ir import Array, Graph
    from pipeline.measurement.board import Measurement
    from pipeline.measurement.linux import LinuxMeasurement
    from pipeline.preprocess import Preprocess


@dataclass(frozen=True, eq=False)
class FloatModel:
    """A torch module in eval mode on the CPU, taking normalised float32 NCHW (N, C, H, W) and giving what the
    data's task needs.

    `teacher` is the model as it was before pruning. `module` is never edited in place once it is in an artifact."""

    module: nn.Module
    data: Dataset
    teacher: nn.Module | None = None


class Int8Model(Protocol):
    """What firmware is generated from: an imported model, or a run's own with its data set."""

    @property
    def graph(self) -> Graph: ...
    @property
    def preprocess(self) -> Preprocess | None: ...
    @property
    def proof(self) -> SourceProof | None: ...
    @property
    def source(self) -> bytes | None: ...


@dataclass(frozen=True, eq=False)
class QuantizedModel:
    """The int8 graph of record and how raw values become its input. `preprocess` is None when raw values are floats: then
    the host normalises and quantises."""

    graph: Graph = field(repr=False)
    data: Dataset = field(repr=False)
    preprocess: Preprocess | None = field(repr=False)
    float_module: nn.Module | None = field(default=None, repr=False)  # what was quantized

    @property
    def source(self) -> None:
        """The .tflite file that it was imported from: none, it was quantized here."""
        return None

    @property
    def proof(self) -> None:
        """What was proven of an .onnx file: nothing, there was none."""
        return None


@dataclass(frozen=True, eq=False, kw_only=True)
class Package:
    """What codegen delivers: a folder that was proven before it got its name. `model_id` is the first 16 hex digits of the
    graph's sha256."""

    folder: Path
    model: Int8Model
    flash_bytes: int
    sha256: str = field(repr=False)  # of the file that runs: the .bin or the .onnx
    model_id: str

    @property
    def data(self) -> Dataset:
        """What the model was quantized for; GraphError when it was imported, and came without."""
        if isinstance(self.model, QuantizedModel):
            return self.model.data
        raise GraphError(f"{self.folder} was compiled from an imported model, which has no data set; give the inputs.")

    def moved(self, old: Path, new: Path) -> Self:
        """As it is found once the folder `old`, in which its files are, has become `new`."""
        paths: dict[str, Any] = {k: new / v.relative_to(old) for k, v in vars(self).items() if isinstance(v, Path)}
        return replace(self, **paths)


@dataclass(frozen=True, eq=False, kw_only=True)
class Firmware(Package):
    """For a `cortex_m` target. Sizes are of the linked image, in bytes: flash = text + data, ram = data + bss + stack.
    `build_id` is what a device must answer when asked which build it runs: it stands for every byte of the image.
    `model_flash_bytes` is the model's part of the flash, `arena_bytes` its part of the RAM. `layer_constant_bytes` are
    those of the layers in order."""

    elf: Path = field(repr=False)
    ram_bytes: int
    model_flash_bytes: int
    arena_bytes: int
    layer_constant_bytes: tuple[int, ...] = field(repr=False)
    build_id: str


@dataclass(frozen=True, eq=False)
class Measured:
    """The last artifact: what the device did. `outputs` are its own answers to the replayed vectors, int8 (n, values), and
    `scores` are theirs, as the data's task has them. `agreement` says how far a Linux target is from the integer reference;
    None where it must be equal. `energy_uj` is None where nothing can tell."""

    package: Package
    measurement: Measurement | LinuxMeasurement
    bit_exact: BitExact
    outputs: Array
    scores: Mapping[str, float]
    energy_uj: float | None
    energy_kind: Kind | None
    agreement: Comparison | None = None

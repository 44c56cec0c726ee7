"""What flows between stages, and what a stage is. A stage is a frozen dataclass whose fields ARE the recipe keys, the docs
and the MLflow params; it consumes one artifact and produces the next."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from pipeline.errors import GraphError, RecipeError

if TYPE_CHECKING:  # torch and numpy stay out of `pipeline --help`
    from torch import nn

    from pipeline.data.dataset import Dataset
    from pipeline.devices.linux.figures import LinuxMeasurement
    from pipeline.ir import Array, Graph
    from pipeline.measurement import Measurement
    from pipeline.preprocess import Preprocess
    from pipeline.proof.onnxruntime import Comparison
    from pipeline.proof.source_tflite import SourceProof
    from pipeline.target import Target

Kind = Literal["computed", "measured", "simulated", "host", "estimated"]
"""computed: exactly, on this host; measured: on a real device; simulated: in an emulator; host: timed on this computer,
which stood in for the device; estimated: by a model."""


@dataclass(frozen=True, eq=False)
class FloatModel:
    """A torch module in eval mode on the CPU, taking normalised float32 NCHW (N, C, H, W) and giving logits (N, classes).

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


@dataclass(frozen=True, eq=False, kw_only=True)
class Firmware(Package):
    """For a `cortex_m` target. Sizes are of the linked image, in bytes: flash = text + data, ram = data + bss + stack.
    `build_id` is what a device must answer when asked which build it runs: it stands for every byte of the image."""

    elf: Path = field(repr=False)
    ram_bytes: int
    arena_bytes: int
    build_id: str


@dataclass(frozen=True, slots=True)
class BitExact:
    """How many vectors were replayed, and how many each oracle answered with the integer reference's very bytes. An oracle
    that this machine can not run (TFLM's wheel is for Linux x86-64) is None, never a number. Only ONNX Runtime and LiteRT's
    optimised kernels, which round otherwise, may be equal on fewer vectors than all."""

    vectors: int
    equal: int  # vectors on which every oracle that ran was equal
    oracles: Mapping[str, int | None]  # "tflm", "host_c", "device"; "tflm", "onnxruntime" on Linux


@dataclass(frozen=True, eq=False)
class Measured:
    """The last artifact: what the device did. `outputs` are its own answers to the replayed vectors, int8 (n, values), and
    `accuracy` is theirs. `agreement` says how far a Linux target is from the integer reference; None where it must be equal.
    `energy_uj` is None where nothing can tell."""

    package: Package
    measurement: Measurement | LinuxMeasurement
    bit_exact: BitExact
    outputs: Array
    accuracy: float
    energy_uj: float | None
    energy_kind: Kind | None
    agreement: Comparison | None = None


class Progress(Protocol):
    """`with ctx.progress("epochs", total=30) as advance: ...; advance(1, "loss 0.31")`."""

    def __call__(self, description: str, total: int) -> AbstractContextManager[Advance]: ...


class Advance(Protocol):
    def __call__(self, steps: int = 1, note: str = "") -> None: ...


class StageLog(Protocol):
    """One stage's nested run. Metric names carry their unit ("latency_us_median"); every figure has a kind."""

    def metrics(self, values: Mapping[str, float], kind: Kind = "computed", step: int | None = None) -> None: ...
    def params(self, values: Mapping[str, Any]) -> None: ...
    def tags(self, values: Mapping[str, str]) -> None: ...
    def file(self, path: Path, folder: str = "") -> None: ...


@dataclass(frozen=True)
class Context:
    """What a stage may use besides its artifact. `folder` is the run's folder; the stage writes below it. `bench` is the
    file that says which boards are attached (--bench), None for ./bench.toml if it exists. `name` is the recipe's: what the
    model is called in the generated code."""

    target: Target
    folder: Path
    seed: int
    log: StageLog
    progress: Progress
    bench: Path | None = None
    accept_new_host_key: bool = False
    name: str = "model"


class Stage(Protocol):
    """`consumes` and `produces` are artifact classes; `run.check_order` compares them before anything runs."""

    name: ClassVar[str]
    consumes: ClassVar[type]
    produces: ClassVar[type]

    def run(self, artifact: Any, ctx: Context) -> Any: ...


@runtime_checkable
class Checked(Protocol):
    """A stage that has something to refuse before any work."""

    def unused(self, targets: Sequence[Target]) -> Mapping[str, str]:
        """The settings that change nothing on any of `targets`: why, and what to do, as the end of "x is of no use "."""

    def check(self, given: Collection[str], targets: Sequence[Target]) -> None:
        """RecipeError for what can not work; `given` are the settings that the user wrote, which must not be unused."""


def refuse_unused(stage: str, given: Collection[str], unused: Mapping[str, str]) -> None:
    """RecipeError for the first setting that was given and does nothing."""
    for key, why in unused.items():
        if key in given:
            raise RecipeError(f"{stage}.{key} is of no use {why}")

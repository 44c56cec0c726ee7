"""A folder for a Linux computer: int8 and float .onnx, the .tflite, the runner, and what was proven about them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.artifacts import Int8Model, Package, QuantizedModel
from pipeline.codegen.onnx.to_onnx import Raw, module_to_onnx, save, to_float_onnx, to_onnx
from pipeline.codegen.onnx.writer import from_stored, to_stored
from pipeline.codegen.to_tflite import to_tflite
from pipeline.devices.linux.protocol import RUNNER, runner_files
from pipeline.errors import MismatchError, RecipeError, TargetError
from pipeline.evidence import Comparison, Differences
from pipeline.firmware.atomic import replaced_whole
from pipeline.firmware.folder import verify_files
from pipeline.firmware.manifest import FORMAT, MANIFEST, file_digests, read_manifest
from pipeline.host import tools
from pipeline.ir import Array, Graph
from pipeline.proof.onnxruntime import Agreement, Layer, agreement, compare, session
from pipeline.proof.prove import prove_tflm
from pipeline.proof.tolerances import Tolerance
from pipeline.proof.vectors import Vectors, from_images, random
from pipeline.target import Target, as_table
from pipeline.tasks.task import Task, stored

if TYPE_CHECKING:
    from torch import nn

INT8_FILE, FLOAT_FILE, TFLITE_FILE = "model.onnx", "model_float.onnx", "model.tflite"
VECTORS = 64


@dataclass(frozen=True, eq=False, kw_only=True)
class LinuxPackage(Package):
    """For a `linux` target. `flash_bytes` is what the int8 model and the runner take on the card; RAM shows when it runs.
    `agreement` is with the integer reference, in ONNX Runtime on the computer that generated it."""

    raw: Raw | None
    agreement: Agreement

    @property
    def int8(self) -> Path:
        return self.folder / INT8_FILE

    @property
    def float32(self) -> Path:
        return self.folder / FLOAT_FILE

    def models(self, engines: Collection[str]) -> dict[str, Path]:
        """The files, "int8" and "float", that a computer with these engines (the runner's names) runs: the .onnx ones with
        ONNX Runtime, else the .tflite alone, which takes the graph's int8 values themselves."""
        if "onnxruntime" in engines:
            return {"int8": self.int8, "float": self.float32}
        return {"int8": self.folder / TFLITE_FILE}

    def feed(self, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """What the .onnx files take, each (n, *shape): raw values as they are, int8 ones as uint8."""
        return feed(self.model.graph, self.raw, inputs)

    def answers(self, outputs: tuple[Array, ...]) -> tuple[Array, ...]:
        """The int8 file's outputs in the graph's own dtypes."""
        return answers(self.model.graph, outputs)


def write_linux(
    model: Int8Model,
    target: Target,
    folder: Path,
    *,
    images: Array | None = None,
    float_module: nn.Module | None = None,
    report: Callable[[str], None] = lambda _what: None,
) -> LinuxPackage:
    """Write `folder`, then run what is in it: raw `images` (n, H, W, C) of the model's data set (default: test images;
    random values for an imported model) go through each layer, the whole int8 file and TFLM.

    `float_module` is the torch module that was quantized; without it the float file is the int8 graph's own numbers.
    MismatchError when a layer leaves the tolerance table or the .tflite is not exact, TargetError when it does not fit,
    GraphError for an operator without an ONNX form. After any of them `folder` is as it was before."""
    graph, raw = model.graph.checked(), raw_input(model)
    task = model.data.task if isinstance(model, QuantizedModel) else None
    classes = task.classes if task else ()
    given, vectors = _vectors(model, images)
    with replaced_whole(folder) as work:
        report("writing ONNX")
        (work / INT8_FILE).write_bytes(save(to_onnx(graph, raw, classes)))
        by_torch = module_to_onnx(float_module, graph, raw, classes) if float_module and raw else None
        (work / FLOAT_FILE).write_bytes(save(by_torch or to_float_onnx(graph, raw, classes)))
        tflite = to_tflite(graph)
        (work / TFLITE_FILE).write_bytes(tflite)
        (work / RUNNER.name).mkdir()
        for source in runner_files():
            shutil.copyfile(source, work / RUNNER.name / source.name)
        size = _expect_fits(work, target)
        report("comparing with the integer reference")
        found = agreement(graph, *vectors.int8_inputs).checked()
        _expect_whole(
            work / INT8_FILE, graph, feed(graph, raw, given), vectors, found, exact=not raw or bool(raw.preprocess)
        )
        tflm = prove_tflm(graph, tflite, vectors)
        (work / "README.md").write_text(_readme(graph, target, raw, task), encoding="utf-8")
        digest = _write_manifest(work, model, target, found, tflm, "torch" if by_torch else "the int8 graph")
    return LinuxPackage(
        folder=folder,
        model=model,
        flash_bytes=size,
        sha256=digest,
        model_id=graph.sha256()[:16],
        raw=raw,
        agreement=found,
    )


def load_linux(folder: Path, model: QuantizedModel) -> LinuxPackage:
    """The folder that `write_linux` wrote for `model`, after comparing every file with the manifest's sha256. RecipeError
    names a file that is missing or changed."""
    manifest = read_manifest(folder)
    try:
        verify_files(folder, manifest["files"])
        if manifest["model"]["sha256"] != model.graph.sha256():
            raise RecipeError(f"{folder} was written for another model. Generate it anew.")
        return LinuxPackage(
            folder=folder,
            model=model,
            flash_bytes=_size(folder, manifest["files"]),
            sha256=str(manifest["files"][INT8_FILE]),
            model_id=str(manifest["model"]["id"]),
            raw=raw_input(model),
            agreement=_agreement(manifest["agreement"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        raise RecipeError(f"{folder / MANIFEST} is not complete ({e!r}); generate the folder anew.") from None


def _agreement(stored: dict[str, Any]) -> Agreement:
    def differences(table: dict[str, Any]) -> Differences:
        return Differences({int(lsb): int(count) for lsb, count in table["counts"].items()})

    whole = stored["end_to_end"]
    return Agreement(
        int(stored["layer_vectors"]),
        tuple(
            Layer(str(x["tensor"]), str(x["kind"]), differences(x["differences"]), Tolerance(**x["tolerance"]))
            for x in stored["layers"]
        ),
        Comparison(int(whole["vectors"]), differences(whole["differences"]), whole["top1"]),
    )


def _vectors(model: Int8Model, images: Array | None) -> tuple[tuple[Array, ...], Vectors]:
    """Inputs as the files take them but for their shape, and what the reference says to them."""
    if not isinstance(model, QuantizedModel):
        vectors = random(model.graph, VECTORS, model.preprocess)
        return vectors.inputs, vectors
    images = model.data.x_test[:VECTORS] if images is None else images
    return (images,), from_images(model.graph, images, model.data.normalization, model.preprocess)


def raw_input(model: Int8Model) -> Raw | None:
    """How raw values enter the .onnx files; None when they take the graph's quantised values themselves."""
    normalization = model.data.normalization if isinstance(model, QuantizedModel) else None
    return Raw(model.preprocess, normalization) if model.preprocess or normalization else None


def feed(graph: Graph, raw: Raw | None, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """`inputs` (n, ...) as the .onnx files of `graph` take them."""
    if raw:
        (x,) = inputs
        return (np.ascontiguousarray(x.astype(raw.dtype, copy=False)).reshape(len(x), *graph[graph.inputs[0]].shape),)
    return tuple(map(to_stored, inputs))


def answers(graph: Graph, outputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """Outputs of the .onnx or .tflite file of `graph` in the graph's own dtypes."""
    return tuple(from_stored(y, graph[name]) for name, y in zip(graph.outputs, outputs, strict=True))


def _expect_whole(
    file: Path, graph: Graph, fed: tuple[Array, ...], vectors: Vectors, found: Agreement, *, exact: bool
) -> None:
    """The delivered file answers its own inputs as the bare int8 network does: the way from raw values to int8 is right.

    `exact` is False for raw floats: ONNX rounds halves to even there, so that an input can be one LSB off."""
    s = session(file.read_bytes())
    rows = [s.run(None, dict(zip(graph.inputs, row, strict=True))) for row in zip(*fed, strict=True)]
    got = compare(graph, answers(graph, tuple(np.stack(y) for y in zip(*rows, strict=True))), vectors.outputs)
    if (exact and got != found.end_to_end) or got.differences.equal < found.end_to_end.differences.equal - 0.02:
        raise MismatchError(
            f"{file.name} of {graph.name!r} does not turn its raw input into the integers that the network was quantized "
            f"for: {got.differences.equal:.1%} of its answers are the reference's, of those to the integers themselves "
            f"{found.end_to_end.differences.equal:.1%}."
        )


def _size(folder: Path, files: Iterable[str]) -> int:
    """Of those of `files` that go on the card; a runner that was used leaves others beside them."""
    return sum((folder / name).stat().st_size for name in files if name == INT8_FILE or name.startswith(f"{RUNNER.name}/"))


def _expect_fits(work: Path, target: Target) -> int:
    size = _size(work, (INT8_FILE, *(f"{RUNNER.name}/{source.name}" for source in runner_files())))
    if size > target.memory.flash_bytes:
        raise TargetError(
            f"model and runner take {size:,} bytes, but {target.name} has {target.memory.flash_bytes:,} for them. Prune "
            "more, or choose another target."
        )
    return size


def _write_manifest(
    work: Path, model: Int8Model, target: Target, found: Agreement, tflm: int | None, float_from: str
) -> str:
    """Describe every file that is in the folder now; the sha256 of model.onnx."""
    graph = model.graph
    files = file_digests(work)
    packages = ("tinyml-pipeline", "onnx", "onnxruntime", "torch")
    manifest: dict[str, Any] = {
        "format": FORMAT,
        "family": "linux",
        "model": {
            "name": graph.name,
            "id": graph.sha256()[:16],
            "sha256": graph.sha256(),
            "macs": graph.macs(),
            "task": stored(model.data.task) if isinstance(model, QuantizedModel) else None,
        },
        "target": as_table(target),
        "float_from": float_from,
        "toolchain": {n: v for n in packages if (v := tools.package_version(n))},
        "agreement": asdict(found),
        "proven": {"vectors": found.end_to_end.vectors, "tflm": tflm},
        "files": files,
    }
    (work / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return files[INT8_FILE]


def _readme(graph: Graph, target: Target, raw: Raw | None, task: Task | None) -> str:
    def dtype(name: str) -> str:
        return "uint8" if graph[name].dtype == "int8" else graph[name].dtype

    def shapes(names: tuple[str, ...]) -> str:
        return " and ".join(str(graph[n].shape) for n in names)

    takes = f"raw {raw.dtype} values" if raw else "uint8 (the int8 values of the .tflite plus 128)"
    zeros = ", ".join(f"{n!r}: np.zeros({graph[n].shape}, np.{raw.dtype if raw else dtype(n)})" for n in graph.inputs)
    shown = "    print(answer.argmax())\n" if task is None or task.ranked else ""
    shown += f"\n{task.reading}\n" if task else ""
    return f"""# {graph.name} for {target.name}

`{INT8_FILE}` is int8 (QDQ), `{FLOAT_FILE}` its float32 twin with the same input, `{TFLITE_FILE}` the same int8 network
for LiteRT. The .onnx files take {takes} of shape
{shapes(graph.inputs)}; classes, normalisation and quantisation are in their metadata. On the Raspberry Pi,
`pip install onnxruntime numpy`, then:

    import numpy as np, onnxruntime
    session = onnxruntime.InferenceSession("{INT8_FILE}", providers=["CPUExecutionProvider"])
    answer = session.run(None, {{{zeros}}})[0]  # {dtype(graph.outputs[0])}, {graph[graph.outputs[0]].shape}
{shown}
`{RUNNER.name}/` is the program that measures on the Raspberry Pi: `python3 {RUNNER.name}` answers requests, JSON lines on
stdin and stdout; the first lines of `{RUNNER.name}/__main__.py` say how. `{MANIFEST}` holds checksums, versions, and how far
each layer is from the integer reference.
"""

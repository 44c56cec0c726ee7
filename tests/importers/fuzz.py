"""Mutated model files: each must end in a GraphError or in a graph that runs, quickly and in little memory.

    python -m tests.importers.fuzz tflite 20000 --seed 1

prints what happened as JSON, and each crash with the mutation that caused it (`--keep DIR` writes those files).
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.errors import GraphError
from pipeline.ir import Graph

FILES = Path(__file__).parent / "files"
INTERESTING = (0, 1, 2, 4, 7, 127, 128, 255, 256, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32 - 4)
RUNNABLE_BYTES = 1 << 20  # graphs with larger tensors are only checked, not run
RUNNABLE_WINDOW = 64
RUNNABLE_MACS = 1 << 21

Random = np.random.Generator
Mutation = Callable[[bytes, Random], bytes]


def flip_bits(content: bytes, rng: Random) -> bytes:
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 17))):
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
    return bytes(data)


def truncate(content: bytes, rng: Random) -> bytes:
    return content[: rng.integers(len(content))]


def overwrite_words(content: bytes, rng: Random) -> bytes:
    """Lengths, offsets and enum values replaced by ones that look for trouble."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(data) // 4)) * 4
        value = int(rng.choice(INTERESTING)) if rng.random() < 0.7 else int(rng.integers(2**32))
        data[at : at + 4] = value.to_bytes(4, "little")
    return bytes(data)


def nudge_words(content: bytes, rng: Random) -> bytes:
    """Small changes of what is there: an offset that points to the neighbour, a dimension one larger."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(data) // 4)) * 4
        value = int.from_bytes(data[at : at + 4], "little") + int(rng.integers(-8, 9))
        data[at : at + 4] = (value % 2**32).to_bytes(4, "little")
    return bytes(data)


def splice(content: bytes, rng: Random) -> bytes:
    """A piece removed, doubled, or moved to another place."""
    a, b = sorted(int(i) for i in rng.integers(len(content), size=2))
    b = min(b, a + 64)
    to = int(rng.integers(len(content)))
    kept = content if rng.random() < 0.5 else content[:a] + content[b:]
    return kept[:to] + (content[a:b] if rng.random() < 0.7 else b"") + kept[to:]


BYTES: tuple[Mutation, ...] = (flip_bits, truncate, overwrite_words, nudge_words, splice)


def edit_tflite_fields(content: bytes, rng: Random) -> bytes:
    """A well-formed flatbuffer whose fields make no sense: one to four of them changed through the object API."""
    from tests.importers.tflite_edit import edited

    def edit(model: Any) -> None:
        for _ in range(int(rng.integers(1, 5))):
            _edit_one(model, rng)

    return edited(content, edit)


def _edit_one(model: Any, rng: Random) -> None:
    graph = model.subgraphs[0]
    pools: list[list[Any]] = [
        graph.tensors,
        [t.quantization for t in graph.tensors if t.quantization is not None],
        graph.operators,
        [op.builtinOptions for op in graph.operators if op.builtinOptions is not None],
        model.operatorCodes,
        [graph],
    ]
    pools = [pool for pool in pools if pool]
    pool = pools[int(rng.integers(len(pools)))]
    thing = pool[int(rng.integers(len(pool)))]
    names = [n for n, v in vars(thing).items() if isinstance(v, int | float | list | np.ndarray | np.number | bytes)]
    if not names:
        return
    name = names[int(rng.integers(len(names)))]
    setattr(thing, name, _changed(getattr(thing, name), rng))


def _changed(value: Any, rng: Random) -> Any:
    """Another value of the same kind that the writer can still write."""
    if isinstance(value, bool | np.bool_):
        return not value
    if isinstance(value, bytes):
        return rng.bytes(int(rng.integers(40)))
    if isinstance(value, float | np.floating):
        return float(rng.choice([0.0, -1.0, np.nan, np.inf, 1e-45, 1e30, float(value) * 2]))
    if isinstance(value, int | np.integer):
        return int(rng.choice([0, 1, 2, 3, 5, 9, 17, 100, 126, int(value)])) if value <= 127 else int(rng.integers(128))
    items = list(value)
    if items and isinstance(items[0], int | float | np.number):
        what = int(rng.integers(4))
        at = int(rng.integers(len(items)))
        if what == 0:
            items[at] = _changed(items[at], rng)
        elif what == 1:
            items.pop(at)
        elif what == 2:
            items.insert(at, items[int(rng.integers(len(items)))])
        elif isinstance(items[0], int | np.integer):
            items[at] = int(rng.choice([-1, 0, 1, 1000, 2**31 - 1, -(2**31)]))
        return np.array(items, value.dtype) if isinstance(value, np.ndarray) else items
    if items:
        items.append(items.pop(int(rng.integers(len(items)))))
    return items


def exercise(graph: Graph) -> None:
    """A graph that passed its checks must also run."""
    largest = max(t.nbytes for t in graph.tensors.values())
    windows = max((max(getattr(op, "kernel", (1,))) for op in graph.ops), default=1)
    pads = max((max(getattr(op, "pads", (0,))) for op in graph.ops), default=0)
    if largest <= RUNNABLE_BYTES and graph.macs() <= RUNNABLE_MACS and max(windows, pads) <= RUNNABLE_WINDOW:
        graph.run(*(np.zeros((1, *graph[n].shape), graph[n].dtype) for n in graph.inputs))


def fuzz(
    load: Callable[[bytes], Graph],
    seeds: list[bytes],
    mutations: tuple[Mutation, ...],
    count: int,
    seed: int,
    keep: Path | None,
) -> dict[str, Any]:
    """Loads `count` mutated files; nothing but a GraphError may come out."""
    rng = np.random.default_rng(seed)
    outcomes: Counter[str] = Counter()
    slowest = 0.0
    for i in range(count):
        mutation = mutations[i % len(mutations)]
        content = mutation(seeds[int(rng.integers(len(seeds)))], rng)
        start = time.perf_counter()
        try:
            exercise(load(content))
            outcomes["valid"] += 1
        except GraphError:
            outcomes["refused"] += 1
        except Exception:
            outcomes["crashed"] += 1
            print(f"file {i} ({mutation.__name__}):", traceback.format_exc(), file=sys.stderr)
            if keep:
                keep.mkdir(exist_ok=True)
                (keep / f"crash_{seed}_{i}").write_bytes(content)
        slowest = max(slowest, time.perf_counter() - start)
    return {"files": count, **outcomes, "slowest_s": round(slowest, 3), "peak_mb": peak_megabytes()}


def peak_megabytes() -> int:
    """Of this program alone: ru_maxrss also knows what its parent held before the exec."""
    status = Path("/proc/self/status")
    if status.is_file():
        return next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM")) // 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def edit_onnx_fields(content: bytes, rng: Random) -> bytes:
    """A well-formed protobuf whose fields make no sense: one to four of them changed."""
    import onnx

    model = onnx.ModelProto()
    model.ParseFromString(content)
    for _ in range(int(rng.integers(1, 5))):
        messages = [model.graph, *model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output]
        message = messages[int(rng.integers(len(messages)))]
        for _ in range(int(rng.integers(4))):  # down into a message's messages
            inner = [m for d, v in message.ListFields() if d.type == d.TYPE_MESSAGE for m in (v if _repeated(v) else [v])]
            if not inner:
                break
            message = inner[int(rng.integers(len(inner)))]
        fields = [(d, v) for d, v in message.ListFields() if d.type != d.TYPE_MESSAGE]
        if fields:
            descriptor, value = fields[int(rng.integers(len(fields)))]
            _edit_onnx_field(message, descriptor.name, value, rng)
    return bytes(model.SerializeToString())


def _repeated(value: Any) -> bool:
    return hasattr(value, "append") or hasattr(value, "add")


def _edit_onnx_field(message: Any, name: str, value: Any, rng: Random) -> None:
    try:
        if _repeated(value):
            items = list(value)
            at = int(rng.integers(len(items)))
            what = int(rng.integers(3))
            if what == 0:
                items.pop(at)
            elif what == 1:
                items.insert(at, items[int(rng.integers(len(items)))])
            else:
                items[at] = _other(items[at], rng)
            del value[:]
            value.extend(items)
        else:
            setattr(message, name, _other(value, rng))
    except (TypeError, ValueError):  # protobuf keeps its own limits
        message.ClearField(name)


def _other(value: Any, rng: Random) -> Any:
    if isinstance(value, str):
        return str(rng.choice(["", "x0", value + "_", "Conv", "Add", "Reshape", "Gather", "Slice", "Relu", "Pad", "Concat"]))
    if isinstance(value, bytes):
        return bytes(rng.bytes(len(value))) if rng.random() < 0.5 else value[: len(value) // 2]
    if isinstance(value, float):
        return float(rng.choice([0.0, -1.0, np.nan, np.inf, 1e-45, 1e30, value * 2]))
    return int(rng.choice([-(2**31), -7, -1, 0, 1, 2, 3, 5, 9, 64, 1000, 2**31 - 1, 2**40, value]))


def _tflite() -> tuple[list[bytes], tuple[Mutation, ...], Callable[[bytes], Graph]]:
    from pipeline.importers.tflite.importer import load_tflite

    seeds = [path.read_bytes() for path in sorted(FILES.glob("*.tflite"))]
    return seeds, (*BYTES, edit_tflite_fields, edit_tflite_fields), load_tflite


def _onnx(folder: Path) -> tuple[list[bytes], tuple[Mutation, ...], Callable[[bytes], Graph]]:
    """In a folder of its own, where nothing is that a file could name."""
    from pipeline.importers.onnx.importer import import_onnx

    def load(content: bytes) -> Graph:
        (folder / "model.onnx").write_bytes(content)
        return import_onnx(folder / "model.onnx").graph

    seeds = [path.read_bytes() for path in sorted(FILES.glob("*.onnx"))]
    return seeds, (*BYTES, edit_onnx_fields, edit_onnx_fields), load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("format", choices=("tflite", "onnx"))
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    np.seterr(all="ignore")
    with tempfile.TemporaryDirectory(prefix="fuzz_") as folder:
        seeds, mutations, load = _onnx(Path(folder)) if arguments.format == "onnx" else _tflite()
        print(json.dumps(fuzz(load, seeds, mutations, arguments.count, arguments.seed, arguments.keep)))


if __name__ == "__main__":
    main()

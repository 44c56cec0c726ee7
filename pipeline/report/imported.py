"""What `pipeline compile` and `pipeline measure` say, on the terminal and as JSON. Every figure comes with its kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.codegen.tflm import arena_kind
from pipeline.display import layer_name, plain, short
from pipeline.measurement.kinds import FORMAT, kinds
from pipeline.proof.source_tflite import ASKED
from pipeline.report.figures import CLASS_LETTERS, as_json, show
from pipeline.report.labelled import labelled, place_line
from pipeline.report.table import oracle_line

if TYPE_CHECKING:
    from pipeline.artifacts import Firmware
    from pipeline.measurement.kind import Kind
    from pipeline.replay import Result
    from pipeline.tasks.task import Measure

_MOST_LAYERS = 40  # on the terminal; the manifest has them all
_MOST_CLASSES = 20  # on the terminal; the JSON has them all
_LAYER_LETTERS = 48


def compiled_json(firmware: Firmware, manifest: dict[str, Any]) -> str:
    """The figures of a compiled model; all are computed, but for the arena of a TFLM that can not run on this machine."""
    model, arena = manifest["model"], manifest["arena"]
    figures = {
        "target": manifest["target"]["name"],
        "model": model["name"],
        "model_id": firmware.model_id,
        "build_id": firmware.build_id,
        "macs": model["macs"],
        "constant_bytes": model["constant_bytes"],
        "flash_bytes": firmware.flash_bytes,
        "ram_bytes": firmware.ram_bytes,
        "model_flash_bytes": firmware.model_flash_bytes,
        "model_ram_bytes": firmware.arena_bytes,
        "arena_bytes": firmware.arena_bytes,
        "peak_layers": arena["peak_ops"],
        "tflm_arena_bytes": manifest["tflm"]["arena_bytes"],
        "bit_exact": manifest["proven"],
        "sha256": firmware.sha256,
        "folder": str(firmware.folder),
    }
    found = kinds(figures, "computed", tflm_arena_bytes=arena_kind(manifest))
    return as_json({"format": FORMAT, **figures, "kinds": found})


def print_compiled(firmware: Firmware, manifest: dict[str, Any], console: Console) -> None:
    layers, model, proven = manifest["layers"], manifest["model"], manifest["proven"]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("layer", no_wrap=True)
    table.add_column("tensor it writes", overflow="fold")
    for heading in ("constants", "output", "MACs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in layers[:_MOST_LAYERS]:
        figures = (show("flash_bytes", layer["constant_bytes"]), show("ram_bytes", layer["output_bytes"]))
        name = Text(short(layer["name"], _LAYER_LETTERS))
        table.add_row(f"{layer['index']:>2} {layer['kind']}", name, *figures, f"{layer['macs']:,}")
    console.print(table)
    if len(layers) > _MOST_LAYERS:
        console.print(f"... and {len(layers) - _MOST_LAYERS} more layers, in manifest.json", style="dim")
    console.print()
    tflm = "not on this machine" if proven["tflm"] is None else proven["tflm"]
    vectors, host = proven["vectors"], proven["host_c"]
    flash, ram = show("flash_bytes", firmware.flash_bytes), show("ram_bytes", firmware.ram_bytes)
    own = show("flash_bytes", firmware.model_flash_bytes)
    called = {layer["name"]: f"{layer['index']} {layer_name(layer['kind'], layer['name'])}" for layer in layers}
    peak = ", ".join(short(called[name], _LAYER_LETTERS) for name in manifest["arena"]["peak_ops"])
    rows = (
        ("MACs", f"{model['macs']:,} (computed)"),
        ("flash", f"{flash} (computed), of it the model {own}, constants {show('flash_bytes', model['constant_bytes'])}"),
        ("RAM", f"{ram} (computed) with stack and protocol buffers; arena {show('arena_bytes', firmware.arena_bytes)}"),
        ("arena peak", f"at {peak}"),
        ("bit-exact", f"{vectors} random vectors: generated C on the host {host}, TFLite Micro {tflm}{_source(proven)}"),
    )  # fmt: skip
    console.print(labelled(rows, console.width))
    for label, place in (("firmware", firmware.folder), ("arena picture", firmware.folder / "arena.svg")):
        console.print(place_line(label, str(place)), soft_wrap=True)


def _source(proven: dict[str, Any]) -> str:
    """How the user's own file was asked."""
    source = proven.get("source")
    if source is None:
        return ""
    said = f"; your own file, in {ASKED[source['by']]}, {source['equal']}"
    if source["max_lsb"]:
        said += f", the others off by {source['max_lsb']} LSB at most"
    return f"{said} ({source['note']})" if source["note"] else said


def measured_json(result: Result) -> str:
    """The figures of replayed inputs, in the shape of a run's report.json."""
    m = result.measurement
    scored = result.scores
    recall = {n.removeprefix("recall_"): v for n, v in (scored or {}).items() if n.startswith("recall_")}
    accuracy = {"device": result.top1, "recall": recall or None}
    classes = result.task.kind == "classification"
    others = {} if classes or scored is None else {"scores": {m.name: scored[m.name] for m in _measures(result)}}
    bit_exact = {
        "vectors": result.bit_exact.vectors,
        "equal": result.bit_exact.equal,
        "oracles": dict(result.bit_exact.oracles),
    }
    measurement = {
        "clock": m.clock,
        "instructions": m.instructions,
        "cycles": m.cycles,
        "cycles_low": m.cycles_low,
        "cycles_high": m.cycles_high,
        "latency_us_median": result.latency_us_median,
        "energy_uj": result.energy_uj,
        "energy_kind": "estimated",
        "ram_bytes": m.ram_bytes,
        "flash_bytes": m.flash_bytes,
        "model_ram_bytes": m.model_ram_bytes,
        "model_flash_bytes": m.model_flash_bytes,
        "stack_bytes": m.stack_bytes,
    }
    sizes = ("ram_bytes", "flash_bytes", "model_ram_bytes", "model_flash_bytes")
    computed: dict[str, Kind] = dict.fromkeys(sizes, "computed")
    return as_json(
        {
            "format": FORMAT,
            "kind": result.kind,
            "device": m.device,
            "task": result.task.kind,
            "accuracy": accuracy,
            **others,
            "bit_exact": bit_exact,
            "measurement": measurement,
            "notes": list(result.notes),
            "kinds": {
                **kinds({"accuracy": accuracy, **others}, result.kind),
                **kinds({"bit_exact": bit_exact}, "computed"),
                "measurement": kinds(measurement, result.kind, energy_uj="estimated", **computed),
            },
        }
    )


def print_measured(result: Result, console: Console) -> None:
    m, exact = result.measurement, result.bit_exact
    rows = [("device", m.device), ("bit-exact", oracle_line(exact))]
    if result.scores and result.top1 is not None:
        right = round(result.top1 * exact.vectors)
        share = f"{100 * result.top1:.1f} %"
        rows.append(("top-1", f"{right:,} of {exact.vectors:,} ({share}), answered by the device"))
        recall = {n.removeprefix("recall_"): v for n, v in result.scores.items() if n.startswith("recall_")}
        rows += [("recall", _recall_line(recall))] if recall else []
    elif result.scores:
        said = [f"{m.label} {m.show(result.scores[m.name])}{f' {m.unit}' if m.unit else ''}" for m in _measures(result)]
        rows.append(("scores", f"{', '.join(said)}, of {exact.vectors:,} answers of the device"))
    latency = show("latency_us_median", result.latency_us_median)
    rows.append(("latency", f"{latency} median of {len(m.ticks)} runs ({result.kind})"))
    if m.instructions is not None and m.cycles is not None:
        band = f", {m.cycles_low:,} to {m.cycles_high:,}" if m.cycles_low and m.cycles_high else ""
        rows.append(("instructions", f"{m.instructions:,} (exact); cycles {m.cycles:,} (estimated{band})"))
    if m.stack_bytes is not None:
        rows.append(("stack", f"{m.stack_bytes:,} bytes at most ({result.kind})"))
    rows.append(("energy", f"{show('energy_uj', result.energy_uj)} (estimated)"))
    console.print(labelled(rows, console.width))
    for note in result.notes:
        console.print(Text(plain(note), style="dim"))


def _measures(result: Result) -> list[Measure]:
    """Those that the device's answers have."""
    return [m for m in result.task.measures if m.name in (result.scores or {})]


def _recall_line(recall: Mapping[str, float]) -> str:
    """By class; of many classes the worst."""
    shown = sorted(recall, key=lambda c: recall[c])[:_MOST_CLASSES] if len(recall) > _MOST_CLASSES else [*recall]
    words = ", ".join(f"{short(name, CLASS_LETTERS)}: {show('recall_', recall[name])}" for name in shown)
    more = len(recall) - len(shown)
    return words + (f"; the other {more} are at least as good" if more else "")

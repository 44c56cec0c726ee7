"""What `pipeline compile` and `pipeline measure` say, on the terminal and as JSON. Every figure comes with its kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.report.figures import show
from pipeline.report.table import oracle_line

if TYPE_CHECKING:
    from pipeline.replay import Result
    from pipeline.stage import Firmware

_MOST_LAYERS = 40  # on the terminal; the manifest has them all


def compiled_json(firmware: Firmware, manifest: dict[str, Any]) -> str:
    """The figures of a compiled model; all are computed."""
    model, arena = manifest["model"], manifest["arena"]
    return _text(
        {
            "target": manifest["target"]["name"],
            "model": model["name"],
            "model_id": firmware.model_id,
            "macs": model["macs"],
            "constant_bytes": model["constant_bytes"],
            "flash_bytes": firmware.flash_bytes,
            "ram_bytes": firmware.ram_bytes,
            "arena_bytes": firmware.arena_bytes,
            "peak_layers": arena["peak_ops"],
            "tflm_arena_bytes": manifest["tflm"]["arena_bytes"],
            "bit_exact": manifest["proven"],
            "sha256": firmware.sha256,
            "folder": str(firmware.folder),
        }
    )


def print_compiled(firmware: Firmware, manifest: dict[str, Any], console: Console) -> None:
    layers, model, proven = manifest["layers"], manifest["model"], manifest["proven"]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("layer", no_wrap=True)
    table.add_column("tensor it writes", overflow="fold")
    for heading in ("constants", "output", "MACs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for layer in layers[:_MOST_LAYERS]:
        figures = (show("flash_bytes", layer["constant_bytes"]), show("ram_bytes", layer["output_bytes"]))
        table.add_row(f"{layer['index']:>2} {layer['kind']}", layer["name"], *figures, f"{layer['macs']:,}")
    console.print(table)
    if len(layers) > _MOST_LAYERS:
        console.print(f"... and {len(layers) - _MOST_LAYERS} more layers, in manifest.json", style="dim")
    console.print()
    tflm = "not on this machine" if proven["tflm"] is None else proven["tflm"]
    flash, ram = show("flash_bytes", firmware.flash_bytes), show("ram_bytes", firmware.ram_bytes)
    rows = (
        ("MACs", f"{model['macs']:,}"),
        ("flash", f"{flash}, of it {show('flash_bytes', model['constant_bytes'])} constants"),
        ("RAM", f"{ram} with stack and protocol buffers; arena {firmware.arena_bytes:,} bytes"),
        ("arena peak", "at " + ", ".join(manifest["arena"]["peak_ops"])),
        ("bit-exact", f"{proven['vectors']} random vectors: generated C here {proven['host_c']}, TFLite Micro {tflm}"),
        ("firmware", str(firmware.folder)),
        ("arena picture", str(firmware.folder / "arena.svg")),
    )  # fmt: skip
    _print_rows(rows, console)


def measured_json(result: Result) -> str:
    """The figures of replayed inputs, in the shape of a run's report.json."""
    m = result.measurement
    scored = result.scores
    return _text(
        {
            "kind": result.kind,
            "device": m.device,
            "accuracy": {"device": result.top1, "recall": scored.recall if scored else None},
            "bit_exact": {
                "vectors": result.bit_exact.vectors,
                "equal": result.bit_exact.equal,
                "oracles": dict(result.bit_exact.oracles),
            },
            "measurement": {
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
            },
            "notes": list(result.notes),
        }
    )


def print_measured(result: Result, console: Console) -> None:
    m, exact = result.measurement, result.bit_exact
    rows = [("device", m.device), ("bit-exact", oracle_line(exact))]
    if result.scores:
        right = round(result.scores.accuracy * exact.vectors)
        share = f"{100 * result.scores.accuracy:.1f} %"
        rows.append(("top-1", f"{right:,} of {exact.vectors:,} ({share}), answered by the device"))
        recall = ", ".join(f"{name}: {100 * value:.1f}" for name, value in result.scores.recall.items())
        rows.append(("recall in %", recall))
    latency = show("latency_us_median", result.latency_us_median)
    rows.append(("latency", f"{latency} median of {len(m.ticks)} runs ({result.kind})"))
    if m.instructions is not None and m.cycles is not None:
        band = f", {m.cycles_low:,} to {m.cycles_high:,}" if m.cycles_low and m.cycles_high else ""
        rows.append(("instructions", f"{m.instructions:,} (exact); cycles {m.cycles:,} (estimated{band})"))
    rows.append(("energy", f"{show('energy_uj', result.energy_uj)} (estimated)"))
    _print_rows(rows, console)
    for note in result.notes:
        console.print(note, style="dim", highlight=False)


def write_json(text: str, path: Path | None) -> None:
    if path is not None:
        path.write_text(text, encoding="utf-8")


def _print_rows(rows: Any, console: Console) -> None:
    grid = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in rows:
        grid.add_row(Text(label, style="bold"), Text(value))
    console.print(grid)


def _text(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"

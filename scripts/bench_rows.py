"""What `make bench` found, a row a model, core and mode; and what another engine needs for the same file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.display import byte_size
from pipeline.report.figures import show

BASELINES = Path(__file__).with_name("baselines.toml")


@dataclass(frozen=True, slots=True)
class Subject:
    """A model that is measured: its name; its file, that one's sha256 and the multiply-accumulates in it, before any pass:
    None, "" and 0 of a built-in network."""

    name: str
    file: Path | None = None
    sha256: str = ""
    macs: int = 0


@dataclass(frozen=True, slots=True)
class LayerCost:
    """`variant` is the kernel that computes the layer, `shape` that of what it writes."""

    kind: str
    shape: str
    variant: str
    instructions: int


@dataclass(frozen=True, slots=True)
class Row:
    """One model on one core. `macs` are those that the passes left; `model_flash_bytes` and `arena_bytes` are the model's
    own part of the image's flash and RAM; `oracles` are who else gave the same answers; `ratio` says how many times as many
    instructions the baseline takes, None where there is none."""

    subject: Subject
    target: str
    optimize: str
    macs: int
    instructions: int
    cycles: int
    cycles_low: int
    cycles_high: int
    latency_us: float
    model_flash_bytes: int
    arena_bytes: int
    flash_bytes: int
    ram_bytes: int
    bit_exact: str
    oracles: frozenset[str]
    ratio: float | None = None
    layers: tuple[LayerCost, ...] = ()


@dataclass(frozen=True, slots=True)
class Unfit:
    """A model that the target has no room for."""

    subject: Subject
    target: str
    optimize: str
    why: str


@dataclass(frozen=True, slots=True)
class Peer:
    """What the baseline's engine needs for the file with this sha256."""

    name: str
    sha256: str
    instructions: int
    cycles: int
    arena_bytes: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """Recorded figures of another engine, on one core."""

    engine: str
    core: str
    conditions: str
    models: tuple[Peer, ...]

    @classmethod
    def read(cls, path: Path = BASELINES) -> Baseline:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        return cls(**{**table, "models": tuple(Peer(**model) for model in table["models"])})

    def of(self, sha256: str) -> Peer | None:
        """The figures for the very file with this sha256: another of that name is another model."""
        return next((peer for peer in self.models if peer.sha256 == sha256), None)

    def ratio(self, sha256: str, core: str, instructions: int) -> float | None:
        peer = self.of(sha256) if core == self.core else None
        return peer.instructions / instructions if peer else None


COLUMNS: dict[str, Callable[[Row], str]] = {
    "model": lambda r: r.subject.name,
    "optimize": lambda r: r.optimize,
    "MACs": lambda r: f"{r.macs:,}",
    "instructions": lambda r: f"{r.instructions:,}",
    "per MAC": lambda r: f"{r.instructions / r.macs:.2f}",
    "cycles": lambda r: millions(r.cycles),
    "band": lambda r: f"{millions(r.cycles_low)} to {millions(r.cycles_high)}",
    "latency": lambda r: show("latency_us_median", r.latency_us),
    "model flash": lambda r: byte_size(r.model_flash_bytes),
    "model RAM": lambda r: byte_size(r.arena_bytes),
    "flash": lambda r: byte_size(r.flash_bytes),
    "RAM": lambda r: byte_size(r.ram_bytes),
    "ratio": lambda r: f"{r.ratio:.2f}" if r.ratio else "",
    "bit-exact": lambda r: r.bit_exact,
}
UNFIT = "does not fit"


def cells(row: Row | Unfit, columns: Sequence[str]) -> tuple[str, ...]:
    """The row under `columns`, names of `COLUMNS`."""
    if isinstance(row, Row):
        return tuple(COLUMNS[name](row) for name in columns)
    known = {"model": row.subject.name, "optimize": row.optimize, "instructions": UNFIT}
    return tuple(known.get(name, "") for name in columns)


def millions(count: float) -> str:
    """Three digits, those that are 0 among them: `10.0 M`, `376 k`."""
    unit, step = ("M", 1e6) if count >= 999_500 else ("k", 1e3)
    return f"{count / step:#.3g}".rstrip(".") + f" {unit}"

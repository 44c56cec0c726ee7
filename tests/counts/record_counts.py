"""Counts everything anew and rewrites the table: `make counts`. Read the diff."""

from __future__ import annotations

import tempfile
from pathlib import Path

from count_table import TABLE, Table
from counted import compiler
from subjects import CORES, costs


def main() -> None:
    rows = {}
    for core in CORES:
        with tempfile.TemporaryDirectory() as folder:
            rows.update(costs(core, Path(folder)))
    Table(compiler(), rows).write()
    print(f"{TABLE}: {len(rows)} rows, {compiler()}")


if __name__ == "__main__":
    main()

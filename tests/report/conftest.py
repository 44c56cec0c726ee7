"""One finished run for all tests of what is shown of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from finished import finished_run

from pipeline.report.figures import Report


@pytest.fixture
def report(tmp_path: Path) -> Report:
    return finished_run(tmp_path / "digits-cortex-m4-1")

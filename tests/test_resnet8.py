"""MLPerf Tiny's ResNet-8 with the weights of its authors, through quantize, codegen and the emulated board."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import run_recipe

pytestmark = [pytest.mark.cross, pytest.mark.qemu, pytest.mark.unmeasured]
RECIPE = """
name = "resnet8"
[data]
source = "{shared}/data/cifar10.npz"
mean = 0.0
std = 1.0
[model]
factory = "resnet8"
checkpoint = "{shared}/models/pretrained/mlperf_resnet8_float.npz"
[quantize]
[measure]
vectors = 25
runs = 1
"""


def test_pretrained_resnet8_keeps_its_accuracy(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE.format(shared=shared))
    report = run_recipe(tmp_path / "recipe.toml", "cortex-m4", out=tmp_path / "build").json()
    accuracy = report["accuracy"]
    assert accuracy["float"] == pytest.approx(0.86, abs=5e-4), "what the Keras original gives on these 2,000 images"
    assert abs(accuracy["int8"] - accuracy["float"]) <= 0.01
    macs = {s["name"]: s["metrics"]["macs"] for s in report["stages"] if "macs" in s["metrics"]}
    assert set(macs.values()) == {12_501_632}
    assert report["bit_exact"]["vectors"] == report["bit_exact"]["equal"] == 25
    assert all(n in (25, None) for n in report["bit_exact"]["oracles"].values())
    assert report["bit_exact"]["oracles"]["device"] == 25

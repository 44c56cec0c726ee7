"""Firmware within a budget, or within a target that the fastest choice is too large for: built again, smaller."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from example_graphs import small_cnn
from example_target import BOARD
from packaged import model_of

from pipeline.artifacts import Firmware
from pipeline.errors import TargetError
from pipeline.firmware import cortex_m
from pipeline.firmware.cortex_m import write_firmware
from pipeline.firmware.manifest import read_manifest
from pipeline.host import build
from pipeline.lowering.budget import NO_LIMIT, Budget

pytestmark = pytest.mark.cross


@dataclass
class Built:
    """Counts what is built and proven; `larger` is what the model's code takes more than it does."""

    larger: int = 0
    builds: int = 0
    proofs: int = 0


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    counts = Built()
    cross_build, prove = build.cross_build, cortex_m.prove

    def counted_build(*arguments: Any) -> build.Image:
        counts.builds += 1
        image = cross_build(*arguments)
        return replace(image, model_flash_bytes=image.model_flash_bytes + counts.larger)

    def counted_proof(*arguments: Any) -> Any:
        counts.proofs += 1
        return prove(*arguments)

    monkeypatch.setattr(build, "cross_build", counted_build)
    monkeypatch.setattr(cortex_m, "prove", counted_proof)
    return counts


def written(folder: Path, budget: Budget = NO_LIMIT, **memory: int) -> Firmware:
    target = replace(BOARD, memory=replace(BOARD.memory, **memory))
    return write_firmware(model_of(small_cnn()), target, folder / "firmware", budget=budget)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> tuple[Firmware, Firmware]:
    """The fastest, the smallest."""
    return written(tmp_path_factory.mktemp("fast")), written(tmp_path_factory.mktemp("small"), Budget("size"))


Limit = Callable[[Firmware, Firmware], dict[str, Any]]
BETWEEN: dict[str, tuple[int, Limit]] = {
    "budget": (8000, lambda _, small: {"budget": Budget(model_flash_bytes=small.model_flash_bytes + 8000)}),
    "flash": (0, lambda fast, small: {"flash_bytes": (fast.flash_bytes + small.flash_bytes) // 2}),
    "RAM": (0, lambda fast, _: {"ram_bytes": fast.ram_bytes - 1}),
}


@pytest.mark.parametrize("what", BETWEEN)
def test_what_the_linker_finds_too_large_is_made_smaller(
    what: str, ends: tuple[Firmware, Firmware], built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.lowering.lower.FIRMWARE_BYTES", 0)  # so that the first attempt is as fast as can be
    built.larger, limit = BETWEEN[what]
    firmware = written(tmp_path, **limit(*ends))
    assert 2 <= built.builds <= 6
    assert built.proofs == 1
    given = limit(*ends)
    assert firmware.flash_bytes <= given.get("flash_bytes", firmware.flash_bytes)
    assert firmware.ram_bytes <= given.get("ram_bytes", firmware.ram_bytes)
    assert firmware.model_flash_bytes <= (given.get("budget", NO_LIMIT).model_flash_bytes or firmware.model_flash_bytes)
    assert firmware.sha256 != ends[0].sha256
    chosen = [layer["variant"] for layer in read_manifest(firmware.folder)["layers"]]
    assert chosen != [layer["variant"] for layer in read_manifest(ends[0].folder)["layers"]]


def test_below_the_least_the_bytes_and_the_layers_are_named(
    ends: tuple[Firmware, Firmware], built: Built, tmp_path: Path
) -> None:
    least = ends[1].model_flash_bytes
    for budget in (Budget(model_flash_bytes=least - 1), Budget("balanced", 2000)):
        with pytest.raises(TargetError) as caught:
            written(tmp_path, budget)
        assert f"with {budget.model_flash_bytes:,} bytes of flash for constants and code" in str(caught.value)
        assert f"it takes {least:,}, most of it in the layers 7 'probabilities' (softmax) 1,024, 0 'stem'" in str(
            caught.value
        )
    assert list(tmp_path.iterdir()) == []
    assert built.proofs == 0
    assert written(tmp_path, Budget(model_flash_bytes=least)).model_flash_bytes == least

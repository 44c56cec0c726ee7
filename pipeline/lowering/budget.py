"""What a model may take of a target, and what is to be least of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast, get_args

from pipeline.errors import RecipeError, did_you_mean

Optimize = Literal["speed", "size", "balanced"]


@dataclass(frozen=True, slots=True)
class Budget:
    """`optimize`: the fewest cycles, as estimated ("speed"), the least flash ("size"), or a percent of one for a percent of
    the other ("balanced"). The others are what the model alone may take, the firmware around it apart: constants and code of
    kernels and layers in flash; activations, inputs, outputs and scratch in RAM. None: what the target has."""

    optimize: Optimize = "speed"
    model_flash_bytes: int | None = None
    model_ram_bytes: int | None = None

    def __post_init__(self) -> None:
        modes = get_args(Optimize)
        if self.optimize not in modes:
            hint = did_you_mean(self.optimize, modes)
            raise RecipeError(f"there is no optimize = {self.optimize!r}.{hint} Take one of {', '.join(modes)}.")
        for name in ("model_flash_bytes", "model_ram_bytes"):
            limit = getattr(self, name)
            if limit is not None and limit < 1:
                raise RecipeError(f"{name} = {limit} leaves no room at all; give bytes, or leave it out.")

    def tighter(self, region: str, excess_bytes: int, flash_bytes: int, arena_bytes: int) -> Budget:
        """For another attempt, after one that was thought to take `flash_bytes` and `arena_bytes` took `excess_bytes` too
        many in this region of the linker's ("FLASH", "RAM")."""
        if region == "FLASH":
            return replace(self, model_flash_bytes=max(1, flash_bytes - excess_bytes))
        return replace(self, model_ram_bytes=max(1, arena_bytes - excess_bytes))


NO_LIMIT = Budget()


def budget_of(optimize: str, model_flash_bytes: int | None, model_ram_bytes: int | None) -> Budget:
    """Of words from a command line; RecipeError for a mode that there is not."""
    return Budget(cast("Optimize", optimize), model_flash_bytes, model_ram_bytes)

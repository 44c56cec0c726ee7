"""The firmware's clock, compiled for this machine over registers that are plain variables."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.locations import data_dir

BOARD = """
#define BOARD_CORE_HZ {hz}u
#define BOARD_HAS_DWT 0
"""

CORE = """
#include <stdint.h>
static volatile uint32_t SYSTICK_CONTROL, SYSTICK_RELOAD, SYSTICK_VALUE, SCB_ICSR, DEMCR, DWT_CONTROL, DWT_CYCCNT;
static inline uint32_t interrupts_off(void) { return 0; }
static inline void interrupts_restore(uint32_t before) { (void)before; }
static inline void wait_for_interrupt(void) {}
"""

PROGRAM = """
#include <inttypes.h>
#include <stdio.h>
#include "clock.c"

int main(void)
{
    clock_init();
    SYSTICK_VALUE = (1u << 24) - 5;     /* it counts down: 5 cycles into the period */
    for (int i = 0; i < PERIODS; i++)
        clock_interrupt();
    printf("%" PRIu64 " %" PRIu64 "\\n", clock_now(), clock_us());
}
"""


@pytest.mark.parametrize("hz", [120_000_000, 25_000_000, 2_097_000, 32_768])
def test_microseconds_are_right_at_any_clock(hz: int, tmp_path: Path) -> None:
    """An STM32L1 starts at 2.097 MHz; 200,000 periods are more than a day of it."""
    for name, text in (("board.h", BOARD.format(hz=hz)), ("core.h", CORE), ("program.c", PROGRAM)):
        (tmp_path / name).write_text(text)
    templates = data_dir("firmware_templates") / "cortex_m"
    for name in ("clock.c", "clock.h"):
        (tmp_path / name).write_bytes((templates / name).read_bytes())
    for periods in (0, 3, 200_000):
        command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", f"-DPERIODS={periods}", "program.c", "-o", "program"]
        subprocess.run(command, cwd=tmp_path, check=True)
        said = subprocess.run([tmp_path / "program"], capture_output=True, text=True, check=True).stdout.split()
        cycles = (periods << 24) + 5
        assert list(map(int, said)) == [cycles, cycles * 1_000_000 // hz]

"""What this computer is (`info`), how it is doing (`state`), and how much memory this process took (`memory`)."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import sys
import time
from typing import Any

from clocks import Window
from engines import installed
from fields import field
from power import RAILS
from system import output_of, text_of
from wire import PROTOCOL


def info(_models: dict[str, Any], _request: dict[str, Any]) -> dict[str, Any]:
    """What this computer is; nothing here changes while it runs."""
    release = dict(line.split("=", 1) for line in (text_of("/etc/os-release") or "").splitlines() if "=" in line)
    memory = (text_of("/proc/meminfo") or "").split()
    return {
        "protocol": PROTOCOL,
        "model": text_of("/proc/device-tree/model") or text_of("/sys/class/dmi/id/product_name") or platform.machine(),
        "os": release.get("PRETTY_NAME", platform.system()).strip('"'),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "bits": 8 * ctypes.sizeof(ctypes.c_void_p),
        "python": platform.python_version(),
        "executable": sys.executable,
        "libc": "-".join(platform.libc_ver()),
        "engines": installed(),
        "cores": len(os.sched_getaffinity(0)),
        "ram_bytes": int(memory[1]) * 1024 if memory[:1] == ["MemTotal:"] else 0,
        "disk_free_bytes": shutil.disk_usage(".").free,
        "pmic": output_of(*RAILS) is not None,
        "venv": bool(importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")),
    }


def state(_models: dict[str, Any], request: dict[str, Any]) -> dict[str, Any]:
    """How it is doing; watches the other processes for `seconds`."""
    window = Window()
    time.sleep(field(request, "seconds", float, 0.5, 0.0, 10.0))
    return {
        "temperature_c": temperature_c(),
        "governors": sorted(set(cpu_files("scaling_governor"))),
        "frequencies_khz": [int(f) for f in cpu_files("scaling_cur_freq") if f.isdigit()],
        "throttled": throttled(),
        "others_cores": window.close()["others_cores"],
        "load_average": os.getloadavg()[0],
        "wall": time.time(),
    }


def memory(_models: dict[str, Any], _request: dict[str, Any]) -> dict[str, Any]:
    """The largest resident size so far, interpreter and engine included. getrusage would start at the parent's."""
    status = dict(line.split(":", 1) for line in (text_of("/proc/self/status") or "").splitlines() if ":" in line)
    return {"peak_rss_bytes": int(status.get("VmHWM", "0 kB").split()[0]) * 1024}


def throttled() -> int | None:
    """The firmware's flags, None where there are none (no Raspberry Pi)."""
    text = output_of("vcgencmd", "get_throttled")
    try:
        return int(text.split("=")[1], 0) if text else None
    except (IndexError, ValueError):
        return None


def cpu_files(name: str) -> list[str]:
    """One text for each core that has the cpufreq file."""
    cores = range(os.cpu_count() or 1)
    texts = (text_of(f"/sys/devices/system/cpu/cpu{i}/cpufreq/{name}") for i in cores)
    return [t for t in texts if t is not None]


def temperature_c() -> float | None:
    """Of the hottest thermal zone."""
    zones = [text_of(f"/sys/class/thermal/thermal_zone{i}/temp") for i in range(16)]
    values = [int(z) / 1000 for z in zones if z and z.lstrip("-").isdigit()]
    return max(values, default=None)

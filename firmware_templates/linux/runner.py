#!/usr/bin/env python3
"""Runs one or more models on a Linux computer and answers requests: one JSON object a line, on stdin and stdout.

Needs Python 3.8, numpy, and onnxruntime, ai_edge_litert or tflite_runtime; `info`, `state` and `venv` need Python alone.

Request   {"id": 1, "op": "load", ...}          the operations are the methods of `Operations`
Answer    {"id": 1, "ok": true, ...}            or {"id": 1, "ok": false, "error": {"name": "...", "message": "..."}}

`ping` is answered at any time, by another thread. The process ends when stdin ends, or when nothing came for a minute:
whoever started it is gone. Arrays travel as {"dtype", "shape", "data" (base64), "crc32" (of the bytes)}.
"""

# ruff: noqa: B905  (zip has no `strict` before Python 3.10)
from __future__ import annotations

import base64
import ctypes
import gc
import hashlib
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it is imported: ONNX Runtime 1.31 reports its use to Microsoft otherwise

PROTOCOL = 1
SILENCE_S = 60.0
MAX_LINE = 32 * 2**20
MAX_BYTES = 16 * 2**20  # of one array
MAX_MODEL_BYTES = 2**30
MAX_MODELS = 4
MAX_RUNS = 200_000
MAX_SECONDS = 300.0
LITTLE_DISK = 4 * 2**20
DTYPES = ("uint8", "int8", "int32", "int64", "float32")
ENGINES = {
    "onnxruntime": "onnxruntime",
    "ai_edge_litert": "ai-edge-litert",
    "tflite_runtime": "tflite-runtime",
}  # by package
OPTIMIZATION = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
RAILS = ("vcgencmd", "pmic_read_adc")
LIBC = ctypes.CDLL(None)


class Refused(Exception):
    """A request that can not be met; `name` is for programs, the message for people."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


# --- requests: nothing in them is trusted


def field(request, name, kind, default=None, low=None, high=None):
    """request[name], of this type and in these bounds; `default` when it is not given."""
    value = request.get(name, default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Refused("BadRequest", f"{name} must be of type {kind.__name__}, got {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise Refused("BadRequest", f"{name} is not a finite number")
    if low is not None and not low <= value <= high:
        raise Refused("BadRequest", f"{name} must be between {low} and {high}, got {value}")
    return value


def choice(request, name, known, default):
    value = field(request, name, str, default)
    if value not in known:
        raise Refused("BadRequest", f"{name} must be one of {', '.join(known)}")
    return value


def decode(value):
    """The array that a JSON value describes."""
    import numpy as np

    if not isinstance(value, dict) or value.get("dtype") not in DTYPES:
        raise Refused("BadRequest", f"an array needs dtype ({', '.join(DTYPES)}), shape, data and crc32")
    shape = value.get("shape")
    if not isinstance(shape, list) or len(shape) > 8 or not all(type(n) is int and 0 < n <= MAX_BYTES for n in shape):
        raise Refused("BadRequest", "shape must be at most 8 positive integers")
    dtype = np.dtype(value["dtype"])
    size = math.prod(shape) * dtype.itemsize
    if size > MAX_BYTES:
        raise Refused("TooLarge", f"an array of {size} bytes; the limit is {MAX_BYTES}")
    data = field(value, "data", str)
    if len(data) != 4 * ((size + 2) // 3):
        raise Refused("BadRequest", f"shape and dtype need {size} bytes, data has another length")
    try:
        raw = base64.b64decode(data, validate=True)
    except ValueError:
        raise Refused("BadRequest", "data is not base64") from None
    if len(raw) != size or zlib.crc32(raw) != value.get("crc32"):
        raise Refused("Damaged", "the array's bytes do not have its length and crc32")
    return np.frombuffer(raw, dtype).reshape(shape)


def encode(array):
    import numpy as np

    raw = np.ascontiguousarray(array).tobytes()
    data = base64.b64encode(raw).decode("ascii")
    return {"dtype": str(array.dtype), "shape": list(array.shape), "data": data, "crc32": zlib.crc32(raw)}


# --- what this computer is and how it is doing


def text_of(path, limit=4096):
    try:
        with open(path, "rb") as f:
            return f.read(limit).decode("utf-8", "replace").strip("\0\n ")
    except OSError:
        return None


def output_of(*command):
    """The standard output of a short command, None when it is missing or fails."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace")[:8192] if done.returncode == 0 else None


def engines():
    """Installed version of each engine, by import name; numpy is needed for all."""
    found = {}
    for module, package in ENGINES.items():
        if importlib.util.find_spec(module) and importlib.util.find_spec("numpy"):
            try:
                found[module] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                found[module] = "unknown"
    return found


def throttled():
    """The firmware's flags, None where there are none (no Raspberry Pi)."""
    text = output_of("vcgencmd", "get_throttled")
    try:
        return int(text.split("=")[1], 0) if text else None
    except (IndexError, ValueError):
        return None


def cpu_files(name):
    """One text for each core that has the cpufreq file."""
    cores = range(os.cpu_count() or 1)
    texts = (text_of(f"/sys/devices/system/cpu/cpu{i}/cpufreq/{name}") for i in cores)
    return [t for t in texts if t is not None]


def temperature_c():
    """Of the hottest thermal zone."""
    zones = [text_of(f"/sys/class/thermal/thermal_zone{i}/temp") for i in range(16)]
    values = [int(z) / 1000 for z in zones if z and z.lstrip("-").isdigit()]
    return max(values, default=None)


def busy_s():
    """CPU seconds that all processes have used since boot."""
    line = (text_of("/proc/stat") or "").split("\n", 1)[0].split()
    if len(line) < 8:
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq = map(int, line[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def own_s():
    """CPU seconds that this process and its ended children have used."""
    return sum(os.times()[:4])


class Window:
    """What happened to clocks, CPU and temperature between the start and `close`."""

    def __init__(self):
        self.before = self.clocks()
        self.busy, self.own = busy_s(), own_s()

    @staticmethod
    def clocks():
        return {
            "monotonic_ns": time.monotonic_ns(),
            "raw_ns": time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW),
            "boot_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            "wall_ns": time.time_ns(),
        }

    def close(self):
        after = self.clocks()
        elapsed = {name: after[name] - self.before[name] for name in after}
        others = max(0.0, (busy_s() - self.busy) - (own_s() - self.own))
        seconds = max(elapsed["monotonic_ns"] / 1e9, 1e-9)
        return {"elapsed": elapsed, "others_cores": others / seconds}


# --- engines: each has `inputs` and `outputs` (name, dtype, shape) and `run(arrays) -> arrays`


class OnnxRuntime:
    profiles = True

    def __init__(self, path, options, profile_prefix=None):
        import numpy as np
        import onnxruntime

        so = onnxruntime.SessionOptions()
        so.intra_op_num_threads = options["threads"]
        so.inter_op_num_threads = options["inter_threads"]
        so.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, OPTIMIZATION[options["optimization"]])
        so.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        so.log_severity_level = 4
        so.add_session_config_entry("session.intra_op.allow_spinning", str(int(options["spinning"])))
        so.add_session_config_entry("session.x64quantprecision", str(int(saturates())))
        if profile_prefix:
            so.enable_profiling = True
            so.profile_file_prefix = profile_prefix
        self.session = onnxruntime.InferenceSession(path, so, providers=["CPUExecutionProvider"])
        kinds = {"tensor(float)": "float32"}
        self.inputs, self.outputs = (
            [(v.name, str(np.dtype(kinds.get(v.type, v.type[7:-1]))), list(v.shape)) for v in side]
            for side in (self.session.get_inputs(), self.session.get_outputs())
        )
        self.names = [name for name, _, _ in self.inputs]

    def run(self, arrays):
        return self.session.run(None, dict(zip(self.names, arrays)))

    def profile(self):
        """Microseconds by node over all runs, from ONNX Runtime's own trace."""
        path = self.session.end_profiling()
        with open(path, encoding="utf-8") as f:
            events = json.load(f)
        os.unlink(path)
        nodes = {}
        for e in events:
            if e.get("cat") == "Node" and e.get("name", "").endswith("_kernel_time"):
                key = e["name"][: -len("_kernel_time")]
                node = nodes.setdefault(key, {"node": key, "operator": e["args"].get("op_name", "?"), "us": 0.0})
                node["us"] += e["dur"]
        return list(nodes.values())


class LiteRt:
    profiles = False

    def __init__(self, path, options, profile_prefix=None):
        import numpy as np

        if options["engine"] == "ai_edge_litert":
            from ai_edge_litert.interpreter import Interpreter
        else:
            from tflite_runtime.interpreter import Interpreter
        self.interpreter = Interpreter(model_path=path, num_threads=options["threads"])
        self.interpreter.allocate_tensors()
        sides = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        self.inputs, self.outputs = (
            [(d["name"], str(np.dtype(d["dtype"])), [int(n) for n in d["shape"]]) for d in side] for side in sides
        )
        self.input_ids, self.output_ids = ([d["index"] for d in side] for side in sides)

    def run(self, arrays):
        for index, array in zip(self.input_ids, arrays):
            self.interpreter.set_tensor(index, array)
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(index) for index in self.output_ids]


def saturates():
    """x86 without VNNI adds pairs of int8 products in 16 bits, which overflow; ONNX Runtime has an exact mode for it."""
    return platform.machine() in ("x86_64", "AMD64") and "vnni" not in (text_of("/proc/cpuinfo", 65536) or "")


class Model:
    """One loaded model and the input it is timed with."""

    def __init__(self, path, options):
        self.path, self.options = path, options
        self.engine = self.open()
        self.feed = None

    def open(self, profile_prefix=None):
        kind = OnnxRuntime if self.options["engine"] == "onnxruntime" else LiteRt
        return kind(self.path, self.options, profile_prefix)

    def fitting(self, arrays, several=False):
        """The arrays, refused unless they are this model's inputs (with `several`, each with one more leading axis)."""
        got = [(str(a.dtype), list(a.shape[1:] if several else a.shape)) for a in arrays]
        want = [(dtype, shape) for _, dtype, shape in self.engine.inputs]
        if got != want or (several and len({len(a) for a in arrays}) != 1):
            raise Refused("BadRequest", f"the model takes {want}, got {got}")
        return arrays

    def once(self):
        if self.feed is None:
            raise Refused("BadRequest", "no input yet: send `feed` first")
        return self.engine.run(self.feed)


def median_interval(samples, sigmas=1.96):
    """(low, median, high): the distribution-free 95 % interval of the median."""
    s = sorted(samples)
    n, reach = len(s), sigmas * math.sqrt(len(s)) / 2
    low, high = max(0, math.floor(n / 2 - reach)), min(n - 1, math.ceil(n / 2 + reach))
    return s[low], (s[(n - 1) // 2] + s[n // 2]) / 2, s[high]


def timed_block(model, runs):
    """Nanoseconds of each of `runs` inferences."""
    ticks = []
    clock, run, feed = time.perf_counter_ns, model.engine.run, model.feed
    for _ in range(runs):
        start = clock()
        run(feed)
        ticks.append(clock() - start)
    return ticks


class Operations:
    """Every public method is an operation: request in, answer out."""

    def __init__(self):
        self.models = {}

    def _model(self, request, key="name"):
        name = field(request, key, str, "")
        if name not in self.models:
            raise Refused("NotLoaded", f"no model {name[:80]!r} is loaded")
        return self.models[name]

    def info(self, request):
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
            "engines": engines(),
            "cores": len(os.sched_getaffinity(0)),
            "ram_bytes": int(memory[1]) * 1024 if memory[:1] == ["MemTotal:"] else 0,
            "disk_free_bytes": shutil.disk_usage(".").free,
            "pmic": output_of(*RAILS) is not None,
            "venv": bool(importlib.util.find_spec("venv") and importlib.util.find_spec("ensurepip")),
        }

    def state(self, request):
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

    def venv(self, request):
        """A virtual environment at `path` with `requirements`, from the index or only from the folder `wheels`."""
        path, wheels = field(request, "path", str), field(request, "wheels", str, "")
        requirements = field(request, "requirements", list)
        if not all(isinstance(r, str) and r and not r.startswith("-") for r in requirements) or path.startswith("-"):
            raise Refused("BadRequest", "requirements must be names of packages")
        if not importlib.util.find_spec("ensurepip"):
            raise Refused("NoVenv", "this Python has no ensurepip; on Debian: sudo apt install python3-venv")
        shutil.rmtree(path, ignore_errors=True)
        self._tool("NoVenv", sys.executable, "-m", "venv", path)  # leaves the folder there when it fails
        source = ["--no-index", "--find-links", wheels] if wheels else []
        install = [
            "-m",
            "pip",
            "install",
            "--no-input",
            "--disable-pip-version-check",
            "--no-cache-dir",
            "--only-binary",
            ":all:",
        ]
        install += ["--retries", "1", "--timeout", "15"]  # an offline computer must not wait for minutes
        self._tool("NoPackages", os.path.join(path, "bin", "python"), *install, *source, "--", *requirements)
        return {"executable": os.path.join(path, "bin", "python")}

    @staticmethod
    def _tool(error, *command):
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=900, check=False, preexec_fn=die_with_parent
            )
        except subprocess.TimeoutExpired:
            raise Refused(error, f"{' '.join(command[:4])} took more than 15 minutes") from None
        if done.returncode:
            words = (done.stderr + done.stdout).decode("utf-8", "replace").strip()[-600:]
            free = min(shutil.disk_usage(folder).free for folder in (".", ".cache") if os.path.isdir(folder))
            full = "No space left" in words or free < LITTLE_DISK  # venv keeps to itself why it failed
            raise Refused("DiskFull" if full else error, words or f"exit status {done.returncode}")

    def load(self, request):
        """Model file into a session with explicit options; its bytes must have this sha256."""
        name, path = field(request, "name", str), field(request, "file", str)
        if len(self.models) >= MAX_MODELS or name in self.models:
            raise Refused("BadRequest", f"model {name[:80]!r} is loaded already, or {MAX_MODELS} others")
        have = engines()
        known = [e for e in ENGINES if (e == "onnxruntime") == path.endswith(".onnx")]
        usable = [e for e in known if e in have]
        if not usable:
            raise Refused("NoEngine", f"{sys.executable} has none of {', '.join(known)} with numpy")
        options = {
            "engine": choice(request, "engine", usable, usable[0]),
            "threads": field(request, "threads", int, 1, 1, 256),
            "inter_threads": field(request, "inter_threads", int, 1, 1, 256),
            "optimization": choice(request, "optimization", OPTIMIZATION, "all"),
            "spinning": field(request, "spinning", bool, True),
        }
        cpus = field(request, "affinity", list, [])
        if cpus:
            allowed = os.sched_getaffinity(0)
            if not all(type(c) is int for c in cpus) or not set(cpus) <= allowed:
                raise Refused("BadRequest", f"affinity must name cores of {sorted(allowed)}")
            os.sched_setaffinity(0, cpus)  # inherited by the engine's threads, which start now
        try:
            size = os.path.getsize(path)
            if size > MAX_MODEL_BYTES:
                raise Refused("TooLarge", f"{size} bytes of model; the limit is {MAX_MODEL_BYTES}")
            with open(path, "rb") as f:
                digest = hashlib.sha256(f.read()).hexdigest()
        except OSError as e:
            raise Refused("NoFile", f"{path[:200]}: {e.strerror}") from None
        if digest != field(request, "sha256", str):
            raise Refused("Damaged", f"{path[:200]} does not have the sha256 that was asked for")
        start = time.perf_counter_ns()
        importlib.import_module(options["engine"])
        imported = time.perf_counter_ns()
        self.models[name] = Model(path, options)
        return {
            "options": {**options, "affinity": sorted(os.sched_getaffinity(0))},
            "engine_version": have[options["engine"]],
            "import_ns": imported - start,
            "load_ns": time.perf_counter_ns() - imported,
            "inputs": self.models[name].engine.inputs,
            "outputs": self.models[name].engine.outputs,
        }

    def feed(self, request):
        """The input of `warmup`, `time`, `throughput`, `profile` and `power`; the answer to it, and how long that took."""
        model = self._model(request)
        model.feed = model.fitting([decode(v) for v in field(request, "inputs", list)])
        start = time.perf_counter_ns()
        outputs = model.once()
        return {"first_ns": time.perf_counter_ns() - start, "outputs": [encode(y) for y in outputs]}

    def replay(self, request):
        """The answers to n inputs, arrays with one more leading axis."""
        import numpy as np

        model = self._model(request)
        inputs = model.fitting([decode(v) for v in field(request, "inputs", list)], several=True)
        answers = [model.engine.run([x[i] for x in inputs]) for i in range(len(inputs[0]))]
        return {"outputs": [encode(np.stack(y)) for y in zip(*answers)]}

    def warmup(self, request):
        """Run until the medians of three windows in a row are within 3 %, at most `seconds`."""
        model, seconds = self._model(request), field(request, "seconds", float, 5.0, 0.01, MAX_SECONDS)
        start = time.perf_counter_ns()
        model.once()
        runs = max(5, min(1000, int(2e7 / max(time.perf_counter_ns() - start, 1))))
        medians, total = [], 1
        while True:
            medians.append(median_interval(timed_block(model, runs))[1])
            total += runs
            last = medians[-3:]
            steady = len(last) == 3 and max(last) <= 1.03 * min(last)
            if steady or time.perf_counter_ns() - start > seconds * 1e9:
                break
        return {
            "runs": total,
            "seconds": (time.perf_counter_ns() - start) / 1e9,
            "steady": steady,
            "medians_ns": medians[:1000],
        }

    def time(self, request):
        """Time models, block by block in turn, for `min_seconds` and until each median's 95 % interval is narrower than
        `interval` of it, at most `seconds`."""
        import numpy as np

        names = field(request, "names", list)
        if not names or len(names) > MAX_MODELS or not all(isinstance(n, str) for n in names):
            raise Refused("BadRequest", "names must be a list of loaded models")
        models = {n: self._model({"name": n}) for n in names}
        seconds = field(request, "seconds", float, 10.0, 0.01, MAX_SECONDS)
        least_ns = field(request, "min_seconds", float, 1.0, 0.0, seconds) * 1e9
        interval = field(request, "interval", float, 0.01, 1e-4, 1.0)
        least = field(request, "min_runs", int, 100, 5, MAX_RUNS)
        most = field(request, "max_runs", int, 20_000, least, MAX_RUNS)
        outputs = {n: m.once() for n, m in models.items()}
        ticks = {n: [] for n in names}
        window, reached = Window(), False
        gc.disable()
        try:
            start, check = time.perf_counter_ns(), least
            while not reached and time.perf_counter_ns() - start < seconds * 1e9 and len(ticks[names[0]]) < most:
                for n in names:
                    ticks[n] += timed_block(models[n], 10)
                if len(ticks[names[0]]) >= check:  # sorting is not free: look again after a fifth more
                    check = int(1.2 * check) + 1
                    low, middle, high = zip(*(median_interval(t) for t in ticks.values()))
                    narrow = all(b - a <= interval * m for a, m, b in zip(low, middle, high))
                    reached = narrow and time.perf_counter_ns() - start >= least_ns
        finally:
            gc.enable()
        crcs = {n: [zlib.crc32(np.ascontiguousarray(y).tobytes()) for y in m.once()] for n, m in models.items()}
        for n, first in outputs.items():
            if crcs[n] != [zlib.crc32(np.ascontiguousarray(y).tobytes()) for y in first]:
                raise Refused(
                    "Unstable", f"model {n[:80]!r} answers the same input with other bytes after {len(ticks[n])} runs"
                )
        return {
            "ticks_ns": {n: encode(np.array(t, np.int64)) for n, t in ticks.items()},
            "reached": reached,
            "window": window.close(),
        }

    def memory(self, request):
        """The largest resident size so far, interpreter and engine included. getrusage would start at the parent's."""
        status = dict(line.split(":", 1) for line in (text_of("/proc/self/status") or "").splitlines() if ":" in line)
        return {"peak_rss_bytes": int(status.get("VmHWM", "0 kB").split()[0]) * 1024}

    def throughput(self, request):
        """Inferences per second with `workers` sessions of one thread each, at the same time."""
        model = self._model(request)
        workers = field(request, "workers", int, 1, 1, 64)
        seconds = field(request, "seconds", float, 2.0, 0.01, MAX_SECONDS)
        feed = model.feed
        if feed is None:
            raise Refused("BadRequest", "no input yet: send `feed` first")
        single = Model(model.path, {**model.options, "threads": 1})
        engines_ = [single.engine, *(single.open() for _ in range(workers - 1))]
        counts, start, stop = [0] * workers, threading.Event(), threading.Event()

        def work(i):
            engines_[i].run(feed)
            start.wait()
            while not stop.is_set():
                engines_[i].run(feed)
                counts[i] += 1

        threads = [threading.Thread(target=work, args=(i,), daemon=True) for i in range(workers)]
        for t in threads:
            t.start()
        time.sleep(0.05)
        began = time.perf_counter_ns()
        start.set()
        time.sleep(seconds)
        stop.set()
        for t in threads:
            t.join()
        return {"per_second": sum(counts) * 1e9 / (time.perf_counter_ns() - began), "workers": workers}

    def profile(self, request):
        """Microseconds of each operator in one inference, None when the engine can not tell."""
        model, runs = self._model(request), field(request, "runs", int, 50, 1, 1000)
        if not model.engine.profiles or model.feed is None:
            return {"nodes": None}
        with tempfile.TemporaryDirectory() as folder:
            engine = model.open(os.path.join(folder, "profile"))
            for _ in range(runs):
                engine.run(model.feed)
            nodes = engine.profile()
        return {"nodes": [{**n, "us": n["us"] / runs} for n in nodes[:2000]]}

    def power(self, request):
        """What the power rails read every `interval` seconds, idle, or while a model runs again and again."""
        model = self._model(request) if request.get("name") else None
        seconds = field(request, "seconds", float, 5.0, 0.1, MAX_SECONDS)
        pause = field(request, "interval", float, 0.1, 0.02, 5.0)
        samples, stop = [], threading.Event()

        def sample():
            while not stop.is_set() and len(samples) < 3000:
                text = output_of(*RAILS)
                if text:
                    samples.append([time.monotonic_ns(), text])
                stop.wait(pause)

        thread = threading.Thread(target=sample, daemon=True)
        runs, start = 0, time.monotonic_ns()
        thread.start()
        while time.monotonic_ns() - start < seconds * 1e9:
            if model is None:
                time.sleep(0.05)
            else:
                model.once()
                runs += 1
        elapsed = time.monotonic_ns() - start
        stop.set()
        thread.join()
        return {"samples": samples, "runs": runs, "elapsed_ns": elapsed}

    def unload(self, request):
        self._model(request)
        del self.models[request["name"]]
        return {}


OPERATIONS = {name for name in vars(Operations) if not name.startswith("_")}


# --- the two threads


def die_with_parent():
    """In a child: be killed when this process ends, however it ends (prctl PR_SET_PDEATHSIG)."""
    LIBC.prctl(1, signal.SIGKILL)


class Wire:
    """Requests from stdin, answers to stdout; pings are answered and silence is noticed beside the work."""

    def __init__(self):
        self.requests = queue.Queue(maxsize=64)
        # Libraries that print must not break the protocol: what they take for stdout becomes stderr.
        self.out = os.fdopen(os.dup(1), "wb")
        os.dup2(2, 1)
        self.lock = threading.Lock()
        self.heard = time.monotonic()

    def send(self, answer):
        line = json.dumps(answer, allow_nan=False).encode("ascii") + b"\n"
        try:
            with self.lock:
                self.out.write(line)
                self.out.flush()
        except OSError:
            os._exit(0)  # nobody listens

    def read(self):
        """Lines into requests, until stdin ends; then the process goes, in the middle of its work if need be."""
        source = sys.stdin.buffer
        while True:
            line = source.readline(MAX_LINE + 1)
            self.heard = time.monotonic()
            if not line.endswith(b"\n"):
                if len(line) <= MAX_LINE:
                    os._exit(0)
                while not line.endswith(b"\n"):
                    line = source.readline(MAX_LINE)
                    if not line:
                        os._exit(0)
                self.send(failure(None, "TooLarge", f"a request of more than {MAX_LINE} bytes"))
                continue
            try:
                request = json.loads(line)
                number = request["id"]
                if type(number) is not int or type(request["op"]) is not str:
                    raise TypeError
            except (ValueError, TypeError, KeyError, RecursionError):
                self.send(failure(None, "BadRequest", "a request is a JSON object with an integer id and a string op"))
                continue
            if request["op"] == "ping":
                self.send({"id": number, "ok": True})
            else:
                self.requests.put(request)

    def watch(self):
        while time.monotonic() - self.heard < SILENCE_S:
            time.sleep(1)
        os._exit(0)


def failure(number, name, message):
    return {"id": number, "ok": False, "error": {"name": name, "message": message[:2000]}}


def answer(operations, request):
    number, op = request["id"], request["op"]
    if op not in OPERATIONS:
        return failure(number, "BadRequest", f"unknown operation {op[:80]!r}; known: {', '.join(sorted(OPERATIONS))}")
    try:
        return {"id": number, "ok": True, **getattr(operations, op)(request)}
    except Refused as e:
        return failure(number, e.name, str(e))
    except Exception as e:
        full = isinstance(e, OSError) and e.errno == 28
        return failure(number, "DiskFull" if full else type(e).__name__, str(e) or repr(e))


def main():
    wire, operations = Wire(), Operations()
    wire.send({"id": 0, "ok": True, "protocol": PROTOCOL, "python": platform.python_version(), "pid": os.getpid()})
    for thread in (wire.read, wire.watch):
        threading.Thread(target=thread, daemon=True).start()
    while True:
        request = wire.requests.get()
        if request["op"] == "quit":
            wire.send({"id": request["id"], "ok": True})
            os._exit(0)  # the other threads still hold stdin, which a proper shutdown would wait for
        wire.send(answer(operations, request))


if __name__ == "__main__":
    main()

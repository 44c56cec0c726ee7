"""ONNX Runtime and LiteRT behind one face; imported when a model needs them.

Both have `inputs` and `outputs`, lists of (name, dtype, shape), and `run(arrays) -> arrays`; ONNX Runtime also `profile()`.
"""

# ruff: noqa: B905  (zip has no `strict` before Python 3.10)
from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
from typing import TYPE_CHECKING, Any

from system import text_of

if TYPE_CHECKING:
    import numpy as np

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it is imported: ONNX Runtime 1.31 reports its use to Microsoft otherwise

PACKAGES = {
    "onnxruntime": "onnxruntime",
    "ai_edge_litert": "ai-edge-litert",
    "tflite_runtime": "tflite-runtime",
}
"""By the name under which each engine is imported."""
OPTIMIZATION = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}


def installed() -> dict[str, str]:
    """Version of each engine that is there, by import name; numpy is needed for all."""
    found = {}
    for module, package in PACKAGES.items():
        if importlib.util.find_spec(module) and importlib.util.find_spec("numpy"):
            try:
                found[module] = importlib.metadata.version(package)
            except importlib.metadata.PackageNotFoundError:
                found[module] = "unknown"
    return found


class OnnxRuntime:
    def __init__(self, path: str, options: dict[str, Any], profile_prefix: str | None = None) -> None:
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
        self._session = onnxruntime.InferenceSession(path, so, providers=["CPUExecutionProvider"])
        kinds = {"tensor(float)": "float32"}
        self.inputs, self.outputs = (
            [(v.name, str(np.dtype(kinds.get(v.type, v.type[7:-1]))), list(v.shape)) for v in side]
            for side in (self._session.get_inputs(), self._session.get_outputs())
        )
        self._names = [name for name, _, _ in self.inputs]

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        answers: list[np.ndarray] = self._session.run(None, dict(zip(self._names, arrays)))
        return answers

    def profile(self) -> list[dict[str, Any]]:
        """Microseconds by node over all runs, from ONNX Runtime's own trace; needs the `profile_prefix`."""
        path = self._session.end_profiling()
        with open(path, encoding="utf-8") as f:
            events = json.load(f)
        os.unlink(path)
        nodes: dict[str, dict[str, Any]] = {}
        for e in events:
            if e.get("cat") == "Node" and e.get("name", "").endswith("_kernel_time"):
                key = e["name"][: -len("_kernel_time")]
                node = nodes.setdefault(key, {"node": key, "operator": e["args"].get("op_name", "?"), "us": 0.0})
                node["us"] += e["dur"]
        return list(nodes.values())


class LiteRt:
    def __init__(self, path: str, options: dict[str, Any]) -> None:
        import numpy as np

        if options["engine"] == "ai_edge_litert":
            from ai_edge_litert.interpreter import Interpreter
        else:
            from tflite_runtime.interpreter import Interpreter
        self._interpreter = Interpreter(model_path=path, num_threads=options["threads"])
        self._interpreter.allocate_tensors()
        sides = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self.inputs, self.outputs = (
            [(d["name"], str(np.dtype(d["dtype"])), [int(n) for n in d["shape"]]) for d in side] for side in sides
        )
        self._input_ids, self._output_ids = ([d["index"] for d in side] for side in sides)

    def run(self, arrays: list[np.ndarray]) -> list[np.ndarray]:
        for index, array in zip(self._input_ids, arrays):
            self._interpreter.set_tensor(index, array)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._output_ids]


def saturates() -> bool:
    """x86 without VNNI adds pairs of int8 products in 16 bits, which overflow; ONNX Runtime has an exact mode for it."""
    return platform.machine() in ("x86_64", "AMD64") and "vnni" not in (text_of("/proc/cpuinfo", 65536) or "")

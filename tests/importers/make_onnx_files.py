"""Writes `files/*.onnx`: the nets of onnx_cases.py as quantize_static writes them, for the fuzzer to start from. Run by hand
when a case is added: python tests/importers/make_onnx_files.py"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from onnx_cases import NETS, quantized

if __name__ == "__main__":
    for name, net in NETS.items():
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(quantized(net, Path(folder)), Path(__file__).parent / "files" / f"{name}_qdq.onnx")

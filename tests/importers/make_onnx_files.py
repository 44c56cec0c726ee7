"""Writes `files/*.onnx`: the nets of onnx_cases.py as quantize_static writes them, for the fuzzer to start from. Run by hand
when a case is added: python tests/importers/make_onnx_files.py"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from onnx_cases import NETS, quantized
from onnxruntime.quantization import QuantType

FORMS: dict[str, dict[str, Any]] = {name: {} for name in NETS} | {
    "plain:uint8": {"activations": QuantType.QUInt8},
    "plain:float_weights": {"extra_options": {"AddQDQPairToWeight": True}},
}

if __name__ == "__main__":
    for form, options in FORMS.items():
        name, _, variant = form.partition(":")
        with tempfile.TemporaryDirectory() as folder:
            target = Path(__file__).parent / "files" / f"{'_'.join(filter(None, (name, variant)))}_qdq.onnx"
            shutil.copy(quantized(NETS[name], Path(folder), **options), target)

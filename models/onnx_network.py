"""An ONNX file as a network: ONNX Runtime on the CPU, behind the call that every network has."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from models.errors import OnnxMissing, WeightsCorrupt

if TYPE_CHECKING:
    from pathlib import Path

    import torch


def require_runtime() -> None:
    """Check that ONNX files can run here, without loading ONNX Runtime.

    Raises
    ------
    OnnxMissing
        ONNX Runtime is not installed.
    """
    if find_spec("onnxruntime") is None:
        raise OnnxMissing("onnxruntime not installed here, so no ONNX model can run; install the extra `onnx`")


def open_network(path: Path) -> torch.nn.Module:
    """Give an ONNX file as a module: float32 (items, channels, rows, columns) to float32 (items, outputs).

    It computes on the CPU with torch's number of threads, whatever device its input comes from.

    Raises
    ------
    OnnxMissing
        This machine cannot run ONNX files.
    WeightsCorrupt
        ONNX Runtime does not open the file.
    """
    require_runtime()
    import onnxruntime
    import torch

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = torch.get_num_threads(), 1
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no base of their own; the message may quote the file
        raise WeightsCorrupt(f"ONNX Runtime does not open {path.name} ({type(error).__name__})") from error
    (asked,) = session.get_inputs()

    class OnnxNetwork(torch.nn.Module):  # type: ignore[misc]
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(session.run(None, {asked.name: pixels.cpu().numpy()})[0])

    return OnnxNetwork().eval()

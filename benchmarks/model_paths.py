"""Which way through a network is fastest on this CPU: DenseNet121, one channel, 224 pixels, one thread.

Every path computes the same image of the same network in turn, round after round, so that other load falls on all of
them; what is told is processor time, the median of the rounds, beside torch as it comes.  How far each path's logits
are from those of torch in fp32 is told too, since a faster path that says something else is another model.

    python -m benchmarks.model_paths --rounds 20 --json result.json
    python -m benchmarks.model_paths --batch 8
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table

from benchmarks.peers import MissingError
from models import runtime
from models.networks import NetworkSpec, build

Floats = npt.NDArray[np.float32]
Path_ = Callable[[], Floats]

_SPEC = NetworkSpec(name="DenseNet121", arguments={"in_channels": 1, "out_channels": 18})


def paths(pixels: Floats, scratch: Path) -> tuple[dict[str, Path_], dict[str, str]]:
    """Give each path that can run here as a call, and why the others cannot."""
    import torch

    torch.manual_seed(0)
    network = build(_SPEC).eval()
    shown = torch.from_numpy(pixels)
    last = build(_SPEC).eval().to(memory_format=torch.channels_last)
    last.load_state_dict(network.state_dict())
    shown_last = shown.contiguous(memory_format=torch.channels_last)

    def eager() -> Floats:
        with torch.inference_mode():
            return network(shown).numpy()

    def channels_last() -> Floats:
        with torch.inference_mode():
            return last(shown_last).numpy()

    def bf16() -> Floats:
        with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
            return last(shown_last).float().numpy()

    found: dict[str, Path_] = {"torch": eager, "torch channels_last": channels_last, "torch bf16 channels_last": bf16}
    absent = {}
    for name, opened in (("ONNX Runtime", _onnx_runtime), ("OpenVINO", _openvino)):
        try:
            found |= opened(network, pixels, scratch)
        except MissingError as error:
            absent[name] = str(error)
    return found, absent


def _export(network: object, pixels: Floats, scratch: Path) -> Path:
    import torch

    path = scratch / "network.onnx"
    if not path.exists():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exporter is an old one, and says so
            torch.onnx.export(
                network, (torch.from_numpy(pixels),), path, dynamo=False, opset_version=17, input_names=["image"]
            )
    return path


def _onnx_runtime(network: object, pixels: Floats, scratch: Path) -> Mapping[str, Path_]:
    _need("onnx", "onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    path = str(_export(network, pixels, scratch))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return {"ONNX Runtime": lambda: session.run(None, {"image": pixels})[0]}


def _openvino(network: object, pixels: Floats, scratch: Path) -> Mapping[str, Path_]:
    _need("onnx", "openvino")
    import openvino  # noqa: PLC0415 - where it is installed

    read = openvino.Core().read_model(_export(network, pixels, scratch))
    made = {
        name: openvino.compile_model(read, "CPU", {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": kind})
        for name, kind in (("OpenVINO f32", "f32"), ("OpenVINO bf16", "bf16"))
    }
    return {name: lambda one=one: one(pixels)[0] for name, one in made.items()}


def _need(*libraries: str) -> None:
    absent = [name for name in libraries if find_spec(name) is None]
    if absent:
        raise MissingError(f"{' and '.join(absent)} not installed")


def measure(found: Mapping[str, Path_], rounds: int, batch: int) -> dict[str, dict[str, float]]:
    """Run each path once to warm it, then in turn; give milliseconds of processor time an image, and the distance."""
    expected = found["torch"]()
    apart = {name: float(np.abs(path() - expected).max()) for name, path in found.items()}
    taken: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, path in found.items():
            started = time.process_time()
            path()
            taken[name].append(1000 * (time.process_time() - started) / batch)
    usual = median(taken["torch"])
    return {
        name: {
            "ms_per_image": median(times),
            "best_ms": min(times),
            "ratio": usual / median(times),
            "logits_apart": apart[name],
        }
        for name, times in taken.items()
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--json", type=Path, help="File to write the figures to.")
    asked = parser.parse_args()
    runtime.use_threads(1)
    pixels = np.random.default_rng(0).uniform(size=(asked.batch, 1, asked.size, asked.size)).astype(np.float32)
    with tempfile.TemporaryDirectory(prefix="roi-paths-") as scratch:
        found, absent = paths(pixels, Path(scratch))
        figures = measure(found, asked.rounds, asked.batch)
    table = Table("path", "ms an image", "best", "times as fast as torch", "logits apart")
    for name, one in figures.items():
        row = (
            f"{one['ms_per_image']:.1f}",
            f"{one['best_ms']:.1f}",
            f"{one['ratio']:.2f}",
            f"{one['logits_apart']:.1e}",
        )
        table.add_row(name, *row)
    for name, why in absent.items():
        table.add_row(name, why, "", "", "")
    Console().print(table)
    if asked.json:
        asked.json.write_text(json.dumps({"figures": figures, "absent": absent, **vars(asked)}, indent=2, default=str))
    sys.stdout.write("processor time of one thread; batch " + str(asked.batch) + "\n")


if __name__ == "__main__":
    main()

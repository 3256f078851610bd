"""The benchmark of paths measures each path in turn and tells how far it is from the first."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="running a network needs the extra `ai`")

from benchmarks import model_paths


def test_every_path_is_run_each_round_and_its_distance_told():
    ran = []

    def path(name, value):
        def run():
            ran.append(name)
            return np.full((1, 2), value, dtype=np.float32)

        return run

    figures = model_paths.measure({"torch": path("torch", 1.0), "other": path("other", 1.5)}, rounds=3, batch=1)
    assert ran == ["torch", "torch", "other"] + ["torch", "other"] * 3
    assert {name: one["logits_apart"] for name, one in figures.items()} == {"torch": 0.0, "other": 0.5}


def test_what_is_not_installed_is_named_and_the_others_run(tmp_path, monkeypatch):
    monkeypatch.setattr(model_paths, "find_spec", lambda _name: None)
    found, absent = model_paths.paths(np.zeros((1, 1, 64, 64), dtype=np.float32), tmp_path)
    assert list(found) == ["torch", "torch channels_last", "torch bf16 channels_last"]
    assert absent == {
        "ONNX Runtime": "onnx and onnxruntime not installed",
        "OpenVINO": "onnx and openvino not installed",
    }
    logits = found["torch"]()
    assert np.abs(found["torch channels_last"]() - logits).max() < 1e-5

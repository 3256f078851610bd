"""ONNX files: taken as they are, if they are what they should be, and run without a change in what they say."""

from __future__ import annotations

import numpy as np
import pytest

from inference import child
from models import golden, onnx_network, registry
from models.errors import ImportRefused, OnnxMissing, WeightsCorrupt
from models.importers.conversion import import_model
from models.importers.recipes import onnx as recipe
from tests.unit.models.importers.test_conversion import about, open_jail, published, radiograph, wanted

onnx = pytest.importorskip("onnx", reason="ONNX models need the extra `onnx`")
pytest.importorskip("onnxruntime", reason="ONNX models need the extra `onnx`")
pytest.importorskip("torch", reason="running a network needs the extra `ai`")

__all__ = ["open_jail"]  # a fixture

WEIGHTS = np.random.default_rng(5).normal(size=(3, 1)).astype(np.float32)


def model(*, opset=17, nodes=(), initializers=(), domains=(), shape=(None, 1, 64, 64), **more):
    """A network that averages the image and multiplies: small enough to do by hand."""
    from onnx import TensorProto, helper, numpy_helper

    weights = numpy_helper.from_array(np.tile(WEIGHTS.T, (shape[1], 1)), "weights")
    graph = helper.make_graph(
        [
            helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
            helper.make_node("Flatten", ["mean"], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
            *nodes,
        ],
        "small",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, (None, 3))],
        [weights, *initializers],
    )
    imports = [helper.make_opsetid("", opset), *(helper.make_opsetid(domain, 1) for domain in domains)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, **more)


def saved(tmp_path, made):
    path = tmp_path / "model.onnx"
    path.write_bytes(made.SerializeToString())
    return path


def taken(tmp_path, made):
    return import_model(wanted(saved(tmp_path, made), "onnx:small", about=about(tmp_path)), tmp_path / "models")


def test_an_onnx_file_is_imported_as_it_is_and_says_what_it_says(tmp_path):
    """Through the real jail."""
    path = saved(tmp_path, model())
    found = taken(tmp_path, model())
    folder = tmp_path / "models"
    assert registry.weights_of(found.CARD, folder).read_bytes() == path.read_bytes()
    loaded = registry.load(found.CARD, "cpu", folder)
    golden.replay(loaded, registry.golden_of(found.CARD, folder))
    image = radiograph()
    logit = float(WEIGHTS[2, 0] * image.pixels[20:280].mean())
    assert loaded.predict(image).scores == {"nodule": pytest.approx(1 / (1 + np.exp(-logit)), abs=1e-4)}


def custom():
    from onnx import helper

    return model(nodes=[helper.make_node("Evil", ["logits"], ["more"], domain="evil")], domains=["evil"])


def hidden_custom():
    """An operator of another domain in a branch, with only ONNX's own domain said."""
    from onnx import TensorProto, helper

    output = [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)]
    branch = helper.make_graph([helper.make_node("Evil", ["logits"], ["out"], domain="evil")], "branch", [], output)
    return model(nodes=[helper.make_node("If", ["flag"], ["more"], then_branch=branch, else_branch=branch)])


def external():
    made = model()
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return made


def function():
    from onnx import helper

    imports = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Relu", ["x"], ["y"])]
    return model(functions=[helper.make_function("", "Mine", ["x"], ["y"], body, imports)])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (custom, "operators beyond ONNX's own: evil"),
        (hidden_custom, r"operator beyond ONNX's own: evil\.Evil"),
        (external, "weights in other files"),
        (function, "operators or a training of its own"),
        (lambda: model(opset=8), "opset 8; 9 to 23"),
        (lambda: model(shape=(4, 1, 64, 64)), "one item at a time"),
        (lambda: model(shape=(None, 1, 64)), "has to take float32"),
        (lambda: model(shape=(None, 1, 32, 32)), "another size"),
        (lambda: model(shape=(None, 3, 64, 64)), "sees 3 channels"),
    ],
)
def test_an_onnx_file_that_is_not_what_it_should_be_is_refused(tmp_path, open_jail, make, said):
    with pytest.raises(ImportRefused, match=said):
        taken(tmp_path, make())
    assert published(tmp_path / "models") == []


def test_bytes_that_are_no_onnx_file_are_refused(tmp_path, open_jail):
    path = tmp_path / "model.onnx"
    for content in (b"", b"\x80\x04pickle", b"\x08\x08"):
        path.write_bytes(content)
        with pytest.raises(ImportRefused):
            import_model(wanted(path, "onnx:small", about=about(tmp_path)), tmp_path / "models")


def test_a_worker_without_the_runtime_says_so_and_its_other_models_serve(tmp_path, open_jail, monkeypatch, caplog):
    found = taken(tmp_path, model())
    monkeypatch.setattr(onnx_network, "find_spec", lambda _name: None)
    with pytest.raises(OnnxMissing, match="install the extra `onnx`"):
        registry.load(found.CARD, "cpu", tmp_path / "models")
    failed = child._load(found.CARD, "cpu", tmp_path / "models")
    assert failed == child.Failure(reason="weights", message="onnx-small cannot be loaded: OnnxMissing")
    assert "install the extra `onnx`" in caplog.text
    with pytest.raises(OnnxMissing):
        recipe.require_runtime()


def test_a_file_that_the_runtime_does_not_open_is_said_to_be_corrupt(tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"not a model")
    with pytest.raises(WeightsCorrupt, match=r"does not open model\.onnx"):
        onnx_network.open_network(tmp_path / "model.onnx")

"""An ONNX file as it is, once it was looked through: standard operators, nothing outside the file, one image in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from models.errors import ImportRefused
from models.importers.contract import Plan
from models.importers.findings import CHEST_RADIOGRAPH
from models.networks import NetworkSpec
from models.onnx_network import require_runtime

if TYPE_CHECKING:
    from models.importers.about import About
    from models.importers.jail import Facts

VARIANTS: tuple[str, ...] = ()
ABOUT = True
WEIGHTS = "model.onnx"
LIBRARIES = ("onnx", "onnx.checker")

_STANDARD: Final = frozenset({"", "ai.onnx"})
_OPSETS: Final = range(9, 24)
_FLOAT: Final = 1
_EXTERNAL: Final = 1


def convert(*, source: str, to: str, unsafe_pickle: bool) -> Facts:
    """Check the file and copy it unchanged."""
    del unsafe_pickle  # there is no pickle in it
    import onnx

    try:
        model = onnx.load_model(source, load_external_data=False)
        _check_parts(model)
        onnx.checker.check_model(model, full_check=True)
    except ImportRefused:
        raise
    except Exception as error:  # its errors have no base of their own
        raise ImportRefused(f"the file is no ONNX model that can be checked ({type(error).__name__})") from error
    facts = _facts(model)
    shutil.copyfile(source, to)
    return facts


def plan(variant: str, facts: Facts, about: About | None) -> Plan:
    """Give what the description says, held against the file."""
    assert about is not None  # noqa: S101 - ABOUT
    require_runtime()
    about.check(channels=int(facts["channels"]), outputs=int(facts["outputs"]))
    if any(facts[side] not in (None, about.input.size) for side in ("rows", "columns")):
        raise ImportRefused(f"the file sees {facts['rows']} x {facts['columns']} pixels, the description another size")
    return Plan(
        id=f"onnx-{variant.replace('_', '-')}",
        title=about.title,
        intended_use=about.intended_use,
        network=NetworkSpec(name="onnx"),
        chain=about.chain(),
        findings=about.looked_for(),
        input_rules=CHEST_RADIOGRAPH,
        source=about.origin(),
        limits=("How it was trained and exported is known from what its description says alone.",),
        evidence={"opset": int(facts["opset"])},
    )


def _check_parts(model: Any) -> None:  # noqa: ANN401 - the library has no types
    domains = {each.domain: each.version for each in model.opset_import}
    if not set(domains) <= _STANDARD or len(domains) != 1:
        raise ImportRefused(
            f"the file needs operators beyond ONNX's own: {', '.join(sorted(set(domains) - _STANDARD))}"
        )
    if next(iter(domains.values())) not in _OPSETS:
        raise ImportRefused(
            f"the file has opset {next(iter(domains.values()))}; {_OPSETS[0]} to {_OPSETS[-1]} are taken"
        )
    if model.functions or model.training_info:
        raise ImportRefused("the file defines operators or a training of its own")
    for graph in _graphs(model.graph):
        for node in graph.node:
            if node.domain not in _STANDARD:
                raise ImportRefused(f"the file needs an operator beyond ONNX's own: {node.domain}.{node.op_type}")
        for tensor in _tensors(graph):
            if tensor.data_location == _EXTERNAL or tensor.external_data:
                raise ImportRefused("the file keeps weights in other files; export it as one")


def _graphs(graph: Any) -> Iterator[Any]:  # noqa: ANN401
    """Give a graph and those in its branches and loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(inner)


def _tensors(graph: Any) -> Iterator[Any]:  # noqa: ANN401
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (*([attribute.t] if attribute.HasField("t") else []), *attribute.tensors)
            for sparse in (
                *([attribute.sparse_tensor] if attribute.HasField("sparse_tensor") else []),
                *attribute.sparse_tensors,
            ):
                yield from (sparse.values, sparse.indices)


def _facts(model: Any) -> Facts:  # noqa: ANN401
    weights = {tensor.name for tensor in model.graph.initializer}
    asked = [each for each in model.graph.input if each.name not in weights]
    if len(asked) != 1 or len(model.graph.output) != 1:
        raise ImportRefused("the file has to have one input and one output")
    seen, said = (each.type.tensor_type for each in (asked[0], model.graph.output[0]))
    shape, answer = (_shape(each) for each in (seen, said))
    if seen.elem_type != _FLOAT or said.elem_type != _FLOAT or len(shape) != 4 or len(answer) != 2:
        raise ImportRefused(
            "the file has to take float32 (items, channels, rows, columns) and give float32 (items, outputs)"
        )
    if shape[1] is None or answer[1] is None or shape[0] not in (None, 1):
        raise ImportRefused("the file has to fix its channels and outputs, and take one item at a time or any number")
    return {
        "opset": model.opset_import[0].version,
        "channels": shape[1],
        "rows": shape[2],
        "columns": shape[3],
        "outputs": answer[1],
    }


def _shape(tensor: Any) -> list[int | None]:  # noqa: ANN401
    return [place.dim_value if place.HasField("dim_value") else None for place in tensor.shape.dim]

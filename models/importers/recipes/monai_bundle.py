"""A classifier out of a MONAI bundle: its metadata and its state dict, and nothing else of it.

A bundle's configuration is a program: ``$`` is evaluated and ``_target_`` names anything that can be called
(GHSA-873f-pvrv-4x83), so it is never opened.  The network is said by a person instead, as a name of a closed list with
plain arguments.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from models.errors import ImportRefused
from models.importers import archives
from models.importers.contract import Plan
from models.importers.findings import CHEST_RADIOGRAPH
from models.importers.tensors import read_state, save_state
from models.networks import NetworkSpec

if TYPE_CHECKING:
    from models.importers.about import About
    from models.importers.jail import Facts

VARIANTS: tuple[str, ...] = ()
ABOUT = True
WEIGHTS = "weights.safetensors"
LIBRARIES = ("torch", "safetensors.torch")

_METADATA, _STATE = "configs/metadata.json", "models/model.pt"
_METADATA_LIMIT_BYTES: Final = 1 << 20
_TARGET: Final = "_target_"
_LIBRARY: Final = "monai.networks.nets."
_TOLD: Final = ("name", "version", "intended_use", "copyright", "data_source", "eval_metrics")


def convert(*, source: str, to: str, unsafe_pickle: bool) -> Facts:
    """Write the tensors as they are named, and tell what the metadata say."""
    if not zipfile.is_zipfile(source):
        raise ImportRefused("a bundle is taken as a zip file")
    metadata, state = Path("metadata.json"), Path("model.pt")
    with zipfile.ZipFile(source) as archive:
        archives.check(archive)
        top = _top(archive)
        archives.take(archive, top + _METADATA, metadata, limit_bytes=_METADATA_LIMIT_BYTES)
        archives.take(archive, top + _STATE, state)
    save_state(read_state(state, unsafe_pickle=unsafe_pickle), Path(to))
    return _told(metadata)


def plan(variant: str, facts: Facts, about: About | None) -> Plan:
    """Give what the description says, held against the metadata."""
    assert about is not None  # noqa: S101 - ABOUT
    network = _network(about)
    outputs = network.arguments.get("out_channels", network.arguments.get("num_classes"))
    channels = network.arguments.get("in_channels", network.arguments.get("n_input_channels"))
    if not isinstance(outputs, int) or not isinstance(channels, int):
        raise ImportRefused("the description's network has to say how many channels and outputs it has")
    about.check(channels=channels, outputs=outputs)
    if facts.get("channels") not in (None, channels):
        raise ImportRefused(f"the bundle's metadata say {facts['channels']} channels, the description {channels}")
    told = {name: str(facts[name])[:1000] for name in _TOLD if facts.get(name)}
    return Plan(
        id=f"monai-{variant.replace('_', '-')}",
        title=about.title,
        intended_use=about.intended_use,
        network=network,
        chain=about.chain(),
        findings=about.looked_for(),
        input_rules=CHEST_RADIOGRAPH,
        source=about.origin(),
        limits=("What its bundle says of its figures was measured elsewhere.",),
        evidence={"its bundle says": told},
    )


def _network(about: About) -> NetworkSpec:
    said = dict(about.network or {})
    target = said.pop(_TARGET, None)
    if not isinstance(target, str):
        raise ImportRefused("the description needs [network] with _target_, a network of MONAI, and its arguments")
    spec = NetworkSpec(name=target.removeprefix(_LIBRARY), arguments=said)
    spec.check()
    return spec


def _top(archive: zipfile.ZipFile) -> str:
    """Give the folder that the bundle is in, with its slash; nothing where it is at the top."""
    places = [name.removesuffix(_METADATA) for name in archive.namelist() if name.endswith(_METADATA)]
    if len(places) != 1 or places[0].count("/") > 1:
        raise ImportRefused(f"the archive is no bundle: it has no single {_METADATA}")
    return places[0]


def _told(path: Path) -> Facts:
    try:
        read = json.loads(path.read_bytes())
        seen: Any = read.get("network_data_format", {}).get("inputs", {}).get("image", {})
        channels = seen.get("num_channels")
    except (ValueError, AttributeError, RecursionError) as error:
        raise ImportRefused(f"{_METADATA} is not what a bundle's metadata are") from error
    return {**{name: str(read.get(name, "")) for name in _TOLD}, "channels": channels}

"""The networks we build ourselves; torch and MONAI are loaded only when one is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from models.errors import NetworkRefused

if TYPE_CHECKING:
    import torch


def small_densenet(*, channels: int, findings: int) -> torch.nn.Module:
    """Give a 2-D MONAI DenseNet of about 150,000 parameters, untrained.

    Parameters
    ----------
    channels
        Input channels; the input is float32 (items, channels, rows, columns) in 0..1.
    findings
        Outputs, one logit each.
    """
    from monai.networks.nets import DenseNet

    network: torch.nn.Module = DenseNet(
        spatial_dims=2,
        in_channels=channels,
        out_channels=findings,
        init_features=16,
        growth_rate=12,
        block_config=(3, 4, 6, 4),
    )
    return network


# ------------------------------------------------------------------ networks of models that were trained elsewhere

Argument = bool | int | float | str | tuple[int, ...]

_SIZES = frozenset({"spatial_dims", "in_channels", "out_channels"})
_DENSENET = _SIZES | {"init_features", "growth_rate", "block_config", "bn_size", "dropout_prob"}
_RESNET = frozenset(
    {"spatial_dims", "n_input_channels", "num_classes", "conv1_t_size", "conv1_t_stride", "no_max_pool", "widen_factor"}
    | {"shortcut_type", "bias_downsample"}
)

NETWORKS: Final[Mapping[str, frozenset[str]]] = {
    "DenseNet": _DENSENET,
    "DenseNet121": _DENSENET,
    "DenseNet169": _DENSENET,
    "DenseNet201": _DENSENET,
    "DenseNet264": _DENSENET,
    "EfficientNetBN": frozenset({"model_name", "spatial_dims", "in_channels", "num_classes"}),
    "SEResNet50": frozenset({"spatial_dims", "in_channels", "num_classes"}),
    "resnet18": _RESNET,
    "resnet34": _RESNET,
    "resnet50": _RESNET,
}
"""The networks of `monai.networks.nets` that may be built from data, and the arguments that may be given; no other."""

_NEVER: Final[Mapping[str, Mapping[str, Argument]]] = {"EfficientNetBN": {"pretrained": False}}
"""What is always said, since the library's own default would fetch weights from the network."""

_GREATEST: Final = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSpec:
    """A network as data: a name of `NETWORKS`, or ``onnx``, and plain arguments."""

    name: str
    arguments: Mapping[str, Argument] = field(default_factory=dict)

    def check(self) -> None:
        """Check that this may be built.

        Raises
        ------
        NetworkRefused
            Another name or argument than `NETWORKS` holds, an expression, or a number out of all proportion.
        """
        if self.name not in NETWORKS:
            raise NetworkRefused(f"no network called {self.name!r} is built here; known are {', '.join(NETWORKS)}")
        for key, value in self.arguments.items():
            if key not in NETWORKS[self.name]:
                known = ", ".join(sorted(NETWORKS[self.name]))
                raise NetworkRefused(f"{self.name} is not given {key!r} here; what may be given is {known}")
            _check_value(key, value)
        if self.arguments.get("spatial_dims", 2) != 2:
            raise NetworkRefused("only networks for images, spatial_dims = 2, are built here")


def build(spec: NetworkSpec) -> torch.nn.Module:
    """Give an untrained network.

    Raises
    ------
    NetworkRefused
        See `NetworkSpec.check`, or the network's own code refuses these arguments.
    """
    spec.check()
    from monai.networks import nets

    arguments = {**spec.arguments, "spatial_dims": 2, **_NEVER.get(spec.name, {})}
    try:
        network: torch.nn.Module = getattr(nets, spec.name)(**arguments)
    except (TypeError, ValueError, KeyError) as error:
        raise NetworkRefused(f"{spec.name} cannot be built from these arguments: {error}") from error
    return network


def _check_value(key: str, value: object) -> None:
    many = value if isinstance(value, list | tuple) else (value,)
    if any(isinstance(one, str) and one.startswith(("$", "@", "%")) for one in many):
        raise NetworkRefused(f"{key} is an expression, {value!r}; arguments are plain numbers and words")
    plain = isinstance(value, bool | str) or all(isinstance(one, int | float) for one in many)
    if not plain or len(many) > 8:
        raise NetworkRefused(f"{key} is {value!r}; arguments are plain numbers and words")
    if any(isinstance(one, int | float) and not 0 <= one <= _GREATEST for one in many):
        raise NetworkRefused(f"{key} is {value!r}; at most {_GREATEST} is built here")

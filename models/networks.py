"""The networks we build ourselves; torch and MONAI are loaded only when one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

"""DenseNet121 in torch alone, laid out key for key as torchvision, torchxrayvision and older files have it.

Written from the published architecture (Huang et al., CVPR 2017), to be the network that a converted one is held to.
"""

from __future__ import annotations

import re
from collections import OrderedDict

import pytest

torch = pytest.importorskip("torch", reason="running a network needs the extra `ai`")
nn = torch.nn

BLOCKS = (6, 12, 24, 16)


class Layer(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(channels), nn.Conv2d(channels, 128, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(128), nn.Conv2d(128, 32, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv2(self.norm2(self.conv1(self.norm1(x).relu())).relu())], 1)


class Transition(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(channels), nn.Conv2d(channels, channels // 2, 1, bias=False)

    def forward(self, x):
        return nn.functional.avg_pool2d(self.conv(self.norm(x).relu()), 2)


class DenseNet121(nn.Module):
    def __init__(self, *, channels, outputs):
        super().__init__()
        parts = OrderedDict(
            conv0=nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False),
            norm0=nn.BatchNorm2d(64),
            relu0=nn.ReLU(),
            pool0=nn.MaxPool2d(3, stride=2, padding=1),
        )
        width = 64
        for index, layers in enumerate(BLOCKS, 1):
            block = OrderedDict((f"denselayer{layer + 1}", Layer(width + 32 * layer)) for layer in range(layers))
            parts[f"denseblock{index}"] = nn.Sequential(block)
            width += 32 * layers
            if index < len(BLOCKS):
                parts[f"transition{index}"] = Transition(width)
                width //= 2
        parts["norm5"] = nn.BatchNorm2d(width)
        self.features = nn.Sequential(parts)
        self.classifier = nn.Linear(width, outputs)

    def forward(self, x):
        return self.classifier(self.features(x).relu().mean((2, 3)))


def trained(*, channels, outputs, seed=0):
    """Give one with weights, statistics and counters that are all different, in evaluation mode."""
    torch.manual_seed(seed)
    network = DenseNet121(channels=channels, outputs=outputs)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(0, 0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith("num_batches_tracked"):
            tensor.fill_(1000)
    return network.eval()


def legacy(state):
    """Give the keys as torchvision had them before it moved the numbers: ``norm.1`` for ``norm1``."""
    renamed = {}
    for name, tensor in state.items():
        renamed[re.sub(r"\.(norm|conv)([12])\.", r".\1.\2.", name)] = tensor
    return renamed


def chexnet(state):
    """Give the keys as a training script on several GPUs saved them, before batches were counted."""
    old = {name: tensor for name, tensor in legacy(state).items() if not name.endswith("num_batches_tracked")}
    return {f"module.densenet121.{name.replace('classifier.', 'classifier.0.')}": old[name] for name in old}

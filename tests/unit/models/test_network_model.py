"""How a network is shown its items, whatever network it is."""

from __future__ import annotations

import numpy as np
import pytest

from models.network_model import look

torch = pytest.importorskip("torch", reason="running a network needs the extra `ai`")


class Noting(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Gives the mean of each item, and notes how it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[int, bool, bool, bool]] = []

    def forward(self, items: torch.Tensor) -> torch.Tensor:  # type: ignore[name-defined]
        cudnn = torch.backends.cudnn
        self.asked.append((len(items), cudnn.enabled, cudnn.deterministic, cudnn.benchmark))
        return items.mean(dim=(1, 2, 3)).unsqueeze(1)


def test_a_gpu_computes_with_its_own_library_and_the_same_bits_each_time() -> None:
    """Without cuDNN a GPU takes many times as long; the library's switch is off unless it is said to be on."""
    network = Noting()
    look(network, np.zeros((5, 1, 4, 4), dtype=np.float32), device="cpu", items_at_once=2)
    assert network.asked == [(2, True, True, False), (2, True, True, False), (1, True, True, False)]


def test_logits_come_in_the_order_of_the_items_however_many_go_at_once() -> None:
    items = np.arange(7, dtype=np.float32)[:, None, None, None] * np.ones((1, 1, 2, 2), dtype=np.float32)
    seen = look(Noting(), items, device="cpu", items_at_once=3)
    assert seen.logits[:, 0].tolist() == list(range(7))
    assert seen.features.tolist() == seen.logits.tolist()

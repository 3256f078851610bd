"""The second jailed step: what was converted is put together and asked, before anyone else does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from models import golden, imported
from models.weights import golden_beside, verify

if TYPE_CHECKING:
    from models.importers.jail import Facts


def prove(*, written: str) -> Facts:
    """Load the weights strictly into the network that was written down, and write what it gives for golden vectors."""
    import torch

    torch.set_num_threads(1)
    read = imported.from_json(written)
    weights = Path(read.card.weights_file)
    verify(weights, read.card.weights_sha256)
    model = imported.assemble(read, "cpu", weights)
    golden.record(model, golden_beside(weights))
    golden.replay(model, golden_beside(weights))
    return {}

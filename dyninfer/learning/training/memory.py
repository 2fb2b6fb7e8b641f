"""Memory that the steps of a run take, looked at before the first of them."""

from __future__ import annotations

from torch import nn

from dyninfer.learning.budget import check_memory
from dyninfer.learning.parallel import world

# Of every weight: itself, its gradient, two moments, its running mean and the best of these.
COPIES = 6


def check_step_memory(process: nn.Module, n_drawn: int) -> None:
    """Raise a MemoryError where steps would take more memory than there is."""
    learning = [p for p in process.parameters() if p.requires_grad]
    if not learning:
        return
    n_weights = sum(p.numel() for p in learning)
    # What every layer puts out is kept for the way back.
    n_outputs = 0
    for module in process.modules():
        if isinstance(module, nn.Linear):
            n_outputs += module.out_features
    n_rows = n_drawn // world()
    n_numbers = COPIES * n_weights + n_rows * n_outputs
    n_bytes = learning[0].element_size() * n_numbers
    what = f"steps of {n_weights:.3g} weights on batches of {n_drawn:.3g}"
    check_memory(n_bytes, what, learning[0].device)

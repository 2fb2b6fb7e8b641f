"""Memory that the steps of a run take, looked at before the first of them."""

from __future__ import annotations

from torch import nn

from dyninfer.learning.budget import check_memory
from dyninfer.learning.parallel import world

# Of every weight: itself, its gradient, two moments, its running mean and the best of these.
COPIES = 6
# Of the state at the best step, which a run goes back to before it learns from what was held out:
# weights, two moments and the running mean.
COPIES_AT_BEST = 4


def check_step_memory(process: nn.Module, n_drawn: int, *, goes_back: bool) -> None:
    """Raise a MemoryError where steps would take more memory than there is.

    Parameters
    ----------
    process : module
    n_drawn : int
        Rows of a batch.
    goes_back : bool
        Whether the state at the best step is kept beside the weights.
    """
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
    n_copies = COPIES
    if goes_back:
        n_copies += COPIES_AT_BEST
    n_numbers = n_copies * n_weights + n_rows * n_outputs
    n_bytes = learning[0].element_size() * n_numbers
    what = f"steps of {n_weights:.3g} weights on batches of {n_drawn:.3g}"
    check_memory(n_bytes, what, learning[0].device)

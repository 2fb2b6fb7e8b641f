"""How a jump process shows itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dyninfer.data import display
from dyninfer.data.words import as_text, counted

if TYPE_CHECKING:
    from dyninfer.jumps.process.process import MarkovJump

# Rates of more jumps are told by their range: a terminal shows some twenty lines at a glance.
MOST_JUMPS = 12


def description(process: MarkovJump) -> tuple[str, dict[str, str]]:
    """Title, and the rates or their range, as label and value."""
    q = process.generator.detach()
    size = counted(process.n_states, "state")
    if process.batch_shape:
        shape = " x ".join(str(n) for n in process.batch_shape)
        size = f"{shape} processes of {size}"
    off_diagonal = q * (1 - torch.eye(process.n_states).to(q))
    happens = off_diagonal > 0
    lines = {}
    if q.ndim > 2 or happens.sum() > MOST_JUMPS:
        lines["states"] = display.listed(process.state_names)
        lines["rates"] = _range(off_diagonal[happens])
    else:
        for source, target in happens.nonzero().tolist():
            jump = f"{process.state_names[source]}>{process.state_names[target]}"
            lines[jump] = f"{float(q[source, target]):.4g}"
    if len(process.breaks):
        breaks = [as_text(time) for time in process.breaks.tolist()]
        lines["breaks"] = display.listed(breaks)
    if not lines:
        lines["rates"] = _range(off_diagonal[happens])
    return f"MarkovJump: {size}", lines


def _range(rates: Tensor) -> str:
    """Number and range of the rates of jumps that happen."""
    if not len(rates):
        return "none: no state is ever left"
    jumps = counted(len(rates), "jump")
    return f"{jumps}, {float(rates.min()):.4g} to {float(rates.max()):.4g} per time unit"

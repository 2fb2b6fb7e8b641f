"""Likelihoods of many candidate models of wrong labels at once, without gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.jumps.compiled.loading import can_run_on, compiled_module
from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.process.chain import transition_matrix

# Keeps the division by an impossible observation finite; its logarithm is -inf all the same.
_SMALLEST = 1e-300


@torch.no_grad()
def label_log_likelihood(
    data: HiddenPaths, generator: Tensor, confusion: Tensor, initial: Tensor
) -> Tensor:
    """Log-likelihood of all paths ``(B,)``: one forward recursion of all paths and models.

    The same as `HiddenPaths.log_likelihood` with `LabelNoise`, which holds the emissions of all
    times at once for the sake of gradients: several times slower, and as many times larger.

    Parameters
    ----------
    data : HiddenPaths
        Prepared paths of labels, without exact entries.
    generator : Tensor, ``(B, S, S)``
        Rates.
    confusion : Tensor, ``(B, S, S)``
        Probabilities of labels (last) in every state.
    initial : Tensor, ``(S,)`` or ``(B, S)``
        Distribution of the first state.
    """
    p = transition_matrix(generator.unsqueeze(1), data.gaps)  # (B, G, S, S)
    n_models = len(p)
    n_states = confusion.shape[-1]
    # Rows are labels; a last row of ones stands for "not observed".
    of_missing = p.new_ones(n_models, 1, n_states)
    chance = torch.cat([confusion.mT, of_missing], dim=1)
    labels = data.observed.masked_fill(~data.mask, n_states)
    n_paths = len(labels)
    if can_run_on(p):
        compiled = compiled_module("recursion")
        assert compiled is not None
        first = initial.to(p).expand(n_models, -1)
        parts = p, chance, first, labels
        arrays = [part.contiguous().numpy() for part in parts]
        of_models = compiled.label_likelihoods(*arrays, data.incoming_gap)
        return torch.from_numpy(of_models)
    state = initial.to(p).unsqueeze(-2)
    state = state.expand(n_models, n_paths, -1)
    total = p.new_zeros(n_models)
    for k, label in enumerate(labels.T):
        if k > 0:
            state = data.propagate(state, p, k - 1)
        joint = state * chance[:, label]
        scale = joint.sum(-1, keepdim=True)
        total = total + scale.log().sum((1, 2))
        state = joint / scale.clamp(min=_SMALLEST)
    return total

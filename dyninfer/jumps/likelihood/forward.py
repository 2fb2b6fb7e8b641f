"""Likelihoods of many candidate models of wrong labels, without gradients: emissions are looked up step by step."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.jumps.likelihood.hidden import HiddenPaths
from dyninfer.jumps.process.chain import transition_matrix


@torch.no_grad()
def label_log_likelihood(
    data: HiddenPaths, generator: Tensor, confusion: Tensor, initial: Tensor
) -> Tensor:
    """Log-likelihood of all paths ``(B,)``, the forward recursion in the paths' batch and the models'.

    The same as `HiddenPaths.log_likelihood` with `LabelNoise`, which holds the emissions of all times at once for the sake
    of gradients: several times slower, and larger by the number of times.

    Parameters
    ----------
    data : HiddenPaths
        Prepared paths of labels, without exact entries.
    generator : Tensor, ``(B, S, S)``
        Rates.
    confusion : Tensor, ``(B, S, S)``
        Probabilities of labels (last) in every state.
    initial : Tensor, ``(S,)`` or ``(B, S)``
        Law of the first state.
    """
    p = transition_matrix(generator[:, None], data.gaps)  # (B, G, S, S)
    table = torch.cat(
        [confusion.mT, torch.ones_like(confusion[:, :1])], dim=1
    )  # (B, label, S), unobserved last
    label = torch.where(data.mask, data.observed, confusion.shape[-1]).T
    law = initial.to(p)[..., None, :].expand(len(p), label.shape[1], -1)
    total = p.new_zeros(len(p))
    for k, seen in enumerate(label):
        if k and data.shared[k - 1] >= 0:
            law = law @ p[:, data.shared[k - 1]]
        elif k:
            law = (law[:, :, None] @ p[:, data.number[k - 1]])[:, :, 0]
        law = law * table[:, seen]
        scale = law.sum(-1, keepdim=True)
        total = total + scale.log().sum((1, 2))
        law = law / scale.clamp(min=1e-300)
    return total

"""Intervals of Hurst indices, normal in their logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy import ndarray
from scipy.special import expit
from scipy.stats import norm
from torch import Tensor
from torch.func import functional_call

# Information of a deviation of a hundred in a logit: nothing is known.
_FLAT = 1e-4


def hurst_interval(prior: Any, information: ndarray, level: float) -> ndarray:
    """Interval of every index ``(n, 2)`` that is constant, from the information ``(n,)``."""
    positive = np.maximum(information, 0)
    # Data that say nothing about the index leave all of (0, 1).
    with np.errstate(divide="ignore"):
        error = 1 / np.sqrt(positive)
    logit = prior.hurst_logit.detach().cpu().numpy()
    return _logit_interval(logit, error, level)


def curve_interval(prior: Any, facts: dict[str, Any], times: Tensor, level: float) -> ndarray:
    """Interval ``(n, 2)`` at times ``(n,)`` of an index that changes, by the delta method.

    ``facts`` hold the names of the ``m`` numbers that it is made of, and their ``information``
    ``(m, m)``.
    """
    parameters = dict(prior.named_parameters())
    numbers = {}
    for name in facts["index_names"]:
        # A copy, as those of a fitted model carry no gradients.
        own_name = name.removeprefix("index.")
        numbers[own_name] = parameters[name].detach().clone().requires_grad_(True)
    with torch.enable_grad():
        logits = functional_call(prior.index, numbers, (times,)).logit()
        each = torch.eye(len(times), dtype=logits.dtype, device=logits.device)
        of_numbers = tuple(numbers.values())
        slopes = torch.autograd.grad(logits, of_numbers, each, is_grads_batched=True)
    slope = torch.cat([part.flatten(1) for part in slopes], dim=1).double().cpu().numpy()
    values, vectors = np.linalg.eigh(np.asarray(facts["information"]))
    along = slope @ vectors
    # Data that say nothing of a direction leave all of (0, 1).
    variance = along**2 @ (1 / np.maximum(values, _FLAT))
    return _logit_interval(logits.detach().cpu().numpy(), np.sqrt(variance), level)


def _logit_interval(logit: ndarray, error: ndarray, level: float) -> ndarray:
    """Interval ``(n, 2)`` of numbers in (0, 1), from their logits and the errors of these."""
    upper_tail = 0.5 + level / 2
    half_width = norm.ppf(upper_tail) * error
    ends = np.stack([logit - half_width, logit + half_width], axis=1)
    return expit(ends)

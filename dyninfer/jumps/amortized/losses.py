"""What the network of jump processes is trained by: how surprised its belief is by the truth."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from dyninfer.jumps.amortized.network import JumpBelief
from dyninfer.jumps.process.chain import is_diagonal

# A relative squared error above this says that a process was not read at all, not by how much.
_LARGEST_ERROR = 10.0


def belief_loss(
    belief: JumpBelief, rates: Tensor, initial: Tensor, noise: Tensor
) -> dict[str, Tensor]:
    """Negative log-likelihoods of the truth, each a mean over the batch.

    Parameters
    ----------
    belief : JumpBelief
        Of a batch ``(batch,)``.
    rates : Tensor, ``(batch, S, S)``
        True rates in units of ``1 / tau``.
    initial : Tensor, ``(batch, S)``
        True distribution of the first state.
    noise : Tensor, ``(batch,)``
        True chance of a wrong label.

    Returns
    -------
    dict
        ``link`` and ``rate`` in nats per jump, ``point`` the squared error of all rates over
        their mean square, ``initial`` in nats per process above the entropy, ``noise`` in nats.
    """
    exists = rates > 0
    link = _surprise_by_outcome(belief.link, exists)
    rate = _surprise_by_rates(belief, rates)
    point = _relative_error(belief.point_rates(), rates)
    first_state = _divergence(initial, belief.initial)
    wrong_labels = _noise_loss(belief, noise)
    return {
        "link": _off_diagonal(link).mean(),
        "rate": _off_diagonal(rate).mean(),
        "point": point.mean(),
        "initial": first_state.mean(),
        "noise": wrong_labels.mean(),
    }


def _surprise_by_rates(belief: JumpBelief, rates: Tensor) -> Tensor:
    """Negative log-density of the logarithms of the rates that there are ``(batch, S, S)``."""
    exists = rates > 0
    # Any positive number serves where there is no rate.
    log_rate = torch.where(exists, rates, 1.0).log()
    log_density = belief.log_density(log_rate)
    return torch.where(exists, -log_density, 0.0)


def _off_diagonal(values: Tensor) -> Tensor:
    """Values ``(batch, S (S − 1))`` of the jumps among those of all pairs ``(batch, S, S)``."""
    is_jump = ~is_diagonal(values)
    return values[:, is_jump]


def _relative_error(rates: Tensor, truth: Tensor) -> Tensor:
    """Squared error of all rates of a process over the square of the true ones ``(batch,)``."""
    square = (rates - truth).square()
    error = square.sum((-1, -2))
    # Nothing jumps where the truth is 0.
    squares = truth.square()
    size = squares.sum((-1, -2))
    relative = error / size.clamp(min=1e-12)
    return relative.clamp(max=_LARGEST_ERROR)


def _divergence(truth: Tensor, log_belief: Tensor) -> Tensor:
    """``KL(truth | belief)`` of distributions over the states ``(batch,)``."""
    # States of probability 0 count nothing; 1 keeps their logarithm finite.
    positive = torch.where(truth > 0, truth, 1.0)
    log_truth = positive.log()
    surprise = truth * (log_truth - log_belief)
    return surprise.sum(-1)


def _noise_loss(belief: JumpBelief, noise: Tensor) -> Tensor:
    """Surprise by the chance of a wrong label ``(batch,)``, up to a constant."""
    is_noisy = noise > 0
    # Any probability serves where there is no noise.
    probability = torch.where(is_noisy, noise, 0.5)
    logit = torch.logit(probability, eps=1e-6)
    deviation = logit - belief.noise_mean
    z = deviation / belief.noise_log_std.exp()
    half_square = 0.5 * z.square()
    by_level = half_square + belief.noise_log_std
    by_clean = _surprise_by_outcome(belief.clean, ~is_noisy)
    return torch.where(is_noisy, by_level, 0.0) + by_clean


def _surprise_by_outcome(logit: Tensor, outcome: Tensor) -> Tensor:
    """Negative log-probability of outcomes whose probability has the given logit."""
    return binary_cross_entropy_with_logits(
        logit,
        target=outcome.to(logit),
        reduction="none",
    )

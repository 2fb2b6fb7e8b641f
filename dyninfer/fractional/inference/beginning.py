"""Where training begins: at the linear model, or at the principal axes of what is observed."""

from __future__ import annotations

import torch
from torch import Tensor

from dyninfer.fractional.inference.maximum import maximise
from dyninfer.fractional.inference.neural import NeuralModel
from dyninfer.fractional.inference.series import Series

# A few paths and steps of the exact likelihood bring index and scale near; more cost a second.
_PATHS = 16
_STEPS = 15
_NUMBERS = 20_000
# Numbers of which principal axes take a second.
_AXES_NUMBERS = 4_000_000
# Largest share of the noise at first; and where the posterior reads the beginning alone, which
# leaves much to the noise until the control has learned to carry it on.
_LEAST_NOISE = 0.1
_LEAST_NOISE_UNREAD = 0.7


def begin(model: NeuralModel, series: Series) -> None:
    """Start a model at the linear one, or latent states at principal axes."""
    if model.latent:
        _begin_latent(model, series)
        return
    few = series[torch.arange(min(len(series), _PATHS))]
    if few.values.numel() <= _NUMBERS:
        maximise(model.prior, few, _STEPS)


def _begin_latent(model: NeuralModel, series: Series) -> None:
    """Readout by axes of unit variance; amplitude and noise from the scores' moves and the rest."""
    numbers_per_path = series.times.shape[1] * series.values.shape[-1]
    n_paths = max(_PATHS, _AXES_NUMBERS // numbers_per_path)
    series = series[torch.arange(min(n_paths, len(series)))]
    rows = series.values[series.is_observed]
    centre = rows.mean(0)
    axes = _principal_axes(rows - centre, model.prior.n_states)
    readout = torch.linalg.pinv(axes).T
    scores = (series.values - centre) @ readout
    residual = rows - centre - ((rows - centre) @ readout) @ axes.T
    with torch.no_grad():
        if model.prior.log_amplitude.requires_grad:
            # Standardised, a move is no larger than the states are.
            moves = _mean_square_moves(scores, series.is_observed).clamp(1e-4, 1.0)
            model.prior.log_amplitude.copy_(0.5 * moves.log())
        if model.prior.log_noise.requires_grad:
            least = _LEAST_NOISE
            if model.layout.read_first is not None:
                least = _LEAST_NOISE_UNREAD
            model.prior.log_noise.copy_(residual.std(0).clamp(least, 1.0).log())
    model.begin(axes, centre)


def _principal_axes(centred: Tensor, n_axes: int) -> Tensor:
    """Axes ``(F, d)`` times the deviation along each; 0 where there are fewer."""
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    n_present = min(n_axes, len(singular))
    deviation = (singular[:n_present] / len(centred) ** 0.5).clamp_min(1e-3)
    axes = centred.new_zeros(centred.shape[1], n_axes)
    axes[:, :n_present] = directions[:n_present].T * deviation
    return axes


def _mean_square_moves(scores: Tensor, is_observed: Tensor) -> Tensor:
    """Mean square of the moves between neighbouring observations, ``(d,)``."""
    both = (is_observed[:, 1:] & is_observed[:, :-1]).unsqueeze(-1)
    squares = scores.diff(dim=1).square() * both
    return squares.sum((0, 1)) / both.sum().clamp_min(1)

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
    few = _first_paths(series, _PATHS)
    if few.values.numel() <= _NUMBERS:
        maximise(model.prior, few, _STEPS)


def _begin_latent(model: NeuralModel, series: Series) -> None:
    """Readout by axes of unit variance; amplitude and noise from the scores' moves and the rest."""
    prior = model.prior
    _, n_times, n_features = series.values.shape
    n_affordable = _AXES_NUMBERS // (n_times * n_features)
    series = _first_paths(series, max(_PATHS, n_affordable))
    values = model.layout.families.read(series.values)
    rows = values[series.is_observed]
    centre = rows.mean(0)
    centred = rows - centre
    axes = _principal_axes(centred, prior.n_states)
    inverse = torch.linalg.pinv(axes).T
    deviations = values - centre
    scores = deviations @ inverse
    row_scores = centred @ inverse
    explained = row_scores @ axes.T
    residual = centred - explained
    with torch.no_grad():
        if prior.log_amplitude.requires_grad:
            moves = _mean_square_moves(scores, series.is_observed)
            # Standardised, a move is no larger than the states are.
            log_square = moves.clamp(1e-4, 1.0).log()
            prior.log_amplitude.copy_(0.5 * log_square)
        if prior.log_noise.requires_grad:
            least = _LEAST_NOISE
            if model.layout.read_first is not None:
                least = _LEAST_NOISE_UNREAD
            deviation = residual.std(0).clamp(least, 1.0)
            prior.log_noise.copy_(deviation.log())
    model.begin(axes, centre)


def _first_paths(series: Series, n_paths: int) -> Series:
    n_first = min(n_paths, len(series))
    return series[torch.arange(n_first)]


def _principal_axes(centred: Tensor, n_axes: int) -> Tensor:
    """Axes ``(F, d)`` times the deviation along each; 0 where there are fewer."""
    n_rows, n_features = centred.shape
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    n_present = min(n_axes, len(singular))
    lengths = singular[:n_present]
    deviation = lengths / n_rows**0.5
    # An axis of no length could not be inverted.
    deviation = deviation.clamp_min(1e-3)
    columns = directions[:n_present].T
    axes = centred.new_zeros(n_features, n_axes)
    axes[:, :n_present] = columns * deviation
    return axes


def _mean_square_moves(scores: Tensor, is_observed: Tensor) -> Tensor:
    """Mean square of the moves between neighbouring observations, ``(d,)``."""
    late = is_observed[:, 1:]
    early = is_observed[:, :-1]
    both = late & early
    squares = scores.diff(dim=1).square()
    of_pairs = squares * both.unsqueeze(-1)
    n_pairs = both.sum().clamp_min(1)
    return of_pairs.sum((0, 1)) / n_pairs

"""Laws of observations around a linear readout: normal numbers and counts, block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from dyninfer.fractional.views import View

_LOG_2PI = math.log(2 * math.pi)
# Rates of more counts than this are a readout gone astray, and would end in infinity.
_LARGEST_LOG_RATE = 30.0


class Families:
    """Laws of the features of some views, or normal ones where there are none.

    Parameters
    ----------
    views : sequence of View
    """

    def __init__(self, views: Sequence[View] = ()):
        self.views = tuple(views)
        # Without counts, everything is as if there were one kind.
        self.has_counts = any(view.is_counted for view in views)

    def means(self, predictor: Tensor) -> Tensor:
        """Means ``(..., F)`` of a readout: itself, and the exponential of log-rates."""
        if not self.has_counts:
            return predictor
        parts = []
        for view, columns in self._blocks():
            part = predictor[..., columns]
            if view.is_counted:
                part = part.clamp(max=_LARGEST_LOG_RATE).exp()
            parts.append(part)
        return torch.cat(parts, -1)

    def read(self, values: Tensor) -> Tensor:
        """Observations ``(..., F)`` as an encoder reads them: counts as ``log(1 + o)``."""
        if not self.has_counts:
            return values
        parts = []
        for view, columns in self._blocks():
            part = values[..., columns]
            # As large as the log-rates that the readout begins from.
            parts.append(part.log1p() if view.is_counted else part)
        return torch.cat(parts, -1)

    def log_density(self, values: Tensor, predictor: Tensor, log_noise: Tensor) -> Tensor:
        """``log p(o | predictor)`` of every value ``(..., F)``.

        ``log_noise (F,)`` is of the deviation of normal values, and of the share by which rates of
        negative binomial counts vary.
        """
        if not self.has_counts:
            return _normal(values, predictor, log_noise)
        parts = []
        for view, columns in self._blocks():
            part = values[..., columns]
            readout = predictor[..., columns]
            noise = log_noise[columns]
            if not view.is_counted:
                parts.append(_normal(part, readout, noise))
                continue
            log_rate = readout.clamp(max=_LARGEST_LOG_RATE)
            if view.family == "poisson":
                parts.append(_poisson(part, log_rate))
            else:
                parts.append(_negative_binomial(part, log_rate, noise))
        return torch.cat(parts, -1)

    def draw(self, means: ndarray, deviation: ndarray, rng: np.random.Generator) -> ndarray:
        """Observations around means ``(..., F)``, in the units of the data."""
        drawn = np.empty_like(means)
        for view, columns in self._blocks():
            part = means[..., columns]
            own = deviation[columns]
            if view.is_counted:
                rate = part
                if view.family == "negative_binomial":
                    shape = 1 / own**2
                    rate = part * rng.gamma(shape, own**2, part.shape)
                # A path that diverged has no rate, and no counts.
                is_rate = np.isfinite(rate)
                counts = rng.poisson(np.where(is_rate, rate, 0.0))
                drawn[..., columns] = np.where(is_rate, counts, np.nan)
            else:
                drawn[..., columns] = rng.normal(part, own)
        return drawn

    def noise(self, deviation: ndarray) -> ndarray:
        """Deviations ``(F,)`` with NaN for Poisson counts, which have no parameter of noise."""
        values = deviation.copy()
        for view, columns in self._blocks():
            if view.family == "poisson":
                values[columns] = np.nan
        return values

    def counted(self) -> ndarray:
        """Which features are counts ``(F,)``."""
        flags = [np.full(view.n_features, view.is_counted) for view in self.views]
        return np.concatenate(flags)

    def _blocks(self) -> Iterator[tuple[View, slice]]:
        first = 0
        for view in self.views:
            last = first + view.n_features
            yield view, slice(first, last)
            first = last


def _normal(values: Tensor, means: Tensor, log_noise: Tensor) -> Tensor:
    precision_root = (-log_noise).exp()
    error = (values - means) * precision_root
    log_normalisation = log_noise + 0.5 * _LOG_2PI
    exponent = -0.5 * error.square()
    return exponent - log_normalisation


def _poisson(counts: Tensor, log_rate: Tensor) -> Tensor:
    # log n! is the log-gamma function of n + 1.
    return counts * log_rate - log_rate.exp() - torch.lgamma(counts + 1)


def _negative_binomial(counts: Tensor, log_rate: Tensor, log_noise: Tensor) -> Tensor:
    """A Poisson count whose rate is multiplied by a gamma variable of deviation ``e^log_noise``."""
    log_shape = -2 * log_noise
    shape = log_shape.exp()
    log_total = torch.logaddexp(log_rate, log_shape)
    log_ways = torch.lgamma(counts + shape) - torch.lgamma(shape) - torch.lgamma(counts + 1)
    of_shape = shape * (log_shape - log_total)
    return log_ways + of_shape + counts * (log_rate - log_total)

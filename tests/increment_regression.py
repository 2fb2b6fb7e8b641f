"""Drift and diffusion of densely observed paths by regression: a path method outside the package."""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import pandas as pd
import torch
from torch import nn

from dyninfer.diffusions import Diffusion, ScaledDiffusion
from dyninfer.estimators import Outcome, PathEstimator


class PolynomialDiffusion(Diffusion):
    """Drift and squared noise amplitude that are polynomials of the state."""

    def __init__(self, n_features, drift_degree, noise_degree):
        super().__init__()
        self.degrees = drift_degree, noise_degree
        n_drift, n_noise = (monomials(torch.zeros(1, n_features), k).shape[1] for k in self.degrees)
        # In single precision, for the last bits of LAPACK depend on where its arrays lie in memory.
        self.drift_weights = nn.Parameter(torch.zeros(n_drift, n_features))
        self.noise_weights = nn.Parameter(torch.zeros(n_noise, n_features))

    def drift(self, t, x):
        return monomials(x, self.degrees[0]) @ self.drift_weights.to(x)

    def diffusion(self, t, x):
        variance = monomials(x, self.degrees[1]) @ self.noise_weights.to(x)
        return variance.clamp(min=0).sqrt()


def monomials(x, degree):
    """All products of up to ``degree`` features ``(n, m)``, the constant first."""
    columns = [torch.ones_like(x[:, 0])]
    for k in range(1, degree + 1):
        for factors in combinations_with_replacement(range(x.shape[1]), k):
            columns.append(x[:, list(factors)].prod(1))
    return torch.stack(columns, dim=1)


@dataclass(kw_only=True, repr=False, eq=False)
class IncrementRegression(PathEstimator):
    r"""Regression of increments and of their squares on polynomials of the state.

    .. math:: b(x) = \lim_{\Delta \to 0} E[X_{t+\Delta} - x \,|\, X_t = x] / \Delta, \qquad
        \sigma^2(x) = \lim_{\Delta \to 0} E[(X_{t+\Delta} - x)^2 \,|\, X_t = x] / \Delta

    Parameters
    ----------
    drift_degree, noise_degree : int
        Degrees of the polynomials.
    """

    citation = "@article{siegert1998, title={Analysis of data sets of stochastic systems}}"
    drift_degree: int = 1
    noise_degree: int = 0

    def build(self, data, scaling):
        inner = PolynomialDiffusion(scaling.n_features, self.drift_degree, self.noise_degree)
        return ScaledDiffusion(inner, scaling)

    def learn(self, process, data, run):
        x, increment, gap = increments(data, process.scaling)
        inner, root = process.inner, gap.sqrt()[:, None]
        library = monomials(x, self.drift_degree)
        # An increment scatters by σ √Δ, so that each is divided by √Δ.
        drift = torch.linalg.lstsq(library * root, increment / root).solution
        residual = increment - library @ drift * gap[:, None]
        squares = residual.square() / gap[:, None]
        noise = torch.linalg.lstsq(monomials(x, self.noise_degree), squares).solution
        with torch.no_grad():
            inner.drift_weights.copy_(drift)
            inner.noise_weights.copy_(noise)
        history = pd.DataFrame({"loss": [float(squares.mean())]})
        return Outcome(history=history, status="finished")


def increments(paths, scaling):
    """States, increments and gaps between neighbouring whole observations, in scaled units."""
    columns = []
    for times, states in zip(paths.times, paths.states, strict=True):
        whole = ~np.isnan(states).any(1)
        z = scaling.states(torch.as_tensor(states[whole], dtype=torch.float64))
        tau = torch.as_tensor(scaling.times(times[whole]))
        columns.append((z[:-1], z.diff(dim=0), tau.diff()))
    return (torch.cat(column) for column in zip(*columns, strict=True))

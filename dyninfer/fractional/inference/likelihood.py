"""Fit of the linear Gaussian case: the exact likelihood, its maximum, and how sharp that is."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from dyninfer.fractional.gaussian.chain import covariance_root, draw, log_likelihood
from dyninfer.fractional.gaussian.linear import state_covariance
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.series import Series

_STARTS = [(h, noise) for h in (0.2, 0.5, 0.8) for noise in (0.1, 0.5)]
_DENSE = 1000  # even times up to which one factor is faster than the filter
_STEP = 1e-4  # of the differences of the gradient that make the curvature


class Fit(NamedTuple):
    """What :func:`maximise` returns."""

    history: list[dict[str, float]]
    status: str


def exact_log_likelihood(prior: LinearPrior, series: Series) -> Tensor:
    """Log-likelihood of every path ``(P,)`` of a standardised series, with gradients.

    Where all paths share even times and are seen coordinate by coordinate, one Cholesky factor serves all; else the
    filter takes the times one by one.
    """
    even = len(series.gap) == 1 and len(series.gaps) == 1
    if even and not prior.latent and series.times.shape[1] <= _DENSE:
        return _dense_log_likelihood(prior, series)
    transition, noise = prior.chain(series.gaps)
    return log_likelihood(
        prior.start(), transition, noise, series.gap, prior.observations(series)
    ).sum(-1)


def _dense_log_likelihood(prior: LinearPrior, series: Series) -> Tensor:
    start, seen = prior.start(), prior.observations(series)
    covariance = state_covariance(
        prior.noise.nodes, prior.weights, prior.rate, prior.scale, start.covariance, series.times[0]
    )
    mask = seen.mask[0, :, :, 0].T  # (d, L)
    covariance = covariance * (mask.unsqueeze(-1) & mask.unsqueeze(-2))
    factor = torch.linalg.cholesky(
        covariance + torch.diag_embed(torch.where(mask, seen.variance, 1))
    )
    decay = torch.exp(-prior.rate * (series.times[0] - series.times[0, 0])[:, None])
    rest = (seen.values[..., 0] - decay * start.mean[:, 0]) * mask.T
    white = torch.linalg.solve_triangular(factor, rest.permute(2, 1, 0), upper=False)
    half_log_determinant = factor.diagonal(dim1=-2, dim2=-1).log().sum()
    return (
        -0.5 * white.square().sum((0, 1))
        - half_log_determinant
        - 0.5 * mask.sum().to(rest) * math.log(2 * math.pi)
    )


@torch.no_grad()
def exact_posterior(prior: LinearPrior, series: Series, n_samples: int, seed: int) -> Tensor:
    """Draw states given what is seen, ``(n_samples, P, L, d)``, exactly."""
    transition, noise = prior.chain(series.gaps)
    start, generator = prior.start(), torch.Generator(noise.device).manual_seed(seed)
    z = draw(
        start,
        covariance_root(start.covariance),
        transition,
        covariance_root(noise),
        series.gap,
        prior.observations(series),
        n_samples,
        generator,
    )
    x = z.reshape(*z.shape[:3], prior.n_states, -1)[..., 0]
    return x + prior.mean(series.times)


def maximise(prior: LinearPrior, series: Series, max_steps: int) -> Fit:
    """Maximise the exact likelihood over all parameters, by L-BFGS from the best of a few starts.

    Returns
    -------
    Fit
        One row of history per step.
    """
    objective = _Objective(prior, series)
    objective.begin()
    history: list[dict[str, float]] = []

    def note(_: Any = None) -> None:
        history.append(
            {
                "step": len(history),
                "loss": objective.value,
                "log_likelihood": -objective.value * objective.count,
                "hurst": float(prior.hurst.detach().mean()),
            }
        )

    objective(objective.vector())
    note()
    found = minimize(
        objective,
        objective.vector(),
        jac=True,
        method="L-BFGS-B",
        bounds=objective.bounds(),
        callback=note,
        options={"maxiter": max_steps, "ftol": 1e-11, "gtol": 1e-7},
    )
    objective.load(found.x)
    return Fit(history, "finished" if found.success else "stopped early")


def hurst_information(prior: LinearPrior, series: Series) -> np.ndarray:
    """Observed information of the logit of each index, all other parameters profiled out: ``(1,)`` or ``(d,)``.

    Second derivatives are differences of the gradient. Coordinates that are seen one by one meet in the index alone, so
    all are moved at once. Parameters at a bound are held there.
    """
    objective = _Objective(prior, series)
    x = objective.vector()
    free = _free(x, objective.bounds())
    alone = not prior.latent and objective.sizes["hurst_logit"] in (1, prior.n_states)
    return _by_coordinate(objective, x, free) if alone else _jointly(objective, x, free)


def _jointly(objective: _Objective, x: np.ndarray, free: np.ndarray) -> np.ndarray:
    curvature = np.stack([objective.curvature(x, np.eye(len(x))[k]) for k in range(len(x))], axis=1)
    curvature = 0.5 * (curvature + curvature.T)
    index = objective.slices["hurst_logit"]
    target = np.arange(len(x))[index]
    rest = np.setdiff1d(np.flatnonzero(free), target)
    cross = curvature[np.ix_(target, rest)]
    # A latent state may be scaled and turned: its flat directions are left out.
    schur = (
        curvature[np.ix_(target, target)]
        - cross
        @ np.linalg.pinv(curvature[np.ix_(rest, rest)], rcond=1e-8, hermitian=True)
        @ cross.T
    )
    return 1 / np.diag(np.linalg.inv(schur))


def _by_coordinate(objective: _Objective, x: np.ndarray, free: np.ndarray) -> np.ndarray:
    index, d = objective.slices["hurst_logit"], objective.prior.n_states
    others = [name for name in objective.slices if name != "hurst_logit"]
    columns = {}
    for name in (*others, "hurst_logit"):
        direction = np.zeros(len(x))
        direction[objective.slices[name]] = 1.0
        columns[name] = objective.curvature(x, direction)
    top = columns["hurst_logit"][index]
    loss = np.zeros(d)
    for i in range(d):
        here = [n for n in others if free[objective.slices[n]][i]]
        if here:
            block = np.array([[columns[b][objective.slices[a]][i] for b in here] for a in here])
            cross = np.array([columns["hurst_logit"][objective.slices[a]][i] for a in here])
            loss[i] = cross @ np.linalg.solve(0.5 * (block + block.T), cross)
    return top - (loss if len(top) > 1 else loss.sum())


def _free(x: np.ndarray, bounds: list[tuple[float | None, float | None]]) -> np.ndarray:
    low = np.array([-np.inf if a is None else a for a, _ in bounds])
    high = np.array([np.inf if b is None else b for _, b in bounds])
    return (x > low + 1e-6) & (x < high - 1e-6)


class _Objective:
    """Minus the log-likelihood per observed value, of all parameters as one vector."""

    def __init__(self, prior: LinearPrior, series: Series):
        self.prior, self.series = prior, series
        self.parameters = {name: p for name, p in prior.named_parameters() if p.requires_grad}
        self.sizes = {name: p.numel() for name, p in self.parameters.items()}
        ends = np.cumsum(list(self.sizes.values())).tolist()
        self.slices = {
            name: slice(end - n, end)
            for (name, n), end in zip(self.sizes.items(), ends, strict=True)
        }
        self.count = int(series.mask.expand_as(series.values).sum())
        self.value = np.inf
        self.slopes: np.ndarray | None = None  # at the maximum

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        self.load(x)
        loss = -exact_log_likelihood(self.prior, self.series).sum() / self.count
        slopes = torch.autograd.grad(loss, list(self.parameters.values()))
        self.value = float(loss.detach())
        return self.value, torch.cat([g.flatten() for g in slopes]).cpu().numpy()

    def vector(self) -> np.ndarray:
        """Parameters as they are."""
        return torch.cat([p.detach().flatten() for p in self.parameters.values()]).cpu().numpy()

    @torch.no_grad()
    def load(self, x: np.ndarray) -> None:
        """Set the parameters."""
        for name, p in self.parameters.items():
            p.copy_(torch.from_numpy(x[self.slices[name]]).view_as(p))

    def bounds(self) -> list[tuple[float | None, float | None]]:
        """Bounds of every number."""
        known = self.prior.bounds()
        return [known.get(name, (None, None)) for name, n in self.sizes.items() for _ in range(n)]

    def curvature(self, x: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Second derivative of minus the log-likelihood, ``∇² · direction``; ``x`` is a maximum."""
        if self.slopes is None:
            self.slopes = self(x)[1]
        ahead = self(x + _STEP * direction)[1]
        self.load(x)
        return (ahead - self.slopes) * (self.count / _STEP)

    @torch.no_grad()
    def begin(self) -> None:
        """Start from the likeliest of a few indices and shares of the noise."""
        best, base = np.inf, self.vector()
        chosen = base
        for hurst, noise in _STARTS:
            x = base.copy()
            for name, value in (
                ("hurst_logit", np.log(hurst / (1 - hurst))),
                ("log_noise", np.log(noise)),
            ):
                if name in self.slices:
                    x[self.slices[name]] += value - (0 if name == "hurst_logit" else np.log(0.1))
            self.load(x)
            value = -float(exact_log_likelihood(self.prior, self.series).sum())
            if value < best:
                best, chosen = value, x
        self.load(chosen)

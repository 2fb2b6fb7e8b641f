"""Maximum of the exact likelihood of the linear case, and how sharp it is."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy import ndarray
from scipy.optimize import minimize

from dyninfer.fractional.inference.likelihood import exact_log_likelihood
from dyninfer.fractional.inference.prior import FIRST_NOISE, Bounds, LinearPrior
from dyninfer.fractional.inference.series import Series
from dyninfer.learning.interruption import ends_on_interrupt, watched

# Indices and deviations of the noise among which the start is chosen: the likelihood may have two
# maxima, one of which takes what is rough for noise.
_STARTS = ((0.2, 0.1), (0.2, 0.5), (0.5, 0.1), (0.5, 0.5), (0.8, 0.1), (0.8, 0.5))
# Nats that a further start must gain to be worth another: less says nothing about the parameters.
_NO_GAIN = 1e-2
# Numbers at most of which the curvature is asked at an end, one gradient each.
_MOST_ASKED = 30
# Curvature below which a direction counts as flat, in units of the sharpest.
_FLAT = 1e-8
# Parts of Newton's step that are tried.
_PARTS = (1.0, 0.5, 0.25, 0.125)
# Ways along a direction in which the likelihood bends up. Deviations are logarithms: one that is
# too small to matter has hardly a slope, and must grow by factors of three to twenty to show one.
_WAYS = (2.0, -2.0, 1.0, -1.0, 3.0, -3.0)
# Nats that a step of either kind must gain alone: more comes when the search goes on from there.
_PROMISING = 1e-3
# What L-BFGS-B says of a search that its steps did not suffice for.
_OUT_OF_STEPS = 1
# Step of the differences of the gradient that make the curvature.
_STEP = 1e-4
# Numbers of an index of which second derivatives are taken, one gradient each.
_MOST_NUMBERS = 100
# Distance within which a parameter counts as lying at its bound.
_AT_BOUND = 1e-6


class Fit(NamedTuple):
    """What :func:`maximise` returns: one row of history per step."""

    history: list[dict[str, float]]
    status: str


def maximise(prior: LinearPrior, series: Series, max_steps: int) -> Fit:
    """Maximise the exact likelihood over all parameters, by L-BFGS from the best of a few starts.

    L-BFGS may stop where one step gained little though the next would gain much, so it is started
    again from its end until that gains nothing. On a narrow ridge or a plateau it finds nothing
    though there is more: see :meth:`ExactObjective.beyond`.
    """
    objective = ExactObjective(prior, series)
    objective.load(objective.best_start())
    history: list[dict[str, float]] = []
    reached = objective.vector()

    def record(x: ndarray) -> None:
        nonlocal reached
        reached = x.copy()
        row = {
            "step": len(history),
            "loss": objective.value,
            "log_likelihood": -objective.value * objective.count,
            "hurst": float(prior.hurst.detach().mean()),
        }
        history.append(row)

    least, _ = objective(reached)
    record(reached)
    n_left = max_steps
    is_finished = False
    with watched() as interruption, ends_on_interrupt():
        while n_left > 0 and not is_finished:
            result = minimize(
                objective,
                objective.vector(),
                jac=True,
                method="L-BFGS-B",
                bounds=objective.bounds(),
                callback=record,
                # The loss is per number: tighter tolerances are below the rounding of its gradient.
                options={"maxiter": n_left, "ftol": 1e-11, "gtol": 1e-7},
            )
            objective.load(result.x)
            fall = least - result.fun
            gain = fall * objective.count
            # At a maximum no line search finds more, but for rounding: that too is an end.
            has_steps_left = result.status != _OUT_OF_STEPS
            is_finished = has_steps_left and gain < _NO_GAIN
            n_left -= max(result.nit, 1)
            least = result.fun
            if is_finished:
                better = objective.beyond(result.x, least)
                if better is not None:
                    least, _ = objective(better)
                    record(better)
                    is_finished = False
    if interruption.happened:
        # The last step that was whole, not a trial of the next.
        objective.load(reached)
        return Fit(history, "interrupted")
    if is_finished:
        return Fit(history, "finished")
    return Fit(history, "stopped early")


def index_facts(prior: LinearPrior, series: Series) -> dict[str, Any]:
    """What an interval of the index needs when the data are gone; nothing where it was given.

    Returns
    -------
    dict
        ``information`` of the logit of each index ``(1,)`` or ``(d,)``, or ``(m, m)`` of the
        numbers that an index that changes is made of, with their ``index_names``: the observed
        one, all other parameters profiled out.
    """
    names = prior.index_names
    objective = ExactObjective(prior, series)
    n_numbers = sum(objective.parameters[name].numel() for name in names)
    if n_numbers == 0:
        return {}
    if not prior.changes:
        return {"information": _hurst_information(objective).tolist()}
    if n_numbers > _MOST_NUMBERS:
        return {"n_index_numbers": n_numbers}
    x = objective.vector()
    information = _profiled(objective, x, objective.is_free(x))
    return {"information": information.tolist(), "index_names": names}


class ExactObjective:
    """Minus the log-likelihood per observed value, of all parameters as one vector."""

    def __init__(self, prior: LinearPrior, series: Series):
        self.prior = prior
        self.series = series
        self.parameters = {name: p for name, p in prior.named_parameters() if p.requires_grad}
        self.slices: dict[str, slice] = {}
        begin = 0
        for name, parameter in self.parameters.items():
            end = begin + parameter.numel()
            self.slices[name] = slice(begin, end)
            begin = end
        self.count = series.count
        self.value = math.inf
        self._slope_at_maximum: ndarray | None = None

    def __call__(self, x: ndarray) -> tuple[float, ndarray]:
        """Value and gradient at a vector of parameters, which are set to it."""
        self.load(x)
        of_paths = exact_log_likelihood(self.prior, self.series)
        # Per observed value, so that tolerances do not depend on the size of the data.
        loss = -of_paths.sum() / self.count
        parameters = list(self.parameters.values())
        slopes = torch.autograd.grad(loss, parameters)
        columns = [slope.flatten() for slope in slopes]
        gradient = torch.cat(columns)
        self.value = float(loss.detach())
        return self.value, gradient.cpu().numpy()

    @torch.no_grad()
    def loss(self, x: ndarray) -> float:
        """Value alone, which costs a quarter of that and the slope."""
        self.load(x)
        of_paths = exact_log_likelihood(self.prior, self.series)
        return -float(of_paths.sum()) / self.count

    def vector(self) -> ndarray:
        """Parameters as they are."""
        parameters = self.parameters.values()
        flat = [p.detach().flatten() for p in parameters]
        return torch.cat(flat).cpu().numpy()

    @torch.no_grad()
    def load(self, x: ndarray) -> None:
        """Set the parameters."""
        for name, parameter in self.parameters.items():
            where = self.slices[name]
            value = torch.from_numpy(x[where])
            parameter.copy_(value.view_as(parameter))

    def bounds(self) -> list[Bounds]:
        """Bounds of every number."""
        by_name = self.prior.bounds()
        bounds: list[Bounds] = []
        for name, parameter in self.parameters.items():
            of_each = by_name.get(name, (None, None))
            bounds += [of_each] * parameter.numel()
        return bounds

    def is_free(self, x: ndarray) -> ndarray:
        """Whether each number lies inside its bounds."""
        bounds = np.array(self.bounds(), dtype=float)  # None becomes NaN, which nothing is beyond
        low, high = bounds.T
        at_low = x <= low + _AT_BOUND
        at_high = x >= high - _AT_BOUND
        return ~(at_low | at_high)

    def curvature(self, x: ndarray, direction: ndarray) -> ndarray:
        """Second derivative of minus the log-likelihood times ``direction``; ``x`` is a maximum."""
        if self._slope_at_maximum is None:
            _, self._slope_at_maximum = self(x)
        ahead = x + _STEP * direction
        _, slope_ahead = self(ahead)
        self.load(x)
        change = slope_ahead - self._slope_at_maximum
        # The slope is per observed value.
        return change * self.count / _STEP

    def beyond(self, x: ndarray, value: float) -> ndarray | None:
        """A likelier place than one where the search ended; None where there is no more to gain.

        The search ends on narrow ridges, which Newton's step follows, and on plateaus, where the
        noise or the spread of the start is too small to show in the slope.

        Parameters
        ----------
        x : array
        value : float
            Value there.
        """
        free = np.flatnonzero(self.is_free(x))
        if len(free) == 0 or len(free) > _MOST_ASKED:
            return None
        low, high = np.array(self.bounds(), dtype=float).T
        for step in self._ways_out(x, free):
            # fmin and fmax pass over the NaN of a missing bound.
            trial = np.fmax(np.fmin(x + step, high), low)
            fall = value - self.loss(trial)
            if fall * self.count > _PROMISING:
                return trial
        self.load(x)
        return None

    def _ways_out(self, x: ndarray, free: ndarray) -> list[ndarray]:
        """Steps that may lead to a likelier place, by slope and curvature in the free numbers."""
        # Not that of the place that was asked about before.
        _, slope = self(x)
        self._slope_at_maximum = slope
        directions = np.eye(len(x))[free]
        columns = [self.curvature(x, direction)[free] for direction in directions]
        curvature = np.stack(columns, axis=1)
        bends, axes = np.linalg.eigh(0.5 * (curvature + curvature.T))
        flat = _FLAT * bends.max()
        is_sharp = bends > flat
        sharp = axes[:, is_sharp]
        along = self.count * (sharp.T @ slope[free]) / bends[is_sharp]
        expected_gain = 0.5 * float((bends[is_sharp] * along**2).sum())
        steps = []
        if expected_gain > _NO_GAIN:
            newton = -sharp @ along
            steps += [part * newton for part in _PARTS]
        for axis in axes[:, bends < -flat].T:
            steps += [way * axis for way in _WAYS]
        whole = np.zeros((len(steps), len(x)))
        if steps:
            whole[:, free] = steps
        return list(whole)

    def best_start(self) -> ndarray:
        """The likeliest of a few indices and shares of the noise; all else as it is."""
        base = self.vector()
        best = base
        least = math.inf
        for hurst, noise in _STARTS:
            x = base.copy()
            # A fixed index, or known noise, is not among the parameters.
            if self.prior.logit_name in self.slices:
                odds = hurst / (1 - hurst)
                x[self.slices[self.prior.logit_name]] += math.log(odds)
            if "log_noise" in self.slices:
                factor = noise / FIRST_NOISE
                x[self.slices["log_noise"]] += math.log(factor)
            loss = self.loss(x)
            if loss < least:
                least = loss
                best = x
        return best


def _hurst_information(objective: ExactObjective) -> ndarray:
    """Observed information of the logit of each index, ``(1,)`` or ``(d,)``.

    Second derivatives are differences of the gradient. Coordinates that are observed one by one
    meet in the index alone, so all are moved at once. Parameters at a bound are fixed there.
    """
    x = objective.vector()
    free = objective.is_free(x)
    if objective.prior.latent:
        covariance = np.linalg.inv(_profiled(objective, x, free))
        return 1 / np.diag(covariance)
    return _information_by_coordinate(objective, x, free)


def _profiled(objective: ExactObjective, x: ndarray, free: ndarray) -> ndarray:
    """Information ``(m, m)`` of the numbers of the index, all others at their best."""
    n = len(x)
    directions = np.eye(n)
    columns = [objective.curvature(x, direction) for direction in directions]
    curvature = np.stack(columns, axis=1)
    # Differences of the gradient are symmetric but for rounding.
    curvature = 0.5 * (curvature + curvature.T)
    numbers = np.arange(n)
    parts = [numbers[objective.slices[name]] for name in objective.prior.index_names]
    index = np.concatenate(parts)
    free_numbers = np.flatnonzero(free)
    others = np.setdiff1d(free_numbers, index)
    of_index = curvature[np.ix_(index, index)]
    cross = curvature[np.ix_(index, others)]
    of_others = curvature[np.ix_(others, others)]
    # A latent state may be scaled and turned: its flat directions are left out.
    inverse = np.linalg.pinv(of_others, rcond=1e-8, hermitian=True)
    explained = cross @ inverse @ cross.T
    return of_index - explained


def _information_by_coordinate(
    objective: ExactObjective,
    x: ndarray,
    free: ndarray,
) -> ndarray:
    slices = objective.slices
    columns = {}
    for name, where in slices.items():
        direction = np.zeros_like(x)
        direction[where] = 1.0
        columns[name] = objective.curvature(x, direction)
    by_index = columns["hurst_logit"]
    information = by_index[slices["hurst_logit"]]
    others = [name for name in slices if name != "hurst_logit"]
    loss = np.zeros(objective.prior.n_states)
    for i in range(len(loss)):
        names = [name for name in others if free[slices[name]][i]]
        if not names:
            continue
        block = []
        cross = []
        for name in names:
            where = slices[name]
            block.append([columns[other][where][i] for other in names])
            cross.append(by_index[where][i])
        curvature = np.array(block)
        symmetric = 0.5 * (curvature + curvature.T)
        step = np.linalg.solve(symmetric, cross)
        loss[i] = np.dot(cross, step)
    if len(information) == 1:
        # One index for all: every coordinate takes its share.
        return information - loss.sum()
    return information - loss

"""Diffusion processes with growth: what the snapshot methods learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from numpy import ndarray
from torch import Tensor, nn

from dyninfer.data.arrays import as_tensor
from dyninfer.learning.functions import takes_two
from dyninfer.learning.settings import brief

Field = Callable[[Tensor, Tensor], Tensor]
# A scalar, or one time for every state: (n,).
Time = Tensor | float
# Drift (n, d), and the growth rate (n,) where mass changes.
Motion = tuple[Tensor, Tensor | None]
# The same, and the score (n, d) where there is one.
MotionAndScore = tuple[Tensor, Tensor | None, Tensor | None]


class Diffusion(nn.Module):
    """A population that drifts, diffuses and grows.

    Individuals follow the Itô equation ``dX = drift(t, X) dt + diffusion(t, X) dW`` and carry a
    weight ``d log w = growth(t, X) dt``; their density solves ``∂ρ/∂t = −∇·(drift ρ) + ½ Σ_i
    ∂_i²(diffusion_i² ρ) + growth ρ``. All fields use the units of the data, and are batched and
    differentiable.

    Either override the methods in a subclass, or give plain functions of ``(t, x)``.

    Parameters
    ----------
    drift : callable, ``(n,), (n, d) -> (n, d)``
        Mean velocity, in state units per unit of time.
    diffusion : callable or float, optional
        Noise amplitude, in state units per square root of time: a scalar, or diagonal as ``(d,)``
        or ``(n, d)``.
    growth : callable, ``(n,), (n, d) -> (n,)``, optional
        Rate of change of the log-weight, per unit of time.
    score : callable, ``(n,), (n, d) -> (n, d)``, optional
        ``∇ log ρ_t``, which allows simulation backward in time and with any noise.
    potential : callable, ``(n,), (n, d) -> (n,)``, optional
        Function whose gradient is the drift.

    Raises
    ------
    TypeError, ValueError
        If a field is not a function of two arguments, or the diffusion not a number either.

    Examples
    --------
    >>> import torch
    >>> from dyninfer.diffusions import Diffusion
    >>> ou = Diffusion(drift=lambda t, x: -x, diffusion=0.5)
    >>> ou.drift(torch.tensor(0.0), torch.ones(3, 2)).shape
    torch.Size([3, 2])
    """

    # Whether the noise amplitude depends on neither time nor state, so that any of them will do.
    constant_noise = False
    # In time units: steps whose length nobody chose are no longer. None where any length will do.
    longest_step: float | None = None

    def __init__(
        self,
        drift: Field | None = None,
        diffusion: Field | float | None = None,
        growth: Field | None = None,
        score: Field | None = None,
        potential: Field | None = None,
    ):
        super().__init__()
        functions = {"drift": drift, "growth": growth, "score": score, "potential": potential}
        for name, field in functions.items():
            check_field(field, name)
        if callable(diffusion):
            check_field(diffusion, "diffusion")
        elif diffusion is not None:
            as_tensor(diffusion, "diffusion")
        # Plain attributes: functions are no modules, and hold no parameters that move.
        self._drift = drift
        self._diffusion = diffusion
        self._growth = growth
        self._score = score
        self._potential = potential

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """Drift ``(n, d)`` at time ``t``, scalar or ``(n,)``, and state ``x``, ``(n, d)``."""
        if self._drift is None:
            raise NotImplementedError(f"{type(self).__name__} must define drift(t, x)")
        times = batch_times(t, x)
        return self._drift(times, x)

    def backward_drift(self, t: Time, x: Tensor) -> Tensor | None:
        """Velocity ``(n, d)`` of a flow backward in time; None means the drift."""
        return None

    def diffusion(self, t: Time, x: Tensor) -> Tensor | None:
        """Noise amplitude: a scalar tensor, a diagonal ``(d,)`` or ``(n, d)``, or None."""
        amplitude = self._diffusion
        if amplitude is None:
            return None
        if callable(amplitude):
            times = batch_times(t, x)
            return amplitude(times, x)
        # Additive noise stays a scalar, by which solvers recognise it.
        return torch.as_tensor(amplitude, dtype=x.dtype, device=x.device)

    def growth(self, t: Time, x: Tensor) -> Tensor | None:
        """Rate of the log-weight ``(n,)``, or None if mass is conserved."""
        return _values(self._growth, t, x)

    def score(self, t: Time, x: Tensor) -> Tensor | None:
        """Gradient of the log-density ``(n, d)``, or None if it is not known."""
        return _values(self._score, t, x)

    def potential(self, t: Time, x: Tensor) -> Tensor | None:
        """Potential ``(n,)``, or None if the drift does not come from one."""
        return _values(self._potential, t, x)

    def breaks(self) -> Tensor:
        """Times ``(k,)`` float64 at which a field has a kink; empty if all are smooth.

        A solver that chooses its own steps ends one at each of them.
        """
        return torch.zeros(0, dtype=torch.float64)

    def given(self, condition: Any) -> Self:
        """Return the same process under one condition, for processes that know conditions.

        Raises
        ------
        ValueError
            If the process has no conditions.
        """
        raise ValueError(
            f"the process has no conditions, so {brief(condition)} cannot be used; "
            "fit with condition_key, or with Snapshots(conditions=...)"
        )

    def drift_and_growth(self, t: Time, x: Tensor) -> Motion:
        """Both fields at once, for processes that share the work between them."""
        drift = self.drift(t, x)
        growth = self.growth(t, x)
        return drift, growth

    def drift_growth_and_score(self, t: Time, x: Tensor) -> MotionAndScore:
        """All that an equation with chosen noise needs, for processes that share the work."""
        drift, growth = self.drift_and_growth(t, x)
        score = self.score(t, x)
        return drift, growth, score

    def divergence(self, t: Time, x: Tensor) -> Tensor | None:
        """Divergence of the drift ``(n,)`` if it is cheap to compute, else None."""
        return None


def check_field(field: Any, name: str) -> None:
    """Raise a TypeError for what cannot be called with a time and states."""
    if field is None:
        return
    if not takes_two(field):
        raise TypeError(f"{name} must be a function of (t, x), found {brief(field)}")


def _values(field: Field | None, t: Time, x: Tensor) -> Tensor | None:
    """Values of a field that may not be there."""
    if field is None:
        return None
    times = batch_times(t, x)
    return field(times, x)


def batch_times(t: Time | ndarray, x: Tensor) -> Tensor:
    """Times ``(n,)`` of the dtype and device of ``x``, a view where ``t`` is a scalar."""
    times = torch.as_tensor(t, dtype=x.dtype, device=x.device)
    if times.ndim > 0:
        return times
    # Expanded, not repeated: solvers give one time to a million states.
    n = len(x)
    return times.expand(n)

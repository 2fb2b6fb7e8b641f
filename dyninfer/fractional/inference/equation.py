"""The equation that paths are drawn from, and the control that steers the draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.reference import Field
from dyninfer.fractional.inference.stacked import OwnNetworks

Residual = Callable[..., Tensor]


class Equation(NamedTuple):
    """``dX = [a − θ X + f(t, X)] dt + σ g(t, X) ∘ dB̂``, standardised.

    Attributes
    ----------
    prior : LinearPrior
    drift : callable, ``(n,), (n, d) -> (n, d)``, optional
        ``f``, per time unit.
    amplitude : callable, ``(n,), (n, d) -> (n, d)``, optional
        ``g``, positive, in the sense of Stratonovich.
    networks : OwnNetworks, optional
        Where networks of ours alone are ``f`` and the control, and there is no ``g``: a step can
        then be differentiated with all others at once.
    """

    prior: LinearPrior
    drift: Field | None = None
    amplitude: Field | None = None
    networks: OwnNetworks | None = None

    @property
    def is_linear(self) -> bool:
        """Whether nothing stands beside the linear part."""
        return self.drift is None and self.amplitude is None


class Control(NamedTuple):
    """A residual control ``u`` that shifts the Brownian motion beside what the guide does.

    Attributes
    ----------
    residual : callable, ``(n,), (n, d), (n, d, K) -> (n, d)``
        ``u(t, x, y)``, with the memory in units of its stationary deviation, without the zero node;
        with the context of its time ``(n, c)`` as a fourth argument where there is one.
    context : Tensor, ``(P, L, c)``, optional
        Interpolated between the times of the series.
    rests : Tensor, ``(P,)``, optional
        Time of every path from which on ``u`` is 0.
    """

    residual: Residual
    context: Tensor | None = None
    rests: Tensor | None = None

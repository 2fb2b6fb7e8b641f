"""The equation that is solved: what a process becomes for a given noise and direction of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from dyninfer.diffusions import Diffusion, scaling_of
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import brief, is_number
from dyninfer.simulation.fields import check_fields, check_shape
from dyninfer.simulation.kind import Kind

# Velocity (n, d) and growth (n,), or None where mass is conserved.
Rate = tuple[Tensor, Tensor | None]
Rates = Callable[[Tensor, Tensor], Rate]
Field = Callable[..., Any]
Noise = float | Callable[[Tensor], Any] | None


@dataclass(frozen=True)
class Equation:
    """``dX = f dt + g dW`` with weights ``d log w = r dt``, in either direction of time.

    In the sense of Itô, unless it says otherwise.

    Attributes
    ----------
    rates : callable
        ``(t, x) -> (f, r)``: velocity ``(n, d)`` and growth ``(n,)``, or None for the growth.
    amplitude : callable, optional
        ``(t, x) -> g``: a scalar, ``(d,)``, ``(n, 1)`` or ``(n, d)``, each coordinate with a
        Brownian motion of its own; or ``(n, d, m)`` with ``n_brownian``. None for a flow without
        noise.
    additive : bool
        Whether the amplitude does not depend on the state.
    grows : bool
        Whether there are weights.
    own_drift : bool
        Whether the velocity is the drift of the process as it stands.
    parameters : tuple of Tensor
        What the process has learned, for adjoint gradients.
    n_brownian : int, optional
        Number ``m`` of Brownian motions where they drive several coordinates each.
    stratonovich : bool
        Whether ``f`` is the drift in the sense of Stratonovich.
    scaling : Scaling, optional
        Units of the data that the process was fitted to. Such a process takes float64 times.
    breaks : Tensor ``(k,)``, optional
        Times at which the rates bend sharply.
    longest_step : float, optional
        Steps whose length nobody chose are no longer.
    """

    rates: Rates
    amplitude: Any
    additive: bool
    grows: bool
    own_drift: bool = False
    parameters: tuple[Tensor, ...] = ()
    n_brownian: int | None = None
    stratonovich: bool = False
    scaling: Scaling | None = None
    breaks: Tensor | None = None
    longest_step: float | None = None

    def time(self, t: Tensor, like: Tensor) -> Tensor:
        """Times as the process takes them, on the device of states.

        A fitted process subtracts its first time in float64: far from zero, as in unix seconds,
        single precision would merge all times of the data. Plain functions get the precision of
        their states, which they may multiply times with.
        """
        dtype = like.dtype if self.scaling is None else torch.float64
        return t.to(like.device, dtype)

    @property
    def kind(self) -> Kind:
        """What a solver must be able to run."""
        if self.amplitude is None:
            return Kind.FLOW
        return Kind.ADDITIVE if self.additive else Kind.MULTIPLICATIVE


def equation_of(
    process: Diffusion, x: Tensor, times: Tensor, noise: Noise, backward: bool
) -> Equation:
    """Derive the equation from a process and check its fields near the first state.

    With the process' own noise and time running up, ``f = drift`` and ``g = diffusion``. Otherwise,
    with ``v = drift − ½ diffusion² s`` the velocity of the probability flow, ``f = v ± ε s`` and
    ``g = √(2ε)``, where the sign is minus backward in time and ``ε = ½ diffusion²`` is the process'
    own noise (Song et al., 2021, Appendix D).

    Parameters
    ----------
    process : Diffusion
    x : Tensor, ``(n, d)``
        Starting states.
    times : Tensor, ``(time,)``
        Output times, the first of them the start.
    noise : float or callable, optional
        ``ε``, or None for the process' own.
    backward : bool
        Whether time runs down.
    """
    t = float(times[0])
    own = _own_equation(process, x, t)
    check_noise(noise, times)
    is_flow = own.amplitude is None
    if is_flow and noise in (None, 0):
        return _flow_back(process, own, x, t) if backward else own
    if noise is None and not backward:
        return own
    _check_score(process, x, t, noise, own)
    if noise is None:
        return _reversed(process, own)
    return _with_noise(process, own, noise, backward)


def probability_flow(process: Diffusion, x: Tensor, times: Tensor) -> Equation:
    """Return the deterministic flow that has the marginals of the process."""
    return equation_of(process, x, times, 0.0, backward=False)


def _own_equation(process: Diffusion, x: Tensor, t: float) -> Equation:
    """The process as it stands, forward in time."""
    growth, additive = check_fields(process, x, t)
    return Equation(
        rates=process.drift_and_growth,
        amplitude=None if additive is None else process.diffusion,
        additive=additive is not False,
        grows=growth is not None,
        own_drift=True,
        parameters=tuple(process.parameters()),
        scaling=scaling_of(process),
        breaks=process.breaks(),
        longest_step=process.longest_step,
    )


def _flow_back(process: Diffusion, own: Equation, x: Tensor, t: float) -> Equation:
    """A flow with time running down: what leads back to a surface would lead away from it."""
    if process.backward_drift(t, x[:1]) is None:
        return own

    def rates(t: Tensor, x: Tensor) -> Rate:
        velocity = process.backward_drift(t, x)
        assert velocity is not None
        return velocity, None

    return replace(own, rates=rates, own_drift=False)


def _reversed(process: Diffusion, own: Equation) -> Equation:
    """The process' own noise with time running down: ``f = drift − diffusion² s``."""

    def factor(t: Tensor, x: Tensor) -> Tensor:
        return -own.amplitude(t, x).square()

    return replace(own, rates=_shifted(process, factor), own_drift=False)


def _with_noise(process: Diffusion, own: Equation, noise: Any, backward: bool) -> Equation:
    """Noise of the caller's choice: ``f = drift + (± ε − ½ diffusion²) s``, ``g = √(2ε)``."""
    sign = -1.0 if backward else 1.0

    def factor(t: Tensor, x: Tensor) -> Tensor:
        epsilon = sign * _epsilon(noise, t, x)
        if own.amplitude is None:
            return epsilon
        own_epsilon = 0.5 * own.amplitude(t, x).square()
        return epsilon - own_epsilon

    def amplitude(t: Tensor, x: Tensor) -> Tensor:
        return torch.sqrt(2 * _epsilon(noise, t, x))

    is_noisy = callable(noise) or noise > 0
    return replace(
        own,
        rates=_shifted(process, factor),
        amplitude=amplitude if is_noisy else None,
        own_drift=False,
    )


def _shifted(process: Any, factor: Field) -> Rates:
    """Rates whose velocity is ``drift + factor · score``."""

    def rates(t: Tensor, x: Tensor) -> Rate:
        drift, growth, score = process.drift_growth_and_score(t, x)
        velocity = torch.addcmul(drift, factor(t, x), score)
        return velocity, growth

    return rates


def _epsilon(noise: Any, t: Tensor, x: Tensor) -> Tensor:
    if not callable(noise):
        return x.new_full((), noise)
    if t.ndim == 1:
        # A table over times, one by one: the user's function need not be batched.
        rows = [_epsilon(noise, moment, x) for moment in t.unbind()]
        return torch.stack(rows)[:, None]
    value = noise(t)
    return torch.as_tensor(value, dtype=x.dtype, device=x.device)


def check_noise(noise: Any, times: Tensor) -> None:
    """Raise an error unless noise is None, a number, or a function of time, and not negative."""
    if noise is None:
        return
    if callable(noise):
        for t in times:
            value = _number_at(noise, t)
            _check_epsilon(value, f" at time {float(t):g}")
        return
    if not isinstance(noise, Real) or not is_number(noise):
        raise TypeError(
            f"noise must be a number, a function of time or None, but it is {brief(noise)}"
        )
    _check_epsilon(float(noise), "")


def _number_at(noise: Callable[[Tensor], Any], t: Tensor) -> float:
    try:
        return float(noise(t))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"noise must return one number for a scalar time, but not at {float(t):g}"
        ) from error


def _check_epsilon(value: float, where: str) -> None:
    # Runs are in single precision, where larger numbers are infinite.
    if not 0 <= value <= torch.finfo(torch.float32).max:
        raise ValueError(f"noise must be finite and not negative, but it is {value:g}{where}")


def _check_score(process: Diffusion, x: Tensor, t: float, noise: Noise, own: Equation) -> None:
    with torch.no_grad():
        moment = torch.full((1,), t, dtype=torch.float64)
        time = own.time(moment, x)
        one = x[:1].detach()
        score = process.score(time, one)
    if score is None:
        option = f"noise={brief(noise)}"
        remedy = "leave noise=None for its own noise"
        if noise is None:
            option = "backward=True"
            remedy = "simulate a process without diffusion"
        raise ValueError(
            f"{option} needs the score ∇ log ρ of the process, which has none; "
            f"give the process a score, or {remedy}"
        )
    check_shape("score", score, [tuple(one.shape)], one)
    if not own.additive:
        raise ValueError(
            "noise and backward need a diffusion that does not depend on the state, because the "
            "probability flow is drift − ½ diffusion² score only then; simulate forward with "
            "noise=None"
        )

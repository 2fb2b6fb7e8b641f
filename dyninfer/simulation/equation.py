"""The equation that is integrated: what a process becomes for a given noise and direction of time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Real
from typing import Any

import torch
from torch import Tensor

from dyninfer.diffusions import Diffusion
from dyninfer.simulation.kind import Kind

Rates = Callable[[Tensor, Tensor], tuple[Tensor, Tensor | None]]
Field = Callable[..., Any]


@dataclass(frozen=True)
class Equation:
    """``dX = f dt + g dW`` with weights ``d log w = r dt``, in either direction of time.

    In the sense of Itô, unless it says otherwise.

    Attributes
    ----------
    rates : callable
        ``(t, x) -> (f, r)``: velocity ``(n, d)`` and growth ``(n,)``, or None for the growth.
    amplitude : callable, optional
        ``(t, x) -> g``: a scalar, ``(d,)``, ``(n, 1)`` or ``(n, d)``, each coordinate with a Brownian
        motion of its own; or ``(n, d, m)`` with ``n_brownian``. None for a flow without noise.
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
    """

    rates: Rates
    amplitude: Any
    additive: bool
    grows: bool
    own_drift: bool = False
    parameters: tuple[Tensor, ...] = ()
    n_brownian: int | None = None
    stratonovich: bool = False

    @property
    def kind(self) -> Kind:
        """What a solver must be able to run."""
        if self.amplitude is None:
            return Kind.FLOW
        return Kind.ADDITIVE if self.additive else Kind.MULTIPLICATIVE


def equation_of(
    process: Diffusion,
    x: Tensor,
    times: Tensor,
    noise: float | Callable[[Tensor], Any] | None,
    backward: bool,
) -> Equation:
    """Derive the equation from a process and check its fields on copies of the first state.

    With the process' own noise and time running up, ``f = drift`` and ``g = diffusion``. Otherwise, with
    ``v = drift − ½ diffusion² s`` the velocity of the probability flow, ``f = v ± ε s`` and ``g = √(2ε)``, where the
    sign is minus backward in time and ``ε = ½ diffusion²`` is the process' own noise (Song et al., 2021, Appendix D).

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
    own = _check_fields(process, x, t := float(times[0]))
    _check_noise(noise, times)
    if noise is None and (not backward or own.amplitude is None):
        return own
    flow = noise is None or callable(noise) or noise > 0
    if own.amplitude is None and not flow:
        return own
    _check_score(process, x, t, noise, backward, own)
    if noise is None:
        rates = _shifted(process, lambda t, x: -own.amplitude(t, x).square())
        return replace(own, rates=rates, own_drift=False)
    return _with_noise(process, own, noise, backward)


def probability_flow(process: Diffusion, x: Tensor, times: Tensor) -> Equation:
    """Return the deterministic flow that has the marginals of the process."""
    return equation_of(process, x, times, 0.0, backward=False)


def _with_noise(process: Diffusion, own: Equation, noise: Any, backward: bool) -> Equation:
    sign = -1.0 if backward else 1.0

    def score_factor(t: Tensor, x: Tensor) -> Tensor:
        eps = sign * _epsilon(noise, t, x)
        return eps if own.amplitude is None else eps - 0.5 * own.amplitude(t, x).square()

    amplitude = None
    if callable(noise) or noise > 0:

        def amplitude(t: Tensor, x: Tensor) -> Tensor:
            return torch.sqrt(2 * _epsilon(noise, t, x))

    return replace(own, rates=_shifted(process, score_factor), amplitude=amplitude, own_drift=False)


def _shifted(process: Any, factor: Field) -> Rates:
    """Rates whose velocity is ``drift + factor · score``."""

    def rates(t: Tensor, x: Tensor) -> tuple[Tensor, Tensor | None]:
        drift, growth, score = process.drift_growth_and_score(t, x)
        return torch.addcmul(drift, factor(t, x), score), growth

    return rates


def _epsilon(noise: Any, t: Tensor, x: Tensor) -> Tensor:
    if not callable(noise):
        return torch.full((), noise, dtype=x.dtype, device=x.device)
    if t.ndim == 1:  # a table over times: the user's function need not be batched
        return torch.stack([_epsilon(noise, one, x) for one in t.unbind()])[:, None]
    return torch.as_tensor(noise(t), dtype=x.dtype, device=x.device)


def _check_fields(process: Diffusion, x: Tensor, t: float) -> Equation:
    """Call every field once near the first state: shapes, and whether the noise depends on the state."""
    d = x.shape[1]
    n = 2 if d != 2 else 3  # tells (n,) from (d,)
    first = x[:1].detach()
    rows = first + torch.linspace(0.0, 0.1, n).to(x)[:, None] * (1 + first.abs())
    at = torch.full((n,), t).to(x)
    with torch.no_grad():
        drift, growth = process.drift_and_growth(at, rows)
    _check_shape("drift", drift, [(n, d)], (n, d))
    if growth is not None:
        _check_shape("growth", growth, [(n,)], (n, d))
    with torch.enable_grad():
        diffusion = process.diffusion(at, rows.requires_grad_(True))
    additive = True
    if diffusion is not None:
        _check_shape("diffusion", diffusion, [(), (1,), (d,), (n, 1), (n, d)], (n, d))
        additive = _is_additive(diffusion, rows)
    return Equation(
        rates=process.drift_and_growth,
        amplitude=None if diffusion is None else process.diffusion,
        additive=additive,
        grows=growth is not None,
        own_drift=True,
        parameters=tuple(process.parameters()),
    )


def _is_additive(diffusion: Tensor, x: Tensor) -> bool:
    """Whether the amplitude has no path to the state in the graph, and no difference between states."""
    if diffusion.ndim < 2:
        return True
    if diffusion.requires_grad:
        (slope,) = torch.autograd.grad(diffusion.sum(), x, allow_unused=True)
        if slope is not None:
            return False
    return bool((diffusion == diffusion[:1]).all())


def _check_shape(
    name: str, value: Any, allowed: list[tuple[int, ...]], x_shape: tuple[int, int]
) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{name}(t, x) of the process must return a tensor, but it returned a {type(value).__name__}"
        )
    if tuple(value.shape) in allowed:
        return
    letters = {
        "drift": "(n, d)",
        "growth": "(n,)",
        "diffusion": "a scalar, (d,), (n, 1) or (n, d)",
    }[name]
    hint = "; for noise that depends on time alone write t[:, None]" if name == "diffusion" else ""
    raise ValueError(
        f"{name}(t, x) of the process returned shape {tuple(value.shape)} for x of shape {x_shape}; "
        f"it must be {letters}{hint}"
    )


def _check_noise(noise: Any, times: Tensor) -> None:
    if noise is None:
        return
    if not callable(noise) and (isinstance(noise, bool) or not isinstance(noise, Real)):
        raise TypeError(f"noise must be a number, a function of time or None, but it is {noise!r}")
    for t in times if callable(noise) else times[:1]:
        try:
            value = float(noise(t) if callable(noise) else noise)
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"noise must return one number for a scalar time, but not at {float(t):g}"
            ) from error
        if not (math.isfinite(value) and value >= 0):
            where = f" at time {float(t):g}" if callable(noise) else ""
            raise ValueError(f"noise must be finite and not negative, but it is {value:g}{where}")


def _check_score(
    process: Diffusion, x: Tensor, t: float, noise: Any, backward: bool, own: Equation
) -> None:
    with torch.no_grad():
        score = process.score(torch.full((1,), t).to(x), x[:1].detach())
    if score is None:
        asked = "backward=True" if noise is None and backward else f"noise={noise!r}"
        remedy = (
            "give the process a score, or simulate a process without diffusion"
            if noise is None
            else "give the process a score, or leave noise=None for its own noise"
        )
        raise ValueError(
            f"{asked} needs the score ∇ log ρ of the process, which has none; {remedy}"
        )
    if not own.additive:
        raise ValueError(
            "noise and backward need a diffusion that does not depend on the state, because the probability flow is "
            "drift − ½ diffusion² score only then; simulate forward with noise=None"
        )

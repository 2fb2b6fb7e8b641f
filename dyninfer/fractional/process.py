"""Diffusions that are driven by fractional noise in its Markov approximation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dyninfer.data.arrays import as_tensor
from dyninfer.data.words import counted
from dyninfer.diffusions.diffusion import Field, Time, batch_times, check_field
from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.noise.checks import check_positive
from dyninfer.fractional.noise.interpolation import weights_of_many
from dyninfer.learning.settings import brief, check_word

Calculus = Literal["stratonovich", "ito"]
Definition = Literal["moving-average", "integral"]
HurstFunction = Callable[[Tensor], Tensor]


class FractionalDiffusion(nn.Module):
    r"""A state driven by fractional noise, made Markov by adding its memory to the state.

    ``dX = b(t, X) dt + s(t, X) ∘ dB̂``.

    Every coordinate has its own Brownian motion ``W`` and its own memory ``Y_k``,
    ``dY_k = −γ_k Y_k dt + dW``. With ``ω̄ = Σ_k w_k(H)`` the pair ``(X, Y)`` solves, in the sense of
    Itô for additive noise (Daems et al., arXiv 2310.12975, Eq. 8),

        ``dX = [b − s Σ_k w_k γ_k Y_k] dt + s ω̄ dW``.

    If ``s`` depends on the state, ``calculus="stratonovich"`` (the default) adds ``½ ω̄² s ∂_x s
    dt``: it keeps the chain rule and has a limit as nodes are added. The Itô equation has no limit
    for ``H < ½``, where ``ω̄`` grows without bound.

    Parameters
    ----------
    drift : callable, ``(n,), (n, d) -> (n, d)``
        ``b``, in state units per time unit.
    noise : MarkovApproximation
    hurst : float, Tensor ``()`` or ``(d,)``, or callable ``(m,) -> (m,)`` or ``(m, d)``
        Index for all coordinates, or for each. A Parameter is learned. A function of time, called
        with float64 times (a module: with times in the precision of its parameters), makes the
        noise multifractional.
    diffusion : float, Tensor or callable ``(n,), (n, d) -> (n, d)``
        ``s``, in state units per time unit to the power ``H``; a number or a tensor ``()`` or
        ``(d,)`` is additive noise.
    calculus : "stratonovich" or "ito"
    definition : "moving-average" or "integral"
        Definition of noise with an index ``H(t)``; the two agree if it is constant.
        ``"moving-average"``: ``B̂(t) = Σ_k w_k(H(t)) (Y_k(t) − Y_k(0))``, as in Peltier & Lévy
        Véhel (INRIA RR-2645, 1995), so that ``dB̂`` has the additional term ``Σ_k w_k'(H) H'(t)
        (Y_k − Y_k(0)) dt``: the whole past is reweighted. ``"integral"``: ``dB̂ = Σ_k w_k(H(t))
        dY_k``: the past keeps its weights.
    unit : float
        Time ``u`` after which motion of every index has variance one, ``Var B(t) = (t/u)^{2H}``.
        For a constant index it only scales the amplitude; for a changing one it sets the time over
        which moves are equally large at all times.

    Examples
    --------
    >>> from dyninfer.fractional import MarkovApproximation
    >>> from dyninfer.fractional.process import FractionalDiffusion
    >>> process = FractionalDiffusion(lambda t, x: -x, MarkovApproximation(5), hurst=0.7)
    >>> process.weights(2).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        drift: Field,
        noise: MarkovApproximation,
        hurst: float | Tensor | HurstFunction = 0.5,
        diffusion: float | Tensor | Field = 1.0,
        calculus: Calculus = "stratonovich",
        definition: Definition = "moving-average",
        unit: float = 1.0,
    ):
        super().__init__()
        check_field(drift, "drift")
        if not isinstance(noise, MarkovApproximation):
            raise TypeError(f"noise must be a MarkovApproximation, found {brief(noise)}")
        check_word(calculus, "calculus", ("stratonovich", "ito"))
        check_word(definition, "definition", ("moving-average", "integral"))
        self._drift = drift
        self.noise = noise
        self.calculus = calculus
        self.definition = definition
        self.unit = check_positive(unit, "unit")
        self.hurst: Any
        self._amplitude: Any
        if callable(hurst):
            self.hurst = hurst
        else:
            self._own("hurst", hurst)
            self._check_hurst(hurst)
        if callable(diffusion):
            check_field(diffusion, "diffusion")
            self._amplitude = diffusion
        else:
            self._own("_amplitude", diffusion)

    @property
    def additive(self) -> bool:
        """Whether the noise amplitude is a constant."""
        return isinstance(self._amplitude, Tensor)

    @property
    def nodes(self) -> Tensor:
        """Rates of the memory, ``(K + 1,)`` float64, per time unit."""
        return self.noise.nodes

    @property
    def multifractional(self) -> bool:
        """Whether the Hurst index is a function of time."""
        return not isinstance(self.hurst, Tensor)

    def weights(self, n_features: int, times: Tensor | None = None) -> Tensor:
        """Weights ``w_k(H)`` of every coordinate, ``(d, K + 1)`` float64, with gradients.

        Parameters
        ----------
        n_features : int
        times : Tensor, ``(m,)``, optional
            Needed, and used, only if the index is a function of time; the weights are then ``(m, d,
            K + 1)``.

        Raises
        ------
        ValueError
            If ``hurst`` has neither one value nor ``n_features``, or leaves (0, 1).
        """
        h = self._hurst_at(times).double()
        # A function of time has an axis of times before that of the coordinates.
        is_per_coordinate = h.ndim > int(self.multifractional)
        if not is_per_coordinate:
            h = h.unsqueeze(-1)
        elif h.shape[-1] != n_features:
            raise ValueError(
                f"hurst has {counted(h.shape[-1], 'value')}, but the state has "
                f"{counted(n_features, 'coordinate')}; "
                "give one value, or one for each coordinate"
            )
        w = weights_of_many(self.noise, h)
        if self.unit != 1:
            per_unit = self.unit**-h
            w = w * per_unit.unsqueeze(-1)
        # Expanded and not copied: the stride of 0 says that the coordinates share their weights.
        leading = w.shape[:-2]
        return w.expand(*leading, n_features, -1)

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """``b`` at time ``t``, scalar or ``(n,)``, and state ``(n, d)``: returns ``(n, d)``."""
        return self._drift(batch_times(t, x), x)

    def diffusion(self, t: Time, x: Tensor) -> Tensor:
        """``s``: ``()`` or ``(d,)`` for additive noise, else ``(n, d)``."""
        if self.additive:
            return self._amplitude.to(x)
        return self._amplitude(batch_times(t, x), x)

    def _hurst_at(self, times: Tensor | None) -> Tensor:
        """``H``, ``()`` or ``(d,)``; of a function of time ``(m,)`` or ``(m, d)``."""
        if not self.multifractional:
            return self.hurst
        if times is None:
            raise ValueError(
                "times are needed, since hurst is a function of time: weights(n_features, times)"
            )
        times = times.to(self.nodes.device, torch.float64)
        if isinstance(self.hurst, nn.Module):
            # A network in float32 refuses inputs in float64.
            weight = next(self.hurst.parameters(), times)
            times = times.to(weight.dtype)
        h = self.hurst(times)
        is_right = isinstance(h, Tensor) and h.ndim in (1, 2) and len(h) == len(times)
        if not is_right:
            text = brief(h)
            if isinstance(h, Tensor):
                text = f"shape {tuple(h.shape)}"
            raise ValueError(
                "hurst must return a tensor, (m,) or (m, d), for times "
                f"(m,) = {tuple(times.shape)}; found {text}"
            )
        return h

    def _check_hurst(self, hurst: Any) -> None:
        is_positive = self.hurst > 0
        is_below_one = self.hurst < 1
        is_inside = is_positive & is_below_one
        if self.hurst.ndim > 1 or not bool(is_inside.all()):
            raise ValueError(
                "hurst must be one number between 0 and 1, one per coordinate, or a function of "
                f"time, found {brief(hurst)}"
            )

    def _own(self, name: str, value: float | Tensor) -> None:
        """Keep a Parameter as one, another tensor as a buffer, a number in float64."""
        if not isinstance(value, Tensor):
            value = as_tensor(value, name.strip("_"))
        if isinstance(value, nn.Parameter):
            self.register_parameter(name, value)
        else:
            self.register_buffer(name, value)

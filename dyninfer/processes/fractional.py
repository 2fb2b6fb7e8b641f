"""Diffusions that are driven by fractional noise in its Markov approximation."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from dyninfer.fractional import MarkovApproximation
from dyninfer.processes.diffusion import Field, batch_times

Calculus = Literal["stratonovich", "ito"]


class FractionalDiffusion(nn.Module):
    r"""A state driven by fractional noise, ``dX = b(t, X) dt + s(t, X) ∘ dB̂``, made Markov by its memory.

    Every coordinate has its own Brownian motion ``W`` and its own memory ``Y_k``, ``dY_k = −γ_k Y_k dt + dW``. With
    ``ω̄ = Σ_k w_k(H)`` the pair ``(X, Y)`` solves, in the sense of Itô for additive noise (Daems et al.,
    arXiv 2310.12975, Eq. 8),

        ``dX = [b − s Σ_k w_k γ_k Y_k] dt + s ω̄ dW``.

    Where ``s`` depends on the state, ``calculus="stratonovich"`` (the default) adds ``½ ω̄² s ∂_x s dt``: it keeps the
    chain rule and has a limit as nodes are added. Itô's reading has none for ``H < ½``, where ``ω̄`` grows without
    bound.

    Parameters
    ----------
    drift : callable, ``(n,), (n, d) -> (n, d)``
        ``b``, in state units per time unit.
    noise : MarkovApproximation
    hurst : float or Tensor, ``()`` or ``(d,)``
        Index of all coordinates, or of each. A Parameter is learned.
    diffusion : float, Tensor or callable ``(n,), (n, d) -> (n, d)``
        ``s``, in state units per time unit to the power ``H``; a number or a tensor ``()`` or ``(d,)`` is additive noise.
    calculus : "stratonovich" or "ito"

    Examples
    --------
    >>> from dyninfer.fractional import MarkovApproximation
    >>> from dyninfer.processes.fractional import FractionalDiffusion
    >>> process = FractionalDiffusion(lambda t, x: -x, MarkovApproximation(5), hurst=0.7, diffusion=0.5)
    >>> process.weights(2).shape
    torch.Size([2, 6])
    """

    def __init__(
        self,
        drift: Field,
        noise: MarkovApproximation,
        hurst: float | Tensor = 0.5,
        diffusion: float | Tensor | Field = 1.0,
        calculus: Calculus = "stratonovich",
    ):
        super().__init__()
        if calculus not in ("stratonovich", "ito"):
            raise ValueError(f"calculus must be 'stratonovich' or 'ito', found {calculus!r}")
        self._drift, self.noise, self.calculus = drift, noise, calculus
        self.hurst: Tensor
        self._own("hurst", hurst)
        if not bool(((self.hurst > 0) & (self.hurst < 1)).all()) or self.hurst.ndim > 1:
            raise ValueError(
                f"hurst must be one number between 0 and 1, or one per coordinate, found {hurst!r}"
            )
        self._amplitude: Any = diffusion
        if not callable(diffusion):
            del self._amplitude
            self._own("_amplitude", diffusion)

    @property
    def additive(self) -> bool:
        """Whether the noise amplitude is a constant."""
        return isinstance(self._amplitude, Tensor)

    @property
    def nodes(self) -> Tensor:
        """Rates of the memory, ``(K + 1,)`` float64, per time unit."""
        return self.noise.nodes

    def weights(self, n_features: int) -> Tensor:
        """Weights ``w_k(H)`` of every coordinate, ``(d, K + 1)`` float64, with gradients.

        Raises
        ------
        ValueError
            If ``hurst`` has neither one value nor ``n_features``.
        """
        if self.hurst.ndim == 1 and len(self.hurst) != n_features:
            raise ValueError(
                f"hurst has {len(self.hurst)} values, but the state has {n_features} coordinates; give one or all"
            )
        w = self.noise.weights(self.hurst.double())
        return w.expand(n_features, -1)

    def drift(self, t: Tensor | float, x: Tensor) -> Tensor:
        """``b`` at time ``t``, scalar or ``(n,)``, and state ``(n, d)``: returns ``(n, d)``."""
        return self._drift(batch_times(t, x), x)

    def diffusion(self, t: Tensor | float, x: Tensor) -> Tensor:
        """``s``: ``()`` or ``(d,)`` where the noise is additive, else ``(n, d)``."""
        if self.additive:
            return self._amplitude.to(x)
        return self._amplitude(batch_times(t, x), x)

    def _own(self, name: str, value: float | Tensor) -> None:
        """Keep a Parameter as one, another tensor as a buffer in its own precision, a number in float64."""
        value = value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)
        if isinstance(value, nn.Parameter):
            self.register_parameter(name, value)
        else:
            self.register_buffer(name, value)

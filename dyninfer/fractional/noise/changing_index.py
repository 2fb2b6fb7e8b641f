"""Hurst indices as functions of time: linear between knots, or a module of the user's own."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from dyninfer.learning.settings import brief

# Times at which an index without knots is shown.
_SHOWN = 11


class PiecewiseIndex(nn.Module):
    """``H(t)``, linear between knots and constant beyond them.

    Parameters
    ----------
    knots : Tensor, ``(n,)`` float64
        Increasing times, two or more.
    hurst : float
        Constant index to begin with.

    Examples
    --------
    >>> import torch
    >>> from dyninfer.fractional.noise.changing_index import PiecewiseIndex
    >>> index = PiecewiseIndex(torch.tensor([0.0, 2.0], dtype=torch.float64))
    >>> index.logits.data = torch.tensor([0.2, 0.6], dtype=torch.float64).logit()
    >>> index(torch.tensor([-1.0, 1.0, 2.0])).detach()
    tensor([0.2000, 0.4000, 0.6000], dtype=torch.float64)
    """

    moments: Tensor

    def __init__(self, knots: Tensor, hurst: float = 0.5):
        super().__init__()
        self.register_buffer("moments", knots.double())
        logit = torch.tensor(hurst, dtype=torch.float64).logit()
        logits = logit.repeat(len(knots))
        self.logits = nn.Parameter(logits)

    def forward(self, t: Tensor) -> Tensor:
        """``H`` at times ``(m,)``: ``(m,)`` float64, with gradients in the logits."""
        knots = self.moments
        inside = t.to(knots).clamp(knots[0], knots[-1])
        number = torch.bucketize(inside, knots[1:-1])
        # Of the last knot too there is an interval: that before it.
        start = knots[number]
        length = knots[number + 1] - start
        share = (inside - start) / length
        values = self.logits.sigmoid()
        value = values[number]
        change = values[number + 1] - value
        # In this form an index that is the same at all knots is constant to the last digit.
        return value + share * change


class OwnIndex(nn.Module):
    """``H(t)`` by a function ``(m,) -> (m,)`` of the user's own; of a module, a copy is trained.

    Parameters
    ----------
    function : callable
        Of times in the unit of the data; a module gets them in the precision of its parameters.
    begin, end : float
        Times between which it is shown.

    Raises
    ------
    ValueError
        If single precision does not tell the times apart.
    """

    moments: Tensor

    def __init__(self, function: Any, begin: float, end: float):
        super().__init__()
        moments = torch.linspace(begin, end, _SHOWN, dtype=torch.float64)
        self.register_buffer("moments", moments)
        # Trained as a copy, so that a second fit begins where the first did.
        self.function = copy.deepcopy(function)
        self.dtype = torch.float64
        if isinstance(function, nn.Module):
            for parameter in function.parameters():
                self.dtype = parameter.dtype
                break
        self._check_precision()

    def forward(self, t: Tensor) -> Tensor:
        """``H`` at times ``(m,)``: ``(m,)`` float64."""
        times = t.to(self.dtype)
        values = self.function(times)
        text = brief(values)
        if isinstance(values, Tensor):
            if values.shape == times.shape:
                return values.double()
            text = f"shape {tuple(values.shape)}"
        raise ValueError(
            "noise.hurst must return a tensor (m,) for times "
            f"(m,) = {tuple(times.shape)}, one index for all coordinates; found {text}"
        )

    def _check_precision(self) -> None:
        """Raise a ValueError where the module's numbers do not tell the times apart."""
        rounded = self.moments.to(self.dtype).double()
        error = (rounded - self.moments).abs().max()
        span = self.moments[-1] - self.moments[0]
        # A thousandth of the span bends no index that changes over it.
        if error > 1e-3 * span:
            last = float(self.moments[-1])
            raise ValueError(
                f"noise.hurst is a module in {self.dtype}, which does not tell times near "
                f"{last:g} apart; give it float64 parameters, hurst=module.double(), or count "
                "times from a nearer origin"
            )

"""What reads a path: pseudo-observations of the state, a context for the control, and content."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dyninfer.fractional.inference.series import rows_at


class Encoding(NamedTuple):
    """What an encoder returns for ``P`` paths of ``L`` times, ``d`` latent coordinates.

    Attributes
    ----------
    mean : Tensor, ``(P, L, d)``
        Where each time's values place the latent state.
    log_variance : Tensor, ``(P, L, d)``
        How surely.
    context : Tensor, ``(P, L, c)``
        For the residual control; any ``c``.
    content : Tensor, ``(P, content_dim)``, or None
        What stays the same along a path, for the decoder.
    """

    mean: Tensor
    log_variance: Tensor
    context: Tensor
    content: Tensor | None


class RecurrentEncoder(nn.Module):
    """Gated recurrent units over a path in both directions; values, mask and gaps are its input.

    The mean starts as a linear map of the values, of principal axes for instance, and learns what
    the recurrence adds. A value that is missing counts as its mean.

    Parameters
    ----------
    n_features, n_states, content_dim : int
        Without states, only a context is read.
    width : int
        Units in each direction.
    tau : float
        Typical gap, the unit of time of the input.
    """

    def __init__(self, n_features: int, n_states: int, content_dim: int, width: int, tau: float):
        super().__init__()
        self.tau = tau
        self.n_states = n_states
        self.content_dim = content_dim
        self.n_context = 2 * width
        self.reader = nn.GRU(
            # Values, whether each is observed, and the gap.
            input_size=2 * n_features + 1,
            hidden_size=width,
            batch_first=True,
            bidirectional=True,
        )
        self.skip = None
        self.head = None
        self.content = None
        if n_states:
            self.skip = nn.Linear(n_features, n_states, bias=False)
            self.head = nn.Linear(self.n_context, 2 * n_states)
            # At first the linear map alone counts.
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)
        if content_dim:
            self.content = nn.Linear(self.n_context, content_dim)

    def begin(self, axes: Tensor, variance: Tensor) -> None:
        """Start at the states that follow from the values by the inverse of a linear readout.

        The readout is ``axes`` ``(F, d)``, the variance of its noise ``variance`` ``(F,)``.
        """
        if self.skip is None or self.head is None:
            return
        inverse = torch.linalg.pinv(axes)
        state_variance = inverse.square() @ variance
        # An axis without noise would be infinitely sure.
        log_variance = state_variance.clamp_min(1e-6).log()
        with torch.no_grad():
            self.skip.weight.copy_(inverse)
            self.head.bias[self.n_states :] = log_variance

    def forward(self, values: Tensor, mask: Tensor, times: Tensor) -> Encoding:
        """Read values ``(P, L, F)``, 0 where ``mask`` is 0, at times ``(P, L)``."""
        n_times = mask.shape[1]
        numbers = torch.arange(1, n_times + 1, device=mask.device)
        # A path ends where it is observed last.
        observed_numbers = mask.any(-1) * numbers
        lengths = observed_numbers.amax(1).clamp_min(1)
        first_time = times[:, :1]
        gap = times.diff(dim=1, prepend=first_time)
        # In logarithms: gaps of irregular paths span orders of magnitude.
        share = gap / self.tau
        log_gap = torch.log1p(share).unsqueeze(-1)
        rows = torch.cat([values, mask, log_gap], dim=-1)
        context = self._read(rows, lengths)
        content = None
        if self.content is not None:
            is_inside = numbers <= lengths.unsqueeze(1)
            mean = _mean_over_times(context, is_inside)
            content = self.content(mean)
        if self.skip is None or self.head is None:
            empty = context[..., :0]
            return Encoding(empty, empty, context, content)
        both = self.head(context)
        shift, log_variance = both.chunk(2, dim=-1)
        return Encoding(
            mean=self.skip(values) + shift,
            log_variance=log_variance,
            context=context,
            content=content,
        )

    def _read(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Context ``(P, L, c)``; beyond its end, a path's context stays."""
        n_paths, n_times, _ = rows.shape
        position = torch.arange(n_times, device=rows.device)
        position = position.expand(n_paths, -1)
        end = lengths.unsqueeze(1) - 1
        # Each path is turned round by itself, so that the second pass begins at its end. Packed
        # sequences would do the same, and wait for the lengths.
        is_inside = position <= end
        turned = torch.where(is_inside, end - position, position)
        ahead = self._pass(rows, "")
        back = self._pass(rows_at(rows, turned), "_reverse")
        context = torch.cat([ahead, rows_at(back, turned)], dim=-1)
        inside = torch.minimum(position, end)
        return rows_at(context, inside)

    def _pass(self, rows: Tensor, direction: str) -> Tensor:
        """The units of one direction along ``(P, L, …)``, from the first time on."""
        names = "weight_ih", "weight_hh", "bias_ih", "bias_hh"
        parameters = [getattr(self.reader, f"{name}_l0{direction}") for name in names]
        begin = rows.new_zeros(1, len(rows), self.reader.hidden_size)
        run: Any = torch.gru
        output, _ = run(
            rows,
            begin,
            parameters,
            has_biases=True,
            num_layers=1,
            dropout=0.0,
            train=self.training,
            bidirectional=False,
            batch_first=True,
        )
        return output


def _mean_over_times(context: Tensor, is_inside: Tensor) -> Tensor:
    """Mean of ``(P, L, c)`` over the times ``(P, L)`` inside each path: ``(P, c)``."""
    weights = is_inside.unsqueeze(-1).to(context)
    total = (context * weights).sum(1)
    return total / weights.sum(1)

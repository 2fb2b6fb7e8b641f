"""What reads a path: pseudo-observations of the latent state, a context for the control, and what stays the same."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


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

    The mean starts as a linear map of the values, of principal axes for instance, and learns what the recurrence adds. A
    value that is missing counts as its mean.

    Parameters
    ----------
    n_features, n_states, content_dim : int
        No states: a context is all that is wanted.
    width : int
        Units in each direction.
    tau : float
        Typical gap, the unit of time of the input.
    """

    def __init__(self, n_features: int, n_states: int, content_dim: int, width: int, tau: float):
        super().__init__()
        self.tau, self.n_states, self.content_dim = tau, n_states, content_dim
        self.n_context = 2 * width
        self.reader = nn.GRU(2 * n_features + 1, width, batch_first=True, bidirectional=True)
        self.skip = nn.Linear(n_features, n_states, bias=False) if n_states else None
        self.head = nn.Linear(2 * width, 2 * n_states) if n_states else None
        self.content = nn.Linear(2 * width, content_dim) if content_dim else None
        if self.head is not None:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def begin(self, axes: Tensor, variance: Tensor) -> None:
        """Start at the states that a readout by ``axes`` ``(F, d)`` with noise of ``variance`` ``(F,)`` tells of."""
        if self.skip is None or self.head is None:
            return
        inverse = torch.linalg.pinv(axes)
        with torch.no_grad():
            self.skip.weight.copy_(inverse)
            self.head.bias[self.n_states :] = (inverse.square() @ variance).clamp_min(1e-6).log()

    def forward(self, values: Tensor, mask: Tensor, times: Tensor) -> Encoding:
        """Read values ``(P, L, F)``, 0 where ``mask`` is 0, at times ``(P, L)``."""
        gap = torch.log1p(times.diff(dim=1, prepend=times[:, :1]) / self.tau)
        rows = torch.cat([values, mask, gap.unsqueeze(-1)], dim=-1)
        seen = mask.any(-1) * torch.arange(1, mask.shape[1] + 1, device=mask.device)
        lengths = seen.amax(1).clamp_min(1)
        packed = pack_padded_sequence(rows, lengths.cpu(), batch_first=True, enforce_sorted=False)
        context, _ = pad_packed_sequence(
            self.reader(packed)[0], batch_first=True, total_length=rows.shape[1]
        )
        at = torch.arange(rows.shape[1], device=rows.device).expand(len(rows), -1)
        last = torch.minimum(at, lengths.unsqueeze(1) - 1)  # beyond its end, a path's context stays
        context = context.gather(1, last.unsqueeze(-1).expand(-1, -1, context.shape[-1]))
        content = None
        if self.content is not None:
            inside = (at < lengths.unsqueeze(1)).unsqueeze(-1).to(context)
            content = self.content((context * inside).sum(1) / inside.sum(1))
        if self.skip is None or self.head is None:
            nothing = context[..., :0]
            return Encoding(nothing, nothing, context, content)
        shift, log_variance = self.head(context).chunk(2, dim=-1)
        return Encoding(self.skip(values) + shift, log_variance, context, content)

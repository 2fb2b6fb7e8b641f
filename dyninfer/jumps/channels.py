"""Several identical channels in one patch: which states they have, and how their rates hang."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from typing import ClassVar

import torch
from torch import Tensor

from dyninfer.jumps.likelihood.scheme import RateScheme
from dyninfer.jumps.settings import Jumps
from dyninfer.learning.settings import brief, check_count


@dataclass(frozen=True, eq=False, kw_only=True)
class Superposition:
    """Independent channels of one kind as one process: its states say how many are in which.

    Attributes
    ----------
    scheme : RateScheme
        Rates of the whole, tied to those of one channel, whose parameters they share.
    state_names : tuple of str
        Such as ``"2 shut, 1 open"``.
    counts : Tensor, ``(state, S)`` int64
        Channels in each state of one channel.
    """

    scheme: RateScheme
    state_names: tuple[str, ...]
    counts: Tensor

    @classmethod
    def of(cls, channel: RateScheme, names: Sequence[str], n: int) -> Superposition:
        """Superpose ``n`` channels with the states ``names``.

        A jump of one of the ``c`` channels in a state happens ``c`` times as often as that of one.

        Raises
        ------
        ValueError
            If the names are not as many as the states.
        """
        n = check_count(n, "n")
        if len(names) != channel.n_states:
            raise ValueError(
                f"names must be {channel.n_states}, one for each state of a channel; found "
                f"{brief(names)}"
            )
        counts = _counts(channel.n_states, n)
        number = {tuple(row): place for place, row in enumerate(counts.tolist())}
        edges = []
        origins = []
        for edge, (source, target) in enumerate(channel.edges.tolist()):
            for row, place in number.items():
                if row[source] == 0:
                    continue
                after = list(row)
                after[source] -= 1
                after[target] += 1
                edges.append([place, number[tuple(after)]])
                origins.append([edge, row[source]])
        edge_of, n_channels = torch.tensor(origins).T
        scheme = RateScheme(
            n_states=len(counts),
            edges=torch.tensor(edges),
            design=channel.design[edge_of],
            offset=channel.offset[edge_of] + n_channels.double().log(),
        )
        texts = [_text(row, names) for row in counts.tolist()]
        return cls(scheme=scheme, state_names=tuple(texts), counts=counts)


@dataclass(repr=False, eq=False)
class IdenticalChannels(Jumps):
    """States are numbers of open channels, from none to all channels of a patch.

    The channels are identical and independent and have two states each, so there are two rates,
    opening and closing. There is one channel fewer than there are states. With k of n open, the
    next one opens at ``(n − k)`` times the opening rate.

    Parameters
    ----------
    inward : bool
        Whether an open channel lowers the signal, so that in the first state, of the lowest level,
        all channels are open.

    Examples
    --------
    >>> import dyninfer as di
    >>> di.MarkovJumpInference(observation=di.Gaussian(3), jumps=di.IdenticalChannels()).jumps
    IdenticalChannels()
    """

    in_training: ClassVar[bool] = False

    inward: bool = False

    def scheme(self, names: Sequence[str]) -> RateScheme:
        """See :meth:`Jumps.scheme`; the parameters are the log-rates of opening and closing."""
        opening_and_closing = RateScheme.free(2)
        patch = Superposition.of(opening_and_closing, ["shut", "open"], len(names) - 1)
        scheme = patch.scheme
        if not self.inward:
            return scheme
        last = len(names) - 1
        return RateScheme(scheme.n_states, last - scheme.edges, scheme.design, scheme.offset)


def _counts(n_states: int, n: int) -> Tensor:
    """Channels in each state ``(combination, S)``, those with most in the first state first."""
    rows = []
    for states in combinations_with_replacement(range(n_states), n):
        row = torch.bincount(torch.tensor(states), minlength=n_states)
        rows.append(row)
    return torch.stack(rows)


def _text(counts: Sequence[int], names: Sequence[str]) -> str:
    parts = [f"{count} {name}" for count, name in zip(counts, names, strict=True) if count]
    return ", ".join(parts)

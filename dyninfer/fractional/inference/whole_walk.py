"""A guided walk whose gradient is that of all its steps at once.

Where steps are taken one after the other, so is their way back, and most of the time goes into
starting operations that are small. Here the steps are taken without a gradient. At the states that
they reach, the networks are evaluated once for all times; what a change of one step does to all
later ones follows from a linear recursion (the implicit function theorem).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import pad

from dyninfer.fractional.gaussian.recursion import KnownSteps
from dyninfer.fractional.inference.stacked import OwnNetworks, Places, StackedNetworks

if TYPE_CHECKING:
    from dyninfer.fractional.inference.guided import GuidedEquation, Steering

# Of the state: slopes take a way back through the networks for every coordinate of their outputs.
MOST_COORDINATES = 8

# Numbers of the derivatives of all steps, 128 MB: with more, the way back goes step by step.
MOST_NUMBERS = 2**24


def fits_at_once(start: Tensor, n_steps: int) -> bool:
    """Whether there are steps, and the derivatives of all of them fit into some memory.

    Parameters
    ----------
    start : Tensor, ``(P, d, S, m)``
    n_steps : int
        Guided or free.
    """
    n_paths, d, size, n_samples = start.shape
    n_numbers = (d * size) ** 2
    return 0 < n_steps * n_paths * n_samples * n_numbers <= MOST_NUMBERS


class WholeWalk:
    """The steps of a guided equation with networks of ours, and no amplitude.

    Parameters
    ----------
    guide : GuidedEquation
    networks : OwnNetworks
        Those of its equation and of the steering.
    steering : Steering, optional
    """

    def __init__(self, guide: GuidedEquation, networks: OwnNetworks, steering: Steering | None):
        self.drift = guide.equation.drift
        self.networks = networks
        self.steering = steering
        self.times = guide.fine.times.T  # (L, P)
        self.level = guide.level.transpose(0, 1)  # (L, P, d)
        self.transition = guide.chain.transition
        self.root = guide.chain.root
        n_steps = len(self.root)
        back = guide.filter.steps.back
        # Later steps are free: nothing is subtracted from their noise.
        n_free = n_steps - len(back)
        self.back = pad(back, (0, 0) * 4 + (0, n_free))
        lengths = guide.lengths.T
        self.length = lengths[..., None, None]  # (n, P or 1, 1, 1)
        along = torch.stack(guide.along)
        if steering is not None and steering.active is not None:
            is_active = steering.active[:, :n_steps].T
            along = along * is_active.unsqueeze(-1)
        self.along = along[:, :, None, :, None]  # (n, P or 1, 1, r, 1)

    def run(self, start: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """States ``(L, P, d, m)`` and noise ``(n, P, d, r, m)`` of walks.

        Parameters
        ----------
        start : Tensor, ``(P, d, S, m)``
        noise : Tensor, ``(n, P, d, r, m)``
            Of every step, before the guide subtracts from it.
        """
        with torch.no_grad():
            points = self._points(start, noise)
        before = points[:-1]
        fields, slopes = self._fields_and_slopes(before)
        after, _ = self._advance(before, noise, fields)
        explicit = torch.cat([start.unsqueeze(0), after])
        with torch.no_grad():
            matrices = self._derivative(slopes)
        z = self._through_steps(explicit, matrices)
        # Of no size, but with the gradient that earlier steps have here.
        shift = z[:-1] - before
        along_shift = torch.einsum("nfipjsm,npjsm->fnpim", slopes, shift)
        _, epsilon = self._advance(z[:-1], noise, fields + along_shift)
        return z[..., 0, :] + self.level.unsqueeze(-1), epsilon

    def _advance(self, z: Tensor, noise: Tensor, fields: Tensor) -> tuple[Tensor, Tensor]:
        """Chains after all steps from ``z`` ``(n, P, d, S, m)``, and the noise of the steps.

        ``fields`` ``(2, n, P, d, m)`` are drift and control at the beginnings.
        """
        drift, control = fields
        ahead = self.transition @ z
        end = _moved(ahead, drift * self.length)
        push = self.along * control.unsqueeze(3)
        epsilon = noise - self.back @ end + push
        return end + self.root @ epsilon, epsilon

    @cached_property
    def _linear(self) -> tuple[Tensor, Tensor]:
        """What a step makes of chain, and of drift and control: ``(n, P or 1, d, S, S or 2)``.

        With ``e = Φ z + h f`` the step ends at ``e + N (ε − D e + a u)``.
        """
        pulled = self.root @ self.back
        transition = self.transition - pulled @ self.transition
        by_control = self.root @ self.along
        of_state = torch.zeros_like(pulled[..., :1])
        of_state[..., 0, :].fill_(1)
        by_drift = (of_state - pulled[..., :1]) * self.length.unsqueeze(-1)
        shape = torch.broadcast_shapes(by_drift.shape, by_control.shape)
        by_fields = torch.cat([by_drift.expand(shape), by_control.expand(shape)], dim=-1)
        return transition, by_fields

    def _points(self, start: Tensor, noise: Tensor) -> Tensor:
        """Chains ``(L, P, d, S, m)`` that the steps reach."""
        transition, by_fields = self._linear
        n_memory = start.shape[2] - 1
        contexts = None
        if self.steering is not None and self.steering.context is not None:
            contexts = torch.stack(self.steering.context)
        places = Places(self.times, self.level, contexts, n_memory)
        networks = StackedNetworks(self.networks, places)
        # The guide's transitions and the free ones may be of one path or of all.
        shift = self.root @ noise
        return networks.follow(start, transition, by_fields, shift)

    def _fields_and_slopes(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Drift and control ``(2, n, P, d, m)`` and their slopes ``(n, 2, d, P, d, S, m)``."""
        z = z.clone().requires_grad_()
        n_steps, n_paths, d, _, n_samples = z.shape
        rows = z.permute(0, 4, 1, 2, 3)  # (n, m, P, d, S)
        level = self.level[:n_steps].unsqueeze(1)
        states = rows[..., 0] + level
        x = states.flatten(0, 2)
        times = self.times[:n_steps].unsqueeze(1)
        t = times.expand(-1, n_samples, -1).flatten()
        drift = control = torch.zeros_like(x)
        if self.drift is not None:
            drift = self.drift(t, x)
        if self.steering is not None:
            y = rows[..., 1:].flatten(0, 2)
            control = self.steering.at_all_steps(t, x, y)
        both = torch.stack([drift, control])
        by_walk = both.unflatten(1, (n_steps, n_samples, n_paths))
        slopes = []
        for field in by_walk:
            for i in range(d):
                total = field[..., i].sum()
                (slope,) = torch.autograd.grad(total, z, retain_graph=True)
                slopes.append(slope)
        stacked = torch.stack(slopes, dim=1)
        return by_walk.permute(0, 1, 3, 4, 2), stacked.unflatten(1, (2, d))

    def _through_steps(self, chains: Tensor, matrices: Tensor) -> Tensor:
        """Chains ``(L, P, d, S, m)`` with the gradients that they have through later ones."""
        by_walk = chains.permute(0, 4, 1, 2, 3)
        columns = by_walk.reshape(len(chains), -1, matrices.shape[-1], 1)
        followed = KnownSteps.apply(columns, matrices).view(by_walk.shape)
        return followed.permute(0, 2, 3, 4, 1)

    def _derivative(self, slopes: Tensor) -> Tensor:
        """Of the end of every step in its beginning, ``(n, m P, dS, dS)``."""
        transition, by_fields = self._linear
        n_paths = slopes.shape[3]
        by_fields = by_fields.expand(-1, n_paths, -1, -1, -1)
        through = torch.einsum("npisf,nfipjtm->nmpisjt", by_fields, slopes)
        # Coordinates meet in the networks alone.
        by_coordinate = transition.movedim(2, -1)
        alone = torch.diag_embed(by_coordinate, dim1=2, dim2=4)
        whole = through + alone.unsqueeze(1)
        by_row = whole.flatten(5, 6).flatten(3, 4)
        return by_row.flatten(1, 2)


def _moved(z: Tensor, by: Tensor) -> Tensor:
    """Chains ``(..., S, m)`` whose states are moved by ``(..., m)``."""
    state = z[..., :1, :] + by.unsqueeze(-2)
    return torch.cat([state, z[..., 1:, :]], dim=-2)

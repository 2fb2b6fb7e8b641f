"""Drift and control as one network of two sheets, for steps that need no gradient."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad, silu

from dyninfer.fractional.inference.modules import ResidualControl, StateDrift


class OwnNetworks(NamedTuple):
    """The networks of ours that move a state; one at least is there.

    Attributes
    ----------
    drift : StateDrift, optional
    control : ResidualControl, optional
    begin : float
        Time that the control counts from.
    """

    drift: StateDrift | None
    control: ResidualControl | None
    begin: float


class Places(NamedTuple):
    """Where networks are evaluated, but for the chains.

    Attributes
    ----------
    times : Tensor, ``(L, P)``
    level : Tensor, ``(L, P, d)``
        What the states of chains count from.
    contexts : Tensor, ``(L, P, c)``, optional
    n_memory : int
        Numbers of a chain beside its state.
    """

    times: Tensor
    level: Tensor
    contexts: Tensor | None
    n_memory: int


class _Sheet(NamedTuple):
    """One of the networks, its first layer in two parts."""

    of_chain: Tensor  # (dS, w)
    offset: Tensor  # (L, P, w) what time, level and context make of the first layer
    layers: list[Any]  # the others
    unit: float  # divisor of its outputs
    column: int  # 0 for a drift, 1 for a control


class StackedNetworks:
    """Both networks, what they see of time, level and context worked out for all steps.

    A step has a dozen operations for the device, where two networks alone have fifty.

    Parameters
    ----------
    networks : OwnNetworks
        Of one size.
    places : Places
    """

    def __init__(self, networks: OwnNetworks, places: Places):
        self.sheets = []
        if networks.drift is not None:
            self.sheets.append(_drift_sheet(networks.drift, places))
        if networks.control is not None:
            self.sheets.append(_control_sheet(networks.control, networks.begin, places))
        layers_of_sheets = [sheet.layers for sheet in self.sheets]
        self.weights = []
        self.biases = []
        for layers in zip(*layers_of_sheets, strict=True):
            weights = [layer.weight.T for layer in layers]
            biases = [layer.bias for layer in layers]
            self.weights.append(torch.stack(weights))
            self.biases.append(torch.stack(biases).unsqueeze(1))

    def follow(self, start: Tensor, transition: Tensor, by_fields: Tensor, shift: Tensor) -> Tensor:
        """Chains ``(n + 1, P, d, S, m)`` of steps ``z' = Φ z + F o + s``.

        Here ``o`` are drift and control at the beginning of a step.

        Parameters
        ----------
        start : Tensor, ``(P, d, S, m)``
        transition : Tensor, ``(n, P or 1, d, S, S)``
            ``Φ``.
        by_fields : Tensor, ``(n, P or 1, d, S, 2)``
            ``F``.
        shift : Tensor, ``(n, P, d, S, m)``
            ``s``.
        """
        n_paths, d, size, n_samples = start.shape
        # A product for state, drift and control together.
        columns = [transition]
        for sheet in self.sheets:
            column = by_fields[..., sheet.column].unsqueeze(-1)
            columns.append(column / sheet.unit)
        # Each may be common to all paths.
        own = [column.expand(-1, n_paths, -1, -1, -1) for column in columns]
        every_move = torch.cat(own, dim=-1)
        moves = every_move.flatten(1, 2).unbind(0)
        shifts = shift.flatten(1, 2).unbind(0)
        first, offsets = self._first_layer(n_samples)
        z = start.flatten(0, 1)
        chains = [z]
        for n, move in enumerate(moves):
            by_path = z.view(n_paths, d, size, n_samples)
            rows = _copied(by_path.permute(3, 0, 1, 2), first)
            linear = torch.addmm(offsets[n], rows.view(-1, d * size), first)
            outputs = self._outputs(linear).view(-1, n_samples, n_paths, d)
            fields = _copied(outputs.permute(2, 3, 0, 1), z)
            with_fields = torch.cat([z, fields.flatten(0, 1)], dim=1)
            z = torch.baddbmm(shifts[n], move, with_fields)
            chains.append(z)
        return torch.stack(chains).unflatten(1, (n_paths, d))

    def _first_layer(self, n_samples: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Weights ``(dS, f w)`` of ``f`` sheets, and at every step what is known ``(m P, f w)``."""
        weights = [sheet.of_chain for sheet in self.sheets]
        weight = torch.cat(weights, dim=1)
        offsets = [sheet.offset for sheet in self.sheets]
        of_paths = torch.cat(offsets, dim=-1)
        # The same for all walks of a path.
        of_walks = of_paths.unsqueeze(1).expand(-1, n_samples, -1, -1)
        at_steps = of_walks.flatten(1, 2).unbind(0)
        return weight, at_steps

    def _outputs(self, linear: Tensor) -> Tensor:
        """Outputs ``(f, rows, d)`` of what the first layer makes ``(rows, f w)``."""
        n_sheets = len(self.sheets)
        by_sheet = linear.view(len(linear), n_sheets, -1)
        h = by_sheet.transpose(0, 1)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            h = torch.baddbmm(bias, silu(h), weight)
        return h


def _copied(x: Tensor, like: Tensor) -> Tensor:
    """Numbers in another precision, in the order in which they lie: one operation."""
    return x.to(like.dtype, memory_format=torch.contiguous_format, copy=True)


def _drift_sheet(drift: StateDrift, places: Places) -> _Sheet:
    first, *others = _layers(drift.network)
    # It sees no memory.
    of_chain = pad(first.weight.unsqueeze(-1), (0, places.n_memory))
    level = places.level.to(first.weight)
    return _Sheet(
        of_chain=of_chain.flatten(1).T,
        offset=first(level),
        layers=others,
        unit=drift.unit,
        column=0,
    )


def _control_sheet(control: ResidualControl, begin: float, places: Places) -> _Sheet:
    first, *others = _layers(control.network)
    d = places.level.shape[-1]
    n_memory = d * places.n_memory
    # In the order in which the control has its inputs.
    n_context = first.in_features - 1 - d - n_memory
    sizes = [1, d, n_memory, n_context]
    time, state, memory, context = first.weight.split(sizes, dim=1)
    of_memory = memory.unflatten(1, (d, -1))
    of_chain = torch.cat([state.unsqueeze(-1), of_memory], dim=-1)
    elapsed = places.times - begin
    share = elapsed.to(time) / control.horizon
    offset = share.unsqueeze(-1) * time[:, 0] + first.bias
    offset = offset + places.level.to(state) @ state.T
    if places.contexts is not None:
        offset = offset + places.contexts.to(context) @ context.T
    return _Sheet(
        of_chain=of_chain.flatten(1).T,
        offset=offset,
        layers=others,
        unit=control.unit**0.5,
        column=1,
    )


def _layers(network: nn.Sequential) -> list[Any]:
    """The linear layers of a perceptron."""
    return [layer for layer in network if isinstance(layer, nn.Linear)]

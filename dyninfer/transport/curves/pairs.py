"""Coupled pairs of neighbouring snapshots, drawn by time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import (
    NOTHING,
    ConeCoupling,
    Coupling,
    EntropicOTCoupling,
    OTCoupling,
)
from dyninfer.transport.curves.base import couple, interval, log_masses, placer
from dyninfer.transport.lagrangians import ScaledLagrangian


class Pairs(NamedTuple):
    """Pairs of coupled samples in scaled units; every entry has ``n`` rows."""

    interval: Tensor  # (n,) index of the interval
    source: Tensor  # (n, d)
    target: Tensor  # (n, d)
    start: Tensor  # (n,) time of the source
    gap: Tensor  # (n,) time between source and target
    log_source: Tensor  # (n,) log-weight with which the pairs reproduce the first snapshot
    log_target: Tensor  # (n,) the same for the second


class CoupledPairs:
    """All pairs of all intervals, in device memory.

    Parameters
    ----------
    data : Snapshots
    scaling : Scaling
    coupling : Coupling, or one for every interval
    seed : int
    device, dtype
        Where the pairs are kept, and how.
    """

    def __init__(
        self,
        data: Snapshots,
        scaling: Scaling,
        coupling: Coupling | Sequence[Coupling],
        seed: int,
        device: torch.device,
        dtype: torch.dtype,
    ):
        samples = [scaling.states(s) for s in data.samples]
        plans = couple(data, samples, coupling, seed)
        offsets = np.concatenate([[0], np.cumsum(data.sizes)])
        put = placer(device, dtype)
        self.states = put(np.concatenate(samples))
        self.times = put(scaling.times(data.times))
        rows = (
            [p.source + o for p, o in zip(plans, offsets, strict=False)],
            [p.target + o for p, o in zip(plans, offsets[1:], strict=False)],
        )
        self.source, self.target = (torch.as_tensor(np.concatenate(r), device=device) for r in rows)
        # Interval k owns the stretch (k, k + 1] of one long cumulative sum, so one search serves all intervals.
        self.cumulative = torch.as_tensor(
            np.concatenate([k + np.cumsum(p.mass) / p.mass.sum() for k, p in enumerate(plans)]),
            device=device,
        )
        log_mass = log_masses(data)
        counts = [len(p.mass) for p in plans]
        log_source = np.concatenate([p.log_source for p in plans]) + np.repeat(
            log_mass[:-1], counts
        )
        log_target = np.concatenate([p.log_target for p in plans]) + np.repeat(log_mass[1:], counts)
        self.weighted = bool(np.any(log_source) or np.any(log_target))
        self.log_source, self.log_target = put(log_source), put(log_target)
        self.log_mass = put(log_mass)
        self.mass = np.concatenate([p.mass / p.mass.sum() for p in plans])
        self.counts = counts

    def at(self, t: Tensor, generator: torch.Generator) -> Pairs:
        """Draw a pair of the interval that each of the times ``(n,)`` lies in."""
        k = interval(self.times, t)
        u = torch.rand(len(t), generator=generator, device=t.device, dtype=torch.float64)
        pair = torch.searchsorted(self.cumulative, k + u).clamp(max=len(self.source) - 1)
        start = self.times[k]
        return Pairs(
            k,
            self.states[self.source[pair]],
            self.states[self.target[pair]],
            start,
            self.times[k + 1] - start,
            self.log_source[pair],
            self.log_target[pair],
        )

    def in_place(self) -> tuple[int, float]:
        """Interval in which most of the mass is destroyed or created in place, and the larger share of the two."""
        shares = []
        for k in range(len(self.counts)):
            _, _, a, b, mass = self.whole_interval(k)
            parts = (
                (a, b),
                (b, a),
            )  # what has nothing at the other end, of all there is at this one
            lost = [
                (mass * here.exp())[there < NOTHING / 2].sum() / (mass * here.exp()).sum()
                for here, there in parts
            ]
            shares.append(max(map(float, lost)))
        return int(np.argmax(shares)), max(shares)

    def whole_interval(self, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """All pairs of interval ``k``: source, target, their log-weights, and the pairs' mass."""
        lo = sum(self.counts[:k])
        cut = slice(lo, lo + self.counts[k])
        mass = torch.as_tensor(self.mass[cut], device=self.states.device).to(self.states.dtype)
        return (
            self.states[self.source[cut]],
            self.states[self.target[cut]],
            self.log_source[cut],
            self.log_target[cut],
            mass,
        )


def natural_couplings(lagrangian: ScaledLagrangian, gaps: np.ndarray) -> list[Coupling]:
    """The static problem of a Lagrangian without its potential, for intervals ``gaps`` apart.

    Least kinetic energy is optimal transport; with noise, entropic transport with kernel ``exp(−|x − y|² / 2σ²Δt)``
    (Léonard 2014, arXiv 1308.0215); with growth, the Wasserstein-Fisher-Rao problem; with both, its entropic form.
    """
    sigma, penalty = lagrangian.sigma, lagrangian.growth_penalty
    if penalty is not None:
        return [
            ConeCoupling(growth_penalty=penalty, sigma=sigma, duration=float(gap)) for gap in gaps
        ]
    if sigma:
        return [EntropicOTCoupling(sigma=sigma, duration=float(gap)) for gap in gaps]
    return [OTCoupling() for _ in gaps]

"""A flow along a surface that is known from points on it."""

from __future__ import annotations

from typing import NamedTuple

import torch
from numpy import ndarray
from torch import Tensor, nn

from dyninfer.diffusions import Diffusion
from dyninfer.diffusions.diffusion import Time
from dyninfer.diffusions.tangent.frames import Cloud, nearest_rotation, taper
from dyninfer.diffusions.tangent.laplacian import Spectrum
from dyninfer.diffusions.tangent.regression import Posterior

# Distances from states to all points that are held at once.
_MOST_DISTANCES = 2**22
# Fields that shrink by more in one step of the average cannot be extended by undoing it.
LEAST_KEPT = 0.1


class Surroundings(NamedTuple):
    """Points around states, as the states see them."""

    numbers: Tensor  # (n, k), nearest first
    weights: Tensor  # (n, k), of sum 1
    offsets: Tensor  # (n, k, D), from a state to the points
    frame: Tensor  # (n, D, d)
    rotations: Tensor  # (n, k, d, d), from the points to the state


class TangentField(Diffusion):
    r"""``dx = v(x) dt`` on a surface, with ``v`` a sum of eigenfields of the connection Laplacian.

    An eigenfield is its own average over neighbours but for a factor ``1 − λ``, which also gives it
    between and beside the points (Nyström):

    .. math:: \varphi_l(x) = \frac{1}{1 - \lambda_l} \sum_j p_j(x)\, O_{xj}\, \varphi_l(x_j) .

    Beside the tangent field, the drift has a part along the normal that leads back to the surface
    within a bandwidth of travel at unit speed. So every solver stays on it, whatever its steps.

    Parameters
    ----------
    n, n_features, dimension, n_eigen : int
        Points, features, dimension of the surface, eigenfields.
    n_neighbors : int
    """

    def __init__(self, n: int, n_features: int, dimension: int, n_eigen: int, n_neighbors: int):
        super().__init__()
        self.n_neighbors = n_neighbors
        self.points = _zeros(n, n_features)
        self.velocities = _zeros(n, n_features)
        self.frames = _zeros(n, n_features, dimension)
        self.density = _zeros(n)
        self.bandwidth = _zeros()
        # What an average over neighbours turns into eigenfields, and into the learned field.
        self.fields = _zeros(n, dimension, n_eigen)
        self.field = _zeros(n, dimension)
        self.factor = _zeros(n_eigen, n_eigen)

    def learn(
        self, cloud: Cloud, spectrum: Spectrum, posterior: Posterior, velocities: ndarray
    ) -> None:
        """Take over what was learned, and the velocities ``(n, D)`` that it was learned from."""
        extended = spectrum.fields / (1 - spectrum.values)
        learned = {
            "frames": cloud.frames,
            "density": spectrum.density,
            "bandwidth": cloud.bandwidth,
            "fields": extended,
            "field": extended @ posterior.mean,
            "factor": posterior.factor,
        }
        with torch.no_grad():
            self.points.copy_(torch.as_tensor(cloud.points))
            self.velocities.copy_(torch.as_tensor(velocities))
            for name, values in learned.items():
                # Rounded: the last bits of LAPACK depend on where arrays lie.
                rounded = torch.as_tensor(values).float()
                getattr(self, name).copy_(rounded)

    def drift(self, t: Time, x: Tensor) -> Tensor:
        """Velocity ``(n, D)``: along the surface, and back to it."""
        return self._velocity(x, 1.0)

    def backward_drift(self, t: Time, x: Tensor) -> Tensor:
        """The same with the part along the normal turned round, which a step back turns again."""
        return self._velocity(x, -1.0)

    def _velocity(self, x: Tensor, sign: float) -> Tensor:
        parts = []
        for states in self._blocks(x):
            around = self._surroundings(states)
            velocity = self._tangent(around)
            # Unit speed, as velocities are standardised.
            way_back = sign * self._way_back(around) / self.bandwidth
            parts.append(velocity + way_back)
        return torch.cat(parts)

    def tangent(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the field ``(n, D)``, in the planes of the surface."""
        means = []
        deviations = []
        for states in self._blocks(x):
            around = self._surroundings(states)
            means.append(self._tangent(around))
            own_fields = self.fields[around.numbers] @ self.factor
            rotated = around.rotations @ own_fields
            average = torch.einsum("nk,nkdr->ndr", around.weights, rotated)
            spread = around.frame @ average
            deviations.append(spread.square().sum(2).sqrt())
        return torch.cat(means), torch.cat(deviations)

    def distance(self, x: Tensor) -> Tensor:
        """Distance ``(n,)`` to the nearest point, in bandwidths."""
        nearest = [torch.cdist(states, self.points).amin(1) for states in self._blocks(x)]
        return torch.cat(nearest) / self.bandwidth

    def planes(self, x: Tensor) -> Tensor:
        """Tangent frames at states ``(n, D, d)``."""
        frames = [self._surroundings(states).frame for states in self._blocks(x)]
        return torch.cat(frames)

    def neighbors_mean(self, x: Tensor, n: int) -> Tensor:
        """Mean observed velocity ``(n, D)`` of the nearest points, a state itself not counted."""
        is_observed = self.velocities.isfinite().all(1)
        points = self.points[is_observed]
        velocities = self.velocities[is_observed]
        means = []
        for states in self._blocks(x):
            distances = torch.cdist(states, points)
            # The very point that is asked about must not answer.
            distances = distances.masked_fill(distances == 0, torch.inf)
            numbers = distances.topk(n, largest=False).indices
            means.append(velocities[numbers].mean(1))
        return torch.cat(means)

    def _tangent(self, around: Surroundings) -> Tensor:
        carried = around.rotations @ self.field[around.numbers][..., None]
        average = torch.einsum("nk,nkdo->ndo", around.weights, carried)
        return (around.frame @ average)[..., 0]

    def _way_back(self, around: Surroundings) -> Tensor:
        """Vector ``(n, D)`` along the normal that leads to the surface.

        Points lie on one side of the plane at a state, and their planes on the other, by the same
        ``κ r² / 2``: their mean is free of the curvature (as in algebraic point-set surfaces).
        """
        frames = self.frames[around.numbers]
        offsets = around.offsets[..., None]
        in_planes = frames @ (frames.mT @ offsets)
        to_both = 0.5 * (offsets + offsets - in_planes)
        way = torch.einsum("nk,nkdo->ndo", around.weights, to_both)
        along = around.frame @ (around.frame.mT @ way)
        return (way - along)[..., 0]

    def _surroundings(self, x: Tensor) -> Surroundings:
        distances = torch.cdist(x, self.points)
        numbers = distances.topk(self.n_neighbors, largest=False).indices
        offsets = self.points[numbers] - x[:, None]
        squares = offsets.square().sum(2)
        lengths = squares.sqrt()
        # From the nearest on: far from all points, every weight would underflow.
        exponents = (squares[:, :1] - squares) / (2 * self.bandwidth**2)
        weights = exponents.exp() * taper(lengths, lengths[:, -1:])
        weights = weights / self.density[numbers]
        weights = weights / weights.sum(1, keepdim=True)
        frames = self.frames[numbers]
        # The plane that the planes around agree on, from the nearest one on.
        overlap = frames.mT @ frames[:, :1]
        frame = torch.einsum("nk,nkab->nab", weights, frames @ overlap)
        frame = nearest_rotation(frame)
        rotations = nearest_rotation(frame[:, None].mT @ frames)
        return Surroundings(numbers, weights, offsets, frame, rotations)

    def _blocks(self, x: Tensor) -> tuple[Tensor, ...]:
        size = max(1, _MOST_DISTANCES // len(self.points))
        return x.split(size)


def _zeros(*shape: int) -> nn.Parameter:
    # Double, as distances between close points are differences of large numbers.
    zeros = torch.zeros(shape, dtype=torch.float64)
    return nn.Parameter(zeros, requires_grad=False)

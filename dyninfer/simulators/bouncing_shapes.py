"""Shapes that bounce within a frame: videos whose positions and velocities are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dyninfer.simulators.base import check_positive, generator, paths_of, stream

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths

SHAPES = ("disc", "square", "triangle")
_FASTEST = 4  # pixels per frame along an axis, in a frame of 64 pixels
_FRAME = 64


@dataclass(frozen=True, kw_only=True)
class BouncingShapes:
    """Grey videos of one or two shapes that move as the digits of stochastic moving MNIST [1]_ do.

    A shape moves by its velocity from frame to frame. Where its box meets a wall, its velocity is drawn anew: the
    component across the wall from 1 to 4, away from it, the one along the wall from −4 to 4, all integers alike; their
    unit is ``size / 64`` pixels per frame. Shapes pass through each other, and grey values add up to 1 at most. Each
    shape is a disc, a square or a triangle, drawn with smooth edges and of the same width.

    Parameters
    ----------
    size : int
        Pixels along a side of the frame, at least 8.
    n_shapes : int
        1 or 2.
    width : float
        Width and height of a shape as a share of the frame's side, between 0 and 1.
    interval : float
        Time between two frames; positive.

    References
    ----------
    .. [1] E. Denton, R. Fergus, Stochastic video generation with a learned prior, ICML 2018, arXiv 1802.07687.

    Examples
    --------
    >>> from dyninfer.simulators import BouncingShapes
    >>> BouncingShapes(size=16, n_shapes=1).paths(25, n=3).n_features
    256
    """

    size: int = 64
    n_shapes: int = 2
    width: float = 0.375
    interval: float = 0.1

    def __post_init__(self) -> None:
        check_positive(interval=self.interval)
        if self.size < 8:
            raise ValueError(f"size must be at least 8 pixels, found {self.size}")
        if self.n_shapes not in (1, 2):
            raise ValueError(f"n_shapes must be 1 or 2, found {self.n_shapes}")
        if not 0 < self.width < 1:
            raise ValueError(
                f"width must lie between 0 and 1, a share of the frame; found {self.width}"
            )

    def paths(self, n_frames: int, n: int, seed: int = 0) -> Paths:
        """Record ``n`` videos: paths whose states are flattened frames ``(n_frames, size · size)`` in [0, 1]."""
        frames = self.frames(n_frames, n, seed)
        return paths_of([self.interval * k for k in range(n_frames)], frames.flatten(2))

    def frames(self, n_frames: int, n: int, seed: int = 0) -> Tensor:
        """Record ``n`` videos, ``(n, n_frames, size, size)`` float32; each depends on the seed and its number alone."""
        shapes, centres = self.motion(n_frames, n, seed)
        return torch.stack([self.render(shapes, at).float() for at in centres.unbind(1)], dim=1)

    def motion(self, n_frames: int, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Draw what moves, and where.

        Returns
        -------
        shapes : Tensor of int64, ``(n, n_shapes)``
            0 for a disc, 1 for a square, 2 for a triangle.
        centres : Tensor, ``(n, n_frames, n_shapes, 2)``
            Of their boxes, down and to the right, in pixels from the upper left corner of the frame; float64.
        """
        check_positive(n_frames=n_frames, n=n)
        # Uniform numbers fill a tensor in order, so the first videos do not depend on how many follow.
        draws = [generator(stream(seed, k)) for k in range(5)]
        k, unit = self.n_shapes, self.size / _FRAME
        low, high = self.size * self.width / 2, self.size * (1 - self.width / 2)
        shapes = torch.randint(len(SHAPES), (n, k), generator=draws[0])
        centre = low + (high - low) * torch.rand(n, k, 2, generator=draws[1], dtype=torch.float64)
        every = -_FASTEST, _FASTEST + 1
        velocity = unit * torch.randint(*every, (n, k, 2), generator=draws[2]).double()
        away = (
            unit * torch.randint(1, _FASTEST + 1, (n, n_frames, k, 2), generator=draws[3]).double()
        )
        along = unit * torch.randint(*every, (n, n_frames, k, 2), generator=draws[4]).double()
        centres = [centre]
        for step in range(n_frames - 1):
            centre = centre + velocity
            wall = (centre <= low).double() - (
                centre >= high
            ).double()  # 1 at the first wall, −1 at the second
            met = wall != 0
            redrawn = torch.where(met, wall * away[:, step], along[:, step])
            velocity = torch.where(met.any(-1, keepdim=True), redrawn, velocity)
            centre = centre.clamp(low, high)
            centres.append(centre)
        return shapes, torch.stack(centres, dim=1)

    def render(self, shapes: Tensor, centres: Tensor) -> Tensor:
        """Draw shapes ``(..., n_shapes)`` by their numbers at centres ``(..., n_shapes, 2)``: ``(..., size, size)``."""
        pixel = torch.arange(self.size, dtype=centres.dtype, device=centres.device) + 0.5
        y, x = (pixel - centres.unsqueeze(-1)).unbind(-2)  # (..., n_shapes, size) each
        disc, square, triangle = _coverage(
            y.unsqueeze(-1), x.unsqueeze(-2), self.size * self.width / 2
        )
        number = shapes[..., None, None]
        grey = torch.where(number == 0, disc, torch.where(number == 1, square, triangle))
        return grey.sum(-3).clamp(max=1)


def _coverage(y: Tensor, x: Tensor, half: float) -> tuple[Tensor, Tensor, Tensor]:
    """Share of pixels about ``(y, x)`` that a disc, a square and a triangle cover, from distances to their sides."""
    disc = _inside((x.square() + y.square()).sqrt() - half)
    square = _inside(x.abs() - half) * _inside(y.abs() - half)
    slopes = _inside((2 * x.abs() - y - half) / math.sqrt(5))
    return disc, square, slopes * square


def _inside(distance: Tensor) -> Tensor:
    return (0.5 - distance).clamp(0, 1)

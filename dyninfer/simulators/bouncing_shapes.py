"""Shapes that bounce within a frame: videos whose positions and velocities are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dyninfer.learning.random import stream
from dyninfer.simulators.base import System, check_draw, check_positive, paths_of

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths

SHAPES = ("disc", "square", "triangle")
# The frame and the fastest motion, in pixels per frame along an axis, of stochastic moving MNIST.
_FRAME = 64
_FASTEST = 4


@dataclass(frozen=True, kw_only=True)
class BouncingShapes(System):
    """Grey videos of one or two shapes that move as the digits of stochastic moving MNIST [1]_ do.

    A shape moves by its velocity from frame to frame. Where its box meets a wall, its velocity is
    drawn anew: the component across the wall from 1 to 4, away from it, the one along the wall from
    −4 to 4, all integers alike; their unit is ``size / 64`` pixels per frame. Shapes pass through
    each other, and grey values add up to 1 at most. Each shape is a disc, a square or a triangle,
    drawn with smooth edges and of the same width.

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
    .. [1] E. Denton, R. Fergus, Stochastic video generation with a learned prior, ICML 2018,
       arXiv 1802.07687.

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

    def _check(self) -> None:
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
        """Record ``n`` videos: paths whose states are flattened frames.

        States are ``(n_frames, size · size)``, grey values in [0, 1].
        """
        frames = self.frames(n_frames, n, seed)
        times = [self.interval * k for k in range(n_frames)]
        return paths_of(times, frames.flatten(2))

    def frames(self, n_frames: int, n: int, seed: int = 0) -> Tensor:
        """Record ``n`` videos, ``(n, n_frames, size, size)`` float32.

        Each depends on the seed and its own number alone.
        """
        shapes, centres = self.motion(n_frames, n, seed)
        frames = [self.render(shapes, at_frame).float() for at_frame in centres.unbind(1)]
        return torch.stack(frames, dim=1)

    def motion(self, n_frames: int, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Draw what moves, and where.

        Returns
        -------
        shapes : Tensor of int64, ``(n, n_shapes)``
            0 for a disc, 1 for a square, 2 for a triangle.
        centres : Tensor, ``(n, n_frames, n_shapes, 2)``
            Of their boxes, down and to the right, in pixels from the upper left corner of the
            frame; float64.
        """
        check_positive(n_frames=n_frames)
        check_draw(n, seed)
        # Uniform numbers fill a tensor in order: the first videos do not depend on how many follow.
        each = (n, self.n_shapes, 2)
        g = stream(seed, "shapes")
        shapes = torch.randint(len(SHAPES), each[:2], generator=g)
        g = stream(seed, "starts")
        low, high = self._walls
        centre = low + (high - low) * torch.rand(each, generator=g, dtype=torch.float64)
        velocity = self._velocities(-_FASTEST, each, stream(seed, "first velocities"))
        bounces = (n, n_frames, self.n_shapes, 2)
        # One of each for every frame, used or not, so that no draw depends on an earlier one.
        away = self._velocities(1, bounces, stream(seed, "away from the wall"))
        along = self._velocities(-_FASTEST, bounces, stream(seed, "along the wall"))
        centres = [centre]
        for k in range(n_frames - 1):
            centre = centre + velocity
            # 1 at the first wall, −1 at the second, 0 between them.
            wall = (centre <= low).double() - (centre >= high).double()
            bounced = torch.where(wall != 0, wall * away[:, k], along[:, k])
            at_wall = (wall != 0).any(-1, keepdim=True)
            velocity = torch.where(at_wall, bounced, velocity)
            # What overshot the wall begins again at it.
            centre = centre.clamp(low, high)
            centres.append(centre)
        return shapes, torch.stack(centres, dim=1)

    def render(self, shapes: Tensor, centres: Tensor) -> Tensor:
        """Draw shapes ``(..., n_shapes)`` by their numbers at centres ``(..., n_shapes, 2)``.

        Returns
        -------
        Tensor, ``(..., size, size)``
            Grey values from 0 to 1.
        """
        # Middles of the pixels.
        pixel = torch.arange(self.size, dtype=centres.dtype, device=centres.device) + 0.5
        y, x = (pixel - centres.unsqueeze(-1)).unbind(-2)  # (..., n_shapes, size) each
        half = self.size * self.width / 2
        disc, square, triangle = _coverage(y.unsqueeze(-1), x.unsqueeze(-2), half)
        number = shapes[..., None, None]
        angular = torch.where(number == 1, square, triangle)
        grey = torch.where(number == 0, disc, angular)
        # Where shapes overlap, white is white.
        return grey.sum(-3).clamp(max=1)

    @property
    def _walls(self) -> tuple[float, float]:
        """Where the centre of a shape is when its box meets a wall."""
        half = self.size * self.width / 2
        return half, self.size - half

    def _velocities(self, slowest: int, shape: tuple[int, ...], g: torch.Generator) -> Tensor:
        """Draw whole numbers from ``slowest`` to the fastest, in pixels of this frame."""
        steps = torch.randint(slowest, _FASTEST + 1, shape, generator=g)
        return self.size / _FRAME * steps.double()


def _coverage(y: Tensor, x: Tensor, half: float) -> tuple[Tensor, Tensor, Tensor]:
    """Share of the pixels about ``(y, x)`` that a disc, a square and a triangle cover.

    From the distances of a pixel's middle to the sides of the shape.
    """
    radius = (x.square() + y.square()).sqrt()
    disc = _inside(radius - half)
    across, down = x.abs(), y.abs()
    square = _inside(across - half) * _inside(down - half)
    # A side of the triangle rises by 2 in 1, so its normal has the length √5.
    beyond_side = (2 * across - y - half) / math.sqrt(5)
    triangle = _inside(beyond_side) * square
    return disc, square, triangle


def _inside(distance: Tensor) -> Tensor:
    """Covered share of a pixel whose middle is that far outside an edge."""
    return (0.5 - distance).clamp(0, 1)

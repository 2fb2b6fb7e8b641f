"""Shapes that bounce within a frame: videos whose positions and velocities are known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from dyninfer.learning.budget import check_memory
from dyninfer.learning.random import stream, uniforms
from dyninfer.learning.settings import check_count
from dyninfer.simulators.base import System, check_draw, paths_of

if TYPE_CHECKING:
    from dyninfer.data.paths import Paths

SHAPES = ("disc", "square", "triangle")
# The frame and the fastest motion, in pixels per frame along an axis, of stochastic moving MNIST.
_FRAME = 64
_FASTEST = 4


@dataclass(frozen=True, kw_only=True)
class BouncingShapes(System):
    """Grey videos of one or two shapes that move like the digits of stochastic moving MNIST [1]_.

    A shape moves by its velocity from frame to frame. When its box meets a wall, its velocity is
    drawn again from equally likely integers: away from the wall from 1 to 4, along it from −4 to 4.
    The unit is ``size / 64`` pixels per frame. Shapes pass through each other; their grey values
    add up to at most 1. Each shape is a disc, a square or a triangle of the same width, with smooth
    edges.

    Parameters
    ----------
    size : int
        Pixels along a side of the frame, at least 8.
    n_shapes : int
        1 or 2.
    width : float
        Width and height of a shape as a share of the side of the frame, between 0 and 1.
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
        self._check_positive("interval")
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

        Each depends only on the seed and its own number.
        """
        check_draw(n, seed)
        # Python's own numbers, which do not overflow.
        n_images = int(n) * check_count(n_frames, "n_frames")
        n_pixels = n_images * int(self.size) ** 2
        check_memory(4 * n_pixels, f"{n_frames} frames of {n} videos")
        shapes, centres = self.motion(n_frames, n, seed)
        frames = []
        # Frame by frame: all of them in float64 would take twice the memory.
        for centre in centres.unbind(1):
            frame = self.render(shapes, centre)
            frames.append(frame.float())
        return torch.stack(frames, dim=1)

    def motion(self, n_frames: int, n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
        """Draw the shapes and their motion.

        Returns
        -------
        shapes : Tensor of int64, ``(n, n_shapes)``
            0 for a disc, 1 for a square, 2 for a triangle.
        centres : Tensor, ``(n, n_frames, n_shapes, 2)``
            Centres of the boxes as (row, column), in pixels from the upper left corner of the
            frame; float64.
        """
        check_draw(n, seed)
        n_images = int(n) * check_count(n_frames, "n_frames")
        n_numbers = n_images * self.n_shapes * 2
        check_memory(8 * n_numbers, f"centres in {n_frames} frames of {n} videos")
        # Uniform numbers fill a tensor in order: the first videos do not depend on how many follow.
        per_shape = (n, self.n_shapes)
        per_axis = (n, self.n_shapes, 2)
        per_bounce = (n, n_frames, self.n_shapes, 2)
        g = stream(seed, "shapes")
        shapes = torch.randint(len(SHAPES), per_shape, generator=g)
        start_draws = stream(seed, "starts")
        u = uniforms(start_draws, *per_axis)
        low, high = self._walls
        room = high - low
        centre = low + room * u
        first_draws = stream(seed, "first velocities")
        velocity = self._velocities(-_FASTEST, per_axis, first_draws)
        # One of each for every frame, used or not, so that no draw depends on an earlier one.
        away_draws = stream(seed, "away from the wall")
        away = self._velocities(1, per_bounce, away_draws)
        wall_draws = stream(seed, "along the wall")
        along = self._velocities(-_FASTEST, per_bounce, wall_draws)
        centres = [centre]
        away_by_bounce = away.unbind(1)
        along_by_bounce = along.unbind(1)
        draws = zip(away_by_bounce, along_by_bounce, strict=True)
        for away_now, along_now in islice(draws, n_frames - 1):
            centre = centre + velocity
            is_at_first = centre <= low
            is_at_second = centre >= high
            is_at_wall = is_at_first | is_at_second
            away_now = torch.where(is_at_first, away_now, -away_now)
            bounced = torch.where(is_at_wall, away_now, along_now)
            bounces = is_at_wall.any(-1, keepdim=True)
            velocity = torch.where(bounces, bounced, velocity)
            # What overshot the wall begins again at it.
            centre = centre.clamp(low, high)
            centres.append(centre)
        return shapes, torch.stack(centres, dim=1)

    def render(self, shapes: Tensor, centres: Tensor) -> Tensor:
        """Draw shapes, given by number ``(..., n_shapes)``, at centres ``(..., n_shapes, 2)``.

        Returns
        -------
        Tensor, ``(..., size, size)``
            Grey values from 0 to 1.
        """
        pixel = torch.arange(self.size, device=centres.device)
        middle = pixel.to(centres) + 0.5
        own_centres = centres.unsqueeze(-1)
        distance = middle - own_centres
        y, x = distance.unbind(-2)  # (..., n_shapes, size) each
        rows = y.unsqueeze(-1)
        columns = x.unsqueeze(-2)
        cover = _coverage(rows, columns, self._half_width)
        number = shapes[..., None, None]
        is_square = number == 1
        angular = torch.where(is_square, cover.square, cover.triangle)
        grey = torch.where(number == 0, cover.disc, angular)
        # Where shapes overlap, white is white.
        return grey.sum(-3).clamp(max=1)

    @property
    def _half_width(self) -> float:
        """Half the side of the box of a shape, in pixels."""
        return self.size * self.width / 2

    @property
    def _walls(self) -> tuple[float, float]:
        """Where the centre of a shape is when its box meets a wall."""
        return self._half_width, self.size - self._half_width

    def _velocities(self, slowest: int, shape: tuple[int, ...], g: torch.Generator) -> Tensor:
        """Draw whole numbers from ``slowest`` to the fastest, in pixels of this frame."""
        pixels = torch.randint(slowest, _FASTEST + 1, shape, generator=g)
        scale = self.size / _FRAME
        return scale * pixels.double()


class _Coverage(NamedTuple):
    """Share of every pixel that a shape covers."""

    disc: Tensor
    square: Tensor
    triangle: Tensor


def _coverage(y: Tensor, x: Tensor, half: float) -> _Coverage:
    """Share of the pixels about ``(y, x)`` that shapes cover.

    From the distances of a pixel's middle to the sides of the shape.
    """
    radius = torch.hypot(x, y)
    beyond_width = x.abs() - half
    in_width = _inside(beyond_width)
    beyond_height = y.abs() - half
    in_height = _inside(beyond_height)
    square = in_width * in_height
    # A side of the triangle rises by 2 in 1, so its normal has the length √5.
    along_normal = 2 * x.abs() - y - half
    beyond_side = along_normal / math.sqrt(5)
    return _Coverage(
        disc=_inside(radius - half),
        square=square,
        triangle=_inside(beyond_side) * square,
    )


def _inside(distance: Tensor) -> Tensor:
    """Covered share of a pixel whose middle is that far outside an edge."""
    return (0.5 - distance).clamp(0, 1)

"""Bouncing shapes: areas from geometry, laws of the velocities from their definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from dyninfer.simulators import BouncingShapes

SMALL = BouncingShapes(size=16, n_shapes=1)
AREAS = {"disc": math.pi / 4, "square": 1.0, "triangle": 0.5}  # in units of the squared width


@pytest.mark.parametrize("number", range(3))
def test_shapes_have_their_area_wherever_they_stand(number):
    system = BouncingShapes(size=32, n_shapes=1)
    centres = 6 + 20 * torch.rand(
        50, 1, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    mass = system.render(torch.full((50, 1), number), centres).sum((-1, -2))
    area = list(AREAS.values())[number] * 12**2
    np.testing.assert_allclose(mass, area, rtol=0.02)


def test_shapes_lie_in_their_boxes_and_boxes_in_the_frame():
    system = BouncingShapes(size=16, n_shapes=2)
    shapes, centres = system.motion(60, 40, seed=1)
    assert centres.min() >= 3
    assert centres.max() <= 13
    wide = BouncingShapes(size=32, n_shapes=2, width=6 / 32)  # the same shapes in a larger frame
    inside = wide.render(shapes[:, None].expand(-1, 60, -1), centres + 8)
    assert inside[..., 8:24, 8:24].sum() == pytest.approx(inside.sum().item(), rel=1e-12)
    torch.testing.assert_close(inside[..., 8:24, 8:24].float(), system.frames(60, 40, seed=1))


def test_grey_values_lie_between_zero_and_one_where_shapes_overlap():
    system = BouncingShapes(size=16)
    both = system.render(torch.tensor([1, 1]), torch.tensor([[8.0, 8.0], [8.0, 10.0]]))
    assert both.max() == 1
    assert both.sum() == pytest.approx(6 * 8)


def test_velocities_change_at_walls_alone():
    _, centres = SMALL.motion(80, 300, seed=2)
    velocity = centres.diff(dim=1)[:, :, 0]
    at_wall = ((centres == 3) | (centres == 13))[:, 1:-1, 0].any(-1)
    # A step that ends at a wall may be cut short, so only steps from and to the inside are compared.
    whole = ((centres > 3) & (centres < 13)).all(-1)[:, :, 0]
    free = ~at_wall & whole[:, 2:]
    torch.testing.assert_close(velocity[:, 1:][free], velocity[:, :-1][free])
    turned = (velocity[:, 1:] != velocity[:, :-1]).any(-1)
    assert turned[at_wall].float().mean() > 0.95


def test_redrawn_velocities_have_their_law():
    """Across a wall 1 to 4, away from it, along it −4 to 4, in units of size / 64 = 1/4 pixel."""
    _, centres = SMALL.motion(80, 1500, seed=3)
    here, velocity = centres[:, 1:-1, 0], centres.diff(dim=1)[:, 1:, 0] * 4
    across = (here == 3).double() - (here == 13).double()
    one = across.abs().sum(-1) == 1
    outward = (velocity * across).sum(-1)[one]
    counts = [int((outward == k).sum()) for k in range(1, 5)]
    assert sum(counts) == int(one.sum())
    assert chisquare(counts).pvalue > 1e-3
    beside = (velocity * (across == 0)).sum(-1)[one]
    middle = ((here > 4) & (here < 12) & (across == 0)).any(-1)[
        one
    ]  # far from a second wall, so not cut short
    counts = [int((beside[middle].round() == k).sum()) for k in range(-4, 5)]
    assert sum(counts) == int(middle.sum())
    assert chisquare(counts).pvalue > 1e-3


def test_a_corner_sends_a_shape_away_from_both_walls():
    _, centres = SMALL.motion(200, 3000, seed=4)
    here, velocity = centres[:, 1:-1, 0], centres.diff(dim=1)[:, 1:, 0]
    across = (here == 3).double() - (here == 13).double()
    corner = (across != 0).all(-1)
    assert corner.sum() > 20
    assert (velocity * across)[corner].min() >= 0.25


def test_videos_depend_on_seed_and_number_alone():
    before = torch.get_rng_state()
    few, many = SMALL.frames(10, 3, seed=5), SMALL.frames(10, 70, seed=5)
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(few, many[:3])
    assert not torch.equal(few, SMALL.frames(10, 3, seed=6))


def test_all_shapes_occur_alike():
    shapes, _ = SMALL.motion(1, 3000, seed=7)
    assert chisquare(torch.bincount(shapes.flatten(), minlength=3)).pvalue > 1e-3


def test_paths_are_flattened_frames_at_even_times():
    paths = SMALL.paths(5, 4, seed=8)
    np.testing.assert_allclose(paths.times[0], [0, 0.1, 0.2, 0.3, 0.4])
    np.testing.assert_array_equal(np.stack(paths.states), SMALL.frames(5, 4, seed=8).flatten(2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 4}, "size must be at least 8 pixels, found 4"),
        ({"n_shapes": 3}, "n_shapes must be 1 or 2, found 3"),
        ({"width": 1.0}, "width must lie between 0 and 1"),
        ({"interval": 0.0}, "interval must be positive"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        BouncingShapes(**settings)

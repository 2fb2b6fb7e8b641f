"""Velocities in an embedding: an affine one has the same slope at every cell."""

import numpy as np
import pytest

from dyninfer.data.embedding import local_slopes, pushed_forward


@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("n_neighbors", [None, 12])
def test_arrows_of_an_affine_embedding_are_velocities_times_its_slope(unit, n_neighbors):
    rng = np.random.default_rng(0)
    states = unit * rng.normal(size=(200, 3))
    slope = rng.normal(size=(3, 2))
    velocity = unit * rng.normal(size=(200, 3))
    positions = states @ slope + 7 * unit
    arrows = pushed_forward(states, positions, velocity, n_neighbors)
    np.testing.assert_allclose(arrows, velocity @ slope, rtol=1e-6, atol=1e-9 * unit)
    some = pushed_forward(states, positions, velocity[:5], n_neighbors, at=states[50:55])
    np.testing.assert_allclose(some, velocity[:5] @ slope, rtol=1e-6, atol=1e-9 * unit)


def test_slopes_are_those_of_the_nearest_places():
    # A bend at zero, far from both groups.
    x = np.concatenate([np.linspace(-9, -8, 10), np.linspace(8, 9, 10)])[:, None]
    (rows, slopes), *rest = local_slopes(x, np.abs(x), n_neighbors=4)
    assert rest == []
    assert len(x[rows]) == 20
    np.testing.assert_allclose(slopes[:, 0, 0], np.repeat([-1, 1], 10), rtol=1e-9)


def test_too_few_cells_or_neighbours_make_no_slope():
    x = np.arange(4.0)[:, None]
    assert len(list(local_slopes(x[:3], x[:3], n_neighbors=3))) == 1
    with pytest.raises(ValueError, match="arrows need at least three cells, found 2"):
        list(local_slopes(x[:2], x[:2]))
    for number in (2, 3.5, "many"):
        with pytest.raises(ValueError, match="n_neighbors must be a whole number of at least 3"):
            list(local_slopes(x, x, n_neighbors=number))
    # What was given is named in brief.
    with pytest.raises(ValueError) as refusal:
        list(local_slopes(x, x, n_neighbors=np.ones((9, 99))))
    message = str(refusal.value)
    assert "\n" not in message
    assert len(message) <= 300

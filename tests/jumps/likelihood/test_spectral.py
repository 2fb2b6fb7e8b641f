"""Exponentials by eigenvalues against scipy's, for times far apart and generators that are hard."""

from __future__ import annotations

import numpy as np
import pytest
from jumps import cases
from scipy.linalg import expm, expm_frechet

from dyninfer.jumps.likelihood.spectral import Spectrum

TIMES = np.array([0.0, 1e-3, 0.2, 3.0, 40.0])


def ring(n_states):
    """One-way jumps around a ring: complex eigenvalues."""
    return np.roll(np.eye(n_states), 1, axis=1) - np.eye(n_states)


GENERATORS = {
    "random": cases.random_generator(5, 0).numpy(),
    "ring": ring(4),
    "equal eigenvalues": np.ones((4, 4)) - 4 * np.eye(4),
}


@pytest.mark.parametrize("name", list(GENERATORS))
def test_transitions_and_their_adjoint_are_those_of_scipy(name):
    q = GENERATORS[name]
    spectrum = Spectrum.of(q)
    p = spectrum.transitions(TIMES)
    slope_p = np.random.default_rng(0).normal(size=p.shape)
    slope = spectrum.slope(slope_p, TIMES)
    direction = np.random.default_rng(1).normal(size=q.shape)
    change = 0.0
    for t, p_t, slope_t in zip(TIMES, p, slope_p, strict=True):
        np.testing.assert_allclose(p_t, expm(q * t), atol=1e-13)
        derivative = expm_frechet(q * t, direction * t, compute_expm=False)
        change += (slope_t * derivative).sum()
    assert (slope * direction).sum() == pytest.approx(change, rel=1e-11)


def test_a_generator_without_enough_eigenvectors_is_told_from_others():
    """Two phases of one rate in a row: a Jordan block."""
    erlang = np.array([[-1.0, 1.0, 0.0], [0.0, -1.0, 1.0], [0.0, 0.0, 0.0]])
    spectrum = Spectrum.of(erlang)
    assert spectrum is None or not spectrum.keeps_digits_of(1e-3)
    assert Spectrum.of(GENERATORS["random"]).keeps_digits_of(1e-3)
    assert not Spectrum.of(GENERATORS["random"]).keeps_digits_of(1e-9)

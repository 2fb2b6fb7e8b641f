"""The flashing ratchet against the published generators, laws and dissipation."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from dyninfer.simulators.flashing_ratchet import FlashingRatchet

RATCHET = Path(os.environ.get("DYNINFER_DATA", ".")) / "flashing_ratchet"


@pytest.mark.skipif(
    not (RATCHET / "dfr_V0.npz").exists(), reason="DYNINFER_DATA does not hold the ratchet"
)
@pytest.mark.parametrize("potential", [0, 1, 2, 3])
def test_generator_and_law_are_the_published_ones(potential):
    data = np.load(RATCHET / f"dfr_V{potential}.npz")
    process = FlashingRatchet(potential=potential).process()
    np.testing.assert_allclose(process.generator.numpy(), data["Q"], atol=2e-6)
    np.testing.assert_allclose(process.stationary().numpy(), data["p0"], atol=1e-5)


def test_stationary_law_and_dissipation_have_their_known_values():
    process = FlashingRatchet().process()
    law = [0.3012, 0.1365, 0.0623, 0.2003, 0.1591, 0.1406]
    np.testing.assert_allclose(process.stationary().numpy(), law, atol=6e-5)
    for potential, rate in enumerate([0, 0.1792, 0.5656, 0.9927]):
        found = FlashingRatchet(potential=potential).process().entropy_production()
        assert float(found) == pytest.approx(rate, abs=1e-4)


def test_parameters_are_read_off_the_generator():
    ratchet = FlashingRatchet(potential=1.7, switch_rate=0.4, off_rate=2.5)
    found = ratchet.parameters_of(ratchet.process().generator)
    assert {k: float(v) for k, v in found.items()} == pytest.approx(vars(ratchet))
    noisy = ratchet.process().generator.clone()
    noisy[0, 1] *= math.e  # each of six log-rates gives V alone, this one as -2 ln q01
    assert float(ratchet.parameters_of(noisy)["potential"]) == pytest.approx(1.7 - 1 / 3)


def test_paths_start_at_rest_and_stay_there():
    ratchet, n = FlashingRatchet(), 20_000
    states = np.stack(ratchet.paths([0.0, 1.0, 2.5], n, seed=1).states)
    expected = n * ratchet.process().stationary().numpy()
    for k in range(3):
        counts = np.bincount(states[:, k], minlength=6)
        assert ((counts - expected) ** 2 / expected).sum() < chi2.isf(1e-3, 5)
    noisy = np.stack(ratchet.paths([0.0, 1.0, 2.5], n, seed=1, label_noise=0.1).states)
    assert (noisy != states).mean() == pytest.approx(0.1, abs=0.01)


def test_bad_parameters_are_named():
    with pytest.raises(ValueError, match="off_rate must be positive"):
        FlashingRatchet(off_rate=0.0)
    assert torch.equal(FlashingRatchet().process().generator, FlashingRatchet().process().generator)

"""The six-state surrogate against what its published rates imply."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from dyninfer.simulators import AlanineDipeptide

LAW = [0.298, 0.312, 0.232, 0.097, 0.053, 0.008]
SCALES = [0.691, 0.068, 0.039, 0.0088, 0.0088]


def test_law_and_time_scales_are_the_published_ones():
    process = AlanineDipeptide().process()
    np.testing.assert_allclose(process.stationary().numpy(), LAW, atol=6e-4)
    values = np.sort(-np.linalg.eigvals(process.generator.numpy()).real)[1:]
    np.testing.assert_allclose(1 / values, SCALES, rtol=0.01)
    np.testing.assert_allclose(process.relaxation_times().numpy(), SCALES, rtol=0.01)


def test_frames_have_the_law_and_the_transitions_of_the_chain():
    states = np.stack(AlanineDipeptide().paths(1e-3 * np.arange(100), 1500, seed=0).states)
    share = np.bincount(states[:, 0], minlength=6) / 1500
    np.testing.assert_allclose(share, LAW, atol=4 * 0.5 / np.sqrt(1500))
    p = expm(0.01 * AlanineDipeptide().process().generator.numpy())
    for i in range(4):
        here = states[:, 40] == i
        error = 0.5 / np.sqrt(here.sum())
        np.testing.assert_allclose(
            np.bincount(states[here, 50], minlength=6) / here.sum(), p[i], atol=4 * error
        )


def test_draws_depend_on_the_seed_alone_and_noise_mislabels():
    frames = 1e-3 * np.arange(100)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    clean, again, other = (
        np.stack(AlanineDipeptide().paths(frames, 100, seed=s).states) for s in (1, 1, 2)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert (clean == again).all()
    assert (clean != other).any()
    noisy = np.stack(AlanineDipeptide(label_noise=0.05).paths(frames, 100, seed=1).states)
    assert (noisy != clean).mean() == pytest.approx(0.05, abs=0.01)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="n must be positive, found 0"):
        AlanineDipeptide().paths([0.0, 0.1], 0)
    with pytest.raises(ValueError, match="probability"):
        AlanineDipeptide(label_noise=1.5).paths([0.0], 3)

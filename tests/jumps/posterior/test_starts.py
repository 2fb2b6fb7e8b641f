"""Where fits begin, and the prior that they keep to."""

import numpy as np
import torch

from dyninfer.data.paths import Paths
from dyninfer.jumps import RateScheme, panel_counts
from dyninfer.jumps.posterior.starts import (
    clone_starts,
    crude_starts,
    log_rate_prior,
)


def paths():
    return Paths(times=[[0.0, 1.0, 2.0, 4.0], [0.0, 1.0, 2.0]], states=[[0, 0, 1, 1], [1, 0, 0]])


def test_crude_rates_are_changes_over_time():
    start = crude_starts(paths(), 2, RateScheme.free(2)).generators
    # State 0: seen for 1 + 1 + 1, left once; state 1: for 2 + 1, left once.
    torch.testing.assert_close(
        start[0], torch.tensor([[-1 / 3, 1 / 3], [1 / 3, -1 / 3]], dtype=torch.float64)
    )


def test_thinned_starts_pass_over_flickers():
    flicker = np.tile([0, 0, 1, 0], 20)
    flicker[40:] = 1 - flicker[40:]
    paths = Paths(times=[np.arange(80.0)], states=[flicker])
    start = crude_starts(paths, 2, RateScheme.free(2)).generators
    assert len(start) == 2
    assert float(start[1, 0, 1]) < 0.5 * float(start[0, 0, 1])


def test_prior_is_normal_in_log_rates_and_moves_with_the_unit_of_time():
    scheme, x = RateScheme.free(2), torch.tensor([[0.3, -0.8]], dtype=torch.float64)
    prior = log_rate_prior(panel_counts(paths()), scheme, 2.0)
    # Five steps of which two are changes, (2 + 1) / 6 per time, one target each.
    centre = np.log(3 / 6)
    expected = -0.5 * (((x.numpy() - centre) / 2.0) ** 2).sum(-1)
    np.testing.assert_allclose(prior(x), expected, rtol=1e-12)
    slow = Paths(times=[60 * t for t in paths().times], states=paths().states)
    np.testing.assert_allclose(
        log_rate_prior(panel_counts(slow), scheme, 2.0)(x - np.log(60)), prior(x), rtol=1e-12
    )
    assert log_rate_prior(panel_counts(paths()), scheme, None) is None


def test_clones_start_from_shares_over_time():
    cells = Paths(times=[[2.0], [2.0], [4.0], [4.0]], states=[[0], [1], [1], [1]])
    start = clone_starts(cells, 2, RateScheme.free(2), ancestor_time=0.0).generators
    # Half of the time of all cells, (2 + 2 + 4 + 4) / 2, is each ancestor's; half of the three ones came from 0.
    np.testing.assert_allclose(start[0], [[-1.5 / 6, 1.5 / 6], [0.5 / 6, -0.5 / 6]])

"""Coverage is the level for calibrated forecasts, whatever their draws, and tells the others."""

import numpy as np
import pytest
import torch

from dyninfer.metrics import coverage, state_coverage
from dyninfer.metrics.calibration import LEVELS


@pytest.mark.parametrize("m", [2, 5, 20, 99])
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_each_rank_counts_alike_so_that_the_mean_is_the_level(m, level):
    # The observation at every rank among the draws once: exactly the level, for any number m.
    draws = np.arange(m, dtype=float)[:, None] * np.ones(m + 1)
    observed = np.arange(m + 1) - 0.5
    assert float(coverage(draws, observed, level).mean()) == pytest.approx(level, abs=1e-12)


@pytest.mark.parametrize("law", [[0.6, 0.3, 0.1], [0.25] * 4, [0.97, 0.03]])
def test_states_drawn_alike_are_covered_at_the_level(law):
    rng = np.random.default_rng(0)
    n = 20000
    everything = rng.choice(len(law), size=(21, n), p=law)
    for level in LEVELS:
        share = state_coverage(everything[:20], everything[20], len(law), level)
        error = 4 * float(share.std()) / np.sqrt(n)
        assert abs(float(share.mean()) - level) < error


@pytest.mark.parametrize(("width", "expected"), [(0.5, 0.589), (1.0, 0.9), (2.0, 0.999)])
def test_too_sure_and_too_wide_forecasts_have_the_coverage_of_the_normal(width, expected):
    # P(|N(0, 1)| < 1.645 width); of 999 draws the quantiles are known to a few per cent.
    rng = np.random.default_rng(1)
    draws = width * rng.normal(size=(999, 4000))
    share = coverage(draws, rng.normal(size=4000))
    assert float(share.mean()) == pytest.approx(expected, abs=0.03)


def test_shape_device_and_gaps():
    draws = torch.randn(9, 4, 2)
    observed = torch.zeros(4, 2)
    observed[1, 0] = torch.nan
    inside = coverage(draws, observed)
    assert inside.shape == (4, 2)
    assert inside.isnan().nonzero().tolist() == [[1, 0]]
    draws[3, 2, 1] = torch.inf
    with pytest.raises(ValueError, match="1 of 72 numbers of draws are NaN or infinite"):
        coverage(draws, observed)
    missing = state_coverage([[0, 1], [0, 1]], [0, -1], 2)
    assert missing.isnan().tolist() == [False, True]


def test_one_number_as_forecast_holds_itself_and_nothing_else():
    assert coverage([[2.0, 2.0]] * 19, [2.0, 3.0]).tolist() == [1.0, 0.0]


def test_levels_that_are_none_are_refused():
    with pytest.raises(ValueError, match="level must lie between 0 and 1, found 90"):
        coverage([[1.0], [2.0]], [1.0], level=90)

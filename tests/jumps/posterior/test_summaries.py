"""Tables of a fit against closed forms."""

import numpy as np
import torch
from scipy.stats import norm

from dyninfer.jumps import JumpFit, RateScheme
from dyninfer.jumps.posterior.curvature import Curvature
from dyninfer.jumps.posterior.result import NormalPosterior
from dyninfer.jumps.posterior.summaries import (
    QUANTITIES,
    derived_table,
    rate_table,
)
from dyninfer.jumps.process import MarkovJump

NAMES = ("closed", "open")


def fit(information):
    rates = torch.tensor([1.0, 3.0], dtype=torch.float64)
    matrix = torch.as_tensor(information, dtype=torch.float64)
    return JumpFit(
        scheme=RateScheme.free(2),
        theta=rates.log(),
        log_likelihood=torch.tensor(-1.0, dtype=torch.float64),
        curvature=Curvature(matrix),
        n_observed=torch.tensor(10.0, dtype=torch.float64),
        converged=torch.tensor(True),
        iterations=3,
    )


def test_intervals_are_normal_in_log_rates_and_flat_ones_are_named():
    table = rate_table(fit([[25.0, 0.0], [0.0, 1e-6]]), NAMES, 0.9)
    assert table["source"].tolist() == ["closed", "open"]
    half = norm.ppf(0.95) / 5
    np.testing.assert_allclose(
        table.loc[0, ["rate", "low", "high"]].astype(float), [1, np.exp(-half), np.exp(half)]
    )
    assert table["flat"].tolist() == [False, True]


def test_samples_have_the_covariance_of_the_posterior():
    information = np.array([[30.0, 12.0], [12.0, 20.0]])
    one = fit(information)
    posterior = NormalPosterior(one.generator, one)
    q = posterior.draw(40_000, seed=0)
    logs = torch.stack([q[:, 0, 1], q[:, 1, 0]]).log().numpy()
    np.testing.assert_allclose(logs.mean(1), [0, np.log(3)], atol=0.005)
    np.testing.assert_allclose(np.cov(logs), np.linalg.inv(information), atol=0.002)
    assert torch.equal(q, posterior.draw(40_000, seed=0))


def test_derived_intervals_are_quantiles_of_the_batch():
    rates = torch.linspace(0.5, 1.5, 101, dtype=torch.float64)
    one = MarkovJump([[-1.0, 1.0], [3.0, -3.0]], state_names=NAMES)
    q = torch.stack(
        [torch.stack([-rates, rates], -1), torch.stack([3 * rates, -3 * rates], -1)], -2
    )
    table = derived_table(one, MarkovJump(q, state_names=NAMES), QUANTITIES, 0.8).set_index(
        "quantity"
    )
    assert list(table.index) == [
        "stationary closed",
        "stationary open",
        "holding time closed",
        "holding time open",
        "slowest relaxation time",
        "entropy production",
    ]
    np.testing.assert_allclose(table.loc["stationary closed"], [0.75, 0.75, 0.75])
    np.testing.assert_allclose(table.loc["holding time closed"], [1.0, 1 / 1.4, 1 / 0.6], rtol=1e-6)
    np.testing.assert_allclose(table.loc["slowest relaxation time", "value"], 0.25)

"""Reliability of fates: calibrated for the true process, and drawn as it is."""

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from known_process import KnownProcess

import dyninfer as di
from dyninfer.diffusions import Diffusion
from dyninfer.learning.random import stream
from dyninfer.metrics import expected_calibration_error
from dyninfer.simulators.branching import branch

N_DRAWS = 50
pytestmark = [
    pytest.mark.filterwarnings("ignore:the simulated mass is far"),
    pytest.mark.filterwarnings("ignore:the effective sample size"),
]


@pytest.fixture(scope="module")
def cells():
    """Cells of time 1.5, and all that descends from five copies of each at time 3, as clones."""
    simulator = di.simulators.BranchingPopulation()
    founders, _ = simulator.grow(1.5, 250, seed=1)
    founders = founders[:250]
    copies = founders.repeat_interleave(5, 0)
    g = stream(2, "descendants")
    ends, founder = branch(
        simulator.drift, simulator.sigma, simulator.rates, copies, 1.5, simulator.dt, g
    )
    states = torch.cat([founders, ends]).numpy()
    clone = np.concatenate([np.arange(len(founders)), founder.numpy() // 5])
    obs = pd.DataFrame({"clone": [f"clone {k}" for k in clone]})
    obs["time"] = np.repeat([1.5, 3.0], [len(founders), len(ends)])
    obs["side"] = np.where(states[:, 1] > 0, "upper", "lower")
    obs.index = obs.index.astype(str)
    return ad.AnnData(states, obs=obs)


def fates_of(simulator, adata, speed=1.0, **options):
    def drift(t, x):
        return speed * simulator.drift(t, x)

    process = Diffusion(drift=drift, diffusion=simulator.sigma, growth=simulator.growth)
    model = KnownProcess(process=process).fit(adata, time_key="time", use_rep="X", progress=False)
    return di.tl.fates(model, adata, "side", n_draws=N_DRAWS, seed=3, **options)


def test_fates_of_the_true_process_are_calibrated_within_the_floor_of_the_draws(cells):
    simulator = di.simulators.BranchingPopulation()
    fates_of(simulator, cells)
    table = di.tl.fate_reliability(cells, "clone")
    own = table[table["prediction"] == "fates"]
    error, floor = expected_calibration_error(own)
    # So far, on average, the mean of so many draws is from its probability.
    p = own["predicted"]
    of_draws = np.sqrt(2 / np.pi * p * (1 - p) / N_DRAWS)
    bound = floor + np.average(of_draws, weights=own["n"])
    assert error < bound
    scores = di.tl.score_fates(cells, "clone", n_resamples=2)
    assert scores.loc["fates", "calibration_error"] == pytest.approx(error)
    assert scores.loc["fates", "calibration_floor"] == pytest.approx(floor)
    # One share for all is calibrated as well, and says nothing.
    assert scores.loc["shares", "calibration_error"] < 0.1
    # Followed at four times the speed, cells are too sure of where they go.
    fates_of(simulator, cells, speed=4.0)
    hasty = di.tl.score_fates(cells, "clone", n_resamples=2)
    assert hasty.loc["fates", "calibration_error"] > bound


def test_a_picture_shows_every_bin_with_its_interval():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=500)
    table = di.metrics.reliability(p, rng.random(500) < p)
    ax = di.pl.reliability(table)
    marks = ax.collections[-1].get_offsets()
    np.testing.assert_allclose(marks, table[["predicted", "observed"]])
    both = pd.concat([table.assign(prediction="a"), table.assign(prediction="b")])
    labels = [t.get_text() for t in di.pl.reliability(both).get_legend().get_texts()]
    assert [label.split(",")[0] for label in labels] == ["a", "b"]
    with pytest.raises(KeyError, match="observed"):
        di.pl.reliability(table.drop(columns="observed"))

"""Scores of an arrival: masses in closed form, lost paths, and predictions of nothing."""

import math

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.metrics.evaluation import arrivals, score_arrival

OPTIONS = {"metrics": ["w1"], "max_samples": None, "seed": 0}
CELLS = np.arange(12.0)[:, None] / 11
# What grows from mass 2 to 5 while it moves by one.
OBSERVED = di.Snapshots(times=[0.0, 1.0, 2.0], samples=[CELLS, CELLS, CELLS + 1], masses=[2, 3, 5])


def run_of(drift, rate, times=(0.0, 1.0, 2.0)):
    process = di.Diffusion(
        drift=lambda t, x: drift * torch.ones_like(x),
        growth=lambda t, x: rate * torch.ones_like(x[:, 0]),
    )
    return di.simulate(process, CELLS, times)


@pytest.mark.filterwarnings("ignore:.*do not exist")
def test_an_arrival_has_the_masses_and_the_distances_of_the_whole_run():
    predictions = {"idle": (CELLS, np.full(12, 1 / 12)), "none": None}
    scores = score_arrival(OBSERVED, run_of(0.5, 0.35), predictions, **OPTIONS)
    assert scores["mass"] == pytest.approx(math.exp(0.7), rel=1e-6)
    assert scores["mass_observed"] == 2.5
    assert scores["w1"] == pytest.approx(0, abs=1e-6)
    assert scores["w1_idle"] == pytest.approx(1)
    assert math.isnan(scores["w1_none"])
    assert scores["diverged"] == 0
    without = di.Snapshots(times=OBSERVED.times, samples=OBSERVED.samples)
    assert math.isnan(score_arrival(without, run_of(0.5, 0.0), {}, **OPTIONS)["mass_observed"])


def test_a_mass_beyond_double_precision_is_refused_with_its_exponent():
    with pytest.raises(ValueError, match=r"mass grows by e\^800 from time 0 to 2"):
        score_arrival(OBSERVED, run_of(0.5, 400.0), {}, **OPTIONS)


@pytest.mark.filterwarnings("ignore:.*diverged:RuntimeWarning", "ignore:.*do not exist")
def test_paths_that_diverged_are_counted_and_left_out():
    # x' = x² ends at time 1 / x, which is 2.2 for the sixth cell and 1.83 for the seventh.
    explosion = di.Diffusion(drift=lambda t, x: x**2)
    run = di.simulate(explosion, CELLS, [0.0, 1.0, 2.0])
    scores = score_arrival(OBSERVED, run, {}, **OPTIONS)
    assert scores["diverged"] == 6
    assert scores["n_x"] == 6
    lost = di.simulate(explosion, CELLS + 1, [0.0, 2.0])
    with pytest.raises(ValueError, match="all 12 paths from time 0 diverged before time 2"):
        score_arrival(OBSERVED, lost, {}, **OPTIONS)


def test_the_first_time_is_no_arrival():
    assert arrivals(OBSERVED, None) == [1, 2]
    assert arrivals(OBSERVED, [2.0, 1.0]) == [2, 1]
    with pytest.raises(ValueError, match="time 0 is the first of the data"):
        arrivals(OBSERVED, [0.0, 1.0])

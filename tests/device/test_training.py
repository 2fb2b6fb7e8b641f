"""No training step waits for the device, or makes a tensor on the host."""

from __future__ import annotations

import pytest
from device.cases import FITS
from device.measure import fit_steps
from device.pretend import TRAFFIC

# Launches of a step, a tenth more than were counted: what grows beyond was added without a thought.
MOST_LAUNCHES = {
    "ActionMatching": 210,
    "ActionMatching, noise": 350,
    "ActionMatching, growth": 240,
    "ActionMatching, conditions": 210,
    "WassersteinLagrangianFlow": 570,
    "WassersteinLagrangianFlow, bridge": 940,
    "WassersteinLagrangianFlow, growth": 740,
    "WassersteinLagrangianFlow, energy": 640,
    "StochasticInterpolant": 160,
    "StochasticInterpolant, score": 200,
    "StochasticInterpolant, linear part": 185,
    "StochasticInterpolant, conditions": 200,
    # A third is the recurrent encoder, counted time by time; a quarter the 8 steps in time.
    "FractionalSDE, networks": 2830,
    "FractionalSDE, networks in windows": 2560,
    "FractionalSDE, noise of the state": 4260,
    "FractionalSDE, latent state": 2730,
}


# Each costs several seconds, and walks where another has walked.
SLOW = {"FractionalSDE, noise of the state", "FractionalSDE, latent state"}
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in FITS]


@pytest.mark.parametrize("name", NAMES)
def test_no_training_step_leaves_the_device(name):
    for step in fit_steps(*FITS[name]):
        assert not step.total(*TRAFFIC), step.places(*TRAFFIC)
        assert 100 < step.total("launch") <= MOST_LAUNCHES[name]

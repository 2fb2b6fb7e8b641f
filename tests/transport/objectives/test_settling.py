"""The total mass of a run from the first snapshot is the given one, whatever the network says."""

import numpy as np
import pytest
import torch

import dyninfer as di


@pytest.mark.parametrize("sigma", [0.0, 0.3])
@pytest.mark.parametrize("masses", [None, [1.0, 5.0, 2.0]])
def test_a_network_that_has_learned_nothing_keeps_the_total(sigma, masses):
    rng = np.random.default_rng(0)
    data = di.Snapshots(
        times=[0, 1, 4], samples=[rng.normal(k, 1, (400, 2)) for k in range(3)], masses=masses
    )
    model = di.ActionMatching(growth_penalty=3.0, sigma=sigma, width=16, depth=2)
    model.fit(data, max_steps=2, progress=False)
    with torch.no_grad():
        model.process_.inner.network.output.weight.mul_(4.0)
    objective = model.make_objective(model.process_, data, model.scaling_, 0)
    objective.settle()
    times = np.array([0.0, 1.0, 4.0])
    run = model.simulate(data.at(0.0), times, seed=3)
    spread = float(run.log_weights[:, -1].std())
    assert spread > 0.1
    known = np.log(masses or [1.0, 1.0, 1.0])
    # Other noise than that of the settling run gives other mean weights.
    error = 0.01 if not sigma else 4 * spread * (2 / 400) ** 0.5
    np.testing.assert_allclose(run.log_mass, known, atol=error)

"""The total mass of a run from the first snapshot is the given one, whatever the network says."""

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.simulation import simulate


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
    times = np.linspace(0, 4, 9)
    run = model.simulate(data.at(0.0), times, seed=3)
    spread = float(run.log_weights[:, -1].std())
    assert spread > 0.1
    known = np.interp(times, [0, 1, 4], np.log(masses or [1.0, 1.0, 1.0]))
    # Other noise than that of the settling run gives other mean weights.
    error = 0.01 if not sigma else 4 * spread * (2 / 400) ** 0.5
    np.testing.assert_allclose(run.log_mass, known, atol=error)


def test_the_mean_over_paths_is_that_of_a_rate_whose_law_is_known():
    # Cells of a unit normal that do not move grow at a rate a x: the mean at time t is a² t.
    rate = 0.7
    process = di.Diffusion(
        drift=lambda t, x: torch.zeros_like(x), growth=lambda t, x: rate * x[:, 0]
    )
    n = 200_000
    x = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(n) + 0.5) / n)
    run = simulate(process, x[:, None], [0.0, 0.5, 1.0])
    share = run.log_weights.softmax(0)
    mean = (share * rate * x[:, None]).sum(0)
    np.testing.assert_allclose(mean, rate**2 * np.array([0.0, 0.5, 1.0]), atol=2e-3)

"""What is set elsewhere in a program changes no fit, and a fit changes none of it."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import dyninfer as di

METHODS = {
    "action": lambda **settings: di.ActionMatching(sigma=0.5, growth_penalty=0.3, **settings),
    "flow": lambda **settings: di.WassersteinLagrangianFlow(
        lagrangian=di.SchrodingerBridge(0.5), curve_fraction=0.6, **settings
    ),
    "interpolant": di.StochasticInterpolant,
    "bridge": lambda **settings: di.StochasticInterpolant(bridge_sigma=0.5, **settings),
}


@pytest.fixture(scope="module")
def snapshots():
    rng = np.random.default_rng(0)
    samples = [rng.normal(day, 1, (40, 2)).astype(np.float32) for day in range(3)]
    return di.Snapshots(times=[0, 1, 2], samples=samples)


def weights(snapshots, method, seed=0):
    training = di.Training(max_steps=5, batch_size=16, validate_every=2)
    model = METHODS[method](width=16, depth=2, training=training)
    model.fit(snapshots, seed=seed, progress=False)
    return torch.cat([value.double().flatten() for value in model.process_.state_dict().values()])


@pytest.fixture
def in_double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("method", METHODS)
def test_a_default_dtype_changes_no_weight(snapshots, method, in_double):
    double = weights(snapshots, method)
    torch.set_default_dtype(torch.float32)
    assert torch.equal(weights(snapshots, method), double)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_gradients_that_are_switched_off_around_a_fit_change_no_weight(snapshots, method, mode):
    with mode():
        without = weights(snapshots, method)
        assert not torch.is_grad_enabled()
    assert torch.equal(weights(snapshots, method), without.clone())


def test_thirty_six_fits_in_four_threads_give_the_weights_of_fits_alone(snapshots):
    alone = [weights(snapshots, "action", seed) for seed in range(4)]
    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        runs = pool.map(lambda k: weights(snapshots, "action", k % 4), range(36))
        same = [torch.equal(run, alone[k % 4]) for k, run in enumerate(runs)]
    assert all(same)
    assert torch.equal(torch.get_rng_state(), state)

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


@pytest.fixture
def elsewhere():
    """A default device that holds no numbers stands for a GPU, which not every machine has."""
    torch.set_default_device("meta")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield
    torch.set_default_device(None)


@pytest.mark.parametrize("method", METHODS)
def test_a_default_device_and_automatic_precision_change_no_result(snapshots, method, request):
    adata = snapshots.to_anndata()

    def results():
        model = METHODS[method](width=16, depth=2)
        model.fit(adata, time_key="time", max_steps=5, progress=False)
        run = model.simulate(adata, [0, 1, 2], seed=1)
        scores = model.evaluate(adata).drop(columns=["held_out", "in_sample"])
        model.annotate(adata)
        velocity = adata.obsm["dyninfer_velocity"]
        return run.states.numpy(), scores.to_numpy(float), velocity

    expected = results()
    request.getfixturevalue("elsewhere")
    for ours, theirs in zip(results(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert torch.get_default_device().type == "meta"
    assert torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(
    "model",
    [
        di.MarkovJumpInference(observation="exact"),
        di.MarkovJumpInference(observation=di.Gaussian(2)),
        di.FractionalSDE(noise=di.FractionalNoise(n_nodes=2)),
    ],
    ids=str,
)
def test_a_default_device_and_automatic_precision_change_no_result_of_paths(model, request):
    gate = di.MarkovJump([[-1.0, 1.0], [3.0, -3.0]])
    run = di.simulate(gate, None, 0.3 * np.arange(20), n_paths=8, seed=0)
    states = run.states.numpy()
    if getattr(model, "observation", None) != "exact":
        states = states + 0.3 * np.random.default_rng(0).normal(size=states.shape)
    paths = di.Paths(times=[run.times] * 8, states=list(states))

    def results():
        model.fit(paths, max_steps=5, progress=False)
        states = model.simulate(paths, [0.0, 1.0, 3.0], seed=1).states
        scores = model.evaluate(paths, n_samples=4).select_dtypes("number")
        return states.double().numpy(), scores.to_numpy(float)

    expected = results()
    request.getfixturevalue("elsewhere")
    for ours, theirs in zip(results(), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_thirty_six_fits_in_four_threads_give_the_weights_of_fits_alone(snapshots):
    alone = [weights(snapshots, "action", seed) for seed in range(4)]
    state = torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        runs = pool.map(lambda k: weights(snapshots, "action", k % 4), range(36))
        same = [torch.equal(run, alone[k % 4]) for k, run in enumerate(runs)]
    assert all(same)
    assert torch.equal(torch.get_rng_state(), state)

"""A fitted model answers on the device that it is told, as it does on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from device.cases import tracks, visits
from device.pretend import pretend_gpu

import dyninfer as di

LATER = [3.4, 4.0, 5.0]
NODES = di.FractionalNoise(n_nodes=5)


def panel():
    return di.MarkovJumpInference(observation="exact")


def hidden():
    return di.MarkovJumpInference(prior_width=None)


def linear():
    return di.FractionalSDE(noise=NODES)


def blurred():
    return di.FractionalSDE(
        drift="constant", noise=NODES, observation_noise=di.Localisation(exposure=0.05)
    )


def networks():
    return di.FractionalSDE(
        drift="network",
        noise=NODES,
        inference=di.Variational(training=di.Training(device="cpu", batch_size=8)),
    )


def fitted(method):
    if method in (panel, hidden):
        return method().fit(visits(), progress=False)
    return method().fit(tracks(), progress=False, max_steps=3)


def states(run):
    return run.states.cpu().numpy()


def numbers(table):
    return table.select_dtypes("number").to_numpy()


# Of every model of paths.
QUESTIONS = {
    "likelihood": lambda model, data: model.log_likelihoods(data),
    "simulate": lambda model, data: states(model.simulate(None, LATER, n_paths=5)),
    "simulate from data": lambda model, data: states(model.simulate(data, [3.3, *LATER])),
    "forecast": lambda model, data: states(model.forecast(data, LATER, n_samples=2)),
}
OF_JUMPS = {
    "states": lambda model, data: numbers(model.posterior_states(data)),
    "derived": lambda model, data: numbers(model.derived(n_samples=20)),
    "processes": lambda model, data: model.sample_processes(3).stationary().cpu().numpy(),
    "table": lambda model, data: numbers(di.tl.sojourn_times(model, n_samples=20)),
    "intervals": lambda model, data: numbers(model.confidence_intervals()),
}
OF_NOISE = {
    "posterior": lambda model, data: states(model.posterior(data).draw(n_samples=2)),
    "index": lambda model, data: np.array(model.hurst_),
    "noise": lambda model, data: model.observation_noise_,
}
CASES = [
    (panel, visits, OF_JUMPS),
    (hidden, visits, OF_JUMPS),
    (linear, tracks, OF_NOISE),
    (blurred, tracks, OF_NOISE),
    (networks, tracks, OF_NOISE),
]


def place(model):
    return next(iter(model.process_.state_dict().values())).device.type


@pytest.mark.parametrize(("method", "make_data", "own"), CASES, ids=[c[0].__name__ for c in CASES])
def test_a_loaded_model_answers_on_its_device_as_on_the_cpu(tmp_path, method, make_data, own):
    data = make_data()
    questions = QUESTIONS | own
    if make_data is tracks:
        # The last of their times is earlier.
        questions.pop("simulate from data")
    model = fitted(method)
    path = model.save(tmp_path / "model.safetensors")
    expected = {name: ask(model, data) for name, ask in questions.items()}
    with pretend_gpu() as counts:
        there = di.load(path, device="cuda")
        assert place(there) == "cuda"
        counts.clear()
        answers = {name: ask(there, data) for name, ask in questions.items()}
        assert counts.total("launch") > 100
        assert not counts.total("mixture"), counts.places("mixture")
        assert place(there.to("cpu")) == "cpu"
        counts.clear()
        back = there.log_likelihoods(data)
        assert not counts.total("launch")
    for name, answer in answers.items():
        np.testing.assert_allclose(answer, expected[name], rtol=1e-9, err_msg=name)
    np.testing.assert_array_equal(back, expected["likelihood"])


def test_an_exact_fit_runs_where_it_is_told_to_the_same_model():
    data = tracks()
    expected = fitted(linear)
    with pretend_gpu() as counts:
        inference = di.Exact(device="cuda")
        model = di.FractionalSDE(noise=NODES, inference=inference)
        model.fit(data, progress=False, max_steps=3)
        assert counts.total("launch") > 1000
        assert not counts.total("mixture"), counts.places("mixture")
        assert place(model) == "cuda"
    for name, value in expected.model_.state_dict().items():
        assert torch.equal(model.model_.state_dict()[name], value)


@pytest.mark.parametrize("method", [panel, linear])
def test_a_device_without_double_precision_is_refused_by_name(tmp_path, method):
    model = fitted(method)
    path = model.save(tmp_path / "model.safetensors")
    for move in (model.to, lambda device: di.load(path, device=device)):
        with pytest.raises(ValueError, match="device 'mps' has no double precision"):
            move("mps")
    if method is linear:
        with pytest.raises(ValueError, match="device 'mps' has no double precision"):
            di.FractionalSDE(inference=di.Exact(device="mps")).fit(tracks())

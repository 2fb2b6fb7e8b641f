"""Ctrl-C in a fit without a training loop keeps what was reached; a fit that fails keeps the old."""

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.fractional.inference import maximum
from dyninfer.jumps.posterior import ascent, refine
from dyninfer.learning.interruption import ends_on_interrupt, watched


def labels():
    rng = np.random.default_rng(0)
    states = [np.cumsum(rng.random(15) < 0.3) % 2 for _ in range(10)]
    return di.Paths(times=[np.arange(15.0)] * 10, states=states)


def numbers():
    rng = np.random.default_rng(0)
    states = [rng.normal(size=(12, 1)).cumsum(0) for _ in range(4)]
    return di.Paths(times=[np.linspace(0, 1, 12)] * 4, states=states)


def interrupt_at(monkeypatch, place, name, call):
    """Press Ctrl-C at a call of a function."""
    function, calls = getattr(place, name), []

    def pressed(*args):
        calls.append(1)
        if len(calls) == call:
            raise KeyboardInterrupt
        return function(*args)

    monkeypatch.setattr(place, name, pressed)


def test_an_interrupt_ends_the_loop_where_somebody_watches_and_goes_on_elsewhere():
    with watched() as interruption, ends_on_interrupt():
        raise KeyboardInterrupt
    assert interruption.happened
    with pytest.raises(KeyboardInterrupt), ends_on_interrupt():
        raise KeyboardInterrupt


def test_an_interrupt_of_the_posterior_draws_keeps_the_maximum(monkeypatch):
    whole = di.MarkovJumpInference().fit(labels(), progress=False)
    assert whole.posterior_.kind == "importance sampling"
    interrupt_at(monkeypatch, refine, "weighted_draws", 1)
    model = di.MarkovJumpInference().fit(labels(), progress=False)
    assert model.status_ == "interrupted"
    assert (model.posterior_.kind, model.ess_) == ("Laplace", None)
    np.testing.assert_array_equal(model.generator_, whole.generator_)
    assert np.isfinite(model.confidence_intervals()["high"]).all()


def test_an_interrupted_jump_fit_keeps_the_rates_so_far(monkeypatch, tmp_path):
    settings = {"jumps": di.BirthDeath()}
    whole = di.MarkovJumpInference(**settings).fit(labels(), progress=False)
    interrupt_at(monkeypatch, ascent, "_search", 3)
    model = di.MarkovJumpInference(**settings)
    model.fit(labels(), progress=False, checkpoint=tmp_path / "run")
    assert model.status_ == "interrupted"
    assert model.log_likelihoods(labels()).sum() <= whole.log_likelihoods(labels()).sum() + 1e-6
    assert torch.isfinite(model.process_.generator).all()
    again = di.load(model.save(tmp_path / "model"))
    assert again.status_ == "interrupted"
    # The interrupted result in the checkpoint is not taken for a whole one.
    monkeypatch.undo()
    model.fit(labels(), progress=False, checkpoint=tmp_path / "run", resume=True)
    assert torch.equal(model.process_.generator, whole.process_.generator)


def test_an_interrupted_exact_fit_keeps_the_last_whole_step(monkeypatch):
    interrupt_at(monkeypatch, maximum.ExactObjective, "__call__", 6)
    model = di.FractionalSDE().fit(numbers(), progress=False)
    assert model.status_ == "interrupted"
    assert np.isfinite(model.log_likelihoods(numbers())).all()
    last = model.history_["log_likelihood"].iloc[-1]
    assert model.simulate(None, [0, 1], n_paths=2).status.sum() == 0
    assert np.isfinite(last)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_a_refit_that_fails_leaves_the_old_model_whole(monkeypatch, error):
    model = di.MarkovJumpInference(jumps=di.BirthDeath()).fit(labels(), progress=False)
    before = dict(vars(model))

    def fails(*_):
        raise error

    monkeypatch.setattr(di.MarkovJumpInference, "build", fails)
    with pytest.raises(error):
        model.fit(labels(), progress=False)
    assert vars(model) == before
    assert model.simulate(None, [0, 1], n_paths=2).n_paths == 2

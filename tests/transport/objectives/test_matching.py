"""The quadratic losses of interpolants."""

import numpy as np
import torch

import dyninfer as di


def test_half_precision_trains():
    rng = np.random.default_rng(0)
    data = di.Snapshots(times=[0, 1], samples=[rng.normal(k, 1, (60, 2)) for k in range(2)])
    training = di.Training(precision="bfloat16", max_steps=3)
    model = di.StochasticInterpolant(width=8, depth=1, training=training).fit(data, progress=False)
    assert model.status_ == "finished"
    assert model.history_["loss"].notna().all()


def test_masses_that_do_not_change_teach_a_growth_of_zero():
    rng = np.random.default_rng(0)
    samples = [rng.normal(k, 1, (60, 2)) for k in range(2)]
    data = di.Snapshots(times=[0, 1], samples=samples, masses=[3.0, 3.0])
    training = di.Training(max_steps=150, validation_fraction=0.0, learning_rate=1e-2)
    model = di.StochasticInterpolant(width=16, depth=2, training=training)
    model.fit(data, progress=False)
    growth = model.process_.growth(0.5, torch.as_tensor(samples[0]))
    assert float(growth.abs().mean()) < 0.05

"""Training on the predicted steps of the solver."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.learning.objective import Objective
from dyninfer.learning.training import loop, train
from dyninfer.learning.training.effort import steps_to_run

PENALTY = 0.1


def cells(**columns):
    rng = np.random.default_rng(0)
    samples = [
        rng.normal(0, 1, (100, 2)),
        rng.choice([-3, 3], (100, 2)) + rng.normal(size=(100, 2)),
    ]
    return di.Snapshots(times=[0, 1], samples=samples, **columns)


def fitted(method, penalty, *, data=None, n_steps=60, **settings):
    training = di.Training(
        max_steps=n_steps, batch_size=128, solver_penalty=penalty, learning_rate=1e-2
    )
    model = method(training=training, width=16, depth=2, coupling="independent", **settings)
    return model.fit(data or cells(), progress=False)


METHODS = [di.StochasticInterpolant, di.ActionMatching, di.WassersteinLagrangianFlow]


@pytest.mark.parametrize("method", METHODS)
def test_a_flow_with_a_penalty_takes_fewer_evaluations(method):
    free = fitted(method, 0.0)
    bound = fitted(method, PENALTY)
    assert "predicted_steps" not in free.history_
    assert (bound.history_["predicted_steps"].dropna() > 0).all()
    start = cells().samples[0]
    effort_of = [model.simulate(start, [0, 1]).attrs["evaluations"] for model in (free, bound)]
    assert effort_of[1] < effort_of[0]


def test_without_a_penalty_nothing_is_predicted(monkeypatch):
    def never(*_):
        raise AssertionError

    monkeypatch.setattr(loop, "steps_to_run", never)
    fitted(di.StochasticInterpolant, 0.0, n_steps=2)


def test_conditions_and_growth_go_along_and_a_file_keeps_the_penalty(tmp_path, monkeypatch):
    labels = np.repeat(["a", "b"], 50)
    data = cells(conditions=(labels, labels), masses=[1.0, 2.0])
    # The total mass is settled by runs, which would take longer than the fit.
    monkeypatch.setattr("dyninfer.transport.objectives.action.settle_total_mass", lambda *_: None)
    model = fitted(di.ActionMatching, PENALTY, data=data, n_steps=3, growth_penalty=0.5)
    path = model.save(tmp_path / "model.safetensors")
    assert di.load(path).training_.solver_penalty == PENALTY


def test_what_has_no_flow_refuses_a_penalty():
    training = di.Training(solver_penalty=PENALTY)
    bridge = di.SchrodingerBridge(0.3)
    refused = r"training.solver_penalty .* leave it at 0"
    for model in (
        di.ActionMatching(sigma=0.3, training=training),
        di.WassersteinLagrangianFlow(lagrangian=bridge, training=training),
        di.StochasticInterpolant(bridge_sigma=0.5, training=training),
    ):
        with pytest.raises(ValueError, match=refused):
            model.fit(cells(), max_steps=1, progress=False)
    # As every objective that says nothing of it, those of paths among them.
    with pytest.raises(ValueError, match=refused):
        train(torch.nn.Linear(1, 1), Silent(), training, progress=False)


class Numbers(NamedTuple):
    x: torch.Tensor
    nothing: None = None


class Silent(Objective):
    """Has no flow."""

    def batch(self, n, generator):
        return Numbers(torch.arange(n).float())

    def loss(self, process, batch):
        return {"loss": process(batch.x[:, None])[:, 0]}


class Counting(Silent):
    """Predicts the number of a sample."""

    def effort(self, process, batch):
        return batch.x


@pytest.mark.parametrize("n", [50, 128, 300])
def test_processes_share_the_samples_that_one_would_look_at(n, monkeypatch):
    objective = Counting()
    batch = objective.batch(n, None)
    alone = steps_to_run(objective, None, batch)
    monkeypatch.setattr("dyninfer.learning.parallel.world", lambda: 3)
    shares = []
    for number in range(3):
        monkeypatch.setattr("dyninfer.learning.parallel.rank", lambda number=number: number)
        shares.append(steps_to_run(objective, None, batch))
    assert float(sum(shares) / 3) == pytest.approx(float(alone))

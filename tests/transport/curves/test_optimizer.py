"""The curve's side of the game: the right gradient, a guard that answers, and runs that can be resumed."""

import logging

import numpy as np
import pytest
import torch
from oracles import GaussianFlow, relative_error

import dyninfer as di
from dyninfer.estimators.lagrangian_flow import WassersteinLagrangianFlow
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.lagrangians import (
    OptimalTransport,
    PhysicalPotential,
    SchrodingerBridge,
    UnbalancedTransport,
)
from dyninfer.transport.objectives import DualObjective

F64 = torch.float64
LAGRANGIANS = {
    "transport": OptimalTransport(),
    "bridge": SchrodingerBridge(0.6),
    "free": UnbalancedTransport(1.5),
    "constrained": UnbalancedTransport(1.5, mass="constrained"),
    "all": UnbalancedTransport(1.5)
    + SchrodingerBridge(0.6)
    + PhysicalPotential(lambda t, x: (1 + t) * x.square().sum(1)),
}
GAUSSIANS = GaussianFlow(
    torch.zeros(2),
    torch.tensor([2.0, 0.0]),
    torch.tensor([[1.0, 0.3], [0.3, 0.6]]),
    torch.tensor([[0.25, -0.1], [-0.1, 0.5]]),
)


def objective_of(lagrangian, monkeypatch, **settings):
    """An objective in the middle of its game, with a curve and a potential that are far from simple."""
    monkeypatch.setattr(DualObjective, "warm_steps", 0)
    rng = np.random.default_rng(0)
    samples = [rng.normal(k, 1 + 0.3 * k, (40, 2)) for k in range(3)]
    data = di.Snapshots(times=[0, 1, 3], samples=samples)
    model = WassersteinLagrangianFlow(
        lagrangian=lagrangian, width=16, depth=2, curve_width=16, curve_fraction=0.6, **settings
    )
    model.training_ = di.Training(max_steps=1000, validation_fraction=0, precision="float64")
    scaling = Scaling.from_samples(data.times, samples)
    model.facts_ = model.facts(data)
    torch.manual_seed(1)
    process = model.build(data, scaling).double()
    objective = model.make_objective(process, data, scaling, 0)
    with torch.no_grad():
        for p in process.inner.network.parameters():
            p.mul_(2.0)
        objective.curve.output.weight.normal_(std=0.3)
    objective.opponent.steps = objective.opponent.alone
    assert objective.opponent.moves
    return objective, process


@pytest.mark.parametrize("name", LAGRANGIANS)
@pytest.mark.parametrize("damping", [0.0, 0.5, 1.0])
def test_the_gradient_of_the_curve_is_that_of_the_residual_and_the_pairs_own_action(
    name, damping, monkeypatch
):
    objective, process = objective_of(LAGRANGIANS[name], monkeypatch, damping=damping)
    curve, opponent = objective.curve, objective.opponent
    batch = objective.batch(256, torch.Generator().manual_seed(0))
    level = opponent.mass_price(batch.time)
    objective.loss(process, batch)["loss"].mean().backward()
    found = torch.cat([p.grad.reshape(-1) for p in opponent.parameters])

    def descended():
        """What the curve must descend: ``r`` of its action less ``1 − r`` of the mass's mean residual."""
        point = curve.point(batch)
        s = process.inner.network.derivatives(batch.time, point.state, objective._directions(batch))
        residual = s.time + objective.lagrangian.hamiltonian(batch.time, point.state, s) - level
        own = curve.pair_action(batch)
        return float((damping * own - (1 - damping) * point.weight * residual).mean())

    generator = torch.Generator().manual_seed(5)
    for _ in range(3):
        direction = torch.randn(len(found), generator=generator, dtype=F64)
        values, h = [], 1e-5
        for sign in (1, -1):
            torch.nn.utils.vector_to_parameters(
                torch.nn.utils.parameters_to_vector(opponent.parameters) + sign * h * direction,
                opponent.parameters,
            )
            with torch.no_grad():
                values.append(descended())
            torch.nn.utils.vector_to_parameters(
                torch.nn.utils.parameters_to_vector(opponent.parameters) - sign * h * direction,
                opponent.parameters,
            )
        if name == "constrained" and damping > 0:  # its mass is not the action's to choose
            return
        assert float(found @ direction) == pytest.approx(
            (values[0] - values[1]) / (2 * h), rel=1e-5, abs=1e-7
        )
    assert float(found.norm()) > 1e-3


def test_the_curve_adds_nothing_to_the_value_of_the_loss_or_to_the_potentials_gradient(monkeypatch):
    objective, process = objective_of(LAGRANGIANS["all"], monkeypatch)
    batch = objective.batch(256, torch.Generator().manual_seed(0))
    results = []
    for steps in (objective.opponent.alone, objective.opponent.last):  # in the game, and after it
        objective.opponent.steps = steps
        loss = objective.loss(process, batch)["loss"].mean()
        results.append(
            (loss.detach(), torch.autograd.grad(loss, list(process.inner.network.parameters())))
        )
    torch.testing.assert_close(results[0], results[1])


def test_refinement_moves_no_sample_at_a_snapshot(monkeypatch):
    objective, process = objective_of(
        OptimalTransport(), monkeypatch, refinement_steps=3, refinement_size=0.5
    )
    objective.opponent.steps = objective.opponent.last
    seen = []
    terms = DualObjective._terms
    monkeypatch.setattr(
        DualObjective, "_terms", lambda self, *a: (seen.append(a[-1].state), terms(self, *a))[1]
    )
    times = torch.tensor([0.0, 1 / 3, 1.0, 0.1, 0.6], dtype=F64).repeat_interleave(20)
    batch = objective.batch(len(times), torch.Generator().manual_seed(0))._replace(time=times)
    samples = objective.curve.samples
    batch = batch._replace(
        pairs=samples.draw(samples.interval(times), torch.Generator().manual_seed(0))
    )
    objective.loss(process, batch)
    moved = (
        (seen[0] - objective.curve.point(batch).state.detach()).norm(dim=1).reshape(5, 20).amax(1)
    )
    assert float(moved[:3].max()) < 1e-12
    assert float(moved[3:].min()) > 1e-3


def test_the_curve_moves_between_its_first_and_last_step_only(monkeypatch):
    objective, _ = objective_of(SchrodingerBridge(0.6), monkeypatch)
    opponent = objective.opponent
    moving = []
    for opponent.steps in range(1000):
        if opponent.moves:
            moving.append(opponent.steps)
    assert (moving[0], moving[-1]) == (200, 596)
    assert set(np.diff(moving)) == {DualObjective.noisy_every}


# --- whole games ---


def gaussian_error(model):
    """Squared error of the drift against optimal transport, over times."""
    total = 0.0
    for t in (0.1, 0.5, 0.9):
        x = (
            GAUSSIANS.mean(t)
            + torch.randn(2000, 2, generator=torch.Generator().manual_seed(3))
            @ torch.linalg.cholesky(GAUSSIANS.covariance(t)).T
        )
        total += relative_error(model.process_.drift(t, x), GAUSSIANS.drift(t, x)) / 3
    return total


def game(steps=600, **settings):
    training = di.Training(
        max_steps=steps, patience=None, validation_fraction=0, checkpoint_every=100
    )
    return WassersteinLagrangianFlow(
        **({"width": 32, "curve_width": 32, "scale": None, "training": training} | settings)
    )


def test_a_runaway_is_put_back_and_what_returns_is_the_transport_of_a_curve_that_stood_still(
    caplog,
):
    data = di.Snapshots(times=[0, 1], samples=GAUSSIANS.samples(1000))
    with caplog.at_level(logging.WARNING, "dyninfer"):
        wild = game(900, curve_fraction=0.6, curve_learning_rate=1.0, damping=0.0).fit(
            data, progress=False
        )
    still = game(900, curve_fraction=0.0).fit(data, progress=False)
    assert wild.report().attrs["runaways"] >= 1
    assert "the density curve ran away" in caplog.text
    # Relative to the squared drift; what had run away was off by many times the drift itself.
    assert gaussian_error(still) < 0.005
    assert gaussian_error(wild) < 0.01


class Stop:
    """Objective's ``batch`` that is interrupted at one step."""

    def __init__(self, monkeypatch, step):
        self.step, self.calls, original = step, 0, DualObjective.batch

        def batch(objective, n, generator):
            self.calls += 1
            if self.calls == self.step:
                raise KeyboardInterrupt
            return original(objective, n, generator)

        monkeypatch.setattr(DualObjective, "batch", batch)


@pytest.mark.parametrize("name", ["constrained", "all"])
def test_a_fit_resumed_in_the_middle_of_the_game_equals_an_uninterrupted_one_to_the_last_bit(
    name, tmp_path, monkeypatch
):
    monkeypatch.setattr(DualObjective, "alone", 60)
    monkeypatch.setattr(DualObjective, "warm_steps", 20)
    data = di.Snapshots(times=[0, 1], samples=GAUSSIANS.samples(60))
    make = {"lagrangian": LAGRANGIANS[name], "curve_fraction": 0.8, "width": 16, "curve_width": 16}
    whole = game(200, **make).fit(data, progress=False)
    file = tmp_path / "run.pt"
    with monkeypatch.context() as patch:
        Stop(patch, 130)
        broken = game(200, **make).fit(data, progress=False, checkpoint=file)
    assert broken.status_ == "interrupted"
    assert np.isfinite(broken.report()["speed"]).all()
    assert bool(broken.simulate(data, [0.0, 1.0]).states.isfinite().all())
    resumed = game(200, **make).fit(data, progress=False, checkpoint=file, resume=True)
    for one, other in zip(whole.process_.parameters(), resumed.process_.parameters(), strict=True):
        assert torch.equal(one, other)
    columns = ["kinetic", "mass", "residual_std", "acceleration"]
    assert whole.report()[columns].equals(resumed.report()[columns])
    assert whole.report().attrs == resumed.report().attrs
    assert not whole.report()[columns].equals(broken.report()[columns])

"""Conditions in the methods that learn a potential, against motions that are known.

Those of StochasticInterpolant stand in its own file.
"""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_estimator import StraightFlow

import dyninfer as di
from dyninfer.data.conditions import ConditionCode
from dyninfer.diffusions import PotentialDiffusion, ScaledDiffusion
from dyninfer.learning.networks import PotentialNetwork
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import CoupledSamples, OTCoupling
from dyninfer.transport.curves import choose_curve
from dyninfer.transport.curves.learned import LearnedCurve, PairBatch
from dyninfer.transport.lagrangians import ScaledLagrangian
from dyninfer.transport.objectives import ActionObjective

SPREAD = 0.3
DOSES = {0: [0.0, 0.0], 1: [1.0, 0.0], 3: [3.0, 0.0], 4: [4.0, 0.0]}
# Effects of dose and line add up; "high+B" is left out.
LINES = {
    "low+A": [1.0, 0.0],
    "high+A": [2.0, 0.0],
    "low+B": [1.0, 1.5],
    "low+C": [1.0, -1.5],
    "high+C": [2.0, -1.5],
}


def families(moves, n=250, n_times=2):
    """Gaussians that move by a vector of their condition, and keep their shape."""
    rng = np.random.default_rng(0)
    times = np.linspace(0, 1, n_times)
    samples = []
    for time in times:
        groups = [SPREAD * rng.normal(size=(n, 2)) + time * np.array(m) for m in moves.values()]
        samples.append(np.concatenate(groups))
    labels = np.repeat(list(moves), n)
    return di.Snapshots(times=times, samples=samples, conditions=[labels] * n_times)


def learned(method, data, n=600, **settings):
    training = di.Training(max_steps=n, patience=None)
    model = method(width=48, training=training, **settings)
    return model.fit(data, progress=False)


def start(n=500):
    return SPREAD * np.random.default_rng(5).normal(size=(n, 2))


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (di.ActionMatching, {}),
        (di.ActionMatching, {"objective": "boundary"}),
        (di.WassersteinLagrangianFlow, {"lagrangian": di.SchrodingerBridge(0.2)}),
    ],
)
def test_each_dose_moves_its_own_way_and_one_never_seen_between_its_neighbours(method, settings):
    model = learned(method, families(DOSES), **settings)
    for dose in (0, 2, 4):
        run = model.simulate(start(), [0.0, 1.0], condition=dose)
        end = run.states[:, 1]
        expected = torch.tensor([dose, 0.0], dtype=torch.float64)
        torch.testing.assert_close(end.mean(0), expected, atol=0.15, rtol=0)
        # Optimal transport between equal shapes is a shift: each keeps its spread.
        assert float(end.std(0).mean()) == pytest.approx(SPREAD, rel=0.15)


def test_a_dose_and_a_line_that_never_met_are_added():
    model = learned(di.ActionMatching, families(LINES))
    end = model.simulate(start(), [0.0, 1.0], condition="high+B").states[:, 1].mean(0)
    expected = torch.tensor([2.0, 1.5], dtype=torch.float64)
    # A fit without conditions, and the nearest known ones, are 1 or more away.
    torch.testing.assert_close(end, expected, atol=0.5, rtol=0)
    with pytest.raises(ValueError, match="'D' was not in the data"):
        model.simulate(start(), [0.0, 1.0], condition="low+D")


def test_every_cell_has_its_own_condition_in_all_that_users_ask(tmp_path):
    data = families({"a": [0.0, 0.0], "b": [3.0, 0.0]}, n=150).to_anndata()
    training = di.Training(max_steps=300, patience=None)
    model = di.ActionMatching(width=32, training=training)
    model.fit(data, time_key="time", use_rep="X", condition_key="condition", progress=False)
    run = model.simulate(data, [0.0, 1.0])
    first = data.obs["time"] == 0.0
    is_b = (data.obs["condition"] == "b").to_numpy()
    moved = (run.states[:, 1] - run.states[:, 0])[:, 0].numpy()
    assert moved[is_b[first]].mean() == pytest.approx(3, abs=0.2)
    assert moved[~is_b[first]].mean() == pytest.approx(0, abs=0.2)
    again = di.load(model.save(tmp_path / "model.safetensors"))
    torch.testing.assert_close(again.simulate(data, [0.0, 1.0]).states, run.states, rtol=0, atol=0)
    model.annotate(data)
    velocity = data.obsm["dyninfer_velocity"][:, 0]
    assert velocity[first & is_b].mean() == pytest.approx(3, abs=0.3)
    assert "dyninfer_potential" in data.obs
    table = model.evaluate(data, metrics=("w1",))
    assert float(table["w1"].iloc[0]) < 0.5 < float(table["w1_still"].iloc[0])
    with pytest.raises(ValueError, match="name one"):
        model.simulate(np.zeros((3, 2)), [0.0, 1.0])
    with pytest.raises(ValueError, match="name one"):
        model.process_.potential(0.0, torch.zeros(3, 2))


def test_growth_under_conditions_reaches_the_masses_of_the_data():
    data = families({"a": [0.0, 0.0], "b": [1.0, 0.0]})
    data = replace(data, masses=[1.0, 2.0])
    model = learned(di.ActionMatching, data, n=300, growth_penalty=1.0)
    assert float(model.simulate(data, [0.0, 1.0]).mass[1]) == pytest.approx(2, rel=0.05)


def conditioned(data, **settings):
    scaling = Scaling.from_samples(data.times, list(data.samples), "global")
    code = ConditionCode.of(np.concatenate(data.conditions))
    network = PotentialNetwork(2, 16, 2, n_conditions=code.size).double()
    return ScaledDiffusion(PotentialDiffusion(network, code=code, **settings), scaling)


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_both_forms_of_the_action_are_one_number_under_conditions(interpolation):
    data = families({"a": [0.0, 0.0], "b": [1.0, 2.0]}, n_times=3)
    torch.manual_seed(0)
    process = conditioned(data)
    to = torch.device("cpu"), torch.float64
    code = process.inner.code
    curve = choose_curve(data, process.scaling, interpolation, OTCoupling(), 0, *to, code=code)
    means, errors = [], []
    for form in ("velocity", "boundary"):
        objective = ActionObjective(process, curve.folds(0.0, 0), form=form, adaptive_times=False)
        batch = objective.batch(40_000, torch.Generator().manual_seed(0))
        with torch.no_grad():
            action = objective.loss(process, batch)["loss"]
        means.append(float(action.mean()))
        errors.append(float(action.std()) / 200)
    assert means[0] == pytest.approx(means[1], abs=4 * sum(errors))
    # The conditions of every pair are those of its cells, which tell them apart at the end.
    late = batch.time > 0.9
    is_b = batch.code[late, 1] == 1
    high = batch.state[late, 1] > batch.state[late, 1].mean()
    assert float((is_b == high).double().mean()) > 0.98


def test_a_curve_that_plays_bends_each_condition_by_itself():
    data = families({"a": [0.0, 0.0], "b": [1.0, 0.0]}, n=50)
    process = conditioned(data)
    to = torch.device("cpu"), torch.float64
    samples = CoupledSamples(data, process.scaling, OTCoupling(), 0, *to, code=process.inner.code)
    torch.manual_seed(0)
    curve = LearnedCurve(samples, ScaledLagrangian(), 16)
    torch.nn.init.normal_(curve.output.weight)
    interval = torch.zeros(4, dtype=torch.long)
    pairs = samples.draw(interval, torch.Generator().manual_seed(0))
    swapped = pairs._replace(code=1 - pairs.code)
    half, one = torch.full((4,), 0.5).double(), torch.ones(4).double()
    own = curve.point(PairBatch(half, one, pairs, None, None)).state
    other = curve.point(PairBatch(half, one, swapped, None, None)).state
    assert float((own - other).abs().min().detach()) > 1e-4


def test_the_control_stands_in_for_what_has_no_start_of_its_own():
    rng = np.random.default_rng(0)
    samples = [SPREAD * rng.normal(size=(200, 2)), SPREAD * rng.normal(size=(400, 2))]
    samples[1][200:, 0] += 2
    labels = [["untreated"] * 200, np.repeat(["untreated", "drug"], 200)]
    data = di.Snapshots(times=[0, 1], samples=samples, conditions=labels)
    model = learned(di.ActionMatching, data, n=400, control="untreated")
    for name, shift in (("untreated", 0), ("drug", 2)):
        end = model.simulate(start(), [0.0, 1.0], condition=name).states[:, 1]
        assert float(end.mean(0)[0]) == pytest.approx(shift, abs=0.15)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (di.ActionMatching(interpolation="none"), "conditions, which ActionMatching would mix"),
        (di.ActionMatching(control="c"), "control='c' is not among the conditions"),
        (
            di.WassersteinLagrangianFlow(lagrangian=di.UnbalancedTransport(1.0, "constrained")),
            "conditions, which WassersteinLagrangianFlow would mix",
        ),
        (StraightFlow(), "conditions, which StraightFlow would mix"),
    ],
)
def test_what_cannot_tell_conditions_apart_refuses_them_by_name(model, message):
    data = families({"a": [0.0, 0.0], "b": [1.0, 0.0]}, n=20)
    with pytest.raises(ValueError, match=message):
        model.fit(data, max_steps=1, progress=False)


def test_a_control_without_conditions_is_refused():
    data = replace(families({"a": [0.0, 0.0]}, n=20), conditions=None)
    for method in (di.ActionMatching, di.WassersteinLagrangianFlow, di.StochasticInterpolant):
        with pytest.raises(ValueError, match="control='a' is a condition, and the data have none"):
            method(control="a").fit(data, max_steps=1, progress=False)
        plain = method(width=8).fit(data, max_steps=1, progress=False)
        with pytest.raises(ValueError, match="has no conditions"):
            plain.simulate(start(3), [0.0, 1.0], condition="a")


@pytest.mark.parametrize("method", [di.ActionMatching, di.StochasticInterpolant])
def test_growth_under_parts_that_never_met_is_warned_of_with_their_number(method):
    settings = {"growth_penalty": 1.0}
    if method is di.StochasticInterpolant:
        settings = {"coupling": "unbalanced"}
    data = families(LINES, n=30)
    model = method(width=8, **settings).fit(data, max_steps=2, progress=False)
    message = (
        r"condition 'high\+B' was not in the data: 1 pair of its parts never met \(B with high\)"
    )
    with pytest.warns(UserWarning, match=message):
        model.simulate(start(20), [0.0, 1.0], condition="high+B")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="condition .* was not in the data")
        model.simulate(start(20), [0.0, 1.0], condition="A+high")


def test_a_new_combination_is_told_from_parts_in_another_order():
    code = ConditionCode.of(["a+b", "b+c", "a+c", "d"])
    assert not code.is_new("b+a")
    assert code.is_new("a+b+c")
    assert code.strangers("a+b+c") == []
    assert code.strangers("d+a+b") == [("a", "d"), ("b", "d")]
    assert not ConditionCode.of([1.0, 2.0]).is_new("1.5")

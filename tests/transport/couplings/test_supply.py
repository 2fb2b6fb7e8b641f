"""Blocks that are solved while training goes on."""

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.data.conditions import ConditionCode
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.training import TrainingRun
from dyninfer.transport.couplings import (
    BlockCoupling,
    CoupledSamples,
    DensityRatio,
    GrowthFirstCoupling,
    IndependentCoupling,
    OTCoupling,
    UnbalancedOTCoupling,
)
from dyninfer.transport.couplings import stretches as plans_of_all
from dyninfer.transport.couplings import supply as module

SIZES = (600, 700, 800)
TIMES = (0.0, 1.0, 2.0)


@pytest.fixture(autouse=True)
def slow_pace(monkeypatch):
    """A block of 100 every two steps, whatever the work is worth."""
    coupling = OTCoupling(batch_size=100)
    monkeypatch.setattr(plans_of_all, "WORTH_STARTING", 0.0)
    monkeypatch.setattr(module, "PACE", 0.5 * coupling.seconds(100))


def snapshots(**extra):
    rng = np.random.default_rng(0)
    samples = [rng.normal(k, 1, (n, 2)) for k, n in enumerate(SIZES)]
    return di.Snapshots(times=TIMES, samples=samples, **extra)


def coupled(data, coupling=None, *, in_turn=True, **options):
    scaling = Scaling.from_samples(data.times, list(data.samples), None)
    coupling = coupling or OTCoupling(batch_size=100)
    place = (torch.device("cpu"), torch.float64)
    return CoupledSamples(data, scaling, coupling, 0, *place, in_turn=in_turn, **options)


def weights_of_pairs(samples, k, end):
    """What the pairs of an interval weigh at one of its ends, sample by sample."""
    pairs, mass = samples.pairs_in(k)
    first = sum(samples.counts[:k])
    rows = samples.rows[first : first + samples.counts[k], end]
    log_weight = pairs.log_end if end else pairs.log_start
    weights = np.zeros(sum(SIZES))
    np.add.at(weights, rows.numpy(), (mass * log_weight.exp()).numpy())
    begin = sum(SIZES[: k + end])
    return weights[begin : begin + SIZES[k + end]]


def weighted_data():
    rng = np.random.default_rng(1)
    return snapshots(weights=[rng.uniform(0.5, 2, n) for n in SIZES], masses=(1.0, 3.0, 2.0))


@pytest.mark.parametrize("held_out", [0.0, 0.2])
def test_all_blocks_together_reproduce_weights_and_masses_exactly(held_out):
    data = weighted_data()
    samples = coupled(data)
    samples.folds(held_out, seed=0)
    samples.reach(1000)
    relative = data.masses / data.masses.mean()
    for k in (0, 1):
        for end in (0, 1):
            expected = relative[k + end] * data.weights_at(TIMES[k + end])
            np.testing.assert_allclose(weights_of_pairs(samples, k, end), expected, atol=1e-15)


COUPLINGS = {
    "plain": OTCoupling(batch_size=100),
    "growth first": GrowthFirstCoupling(batch_size=100, axes=1),
    "growth first by odds": GrowthFirstCoupling(
        batch_size=100, weigh=DensityRatio(neighbors=20), axes=1
    ),
}


def pairs_of(samples):
    """Rows, mass and log-weights of all pairs, in an order of their own."""
    mass = torch.cat([samples.pairs_in(k)[1] for k in (0, 1)])
    first, last = samples.rows.T
    order = np.lexsort((samples.log_weights[:, 0], samples.condition, last, first))
    return samples.rows[order], mass[order], samples.log_weights[order]


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("plain", "conditions"),
        ("growth first", "growth"),
        ("growth first", "conditions"),
        ("growth first by odds", "nothing"),
    ],
)
def test_all_blocks_together_are_the_whole_plan(name, given):
    rng = np.random.default_rng(1)
    extra = {"weights": [rng.uniform(0.5, 2, n) for n in SIZES], "masses": (1.0, 3.0, 2.0)}
    options = {}
    if given == "growth":
        extra["growth"] = [rng.normal(size=n) for n in SIZES]
    if given == "conditions":
        extra["conditions"] = [np.where(np.arange(n) % 3, "a", "b") for n in SIZES]
        options["code"] = ConditionCode.of(["a", "b"])
    data = snapshots(**extra)
    in_turn = coupled(data, COUPLINGS[name], **options)
    in_turn.reach(10_000)
    whole = coupled(data, COUPLINGS[name], in_turn=False, **options)
    assert in_turn.supply is not None
    assert whole.supply is None
    for one, other in zip(pairs_of(in_turn), pairs_of(whole), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-15)


def test_no_more_is_solved_than_the_steps_pay_for_and_few_blocks_have_the_mean_of_all():
    data = snapshots()
    samples = coupled(data)
    assert samples.supply.n_solved == 0
    n_first = len(samples.rows)
    samples.reach(9)
    # Intervals of seven and eight blocks, whose sizes differ a little.
    assert samples.supply.n_solved == 4
    assert n_first < len(samples.rows) < 0.4 * sum(SIZES)
    for k in (0, 1):
        weights = weights_of_pairs(samples, k, 0)
        mean = weights @ data.samples[k]
        # Of 200 random samples, the mean is known to 0.07.
        assert np.abs(mean - data.samples[k].mean(0)).max() < 0.06
    # States of the others have not been asked for.
    assert samples.table.n_held == len(samples.rows.unique()) < 0.4 * sum(SIZES)
    samples.reach(9)
    assert samples.supply.n_solved == 4


def cells_in(samples, k):
    """Numbers of the cells that the pairs of an interval join."""
    first = sum(samples.counts[:k])
    return set(samples.rows[first : first + samples.counts[k]].ravel().tolist())


def test_what_is_held_out_is_in_no_block_that_is_learned_from_and_in_all_of_them_at_the_end():
    samples = coupled(snapshots())
    folds = samples.folds(0.2, seed=0)
    samples.reach(1000)
    for k in (0, 1):
        training = cells_in(folds.training, k)
        validation = cells_in(folds.validation, k)
        whole = cells_in(folds.whole, k)
        # Only a cell on the border is in both blocks: one on either side.
        assert len(training & validation) <= 2
        assert validation < whole
        assert len(whole) == SIZES[k] + SIZES[k + 1]
    # Half of a block of some hundred, of 7 and of 8 blocks.
    assert folds.share == pytest.approx(1 / 15)


def test_blocks_depend_on_the_step_and_the_seed_alone():
    one, other = coupled(weighted_data()), coupled(weighted_data())
    for samples in (one, other):
        samples.folds(0.1, seed=0)
    for step in range(8):
        one.reach(step)
    other.reach(7)
    for name in ("rows", "log_weights", "cumulative", "mass"):
        assert torch.equal(getattr(one, name), getattr(other, name))
    # Where the states are held depends on when they were read, and nothing else does.
    assert not torch.equal(one.places, other.places)
    for first, second in zip(one.first_snapshot(), other.first_snapshot(), strict=True):
        assert torch.equal(torch.as_tensor(first), torch.as_tensor(second))


def test_conditions_keep_their_shares_while_blocks_come_in():
    labels = [np.where(np.arange(n) % 4 == 0, "a", "b") for n in SIZES]
    code = ConditionCode.of(["a", "b"])
    samples = coupled(snapshots(conditions=labels), code=code)
    for step in (0, 3, 50):
        samples.reach(step)
        _, mass = samples.pairs_in(0)
        is_a = samples.condition[: samples.counts[0]] == 0
        assert float(mass[is_a].sum()) == pytest.approx(0.25, abs=1e-3)


class Shuffled(BlockCoupling):
    """A coupling of a user, whose plan is not made of blocks."""

    def solve(self, problem, rng):
        raise AssertionError("its own plan must be asked")

    def plan(self, x, y, a, b, seed):
        return IndependentCoupling().plan(x, y, a, b, seed)


class ShuffledToo(OTCoupling):
    solve = Shuffled.solve
    plan = Shuffled.plan
    plans = BlockCoupling.plans


class ShuffledGrowth(GrowthFirstCoupling):
    plan = Shuffled.plan
    plans = BlockCoupling.plans


@pytest.mark.parametrize("kind", [Shuffled, ShuffledToo, ShuffledGrowth])
def test_a_coupling_that_plans_in_its_own_way_is_asked_for_the_whole_plan(kind):
    samples = coupled(snapshots(), kind(batch_size=100))
    assert samples.supply is None
    partners = IndependentCoupling().pairs_per_sample
    assert len(samples.rows) >= partners * SIZES[0]


def test_workers_have_the_whole_plan_to_share():
    assert not OTCoupling(workers=2).one_by_one
    assert OTCoupling(workers=1).one_by_one
    assert OTCoupling().one_by_one
    assert GrowthFirstCoupling().one_by_one


@pytest.mark.parametrize("worth", [0.0, np.inf])
def test_a_condition_without_pairs_is_named_once(worth, monkeypatch):
    monkeypatch.setattr(plans_of_all, "WORTH_STARTING", worth)
    labels = [np.full(n, "a", dtype=object) for n in SIZES]
    labels[1][:50] = "lonely"
    code = ConditionCode.of(["a", "lonely"])
    with pytest.warns(UserWarning, match="lonely") as warnings:
        coupled(snapshots(conditions=labels), code=code)
    messages = [str(warning.message) for warning in warnings]
    assert sum("'lonely' has samples at no two neighbouring" in text for text in messages) == 1


METHODS = {
    "interpolant": di.StochasticInterpolant(coupling=OTCoupling(batch_size=100), width=16),
    "growth": di.ActionMatching(
        growth_penalty=1.0, coupling=UnbalancedOTCoupling(batch_size=100), width=16
    ),
    "growth first": di.ActionMatching(
        growth_penalty=1.0, coupling=GrowthFirstCoupling(batch_size=100), width=16
    ),
    "flow": di.WassersteinLagrangianFlow(
        coupling=OTCoupling(batch_size=100), width=16, curve_width=16
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_a_run_that_was_cut_off_is_taken_up_to_the_bit(name, tmp_path, monkeypatch):
    settings = di.Training(max_steps=16, validate_every=4, checkpoint_every=5, patience=None)
    model = METHODS[name]

    def fitted(**options):
        clone = type(model)(**model.get_params(deep=False))
        clone.training = settings
        return clone.fit(snapshots(), progress=False, seed=1, **options)

    whole = fitted()
    update = TrainingRun.update

    def cut_off(run, *arguments):
        if run.step == 9:
            raise KeyboardInterrupt
        return update(run, *arguments)

    checkpoint = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(TrainingRun, "update", cut_off)
        fitted(checkpoint=checkpoint)
    again = fitted(checkpoint=checkpoint, resume=True)
    states = (whole.process_.state_dict(), again.process_.state_dict())
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key

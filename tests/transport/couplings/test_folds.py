"""Pairs that are held out: which, how many, and that the rest is the same problem."""

import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.learning.scaling import Scaling
from dyninfer.transport.couplings import CoupledSamples, as_coupling
from dyninfer.transport.curves import DenseCurve


def coupled(sizes, coupling="ot", **options):
    rng = np.random.default_rng(0)
    data = di.Snapshots(
        times=np.arange(len(sizes)), samples=[rng.normal(size=(n, 2)) for n in sizes]
    )
    scaling = Scaling.from_samples(data.times, list(data.samples))
    return CoupledSamples(
        data, scaling, as_coupling(coupling), 0, torch.device("cpu"), torch.float64, **options
    )


def pairs(samples):
    return {tuple(row) for row in samples.rows.tolist()}


@pytest.mark.parametrize("coupling", ["ot", "entropic", "unbalanced"])
@pytest.mark.parametrize(("sizes", "n_runs"), [((30, 40, 30), 5), ((400, 350, 400), 1)])
def test_what_is_held_out_and_what_is_learned_from_are_the_plan_in_two_parts(
    coupling, sizes, n_runs
):
    whole = coupled(sizes, coupling)
    folds = whole.folds(0.1, seed=0)
    assert len(folds.parts) == n_runs
    assert folds.share == (0.1 if n_runs == 1 else 0.2)
    for training, validation in folds.parts:
        assert not pairs(training) & pairs(validation)
        assert pairs(training) | pairs(validation) == pairs(whole)
        for k in range(2):
            share = validation.counts[k] / whole.counts[k]
            assert share == pytest.approx(folds.share, rel=0.35)
            for part in (training, validation):
                own, mass = part.pairs_in(k)
                assert float(mass.sum()) == pytest.approx(1)
                assert set(own.interval.tolist()) == {k}


def test_where_cells_are_few_each_of_them_is_held_out_in_one_run():
    whole = coupled((25, 25))
    held_out = [row for _, part in whole.folds(0.1, 0).parts for row in part.rows.tolist()]
    assert sorted(held_out) == sorted(whole.rows.tolist())


def test_the_pairs_of_a_cell_are_held_out_together():
    folds = coupled((40, 30), "entropic").folds(0.1, 0)
    for training, validation in folds.parts:
        sources = set(validation.rows[:, 0].tolist())
        assert not sources & set(training.rows[:, 0].tolist())


def test_the_pairs_of_a_single_first_cell_are_held_out_by_their_last_ones():
    folds = coupled((1, 200)).folds(0.1, 0)
    assert [validation.counts for _, validation in folds.parts] == [[40]] * 5


def test_nothing_is_held_out_where_an_interval_has_one_pair_or_nothing_is_asked():
    for samples, fraction in ((coupled((1, 1, 50)), 0.1), (coupled((50, 50)), 0.0)):
        folds = samples.folds(fraction, 0)
        assert folds.training is samples
        assert folds.validation is None
        assert folds.share == 0


def test_draws_of_a_part_are_of_its_pairs_by_their_mass():
    whole = coupled((600, 500), "unbalanced")
    training, validation = whole.folds(0.1, 0).parts[0]
    generator = torch.Generator().manual_seed(0)
    interval = torch.zeros(50_000, dtype=torch.long)
    for part in (training, validation):
        picked = part.pick(interval, generator)
        n_drawn = torch.bincount(picked, minlength=len(part.mass)).double()
        expected = part.mass * len(interval)
        error = (n_drawn - expected) / expected.sqrt()
        assert float(error.square().mean()) == pytest.approx(1, abs=0.1)


def test_chains_are_held_out_by_their_first_cells():
    samples = coupled((60, 60, 60), chains=True)
    for training, validation in samples.folds(0.1, 0).parts:
        assert not set(validation.rows[:, 0].tolist()) & set(training.rows[:, 0].tolist())


def test_snapshots_dense_in_time_hold_samples_of_every_time_out():
    rng = np.random.default_rng(0)
    data = di.Snapshots(times=[0, 1, 2], samples=[rng.normal(k, 1, (200, 1)) for k in range(3)])
    scaling = Scaling.from_samples(data.times, list(data.samples), None)
    curve = DenseCurve(data, scaling, torch.device("cpu"), torch.float64)
    ((training, validation),) = curve.folds(0.1, 0).parts
    generator = torch.Generator().manual_seed(0)
    t = torch.rand(20_000, dtype=torch.float64)
    seen = [set(part.draw(t, t, generator).state[:, 0].tolist()) for part in (training, validation)]
    assert [len(states) for states in seen] == [540, 60]
    assert not seen[0] & seen[1]

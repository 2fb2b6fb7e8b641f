"""Generators at first sight: accuracy and honesty of the shipped network, and the arithmetic of its answers."""

import hashlib
import warnings
from dataclasses import replace

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import torch
from jumps.cases import shared_file
from measure import on_flashing_ratchet, on_prior, rmse

from dyninfer.data.paths import Paths
from dyninfer.jumps.amortized.prior import JumpPrior
from dyninfer.jumps.amortized.zero_shot import infer, load_network, shipped_weights
from dyninfer.jumps.likelihood.statistics import JumpStatistics
from dyninfer.jumps.process import MarkovJump
from dyninfer.learning.model_file import read_model

DENSE = replace(JumpPrior.paper(), grids=("dense",))
WEIGHTS = shipped_weights()


@pytest.fixture(scope="module")
def tasks():
    return DENSE.draw(8, 11, n_states=4, n_paths=100)


@pytest.fixture(scope="module")
def estimate(tasks):
    return infer(JumpStatistics.of_batch(tasks.labels, tasks.times, 4))


def as_paths(tasks, process, scale=1.0, relabel=None):
    labels = tasks.labels[:, process].T.numpy()
    labels = labels if relabel is None else relabel[labels]
    times = tasks.times.numpy() * scale
    return Paths(times=[times] * len(labels), states=list(labels), state_names=tuple("abcd"))


# What panel likelihood reaches on the same kind of data when it takes wrong labels for jumps, and the paper's prior mean.
IGNORING_WRONG_LABELS, PRIOR_MEAN = 0.124, 0.261


def test_rates_are_better_than_those_of_a_likelihood_that_ignores_wrong_labels():
    found = on_prior(DENSE, 6, 300, 100, 20_000, WEIGHTS)
    assert found["rmse"] < IGNORING_WRONG_LABELS / 2
    assert on_prior(DENSE, 6, 30, 50, 20_000, WEIGHTS)["rmse"] < PRIOR_MEAN / 2


@pytest.mark.parametrize("n", [2, 4, 6])
def test_intervals_of_nine_tenths_cover_nine_tenths_of_the_rates(n):
    found = on_prior(DENSE, n, 100, 300 if n == 2 else 150, 30_000, WEIGHTS)
    assert 0.85 < found["coverage of existing jumps"] < 0.99


def test_states_beyond_the_published_models_six_are_read_as_well():
    assert on_prior(DENSE, 8, 300, 50, 40_000, WEIGHTS)["rmse"] < 0.08


def test_the_flashing_ratchet_is_read_better_than_by_the_published_model():
    file = shared_file("flashing_ratchet/dfr_V1.npz")
    for n_paths, published in [(30, 0.330), (100, 0.212), (300, 0.162), (1000, 0.230)]:
        assert on_flashing_ratchet(file, n_paths, 8, 0, WEIGHTS)["rmse"] < published


def test_the_unit_of_time_scales_the_rates_and_nothing_else(tasks):
    one, two = infer(as_paths(tasks, 0)), infer(as_paths(tasks, 0, scale=60.0))
    assert torch.allclose(two.rates * 60, one.rates, rtol=1e-5)
    assert torch.allclose(two.link_probability, one.link_probability, atol=1e-5)


def test_relabelled_paths_give_the_relabelled_generator(tasks):
    order = np.array([2, 0, 3, 1])
    one, two = infer(as_paths(tasks, 1)), infer(as_paths(tasks, 1, relabel=order))
    assert torch.allclose(two.generator[order][:, order], one.generator, atol=1e-5)
    assert torch.allclose(two.initial[order], one.initial, atol=1e-5)


def test_paths_and_their_statistics_in_parts_give_the_same_answer(tasks):
    paths = as_paths(tasks, 2)
    first = JumpStatistics.of(paths[:40])
    parts = first + JumpStatistics.of(paths[40:], unit=float(first.unit))
    assert torch.allclose(infer(parts).rates, infer(paths).rates, atol=1e-5)
    with pytest.raises(TypeError, match="data must be Paths or JumpStatistics, found list"):
        infer([1])


def test_the_answer_is_a_process_in_the_users_words(tasks):
    found = infer(as_paths(tasks, 0))
    process = found.process()
    assert isinstance(process, MarkovJump)
    assert process.state_names == tuple("abcd")
    assert torch.allclose(
        process.generator.sum(-1), torch.zeros(4, dtype=torch.float64), atol=1e-12
    )
    assert torch.allclose(found.initial.sum(), torch.ones((), dtype=torch.float64))


def test_quantiles_solve_the_distribution_of_jumps_that_may_be_absent(estimate):
    b, chance = estimate.belief, estimate.link_probability
    for q in (0.05, 0.5, 0.95):
        found = estimate.quantile(q) * estimate.tau[:, None, None]
        for process, i, j in [(0, 0, 1), (1, 2, 3), (5, 3, 0)]:
            weight, mean, std = (
                x[process, i, j].numpy() for x in (b.log_weight.exp(), b.mean, b.log_std.exp())
            )
            p = float(chance[process, i, j])
            if q <= 1 - p:
                assert found[process, i, j] == 0
                continue
            log_rate = scipy.optimize.brentq(
                lambda x, w=weight, m=mean, s=std, p=p, q=q: (
                    1 - p + p * (w * scipy.stats.norm.cdf(x, m, s)).sum() - q
                ),
                -60,
                60,
                xtol=1e-13,
            )
            assert float(found[process, i, j]) == pytest.approx(np.exp(log_rate), rel=1e-6)


def test_samples_have_the_quantiles_and_the_log_means_of_the_belief(estimate):
    drawn = estimate.sample(4000, seed=1)
    assert drawn.shape == (4000, 8, 4, 4)
    assert drawn.sum(-1).abs().max() < 1e-9
    off = ~torch.eye(4, dtype=torch.bool)
    low, high = estimate.interval(0.8)
    inside = ((drawn >= low) & (drawn <= high)).double().mean(0)[:, off]
    assert inside.min() > 0.77
    happens, b = drawn > 0, estimate.belief
    share = estimate.link_probability
    assert (
        (happens.double().mean(0) - share).abs() < 5 * (share * (1 - share) / 4000).sqrt() + 1e-9
    ).all()
    log_rate = torch.where(happens, drawn, 1.0).log()
    mean = log_rate.sum(0) / happens.sum(0)
    expected = (b.log_weight.exp() * b.mean).sum(-1) - estimate.tau[:, None, None].log()
    often = off & (happens.sum(0) > 400)
    spread = ((log_rate - mean).square() * happens).sum(0).sqrt() / happens.sum(0)
    assert often.sum() > 40
    assert ((mean - expected).abs() < 5 * spread)[often].all()
    assert torch.equal(drawn, estimate.sample(4000, seed=1))
    assert not torch.equal(drawn, estimate.sample(4000, seed=2))


def test_wrong_labels_are_noticed():
    few, many = (
        infer(JumpStatistics.of_batch(t.labels, t.times, 4))
        for t in (
            replace(DENSE, fixed=0.0, noise=(level, level)).draw(40, 3, n_states=4, n_paths=300)
            for level in (0.01, 0.1)
        )
    )
    assert few.noise.median() < 0.03
    assert 0.05 < many.noise.median() < 0.15


def test_data_unlike_any_of_the_training_are_said_to_be(tasks):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert infer(as_paths(tasks, 0)).outside == ()
    wide = DENSE.draw(4, 0, n_states=14, n_paths=20)
    with pytest.warns(UserWarning, match="the number of states is 14, in training 2 to 10"):
        found = infer(JumpStatistics.of_batch(wide.labels, wide.times, 14))
    assert found.outside


def test_reading_the_weights_leaves_the_global_random_state_alone(tasks):
    load_network.cache_clear()
    before = torch.get_rng_state()
    infer(as_paths(tasks, 0))
    assert torch.equal(before, torch.get_rng_state())


def test_an_impossible_level_is_refused(estimate):
    with pytest.raises(ValueError, match="level must lie between 0 and 1"):
        estimate.interval(90)


def test_the_error_is_that_of_the_rates_of_jumps():
    truth = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    assert float(rmse(truth + torch.tensor([[0.0, 3.0], [4.0, 0.0]]), truth)) == pytest.approx(
        12.5**0.5
    )


def test_the_weights_are_small_and_come_with_a_card():
    assert WEIGHTS.stat().st_size < 1e6
    metadata, _ = read_model(WEIGHTS)
    card = (WEIGHTS.parent / "README.md").read_text()
    assert hashlib.sha256(WEIGHTS.read_bytes()).hexdigest() in card
    assert f"{metadata['training']['steps_done']:,} steps" in card
    assert metadata["commit"] in card
    losses = np.loadtxt(WEIGHTS.parent / "jump_losses.csv", delimiter=",", skiprows=1)
    assert abs(losses[-1, 0] - metadata["training"]["steps_done"]) < 1000
    assert losses[-10:, 2].mean() < losses[0, 2]

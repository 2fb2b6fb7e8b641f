"""Clones: the sum over the ancestor's state, by brute force, and what it teaches."""

import numpy as np
import pytest
import torch
from jumps.cases import random_generator
from scipy.linalg import expm

import dyninfer as di
from dyninfer.jumps import ClonePaths, LabelNoise
from dyninfer.simulation import simulate


def small():
    """Three clones; the second cell of the first one is seen twice, with a gap."""
    return di.Paths(
        times=[[2.0], [2.0, 3.0, 4.0], [4.0], [2.0], [3.0], [6.0]],
        states=[[0], [1, -1, 2], [2], [1], [1], [0]],
        conditions=["a", "a", "a", "b", "b", "c"],
        state_names=["0", "1", "2"],
    )


def by_hand(q, confusion, first):
    """Joint probability ``(clone, S)`` of the ancestor's state and the clone."""

    def cell(*observed):
        value, at = np.eye(3), 1.0  # rows: ancestors
        for time, label in observed:
            value, at = value @ expm(q * (time - at)) @ np.diag(confusion[:, label]), time
        return value.sum(1)

    a = cell((2, 0)) * cell((2, 1), (4, 2)) * cell((4, 2))
    return first * np.stack([a, cell((2, 1)) * cell((3, 1)), cell((6, 0))])


@pytest.mark.parametrize("rate", [0.0, 0.1])
def test_likelihood_is_the_sum_over_ancestors(rate):
    q, noise = random_generator(3, 0), LabelNoise.uniform(3, rate)
    first = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    data = ClonePaths.of(small(), 1.0)
    joint = by_hand(q.numpy(), noise.confusion.numpy(), first.numpy())
    np.testing.assert_allclose(
        data.log_likelihood(q, noise, first), np.log(joint.sum(1)), rtol=1e-12
    )
    np.testing.assert_allclose(
        data.ancestors(q, noise, first), joint / joint.sum(1, keepdims=True), rtol=1e-12
    )
    share = data.per_path(data.log_likelihood(q, noise, first))
    assert float(share.sum()) == pytest.approx(float(np.log(joint.sum(1)).sum()))
    many = data.log_likelihood(torch.stack([q, 2 * q]), noise, first)
    np.testing.assert_allclose(many[1], data.log_likelihood(2 * q, noise, first), rtol=1e-12)


def test_a_clones_other_cells_tell_about_one_that_was_seen_badly():
    q, noise = random_generator(3, 0), LabelNoise.uniform(3, 0.3)
    first = torch.full((3,), 1 / 3, dtype=torch.float64)
    found = ClonePaths.of(small(), 1.0).smooth(q, noise, first)
    torch.testing.assert_close(found.sum(-1), torch.ones_like(found[..., 0]))
    # The first cell, by hand: P(x | all) ∝ Σ_a p_a P(a→x) e_x(0) Π of the others.
    p, c = expm(q.numpy()), noise.confusion.numpy()
    other = by_hand(q.numpy(), c, np.ones(3))[0] / (p @ c[:, 0])
    by = (other[:, None] * p * c[:, 0]).sum(0)
    np.testing.assert_allclose(found[0, 0], by / by.sum(), rtol=1e-10)


def test_viterbi_maximises_over_ancestors_too():
    q, noise = random_generator(3, 0), LabelNoise.uniform(3, 0.3)
    first = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    states, value = ClonePaths.of(small(), 1.0).viterbi(q, noise, first)
    p, c, first = [expm(q.numpy() * t) for t in (0, 1, 2)], noise.confusion.numpy(), first.numpy()
    best = max(  # clone b: cells with label 1 after 1 and after 2
        (np.log(first[a] * p[1][a, x] * c[x, 1] * p[2][a, y] * c[y, 1]), x, y)
        for a in range(3)
        for x in range(3)
        for y in range(3)
    )
    assert float(value[1]) == pytest.approx(float(best[0]), rel=1e-10)
    assert (int(states[3, 0]), int(states[4, 0])) == best[1:]


def simulated(n_clones, seed=0):
    """Clones of six cells, three at either time, founded at time 0 by stem cells above all."""
    rates = [[-0.6, 0.4, 0.2], [0.05, -0.1, 0.05], [0.0, 0.1, -0.1]]
    process = di.MarkovJump(rates, initial=[0.8, 0.1, 0.1])
    ancestors = simulate(process, None, [0.0, 1e-9], n_paths=n_clones, seed=seed).states[:, 0]
    cells = ancestors.repeat_interleave(6)
    run = simulate(process, cells, [0.0, 2.0, 5.0], seed=seed + 1).states.numpy()
    when = np.tile([1, 1, 1, 2, 2, 2], n_clones)
    return di.Paths(
        times=list(np.array([0.0, 2.0, 5.0])[when][:, None]),
        states=list(run[np.arange(len(run)), when][:, None]),
        conditions=np.repeat(np.arange(n_clones), 6),
        state_names=["stem", "red", "white"],
    )


def test_clones_give_the_rates_that_single_cells_cannot():
    data, fresh = simulated(400), simulated(200, seed=7)
    jumps = ["stem>red", "stem>white", "red>stem", "red>white", "white>red"]
    settings = {"observation": "exact", "clones": di.Clones(0.0), "jumps": di.Only(jumps)}
    model = di.MarkovJumpInference(**settings).fit(data, progress=False)
    table = model.confidence_intervals(0.99)
    truth = np.array([0.4, 0.2, 0.05, 0.05, 0.1])
    assert ((table["low"] < truth) & (truth < table["high"])).all()
    np.testing.assert_allclose(table["rate"][:2], truth[:2], rtol=0.25)
    alone = di.Paths(
        times=data.times, states=data.states, state_names=data.state_names, conditions=data.names
    )
    apart = di.MarkovJumpInference(**settings).fit(alone, progress=False)
    cut = di.Paths(
        times=fresh.times,
        states=fresh.states,
        state_names=fresh.state_names,
        conditions=fresh.names,
    )
    together = model.evaluate(fresh)["log_likelihood"].sum()
    assert together > apart.evaluate(cut)["log_likelihood"].sum() + 5
    assert together == pytest.approx(
        ClonePaths.of(fresh, 0.0).log_likelihood(*model._model()).sum().item()
    )


def test_clones_are_saved_and_simulated_from_their_ancestors(tmp_path):
    model = di.MarkovJumpInference(observation="exact", clones=di.Clones(0.0)).fit(
        simulated(50), progress=False
    )
    again = di.load(model.save(tmp_path / "clones.safetensors"))
    np.testing.assert_allclose(
        again.log_likelihoods(simulated(5)), model.log_likelihoods(simulated(5)), rtol=1e-12
    )
    run = model.simulate(None, [5.0, 6.0], n_paths=20_000)
    expected = model.initial_ @ expm(5 * model.generator_)
    np.testing.assert_allclose(
        torch.bincount(run.states[:, 0], minlength=3) / 20_000, expected, atol=0.015
    )
    states = model.posterior_states(simulated(5))
    assert (states["state"] == states["viterbi"]).all()
    assert (states["probability"] > 1 - 1e-12).all()


def test_what_a_clone_lacks_is_named():
    plain = di.Paths(times=[[1.0]], states=[[0]], state_names=["0", "1"])
    with pytest.raises(ValueError, match="give condition_key"):
        ClonePaths.of(plain, 0.0)
    with pytest.raises(ValueError, match="path '0' begins at 2, before the ancestor_time=3"):
        ClonePaths.of(small(), 3.0)
    entries = di.ExactLabels(entries=["0"])
    with pytest.raises(ValueError, match="leave out clones"):
        di.MarkovJumpInference(observation=entries, clones=di.Clones(0.0)).fit(small())


@pytest.mark.slow
def test_intervals_of_clones_cover_as_often_as_they_say():
    truth, hits = np.array([0.4, 0.2, 0.05, 0.05, 0.1]), []
    jumps = ["stem>red", "stem>white", "red>stem", "red>white", "white>red"]
    for seed in range(0, 80, 2):
        model = di.MarkovJumpInference(
            observation="exact", clones=di.Clones(0.0), jumps=di.Only(jumps)
        )
        table = model.fit(simulated(200, seed=1000 + seed), progress=False).confidence_intervals(
            0.9
        )
        hits += [*((table["low"] < truth) & (truth < table["high"]))]
    assert 0.8 <= np.mean(hits) <= 0.97

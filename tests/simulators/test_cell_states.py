"""Differentiating clones against the exponential of the generator and the branching mean matrix."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import expm

import dyninfer as di
from dyninfer.simulators import CellStates

THREE = {
    "names": ("stem", "red", "white"),
    "jumps": (("stem", "red", 0.4), ("stem", "white", 0.2), ("red", "white", 0.15)),
    "centres": ((0.0, 0.0), (1.0, 1.0), (1.0, -1.0)),
}


def test_without_division_the_marginals_are_those_of_the_generator():
    system = CellStates(birth=0.0, cells_per_clone=1, capture=1.0)
    for day in (1.0, 4.0):
        when, clone, state = system.cells([day], 20_000, seed=0)
        assert (when == day).all()
        assert torch.equal(clone.sort()[0], torch.arange(20_000))
        law = expm(day * system.process().generator.numpy())[0]
        share = np.bincount(state, minlength=6) / 20_000
        assert (np.abs(share - law) < 4 * np.sqrt(law * (1 - law) / 20_000) + 1e-12).all()


@pytest.mark.parametrize("founder", [0, 1])
def test_mean_counts_are_those_of_branching(founder):
    """Half of the cells are taken out on day 1, half of what the others have become on day 3."""
    n, birth, death = 4000, (0.7, 0.2, 0.5), (0.1, 0.3, 0.0)
    law = tuple(float(k == founder) for k in range(3))
    system = CellStates(**THREE, birth=birth, death=death, initial=law, cells_per_clone=1)
    day, clone, state = system.cells([1.0, 3.0], n, seed=founder)
    q = np.array([[-0.6, 0.4, 0.2], [0, -0.15, 0.15], [0, 0, 0]])
    for t, share in ((1.0, 0.5), (3.0, 0.25)):
        mean = expm(t * (q + np.diag(np.subtract(birth, death))))
        np.testing.assert_allclose(system.mean_counts(t).numpy(), mean, rtol=1e-12)
        here = (day == t).numpy()
        counts = np.zeros((n, 3))
        np.add.at(counts, (clone.numpy()[here], state.numpy()[here]), 1.0)
        error = counts.std(0) / np.sqrt(n)
        assert (np.abs(counts.mean(0) - share * mean[founder]) <= 4 * error).all()


def test_pure_division_grows_clones_of_geometric_size():
    system = CellStates(birth=0.5, cells_per_clone=1, capture=1.0)
    _, clone, _ = system.cells([2.0], 5000, seed=1)
    size = np.bincount(clone, minlength=5000)
    assert size.min() >= 1
    for k in (1, 2, 3):  # Yule 1925
        p = np.exp(-1.0) * (1 - np.exp(-1.0)) ** (k - 1)
        assert (size == k).mean() == pytest.approx(p, abs=4 * np.sqrt(p / 5000))


def test_rates_are_found_from_clones_that_divided_before_they_were_followed():
    system = CellStates(**THREE, birth=0.0, initial=(0.8, 0.15, 0.05), cells_per_clone=6)
    jumps = di.Only(["stem>red", "stem>white", "red>white"])
    model = di.MarkovJumpInference(observation="exact", clones=di.Clones(0.0), jumps=jumps).fit(
        system.paths([1.0, 2.0, 5.0], 500, seed=0), progress=False
    )
    table, truth = model.confidence_intervals(0.99), np.array([0.4, 0.2, 0.15])
    assert ((table["low"] < truth) & (truth < table["high"])).all()
    np.testing.assert_allclose(table["rate"], truth, rtol=0.2)
    np.testing.assert_allclose(model.initial_, [0.8, 0.15, 0.05], atol=0.08)


def test_sisters_are_alike_for_what_they_share():
    """Two cells of one mother that divided at ``s`` agree as two chains that part at ``s``, mixed over ``s``."""
    system = CellStates(**THREE, birth=0.5, cells_per_clone=1, capture=1.0)
    _, clone, state = system.cells([2.0], 20_000, seed=3)
    clone, order = clone.sort()
    two = state[order][(clone.bincount(minlength=20_000) == 2)[clone]].reshape(-1, 2)
    q = system.process().generator.numpy()
    # A clone of two cells at t divided once, at s with a density ∝ e^{−bs} e^{−2b(t−s)}.
    s = np.linspace(0, 2, 401)
    weight = np.exp(0.5 * s) / np.exp(0.5 * s).sum()
    agree = sum(
        w * (expm(u * q)[0] @ (expm((2 - u) * q) ** 2).sum(1))
        for u, w in zip(s, weight, strict=True)
    )
    found = (two[:, 0] == two[:, 1]).double().mean()
    assert len(two) > 1000
    assert float(found) == pytest.approx(agree, abs=4 * 0.5 / np.sqrt(len(two)))


def test_both_outputs_hold_the_same_cells():
    system, days = CellStates(), [2.0, 4.0, 6.0]
    adata, paths = system.adata(days, 30, seed=2), system.paths(days, 30, seed=2)
    read = di.Paths.from_anndata(
        adata, time_key="day", path_key="cell", state_key="state", condition_key="clone"
    )
    order = (
        np.argsort(read.names, kind="stable"),
        np.argsort(adata.obs_names.to_numpy(), kind="stable"),
    )
    for a, b in zip(*order, strict=True):
        assert read.times[a][0] == paths.times[b][0]
        assert read.states[a][0] == paths.states[b][0]
        assert str(read.conditions[a]) == str(paths.conditions[b])
    several = adata.obs.groupby("clone", observed=True)["day"].nunique()
    assert (several > 1).mean() > 0.5
    assert list(adata.obs["state"].cat.categories) == list(system.names)
    offset = adata.X - np.array(system.centres)[adata.obs["state"].cat.codes]
    assert offset.std() == pytest.approx(system.noise, rel=0.1)


def test_draws_depend_on_the_seed_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    one, again, other = (CellStates().cells([1.0, 3.0], 40, seed=s)[2] for s in (5, 5, 6))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one, again)
    assert len(one) != len(other) or not torch.equal(one, other)


def test_bad_parameters_are_named():
    with pytest.raises(ValueError, match="jumps has 'progenitor' to 'fate D'"):
        CellStates(jumps=(("progenitor", "fate D", 1.0),))
    with pytest.raises(ValueError, match="the rate from left to fate A must be positive"):
        CellStates(jumps=(("left", "fate A", 0.0),))
    with pytest.raises(ValueError, match="birth must be a number or 6 numbers"):
        CellStates(birth=(1.0, 2.0))
    with pytest.raises(ValueError, match="death must not be negative"):
        CellStates(death=-0.1)
    with pytest.raises(ValueError, match="capture must be a probability above 0"):
        CellStates(capture=0.0)
    with pytest.raises(ValueError, match="centres must hold one position"):
        CellStates(centres=((0.0,),))

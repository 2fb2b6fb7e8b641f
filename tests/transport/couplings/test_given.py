"""Pairs given by the user: clones and followed cells, whatever is held out."""

import json

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.settings import from_plain, to_plain
from dyninfer.transport.couplings import GivenPairs, sample_chains


def tracked(n=12, n_times=3, seed=0):
    """The same cells at every time in another order; names are time and cell."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(n) for _ in range(n_times)]
    return Snapshots(
        times=np.arange(n_times, dtype=float),
        samples=[rng.normal(size=(n, 2)) for _ in range(n_times)],
        names=[[f"{t}-{i}" for i in order] for t, order in enumerate(orders)],
    )


def links(data, steps=None):
    n = data.sizes[0]
    return [
        (f"{t}-{i}", f"{t + 1}-{i}") for t in (steps or range(data.n_times - 1)) for i in range(n)
    ]


def cell_of(data, k, rows):
    return [data.names[k][r].split("-")[1] for r in rows]


def clones():
    """Clone A grows from 2 cells to 3, B shrinks from 2 to 1; "a4" and "b4" have no label."""
    obs = pd.DataFrame(
        {"day": [0] * 5 + [1] * 5, "clone": ["A", "A", "B", "B", None, "A", "A", "A", "B", ""]},
        index=[f"{t}{i}" for t in "ab" for i in range(5)],
    )
    return AnnData(obs=obs, obsm={"X_pca": np.random.default_rng(0).normal(size=(10, 2))})


def plan_of(coupling, data, k=0):
    return coupling.plans(data, list(data.samples), 0)[k]


def test_followed_cells_are_paired_with_themselves_and_conserve_mass():
    data = tracked()
    for k, plan in enumerate(GivenPairs(pairs=links(data)).plans(data, list(data.samples), 0)):
        assert cell_of(data, k, plan.source) == cell_of(data, k + 1, plan.target)
        np.testing.assert_allclose(plan.mass, 1 / 12)
        assert not plan.log_source.any()
        assert not plan.log_target.any()


def test_chains_follow_the_cells():
    data = tracked(n_times=4)
    plans = GivenPairs(pairs=links(data)).plans(data, list(data.samples), 0)
    chains = sample_chains(plans, list(data.sizes), 50, 0)
    cells = np.array([cell_of(data, k, chains[:, k]) for k in range(4)])
    assert (cells == cells[0]).all()


def test_pairs_are_joined_where_a_snapshot_is_held_out():
    data = tracked(n_times=4)
    coupling, kept = GivenPairs(pairs=links(data)), data.without([1.0, 2.0])
    plan = plan_of(coupling, kept)
    assert len(plan.mass) == 12
    assert cell_of(kept, 0, plan.source) == cell_of(kept, 1, plan.target)


def test_a_split_of_the_data_keeps_the_pairs_that_are_left():
    data = tracked(n=60)
    part, _ = data.split(0.3, seed=1)
    plan = plan_of(GivenPairs(pairs=links(data), unpaired="drop"), part)
    assert cell_of(part, 0, plan.source) == cell_of(part, 1, plan.target)
    assert len(plan.mass) == len(
        {n.split("-")[1] for n in part.names[0]} & {n.split("-")[1] for n in part.names[1]}
    )


def test_pairs_that_do_not_reach_are_an_error_that_names_the_times():
    data = tracked()
    with pytest.raises(ValueError, match="no given pair leads from time 1 to time 2"):
        plan_of(GivenPairs(pairs=links(data, steps=[0])), data)


def test_pairs_of_a_clone_share_its_mass_and_its_growth():
    adata = clones()
    data = Snapshots.from_anndata(adata, time_key="day")
    plan = plan_of(GivenPairs.from_clones(adata, "clone", unpaired="drop"), data)
    pairs = set(zip(plan.source.tolist(), plan.target.tolist(), strict=True))
    assert pairs == {(i, j) for i in (0, 1) for j in (0, 1, 2)} | {(2, 3), (3, 3)}
    start, end = plan.mass * np.exp(plan.log_source), plan.mass * np.exp(plan.log_target)
    in_a = plan.source < 2
    assert (start[in_a].sum(), end[in_a].sum()) == pytest.approx((2 / 4, 3 / 4))
    assert np.ptp(start[in_a]) == pytest.approx(0)
    np.testing.assert_allclose(np.bincount(plan.source, start), 1 / 4)
    np.testing.assert_allclose(np.bincount(plan.target, end), 1 / 4)


def test_cells_without_a_clone_are_transported_among_themselves():
    adata = clones()
    data = Snapshots.from_anndata(adata, time_key="day")
    plan = plan_of(GivenPairs.from_clones(adata, "clone"), data)
    assert (4, 4) in set(zip(plan.source.tolist(), plan.target.tolist(), strict=True))
    for rows, log in ((plan.source, plan.log_source), (plan.target, plan.log_target)):
        np.testing.assert_allclose(np.bincount(rows, plan.mass * np.exp(log)), 1 / 5)


def test_cells_that_nobody_is_left_for_vanish_in_place():
    data = tracked()
    pairs = [p for p in links(data) if p[0] != "0-3"] + [("0-4", "1-3")]
    plan = plan_of(GivenPairs(pairs=pairs), data)
    assert set(cell_of(data, 0, plan.source[plan.destroyed])) == {"3"}
    assert not plan.created.any()
    np.testing.assert_allclose(
        np.bincount(plan.source, plan.mass * np.exp(plan.log_source)), 1 / 12
    )


def test_clones_are_paired_over_a_day_that_is_held_out():
    adata = clones()
    later = clones()
    later.obs_names = [n.replace("b", "c") for n in later.obs_names]
    coupling = GivenPairs.from_clones(later, "clone", unpaired="drop")
    adata.obs_names = later.obs_names
    data = Snapshots.from_anndata(adata, time_key="day")
    assert len(plan_of(coupling, data).mass) == 8


def test_rows_become_names():
    data = tracked()
    rows = [np.stack([np.arange(12), np.arange(12)[::-1]], 1) for _ in range(2)]
    plan = plan_of(GivenPairs.from_rows(data, rows), data, 1)
    np.testing.assert_array_equal(plan.source + plan.target, 11)


def test_it_survives_json():
    data = tracked()
    coupling = from_plain(json.loads(json.dumps(to_plain(GivenPairs(pairs=links(data))))))
    assert len(plan_of(coupling, data).mass) == 12


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([np.zeros((1, 2), int)], "rows has 1 arrays but the data have 2 intervals"),
        ([np.zeros((3, 2)), np.zeros((3, 2))], "rows of interval 0 must be whole numbers"),
        (
            [np.array([[0, 12]]), np.array([[0, 0]])],
            "rows of interval 0 reach from 12 to 12, but the snapshot at time 1 has 12",
        ),
    ],
)
def test_rows_that_cannot_be_are_named(rows, message):
    with pytest.raises(ValueError, match=message):
        GivenPairs.from_rows(tracked(), rows)


def test_settings_and_data_that_cannot_be_are_named():
    data = tracked()
    bare = Snapshots(times=data.times, samples=data.samples)
    for coupling, given, message in (
        (GivenPairs(), data, "give GivenPairs either pairs or clones"),
        (
            GivenPairs(pairs=[], unpaired="keep"),
            data,
            "unpaired must be 'transport' or 'drop', found 'keep'",
        ),
        (GivenPairs(pairs=links(data)), bare, "GivenPairs needs the names of the cells"),
        (GivenPairs(pairs=[]), data, "no given pair leads from time 0 to time 1"),
    ):
        with pytest.raises(ValueError, match=message):
            plan_of(coupling, given)
    twice = Snapshots(times=[0, 1], samples=[np.zeros((2, 1))] * 2, names=[["u", "u"], ["v", "w"]])
    with pytest.raises(ValueError, match="the name 'u' occurs twice at time 0"):
        plan_of(GivenPairs(pairs=[("u", "v")]), twice)
    with pytest.raises(ValueError, match="call plans"):
        GivenPairs(pairs=links(data)).plan(*data.samples[:2], np.ones(12) / 12, np.ones(12) / 12, 0)
    with pytest.raises(KeyError, match="did you mean 'clone'"):
        GivenPairs.from_clones(clones(), "clones")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pairs": 1}, "GivenPairs.pairs must be a list of .name, name., found 1"),
        ({"pairs": "ab"}, "GivenPairs.pairs must be a list"),
        ({"pairs": ["ab", "cd"]}, "every entry of GivenPairs.pairs must be .name, name., found"),
        ({"clones": [("a",)]}, "every entry of GivenPairs.clones must be .name, label."),
        ({"clones": {"a": "b"}}, "GivenPairs.clones must be a list"),
        ({"pairs": [("a", "b")], "unpaired": 3}, "GivenPairs.unpaired must be"),
    ],
)
def test_pairs_that_are_none_are_refused_in_a_sentence(settings, message):
    with pytest.raises((TypeError, ValueError), match=message):
        GivenPairs(**settings).check()

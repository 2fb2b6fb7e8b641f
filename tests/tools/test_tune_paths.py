"""`tune` of paths: the truth is chosen among laws, on paths that are not reported later."""

import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.estimators.jump_search import are_ordered
from dyninfer.fractional import FractionalBrownianMotion
from dyninfer.tools import compare, tune

LADDER = [[-1.0, 1.0, 0.0, 0.0], [0.8, -1.8, 1.0, 0.0], [0.0, 1.5, -2.5, 1.0], [0.0, 0.0, 1, -1.0]]
# One way round: nothing here is in balance, and jumps from 3 to 0 skip two states.
RING = np.roll(np.eye(4), 1, axis=1) - np.eye(4)


def chains(generator, n=40, n_times=25, seed=0, names=("0", "1", "2", "3")):
    process = di.MarkovJump(generator, state_names=names)
    times = [0.3 * k for k in range(n_times)]
    run = di.simulate(process, None, times, n_paths=n, seed=seed)
    return di.Paths(times=[times] * n, states=list(run.states.numpy()), state_names=names)


def exact(**settings):
    return di.MarkovJumpInference(observation=di.ExactLabels(), **settings)


def only(model, paths, group):
    return {group: model.search_space(paths)[group]}


def run(data, estimator=None, **options):
    return tune(data, estimator, progress=False, **options)


@pytest.mark.parametrize(("generator", "chosen"), [(LADDER, di.BirthDeath), (RING, di.AllJumps)])
def test_of_jumps_the_plainest_are_chosen_that_the_truth_allows(generator, chosen):
    paths = chains(generator, n_times=16)
    model = exact()
    tuned = run(paths, model, search_space=only(model, paths, "jumps"))
    assert isinstance(tuned.best.jumps, chosen)
    assert tuned.settings_scored == 3
    assert "3 settings were scored in 5 folds of 40 paths." in str(tuned)


def test_labels_that_are_never_wrong_are_taken_for_exact():
    names = ("closed", "open")
    paths = chains([[-1.0, 1.0], [3.0, -3.0]], n=20, names=names)
    tuned = run(paths, n_folds=3)
    # Two states leave nothing to choose among jumps.
    assert set(tuned.table["fold"]) == {0, 1, 2}
    assert isinstance(tuned.best.observation, di.ExactLabels)
    assert isinstance(tuned.best.jumps, di.AllJumps)


# Without memory nothing tells amplitude and index apart for long: 20 CPU-seconds.
WITHOUT_MEMORY = pytest.param(0.5, 0.5, marks=pytest.mark.slow)


@pytest.mark.parametrize(("hurst", "learned"), [WITHOUT_MEMORY, (0.8, None)])
def test_an_index_is_learned_where_increments_remember(hurst, learned):
    times = [0.1 * k for k in range(16)]
    values = FractionalBrownianMotion(hurst).sample(times, 24, n_features=1, seed=2).numpy()
    paths = di.Paths(times=[times] * 24, states=list(values))
    model = di.FractionalSDE(noise=di.FractionalNoise(n_nodes=3), drift="none")
    tuned = run(paths, model, n_folds=4)
    assert tuned.best.noise.hurst == learned
    assert "nats an observation" in str(tuned)


def test_what_is_held_out_plays_no_part():
    paths = chains(LADDER, n=12)
    model = exact()
    space = only(model, paths, "jumps")
    spoilt = [np.zeros_like(s) if k in (3, 5) else s for k, s in enumerate(paths.states)]
    spoilt = di.Paths(times=paths.times, states=spoilt, state_names=paths.state_names)
    options = {"hold_out": ["3", "5"], "search_space": space, "n_folds": 3}
    tuned, expected = run(spoilt, model, **options), run(paths, model, **options)
    columns = tuned.table.columns.drop("seconds")
    pd.testing.assert_frame_equal(tuned.table[columns], expected.table[columns])
    assert tuned.hold_out == ("3", "5")
    fitted = tuned.fit(paths, hold_out=tuned.hold_out, progress=False)
    assert tuple(fitted.hold_out_) == ("3", "5")


def test_scores_are_those_of_compare():
    paths = chains(LADDER, n=12)
    tuned = run(paths, exact(), hold_out=0.25, search_space={}, n_folds=3, seed=4)
    assert tuned.settings_scored == 0
    space = {"jumps": [{"jumps": "reversible"}]}
    tuned = run(paths, exact(), hold_out=0.25, search_space=space, n_folds=3, seed=4)
    assert len(tuned.hold_out) == 3
    rest = paths.without(list(tuned.hold_out))
    model = exact(jumps="reversible")
    table = compare(rest, model, n_folds=3, seed=4, baselines=[], progress=False)
    is_reversible = tuned.table["candidate"].str.contains("reversible")
    own = tuned.table[is_reversible].reset_index(drop=True)
    for column in ("per_observation", "brier", "coverage"):
        np.testing.assert_array_equal(own[column], table[column])


def test_a_share_holds_out_whole_clones_where_these_are_told_apart():
    paths = chains([[-1.0, 1.0], [3.0, -3.0]], n=24, n_times=1, names=("a", "b"))
    clones = np.repeat([f"clone {k}" for k in range(8)], 3)
    paths = di.Paths(
        times=[[1.0]] * 24,
        states=paths.states,
        state_names=paths.state_names,
        conditions=list(clones),
    )
    model = exact(clones=di.Clones(ancestor_time=0.0))
    space = {"prior": [{"prior_width": 1.0}]}
    tuned = run(paths, model, hold_out=0.25, search_space=space, n_folds=2)
    of_clone = pd.Series(clones, index=paths.names.astype(str))
    held_out = set(of_clone[list(tuned.hold_out)])
    assert len(held_out) == 2
    assert len(tuned.hold_out) == 6
    # Nothing is forecast of one observation, and likelihoods choose alone.
    assert tuned.table["brier"].isna().all()
    assert np.isfinite(tuned.table["per_observation"]).all()


def test_the_search_space_is_that_of_the_states():
    ladder = chains(LADDER, n=2)
    named = chains(LADDER, n=2, names=("d", "c", "b", "a"))
    assert [type(c["jumps"]) for c in exact().search_space(ladder)["jumps"]] == [
        di.BirthDeath,
        di.Reversible,
        di.AllJumps,
    ]
    assert len(exact().search_space(named)["jumps"]) == 2
    # A rule of the user's own is left alone, and so are observations it does not go with.
    assert "jumps" not in exact(jumps=di.Only(["0>1", "1>2"])).search_space(ladder)
    assert di.MarkovJumpInference(observation=di.ExactTimes()).search_space(named).keys() == {
        "jumps"
    }
    fixed = di.FractionalSDE(noise=di.FractionalNoise(hurst=0.7))
    assert fixed.search_space(ladder) == {}
    assert are_ordered(["-1", "0.5", "2e3"])
    assert are_ordered(["3", "2"])
    assert not are_ordered(["1", "3", "2"])
    assert not are_ordered(["a", "b"])


def test_one_path_cannot_choose():
    tuned = run(chains(LADDER, n=2), exact(), hold_out="1")
    assert tuned.settings_scored == 0
    assert "There is no second path to leave out" in str(tuned)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_subsamples": 3}, "n_subsamples cannot be used where a method of paths"),
        ({"max_cells": 3}, "max_cells cannot be used"),
        ({"mass_key": "m"}, "mass_key cannot be used"),
        ({"hold_out": 1.5}, r"must lie in \(0, 1\), found 1.5"),
        ({"hold_out": 0.9}, "leaves none of 2 paths for the choice"),
        ({"n_folds": 9}, "2 paths cannot be left out in 9 folds"),
        ({"search_space": {"a": [{"jump": "all"}]}}, "search_space names 'jump'"),
    ],
)
def test_what_cannot_be_is_refused(options, says):
    paths = chains(LADDER, n=2)
    with pytest.raises(ValueError, match=says):
        run(paths, exact(), **options)
    with pytest.raises(KeyError, match="no path is named '7'"):
        run(paths, exact(), hold_out=["7"])


def test_paths_are_no_snapshots():
    snapshots = di.Snapshots(times=[0.0, 1.0], samples=[np.zeros((3, 1)), np.ones((3, 1))])
    for name in ("n_folds", "path_key"):
        with pytest.raises(ValueError, match=f"{name} cannot be used"):
            run(snapshots, di.ActionMatching(), **{name: 3})
    with pytest.raises(TypeError, match="tune cannot learn from snapshots"):
        run(snapshots, exact())

"""`tune` chooses on inner times alone, takes what helps, and leaves what does not."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch

import dyninfer as di
from dyninfer.diffusions import Diffusion
from dyninfer.estimators import SnapshotEstimator
from dyninfer.learning.run import Outcome
from dyninfer.tools import tune


@dataclass(kw_only=True, repr=False, eq=False)
class Drift(SnapshotEstimator):
    """A constant velocity along the first axis, which is a setting: nothing is learned."""

    citation = "none"
    uses = frozenset({"weight_key"})
    speed: float = 0.0
    fails_after: float | None = None

    def build(self, data, scaling):
        return torch.nn.Identity()

    def learn(self, process, data, run):
        if self.fails_after is not None and self.fails_after in data.times:
            raise ValueError("told to fail")
        speed = self.speed

        def drift(t, x):
            velocity = torch.zeros_like(x)
            velocity[:, 0] = speed
            return velocity

        return Outcome(history=pd.DataFrame(), status="finished", process=Diffusion(drift=drift))

    def search_space(self):
        return {"speed": [{"speed": 1.0}, {"speed": 2.0}, {"speed": 3.0}]}


def moving(times, n=80, speed=2.0, seed=0):
    rng = np.random.default_rng(seed)
    samples = [rng.normal(size=(n, 2)) + [t * speed, 0.0] for t in times]
    return di.Snapshots(times=times, samples=samples)


def run(data, estimator=None, **options):
    return tune(data, Drift() if estimator is None else estimator, progress=False, **options)


def test_the_gate_takes_what_helps_and_counts_what_was_scored():
    tuned = run(moving([0.0, 1.0, 2.0]))
    assert tuned.best.speed == 2.0
    assert not hasattr(tuned.best, "process_")
    assert tuned.settings_scored == 4
    # Four settings, one inner time, three subsamples.
    assert len(tuned.table) == 12
    assert np.isfinite(tuned.table[["w1", "energy"]]).all(axis=None)
    text = str(tuned)
    assert "speed=2.0: W1 -" in text
    assert "speed=3.0: W1 +" in text
    assert "4 settings were scored at 1 inner times of 3 subsamples." in text


def test_many_inner_times_take_the_plainest_within_one_error():
    # Speeds differ from time to time: 2.0 and 2.05 cannot be told apart, and 2.0 stands first.
    data = moving([0.0, 1.0, 2.0, 3.0, 4.0])
    space = {"speed": [{"speed": 2.0}, {"speed": 2.02}, {"speed": 0.5}]}
    tuned = run(data, search_space=space)
    assert tuned.best.speed == 2.0


def test_what_is_held_out_plays_no_part():
    data = moving([0.0, 1.0, 2.0, 3.0])
    spoilt = list(data.samples)
    spoilt[2] = np.full_like(spoilt[2], np.nan)
    spoilt = di.Snapshots(times=data.times, samples=spoilt)
    tuned, expected = run(spoilt, hold_out=2.0), run(data, hold_out=2.0)
    seconds = ["seconds"]
    pd.testing.assert_frame_equal(
        tuned.table.drop(columns=seconds), expected.table.drop(columns=seconds)
    )
    assert set(tuned.table["time"]) == {1.0}


def test_without_an_inner_time_nothing_is_chosen():
    tuned = run(moving([0.0, 1.0, 2.0]), Drift(speed=0.7), hold_out=1.0)
    assert tuned.best.speed == 0.7
    assert tuned.settings_scored == 0
    assert "No time lies between 0 and 2" in str(tuned)


def test_a_candidate_that_fails_is_not_taken():
    space = {"speed": [{"speed": 2.0, "fails_after": 2.0}]}
    tuned = run(moving([0.0, 1.0, 2.0]), search_space=space)
    assert tuned.best.speed == 0.0
    assert "failed at some time" in str(tuned)
    assert set(tuned.table["status"]) == {"finished", "failed"}


def test_settings_to_start_from_must_fit():
    with pytest.raises(ValueError, match="settings to start from failed without time 1: told to"):
        run(moving([0.0, 1.0, 2.0]), Drift(fails_after=2.0))


def test_a_clearly_larger_energy_distance_is_not_taken(monkeypatch):
    def scores(self, model, fold):
        # Half the W1, for twice the energy distance.
        gain = 1 + (model.speed == 2.0)
        return {
            "time": fold.time,
            "subsample": fold.subsample,
            "w1": 1 / gain,
            "energy": 0.1 * gain,
            "status": "finished",
            "seconds": 0.0,
        }

    monkeypatch.setattr("dyninfer.tools.inner_times.InnerTimes.score", scores)
    for times in ([0.0, 1.0, 2.0], [0.0, 1.0, 2.0, 3.0, 4.0]):
        tuned = run(moving(times), search_space={"speed": [{"speed": 2.0}]})
        assert tuned.best.speed == 0.0
        assert "speed=2.0: W1 -50.0% on average, not taken" in str(tuned)


def test_scores_are_kept_and_not_computed_again(tmp_path, monkeypatch):
    data = moving([0.0, 1.0, 2.0])
    first = run(data, checkpoint=tmp_path)

    def never(self, *args, **options):
        raise AssertionError("fitted again")

    monkeypatch.setattr(Drift, "learn", never)
    again = run(data, checkpoint=tmp_path)
    pd.testing.assert_frame_equal(again.table, first.table)
    assert again.best.speed == first.best.speed


def test_an_anndata_and_its_keys():
    adata = moving([0.0, 1.0, 2.0]).to_anndata()
    tuned = run(adata, time_key="time", use_rep="X")
    model = tuned.fit(adata, time_key="time", use_rep="X", progress=False)
    assert model.speed == 2.0
    assert list(model.times_) == [0.0, 1.0, 2.0]


def test_what_cannot_be_is_refused():
    data = moving([0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match="search_space names 'sped', which Drift does not have"):
        run(data, search_space={"speed": [{"sped": 1.0}]})
    for space in (3, {"speed": 3}, {"speed": [3]}, [{"speed": 1.0}]):
        with pytest.raises(TypeError, match="search_space must .*found"):
            run(data, search_space=space)
    with pytest.raises(TypeError, match="method such as ActionMatching"):
        run(data, Drift)
    with pytest.raises(ValueError, match="n_subsamples must be at least 1"):
        run(data, n_subsamples=0)


@pytest.mark.parametrize("settings", [{"interpolant": "one-sided"}, {"bridge_sigma": 0.5}])
def test_pairs_that_theory_fixes_are_not_searched(settings):
    assert di.StochasticInterpolant(**settings).search_space() == {}
    with_pairs = di.StochasticInterpolant()
    assert list(with_pairs.search_space().items()) == [
        ("coupling", [{"coupling": "growth_first"}]),
        # Last, so that it is asked of the pairs that were chosen.
        ("linear_part", [{"linear_part": True}]),
    ]
    chosen = di.StochasticInterpolant(coupling="growth_first", linear_part=True)
    assert chosen.search_space() == {}

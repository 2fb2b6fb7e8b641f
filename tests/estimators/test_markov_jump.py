"""Markov jump inference: truths that are recovered, intervals that cover, states that are seen through noise."""

import itertools
import math
from dataclasses import replace

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from jumps.cases import cav, random_generator
from scipy.linalg import expm
from sklearn.exceptions import NotFittedError

import dyninfer as di
from dyninfer.jumps import GaussianEmission, LabelNoise, observe
from dyninfer.simulation import simulate

GATE = [[-1.0, 1.0], [3.0, -3.0]]
RING = [[-1.5, 1.0, 0.5], [0.4, -1.2, 0.8], [1.2, 0.3, -1.5]]


def seen(generator, n, times, seed=0, emission=None, **settings):
    """Paths of a process, watched through an emission; without one, exactly."""
    emission = emission or LabelNoise.perfect(len(generator))
    process = di.MarkovJump(generator)
    return observe(
        simulate(process, None, np.asarray(times), n_paths=n, seed=seed),
        emission,
        seed=seed,
        **settings,
    )


def fitted(data, **settings):
    return di.MarkovJumpInference(**settings).fit(data, progress=False)


def log_error(model, generator):
    """Root mean square error of the log-rates."""
    truth = np.asarray(generator)
    off = ~np.eye(len(truth), dtype=bool)
    return np.sqrt(np.mean(np.log(model.generator_[off] / truth[off]) ** 2))


def as_adata(paths, shuffle=True):
    """One row per observation; a missing state is a missing entry."""
    names = np.repeat(paths.names, paths.lengths)
    states = np.concatenate(paths.states)
    labels = np.array([*paths.state_names, None], dtype=object)[states]
    obs = pd.DataFrame({"cell": names, "hour": np.concatenate(paths.times)})
    obs["type"] = pd.Categorical(labels, categories=paths.state_names)
    obs.index = obs.index.astype(str)
    if shuffle:
        obs = obs.sample(frac=1, random_state=0)
    return ad.AnnData(np.zeros((len(obs), 1)), obs=obs)


GRID = 0.2 * np.arange(40)


@pytest.mark.parametrize(
    ("emission", "settings", "within"),
    [
        # Over eight seeds errors were 0.02 to 0.09, 0.03 to 0.14, 0.06 to 0.13, and 0.05 to 0.12.
        (None, {"observation": "exact"}, 0.11),
        (LabelNoise.uniform(3, 0.01), {}, 0.16),
        (LabelNoise.uniform(3, 0.1), {}, 0.16),
        (
            GaussianEmission.of([0.0, 1.0, 2.0], 0.4),
            {"observation": di.Gaussian(3)},
            0.14,
        ),
    ],
    ids=["exact", "1 % wrong", "10 % wrong", "gaussian"],
)
def test_rates_are_recovered(emission, settings, within):
    model = fitted(seen(RING, 300, GRID, emission=emission), **settings)
    assert model.status_ == "finished"
    assert log_error(model, RING) < within
    if model.noise_ is not None:
        assert model.noise_ == pytest.approx(float(1 - emission.confusion[0, 0]), abs=0.012)
    if isinstance(model.emission_, GaussianEmission):
        torch.testing.assert_close(model.emission_.mean, emission.mean, atol=0.03, rtol=0)
        torch.testing.assert_close(model.emission_.std, emission.std, atol=0.02, rtol=0)


def test_wrong_labels_ruin_a_fit_that_believes_them():
    data = seen(RING, 300, GRID, emission=LabelNoise.uniform(3, 0.05))
    assert log_error(fitted(data, observation="exact"), RING) > 3 * log_error(fitted(data), RING)


@pytest.mark.parametrize("observation", ["exact", "label noise"])
def test_irregular_times_and_missing_states_are_no_obstacle(observation):
    noise = LabelNoise.uniform(3, 0.02 if observation == "label noise" else 0.0)
    data = seen(RING, 300, 0.1 * np.arange(80), emission=noise, keep=0.4, missing=0.2)
    assert log_error(fitted(data, observation=observation), RING) < 0.15


def test_structures_are_kept():
    flat = simulate(di.simulators.BirthDeath(largest=3).process(), None, GRID, n_paths=100, seed=0)
    data = observe(flat, LabelNoise.perfect(4))
    chain = fitted(data, observation="exact", jumps="birth-death")
    i = np.arange(4)
    assert (chain.generator_[abs(i[:, None] - i) > 1] == 0).all()
    assert (chain.generator_[abs(i[:, None] - i) == 1] > 0).all()
    balanced = fitted(seen(RING, 100, GRID), observation="exact", jumps="reversible")
    assert float(balanced.process_.detailed_balance_residual()) < 1e-9
    assert (
        balanced.fit_.log_likelihood
        <= fitted(seen(RING, 100, GRID), observation="exact").fit_.log_likelihood + 1e-6
    )
    one_way = fitted(
        data, observation="exact", jumps=di.Only(["0>1", "1>2", "2 > 3", "3>2", "2>1", "1>0"])
    )
    np.testing.assert_allclose(one_way.generator_, chain.generator_, rtol=1e-4)
    assert set(one_way.confidence_intervals()["source"]) == {"0", "1", "2", "3"}


CAV_JUMPS = ["0>1", "0>3", "1>0", "1>2", "1>3", "2>1", "2>3"]


def test_exact_entries_have_the_likelihood_that_msm_prints():
    data = cav()
    observation, jumps = di.ExactLabels(entries=["3"]), di.Only(CAV_JUMPS)
    model = fitted(data, observation=observation, jumps=jumps, prior_width=None)
    assert -2 * float(model.fit_.log_likelihood) == pytest.approx(3968.7978930519, abs=2e-3)
    table = model.confidence_intervals(0.95).set_index(["source", "target"])
    # Printed by msm 1.8.2 for the same data and jumps.
    np.testing.assert_allclose(
        table.loc[("0", "1"), ["rate", "low", "high"]], [0.1279, 0.1114, 0.1468], rtol=2e-3
    )
    np.testing.assert_allclose(
        table.loc[("1", "3"), ["rate", "low", "high"]], [0.0403, 0.0113, 0.1431], rtol=2e-2
    )
    died = np.array([x[-1] == 3 for x in data.states])
    assert died.any()
    assert np.isfinite(model.log_likelihoods(data)).all()
    total = model.evaluate(data)["log_likelihood"].sum() - np.log(model.initial_[0]) * len(data)
    assert total == pytest.approx(float(model.fit_.log_likelihood), abs=1e-3)


@pytest.mark.parametrize("observation", ["exact", "label noise"])
def test_intervals_cover_as_often_as_they_say(observation):
    times, hits = 0.3 * np.arange(20), []
    noise = LabelNoise.uniform(2, 0.05 if observation == "label noise" else 0.0)
    truth = di.MarkovJump(GATE)
    wanted = [*truth.stationary().tolist(), *truth.holding_times().tolist()]
    for seed in range(40):
        model = fitted(
            seen(GATE, 25, times, seed=10 * seed, emission=noise), observation=observation
        )
        table = model.confidence_intervals(0.9)
        rates = np.array(
            [GATE[int(a)][int(b)] for a, b in zip(table["source"], table["target"], strict=True)]
        )
        derived = model.derived(n_samples=400).iloc[:4]
        hits += [*((table["low"] < rates) & (rates < table["high"]))]
        hits += [*((derived["low"] < wanted) & (wanted < derived["high"]))]
    # One truth, in the middle of what the network believes possible: more often than a truth from the tails.
    assert 0.8 <= np.mean(hits) <= 0.99


def test_states_are_those_of_brute_force():
    noise, times = LabelNoise.uniform(2, 0.15), [0.0, 0.3, 1.0, 1.2, 2.0]
    data = seen(GATE, 30, times, emission=noise, missing=0.2)
    model = fitted(data)
    q, first, confusion = model.generator_, model.initial_, model.emission_.confusion.numpy()
    steps = [expm(q * wait) for wait in np.diff(times)]
    found = model.posterior_states(data)
    for name, labels in zip(data.names, data.states, strict=True):
        joint = {}
        for path in itertools.product(range(2), repeat=5):
            value = first[path[0]] * np.prod(
                [p[a, b] for p, a, b in zip(steps, path, path[1:], strict=False)]
            )
            joint[path] = value * np.prod(
                [confusion[s, o] for s, o in zip(path, labels, strict=True) if o >= 0]
            )
        total = sum(joint.values())
        rows = found[found["path"] == name]
        for k, row in enumerate(rows.itertuples()):
            share = [sum(v for path, v in joint.items() if path[k] == s) / total for s in range(2)]
            assert row.probability == pytest.approx(max(share), abs=1e-9)
            assert row.state == str(np.argmax(share))
        assert tuple(rows["viterbi"].astype(int)) == max(joint, key=joint.get)
        here = data.without([other for other in data.names if other != name])
        assert model.log_likelihoods(here)[0] == pytest.approx(np.log(total), abs=1e-9)


def test_derived_quantities_are_those_of_two_rates():
    model = fitted(seen(GATE, 100, GRID), observation="exact")
    (_, a), (b, _) = model.generator_
    table = model.derived().set_index("quantity")
    expected = {
        "stationary 0": b / (a + b),
        "holding time 1": 1 / b,
        "slowest relaxation time": 1 / (a + b),
        "entropy production": 0.0,
    }
    for name, value in expected.items():
        assert table.loc[name, "value"] == pytest.approx(value, abs=1e-9)
    assert (table["low"] <= table["value"] + 1e-9).all()
    assert (table["value"] <= table["high"] + 1e-9).all()

    def opening(process):
        return process.generator[..., 0, 1]

    one, rates = model.derived(opening, n_samples=20_000), model.confidence_intervals()
    assert one.loc[0, "quantity"] == "opening"
    np.testing.assert_allclose(
        one.loc[0, ["low", "high"]].astype(float),
        rates.loc[0, ["low", "high"]].astype(float),
        rtol=0.01,
    )


@pytest.mark.parametrize(
    ("emission", "settings"),
    [
        (None, {"observation": "exact"}),
        (LabelNoise.uniform(3, 0.05), {"jumps": "reversible"}),
        (GaussianEmission.of([0.0, 1.0, 2.0], 0.3), {"observation": di.Gaussian(3)}),
        (GaussianEmission.of([0.0, 1.0, 2.0], 0.3), {"states": di.KMeansStates(n_states=3)}),
    ],
    ids=["exact", "labels", "gaussian", "rule"],
)
def test_a_model_comes_back_from_its_file(emission, settings, tmp_path):
    data = seen(RING, 30, GRID, emission=emission)
    model = fitted(data, **settings)
    again = di.load(model.save(tmp_path / "model.safetensors"))
    np.testing.assert_array_equal(again.generator_, model.generator_)
    np.testing.assert_allclose(again.log_likelihoods(data), model.log_likelihoods(data), rtol=1e-12)
    pd.testing.assert_frame_equal(
        again.confidence_intervals(), model.confidence_intervals(), rtol=1e-12
    )
    pd.testing.assert_frame_equal(again.posterior_states(data), model.posterior_states(data))
    pd.testing.assert_frame_equal(again.history_, model.history_)
    assert again.noise_ == model.noise_


def test_rows_of_an_anndata_may_come_in_any_order():
    data = seen(RING, 40, GRID, emission=LabelNoise.uniform(3, 0.03), missing=0.05)
    straight = fitted(data)
    adata = as_adata(data)
    keys = {"path_key": "cell", "time_key": "hour", "state_key": "type"}
    model = di.MarkovJumpInference().fit(adata, **keys, progress=False)
    np.testing.assert_allclose(model.generator_, straight.generator_, rtol=1e-6)
    model.annotate(adata)
    wanted = straight.posterior_states(data).set_index(["path", "time"])
    for name, hour, state, share in zip(
        adata.obs["cell"],
        adata.obs["hour"],
        adata.obs["dyninfer_state"],
        adata.obs["dyninfer_state_probability"],
        strict=True,
    ):
        assert state == wanted.loc[(name, hour), "state"]
        assert share == pytest.approx(wanted.loc[(name, hour), "probability"], abs=1e-6)


@pytest.mark.parametrize("observation", ["exact", "label noise"])
def test_relabelling_states_permutes_the_generator(observation):
    data = seen(random_generator(4, 0), 50, GRID, emission=LabelNoise.uniform(4, 0.01))
    order = np.array([2, 0, 3, 1])
    other = di.Paths(
        times=data.times, states=[order[x] for x in data.states], state_names=data.state_names
    )
    one, two = fitted(data, observation=observation), fitted(other, observation=observation)
    np.testing.assert_allclose(two.generator_[np.ix_(order, order)], one.generator_, rtol=1e-3)
    assert float(two.fit_.log_likelihood) == pytest.approx(float(one.fit_.log_likelihood), abs=1e-6)


@pytest.mark.parametrize("observation", ["exact", "label noise"])
def test_other_time_units_divide_the_rates(observation):
    data = seen(random_generator(3, 1), 20, GRID, emission=LabelNoise.uniform(3, 0.01))
    slow = di.Paths(times=[60 * t for t in data.times], states=data.states)
    one, two = fitted(data, observation=observation), fitted(slow, observation=observation)
    np.testing.assert_allclose(60 * two.generator_, one.generator_, rtol=1e-4)


def test_rates_of_which_the_data_say_nothing_are_named_and_stay_finite():
    data = di.Paths(
        times=[range(6)] * 3,
        states=[[0, 0, 1, 0, 0, 0], [0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]],
        state_names=["a", "b", "c"],
    )
    with_prior = fitted(data, observation="exact").confidence_intervals()
    assert with_prior["rate"].max() < 5
    assert np.isfinite(with_prior["high"]).all()
    without = fitted(data, observation="exact", prior_width=None).confidence_intervals()
    assert without.loc[without["source"] == "c", "flat"].all()


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"prior_width": None}, "Laplace"),
        ({"jumps": "reversible"}, "Laplace"),
        ({}, "importance sampling"),
        ({"refine": False}, "network"),
    ],
)
def test_jumps_out_of_states_never_seen_to_be_left_are_flat_in_every_posterior(
    settings, kind, tmp_path
):
    data = di.Paths(
        times=[range(6)] * 4,
        states=[[0, 1, 0, 1, 0, 0], [0, 1, 1, 1, 0, 1], [0, 1, 0, 1, 0, 2], [1, 0, 1, 0, 1, 0]],
        state_names=["a", "b", "c", "d"],
    )
    model = fitted(data, observation="exact", **settings)
    assert model.posterior_.kind == kind
    table = model.confidence_intervals()
    # Paths end in c, and d has no label: of both the data tell nothing of how they are left.
    expected = table["source"].isin(["c", "d"])
    assert table.loc[expected, "flat"].all()
    left = table[~expected & table["target"].isin(["a", "b"])]
    assert len(left) == 2
    assert not left["flat"].any()
    again = di.load(model.save(tmp_path / "model")).confidence_intervals()
    pd.testing.assert_frame_equal(again, table)


@pytest.mark.parametrize("n_samples", [0, -3, 2.5, True, "3", np.nan, None, [4], np.arange(2)])
def test_forecasts_name_a_number_of_samples_that_cannot_be(n_samples):
    data = seen(GATE, 4, GRID)
    model = fitted(data, observation="exact")
    with pytest.raises((TypeError, ValueError), match="n_samples must be"):
        model.forecast(data, [9.0], n_samples=n_samples)


@pytest.mark.parametrize("level", [0, 1.0, -0.5, True, "0.9", np.nan, None, [0.9], np.ones(2), 1j])
def test_intervals_and_draws_name_what_cannot_be(level):
    model = fitted(seen(GATE, 4, GRID), observation="exact")
    with pytest.raises((TypeError, ValueError), match="level must"):
        model.confidence_intervals(level)
    with pytest.raises((TypeError, ValueError), match="level must"):
        model.derived(level=level, n_samples=10)
    for n in (0, level):
        with pytest.raises((TypeError, ValueError), match="n must be"):
            model.posterior_.draw(n)


def test_conditions_of_paths_are_refused_unless_they_name_clones():
    data = seen(GATE, 4, GRID)
    grouped = replace(data, conditions=np.array(["drug", "drug", "none", "none"]))
    with pytest.raises(ValueError, match="the paths have conditions.*conditions=None"):
        fitted(grouped, observation="exact")
    clones = di.Clones(ancestor_time=-1.0)
    assert fitted(grouped, observation="exact", clones=clones).status_ in (
        "finished",
        "stopped early",
    )


def test_a_short_recording_of_float32_is_no_special_case():
    data = seen(RING, 20, GRID, emission=GaussianEmission.of([0.0, 1.0, 2.0], 0.3))
    single = di.Paths(times=data.times, states=[x.astype(np.float32) for x in data.states])
    one, two = (fitted(d, observation=di.Gaussian(3)) for d in (data, single))
    assert one.process_.generator.dtype == two.process_.generator.dtype == torch.float64
    np.testing.assert_allclose(two.generator_, one.generator_, rtol=1e-3)


def test_simulations_have_the_law_that_was_learned():
    model = fitted(seen(GATE, 100, GRID), observation="exact")
    run = model.simulate(None, [5.0, 5.4], n_paths=20_000)
    expected = model.initial_ @ expm(0.4 * model.generator_)
    assert float(run.states[:, 1].double().mean()) == pytest.approx(expected[1], abs=0.012)
    np.testing.assert_array_equal(model.simulate(["1", "0"], [0.0, 1e-9]).states[:, 1], [1, 0])


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"observation": "guess"}, "observation must be one of"),
        ({"jumps": "ring"}, "jumps must be one of"),
        ({"prior_width": 0.0}, "prior_width must be positive"),
        ({"observation": di.Labels(n_states=1)}, "n_states must be at least 2"),
        ({"observation": "gaussian"}, r"lacks the number of hidden states; write Gaussian"),
        (
            {"observation": di.Gaussian(2), "states": di.KMeansStates(n_states=2)},
            "leave out states",
        ),
        ({"jumps": di.Only(["0 to 1"])}, "'from>to'"),
        (
            {"refine": False, "observation": "confusion"},
            r"not trained for observation=Confusion\(\)",
        ),
        ({"refine": False, "jumps": "reversible"}, r"not trained for jumps=Reversible\(\)"),
        ({"refine": False, "jumps": di.Only(["0>1"])}, "not trained for jumps=Only"),
        (
            {"refine": False, "observation": di.ExactLabels(entries=["0"])},
            "not trained for observation=ExactLabels",
        ),
        ({"refine": False, "clones": di.Clones(0.0)}, "not trained for clones=Clones"),
        ({"jumps": di.Only(["0>9"])}, "no state '9'"),
        ({"observation": di.ExactLabels(entries=["dead"])}, "no state 'dead'"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, words):
    with pytest.raises(ValueError, match=words):
        fitted(seen(GATE, 3, GRID), **settings)


def test_wrong_data_are_refused_with_a_remedy():
    numbers = seen(GATE, 3, GRID, emission=GaussianEmission.of([0.0, 1.0], 0.1))
    with pytest.raises(TypeError, match="MixtureStates"):
        fitted(numbers)
    with pytest.raises(TypeError, match="discrete states"):
        fitted(seen(GATE, 3, GRID), observation=di.Gaussian(2))
    with pytest.raises(ValueError, match="n_states=2, but the data name 3"):
        fitted(seen(RING, 3, GRID), observation=di.Labels(n_states=2))
    with pytest.raises(ValueError, match="path_key is needed"):
        di.MarkovJumpInference().fit(as_adata(seen(GATE, 3, GRID)), time_key="hour")
    model = fitted(seen(GATE, 3, GRID))
    with pytest.raises(ValueError, match="n_paths is needed"):
        model.simulate(None, [0.0, 1.0])
    with pytest.raises(ValueError, match="level must lie between"):
        model.confidence_intervals(95)
    with pytest.raises(ValueError, match="state"):
        model.simulate([0, 2], [0.0, 1.0])


@pytest.mark.parametrize("observation", ["exact", "label noise"])
def test_forecasts_from_gappy_labels_beat_a_state_held_still(observation):
    data = seen(RING, 60, 0.2 * np.arange(20), missing=0.2)
    model = fitted(data, observation=observation)
    by_time = model.evaluate(data, by="time", n_intervals=2, n_samples=20)
    assert (by_time["brier"] < by_time["brier_still"]).all()
    assert (by_time["hellinger"] < by_time["hellinger_floor"] + 0.1).all()


NEIGHBOURS = [[0.95, 0.05, 0.0], [0.1, 0.8, 0.1], [0.0, 0.05, 0.95]]


def test_states_that_are_mixed_up_with_their_neighbours_need_a_confusion_matrix():
    noise = LabelNoise(torch.tensor(NEIGHBOURS, dtype=torch.float64))
    data = seen(RING, 200, GRID, emission=noise)
    model = fitted(data, observation="confusion")
    torch.testing.assert_close(model.emission_.confusion, noise.confusion, atol=0.025, rtol=0)
    assert model.noise_ == pytest.approx(0.1, abs=0.015)
    assert log_error(model, RING) < 0.14
    uniform = fitted(data)
    assert log_error(uniform, RING) > 1.5 * log_error(model, RING)
    assert model.fit_.bic < uniform.fit_.bic


def test_clones_are_read_from_an_anndata():
    cells = ad.AnnData(
        np.zeros((6, 1)),
        obs=pd.DataFrame(
            {
                "day": [2, 2, 4, 2, 2, 4],
                "clone": list("aaabbb"),
                "type": pd.Categorical(list("ssrssw")),
                "cell": list("uvwxyz"),
            },
            index=list("uvwxyz"),
        ),
    )
    keys = {"path_key": "cell", "time_key": "day", "state_key": "type", "condition_key": "clone"}
    model = di.MarkovJumpInference(observation="exact", clones=di.Clones(0.0))
    model.fit(cells, **keys, hold_out=["x", "y", "z"], progress=False)
    table = model.evaluate(cells)
    assert table["held_out"].tolist() == [False] * 3 + [True] * 3
    assert model.process_.state_names == ("r", "s", "w")
    np.testing.assert_allclose(
        table["log_likelihood"][:3].sum(), float(model.fit_.log_likelihood), rtol=1e-9
    )


def test_states_of_a_subset_are_matched_by_name():
    """An AnnData that was subset forgets a state and numbers the others anew."""
    from dyninfer.testing import example_paths

    data = example_paths()
    model = di.MarkovJumpInference().fit(
        data, time_key="day", path_key="track", state_key="state", progress=False
    )
    whole = model.evaluate(data).set_index("path")["log_likelihood"]
    without = [
        name
        for name, rows in data.obs.groupby("track", observed=True)
        if "low" not in set(rows["state"])
    ]
    part = data[data.obs["track"].isin(without)].copy()
    part.obs["state"] = part.obs["state"].cat.remove_unused_categories()
    assert list(part.obs["state"].cat.categories)[0] != "low"
    found = model.evaluate(part).set_index("path")["log_likelihood"]
    np.testing.assert_allclose(found[without], whole[without], rtol=1e-9)
    part.obs["state"] = part.obs["state"].cat.rename_categories({"high": "tall"})
    with pytest.raises(
        ValueError, match="there is no state 'tall'; the states are low, middle, high"
    ):
        model.evaluate(part)


def test_a_level_or_a_number_of_draws_that_cannot_be_is_named():
    paths = di.Paths(times=[[0, 1, 2, 3]] * 3, states=[[0, 1, 1, 0]] * 3)
    model = di.MarkovJumpInference(observation="exact").fit(paths, progress=False)
    for call in (model.derived, model.confidence_intervals):
        with pytest.raises(ValueError, match="level must lie between 0 and 1, found 2"):
            call(level=2)
    with pytest.raises(ValueError, match="n_samples must be at least 1, found 0"):
        model.derived(n_samples=0)


@pytest.mark.parametrize("observation", ["exact", "label noise"])
def test_the_network_alone_says_all_that_a_fit_says(observation, tmp_path):
    noise = LabelNoise.uniform(3, 0.0 if observation == "exact" else 0.02)
    data = seen(RING, 100, GRID, emission=noise)
    model = fitted(data, observation=observation, refine=False)
    assert (model.fit_, model.ess_, model.posterior_.kind) == (None, None, "network")
    assert log_error(model, RING) < 0.3
    if observation == "label noise":
        assert 0.005 < model.noise_ < 0.05
    table, derived = model.confidence_intervals(), model.derived().set_index("quantity")
    truth = [RING[int(a)][int(b)] for a, b in zip(table["source"], table["target"], strict=True)]
    assert (table["low"] < truth).sum() + (truth < table["high"]).sum() >= 10
    law = di.MarkovJump(RING).stationary().numpy()
    np.testing.assert_allclose(derived["value"][:3], law, atol=0.05)
    assert np.isfinite(derived).all(axis=None)
    again = di.load(model.save(tmp_path / "model.safetensors"))
    pd.testing.assert_frame_equal(again.confidence_intervals(), table)
    pd.testing.assert_frame_equal(again.derived().set_index("quantity"), derived)
    pd.testing.assert_frame_equal(again.posterior_states(data), model.posterior_states(data))
    np.testing.assert_allclose(again.log_likelihoods(data), model.log_likelihoods(data), rtol=1e-12)
    assert (again.posterior_.kind, again.status_) == ("network", "finished")


def test_weighted_draws_come_back_from_their_file(tmp_path):
    model = fitted(seen(RING, 40, GRID), observation="exact")
    assert model.posterior_.kind == "importance sampling"
    assert model.ess_ >= 10
    again = di.load(model.save(tmp_path / "model.safetensors"))
    assert (again.ess_, again.posterior_.kind) == (model.ess_, model.posterior_.kind)
    pd.testing.assert_frame_equal(again.confidence_intervals(), model.confidence_intervals())
    pd.testing.assert_frame_equal(again.derived(), model.derived())


def test_intervals_are_normal_where_too_few_draws_are_effective(monkeypatch):
    data = seen(RING, 40, GRID)
    drawn = fitted(data, observation="exact")
    monkeypatch.setattr("dyninfer.jumps.posterior.refine.LEAST_ESS", 1e9)
    model = fitted(data, observation="exact")
    assert drawn.posterior_.kind == "importance sampling"
    assert model.posterior_.kind == "Laplace"
    np.testing.assert_array_equal(model.generator_, drawn.generator_)
    table, log_std = model.confidence_intervals(), model.fit_.covariance.diagonal().sqrt().numpy()
    np.testing.assert_allclose(
        np.log(table["high"] / table["low"]), 2 * 1.6448536269514722 * log_std, rtol=1e-6
    )


def test_many_clean_paths_outweigh_what_the_network_believes():
    for seed in range(3):
        data = seen(RING, 1000, GRID, seed=seed)
        refined, plain = (
            fitted(data, observation="exact", prior_width=width) for width in (2.5, None)
        )
        assert float(refined.fit_.log_likelihood) > float(plain.fit_.log_likelihood) - 1
        assert log_error(refined, RING) < 1.1 * log_error(plain, RING)


def test_what_cannot_be_asked_of_a_model_is_named():
    paths = di.Paths(times=[[0, 1, 2, 3]] * 3, states=[[0, 1, 1, 0]] * 3)
    model = fitted(paths, observation="exact", refine=False)
    for call, kind, word in (
        (lambda: model.simulate([0], []), ValueError, "times is empty"),
        (
            lambda: model.simulate([0], [0, 1], n_paths=0),
            ValueError,
            "n_paths must be a positive integer or None, but it is 0",
        ),
        (
            lambda: model.simulate([0], [0, 1], n_paths=2.5),
            ValueError,
            "n_paths must be a positive integer or None, but it is 2.5",
        ),
        (lambda: model.simulate([0], [0, 1], seed=1.5), TypeError, "seed must be a whole number"),
        (lambda: model.sample_processes(2.5), TypeError, "n must be a whole number"),
        (lambda: di.MarkovJumpInference().log_likelihoods(paths), NotFittedError, "not fitted yet"),
    ):
        with pytest.raises(kind, match=word):
            call()


def test_a_fit_that_fails_leaves_the_old_model_whole():
    rng = np.random.default_rng(0)
    labels = [np.arange(12) // 2 % 2 for _ in range(4)]
    paths = di.Paths(
        times=[np.arange(12.0)] * 4, states=[x + 0.1 * rng.normal(size=12) for x in labels]
    )
    model = fitted(paths, states=di.KMeansStates(n_states=2), observation="exact")
    before = model.log_likelihoods(paths)
    once = di.Paths(times=[[0.0]] * 4, states=[[9.0], [8.0], [1.0], [0.0]])
    with pytest.raises(ValueError, match="no path"):
        model.fit(once, progress=False)
    assert np.array_equal(model.log_likelihoods(paths), before)


def test_the_table_shows_the_rates_of_the_generator_also_of_states_that_were_hardly_seen(
    monkeypatch,
):
    monkeypatch.setattr("dyninfer.jumps.posterior.refine.LEAST_ESS", math.inf)
    model = fitted(seen(RING, 8, np.arange(10.0)), observation=di.ExactLabels(n_states=4))
    assert model.posterior_.kind == "Laplace"
    table, names = model.confidence_intervals(), list(model.process_.state_names)
    rates = [
        model.generator_[names.index(a), names.index(b)]
        for a, b in zip(table["source"], table["target"], strict=True)
    ]
    np.testing.assert_allclose(table["rate"], rates)
    assert ((table["low"] <= table["rate"]) & (table["rate"] <= table["high"])).all()


def test_a_setting_changed_after_fit_reads_no_data_otherwise():
    paths = seen(GATE, 20, 0.3 * np.arange(10))
    model = fitted(paths, observation="exact")
    model.observation = "label noise"
    for use in (model.evaluate, model.posterior_states, model.log_likelihoods):
        with pytest.raises(ValueError, match="^observation was changed after fit, from 'exact'"):
            use(paths)


@pytest.mark.parametrize("n_samples", [0, -1, 1j, 2**40, 10**400])
def test_forecasts_of_odd_numbers_of_draws_are_refused(n_samples):
    times = [np.arange(6.0)] * 4
    paths = di.Paths(times=times, states=[np.arange(6) % 2] * 4)
    model = di.MarkovJumpInference().fit(paths, progress=False)
    with pytest.raises((TypeError, ValueError, MemoryError), match="n_samples must|draws at"):
        model.forecast(paths, [7.0], n_samples=n_samples)

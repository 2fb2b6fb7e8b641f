"""Weights of starting cells, and what is said of numbers that are hard to believe."""

import warnings
from dataclasses import replace

import anndata
import numpy as np
import pytest
import torch

import dyninfer as di
from dyninfer.estimators.cautions import warn_of_collapse

SMALL = {"width": 16, "depth": 2}


def cloud(seed, n=60, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1, (n, 2)).astype(np.float32)


def snapshots(weighted=True, **others):
    weights = None
    if weighted:
        weights = [np.linspace(0, 1, 60), np.ones(60)]
    return di.Snapshots(times=[0, 1], samples=[cloud(0), cloud(1)], weights=weights, **others)


def fitted(data, method=di.ActionMatching, **settings):
    model = method(**SMALL, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.fit(data, max_steps=5, progress=False)


def messages(call):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        call()
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize("method", [di.ActionMatching, di.StochasticInterpolant])
def test_weighted_cells_start_weighted(method):
    data = snapshots()
    run = fitted(data, method).simulate(data, [0, 1])
    right = np.average(data.samples[0], axis=0, weights=data.weights[0])
    np.testing.assert_allclose(run.mean()[0], right, rtol=1e-5)
    np.testing.assert_allclose(run.mass, [1, 1])


@pytest.mark.parametrize("options", [{"n_paths": 6000}, {"n_paths": 6000, "resample": 0.5}])
def test_paths_are_drawn_in_proportion_to_the_weights_of_cells(options):
    data = snapshots()
    run = fitted(data).simulate(data, [0, 1], **options)
    right = np.average(data.samples[0], axis=0, weights=data.weights[0])
    np.testing.assert_allclose(run.states[:, 0].mean(0), right, atol=0.01)


def test_cells_under_conditions_start_weighted():
    labels = [np.tile(["a", "b"], 30)] * 2
    data = snapshots(conditions=labels)
    run = fitted(data, di.StochasticInterpolant).simulate(data, [0, 1])
    np.testing.assert_allclose(run.weights[:, 0], data.weights_at(0))


def test_weights_count_once_in_scores():
    data = snapshots()
    model = fitted(data)
    # Without motion, cells that are not moved and those that are score alike.
    for parameter in model.process_.parameters():
        parameter.zero_()
    table = model.evaluate(data, metrics=["w1", "energy"])
    np.testing.assert_allclose(table["w1"], table["w1_still"], rtol=1e-6)
    np.testing.assert_allclose(table["energy"], table["energy_still"], rtol=1e-5)


def test_rectified_growth_follows_the_process_and_not_the_weights_of_cells():
    data = snapshots()
    model = fitted(data, di.StochasticInterpolant, gamma="none")
    again = model.rectify(data, max_steps=5, progress=False)
    assert not again.facts_["grows"]


def test_keys_are_refused_for_a_density_curve():
    curve = di.DensityCurve(lambda t, n: t[:, None] + torch.randn(n, 1), times=(0.0, 1.0))
    with pytest.raises(ValueError, match="weight_key names a key"):
        di.ActionMatching().fit(curve, weight_key="w", progress=False)


def test_a_bridge_that_is_given_masses_leaves_them_out_in_words():
    data = snapshots(False, masses=[1.0, 3.0])
    with pytest.warns(UserWarning, match="masses of the snapshots are not used"):
        di.StochasticInterpolant(bridge_sigma=0.5, **SMALL).fit(data, max_steps=5, progress=False)
    with pytest.raises(ValueError, match="bridge_sigma needs coupling="):
        di.StochasticInterpolant(bridge_sigma=0.5, coupling="unbalanced").fit(data)


def test_fields_beyond_the_times_of_the_data_are_warned_of():
    data = snapshots(False)
    adata = data.to_anndata()
    model = di.ActionMatching(**SMALL).fit(
        adata, time_key="time", use_rep="X", max_steps=5, progress=False
    )
    assert messages(lambda: model.annotate(adata)) == []
    adata.obs["time"] += 3
    assert "annotating from 3 to 4, beyond the data" in messages(lambda: model.annotate(adata))[0]


def test_a_view_of_a_file_is_not_annotated_but_explained(tmp_path):
    adata = snapshots(False).to_anndata()
    model = di.ActionMatching(**SMALL).fit(
        adata, time_key="time", use_rep="X", max_steps=5, progress=False
    )
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = anndata.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    with pytest.raises(ValueError, match="to_memory"):
        model.annotate(backed[:5])


def test_an_empty_world_size_is_none_and_a_wrong_one_is_named(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "")
    fitted(snapshots(False))
    monkeypatch.setenv("WORLD_SIZE", "two")
    with pytest.raises(ValueError, match="WORLD_SIZE is 'two'"):
        fitted(snapshots(False))


def test_scores_of_the_cells_of_the_fit_are_called_in_sample():
    data = snapshots(False)
    model = fitted(data)
    own = messages(lambda: model.evaluate(data))
    assert any("in-sample" in message for message in own)
    other = replace(data, samples=(cloud(2), cloud(3)))
    assert not model.evaluate(other)["in_sample"].any()


def test_cells_of_the_fit_are_known_in_any_order_part_and_number_format():
    samples = [cloud(k, 300) for k in range(3)]
    data = di.Snapshots(times=[0, 1, 2], samples=samples)
    model = fitted(data)
    rng = np.random.default_rng(0)
    shuffled = [sample[rng.permutation(300)] for sample in samples]
    half = [sample[:150].astype(np.float64) for sample in shuffled]
    for times, cells in (([0, 1, 2], shuffled), ([0, 1, 2], half), ([0, 2], samples[::2])):
        table = model.evaluate(di.Snapshots(times=times, samples=cells), metrics=["w1"])
        assert table["in_sample"].all()
    # One time is of the fit, the other has cells of its own.
    mixed = di.Snapshots(times=[0, 1, 2], samples=[samples[0], cloud(9, 300), samples[2]])
    assert model.evaluate(mixed, metrics=["w1"])["in_sample"].tolist() == [False, True]


def test_what_was_learned_from_is_known_after_a_file(tmp_path):
    data = snapshots(False)
    path = fitted(data).save(tmp_path / "model.safetensors")
    assert di.load(path).evaluate(data, metrics=["w1"])["in_sample"].all()


def test_times_of_a_warning_can_be_told_apart():
    start = 1_700_000_000
    data = replace(snapshots(False), times=[start, start + 3600])
    model = fitted(data)
    beyond = messages(lambda: model.simulate(data, [start, start + 7200]))
    assert "from 1700000000 to 1700007200, beyond the data (1700000000 to" in beyond[0]
    in_sample = messages(lambda: model.evaluate(data, metrics=["w1"]))
    assert any("the scores at time 1700003600 are in-sample" in message for message in in_sample)


def test_a_score_below_the_floor_is_called_so():
    near = snapshots(False, features=("a", "b"))
    model = fitted(di.Snapshots(times=[0, 1], samples=[near.samples[0], near.samples[0]]))
    for parameter in model.process_.parameters():
        parameter.zero_()
    # The same cells again: nearer to them than any other sample would be.
    data = di.Snapshots(times=[0, 1], samples=[near.samples[1], near.samples[1]])
    said = messages(lambda: model.evaluate(data, metrics=["w1"]))
    assert any("below the floor: w1 at time 1" in message for message in said)


@pytest.mark.parametrize("masses", [[1.0, 2.0], None])
def test_growth_that_runs_away_is_warned_of_by_name(masses):
    data = snapshots(False, masses=masses)
    model = fitted(data, growth_penalty=1.0)
    # What is learned is bounded; its known mean is not.
    model.process_.inner.law.rate.add_(5.0)
    said = messages(lambda: model.simulate(data, [0, 1]))
    if masses is not None:
        said += messages(lambda: model.evaluate(data, metrics=["w1"]))
    assert said[0].startswith("the simulated mass is far from")
    assert said[-1].startswith("the simulated mass is far from")
    assert all(len(message) <= 300 for message in said)


def test_a_few_paths_that_carry_all_weight_are_warned_of_by_name():
    log_weights = torch.zeros(60, 2)
    log_weights[0, 1] = 20
    run = di.Trajectories(states=torch.zeros(60, 2, 2), times=[0, 1], log_weights=log_weights)
    (message,) = messages(lambda: warn_of_collapse(run))
    assert message.startswith("the effective sample size falls from 60 to 1")
    assert len(message) <= 300

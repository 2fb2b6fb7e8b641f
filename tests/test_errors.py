"""What a user of a whole estimator is told, case by case: one sentence with the name, what was found, and the cure."""

import os
import re

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from sklearn.exceptions import NotFittedError

import dyninfer as di
from dyninfer.data.time_reading import as_times


def cells(n_per_time=30, times=(0, 1, 3), d=3):
    rng = np.random.default_rng(0)
    day = np.repeat(times, n_per_time)
    obs = pd.DataFrame({"day": day, "label": "a"}, index=[f"c{i}" for i in range(len(day))])
    adata = anndata.AnnData(rng.normal(size=(len(day), 5)).astype(np.float32), obs=obs)
    adata.obsm["X_pca"] = rng.normal(day[:, None], 1, (len(day), d)).astype(np.float32)
    return adata


def fit(data=None, model=None, **given):
    model = di.ActionMatching(width=4, depth=1) if model is None else model
    given = {"time_key": "day", "max_steps": 1, "progress": False} | given
    return model.fit(cells() if data is None else data, **given)


@pytest.fixture(scope="module")
def fitted():
    return fit()


def spoilt(how):
    adata = cells()
    how(adata)
    return adata


def one_sentence(error):
    """Errors of a user's making are short, and no bare error of a library underneath."""
    text = str(error.value)
    assert 15 < len(text) < 400
    assert "\n" not in text
    assert error.value.__cause__ is None
    return text


FIT_ERRORS = {
    "misspelt time key": (
        lambda: {"time_key": "dya"},
        KeyError,
        "time_key 'dya' is not in adata.obs; did you mean 'day'?",
    ),
    "no time key": (
        lambda: {"time_key": None},
        KeyError,
        "time_key is needed for an AnnData; columns that look like times: 'day'",
    ),
    "text times": (
        lambda: {
            "data": spoilt(lambda a: a.obs.__setitem__("day", "E" + a.obs["day"].astype(str)))
        },
        ValueError,
        "'day' holds text ('E0'); times must be numbers: in d, 'E0' is 0, 'E1' is 1, 'E3' is 3. Make "
        "them: adata.obs['day'] = di.read_times(adata.obs['day'], 'd')",
    ),
    "one time": (
        lambda: {"data": cells(times=(8.5,))},
        ValueError,
        "need at least two times in adata.obs['day'], found [8.5]",
    ),
    "no cells": (lambda: {"data": cells()[:0]}, ValueError, "need at least two times"),
    "missing values": (
        lambda: {"data": spoilt(lambda a: a.obsm["X_pca"].__setitem__((4, 1), np.nan))},
        ValueError,
        "X_pca at time 0 has NaN or infinite values in 1 of 30 rows (first: 'c4'); remove or impute them",
    ),
    "infinite values": (
        lambda: {"data": spoilt(lambda a: a.obsm["X_pca"].__setitem__((40, 1), np.inf))},
        ValueError,
        "X_pca at time 1 has NaN or infinite values in 1 of 30 rows (first: 'c40')",
    ),
    "no such representation": (
        lambda: {"use_rep": "X_scvi"},
        KeyError,
        "use_rep 'X_scvi' is not in adata.obsm; there are 'X_pca', 'X'",
    ),
    "no principal components": (
        lambda: {"data": spoilt(lambda a: a.obsm.clear()), "use_rep": "X_pca"},
        KeyError,
        "compute it with sc.pp.pca(adata)",
    ),
    "genes without components": (
        lambda: {
            "data": anndata.AnnData(
                sp.csr_matrix((60, 3000), dtype=np.float32),
                obs=pd.DataFrame({"day": np.arange(60) % 2}, index=np.arange(60).astype(str)),
            )
        },
        ValueError,
        "there are 3000 genes and no adata.obsm['X_pca'], and distances between so many genes are",
    ),
    "matrix too large": (
        lambda: {
            "data": anndata.AnnData(
                sp.csr_matrix((200_000, 60_000), dtype=np.float32),
                obs=pd.DataFrame(
                    {"day": np.arange(200_000) % 2}, index=np.arange(200_000).astype(str)
                ),
            ),
            "use_rep": "X",
        },
        MemoryError,
        "X as a dense 100000 x 60000 array takes 24.0 GB; reduce it first (sc.pp.pca(adata)) and give use_rep='X_pca'",
    ),
    "text features": (
        lambda: {
            "data": spoilt(
                lambda a: a.obsm.__setitem__(
                    "words", pd.DataFrame({"a": ["x"] * 90}, index=a.obs_names)
                )
            ),
            "use_rep": "words",
        },
        TypeError,
        "words holds",
    ),
    "held-out time that is not there": (
        lambda: {"hold_out": 2},
        ValueError,
        "no snapshot at time 2; the times are 0, 1, 3",
    ),
    "a choice that is an array": (
        lambda: {"resume": np.array([True, False])},
        TypeError,
        "resume must be True or False, found array([ True, False])",
    ),
    "a choice that is missing": (
        lambda: {"progress": pd.NA},
        TypeError,
        "progress must be True or False, found <NA>",
    ),
    "a seed of thousands of digits": (
        lambda: {"seed": 10**5000},
        ValueError,
        "seed must be smaller than 2**128, found <int>",
    ),
    "everything held out": (
        lambda: {"hold_out": [0, 1]},
        ValueError,
        "need at least two times in adata.obs['day'], found [3.0]",
    ),
    "keys with snapshots": (
        lambda: {"data": di.Snapshots(times=[0, 1], samples=[np.zeros((5, 1))] * 2)},
        ValueError,
        "time_key names a key of an AnnData, but Snapshots were given; leave it out",
    ),
    "a bare array": (
        lambda: {"data": np.zeros((5, 2))},
        TypeError,
        "ActionMatching.fit takes an AnnData, Snapshots or a DensityCurve, not ndarray",
    ),
    "negative noise": (
        lambda: {"model": di.ActionMatching(sigma=-1)},
        ValueError,
        "sigma must not be negative or infinite, found -1",
    ),
    "text for a number": (
        lambda: {"model": di.ActionMatching(sigma="0.1")},
        TypeError,
        "sigma must be a number, found '0.1'",
    ),
    "half a unit": (
        lambda: {"model": di.ActionMatching(width=16.5)},
        TypeError,
        "width must be a whole number, found 16.5",
    ),
    "training as a dict": (
        lambda: {"model": di.ActionMatching(training={"max_steps": 3})},
        TypeError,
        "training must be Training or None, found {'max_steps': 3}",
    ),
    "half a step": (
        lambda: {"max_steps": 2.5},
        TypeError,
        "max_steps must be a whole number, found 2.5",
    ),
    "no threads": (
        lambda: {"model": di.ActionMatching(training=di.Training(threads=-1))},
        ValueError,
        "training.threads must be at least 1, or None, found -1",
    ),
    "negative seed": (lambda: {"seed": -1}, ValueError, "seed must not be negative, found -1"),
    "text as a seed": (lambda: {"seed": "a"}, TypeError, "seed must be a whole number, found 'a'"),
    "two time keys": (
        lambda: {"time_key": ["day"]},
        TypeError,
        "time_key must be one name, found ['day']",
    ),
    "two representations": (
        lambda: {"use_rep": ["X_pca"]},
        TypeError,
        "use_rep must be one name, found ['X_pca']",
    ),
    "no growth by zero": (
        lambda: {"model": di.ActionMatching(growth_penalty=0)},
        ValueError,
        "growth_penalty must be positive, or None to conserve mass; found 0",
    ),
    "unknown coupling": (
        lambda: {"model": di.ActionMatching(coupling="sinkhorn")},
        ValueError,
        "coupling 'sinkhorn' is not known; choose one of",
    ),
    "unknown interpolation": (
        lambda: {"model": di.ActionMatching(interpolation="spline")},
        ValueError,
        "interpolation must be one of linear, cubic, none, found 'spline'",
    ),
    "rough activation": (
        lambda: {"model": di.ActionMatching(activation="relu")},
        ValueError,
        "activation 'relu' is not known to be smooth",
    ),
    "unknown scale": (
        lambda: {"model": di.ActionMatching(scale="minmax")},
        ValueError,
        "scale must be 'global', 'feature' or None, not 'minmax'",
    ),
    "unknown device": (
        lambda: {"model": di.ActionMatching(training=di.Training(device="cuda:77"))},
        ValueError,
        "device 'cuda:77' is not on this machine; available: cpu",
    ),
    "no steps": (
        lambda: {"max_steps": 0},
        ValueError,
        "max_steps must be at least 1, found 0",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", FIT_ERRORS)
def test_fit_says_what_is_wrong_and_what_to_do(case):
    given, kind, message = FIT_ERRORS[case]
    with pytest.raises(kind, match=re.escape(message)) as error:
        fit(**given())
    one_sentence(error)


USE_ERRORS = {
    "other width": (
        lambda m: m.simulate(np.zeros((2, 4)), [0, 1]),
        ValueError,
        "the model was fitted on 3 features, these data have 4; give the same representation",
    ),
    "other features": (
        lambda m: m.simulate(
            spoilt(
                lambda a: a.obsm.__setitem__(
                    "X_pca",
                    pd.DataFrame(
                        a.obsm["X_pca"], index=a.obs_names, columns=["PCA1", "PCA3", "PCA2"]
                    ),
                )
            ),
            [0, 1],
        ),
        ValueError,
        "the features differ from those that the model was fitted on: 'PCA3' instead of 'PCA2', 'PCA2' instead of 'PCA3'",
    ),
    "no cells at the start": (
        lambda m: m.simulate(cells(), [2, 3]),
        ValueError,
        "no snapshot at time 2; the times are 0, 1, 3",
    ),
    "text times": (
        lambda m: m.simulate(np.zeros((2, 3)), ["day 0", "day 1"]),
        ValueError,
        "'times' holds text ('day 0'); times must be numbers",
    ),
    "no times": (
        lambda m: m.simulate(cells(), []),
        ValueError,
        "times is empty; give the time of the starting states and those to store",
    ),
    "annotate nothing": (
        lambda m: m.annotate(None),
        TypeError,
        "annotate writes into an AnnData, not NoneType",
    ),
    "start from no cells": (
        lambda m: m.simulate(cells()[:0], [0, 1]),
        ValueError,
        "the AnnData has no cells to start from",
    ),
    "missing column": (
        lambda m: m.annotate(spoilt(lambda a: a.obs.drop(columns="day", inplace=True))),
        KeyError,
        "time_key 'day' is not in adata.obs",
    ),
    "missing values": (
        lambda m: m.annotate(spoilt(lambda a: a.obsm["X_pca"].__setitem__((4, 1), np.nan))),
        ValueError,
        "X_pca has NaN or infinite values in 1 of 90 rows (first: 'c4')",
    ),
    "folder": (
        lambda m: m.save("nowhere/at/all.safetensors"),
        ValueError,
        "the folder 'nowhere/at' does not exist; create it first",
    ),
    "evaluate at the first time": (
        lambda m: m.evaluate(cells(), times=0),
        ValueError,
        "time 0 is the first of the data, which no cells lead to; evaluate later times",
    ),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("case", USE_ERRORS)
def test_using_a_fitted_model_says_what_is_wrong_and_what_to_do(case, fitted):
    use, kind, message = USE_ERRORS[case]
    with pytest.raises(kind, match=re.escape(message)) as error:
        use(fitted)
    one_sentence(error)


@pytest.mark.parametrize("use", ["simulate", "evaluate", "annotate", "save"])
def test_a_model_that_is_not_fitted_says_so(use):
    arguments = {"simulate": (np.zeros((1, 1)), [0, 1]), "save": ("x.safetensors",)}.get(
        use, (cells(),)
    )
    with pytest.raises(
        NotFittedError, match=r"this ActionMatching is not fitted yet; call fit\(data, ...\) first"
    ):
        getattr(di.ActionMatching(), use)(*arguments)


def test_few_cells_at_a_time_are_warned_about_with_their_number():
    with pytest.warns(
        UserWarning,
        match=r"fewer than 20 samples at time 0 \(6\), 1 \(6\), 3 \(6\): what is learned there is uncertain",
    ):
        fit(cells(n_per_time=6))


def test_simulating_beyond_the_data_is_warned_about(fitted):
    with pytest.warns(UserWarning, match=r"simulating from 0 to 12, beyond the data \(0 to 3\)"):
        fitted.simulate(cells(), [0, 12])


def test_saving_replaces_no_device_or_pipe(fitted, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(
        ValueError, match="pipe' is a device or a pipe, which saving would replace; name a file"
    ):
        fitted.save(tmp_path / "pipe")
    assert (tmp_path / "pipe").is_fifo()


def test_a_file_with_damaged_metadata_is_refused(tmp_path):
    save_file({"a": torch.ones(1)}, tmp_path / "model.safetensors", {"dyninfer": "{"})
    with pytest.raises(ValueError, match="is damaged: its metadata are not JSON"):
        di.load(tmp_path / "model.safetensors")


def test_the_cells_of_the_start_alone_are_enough_to_simulate(fitted):
    adata = cells()
    start = adata[adata.obs["day"] == 1]
    alone, whole = fitted.simulate(start, [1, 3]), fitted.simulate(adata, [1, 3])
    assert (alone.states == whole.states).all()
    assert alone.origin.tolist() == start.obs_names.tolist()


def test_times_in_single_precision_are_not_beyond_the_data(recwarn):
    data = di.Snapshots(
        times=np.float32([0.1, 0.2, 0.3]), samples=[np.zeros((20, 1)) + k for k in range(3)]
    )
    fit(data, time_key=None).simulate(data, [0.1, 0.3])
    assert not [w for w in recwarn if "beyond the data" in str(w.message)]


def test_one_metric_may_be_named_without_a_list(fitted):
    assert "w1_still" in fitted.evaluate(cells(), metrics="w1")


def test_raw_counts_are_warned_about():
    adata = cells()
    adata.X = np.random.default_rng(0).poisson(20, adata.shape).astype(np.float32)
    with pytest.warns(UserWarning, match="adata.X looks like raw counts"):
        fit(adata, use_rep="X")


WORDS = st.text(
    st.characters(codec="ascii", categories=("Lu", "Ll", "Nd")), min_size=1, max_size=12
)


@settings(max_examples=60, deadline=None)
@given(key=WORDS, columns=st.sets(WORDS, min_size=1, max_size=12))
def test_any_missing_key_is_named_with_a_column_that_exists(key, columns):
    adata = anndata.AnnData(
        obs=pd.DataFrame(
            {c: ["a", "b"] for c in columns - {key}} | {"day": [0, 1]}, index=["x", "y"]
        )
    )
    if key == "day":
        return
    with pytest.raises(KeyError) as error:
        di.Snapshots.from_anndata(adata, time_key=key)
    text = one_sentence(error)
    assert text.startswith(f"time_key {key!r} is not in adata.obs")
    assert any(repr(str(c)) in text for c in adata.obs.columns)


@settings(max_examples=100, deadline=None)
@given(
    labels=st.lists(
        st.text(max_size=8) | st.none() | st.booleans() | st.floats() | st.dates(),
        min_size=1,
        max_size=6,
    )
)
def test_any_column_of_times_is_read_or_refused_by_name(labels):
    column = pd.Series(labels, dtype=object)
    try:
        times = as_times(column, "day")
    except ValueError as error:
        assert "'day'" in str(error)  # noqa: PT017
        assert "drop those rows" in str(error) or "times must be numbers" in str(error)  # noqa: PT017
    else:
        assert np.isfinite(times).all()
        assert times.shape == (len(labels),)


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.floats(width=32) | st.integers(-5, 5), min_size=4, max_size=12),
    kind=st.sampled_from(["float64", "float32", "object", "str", "complex128", "bool"]),
)
def test_any_sample_is_read_or_refused_by_its_time(values, kind):
    sample = np.array(values).astype(kind)[:, None]
    try:
        found = di.Snapshots(times=[3, 4], samples=[np.zeros((1, 1)), sample]).check_finite()
    except (ValueError, TypeError) as error:
        assert "time 4" in str(error)  # noqa: PT017
    else:
        np.testing.assert_array_equal(found.at(4)[:, 0], np.array(values, dtype=kind))


def test_evaluate_takes_the_kinds_of_times_that_fit_takes_and_flags_the_held_out_one_alone():
    times = 1e5 + np.array([0.0, 0.5, 1.0])
    model = fit(cells(times=times), hold_out=times[1])
    table = model.evaluate(cells(times=times), metrics=["energy"])
    assert table["held_out"].tolist() == [True, False]
    days = cells()
    days.obs["day"] = pd.to_timedelta(days.obs["day"], unit="D")
    one = fit(days).evaluate(days, times=pd.Timedelta(days=1), metrics=["energy"])
    assert one["time"].tolist() == [1.0]


def test_a_view_that_anndata_cannot_copy_is_named_before_anything_is_written():
    adata = cells()
    adata.obsm["scores"] = pd.DataFrame(
        np.zeros((adata.n_obs, 2)), columns=["u", "u"], index=adata.obs_names
    )
    fitted = fit(adata)
    with pytest.raises(ValueError, match=r"a view, and adata.obsm\['scores'\] has several columns"):
        fitted.annotate(adata[:10])
    assert "dyninfer_velocity" in fitted.annotate(adata).obsm

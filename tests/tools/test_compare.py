"""`compare` leaves times out without a leak, survives a kill, and scores baselines rightly."""

import json
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from joblib.externals.loky import get_reusable_executor

import dyninfer as di
from dyninfer.metrics import wasserstein
from dyninfer.tools import compare, recommend

SMALL = di.Training(max_steps=30)
TIMES = [0.0, 1.0, 2.0, 4.0]


def moving(n=60, speed=2.0, seed=0):
    """A normal cloud that moves along the first axis at one speed."""
    rng = np.random.default_rng(seed)
    shift = np.array([speed, 0.0])
    samples = [rng.normal(size=(n, 2)) + t * shift for t in TIMES]
    return di.Snapshots(times=TIMES, samples=samples)


def method(**settings):
    return di.StochasticInterpolant(training=SMALL, **settings)


def run(data, models, **options):
    return compare(data, models, metrics=["w1", "energy"], progress=False, **options)


def without_seconds(table):
    return table.drop(columns="seconds")


def test_columns_rows_and_baselines():
    data = moving()
    table = run(data, method())
    assert {"method", "time", "seed", "w1", "energy", "mass_error", "seconds", "in_sample"} <= set(
        table.columns
    )
    assert list(table["time"].unique()) == [1.0, 2.0]
    names = ["StochasticInterpolant", "still", "next", "ot", "growth_first", "floor"]
    assert list(table["method"][:6]) == names
    assert not table["in_sample"].any()
    assert np.isfinite(table[["w1", "energy"]]).all(axis=None)
    at = table.set_index(["method", "time"])["w1"]
    still = wasserstein(data.at(0), data.at(1), p=1)
    assert at["still", 1.0] == pytest.approx(still, rel=1e-9)
    assert at["next", 2.0] == pytest.approx(wasserstein(data.at(4), data.at(2), p=1), rel=1e-9)
    # Straight lines are the truth here: their score is that of two samples of one population.
    assert at["ot", 2.0] < 0.3 * at["still", 2.0]
    assert at["ot", 2.0] < 2 * at["floor", 2.0]
    assert at["growth_first", 2.0] < 0.5 * at["still", 2.0]


def test_scores_are_those_of_a_fit_by_hand():
    data = moving()
    table = run(data, method(), hold_out=2.0, baselines=[], seed=3)
    model = method().fit(data, hold_out=2.0, seed=3, progress=False)
    by_hand = model.evaluate(data, times=2.0, metrics=["w1", "energy"], seed=3)
    assert table["w1"].item() == by_hand["w1"].item()
    assert table["energy"].item() == by_hand["energy"].item()


def test_cells_of_the_time_that_is_held_out_change_no_fit():
    data = moving()
    spoilt = [sample.copy() for sample in data.samples]
    # One cell of sixty holds no number: it cannot be scored, and nothing else may notice.
    spoilt[2][7] = np.nan
    spoilt = di.Snapshots(times=TIMES, samples=spoilt)
    rest = [sample.copy() for sample in data.samples]
    rest[2] = np.delete(rest[2], 7, axis=0)
    rest = di.Snapshots(times=TIMES, samples=rest)
    with pytest.warns(UserWarning, match="1 of 60 cells at time 2 hold NaN"):
        table = run(spoilt, method(), hold_out=2.0)
    expected = run(rest, method(), hold_out=2.0)
    pd.testing.assert_frame_equal(without_seconds(table), without_seconds(expected))


def test_finished_scores_are_not_computed_again(tmp_path, monkeypatch):
    data = moving()
    whole = run(data, method())
    fits = []
    fit = di.StochasticInterpolant.fit

    def counted(self, *args, **options):
        fits.append(options["hold_out"])
        if len(fits) == 2:
            raise KeyboardInterrupt
        return fit(self, *args, **options)

    monkeypatch.setattr(di.StochasticInterpolant, "fit", counted)
    with pytest.raises(KeyboardInterrupt):
        run(data, method(), checkpoint=tmp_path / "scores")
    resumed = run(data, method(), checkpoint=tmp_path / "scores")
    assert fits == [1.0, 2.0, 2.0]
    pd.testing.assert_frame_equal(without_seconds(resumed), without_seconds(whole))
    # Another seed, setting or data set is another score.
    run(data, method(), checkpoint=tmp_path / "scores", seed=1, hold_out=1.0)
    run(data, method(width=32), checkpoint=tmp_path / "scores", hold_out=1.0)
    run(moving(seed=5), method(), checkpoint=tmp_path / "scores", hold_out=1.0)
    assert len(fits) == 6


def test_a_damaged_score_is_computed_again(tmp_path):
    data = moving()
    whole = run(data, [], checkpoint=tmp_path)
    file = sorted(tmp_path.iterdir())[0]
    content = bytearray(file.read_bytes())
    content[20] ^= 1
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="is damaged; its score is computed again"):
        again = run(data, [], checkpoint=tmp_path)
    pd.testing.assert_frame_equal(without_seconds(again), without_seconds(whole))


@pytest.mark.parametrize("pool", [lambda: ThreadPoolExecutor(2), lambda: get_reusable_executor(2)])
def test_executors_give_the_same_table(pool):
    data = moving(n=40)
    alone = run(data, [method(), di.ActionMatching(training=SMALL)])
    executor = pool()
    together = run(data, [method(), di.ActionMatching(training=SMALL)], executor=executor)
    executor.shutdown()
    pd.testing.assert_frame_equal(without_seconds(alone), without_seconds(together))


def test_a_method_that_fails_leaves_a_note_and_not_an_error():
    data = moving()
    scores = {"fails": di.ActionMatching(sigma=-1.0), "works": method()}
    with pytest.warns(UserWarning, match="fails failed at time 1"):
        table = run(data, scores, hold_out=1.0, baselines=[])
    assert table["status"].tolist() == ["failed", "finished"]
    assert "sigma" in table["note"][0]
    assert np.isnan(table["w1"][0])
    assert recommend(table).method == "works"


def test_observed_mass_beside_simulated():
    data = di.Snapshots(times=TIMES, samples=moving().samples, masses=[1.0, 2.0, 4.0, 8.0])
    table = run(data, di.ActionMatching(training=SMALL), hold_out=2.0, baselines=[])
    # Without growth half of the mass is missing.
    assert table["mass_observed"].item() == 2.0
    assert table["mass_error"].item() == pytest.approx(0.5)


def test_what_cannot_be_is_refused():
    data = moving()
    two = di.Snapshots(times=[0, 1], samples=data.samples[:2])
    columns = {"method": ["works"], "time": [1.0], "seed": [0], "w1": [1.0], "settings": ["a"]}
    unreadable = pd.DataFrame(columns)
    cases = [
        (
            lambda: run(two, method()),
            ValueError,
            "have 2 times; leaving one out needs at least three",
        ),
        (lambda: run(data, method(), hold_out=0.0), ValueError, "the first time, 0"),
        (lambda: run(data, method(), hold_out=3.0), ValueError, "no snapshot at time 3"),
        (lambda: run(data, method(), hold_out="all"), ValueError, "must be 'each' or times"),
        (lambda: run(data, method(), baselines=["sill"]), ValueError, "choose from still, next"),
        (lambda: run(data, [method(), method()]), ValueError, "among the estimators twice"),
        (lambda: run(data, {"ot": method()}), ValueError, "'ot' names a baseline"),
        (lambda: run(data, [di.ActionMatching]), TypeError, "methods such as ActionMatching()"),
        (lambda: run(data, 3), TypeError, "estimators must be a list with methods"),
        (lambda: run(data, method(), baselines=3), TypeError, "baselines must be a list"),
        (lambda: run(data, method(), max_steps="a"), TypeError, "max_steps must be a whole"),
        (lambda: run(data, method(), executor="a"), TypeError, "concurrent.futures.Executor"),
        (lambda: recommend(3), TypeError, "table must be what compare returned"),
        (lambda: recommend(pd.DataFrame()), ValueError, "no column 'method'; give what compare"),
        (lambda: recommend(unreadable), ValueError, "the settings of 'works' in the table cannot"),
        (lambda: run(data, method(), time_key="time"), ValueError, "time_key"),
        (lambda: run(np.zeros((5, 2)), method()), TypeError, "takes an AnnData or Snapshots"),
    ]
    for call, kind, text in cases:
        with pytest.raises(kind, match=text):
            call()


def scores_table(scores, times=(1.0, 2.0, 3.0)):
    """A table of scores by method."""
    rows = []
    for name, values in scores.items():
        settings = json.dumps(di.ActionMatching(sigma=0.5).to_plain())
        if name in ("still", "ot", "next"):
            settings = ""
        else:
            settings = json.dumps({"class": "ActionMatching", "settings": json.loads(settings)})
        for time, value in zip(times, values, strict=True):
            rows.append(
                {"method": name, "time": time, "seed": 0, "w1": value, "settings": settings}
            )
    return pd.DataFrame(rows)


def test_recommendation_in_words_and_as_an_estimator():
    table = scores_table(
        {
            "a": [1.0, 1.0, 1.0],
            "b": [1.1, 1.2, 1.1],
            "still": [2.0, 2.0, 2.0],
            "ot": [0.9, 1.0, 1.0],
        }
    )
    advice = recommend(table)
    assert advice.method == "a"
    assert advice.estimator.sigma == 0.5
    assert not advice.is_worthwhile
    text = str(advice)
    assert "50.0% below cells that do not move" in text
    assert "no better than straight lines between optimally paired cells" in text
    # log(1/1.1), log(1/1.2), log(1/1.1): mean -0.1244, which is 11.7 %.
    assert "11.7% below b, more than twice the standard error" in text


def test_a_table_whose_methods_have_no_names_is_refused():
    columns = ("method", "time", "seed", "settings", "w1")
    table = pd.DataFrame([dict.fromkeys(columns, 1)])
    with pytest.raises(TypeError, match="column 'method' of the table must hold names"):
        di.tl.recommend(table)


def test_recommendation_survives_csv_and_refits(tmp_path):
    data = moving()
    table = run(data, method(width=24))
    table.to_csv(tmp_path / "table.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        advice = recommend(pd.read_csv(tmp_path / "table.csv"))
    model = advice.fit(data, progress=False)
    assert model.width == 24
    assert list(model.times_) == TIMES
    assert not hasattr(advice.estimator, "process_")

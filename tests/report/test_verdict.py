"""The verdict follows the numbers, and its baseline is what an independent library computes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.metrics import wasserstein
from dyninfer.report import add_interpolation, verdict


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(30, 2)) + shift for shift in range(3)]
    data = di.Snapshots(times=[0, 1, 2], samples=samples)
    training = di.Training(max_steps=2)
    return di.ActionMatching(width=8, training=training).fit(data, progress=False)


def line(model, **scores):
    row = {"time": 1.0, "start": 0.0, "held_out": True} | scores
    return verdict(model, pd.DataFrame([row]))[0]


def test_verdict_follows_the_numbers(model):
    text = line(model, w1=1.0, w1_still=2.0, w1_floor=0.5, w1_ot=0.8)
    assert "2.00 away: the model beats this baseline, being 50 % closer" in text
    assert "0.800 away: the model does not beat this baseline, being 25 % further away" in text
    assert "gains 67 % of what could be gained" in text
    text = line(model, w1=1.0, w1_still=0.8, w1_floor=0.9, w1_ot=1.01)
    assert "0.800 away: the model does not beat this baseline" in text
    assert "1.01 away: the model and this baseline are equal within 2 %" in text
    assert "gains" not in text


def test_verdict_without_a_held_out_time_says_so(model):
    table = pd.DataFrame(
        {"time": [1, 2], "held_out": [False] * 2, "w1": [1.0, 3.0], "w1_still": [2.0, 2.0]}
    )
    (text,) = verdict(model, table)
    assert "No time was held out" in text
    assert "1 of 2 times" in text


def test_interpolation_of_a_translation_is_exact_and_has_no_value_at_the_end():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2))
    data = di.Snapshots(times=[0, 1, 3], samples=[x, x + 1, x + 3])
    table = add_interpolation(
        pd.DataFrame({"time": [1.0, 3.0], "w1": [9.0, 9.0], "mmd": [9.0, 9.0]}), data
    )
    assert table["w1_ot"][0] == pytest.approx(0, abs=1e-6)
    assert np.isnan(table["w1_ot"][1])
    assert "energy_ot" not in table


def test_interpolation_is_that_of_an_independent_assignment():
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(1)
    x, y, z = rng.normal(size=(3, 25, 2))
    data = di.Snapshots(times=[0, 1, 4], samples=[x, y, z + 2])
    i, j = linear_sum_assignment(cdist(x, z + 2, "sqeuclidean"))
    expected = wasserstein(0.75 * x[i] + 0.25 * (z + 2)[j], y)
    table = add_interpolation(pd.DataFrame({"time": [1.0], "w1": [0.0]}), data)
    assert table["w1_ot"][0] == pytest.approx(expected, rel=1e-5)

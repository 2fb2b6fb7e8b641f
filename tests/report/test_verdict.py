"""The verdict follows the numbers, and its baseline is what an independent library computes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.report import verdict


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
    table = table.assign(start=[0, 1], w1_floor=0.5)
    (text,) = verdict(model, table)
    assert "No time was held out" in text
    assert "1 of 2 times" in text


def test_the_energy_distance_stands_beside_exact_transport(model):
    text = line(model, w1=1.0, w1_still=2.0, w1_floor=0.5, energy=0.2, energy_floor=0.01)
    assert "smoothing does not lower, is 0.200, where another sample would have 0.0100." in text


def test_a_table_without_baselines_or_a_floor_has_a_verdict_too(model):
    text = line(model, w1=1.0, w1_floor=np.nan)
    assert "is 1.00 from the observed one" in text
    assert "nan" not in text
    table = pd.DataFrame({"time": [1], "held_out": [False], "w1": [1.0]})
    assert len(verdict(model, table)) == 1

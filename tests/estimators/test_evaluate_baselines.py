"""`evaluate` scores what no model at all predicts, beside the model."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

import dyninfer as di
from dyninfer.metrics import wasserstein

ALL = ("still", "next", "ot", "growth_first")


def evaluated(samples, observed_at, **options):
    data = di.Snapshots(times=observed_at, samples=samples)
    training = di.Training(max_steps=2)
    model = di.ActionMatching(width=8, training=training).fit(data, progress=False)
    return model.evaluate(data, metrics=["w1", "energy"], **options).set_index("time")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_baseline_of_a_translation_is_where_it_must_be():
    x = np.random.default_rng(0).normal(size=(30, 2))
    shift = np.array([1.0, 0.0])
    samples = [x, x + shift, x + 3 * shift]
    table = evaluated(samples, [0, 1, 3], baselines=ALL)
    assert table["w1_still"].tolist() == pytest.approx([1, 2], rel=1e-6)
    assert table["w1_next"][1.0] == pytest.approx(2, rel=1e-6)
    assert table["w1_ot"][1.0] == pytest.approx(0, abs=1e-6)
    assert table["energy_ot"][1.0] == pytest.approx(0, abs=1e-6)
    # Nothing follows the last time.
    assert table.loc[3.0, ["w1_next", "w1_ot", "energy_growth_first"]].isna().all()
    first = evaluated(samples, [0, 1, 3], start="first", baselines=["still", "ot"])
    assert first["w1_still"].tolist() == pytest.approx([1, 3], rel=1e-6)
    assert first["w1_ot"][1.0] == table["w1_ot"][1.0]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_interpolation_is_that_of_an_independent_assignment():
    x, y, z = np.random.default_rng(1).normal(size=(3, 25, 2))
    i, j = linear_sum_assignment(cdist(x, z + 2, "sqeuclidean"))
    expected = wasserstein(0.75 * x[i] + 0.25 * (z + 2)[j], y)
    table = evaluated([x, y, z + 2], [0, 1, 4], times=1, baselines="ot")
    assert table["w1_ot"][1.0] == pytest.approx(expected, rel=1e-5)
    assert "w1_still" not in table


def test_a_baseline_that_is_not_known_is_refused_by_name():
    x = np.random.default_rng(1).normal(size=(2, 9, 2))
    with pytest.raises(ValueError, match="baseline 'tomorrow' is not known; choose from still"):
        evaluated(x, [0, 1], baselines=["still", "tomorrow"])

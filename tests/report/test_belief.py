"""The first three sentences of a page say whether to believe the model, and follow the numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import dyninfer as di
from dyninfer.report import belief, write_report


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    samples = [rng.normal(size=(30, 2)) + shift for shift in range(4)]
    return di.Snapshots(times=[0, 1, 2, 3], samples=samples)


@pytest.fixture(scope="module")
def model(data):
    training = di.Training(max_steps=2)
    return di.ActionMatching(width=8, training=training).fit(data, hold_out=1, progress=False)


def scores(held_out, **columns):
    n = len(held_out)
    table = {"time": np.arange(1.0, n + 1), "start": np.arange(n), "held_out": held_out}
    return pd.DataFrame(table | {"w1_floor": 0.5} | columns)


def test_a_model_that_beats_every_baseline_is_believed_and_one_time_is_called_luck(model):
    table = scores([True, False], w1=[1.0, 1.0], w1_still=2.0, w1_ot=[1.5, np.nan])
    answer, numbers, limits = belief(model, table, "d")
    assert answer == (
        "Believe the model between the times of the data: 1 d was held out, and it predicts the "
        "cells there better than cells that do not move and straight lines by optimal transport."
    )
    assert numbers == (
        "At 1 d, the simulated cells are 1.00 from the observed ones (Wasserstein-1); for cells "
        "that do not move 2.00, straight lines by optimal transport 1.50, another sample of the "
        "observed cells 0.500."
    )
    assert limits == (
        "One held-out time cannot tell skill from luck, and the scores of 1 other time are "
        "in-sample: the model was fitted to them."
    )


def test_a_model_that_no_movement_equals_is_not_believed(model):
    table = scores([True, True], w1=[1.0, 2.0], w1_still=[1.0, 1.9])
    answer, numbers, limits = belief(model, table)
    assert answer.startswith("Do not believe the model: 1 and 2 were held out")
    assert "no better than cells that do not move" in answer
    assert "On average over 2 held-out times, the simulated cells are 1.50 from" in numbers
    assert limits.startswith("No score is in-sample")


def test_a_model_that_wins_here_and_there_is_believed_in_part_with_its_counts(model):
    table = scores([True] * 3, w1=[1.0, 1.0, 3.0], w1_still=2.0, w1_ot=0.9)
    answer, _, _ = belief(model, table)
    assert "1, 2 and 3 were held out" in answer
    assert "of 3 times" in answer
    assert "cells that do not move at 2, straight lines by optimal transport at 0." in answer


def test_one_time_names_what_was_beaten_and_what_was_not(model):
    table = scores([True], w1=[1.0], w1_still=2.0, w1_ot=0.9)
    assert belief(model, table)[0] == (
        "Believe the model in part: 1 was held out, and it predicts the cells there better than "
        "cells that do not move, but no better than straight lines by optimal transport."
    )
    table = scores([True], w1=[1.0], w1_still=0.5, w1_ot=0.9)
    assert "no better than cells that do not move or straight lines" in belief(model, table)[0]
    assert belief(model, scores([True], w1=[1.0], w1_ot=0.9))[0].startswith("Do not believe")


def test_two_per_cent_are_no_gain(model):
    for factor, word in ((0.99, "Do not believe"), (0.97, "Believe the model between")):
        table = scores([True], w1=[factor], w1_still=[1.0])
        assert belief(model, table)[0].startswith(word)


def test_a_score_beside_no_baseline_is_no_answer(model):
    answer, numbers, _ = belief(model, scores([True], w1=[1.0]))
    assert "is open" in answer
    assert numbers.endswith("for another sample of the observed cells 0.500.")


def test_without_a_held_out_time_the_first_sentence_says_so(model):
    table = scores([False, False], w1=[1.0, 3.0], w1_still=[2.0, 2.0])
    answer, numbers, advice = belief(model, table)
    assert "no time was held out, so every score is in-sample" in answer
    assert "at 1 of 2 times (Wasserstein-1)" in numbers
    assert "hold_out=" in advice
    _, numbers, _ = belief(model, scores([False], w1=[1.0]))
    assert "1.00 from the observed ones on average (Wasserstein-1), beside no baseline" in numbers


def test_the_page_opens_with_them(model, data, tmp_path):
    table = model.evaluate(data, baselines=["still"])
    text = write_report(tmp_path / "r.html", model, table, introduction=["The question."])
    body = text.read_text().split("<body>")[1]
    places = [body.index(sentence) for sentence in belief(model, table)]
    assert places == sorted(places)
    assert places[-1] < body.index("The question.") < body.index("<h2>")

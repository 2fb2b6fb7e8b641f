"""The parts of the leave-one-time-out benchmark that need no data set and no long training."""

import dataclasses
import re

import numpy as np
import pytest
from benchmarks import science_leave_one_out as script
from benchmarks.leave_one_out import baselines, problems, rows, runs, variants

import dyninfer as di

TIMES = (2.0, 3.0, 4.0, 7.0)  # those of the blood stem cells


def translated(n=40, unit=1.0, masses=None, speed=1.0):
    """A cloud that moves along the first axis with constant speed, in the units of the problem, seen at unequal times."""
    cloud = np.random.default_rng(0).normal(size=(n, 2))
    samples = [cloud + [speed * (t - TIMES[0]), 0.0] for t in TIMES]
    return problems.Problem(di.Snapshots(times=TIMES, samples=samples), unit, masses)


def some_run(**changes):
    common = {
        "dataset": "cite_hspc",
        "features": 2,
        "time": "days",
        "variant": "am:plain",
        "hidden": (3.0,),
        "outcomes": ((3.0, 3.0),),
        "steps": 3,
    }
    return runs.Run(**(common | changes))


def row(
    variant,
    held,
    w1,
    *,
    seed=0,
    scored=None,
    given="",
    settings="s",
    time="days",
    date="2026-01-01",
    **more,
):
    scored = held if scored is None else scored
    return {
        "dataset": "d",
        "features": 2,
        "time": time,
        "variant": variant,
        "held": held,
        "scored": scored,
        "inner": held != scored,
        "seed": seed,
        "cells": None,
        "settings": settings,
        "given": given,
        "w1": w1,
        "date": date,
        "commit": "abc",
        **more,
    }


# ---- what is hidden -----------------------------------------------------------------------------------------------


def test_outside_each_inner_time_is_hidden_alone_and_scored():
    assert problems.hidden_times((3.0, 4.0), inner=False) == {
        (3.0,): [(3.0, 3.0)],
        (4.0,): [(4.0, 4.0)],
    }


def test_inside_the_fit_sees_neither_the_held_out_time_nor_its_judge():
    assert problems.hidden_times((3.0, 4.0), inner=True) == {(3.0, 4.0): [(3.0, 4.0), (4.0, 3.0)]}
    of_three = problems.hidden_times((1.0, 2.0, 3.0), inner=True)
    for hidden, outcomes in of_three.items():
        assert all(set(outcome) == set(hidden) for outcome in outcomes)
    judges = sorted(pair for outcomes in of_three.values() for pair in outcomes)
    assert judges == [(a, b) for a in (1.0, 2.0, 3.0) for b in (1.0, 2.0, 3.0) if a != b]


def test_neighbours_are_the_nearest_times_that_are_kept():
    problem = translated()
    assert problem.around((4.0,), 4.0) == (1, 2, 3)
    assert problem.around((3.0, 4.0), 4.0) == (0, 2, 3)
    assert problem.around((3.0, 4.0), 3.0) == (0, 1, 3)


def test_a_run_is_the_same_to_the_bit_where_hidden_cells_are_nan():
    problem, run = translated(), some_run(hidden=(3.0, 4.0), outcomes=((3.0, 4.0), (4.0, 3.0)))
    samples = [
        np.full_like(x, np.nan) if t in (3.0, 4.0) else x
        for t, x in zip(TIMES, problem.data.samples, strict=True)
    ]
    blind = problems.Problem(di.Snapshots(times=TIMES, samples=samples), 1.0)
    models = [runs.fit(p, run)[0] for p in (problem, blind)]
    end = [m.simulate(problem.data.samples[0], [2.0, 4.0]).states.numpy() for m in models]
    np.testing.assert_array_equal(*end)


def test_masses_are_shown_to_variants_whose_mass_can_change_and_to_no_others():
    problem = translated(masses=np.array([1.0, 2.0, 3.0, 6.0]))
    np.testing.assert_array_equal(problem.shown(False, with_masses=True).masses, problem.masses)
    assert problem.shown(False, with_masses=False).masses is None
    for name, variant in variants.VARIANTS.items():
        assert variant.grows == bool(re.search("unbalanced|growth first|both|UOT", name)), name


# ---- coordinates --------------------------------------------------------------------------------------------------


def test_z_scores_have_unit_deviations_and_one_number_keeps_distances():
    x = np.random.default_rng(0).normal(size=(100, 3)) * [5.0, 1.0, 0.2] + 7
    z, unit = problems.standardised(x, z_score=True)
    np.testing.assert_allclose(z.std(0), 1)
    assert unit == 1.0
    scaled, unit = problems.standardised(x, z_score=False)
    np.testing.assert_allclose(unit * (scaled[3] - scaled[8]), x[3] - x[8])
    assert scaled.std(0).max() == pytest.approx(1)


def test_times_are_numbered_or_real_and_hours_become_days():
    problem = dataclasses.replace(translated(), per_time_unit=24.0)
    np.testing.assert_allclose(problem.model_times(by_index=False), np.array(TIMES) / 24)
    np.testing.assert_array_equal(problem.model_times(by_index=True), [0, 1, 2, 3])


# ---- baselines on a translation, where everything is known ---------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("previous time, unmoved", 1.0),  # moved by 1 from day 3 to day 4
        (
            "exact OT, true fraction",
            0.0,
        ),  # a quarter of the way from day 3 to day 7, which are 4 apart
        ("exact OT, midpoint", 1.0),  # at 2 in place of 1
        ("midpoint of largest partners, Euclidean cost", 1.0),
    ],
)
def test_baselines_of_a_translation_are_off_by_the_known_distance(name, expected):
    found = baselines.score(translated(unit=3.0, speed=1.0), name, (4.0,), 4.0, 0)
    assert found["w1"] == pytest.approx(3.0 * expected, abs=1e-6)
    assert found["mass"] is None


def test_baselines_of_an_inner_score_use_kept_times_only():
    problem = translated()
    samples = [
        np.full_like(x, np.nan) if t == 3.0 else x
        for t, x in zip(TIMES, problem.data.samples, strict=True)
    ]
    # Snapshots of NaN are made, but any use of them is an error.
    blind = problems.Problem(di.Snapshots(times=TIMES, samples=samples), 1.0)
    assert baselines.score(blind, "previous time, unmoved", (3.0, 4.0), 4.0, 0)[
        "w1"
    ] == pytest.approx(2.0)
    assert baselines.score(blind, "exact OT, true fraction", (3.0, 4.0), 4.0, 0)[
        "w1"
    ] == pytest.approx(0, abs=1e-6)


def test_the_largest_partner_is_the_column_of_most_mass_in_each_row(monkeypatch):
    problem = translated(n=3)
    plan = (np.array([0, 0, 1, 2]), np.array([0, 1, 2, 0]), np.array([0.1, 0.23, 1 / 3, 1 / 3]))
    monkeypatch.setattr(baselines, "exact_plan", lambda *_: plan)
    x, y = problem.data.samples[0], problem.data.samples[2]
    found = baselines.published_midpoint(baselines.Interval(problem, 0, 2, 0.5), 0)
    np.testing.assert_allclose(found.points, (x + y[[1, 2, 0]]) / 2)


def test_mass_of_an_interpolation_grows_at_a_constant_rate():
    problem = translated(masses=np.array([1.0, 9.0, 2.0, 4.0]))
    assert baselines.score(problem, "exact OT, midpoint", (3.0,), 3.0, 0)["mass"] == pytest.approx(
        2**0.5
    )
    quarter = baselines.score(
        problem, "exact OT, true fraction", (3.0, 4.0), 3.0, 0
    )  # a fifth of days 2 to 7
    assert quarter["mass"] == pytest.approx(4**0.2)
    assert quarter["mass_observed"] == pytest.approx(9.0)


def test_floor_at_a_fixed_size_is_left_out_where_cells_are_too_few():
    assert baselines.score(translated(), baselines.FLOOR_AT, (3.0,), 3.0, 0) == {}
    assert 0 < baselines.score(translated(), baselines.FLOOR, (3.0,), 3.0, 0)["w1"] < 2


# ---- runs and rows ------------------------------------------------------------------------------------------------


def test_execution_gives_one_complete_row_for_each_outcome(monkeypatch):
    problem = translated(masses=np.array([1.0, 2.0, 3.0, 6.0]))
    monkeypatch.setattr(runs, "load", lambda *_: problem)
    run = some_run(
        variant="am:unbalanced", hidden=(3.0, 4.0), outcomes=((3.0, 4.0), (4.0, 3.0)), seed=5
    )
    found = runs.execute(run)
    assert [(r["held"], r["scored"], r["inner"]) for r in found] == [
        (3.0, 4.0, True),
        (4.0, 3.0, True),
    ]
    assert [rows.key(r) for r in found] == [rows.key(head) for head in run.headers()]
    for r, observed in zip(found, (3.0, 2.0), strict=True):
        assert r["w1"] > 0
        assert r["w1_unweighted"] > 0
        assert r["mass"] > 0
        assert r["mass_observed"] == observed
        assert (r["seed"], r["steps"], r["version"]) == (5, 3, di.__version__)
        assert {"cpu_seconds", "status", "date", "commit"} <= set(r)


def test_a_row_that_is_in_the_file_is_not_run_again_but_other_settings_are(tmp_path):
    file = tmp_path / "folder" / "rows.jsonl"
    assert rows.read(file) == []
    run = some_run()
    rows.append(file, [head | {"w1": 1.0} for head in run.headers()])
    there = rows.read(file)
    assert script.missing(iter([run]), there) == []
    others = [
        dataclasses.replace(run, **change)
        for change in (
            {"seed": 1},
            {"steps": 4},
            {"given": (("width", 64),)},
            {"time": "index"},
            {"cells": 100},
        )
    ]
    assert script.missing(iter(others), there) == others


def test_what_the_package_does_not_have_yet_is_said_once_and_left_out(monkeypatch, capsys):
    absent = variants.Variant(variants.estimator("NoSuchMethod"))
    monkeypatch.setitem(variants.VARIANTS, "am:plain", absent)
    assert script.missing(iter([some_run(), some_run(seed=1)]), []) == []
    assert capsys.readouterr().err.count("has no NoSuchMethod yet") == 1


@pytest.mark.parametrize("name", variants.VARIANTS)
def test_every_variant_builds_an_estimator(name):
    try:
        model = variants.VARIANTS[name].build()
    except variants.MissingMethodError as reason:
        pytest.skip(str(reason))
    assert isinstance(model, di.Estimator)


def test_a_setting_that_would_make_another_variant_is_refused():
    with pytest.raises(ValueError, match="has no growth_penalty"):
        variants.VARIANTS["am:plain"].build(growth_penalty=0.2)
    assert variants.VARIANTS["am:unbalanced"].build(growth_penalty=0.2).growth_penalty == 0.2


def test_settings_of_the_training_loop_are_gathered_into_one_object():
    model = variants.VARIANTS["am:plain"].build(
        width=64, training__max_steps=7, training__learning_rate=0.1
    )
    assert (model.width, model.training.max_steps, model.training.learning_rate) == (64, 7, 0.1)


def test_lists_of_settings_are_tried_in_every_combination():
    assert runs.parse_settings([]) == [()]
    assert runs.parse_settings(["a=1,0.5", "b=x"]) == [
        (("a", 1), ("b", "x")),
        (("a", 0.5), ("b", "x")),
    ]
    with pytest.raises(ValueError, match="name=value"):
        runs.parse_settings(["a"])


# ---- tables -------------------------------------------------------------------------------------------------------


def lines(text):
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]


def test_a_table_has_baselines_first_and_means_and_spread_over_seeds():
    found = [
        row("am:plain", 3.0, 0.70, cpu_seconds=20.0, steps=100),
        row("am:plain", 4.0, 0.90, cpu_seconds=30.0, steps=100),
        row("am:plain", 3.0, 0.80, seed=1, cpu_seconds=20.0, steps=100),
        row("am:plain", 4.0, 1.00, seed=1, cpu_seconds=30.0, steps=100),
        row("previous time, unmoved", 3.0, 1.5, time="any"),
    ]
    (text,) = rows.tables(found)
    head, _, first, second = lines(text)
    assert head == ["", "3", "4", "mean", "sd over seeds", "seeds", "CPU-s per fit", "steps"]
    assert first == ["previous time, unmoved", "1.500", "", "", "", "0", "", ""]
    assert second == ["am:plain", "0.750", "0.950", "0.850", "0.071", "2", "25", "100"]


def test_a_table_of_growing_data_has_the_error_of_the_mass():
    found = [row("am:unbalanced", 4.0, 0.5, w1_unweighted=0.6, mass=2.0, mass_observed=2.5)]
    (text,) = rows.tables(found)
    named = dict(zip(lines(text)[0], lines(text)[2], strict=True))
    assert named["mean, no weights"] == "0.600"
    assert named["mass error"] == "20.0%"


def test_runs_that_diverged_are_counted_beside_the_seeds():
    found = [
        row("am:plain", 3.0, 0.7, status="finished", diverged=0),
        row("am:plain", 3.0, 9.0, seed=1, status="diverged", diverged=0),
        row("am:plain", 3.0, 8.0, seed=2, status="finished", diverged=4),
    ]
    (text,) = rows.tables(found)
    assert "3 (2 runs diverged)" in lines(text)[2]


def test_a_line_has_the_settings_of_its_newest_row():
    found = [
        row("am:plain", 3.0, 9.0, seed=0, settings="old", date="2026-01-01"),
        row("am:plain", 3.0, 1.0, seed=1, settings="new", date="2026-01-02"),
    ]
    (text,) = rows.tables(found)
    assert lines(text)[2][:2] == ["am:plain", "1.000"]


def test_settings_are_chosen_by_the_inner_score_and_never_by_the_held_out_one():
    found = [
        row("am:unbalanced", 3.0, 0.5, scored=4.0, given="k=1", settings="1"),
        row("am:unbalanced", 3.0, 0.6, scored=4.0, given="k=2", settings="2"),
        row("am:unbalanced", 3.0, 0.9, given="k=1", settings="1"),
        row("am:unbalanced", 3.0, 0.1, given="k=2", settings="2"),
    ]
    (text,) = rows.tables(found, inner=True)
    assert "without 3, `am` takes am:unbalanced (k=1); at 3: W1 0.9000 over 1 seeds" in text
    assert lines(text)[2][:2] == ["am:unbalanced (k=1)", "0.500"]


def test_settings_that_have_not_met_every_judge_are_not_chosen():
    found = [
        row("am:plain", 1.0, 0.5, scored=2.0, given="k=1", settings="1"),
        row("am:plain", 1.0, 0.9, scored=3.0, given="k=1", settings="1"),
        row("am:plain", 1.0, 0.4, scored=2.0, given="k=2", settings="2"),
    ]
    (text,) = rows.tables(found, inner=True)
    assert "takes am:plain (k=1); at 1: not run yet" in text

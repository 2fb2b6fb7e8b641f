"""Pictures of trajectories beside a table: lines where the states say, and nothing that diverged."""

import re

import pytest
import torch

from dyninfer import Trajectories
from dyninfer.data.display import HEIGHT, MARGIN, WIDTH, listed, thumbnail

RIGHT = WIDTH - MARGIN
LOW = HEIGHT - MARGIN


def corners(svg):
    """Points of every line, in pixels."""
    lines = re.findall(r"<polyline points='([^']*)'", svg)
    pairs = [[point.split(",") for point in line.split()] for line in lines]
    return [[(float(x), float(y)) for x, y in line] for line in pairs]


def run_of(states, times):
    return Trajectories(states=torch.tensor(states), times=torch.tensor(times))


@pytest.mark.parametrize(("unit", "origin"), [(1.0, 0.0), (1e-9, 0.0), (1e9, -1e9)])
def test_one_feature_is_drawn_against_time_from_corner_to_corner(unit, origin):
    states = [[[0.0], [1.0], [4.0]], [[4.0], [4.0], [0.0]]]
    run = run_of(states, [origin, origin + unit, origin + 4 * unit])
    svg = thumbnail(run)
    first = MARGIN + (WIDTH - 2 * MARGIN) / 4
    assert corners(svg) == [
        [(MARGIN, LOW), (first, LOW - (HEIGHT - 2 * MARGIN) / 4), (RIGHT, MARGIN)],
        [(MARGIN, MARGIN), (first, MARGIN), (RIGHT, LOW)],
    ]
    assert f"<circle cx='{RIGHT:.1f}' cy='{LOW:.1f}'" in svg
    assert "state by time" in svg


def test_two_features_are_drawn_against_each_other():
    run = run_of([[[0.0, 9.0, 5.0], [2.0, 3.0, 5.0]]], [0.0, 1.0])
    assert corners(thumbnail(run)) == [[(MARGIN, MARGIN), (RIGHT, LOW)]]


def test_states_that_never_change_stand_in_the_middle_and_diverged_ones_nowhere():
    still = run_of([[[3.0], [3.0]]], [0.0, 1.0])
    assert corners(thumbnail(still)) == [[(MARGIN, HEIGHT / 2), (RIGHT, HEIGHT / 2)]]
    states = torch.full((2, 2, 1), torch.nan)
    states[0] = torch.tensor([[1.0], [2.0]])
    times = torch.tensor([0.0, 1.0])
    status = torch.tensor([0, 1], dtype=torch.int8)
    svg = thumbnail(Trajectories(states=states, times=times, status=status))
    assert corners(svg) == [[(MARGIN, LOW), (RIGHT, MARGIN)], []]
    assert svg.count("<circle") == 1
    all_lost = Trajectories(states=states[1:], times=times, status=status[1:])
    assert corners(thumbnail(all_lost)) == [[]]


def test_of_many_paths_and_times_a_few_are_drawn():
    run = Trajectories(states=torch.randn(200, 500, 1), times=torch.arange(500.0))
    lines = corners(thumbnail(run))
    assert len(lines) == 40
    assert {len(line) for line in lines} == {60}
    assert lines[0][0][0] == MARGIN
    assert lines[0][-1][0] == RIGHT


def test_the_middle_of_a_long_list_is_left_out():
    assert listed("abcdef") == "a, b, c, d, e, f"
    assert listed("abcdefgh") == "a, b, c, d, e, ..., h"

"""Bars of work that takes longer than a moment."""

import numpy as np
import pytest

import dyninfer as di
from dyninfer.learning import progress
from dyninfer.learning.progress import followed, showing
from dyninfer.transport.couplings import OTCoupling, UnbalancedOTCoupling


def drawn(capsys):
    """What was written to the terminal since the last look."""
    return capsys.readouterr().err


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(progress, "PATIENCE", 0.0)
    monkeypatch.setattr(progress, "IN_A_FILE", 0.0)


def test_items_come_as_they_are_and_are_counted(impatient, capsys):
    with showing(True):
        assert list(followed("abc", 3, "letters", "letter")) == ["a", "b", "c"]
    assert "letters: 100%" in drawn(capsys)
    assert list(followed("abc", 3, "letters", "letter")) == ["a", "b", "c"]
    assert drawn(capsys) == ""


def test_what_is_quick_shows_nothing(capsys):
    with showing(True):
        list(followed(range(100), 100, "numbers", "number"))
    assert "numbers" not in drawn(capsys)


def test_inside_a_silent_fit_nothing_shows(impatient, capsys):
    with showing(True), showing(False):
        list(followed(range(3), 3, "numbers", "number"))
    assert drawn(capsys) == ""


@pytest.mark.parametrize("coupling", [OTCoupling(batch_size=50), UnbalancedOTCoupling()])
def test_plans_of_a_fit_show_how_far_they_are(coupling, impatient, capsys):
    rng = np.random.default_rng(0)
    cells = di.Snapshots(times=[0, 1], samples=[rng.normal(size=(100, 2)) + k for k in range(2)])
    model = di.StochasticInterpolant(
        gamma="none", coupling=coupling, width=4, training=di.Training(max_steps=2)
    )
    model.fit(cells)
    assert "pairs: 100%" in drawn(capsys)
    model.fit(cells, progress=False)
    assert drawn(capsys) == ""


def test_likelihoods_of_jump_processes_show_their_steps(impatient, capsys):
    states = [[0, 0, 1, 1, 0, 1], [1, 1, 1, 0, 0, 0], [0, 1, 0, 0, 1, 1]]
    paths = di.Paths(times=[np.arange(6.0)] * 3, states=states)
    model = di.MarkovJumpInference(observation="exact")
    model.fit(paths)
    assert "likelihood" in drawn(capsys)
    model.fit(paths, progress=False)
    assert drawn(capsys) == ""

"""Runs whose drift is compiled."""

import shutil

import pytest
import torch

import dyninfer as di
from dyninfer.diffusions import Diffusion
from dyninfer.fractional import MarkovApproximation
from dyninfer.fractional.process import FractionalDiffusion
from dyninfer.simulation import simulate

COMPILERS = ("g++", "clang++", "c++")


def turning(t, x):
    return torch.stack([-x[:, 1], x[:, 0]], dim=1)


@pytest.fixture
def compiled(monkeypatch):
    """What was given to the compiler, which leaves it as it is."""
    functions = []

    def compile_nothing(function):
        functions.append(function)
        return function

    monkeypatch.setattr(torch, "compile", compile_nothing)
    monkeypatch.setenv("CXX", "python3")
    return functions


def test_the_drift_goes_through_the_compiler_where_it_is_asked_for(compiled):
    x = torch.eye(2)
    plain = simulate(Diffusion(drift=turning), x, [0.0, 1.0])
    assert not compiled
    run = simulate(Diffusion(drift=turning), x, [0.0, 1.0], compile=True)
    velocity, growth = compiled[0](torch.zeros(2), x)
    assert velocity.tolist() == [[0.0, 1.0], [-1.0, 0.0]]
    assert growth is None
    assert torch.equal(run.states, plain.states)
    assert run.attrs["evaluations"] == plain.attrs["evaluations"]


def test_without_a_compiler_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match="needs a C\\+\\+ compiler on a CPU"):
        simulate(Diffusion(drift=turning), torch.eye(2), [0.0, 1.0], compile=True)
    cells = di.Snapshots(times=[0, 1], samples=[torch.randn(30, 2) + k for k in range(2)])
    training = di.Training(compile=True, device="cpu", max_steps=2)
    with pytest.raises(RuntimeError, match="needs a C\\+\\+ compiler on a CPU"):
        di.ActionMatching(width=8, training=training).fit(cells, progress=False)


def test_a_compiler_that_is_named_and_missing_is_told(monkeypatch):
    # torch runs this one alone, whatever else is installed.
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(RuntimeError, match="'no-such-compiler' is not there"):
        simulate(Diffusion(drift=turning), torch.eye(2), [0.0, 1.0], compile=True)


def test_processes_without_a_drift_network_refuse_it():
    gate = di.MarkovJump([[-1.0, 1.0], [2.0, -2.0]])
    with pytest.raises(ValueError, match="compile=True cannot be used: a MarkovJump is drawn"):
        simulate(gate, [0, 1], [0.0, 1.0], compile=True)
    motion = FractionalDiffusion(turning, MarkovApproximation(2), 0.7)
    with pytest.raises(ValueError, match="compile=True cannot be used: state and memory"):
        simulate(motion, torch.eye(2), [0.0, 1.0], compile=True)


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, COMPILERS)), reason="no C++ compiler")
@pytest.mark.filterwarnings("ignore")
def test_compiled_runs_are_the_plain_ones_but_for_rounding():
    x = torch.randn(20, 2, dtype=torch.float64)
    noisy = Diffusion(drift=turning, diffusion=0.5)
    for process in (Diffusion(drift=turning), noisy):
        plain = simulate(process, x, [0.0, 0.5, 1.0], seed=1)
        run = simulate(process, x, [0.0, 0.5, 1.0], seed=1, compile=True)
        torch.testing.assert_close(run.states, plain.states, rtol=1e-9, atol=1e-12)

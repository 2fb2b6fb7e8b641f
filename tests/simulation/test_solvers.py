"""Solvers as settings: how they are spelled, printed and saved, and what they refuse."""

import pytest
import torch

import dyninfer as di
from dyninfer.learning.settings import from_plain, to_plain
from dyninfer.simulation.kind import Kind

SPELLINGS = {
    "tsit5": di.solvers.Tsit5(),
    "euler": di.solvers.Euler(),
    "heun": di.solvers.Heun(),
    "rk4": di.solvers.RungeKutta4(),
    "euler_maruyama": di.solvers.EulerMaruyama(),
    "sra1": di.solvers.SRA1(),
    "dopri5": di.solvers.TorchDiffEq("dopri5"),
    "torchdiffeq:rk4": di.solvers.TorchDiffEq("rk4"),
    "torchsde:srk:adaptive": di.solvers.TorchSDE("srk", adaptive=True),
    "torchsde:midpoint:adjoint": di.solvers.TorchSDE("midpoint", adjoint=True),
    "torchsde:euler_heun:adaptive:adjoint": di.solvers.TorchSDE(
        "euler_heun", adaptive=True, adjoint=True
    ),
    "skeleton": di.solvers.Skeleton(),
    "gillespie": di.solvers.Gillespie(),
    "fractional_euler": di.solvers.FractionalEuler(),
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_short_spelling_is_the_solver(spelling):
    solver = di.solvers.named(spelling)
    assert type(solver) is type(SPELLINGS[spelling])
    assert solver.get_params() == SPELLINGS[spelling].get_params()


@pytest.mark.parametrize("solver", SPELLINGS.values(), ids=repr)
def test_a_solver_comes_back_from_plain_data(solver):
    again = from_plain(to_plain(solver))
    assert type(again) is type(solver)
    assert again.get_params() == solver.get_params()


def test_a_solver_prints_what_differs_from_the_defaults():
    assert repr(di.solvers.RungeKutta4(0.01)) == "RungeKutta4(dt=0.01)"
    assert repr(di.solvers.Tsit5()) == "Tsit5()"


def test_every_kind_of_process_has_a_solver_and_every_solver_a_kind():
    solvers = [type(solver) for solver in SPELLINGS.values()]
    assert set().union(*(cls.can_run for cls in solvers)) == set(Kind)
    assert all(cls.can_run for cls in solvers)


def test_the_default_of_a_kind_is_among_those_that_can_run_it():
    x, states = torch.ones(3, 1), [0, 1, 1]
    flow = di.Diffusion(drift=lambda t, x: -x)
    noisy = di.Diffusion(drift=lambda t, x: -x, diffusion=0.2)
    jumps = di.MarkovJump([[-1.0, 1.0], [2.0, -2.0]])
    for process, start in ((flow, x), (noisy, x), (jumps, states)):
        run = di.simulate(process, start, [0.0, 0.1])
        again = di.simulate(process, start, [0.0, 0.1], solver=from_plain(run.attrs["solver"]))
        assert torch.equal(run.states, again.states)


def test_a_solver_of_the_users_own_is_a_class_that_says_what_it_runs():
    class Halving(di.solvers.Solver):
        spelling = "halving"
        can_run = frozenset({Kind.FLOW})

        def integrate(self, task, x, w):
            ends = [x / 2 ** (k + 1) for k in task.intervals]
            return torch.stack(ends, dim=1), w

    run = di.simulate(
        di.Diffusion(drift=lambda t, x: -x), torch.ones(2, 1), [0.0, 1.0, 2.0], solver="halving"
    )
    assert run.states[0, :, 0].tolist() == [1.0, 0.5, 0.25]
    del di.solvers.Solver.spellings[Halving.spelling]


def test_an_unknown_family_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Magic'"):
        _ = di.solvers.Magic

import math

import numpy as np
import pandas as pd
import pytest
import torch
from simulation.spelled import spelled
from torch import nn

from dyninfer.diffusions import Diffusion
from dyninfer.learning.settings import from_plain
from dyninfer.simulation import simulate
from dyninfer.simulation.solvers import (
    SRA1,
    Euler,
    EulerMaruyama,
    Heun,
    RungeKutta4,
    TorchDiffEq,
    TorchSDE,
    Tsit5,
)

DECAY = Diffusion(drift=lambda t, x: -x)
OU = Diffusion(drift=lambda t, x: -x, diffusion=0.5)
MULTIPLICATIVE = Diffusion(drift=lambda t, x: -x, diffusion=lambda t, x: 0.1 * x)


def test_one_time_returns_the_start():
    x = torch.randn(4, 2)
    run = simulate(OU, x, [3.0])
    assert torch.equal(run.states[:, 0], x)
    assert run.times.tolist() == [3.0]


def test_arrays_lists_and_integers_start_in_float32():
    for x in ([[1, 2], [3, 4]], np.array([[1, 2], [3, 4]]), torch.tensor([[1, 2], [3, 4]])):
        assert simulate(DECAY, x, [0, 1]).states.dtype == torch.float32


@pytest.mark.parametrize(
    ("x0", "start"),
    [
        (np.array([[2**24 + 1, -3]]), [[16777217.0, -3.0]]),
        (torch.tensor([[2**24 + 1, -3]]), [[16777217.0, -3.0]]),
        (torch.tensor([[1.0, 0.0]]).to_sparse(), [[1.0, 0.0]]),
        (torch.tensor([[1.5, 2.0]], dtype=torch.bfloat16), [[1.5, 2.0]]),
        (np.array([[1.5, 2.0]], dtype=np.float16), [[1.5, 2.0]]),
    ],
)
def test_every_kind_of_number_starts_without_losing_a_digit(x0, start):
    still = Diffusion(drift=lambda t, x: torch.zeros_like(x))
    run = simulate(still, x0, [0.0, 1.0])
    assert run.states[:, -1].tolist() == start


@pytest.mark.parametrize("x0", [np.array([[True, False]]), torch.tensor([[True, False]])])
def test_truth_values_are_no_states(x0):
    with pytest.raises(TypeError, match="x0 holds bool values; it must hold numbers"):
        simulate(Diffusion(drift=lambda t, x: x), x0, [0.0, 1.0])


def test_of_several_rows_that_are_not_finite_the_first_is_named():
    x = np.ones((5, 2))
    x[[1, 3], [0, 1]] = np.nan, np.inf
    with pytest.raises(ValueError, match="2 of its 5 rows .* the first is row 1; remove them"):
        simulate(DECAY, x, [0.0, 1.0])


@pytest.mark.parametrize("solver", ["tsit5", "rk4", "dopri5"])
def test_float64_start_gives_float64_accuracy(solver):
    x = np.random.default_rng(0).normal(size=(3, 2))
    run = simulate(DECAY, x, [0.0, 1.0], solver=spelled(solver, rtol=1e-10, atol=1e-12))
    assert run.states.dtype == torch.float64
    assert np.allclose(run.states[:, 1].numpy(), x * math.exp(-1), rtol=3e-9)


def test_float64_start_through_a_float32_network_gives_float64_results():
    net = nn.Linear(2, 2)
    run = simulate(Diffusion(drift=Wrapped(net)), np.ones((3, 2)), [0.0, 1.0])
    assert run.states.dtype == torch.float64


def test_float32_start_through_a_float64_network_runs():
    run = simulate(Diffusion(drift=Wrapped(nn.Linear(2, 2).double())), torch.ones(3, 2), [0.0, 1.0])
    assert run.states.dtype == torch.float32


class Wrapped(nn.Module):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, t, x):
        return self.net(x)


def test_more_paths_than_rows_draws_rows_and_says_which():
    x = torch.arange(5.0)[:, None]
    run = simulate(
        DECAY,
        x,
        [0.0, 1.0],
        n_paths=40,
    )
    drawn = run.origin.tolist()
    assert run.states[:, 0, 0].tolist() == [float(i) for i in drawn]
    assert set(drawn) == set(range(5))


def test_fewer_paths_than_rows_draws_without_replacement():
    run = simulate(DECAY, torch.arange(20.0)[:, None], [0.0, 1.0], n_paths=15)
    assert len(set(run.states[:, 0, 0].tolist())) == 15


def test_as_many_paths_as_rows_keeps_every_row_in_order():
    x = torch.randn(6, 1)
    assert torch.equal(simulate(DECAY, x, [0.0, 1.0], n_paths=6).states[:, 0], x)


@pytest.mark.parametrize("solver", ["euler_maruyama", "heun", "sra1"])
def test_chunks_do_not_change_noisy_paths(solver):
    x = torch.randn(200, 3)
    whole = simulate(OU, x, [0.0, 0.5, 1.0], solver=solver, seed=3).states
    for size in (7, 64, 100):
        parts = simulate(OU, x, [0.0, 0.5, 1.0], solver=solver, seed=3, chunk_size=size).states
        assert torch.equal(parts, whole)


def test_chunks_do_not_change_adaptive_paths():
    x = torch.randn(100, 3)
    field = Diffusion(drift=lambda t, x: torch.sin(3 * x) - x.flip(1))
    whole = simulate(field, x, [0.0, 1.0, 2.0]).states
    assert torch.allclose(
        simulate(field, x, [0.0, 1.0, 2.0], chunk_size=13).states, whole, rtol=1e-5, atol=1e-6
    )


def test_first_paths_stay_when_more_are_asked_for():
    x = torch.zeros(3, 2)
    few = simulate(OU, x, [0.0, 1.0], n_paths=70, seed=5).states
    many = simulate(OU, x, [0.0, 1.0], n_paths=300, seed=5).states
    assert torch.equal(many[:70], few)


def test_seeds_differ_and_repeat_and_leave_the_global_generator_alone():
    x = torch.zeros(10, 2)
    before = torch.get_rng_state()
    a, b, c = (simulate(OU, x, [0.0, 1.0], seed=seed).states for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a[:, 1], c[:, 1])
    assert torch.equal(torch.get_rng_state(), before)


def test_the_default_solver_is_chosen_by_the_noise():
    x = torch.ones(4, 2)
    per_time = Diffusion(
        drift=lambda t, x: -x, diffusion=lambda t, x: (1 + t[:, None]).expand_as(x)
    )
    hidden = Diffusion(drift=lambda t, x: -x, diffusion=lambda t, x: 0.1 * x.detach())
    chosen = {
        p: simulate(p, x, [0.0, 1.0]).attrs["solver"]["class"]
        for p in (DECAY, OU, per_time, MULTIPLICATIVE, hidden)
    }
    assert list(chosen.values()) == ["Tsit5", "SRA1", "SRA1", "EulerMaruyama", "EulerMaruyama"]


def test_provenance_is_plain():
    attrs = simulate(OU, torch.ones(2, 2), [0.0, 1.0], seed=np.int64(7), solver=SRA1(dt=0.3)).attrs
    assert (attrs["seed"], attrs["noise"], attrs["backward"]) == (7, None, False)
    assert attrs["longest_step"] == 0.25
    assert from_plain(attrs["solver"]).dt == 0.3


def test_a_process_bounds_the_steps_that_nobody_chose():
    process = Diffusion(drift=lambda t, x: -x, diffusion=0.5)
    process.longest_step = 0.5
    x = torch.ones(2, 2)
    # A hundredth of the span is longer.
    assert simulate(process, x, [0.0, 100.0]).attrs["longest_step"] == 0.5
    assert simulate(process, x, [0.0, 100.0], solver=SRA1(dt=2.0)).attrs["longest_step"] == 2.0
    for step in (-1, 0, float("nan"), "short"):
        process.longest_step = step
        with pytest.raises(ValueError, match="longest_step of the process must be a positive"):
            simulate(process, x, [0.0, 100.0])


@pytest.mark.parametrize(
    ("process", "solver", "expected"),
    [
        (DECAY, Euler(dt=0.25), 4),
        (DECAY, Heun(dt=0.25), 8),
        (DECAY, RungeKutta4(dt=0.25), 16),
        (OU, EulerMaruyama(dt=0.25), 4),
        (OU, SRA1(dt=0.25), 8),
    ],
)
def test_evaluations_are_the_stages_of_the_steps(process, solver, expected):
    run = simulate(process, torch.ones(5, 2), [0.0, 1.0], solver=solver, chunk_size=2)
    assert run.attrs["evaluations"] == expected


def test_a_tighter_tolerance_takes_more_evaluations_of_six_a_step():
    counts = []
    for rtol in (1e-6, 1e-10):
        solver = Tsit5(rtol=rtol, atol=1e-3 * rtol)
        run = simulate(DECAY, torch.ones(3, 2).double(), [0.0, 1.0], solver=solver)
        counts.append(run.attrs["evaluations"])
    loose, tight = counts
    # Equal paths take equal steps, after two evaluations that choose the first of them.
    assert (loose - 2) % 6 == (tight - 2) % 6 == 0
    # Of order five, an error that is 10,000 times smaller takes 10^0.8 = 6.3 times the steps; few
    # steps have not come to that yet.
    assert 3 < (tight - 2) / (loose - 2) < 8


def test_noise_is_recorded_as_a_plain_number_or_by_its_name():
    process = Diffusion(drift=lambda t, x: -x, score=lambda t, x: -x)

    def rising(t):
        return 0.1 * t

    for noise, record in ((np.float32(0.25), 0.25), (1, 1.0), (rising, "rising")):
        attrs = simulate(process, torch.ones(2, 2), [0.0, 1.0], noise=noise).attrs
        assert attrs["noise"] == record
        assert type(attrs["noise"]) is type(record)


def test_progress_shows_a_bar(capsys):
    simulate(DECAY, torch.ones(2, 2), [0.0, 1.0, 2.0], progress=True)
    assert "simulate (tsit5)" in capsys.readouterr().err


def test_arrays_record_no_gradients_even_for_a_trained_network():
    net = Wrapped(nn.Linear(2, 2))
    assert not simulate(
        Diffusion(drift=net), np.ones((2, 2), np.float32), [0.0, 1.0]
    ).states.requires_grad
    with torch.no_grad():
        assert not simulate(Diffusion(drift=net), torch.ones(2, 2), [0.0, 1.0]).states.requires_grad
    assert simulate(Diffusion(drift=net), torch.ones(2, 2), [0.0, 1.0]).states.requires_grad


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"process": nn.Linear(2, 2)},
            TypeError,
            "process such as Diffusion, but process is a Linear",
        ),
        ({"x0": torch.ones(2)}, ValueError, r"x0 must be \(n, d\).*x0\[None\]"),
        ({"x0": torch.ones(2, 2, 2)}, ValueError, r"x0 must be \(n, d\)"),
        ({"x0": torch.ones(0, 2)}, ValueError, "at least one row"),
        ({"x0": torch.tensor([[1.0], [math.nan]])}, ValueError, "1 of its 2 rows.*first is row 1"),
        ({"x0": [["a"]]}, TypeError, "x0 holds .* it must hold numbers"),
        ({"x0": torch.ones(2, 2, dtype=torch.complex64)}, TypeError, "x0 must be real"),
        ({"times": [0.0, 1.0, 1.0]}, ValueError, "1 is followed by 1"),
        ({"times": [0.0, 2.0, 1.0]}, ValueError, "2 is followed by 1"),
        ({"times": [1.0, 0.0]}, ValueError, "backward=True"),
        ({"times": [0.0, 1.0], "backward": True}, ValueError, "reverse them"),
        ({"times": []}, ValueError, "at least one number"),
        ({"times": [[0.0, 1.0]]}, ValueError, "flat list of numbers"),
        ({"times": [0.0, math.inf]}, ValueError, "finite"),
        ({"times": "soon"}, ValueError, "times must be numbers"),
        (
            {"solver": RungeKutta4(dt=0.0)},
            ValueError,
            "dt of RungeKutta4 must be a positive number",
        ),
        (
            {"solver": Euler("fast")},
            ValueError,
            "dt of Euler must be a positive number, found 'fast'",
        ),
        ({"solver": Tsit5(rtol=-1.0)}, ValueError, "rtol of Tsit5 must be a positive number"),
        (
            {"process": OU, "solver": TorchSDE(adaptive=2)},
            TypeError,
            "TorchSDE.adaptive must be True",
        ),
        ({"n_paths": 0}, ValueError, "n_paths must be a positive integer"),
        ({"chunk_size": 2.5}, ValueError, "chunk_size must be a positive integer"),
        ({"n_paths": True}, ValueError, "n_paths must be a positive integer"),
        ({"n_paths": 10**400}, ValueError, "n_paths must be a positive integer"),
        (
            {"n_paths": 2**50},
            MemoryError,
            r"^states of 1125899906842624 paths at 2 times take at least 2.7e\+07 GB",
        ),
        ({"seed": 0.5}, TypeError, "seed must be an integer"),
        ({"seed": 10**5000}, ValueError, r"smaller than 2\*\*128, but it is <int>$"),
        ({"backward": np.array([True, False])}, TypeError, "backward must be True or False"),
        ({"backward": pd.NA}, TypeError, "backward must be True or False, found <NA>$"),
        ({"progress": "no"}, TypeError, "progress must be True or False, found 'no'$"),
        (
            {"process": OU, "solver": TorchSDE("srk", adaptive=True), "chunk_size": 1},
            ValueError,
            "chunk_size=1 cannot be used with solver TorchSDE.*depend on all paths",
        ),
        (
            {"process": OU, "solver": TorchSDE("log_ode"), "chunk_size": 1},
            ValueError,
            "chunk_size=1 cannot be used with solver TorchSDE",
        ),
        ({"resample": 1.5}, ValueError, "resample must be a fraction"),
        ({"solver": 4}, TypeError, "solver must be a solver such as"),
        (
            {"solver": "rk5"},
            ValueError,
            "'rk5' is not known; choose one of 'euler', 'euler_maruyama'",
        ),
        ({"solver": "rk4:fast"}, ValueError, "'rk4' takes no further words"),
        (
            {"solver": "sra1"},
            ValueError,
            r"SRA1\(\) cannot run.*a flow without noise; use Euler\(\)",
        ),
        ({"solver": "torchsde:srk"}, ValueError, r"TorchSDE\(\) cannot run.*a flow without noise"),
        ({"solver": "torchdiffeq:magic"}, ValueError, "names no method of torchdiffeq"),
        (
            {"process": OU, "solver": "rk4"},
            ValueError,
            r"RungeKutta4\(\) cannot run.*noise does not",
        ),
        (
            {"process": OU, "solver": "dopri5"},
            ValueError,
            r"TorchDiffEq\(\) cannot run.*use EulerM",
        ),
        ({"process": OU, "solver": "torchsde:magic"}, ValueError, "names no method of torchsde"),
        ({"process": OU, "solver": "torchsde:srk:fast"}, ValueError, "not of the form"),
        ({"process": MULTIPLICATIVE, "solver": "sra1"}, ValueError, "noise depends on the state"),
        (
            {"process": MULTIPLICATIVE, "solver": "torchsde:midpoint"},
            ValueError,
            "sense of Itô, of which the methods are euler, milstein, srk",
        ),
        ({"noise": 0.5}, ValueError, "noise=0.5 needs the score"),
        ({"process": OU, "noise": 0.0}, ValueError, "noise=0.0 needs the score"),
        (
            {"process": OU, "times": [1.0, 0.0], "backward": True},
            ValueError,
            "backward=True needs the score",
        ),
        ({"noise": -1.0}, ValueError, "not negative"),
        ({"noise": "loud"}, TypeError, "noise must be a number"),
        ({"noise": lambda t: -t}, ValueError, "not negative, but it is -1 at time 1"),
        ({"noise": lambda t: None}, TypeError, "one number for a scalar time"),
        (
            {"process": Diffusion(drift=lambda t, x: x[:, 0])},
            ValueError,
            r"drift\(t, x\).*must be \(n, d\)",
        ),
        ({"process": Diffusion(drift=lambda t, x: 1.0)}, TypeError, "must return a tensor"),
        (
            {"process": Diffusion(drift=lambda t, x: x, growth=lambda t, x: x)},
            ValueError,
            r"growth\(t, x\).*must be \(n,\)",
        ),
        (
            {"process": Diffusion(drift=lambda t, x: x, diffusion=lambda t, x: t)},
            ValueError,
            r"write t\[:, None\]",
        ),
    ],
)
def test_wrong_arguments_are_named_in_a_sentence(change, error, message):
    arguments = {"process": DECAY, "x0": torch.ones(2, 2), "times": [0.0, 1.0], **change}
    with pytest.raises(error, match=message):
        simulate(**arguments)


@pytest.mark.parametrize(
    "change",
    [
        {"noise": "loud\n" * 200},
        {"noise": np.ones(500)},
        {"noise": 10**5000},
        {"solver": "x\ny" * 200},
        {"solver": "rk4:" + "x" * 500},
        {"solver": "torchsde:srk:" + "x" * 500},
        {"solver": TorchSDE("x" * 500)},
        {"solver": TorchDiffEq("x" * 500)},
        {"solver": Euler("x" * 500)},
    ],
)
def test_long_values_are_cut_short_in_messages(change):
    arguments = {"process": DECAY, "x0": torch.ones(2, 2), "times": [0.0, 1.0], **change}
    with pytest.raises((TypeError, ValueError)) as raised:
        simulate(**arguments)
    message = str(raised.value)
    assert len(message) <= 300
    assert "\n" not in message


def test_all_paths_of_a_run_are_one_chunk_that_any_solver_takes():
    x = torch.zeros(3, 1)
    solver = TorchSDE("srk", adaptive=True)
    whole = simulate(OU, x, [0.0, 1.0], solver=solver).states
    assert torch.equal(simulate(OU, x, [0.0, 1.0], solver=solver, chunk_size=3).states, whole)


def test_diffusion_that_depends_on_the_state_has_no_probability_flow():
    process = Diffusion(
        drift=lambda t, x: -x, diffusion=lambda t, x: 0.1 * x, score=lambda t, x: -x
    )
    with pytest.raises(ValueError, match="does not depend on the state"):
        simulate(process, torch.ones(2, 2), [1.0, 0.0], backward=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("solver", ["sra1", "euler_maruyama", "torchsde:euler"])
def test_runs_on_the_device_of_the_process(solver):
    net = nn.Linear(3, 3).cuda()
    run = simulate(
        Diffusion(drift=Wrapped(net), diffusion=0.2), np.zeros((200, 3)), [0.0, 1.0], solver=solver
    )
    assert run.states.is_cuda
    assert run.states.isfinite().all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("solver", ["tsit5", "rk4", "dopri5"])
def test_flows_agree_between_devices(solver):
    x = torch.randn(50, 3)
    here = simulate(DECAY, x, [0.0, 1.0, 2.0], solver=solver).states
    there = simulate(DECAY, x.cuda(), [0.0, 1.0, 2.0], solver=solver).states
    assert torch.allclose(here, there.cpu(), atol=1e-5)


@pytest.mark.parametrize("dt", [1e-308, 1e-17])
def test_steps_without_number_are_refused(dt):
    process = Diffusion(drift=lambda t, x: -x)
    with pytest.raises(ValueError, match=f"steps of {dt:g} are too short for an interval of 1"):
        simulate(process, torch.ones(2, 1), [0.0, 1.0], solver=Euler(dt=dt))
    with pytest.raises(MemoryError, match=r"1e\+14 steps of 1e-14 take at least"):
        simulate(process, torch.ones(2, 1), [0.0, 1.0], solver=Euler(dt=1e-14))


@pytest.mark.parametrize("noise", [1e39, float("inf"), float("nan"), -1.0])
def test_noise_that_single_precision_does_not_hold_is_refused(noise):
    process = Diffusion(drift=lambda t, x: -x, score=lambda t, x: -x)
    with pytest.raises(ValueError, match="noise must be finite and not negative"):
        simulate(process, torch.ones(2, 1), [0.0, 1.0], noise=noise)


def test_starts_of_any_layout_are_read_and_those_without_numbers_refused():
    process = Diffusion(drift=lambda t, x: -x)
    x = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    expected = simulate(process, x, [0.0, 1.0]).states
    for start in (x.to_sparse(), x.bfloat16(), x.numpy().astype(np.uint16)):
        assert torch.equal(simulate(process, start, [0.0, 1.0]).states, expected)
    with pytest.raises(ValueError, match="x0 is on the device 'meta', which holds no numbers"):
        simulate(process, x.to("meta"), [0.0, 1.0])

"""The exact solver: optimal by its own dual, the same in processes, no process left behind."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import ot
import pytest
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from dyninfer.data.snapshots import Snapshots
from dyninfer.learning.random import subseed
from dyninfer.transport.couplings import OTCoupling, TransportProblem
from dyninfer.transport.couplings.emd import emd, emd_all

pytestmark = pytest.mark.filterwarnings("ignore:batch_size=")

SMALL = TransportProblem(np.ones((2, 2)), np.full(2, 0.5), np.full(2, 0.5))


def snapshots(n=300, n_times=3):
    rng = np.random.default_rng(0)
    return Snapshots(
        times=np.arange(n_times), samples=[rng.normal(k, 1, (n, 3)) for k in range(n_times)]
    )


def problem(n=70, m=50):
    rng = np.random.default_rng(0)
    a, b = rng.random(n) + 0.1, rng.random(m) + 0.1
    return TransportProblem(rng.random((n, m)), a / a.sum(), b / b.sum())


def test_the_plan_costs_what_the_dual_says_is_least():
    solution = emd(problem())
    cost, a, b = problem()
    assert solution.is_optimal
    assert solution.cost == pytest.approx(cost[solution.rows, solution.columns] @ solution.mass)
    assert solution.cost == pytest.approx(ot.emd2(a, b, cost), rel=1e-9)
    assert abs(solution.dual_gap) < 1e-12 * solution.cost + 1e-14


def test_a_solver_that_was_stopped_tells_the_dual_gap(monkeypatch):
    monkeypatch.setattr("dyninfer.metrics.simplex.ITERATIONS", 1)
    with pytest.warns(UserWarning, match="not solved.*dual gap is [1-9]"):
        solution = emd(problem())
    assert not solution.is_optimal


@pytest.mark.parametrize("unit", [1e-140, 1e-24, 1e-12, 1e12, 1e24, 1e140])
def test_the_unit_of_the_cost_changes_no_plan(unit):
    cost, a, b = problem()
    plain, other = emd(problem()), emd(TransportProblem(cost * unit, a, b))
    assert other.is_optimal
    assert other.cost == pytest.approx(plain.cost * unit, rel=1e-9)
    dense, expected = np.zeros((2, *cost.shape))
    expected[plain.rows, plain.columns] = plain.mass
    dense[other.rows, other.columns] = other.mass
    assert np.abs(dense - expected).max() < 1e-12


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("far", [1e4, 1e7])
@pytest.mark.parametrize("unit", [1e-12, 1.0, 1e12])
def test_pairs_are_those_of_the_assignment_at_any_scale_and_beside_a_far_group(unit, far, workers):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 60, 3))
    x[30:] += far
    y[30:] += far
    squared = cdist(x, y, "sqeuclidean")
    rows, columns = linear_sum_assignment(squared)
    coupling = OTCoupling(workers=workers)
    equal = np.full(60, 1 / 60)
    plan = coupling.plan(x * unit, y * unit, equal, equal, 0)
    cost = squared[plan.source, plan.target] @ plan.mass
    # The coordinates of a far group have lost seven of sixteen digits themselves.
    assert cost == pytest.approx(squared[rows, columns].mean(), rel=1e-6)


def test_samples_whose_differences_cannot_be_squared_are_refused():
    x, y = np.random.default_rng(0).normal(size=(2, 9, 2))
    equal = np.full(9, 1 / 9)
    for unit in (1e-170, 1e160):
        with pytest.raises(ValueError, match="rescale"):
            OTCoupling().plan(x * unit, y * unit, equal, equal, 0)


def test_plans_of_processes_are_the_same_to_the_last_bit():
    data = snapshots()
    here, there = (
        OTCoupling(batch_size=100, workers=n).plans(data, list(data.samples), 3) for n in (1, 2)
    )
    one_by_one = [
        OTCoupling(batch_size=100).plan(
            *data.samples[k : k + 2],
            np.full(300, 1 / 300),
            np.full(300, 1 / 300),
            subseed(3, "interval", k),
        )
        for k in (0, 1)
    ]
    for plans in (there, one_by_one):
        for first, second in zip(here, plans, strict=True):
            for u, v in zip(first, second, strict=True):
                np.testing.assert_array_equal(u, v)


def test_a_process_that_dies_is_an_error_with_a_remedy(monkeypatch):
    def die(*_, **__):
        os._exit(1)

    monkeypatch.setattr("dyninfer.transport.couplings.emd.best_plan", die)
    with pytest.raises(RuntimeError, match=r"ended before it answered.*OTCoupling\(workers=1\)"):
        emd_all([SMALL] * 4, 2)


def processes_of(session):
    """Running processes of a session."""
    table = subprocess.run(
        ["ps", "-eo", "sid,stat"], capture_output=True, text=True, check=True
    ).stdout.splitlines()[1:]
    rows = [line.split() for line in table]
    return [row for row in rows if row[0] == str(session) and not row[1].startswith("Z")]


def begun_script(tmp_path):
    """A script, without a guard of its main part, that is solving blocks in two processes."""
    script = tmp_path / "script.py"
    script.write_text(
        "import numpy as np\n"
        "from dyninfer.transport.couplings import TransportProblem\n"
        "from dyninfer.transport.couplings.emd import emd_all\n"
        "w = np.full(400, 1 / 400)\n"
        "def problems():\n"
        "    rng = np.random.default_rng(0)\n"
        "    for k in range(10_000):\n"
        "        if k == 20:\n"
        "            print('begun', flush=True)\n"
        "        yield TransportProblem(rng.random((400, 400)), w, w)\n"
        "emd_all(problems(), 2)\n"
    )
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdout.readline() == "begun\n"
    assert len(processes_of(parent.pid)) > 2
    return parent


def assert_no_process_is_left(session, seconds=20):
    deadline = time.monotonic() + seconds
    while processes_of(session) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not processes_of(session)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_a_script_without_a_guard_ends_on_ctrl_c_and_leaves_no_process(tmp_path):
    parent = begun_script(tmp_path)
    os.killpg(parent.pid, signal.SIGINT)
    _, errors = parent.communicate(timeout=60)
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert errors.count("Traceback") == 1
    assert_no_process_is_left(parent.pid)


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_processes_leave_when_their_parent_is_killed(tmp_path):
    parent = begun_script(tmp_path)
    parent.kill()
    parent.communicate(timeout=60)
    assert_no_process_is_left(parent.pid)


def test_small_work_stays_here_and_large_work_takes_processes(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert OTCoupling()._workers([2048] * 4) == 1
    assert OTCoupling()._workers([2048] * 100) == 4
    assert OTCoupling(workers=3)._workers([10, 10]) == 2

"""Blocks solved in processes: the same plans, no process left."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dyninfer.data.snapshots import Snapshots
from dyninfer.transport.couplings import OTCoupling
from dyninfer.transport.couplings.processes import Workers

pytestmark = pytest.mark.filterwarnings("ignore:batch_size=")


def snapshots(n=300, n_times=3):
    rng = np.random.default_rng(0)
    return Snapshots(
        times=np.arange(n_times), samples=[rng.normal(k, 1, (n, 3)) for k in range(n_times)]
    )


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_plans_of_processes_are_the_same_to_the_last_bit():
    data = snapshots()
    here, there = (
        OTCoupling(batch_size=100, workers=n).plans(data, list(data.samples), 3) for n in (1, 2)
    )
    one_by_one = [
        OTCoupling(batch_size=100).plan(
            *data.samples[k : k + 2], np.full(300, 1 / 300), np.full(300, 1 / 300), 3 + k
        )
        for k in (0, 1)
    ]
    for plans in (there, one_by_one):
        for first, second in zip(here, plans, strict=True):
            for u, v in zip(first, second, strict=True):
                np.testing.assert_array_equal(u, v)


def test_processes_end_with_the_work_and_with_an_interrupt():
    problem = (np.ones((2, 2)), np.full(2, 0.5), np.full(2, 0.5))
    with Workers(2) as workers:
        assert len(workers.map(lambda _: problem, range(3))) == 3
        pids = [child.pid for child in workers.children]
        assert all(map(is_running, pids))
    assert not any(map(is_running, pids))

    def interrupted(task):
        raise KeyboardInterrupt

    workers = Workers(2)
    with pytest.raises(KeyboardInterrupt), workers:
        workers.map(interrupted, range(3))
    assert not any(is_running(child.pid) for child in workers.children)


def test_a_process_that_dies_is_an_error_with_a_remedy():
    def kill(_):
        for child in workers.children:
            child.kill()
        return np.ones((2, 2)), np.full(2, 0.5), np.full(2, 0.5)

    workers = Workers(2)
    with (
        pytest.raises(RuntimeError, match=r"ended before it answered.*OTCoupling\(workers=1\)"),
        workers,
    ):
        workers.map(kill, range(4))


@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_processes_end_when_their_parent_is_killed():
    script = (
        "import time, numpy as np\n"
        "from dyninfer.transport.couplings.processes import Workers\n"
        "with Workers(2) as w:\n"
        "    w.map(lambda _: (np.ones((2, 2)), np.full(2, .5), np.full(2, .5)), range(2))\n"
        "    print(*(c.pid for c in w.children), flush=True)\n"
        "    time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    pids = list(map(int, parent.stdout.readline().split()))
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    assert len(pids) == 2
    deadline = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, pids))


def test_small_work_stays_here_and_large_work_takes_processes(monkeypatch):
    import torch

    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    assert OTCoupling()._workers([2048] * 4) == 1
    assert OTCoupling()._workers([2048] * 100) == 4
    assert OTCoupling(workers=3)._workers([10, 10]) == 2

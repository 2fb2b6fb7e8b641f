"""`compare` on a Dask cluster of this machine: the same table to the bit, also when a worker dies.

Run where ``distributed`` is installed; it is no dependency of the package.
"""

import os
import signal
import threading
import time

import numpy as np
import pandas as pd
import pytest

import dyninfer as di

distributed = pytest.importorskip("distributed", reason="no dask.distributed is installed")

SMALL = di.Training(max_steps=60)


@pytest.fixture(scope="module")
def client():
    options = {"threads_per_worker": 1, "processes": True, "dashboard_address": None}
    cluster = distributed.LocalCluster(n_workers=2, **options)
    client = distributed.Client(cluster)
    yield client
    client.close()
    # A worker that imports torch again after the kill takes its time.
    cluster.close(timeout=120)


def cells():
    rng = np.random.default_rng(0)
    times = [0.0, 1.0, 2.0, 3.0]
    return di.Snapshots(times=times, samples=[rng.normal(size=(60, 2)) + t for t in times])


def run(executor=None):
    methods = [di.ActionMatching(training=SMALL), di.StochasticInterpolant(training=SMALL)]
    table = di.tl.compare(
        cells(), methods, n_repeats=2, metrics=["w1", "energy"], executor=executor, progress=False
    )
    return table.drop(columns="seconds")


@pytest.fixture(scope="module")
def alone():
    return run()


def test_a_cluster_gives_the_same_table_to_the_bit(client, alone):
    with client.get_executor() as executor:
        pd.testing.assert_frame_equal(run(executor), alone, check_exact=True)


def test_a_worker_that_is_killed_costs_no_row(client, alone):
    victims = list(client.run(os.getpid).values())
    killed = []

    def kill():
        # Once it works: a task that was running is computed again by another.
        while not any(client.processing().values()):
            time.sleep(0.05)
        os.kill(victims[0], signal.SIGKILL)
        killed.append(victims[0])

    killer = threading.Thread(target=kill)
    with client.get_executor() as executor:
        killer.start()
        table = run(executor)
    killer.join()
    assert killed
    assert killed[0] not in client.run(os.getpid).values()
    pd.testing.assert_frame_equal(table, alone, check_exact=True)

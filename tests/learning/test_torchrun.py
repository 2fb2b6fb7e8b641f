"""One fit in two processes that torchrun starts: the model of one process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import dyninfer as di

ROOT = Path(__file__).parents[2]
SCRIPT = """
import os
import sys

import numpy as np

import dyninfer as di
from dyninfer.learning.training import TrainingRun
from dyninfer.transport.couplings import OTCoupling, stretches, supply

out, checkpoint, last = sys.argv[1], sys.argv[2] or None, int(sys.argv[3])
# Blocks are solved in every process alike.
stretches.WORTH_STARTING, supply.PACE = 0.0, 1e-4
update = TrainingRun.update


def cut_off(run, *arguments):
    if run.step == last:
        raise KeyboardInterrupt
    return update(run, *arguments)


TrainingRun.update = cut_off
rng = np.random.default_rng(0)
data = di.Snapshots(times=[0.0, 1.0, 2.0], samples=rng.normal(size=(3, 600, 4)).astype("f"))
settings = di.Training(batch_size=64, validate_every=8, checkpoint_every=5)
model = di.StochasticInterpolant(
    width=32, coupling=OTCoupling(batch_size=128), training=settings
)
model.fit(data, max_steps=24, progress=False, checkpoint=checkpoint, resume=checkpoint is not None)
if os.environ.get("RANK", "0") == "0":
    model.save(out)
"""


@pytest.fixture
def fitted(tmp_path):
    """Weights of a fit that the script makes, started in one way or another."""
    script = tmp_path / "fit.py"
    script.write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def fit(*launcher, checkpoint="", last=-1):
        out = tmp_path / "model.safetensors"
        arguments = [script, out, checkpoint, str(last)]
        run = subprocess.run(
            [sys.executable, *launcher, *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert run.returncode == 0, run.stderr[-2000:]
        return di.load(out).process_.state_dict()

    return fit


TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.mark.slow
def test_two_processes_make_the_model_of_one_and_go_on_from_a_checkpoint(fitted, tmp_path):
    one = fitted()
    two = fitted(*TORCHRUN)
    for name, value in one.items():
        # Gradients are sums of two halves, which round otherwise.
        torch.testing.assert_close(two[name], value, rtol=1e-4, atol=1e-5)
    checkpoint = str(tmp_path / "run")
    cut_off = fitted(*TORCHRUN, checkpoint=checkpoint, last=13)
    assert any(not torch.equal(cut_off[name], value) for name, value in two.items())
    again = fitted(*TORCHRUN, checkpoint=checkpoint)
    for name, value in two.items():
        assert torch.equal(again[name], value), name

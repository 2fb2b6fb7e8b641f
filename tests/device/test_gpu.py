"""On a GPU: every estimator is fitted, run, saved and loaded there, and agrees with the CPU.

The table of it is written to ``build/gpu.md``.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from device.agreement import CASES, compare, table

from dyninfer.estimators import registry

ROWS = []
# Names of the cases begin with that of their estimator.
COVERED = {name.split(",")[0] for name in CASES}


def test_every_estimator_is_compared():
    own = {name for name, cls in registry().items() if cls.__module__.startswith("dyninfer.")}
    assert own == COVERED


@pytest.mark.parametrize("name", ["KramersMoyal", "MarkovJumpInference, exact"])
def test_the_comparison_runs_without_a_gpu(name, tmp_path):
    row = compare(name, "cpu", tmp_path)
    assert row.difference == 0
    assert f"| {name} | 0.0e+00 |" in table([row])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", CASES)
def test_a_gpu_agrees_with_the_cpu(name, tmp_path):
    row = compare(name, "cuda", tmp_path)
    ROWS.append(row)
    build = Path("build")
    build.mkdir(exist_ok=True)
    (build / "gpu.md").write_text(table(ROWS))
    assert row.difference <= CASES[name].tolerance

"""Every benchmark and every experiment of the documentation runs to its end, at its smallest size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "tests" / "benchmarks").glob("*_*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_script_runs_to_its_end_at_its_smallest_size(script, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, script, "--smallest"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-3000:]
    assert run.stdout.strip()


def test_benchmarks_and_experiments_are_named_after_what_they_are():
    kinds = {script.stem.partition("_")[0] for script in SCRIPTS}
    assert kinds == {"bench", "science"}

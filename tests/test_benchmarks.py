"""Every benchmark and every experiment of the documentation runs to its end, at its smallest size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks.against import compared
from benchmarks.timing import Ratios, interleaved, ratio

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


def test_ratios_that_grew_by_more_than_a_tenth_are_named():
    before = {"even": 1.0, "slower": 2.0, "faster": 1.0, "gone": 3.0}
    now = {"even": 1.09, "slower": 2.22, "faster": 0.5, "new": 9.0}
    lines, slower = compared(before, now)
    assert slower == ["slower"]
    assert "| slower | 2.00 | 2.22 | +11% |" in lines
    assert "| new |  | 9.00 | new |" in lines
    assert "| gone | 3.00 |  | not measured |" in lines


def test_variants_take_turns_and_each_begins_as_often():
    calls = []
    jobs = {name: lambda name=name: calls.append(name) for name in "abc"}
    seconds = interleaved(jobs, rounds=3, repeat=2)
    # One round that is not measured comes first.
    assert "".join(calls) == "abc" + "aabbcc" + "bbccaa" + "ccaabb"
    assert {name: len(values) for name, values in seconds.items()} == {"a": 3, "b": 3, "c": 3}


def test_a_ratio_is_the_median_of_those_within_a_round(tmp_path):
    seconds = {"ours": np.array([1.0, 2.0, 30.0]), "theirs": np.array([2.0, 2.0, 10.0])}
    ratios = Ratios("speed")
    ratios.add("ours / theirs", ratio(seconds, "ours", "theirs"))
    ratios.write(tmp_path / "bench" / "speed.json")
    assert json.loads((tmp_path / "bench" / "speed.json").read_text()) == {
        "speed: ours / theirs": 1.0
    }
    with pytest.raises(ValueError, match="two ratios"):
        ratios.add("ours / theirs", 2.0)

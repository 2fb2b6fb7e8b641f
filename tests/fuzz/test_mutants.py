"""Faults that are put into code: each is there, and a test that looks at it ends it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fuzz.faults import faults, with_fault

SOURCE = '''
"""Not 1 of these is a fault."""
LIMIT = 4


def clipped(x: int, low=0):
    """Not 2."""
    if x < low:
        raise ValueError(f"{x + 1} is too small")
    return min(x, LIMIT)


class Box:
    def area(self, a, b):
        return a * b

    def __repr__(self):
        return "Box" * 1
'''


@pytest.fixture
def module(tmp_path):
    file = tmp_path / "package" / "module.py"
    file.parent.mkdir()
    file.write_text(SOURCE, encoding="utf-8")
    return file


def test_faults_are_those_of_bodies_without_words_and_defaults(module):
    found = {(fault.before, fault.after) for fault in faults(module)}
    assert found == {
        ("x < low", "x <= low"),
        ("x < low", "x >= low"),
        ("raise ValueError(f'{x + 1} is too small')", "pass"),
        ("min(x, LIMIT)", "max(x, LIMIT)"),
        ("a * b", "a / b"),
    }


def test_code_with_a_fault_does_what_the_fault_says(module):
    results = set()
    for fault in faults(module):
        names = {}
        exec(with_fault(fault), names)
        try:
            answer = names["clipped"](0), names["Box"]().area(6, 2)
        except ValueError as error:
            answer = str(error)
        results.add(answer)
    # The boundary, or the other side of it, a smallest number that became a largest, a quotient.
    assert results == {"1 is too small", (0, 12), (4, 12), (0, 3)}


def test_faults_that_no_test_notices_are_listed(module, tmp_path):
    tests = tmp_path / "test_module.py"
    tests.write_text(
        "from package.module import clipped\n\n"
        "def test_numbers_pass():\n    assert clipped(3) == 3\n",
        encoding="utf-8",
    )
    folder = Path(__file__).parent.parent
    command = [sys.executable, "-m", "fuzz.mutants", "package", "--tests", str(tests)]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{folder}"}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    lines = (tmp_path / "build" / "mutants.txt").read_text(encoding="utf-8").splitlines()
    survivors = {line.partition(": ")[2] for line in lines}
    assert survivors == {
        "x < low -> x <= low (survives)",
        "raise ValueError(f'{x + 1} is too small') -> pass (survives)",
        "a * b -> a / b (no test)",
    }
    assert "'killed': 2" in run.stdout

"""Odd inputs for every public door: each works, or ends in one sentence of ours.

An input is Python code, so that a failure can be copied into a session: `inputs.py` holds the names
that it uses, `values.py` the odd values, `doors.py` and `more_doors.py` the public functions.
`judge.py` runs one input and says how it ended; `damage.py` does the same with mutated files.
`python -m fuzz` (`make fuzz`) runs thousands in processes of their own, and `test_fuzz.py` a few of
each in the test suite.

The other way round, `python -m fuzz.mutants` (`make mutants`) puts small faults into the package
(`faults.py`), and lists those that the tests let pass.
"""

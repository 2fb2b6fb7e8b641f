"""Run the tests with one small fault in the package at a time, and list the faults none notices.

A process collects the tests. Each fault is put into the code of a fork, which runs those that call
the faulty function, the quickest first, until one fails. A fault that survives is a missing test,
code that does nothing, or a change that cannot be seen.
"""

import argparse
import gc
import json
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, FunctionType
from typing import Any

import pytest

from fuzz.faults import Fault, faults, with_fault

MOST_TESTS = 120  # of a fault; after so many, the others tell little that is new
MOST_OF_ONE = 3  # cases of one test
FEWEST_SECONDS = 10  # of processor time, for the slowest import in a test
PATIENCE = 4  # times what its tests take without a fault


class Mutants:
    """Plugin of pytest that runs its tests again and again, each time with another fault."""

    def __init__(self, chosen: list[Fault], seconds: float, out: Path):
        self.chosen = chosen
        self.seconds = seconds
        self.out = out
        self.has_failed = False
        self.files = {str(fault.file) for fault in chosen}
        self.endings: dict[str, int] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.has_failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        seconds, callers = self.without_fault(list(items.values()))
        functions = _functions(self.files)
        # What is shared by all forks is not to be touched by their collection of garbage.
        gc.freeze()
        end = time.monotonic() + self.seconds
        with self.out.open("w", encoding="utf-8") as report:
            for fault in self.chosen:
                if time.monotonic() > end:
                    break
                names = callers.get((str(fault.file), fault.function), [])
                names = _quickest(names, seconds)
                ending = self.with_fault(fault, [items[name] for name in names], seconds, functions)
                self.endings[ending] = self.endings.get(ending, 0) + 1
                if ending in ("survives", "no test"):
                    place = f"{fault.file}:{fault.line}"
                    report.write(f"{place}: {fault.before} -> {fault.after} ({ending})\n")
        return True

    def without_fault(self, items: list[pytest.Item]) -> tuple[dict[str, float], dict]:
        """Seconds of every test that passes, and the tests that call each function."""

        def work(write: Callable[[Any], None]) -> None:
            for item, following in zip(items, [*items[1:], None], strict=True):
                codes: set[CodeType] = set()
                started = time.process_time()
                sys.setprofile(partial(_note, codes))
                self.run(item, following)
                sys.setprofile(None)
                called = [(c.co_filename, c.co_firstlineno) for c in codes]
                own = [place for place in called if place[0] in self.files]
                write([item.nodeid, time.process_time() - started, self.has_failed, own])

        seconds = {}
        callers: dict[tuple[str, int], list[str]] = {}
        for name, duration, has_failed, called in _fork(work, limit=3600):
            if has_failed:
                continue
            seconds[name] = duration
            for file, line in called:
                callers.setdefault((file, line), []).append(name)
        return seconds, callers

    def with_fault(
        self, fault: Fault, items: list[pytest.Item], seconds: dict, functions: dict
    ) -> str:
        """Ending of a fault: "no test", "killed", "killed by time" or "survives"."""
        if not items:
            return "no test"

        def work(write: Callable[[Any], None]) -> None:
            _put_in(with_fault(fault), functions[str(fault.file)])
            for item, following in zip(items, [*items[1:], None], strict=True):
                self.run(item, following)
                if self.has_failed:
                    write("killed")
                    return
            write("survives")

        total = sum(seconds[item.nodeid] for item in items)
        lines = _fork(work, limit=FEWEST_SECONDS + PATIENCE * total)
        return lines[0] if lines else "killed by time"

    def run(self, item: pytest.Item, following: pytest.Item | None) -> None:
        self.has_failed = False
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)


def _note(codes: set[CodeType], frame: FrameType, event: str, _: Any) -> None:
    if event == "call":
        codes.add(frame.f_code)


def _quickest(names: list[str], seconds: dict[str, float]) -> list[str]:
    """The quickest tests, and of one with many cases a few."""
    chosen: list[str] = []
    n_cases: dict[str, int] = {}
    for name in sorted(names, key=seconds.__getitem__):
        test = name.partition("[")[0]
        n_cases[test] = n_cases.get(test, 0) + 1
        if n_cases[test] <= MOST_OF_ONE:
            chosen.append(name)
    return chosen[:MOST_TESTS]


def _functions(files: set[str]) -> dict[str, list[FunctionType]]:
    """Functions that were defined in each file, wherever they are held."""
    functions: dict[str, list[FunctionType]] = {file: [] for file in files}
    for thing in gc.get_objects():
        # By type: some objects import a library when they are asked for their class.
        if type(thing) is FunctionType and thing.__code__.co_filename in functions:
            functions[thing.__code__.co_filename].append(thing)
    return functions


def _put_in(code: CodeType, functions: list[FunctionType]) -> None:
    """Give functions the code that they have in another version of their file."""
    codes = {(c.co_qualname, c.co_firstlineno): c for c in _codes_within(code)}
    for function in functions:
        own = function.__code__
        other = codes.get((own.co_qualname, own.co_firstlineno))
        if other is not None and other.co_freevars == own.co_freevars:
            function.__code__ = other


def _codes_within(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes_within(constant)


def _fork(work: Callable, limit: float) -> list[Any]:
    """What ``work`` writes in a fork that may take so many seconds."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        silence = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(silence, stream)
        # Of the processor: what else runs on the machine must not end it.
        resource.setrlimit(resource.RLIMIT_CPU, (int(limit), int(limit) + 1))
        try:
            work(lambda value: os.write(writer, json.dumps(value).encode() + b"\n"))
        finally:
            # After an error too: a fork that went on would write the report of its parent.
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        lines = [json.loads(line) for line in stream]
    os.waitpid(child, 0)
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz.mutants", description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="folders of the package")
    parser.add_argument("--tests", nargs="+", default=["tests/data", "tests/metrics"])
    parser.add_argument("--count", type=int, default=300, help="faults, drawn at random")
    parser.add_argument("--seconds", type=float, default=1800, help="time, without the first run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/mutants.txt"))
    arguments = parser.parse_args()
    every: list[Fault] = []
    for folder in arguments.folders:
        for file in sorted(folder.resolve().rglob("*.py")):
            every.extend(faults(file))
    random.Random(arguments.seed).shuffle(every)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    mutants = Mutants(every[: arguments.count], arguments.seconds, arguments.out)
    options = ["-q", "-m", "not slow", "-p", "no:cacheprovider"]
    pytest.main([*options, *arguments.tests], plugins=[mutants])
    print(f"{len(every)} faults, of which were tried: {mutants.endings}")
    print(f"those that no test notices are in {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

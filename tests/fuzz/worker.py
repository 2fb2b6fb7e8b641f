"""Run the inputs of some doors, each door in a fork, so that one that hangs or dies is counted."""

import json
import os
import resource
import selectors
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

import torch

from fuzz import damage, inputs, judge
from fuzz.doors import DOORS

MEMORY = 12 * 2**30  # bytes of address space: a setting of 10**9 must not take the machine down
PATIENCE = 30  # seconds that one input may take
COUNTS = {"model files": 8, "trajectory files": 0.6, "checkpoints": 0.28}  # in inputs of a door


@dataclass
class Tally:
    """How the inputs of one door ended."""

    door: str
    counts: Counter = field(default_factory=Counter)
    # For each kind of failure and its place: how often, and the shortest input.
    examples: dict = field(default_factory=dict)

    def add(self, line: dict) -> None:
        kind = line["kind"]
        self.counts[kind] += 1
        if kind not in judge.FAILURES:
            return
        example = self.examples.setdefault(f"{kind} {line['where']}", line | {"times": 0})
        example["times"] += 1
        if len(line["code"]) < len(example["code"]):
            example.update(code=line["code"], message=line["message"])


def run_door(door: str, seed: int, count: int, seconds: float) -> Tally:
    """Run inputs until they are done or time is over."""
    tally = Tally(door)
    end = time.monotonic() + seconds
    count = round(count * COUNTS.get(door, 1))
    number = 0
    while number < count and time.monotonic() < end:
        number = _run_fork(tally, seed, number, count, end)
    return tally


def _run_fork(tally: Tally, seed: int, number: int, count: int, end: float) -> int:
    """Run inputs in a fork; the number of the next one."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run_inputs(tally.door, seed, range(number, count), writer)
    os.close(writer)
    lost = None
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        while lost is None:
            left = end - time.monotonic()
            if not selector.select(max(min(PATIENCE, left), 0.1)):
                lost = "late" if left <= PATIENCE else "hangs"
                os.kill(child, 9)
                break
            chunk = os.read(reader, 2**16)
            if not chunk:
                break
            *texts, rest = (rest + chunk).split(b"\n")
            for line in map(json.loads, texts):
                tally.add(line)
                number = line["number"] + 1
    os.close(reader)
    _, status = os.waitpid(child, 0)
    if lost == "late":
        return count
    if lost is None and status != 0:
        lost = "dies"
    if lost is not None:
        code = f"number {number}"
        if tally.door in DOORS:
            code = DOORS[tally.door].write(judge.odd_input(tally.door, seed, number))
        tally.add({"kind": lost, "message": "", "where": tally.door, "code": code})
        number += 1
    return number


def _run_inputs(door: str, seed: int, numbers: range, writer: int) -> None:
    """Run inputs and report each; never returns."""
    torch.set_num_threads(1)
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for number in numbers:
        code, ending = run_input(door, seed, number)
        line = {"number": number, "kind": ending.kind, "message": ending.message}
        line |= {"where": ending.where, "code": code}
        os.write(writer, json.dumps(line).encode() + b"\n")
    os._exit(0)


def run_input(door: str, seed: int, number: int) -> tuple[str, judge.Ending]:
    """Code of one input, as small as it still fails, and how it ended."""
    if door in damage.KINDS:
        return damage.run(door, seed, number)
    odd = judge.odd_input(door, seed, number)
    ending = judge.run(DOORS[door].write(odd))
    if ending.fails:
        odd = judge.shrink(DOORS[door], odd, ending)
    return DOORS[door].write(odd), ending


def main() -> None:
    job = json.loads(sys.argv[1])
    # Some odd inputs are names of files, and some doors write them.
    os.chdir(inputs.tree())
    # Before the forks, which then share them.
    torch.set_num_threads(1)
    for name in damage.MODELS:
        inputs.fitted(name)
    tallies = []
    started = time.monotonic()
    for position, door in enumerate(job["doors"]):
        # What a quick door leaves over, those after it may use.
        left = job["seconds"] - (time.monotonic() - started)
        share = left / (len(job["doors"]) - position)
        tally = run_door(door, job["seed"], job["count"], share)
        tallies.append({"door": door, "counts": tally.counts, "examples": tally.examples})
    with open(job["out"], "w", encoding="utf-8") as file:
        json.dump(tallies, file)


if __name__ == "__main__":
    main()

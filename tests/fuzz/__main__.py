"""Run odd inputs for every door, and print how they ended."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from fuzz.damage import KINDS as FILES
from fuzz.doors import DOORS
from fuzz.judge import FAILURES

COLUMNS = ("works", "sentence", "invalid", *FAILURES)


def run(arguments: argparse.Namespace) -> list[dict]:
    """Share the doors among processes; what each counted, in the order of the doors."""
    doors = [name for name in (*FILES, *DOORS) if arguments.match in name]
    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    processes, outputs = [], []
    for k in range(arguments.workers):
        out = folder / f"{k}.json"
        job = {"doors": doors[k :: arguments.workers], "out": str(out), "seed": arguments.seed}
        job |= {"count": arguments.count, "seconds": arguments.seconds}
        command = [sys.executable, "-m", "fuzz.worker", json.dumps(job)]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        processes.append(subprocess.Popen(command, env=environment))
        outputs.append(out)
    tallies = {}
    for process, out in zip(processes, outputs, strict=True):
        process.wait()
        for tally in json.loads(out.read_text(encoding="utf-8")):
            tallies[tally["door"]] = tally
    return [tallies[door] for door in doors]


def table(tallies: list[dict]) -> str:
    rows = [f"{'door':32}" + "".join(f"{name:>10}" for name in COLUMNS)]
    total = Counter()
    for tally in tallies:
        total.update(tally["counts"])
        rows.append(row(tally["door"], tally["counts"]))
    rows.append(row("all", total))
    return "\n".join(rows)


def row(name: str, counts: dict) -> str:
    return f"{name:32}" + "".join(f"{counts.get(column, 0):>10}" for column in COLUMNS)


def failures(tallies: list[dict]) -> str:
    """The smallest input of every kind of failure, as code, the most frequent kind first."""
    examples = []
    for tally in tallies:
        for example in tally["examples"].values():
            examples.append(example | {"door": tally["door"]})
    examples.sort(key=lambda example: -example["times"])
    texts = []
    for e in examples:
        head = f"# {e['times']} x {e['kind']} in {e['door']}, at {e['where']}: {e['message']}"
        texts.append(f"{head}\n{e['code']}\n")
    return "\n".join(texts)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=900, help="wall-clock time of the run")
    parser.add_argument("--count", type=int, default=2500, help="inputs of each door, at most")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--match", default="", help="only doors whose name holds this")
    parser.add_argument("--out", type=Path, default=Path("build/fuzz.txt"))
    arguments = parser.parse_args()
    tallies = run(arguments)
    print(table(tallies))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(failures(tallies), encoding="utf-8")
    print(f"the smallest failing inputs are in {arguments.out}")
    return int(any(tally["counts"].get(kind) for tally in tallies for kind in FAILURES))


if __name__ == "__main__":
    sys.exit(main())

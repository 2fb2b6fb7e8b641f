"""Peak memory of a fit, a run and an annotation of cells from memory, from a backed h5ad and from a zarr store.

Every kind runs in a process of its own; what the interpreter takes with its imports is not counted. The zarr store
is read by dask, where that is installed. Of many cells, 200,000 paths are run.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_memory.py [--cells 1000000] [--features 50] [--steps 300]
        [--coupling growth_first] [--only "backed h5ad"] [--smallest]
"""

from __future__ import annotations

import argparse
import importlib.util
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import anndata
import numpy as np
import pandas as pd

import dyninfer as di
from dyninfer.learning.training import TrainingRun

N_TIMES = 5
MOST_PATHS = 200_000
COLUMNS = (
    "cells from",
    "opened, s",
    "first step, s",
    "steps per s",
    "fit, s",
    "simulate, s",
    "annotate, s",
)
PEAKS = ("peak of the fit, GiB", "and of the run", "and of all")
HEAD = f"| {' | '.join(COLUMNS + PEAKS)} |"


def gibibytes() -> float:
    """Most memory that this process has held."""
    status = Path("/proc/self/status")
    if status.exists():
        # What else there is counts the memory of the process that started this one.
        text = status.read_text()
        return int(text.split("VmHWM:")[1].split()[0]) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def write(folder: Path, kinds: list[str], options: argparse.Namespace) -> None:
    """Cells that drift, as an h5ad and as a zarr, where these are read."""
    n = options.cells // N_TIMES
    rng = np.random.default_rng(0)
    states = rng.standard_normal((N_TIMES * n, options.features), dtype=np.float32)
    times = np.repeat(np.arange(N_TIMES, dtype=float), n)
    states += times[:, None].astype(np.float32)
    names = np.arange(len(times)).astype(str)
    # As the matrix: AnnData reads what is beside it into memory at once.
    cells = anndata.AnnData(states, obs=pd.DataFrame({"time": times}, index=names))
    if kinds != ["zarr store"]:
        cells.write_h5ad(folder / "cells.h5ad")
    if "zarr store" in kinds:
        cells.write_zarr(folder / "cells.zarr")


def opened(kind: str, folder: Path) -> Any:
    """AnnData of one kind."""
    if kind == "memory":
        return anndata.read_h5ad(folder / "cells.h5ad")
    if kind == "backed h5ad":
        return anndata.read_h5ad(folder / "cells.h5ad", backed="r")
    import zarr
    from anndata.experimental import read_elem_lazy
    from anndata.io import read_elem

    store = zarr.open(folder / "cells.zarr", mode="r")
    states = read_elem_lazy(store["X"])
    return anndata.AnnData(states, obs=read_elem(store["obs"]))


class Steps:
    """CPU-seconds at which the steps of a fit have been made."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        update = TrainingRun.update

        def timed(run: TrainingRun, *arguments: object) -> object:
            means = update(run, *arguments)
            self.ends.append(time.process_time())
            return means

        TrainingRun.update = timed

    @property
    def rate(self) -> float:
        """Steps per CPU-second after the first."""
        return (len(self.ends) - 1) / (self.ends[-1] - self.ends[0])


def row(kind: str, options: argparse.Namespace) -> str:
    """Use cells of one kind."""
    before = gibibytes()
    steps = Steps()
    ticks = [time.process_time()]
    peaks = []

    def tick() -> None:
        ticks.append(time.process_time())
        peaks.append(f"{gibibytes() - before:.2f}")

    cells = opened(kind, options.folder)
    tick()
    model = di.StochasticInterpolant(coupling=options.coupling)
    model.fit(cells, time_key="time", use_rep="X", max_steps=options.steps, progress=False)
    tick()
    n_paths = min(MOST_PATHS, options.cells // N_TIMES)
    model.simulate(cells, times=[0.0, 1.0], n_paths=n_paths)
    tick()
    model.annotate(cells)
    tick()
    opening, fit, run, annotation = np.diff(ticks)
    seconds = (opening, steps.ends[0] - ticks[1], steps.rate, fit, run, annotation)
    columns = [f"{value:.1f}" for value in seconds]
    return f"| {kind} | {' | '.join(columns + peaks[1:])} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--coupling", default="auto")
    parser.add_argument("--only", help="one kind")
    parser.add_argument("--smallest", action="store_true", help="few cells, of one kind")
    # Of the processes that this script starts.
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind:
        print(row(options.kind, options))
        return
    kinds = ["memory", "backed h5ad"]
    if importlib.util.find_spec("dask"):
        kinds.append("zarr store")
    if options.smallest:
        kinds, options.cells, options.steps = ["backed h5ad"], 500, 2
    if options.only:
        kinds = [options.only]
    print(f"{HEAD}\n{'|---' * (len(COLUMNS) + len(PEAKS))}|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), kinds, options)
        for kind in kinds:
            arguments = ["--kind", kind, "--folder", folder]
            for name in ("steps", "cells", "coupling"):
                arguments += [f"--{name}", str(getattr(options, name))]
            subprocess.run([sys.executable, __file__, *arguments], check=True)


if __name__ == "__main__":
    main()

"""Peak memory of a fit, an annotation and a run of cells from memory, from a backed h5ad and from a zarr store.

Every kind runs in a process of its own; what the interpreter takes with its imports is not counted. The zarr store
is read by dask, where that is installed.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_memory.py [--cells 1000000] [--features 50] [--steps 300] [--smallest]
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

N_TIMES = 5
HEAD = "| cells from | opened, s | fit, s | annotate, s | simulate, s | peak, GiB |"


def gibibytes() -> float:
    """Most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def write(folder: Path, options: argparse.Namespace) -> None:
    """Cells that drift, as an h5ad and as a zarr."""
    n = options.cells // N_TIMES
    rng = np.random.default_rng(0)
    states = rng.standard_normal((N_TIMES * n, options.features), dtype=np.float32)
    times = np.repeat(np.arange(N_TIMES, dtype=float), n)
    states += times[:, None].astype(np.float32)
    names = np.arange(len(times)).astype(str)
    cells = anndata.AnnData(obs=pd.DataFrame({"time": times}, index=names))
    cells.obsm["X_pca"] = states
    cells.write_h5ad(folder / "cells.h5ad")
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
    states = read_elem_lazy(store["obsm/X_pca"])
    return anndata.AnnData(obs=read_elem(store["obs"]), obsm={"X_pca": states})


def row(kind: str, folder: Path, steps: int) -> str:
    """Use cells of one kind."""
    before = gibibytes()
    ticks = [time.process_time()]

    def tick() -> None:
        ticks.append(time.process_time())

    cells = opened(kind, folder)
    tick()
    model = di.StochasticInterpolant().fit(
        cells, time_key="time", use_rep="X_pca", max_steps=steps, progress=False
    )
    tick()
    model.annotate(cells)
    tick()
    model.simulate(cells, times=[0.0, 1.0])
    tick()
    columns = [f"{seconds:.1f}" for seconds in np.diff(ticks)]
    return f"| {kind} | {' | '.join(columns)} | {gibibytes() - before:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=50)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--smallest", action="store_true", help="few cells, of one kind")
    # Of the processes that this script starts.
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind:
        print(row(options.kind, options.folder, options.steps))
        return
    kinds = ["memory", "backed h5ad"]
    if importlib.util.find_spec("dask"):
        kinds.append("zarr store")
    if options.smallest:
        kinds, options.cells, options.steps = ["backed h5ad"], 500, 2
    print(f"{HEAD}\n{'|---' * 6}|", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), options)
        for kind in kinds:
            arguments = ["--kind", kind, "--folder", folder, "--steps", str(options.steps)]
            subprocess.run([sys.executable, __file__, *arguments], check=True)


if __name__ == "__main__":
    main()

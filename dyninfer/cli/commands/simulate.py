"""``dyninfer simulate``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dyninfer.cli.arguments import add_data, add_model, add_seed, positive, times
from dyninfer.cli.inputs import check_folder, load_model, read_cells
from dyninfer.cli.output import add_json, print_json

SUMMARY = "simulate from the cells at the first time"
EXAMPLES = [
    "dyninfer simulate model.safetensors cells.h5ad --times 0:4:81 --out traj.h5ad",
    "dyninfer simulate model.safetensors cells.h5ad --times 0,1,2 --n-paths 5000 --out traj.zarr",
    "dyninfer simulate model.safetensors cells.h5ad --times 0,1,2 --solver 'RungeKutta4(dt=0.05)'",
]


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the arguments of this command."""
    add_model(parser)
    add_data(parser)
    parser.add_argument(
        "--times",
        type=times,
        required=True,
        metavar="FROM:TO:NUMBER|T,T,...",
        help="times to store, in the units of the data: evenly spaced, or a list",
    )
    parser.add_argument(
        "--n-paths",
        type=positive,
        metavar="INT",
        help="number of paths (default: one for every cell)",
    )
    parser.add_argument(
        "--noise",
        type=float,
        metavar="NUMBER",
        help="noise of the simulation, for models with a score (default: the model's own)",
    )
    parser.add_argument(
        "--solver",
        type=read_solver,
        metavar="NAME[(...)]",
        help="how finely it is run, such as tsit5, 'SRA1(dt=0.01)' or torchsde:srk "
        "(default: that of the process)",
    )
    parser.add_argument(
        "--backward", action="store_true", help="run time downwards; give descending times"
    )
    add_seed(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("trajectories.h5ad"),
        metavar="FILE",
        help=".h5ad, .zarr or .nc (default: trajectories.h5ad)",
    )
    add_json(parser)


def read_solver(text: str) -> Any:
    """Read a solver by its short spelling, by the name of its class, or with settings."""
    from dyninfer.cli.values import Reader
    from dyninfer.learning.settings import Settings
    from dyninfer.simulation import solvers

    # Naming a solver imports it, and a class is known to the reader once it is imported.
    for name in solvers.__all__:
        getattr(solvers, name)
    read = Reader(kinds=(Settings, str), classes=(solvers.Solver,), optional=False)
    solver = read(text)
    if isinstance(solver, type):
        return solver()
    if isinstance(solver, str):
        try:
            return solvers.named(solver)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return solver


def run(arguments: argparse.Namespace) -> None:
    """Simulate from the cells at the first time and save the trajectories."""
    check_folder(arguments.out)
    options: dict[str, Any] = {"seed": arguments.seed}
    # Options that are not given are not passed on: not every method has each of them.
    for name in ("n_paths", "noise", "solver"):
        if getattr(arguments, name) is not None:
            options[name] = getattr(arguments, name)
    # A flag has no third value: False is not given.
    if arguments.backward:
        options["backward"] = True
    model = load_model(arguments.model, arguments.method)
    data = read_cells(arguments, model)
    traj = model.simulate(data, arguments.times, **options)
    traj.save(arguments.out)
    if not arguments.json:
        print(f"{traj}\nwritten to {arguments.out}")
        return
    content = {
        "n_paths": traj.n_paths,
        "times": traj.times.tolist(),
        "features": traj.features,
        "written": str(arguments.out),
    }
    print_json(content)

"""``dyninfer fates``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dyninfer.cli.arguments import add_data, add_model, add_seed, given, positive
from dyninfer.cli.inputs import check_folder, load_model, read_cells
from dyninfer.cli.output import add_json, print_json, print_table
from dyninfer.learning.files import write_file

SUMMARY = "say what becomes of every cell: probabilities of the labels of a later time"
EXAMPLES = [
    "dyninfer fates model.safetensors cells.h5ad --label-key cell_type --out cells_fates.h5ad",
    "dyninfer fates model.safetensors cells.h5ad --label-key cell_type --at 6 --json",
]


def add_arguments(parser: argparse.ArgumentParser, argv: Sequence[str]) -> None:
    """Add the arguments of this command."""
    add_model(parser)
    add_data(parser)
    parser.add_argument(
        "--label-key",
        metavar="TEXT",
        help="column of obs with labels (default: the clusters of the cells at the end)",
    )
    parser.add_argument(
        "--at", type=float, metavar="TIME", help="end time (default: the last of the data)"
    )
    parser.add_argument(
        "--states", nargs="+", metavar="LABEL", help="labels that are fates (default: all there)"
    )
    parser.add_argument(
        "--of",
        choices=("descendants", "lineage"),
        default="descendants",
        help="the share among all descendants of a cell, or the fate of one daughter at every "
        "division (default: descendants)",
    )
    parser.add_argument("--n-draws", type=positive, metavar="INT", help="paths of a cell")
    parser.add_argument(
        "--noise", type=float, metavar="NUMBER", help="noise of the simulation, as in simulate"
    )
    parser.add_argument(
        "--n-neighbors", type=positive, metavar="INT", help="end cells around an arrival"
    )
    parser.add_argument(
        "--transport",
        type=float,
        metavar="NUMBER",
        help="part that is pulled back along transport plans",
    )
    parser.add_argument(
        "--growth-key",
        metavar="TEXT",
        help="column of obs with the known growth of every cell, which plans follow",
    )
    parser.add_argument(
        "--mix",
        type=float,
        metavar="NUMBER",
        help="part that is the shares of the labels at the end",
    )
    add_seed(parser)
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=".h5ad: the cells with their fates"
    )
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="write the fates of all cells as CSV"
    )
    add_json(parser)


def run(arguments: argparse.Namespace) -> None:
    """Print the mean fates of every time and label, and write those of the cells where asked."""
    check_folder(arguments.out)
    check_folder(arguments.table)
    model = load_model(arguments.model, arguments.method)
    data = read_cells(arguments, model)
    plain_names = ("label_key", "at", "states", "n_draws", "noise", "n_neighbors")
    names = (*plain_names, "transport", "growth_key", "mix")
    options: dict[str, Any] = given(arguments, names)

    from dyninfer.data import keys
    from dyninfer.data.trajectory_file import h5ad_content
    from dyninfer.tools import fates, transition_table

    by_cell = fates(model, data, of=arguments.of, seed=arguments.seed, **options)
    # Clusters are no column: there, cells are told apart by their most probable fate.
    label_key = arguments.label_key or keys.FATE
    groups = transition_table(data, label_key).reset_index()
    files = (arguments.out, arguments.table)
    written = [str(path) for path in files if path is not None]
    if arguments.out is not None:
        write_file(arguments.out, h5ad_content(data))
    if arguments.table is not None:
        write_file(arguments.table, by_cell.to_csv(index_label="cell").encode())
    if arguments.json:
        print_json({"fates": list(by_cell.columns), "table": groups, "written": written})
        return
    print("mean fates of the cells of every time and label:")
    print_table(groups)
    for name in written:
        print(f"written to {name}")

"""The page "An afternoon with your own cells" runs on a small matrix, and finds what was put in."""

import gzip
import re
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.io import mmwrite
from scipy.sparse import csc_matrix

import dyninfer as di

PAGE = Path(__file__).parents[1] / "docs" / "guide" / "afternoon.md"
DAYS = (0.0, 1.0, 2.0, 3.0)
N = 30  # cells a day
LEFT, RIGHT = range(8), range(8, 16)
N_STILL = 24  # genes that nothing moves


def script():
    return re.search(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)[1]


def write_matrix(folder):
    """Counts of cells that part between two fates: eight genes rise to the left, eight right."""
    rng = np.random.default_rng(0)
    day = np.repeat(DAYS, N)
    is_right = np.tile([False, True], len(day) // 2)
    # How far each cell has come; genes that nothing moves stand beside.
    way = np.clip(day + 0.3 * rng.normal(size=len(day)), 0, None)
    rate = np.full((len(day), 16 + N_STILL), 20.0)
    rate[:, LEFT] += 30 * (way * ~is_right)[:, None]
    rate[:, RIGHT] += 30 * (way * is_right)[:, None]
    counts = csc_matrix(rng.poisson(rate).T)
    barcodes = [f"AAC{k:04d}-1" for k in range(len(day))]
    genes = [
        *(f"L{k}" for k in LEFT),
        *(f"R{k}" for k in RIGHT),
        *(f"H{k}" for k in range(N_STILL)),
    ]
    (folder / "matrix").mkdir()
    with gzip.open(folder / "matrix" / "matrix.mtx.gz", "wb") as file:
        mmwrite(file, counts)
    features = [f"ENS{k}\t{gene}\tGene Expression" for k, gene in enumerate(genes)]
    for name, lines in [("features", features), ("barcodes", barcodes)]:
        with gzip.open(folder / "matrix" / f"{name}.tsv.gz", "wt") as file:
            file.write("\n".join(lines) + "\n")
    cells = pd.DataFrame({"barcode": barcodes})
    cells["sample"] = [f"{24 * d:g}h" if d % 2 else f"day {d:g}" for d in day]
    cells["cell_type"] = np.where(is_right, "right", "left")
    # In another order than the matrix: rows are joined by name.
    cells.sample(frac=1, random_state=0).to_csv(folder / "cells.csv", index=False)


@pytest.fixture(scope="module")
def afternoon(tmp_path_factory):
    """Names of the script after it has run, with short fits and few draws."""
    folder = tmp_path_factory.mktemp("afternoon")
    write_matrix(folder)
    fit = di.StochasticInterpolant.fit

    def short(self, data, **options):
        return fit(self, data, **options | {"max_steps": 60, "progress": False})

    names = {"__name__": "afternoon"}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(di.StochasticInterpolant, "fit", short)
        patch.setattr(di.tl, "fates", partial(di.tl.fates, n_draws=4))
        patch.setattr(di.tl, "transition_matrix", partial(di.tl.transition_matrix, n_draws=4))
        exec(script(), names)
    return names | {"folder": folder}


def test_it_takes_no_more_than_25_lines():
    lines = [line for line in script().splitlines() if line.strip()]
    assert len(lines) <= 25


def test_days_and_labels_are_those_of_the_table(afternoon):
    adata = afternoon["adata"]
    assert adata.obs["day"].tolist() == np.repeat(DAYS, N).tolist()
    assert (adata.obs["cell_type"] == np.tile(["left", "right"], 2 * N)).all()


def test_fates_of_late_cells_are_their_side_and_drivers_its_genes(afternoon):
    adata = afternoon["adata"]
    late = adata[adata.obs["day"] == 2]
    right = late.obsm["dyninfer_fates"]["right"]
    is_right = late.obs["cell_type"] == "right"
    assert right[is_right].mean() > right[~is_right].mean() + 0.5
    assert set(afternoon["drivers"].index[:8]) == {f"R{k}" for k in RIGHT}


def test_genes_of_a_fate_rise_towards_it_and_not_towards_the_other(afternoon):
    curves = afternoon["curves"]
    rise = {}
    for fate, curve in curves.groupby("fate"):
        by_time = curve.groupby("time")["mean"].mean()
        rise[fate] = by_time.iloc[-1] - by_time.iloc[0]
    assert rise["right"] > rise["left"] + 0.5


def test_what_other_packages_read_is_there(afternoon):
    adata, matrix = afternoon["adata"], afternoon["matrix"]
    assert adata.layers["dyninfer_velocity"].shape == adata.shape
    assert (np.asarray(matrix.sum(1)) == 1).all()
    # From one day to the next, and nowhere else.
    first = (adata.obs["day"] == 0).to_numpy()
    second = (adata.obs["day"] == 1).to_numpy()
    assert matrix[first][:, second].sum() == pytest.approx(N)
    page = (afternoon["folder"] / "report.html").read_text(encoding="utf-8")
    assert "<title>Our cells</title>" in page

# ---
# jupytext:
#   text_representation:
#     extension: .py
#     format_name: percent
# kernelspec:
#   display_name: Python 3
#   language: python
#   name: python3
# ---

# %% [markdown]
# # From 10x counts to fates and driver genes
#
# *Which of my cells will become which type, and which genes go with the choice?* This tutorial starts from the folder that Cell Ranger
# writes. It ends with a fate for every cell, a ranking of genes, their curves over time, and arrows for scVelo.
#
# With real cells nobody knows the right answer. So the counts here come from a simulated gene network with two fates. We know which genes
# regulate the fate, and what every cell was going to become, and compare the analysis with both.
#
# It takes less than a minute of one CPU core and needs no network. The guide has the same steps
# [in 25 lines](../guide/afternoon.md).

# %%
import gzip
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import scanpy as sc
from scipy.io import mmwrite
from scipy.sparse import csc_matrix
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import KNeighborsClassifier

import dyninfer as di

blue, orange, grey = "#0072b2", "#d55e00", "0.6"
fate_colors = {"A": blue, "B": orange}

# %% [markdown]
# ## A folder of counts
#
# Two master genes, A and B, repress each other. In each cell one of them wins, and its six targets rise with it. The other genes behave like
# real ones: some change with time in all cells alike, some vary widely for other reasons, and most are steady.
# A gene at a level of one has three molecules on average, and cells differ in how many of their molecules are caught.
#
# We sample 120 cells on each of six days and write them as Cell Ranger would. With data of your own, begin at the next section.

# %%
DAYS = [0.0, 1.0, 2.0, 3.0, 4.5, 6.0]
N_CELLS = 120
N_STEADY = 266
MOLECULES = 3

network = di.simulators.BranchingNetwork()
cells = network.snapshots(DAYS, N_CELLS, seed=0)
# The truth, which an experiment does not see.
levels = np.concatenate(cells.samples)

rng = np.random.default_rng(0)
steady = MOLECULES * rng.lognormal(0, 1, N_STEADY)
depth = rng.lognormal(0, 0.3, (len(levels), 1))
moving = MOLECULES * levels.clip(min=0)
rates = np.hstack([moving, np.tile(steady, (len(levels), 1))])
counts = rng.poisson(depth * rates)

genes = [*network.genes, *(f"steady{k}" for k in range(N_STEADY))]
barcodes = [f"CELL{k:04d}-1" for k in range(len(counts))]
folder = Path(tempfile.mkdtemp())
with gzip.open(folder / "matrix.mtx.gz", "wb") as file:
    mmwrite(file, csc_matrix(counts.T))
features = [f"ID{k}\t{gene}\tGene Expression" for k, gene in enumerate(genes)]
for name, lines in {"features": features, "barcodes": barcodes}.items():
    with gzip.open(folder / f"{name}.tsv.gz", "wt") as file:
        file.write("\n".join(lines) + "\n")
sheet = pd.DataFrame(
    {"sample": [f"day {day:g}" for day in np.repeat(DAYS, N_CELLS)]}, index=barcodes
)
sheet.to_csv(folder / "cells.csv", index_label="barcode")
print(sorted(path.name for path in folder.iterdir()))

# %% [markdown]
# ## Read, normalise, reduce
#
# `read_times` turns the names of samples into numbers. The rest is scanpy: equal totals, logarithms, the genes that
# vary most, scaling, and 30 principal components. Scaling matters. Without it, a few abundant genes decide which cells are neighbours.
# These choices were tested on [barcoded blood cells](../results.md#fates-of-barcoded-blood-cells).

# %%
adata = sc.read_10x_mtx(folder)
adata.obs = adata.obs.join(pd.read_csv(folder / "cells.csv", index_col="barcode"))
adata.obs["day"] = di.read_times(adata.obs["sample"], "d")
sc.pp.normalize_total(adata)
sc.pp.log1p(adata)
sc.pp.highly_variable_genes(adata, n_top_genes=60)
# Scaling fills the zeros, so the matrix is dense from here on.
adata.X = adata.X.toarray()
sc.pp.scale(adata, max_value=10)
sc.pp.pca(adata, n_comps=30)

is_variable = adata.var["highly_variable"]
of_network = [gene for gene in network.genes if is_variable[gene]]
print(
    f"{len(of_network)} of the {len(network.genes)} genes of the network are among the 60 most variable"
)

# %% [markdown]
# Cell types come from markers, as usual. On the last day, a cell has the type whose master gene has more counts. Earlier cells are called
# undecided. No tool here reads the label of an earlier cell: fates need labels on the last day only.

# %%
is_late = (adata.obs["day"] == DAYS[-1]).to_numpy()
has_more_of_a = adata.obs_vector("A") > adata.obs_vector("B")
marked = np.where(has_more_of_a, "A", "B")
adata.obs["cell_type"] = np.where(is_late, marked, "undecided")

fig, axes = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained")
points = adata.obsm["X_pca"][:, :2]
dots = axes[0].scatter(*points.T, c=adata.obs["day"], s=6, cmap="viridis")
fig.colorbar(dots, label="day")
axes[1].scatter(*points[~is_late].T, s=5, color="0.85", label="undecided")
for fate, color in fate_colors.items():
    own = points[is_late & (marked == fate)]
    axes[1].scatter(*own.T, s=8, color=color, label=f"{fate}, last day")
axes[1].legend(frameon=False)
for ax in axes:
    ax.set(xlabel="PC 1", ylabel="PC 2")

# %% [markdown]
# ## Fit
#
# A stochastic interpolant learns how the population of each day turns into the next. 300 steps are enough for this page. With
# data of your own, leave `max_steps` out.
# [Which method, and can I believe it?](03_which_method.py) shows how to choose a method and test it. Do that before you believe any fate.

# %%
keys = {"time_key": "day", "use_rep": "X_pca"}
model = di.StochasticInterpolant()
_ = model.fit(adata, **keys, max_steps=300, seed=0, progress=False)

# %% [markdown]
# ## Fates
#
# A flow without noise takes each cell to a single place, so nothing would be uncertain. Snapshots do not say how much of the spread is noise. The noise is an assumption,
# and `noise_scale` makes the same one as transport plans do. `transport=0.5` takes half of each fate from such plans, because the model
# and the plans err in different cells.

# %%
sigma = di.tl.noise_scale(adata, **keys)
fates = di.tl.fates(
    model,
    adata,
    label_key="cell_type",
    noise=sigma**2 / 2,
    transport=0.5,
    n_draws=20,
    seed=0,
)
day_of = adata.obs["day"].to_numpy()
fates.groupby(day_of).agg(["mean", "std"]).round(2)

# %% [markdown]
# Here we can ask the network itself. Every cell is copied 50 times, and the copies run on to day 6. The share of copies in which A wins is the cell's
# **true** probability. Nobody can predict better than that. For comparison, we add a
# prediction without dynamics: the types of the 50 cells of the last day that lie nearest to the unmoved cell.


# %%
def true_share(day, n_copies=50):
    """Share of the copies of each cell of one day that end as A."""
    own = cells.samples[DAYS.index(day)]
    copies = own.repeat(n_copies, axis=0)
    run = di.simulate(network.process(), copies, [day, DAYS[-1]], solver=di.solvers.SRA1(dt=0.05))
    ended_as_a = network.fates(run.states[:, -1]) == "A"
    return ended_as_a.reshape(len(own), n_copies).mean(1)


neighbours = KNeighborsClassifier(50)
neighbours.fit(adata.obsm["X_pca"][is_late], marked[is_late])

fig, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained", sharey=True)
rows = []
for ax, day in zip(axes, (1.0, 2.0, 3.0), strict=True):
    today = adata[day_of == day]
    truth = true_share(day)
    predicted = today.obsm["dyninfer_fates"]["A"].to_numpy()
    unmoved = neighbours.predict_proba(today.obsm["X_pca"])[:, 0]
    ax.scatter(truth, predicted, s=9, color=blue)
    ax.plot([0, 1], [0, 1], color=grey, lw=1)
    ax.set(title=f"day {day:g}", xlabel="true share of A")
    rows.append(
        {
            "day": day,
            "correlation": np.corrcoef(truth, predicted)[0, 1],
            "squared error": np.square(predicted - truth).mean(),
            "of 50 neighbours": np.square(unmoved - truth).mean(),
            "knowing nothing": truth.var(),
            "spread of truth": truth.std(),
            "spread of fates": predicted.std(),
        }
    )
axes[0].set_ylabel("predicted share of A")
agreement = pd.DataFrame(rows).set_index("day")
agreement.round(3)

# %% [markdown]
# Read the table in three steps.
#
# * **Cells are ranked correctly early on**, and better from day to day: see the correlations.
# * **The probabilities are too cautious.** The truth spreads much further than the fates. Counts of a few molecules hide part of what a cell has already
#   decided, and hidden differences look like noise. A fate of 0.6 on day 1 says little about that cell.
# * **Neighbours, which know no dynamics, do as well or better here**, by squared error. In this network cells hardly change direction. Always compute such a baseline:
#   `tl.fates(baselines=True)` has two.
#
# ## Genes that go with a fate
#
# `drivers` correlates every gene with the probability of a fate. Over all days, late cells dominate: in them, genes are high because the fate
# has been reached. To see what comes before, take the cells of one early day. On day 2, cells are in the middle of the choice.

# %%
regulators = set(network.regulated_by("A"))
early = di.tl.drivers(model, adata, "A", cells=day_of == 2.0)
early["known"] = early.index.isin(regulators)
early[["corr", "ci_low", "ci_high", "qval", "rise_over_rest", "known"]].head(12).round(3)

# %%
areas = {}
for day in (1.0, 2.0, 4.5):
    ranking = di.tl.drivers(model, adata, "A", cells=day_of == day)["corr"]
    # A gene that no cell of the day has is last.
    ranking = ranking.fillna(-1)
    areas[day] = roc_auc_score(ranking.index.isin(regulators), ranking)
    print(
        f"day {day:g}: area under the ROC curve of the {len(regulators)} known genes {areas[day]:.2f}"
    )
variance = adata.var["dispersions_norm"]
by_variance = roc_auc_score(adata.var_names.isin(regulators), variance)
print(f"ranking by how much genes vary: {by_variance:.2f}")

assert areas[2.0] > 0.95 > by_variance

fig, ax = plt.subplots(figsize=(6, 4.2), layout="constrained")
top = early.head(15)[::-1]
half = [top["corr"] - top["ci_low"], top["ci_high"] - top["corr"]]
ax.barh(top.index, top["corr"], xerr=half, color=np.where(top["known"], blue, grey), ecolor="0.3")
ax.scatter([], [], marker="s", color=blue, label="regulates or follows A")
ax.scatter([], [], marker="s", color=grey, label="does not")
ax.legend(frameon=False)
_ = ax.set(xlabel="correlation with the probability of fate A, day 2")

# %% [markdown]
# The seven genes that regulate or follow A lead the list, whereas a ranking by variance mixes them with genes that vary for other reasons. Two things need care:
#
# * **A steady gene may pass a test.** Cells that lie near each other share their fates, so they are not independent, and `qval` is too small. Replicates
#   are a better test.
# * **Correlation is not causation.** The master is one of the seven, but nothing in the table says that it regulates the others. Only a perturbation can show that.
#
# ## Genes over time
#
# Simulated paths are decoded to genes, and each is weighted by the share of a fate at its end. So a curve is the history of the cells that reach this fate.
# Units are those of the scaled genes. The gene `falling1` falls in all cells alike, and its two curves agree.

# %%
paths = model.simulate(adata, times=np.linspace(0, 6, 25), noise=sigma**2 / 2, seed=0)
four_genes = ["A", "A1", "B1", "falling1"]
curves = di.tl.trends(adata, paths, four_genes, fate=["A", "B"])
_ = di.pl.trends(curves, time_unit="days")

# %% [markdown]
# ## Arrows for other packages
#
# `velocity_layer` decodes the velocity of every gene for scVelo, and `transition_matrix` makes what CellRank reads.
# [The guide](../guide/genes.md#other-packages) has the lines to run there.

# %%
_ = di.tl.velocity_layer(model, adata)
rate = pd.DataFrame(adata.layers["dyninfer_velocity"], columns=adata.var_names)
of_day_two = rate[day_of == 2.0]
will_be_a = fates["A"][day_of == 2.0].to_numpy() > 0.5
means = {
    "bound for A": of_day_two[will_be_a].mean(),
    "bound for B": of_day_two[~will_be_a].mean(),
}
pd.DataFrame(means).loc[["A", "B", "A1", "B1", "falling1"]].round(3)

# %% [markdown]
# On day 2 the velocity of A is higher in cells bound for A, and that of B in the others. The falling gene does the same in both.
#
# ## What to distrust
#
# * **This network is an easy one.** Its targets follow one master each, and nothing else follows a master. Real programs overlap.
# * **The noise.** Twice the noise makes fates less certain, half of it makes them more certain, and snapshots allow both. Repeat `fates` with another `noise=`.
# * **Labels of the last day.** A wrongly labelled cell there distorts the fates of all cells that lead to it.
# * **Growth.** Cells of this network neither divide nor die. Where they do, a fate that divides fast looks like a frequent choice: see [growth](04_growth.py).
# * **Genes outside the components.** They have correlations, and neither curves nor velocities: `rise` is NaN, and `trends` refuses them by name.
# * **Clones decide.** Where cells carry barcodes, `tl.score_fates` says how far the fates are from those of sisters.
#
# ## Next
#
# * [Which method, and can I believe it?](03_which_method.py): held-out times, before any fate.
# * The user guide: [an afternoon](../guide/afternoon.md), [fates](../guide/evaluate.md#what-becomes-of-a-cell), [genes and other packages](../guide/genes.md).

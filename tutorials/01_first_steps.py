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
# # First steps: from an AnnData to simulated trajectories
#
# Sequencing a cell destroys it. A time course therefore shows a different set of cells at every time, and no cell twice.
# In this tutorial we take such a time course and learn a velocity field that carries each population into the next.
# Then we simulate cells along it, also at times that were not measured. Two of the measured times are kept
# away from the model so that we can see how far to trust it.
#
# It takes less than a minute of one CPU core and needs no network.

# %%
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import dyninfer as di

# %% [markdown]
# ## The data
#
# Mouse embryonic stem cells under retinoic acid (Semrau et al. 2017): nine times between 0 and 96 hours. The cells
# leave pluripotency and separate into two populations. The data come with the package.

# %%
adata = di.datasets.mesc_retinoic_acid()
adata

# %% [markdown]
# dyninfer needs two things from an AnnData: a column of `obs` with **times as numbers**, and a **representation** of
# the cells in which distances mean something, usually principal components. Here they are `obs["time"]`, in hours, and
# `obsm["X_pca"]`, ten components. `obsm["X_umap"]` is there for pictures only: a UMAP distorts distances, so nothing is
# ever fitted in it.

# %%
adata.obs["time"].value_counts().sort_index()

# %%
fig, ax = plt.subplots(figsize=(5.2, 4), layout="constrained")
dots = ax.scatter(*adata.obsm["X_umap"].T, c=adata.obs["time"], s=5, cmap="viridis")
fig.colorbar(dots, label="time (hours)")
_ = ax.set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])

# %% [markdown]
# ## Fit, with two times held out
#
# `hold_out=[24, 72]` removes the cells of 24 h and 72 h before anything else is computed: the standardisation, the pairing
# of cells and the early stopping never see them. A score at times that the model was fitted to says little; a score at
# held-out times says how well it interpolates.
#
# Action Matching learns a potential whose gradient is the velocity of the cells. The settings of the method
# stand in the constructor, the names in your data in `fit`. Training stops by itself when the loss on a tenth of the
# cells, kept aside for this, no longer improves.

# %%
model = di.ActionMatching()
model.fit(adata, time_key="time", hold_out=[24, 72], seed=0, progress=False)
print(
    model.status_,
    "after",
    model.history_["step"].iloc[-1],
    "steps,",
    f"{model.history_['seconds'].iloc[-1]:.0f} s",
)

# %%
_ = di.pl.history(model)

# %% [markdown]
# The loss of Action Matching is not a distance to anything: it falls towards minus the kinetic energy of the motion, and its
# absolute value says nothing about the quality of the fit. On the training cells it keeps falling, because the network
# begins to memorise them; on the pairs kept aside it eventually rises. At that turning point the model takes a few more
# steps on all pairs. The quality of the model is measured below, on populations.
#
# ## Simulate
#
# `simulate` starts from the cells at the first of the requested times and follows each of them. The times are
# ours to choose: here every two hours, measured or not.

# %%
traj = model.simulate(adata, times=np.arange(0, 97, 2), seed=0)
traj

# %% [markdown]
# `traj.states` is a tensor `(path, time, feature)` in the units of `X_pca`. Every path remembers the cell it started from,
# so you can ask what the cells that began like this one become.

# %%
print(traj.states.shape, "first path started from", traj.origin[0])
population = traj.at(41.0)  # between stored times, along straight lines
print(population.shape)

# %%
fig, axes = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained")
di.pl.trajectories(adata, traj, time_unit="hours", ax=axes[0])
_ = di.pl.trajectories(adata, traj, basis="X_umap", time_unit="hours", ax=axes[1])

# %% [markdown]
# On the left, the first two principal components: the simulation itself. On the right each state is placed at the mean of
# its nearest cells in the UMAP, which is a picture of the same paths and no more exact than a UMAP can be.
#
# ## Evaluate
#
# `evaluate` takes all cells of one observed time, simulates them to the next, and measures the distance between the simulated
# and the observed population. A distance alone means little, so the table has two more to compare it with:
#
# * `_floor`: the distance that another sample of the *observed* population would have, on average, at these numbers of
#   cells. A perfect model scores about this, because finite samples of one population differ.
# * `_still`: the distance if the cells of the previous time had not moved at all. A model that does not beat this
#   has learned nothing that this metric can see.

# %%
table = model.evaluate(adata, metrics=("w1", "energy"))
table[
    [
        "time",
        "start",
        "held_out",
        "w1",
        "w1_floor",
        "w1_still",
        "energy",
        "energy_floor",
        "energy_still",
    ]
].round(3)

# %%
_ = di.pl.evaluation(table, metric="w1", time_unit="hours")

# %% [markdown]
# Look at the two held-out times, because they teach different things.
#
# * **24 h** was predicted from 12 h. The model is clearly closer to the observed cells than unmoved cells are, and close
#   to the floor. Between 12 and 36 hours the population moves steadily, and a steady motion can be interpolated.
# * **72 h** was predicted from 60 h, and here the unmoved cells are *better*. The cells hardly change
#   from 60 to 72 hours and change quickly afterwards; the cells of 60 h and 96 h alone do not show this, and the model
#   moves them steadily. No method that interpolates between snapshots can do better: the remedy is a measurement at
#   72 h.
#
# The error at 96 h has the same cause: from the cells of 72 h, a velocity that was learned without them is too slow.
#
# This is what holding out is for. Below, the same in pictures: observed cells above, below them the cells of 0 h simulated
# up to each time (282 paths all the way, where `evaluate` took single steps).

# %%
_ = di.pl.marginals(
    adata,
    traj,
    times=[0, 12, 24, 60, 72, 96],
    hold_out=[24, 72],
    time_key="time",
    time_unit="hours",
)

# %% [markdown]
# ## Write what was learned into the AnnData
#
# `annotate` stores the velocity of every cell at its own time, in the units of the representation per hour, and the
# potential; the settings go into `uns["dyninfer"]` as JSON. All of it survives `write_h5ad`.

# %%
model.annotate(adata)
speed = np.linalg.norm(adata.obsm["dyninfer_velocity"], axis=1)
print(adata.obsm["dyninfer_velocity"].shape, "median speed", f"{np.median(speed):.3f} per hour")

fig, axes = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained")
di.pl.stream(model, adata, time=36, time_unit="hours", ax=axes[0])
dots = axes[1].scatter(*adata.obsm["X_umap"].T, c=speed, s=5, vmax=np.quantile(speed, 0.98))
fig.colorbar(dots, label="speed (1 / hour)")
_ = axes[1].set(xlabel="UMAP 1", ylabel="UMAP 2", xticks=[], yticks=[])

# %% [markdown]
# ## Out again, and saved
#
# Trajectories leave as an AnnData (one row per path and time), as an xarray Dataset, or as a file. A model is one
# safetensors file with numbers and text only: loading it runs no code, so it is safe to send to others.

# %%
folder = Path(tempfile.mkdtemp())
traj.save(folder / "trajectories.h5ad")
model.save(folder / "model.safetensors")

again = di.load(folder / "model.safetensors")
same = again.simulate(adata, times=np.arange(0, 97, 2), seed=0)
print("same states after loading:", bool((same.states == traj.states).all()))
traj.to_anndata()

# %% [markdown]
# ## When something is wrong
#
# Errors are one sentence: what is wrong, what was found, what to do. Three that most people meet:

# %%
for time_key, change in [
    ("tme", None),
    ("label", lambda a: a.obs.assign(label="day " + a.obs["time"].astype(str))),
]:
    broken = adata.copy()
    if change:
        broken.obs = change(broken)
    try:
        di.ActionMatching().fit(broken, time_key=time_key)
    except (KeyError, ValueError) as error:
        print(f"{type(error).__name__}: {error}\n")

try:
    model.simulate(adata.obsm["X_umap"], times=[0, 12])
except ValueError as error:
    print(f"{type(error).__name__}: {error}")

# %% [markdown]
# ## Next
#
# * [Action Matching](13_action_matching.py): noise, growth, and how the paths between snapshots are chosen.
# * The user guide: [data](../guide/data.md), [simulation](../guide/simulate.md), [evaluation](../guide/evaluate.md).

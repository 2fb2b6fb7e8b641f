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
# # Large data, GPUs and clusters
#
# *My atlas does not fit into memory. What does a fit cost, and where should it run?* Most of what is large in an atlas is the count matrix,
# and a fit never reads it. It reads the times and a representation of some ten to hundred numbers a cell.
#
# This tutorial makes a file of 30,000 simulated cells and measures what size costs. It then shows how to go on after an interruption, and how to run many fits at once.
# Nothing here needs a GPU or a cluster; the same lines run on both.

# %%
import tempfile
import time
from pathlib import Path

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from joblib.externals.loky import get_reusable_executor
from scipy.sparse import csr_matrix

import dyninfer as di

blue, orange, grey = "#0072b2", "#d55e00", "0.6"
folder = Path(tempfile.mkdtemp())

# %% [markdown]
# ## From a file
#
# Cells relax towards a point under noise, in ten dimensions, and are sampled on three days: an Ornstein-Uhlenbeck process, whose drift is known.
# `X` stands for the counts of 20,000 genes. Dense, it would take 4.8 GB as 64-bit numbers.

# %%
system = di.simulators.OrnsteinUhlenbeck(dimension=10, rate=0.5, sigma=1.0, initial_mean=3.0)
days, n_each, n_genes = (0.0, 1.0, 2.0), 10_000, 20_000
cells = system.snapshots(days, n_each, seed=0)
counts = csr_matrix((len(days) * n_each, n_genes), dtype=np.float32)
atlas = ad.AnnData(
    X=counts,
    obs=pd.DataFrame(
        {"day": np.repeat(days, n_each)}, index=np.arange(len(days) * n_each).astype(str)
    ),
    obsm={"X_pca": np.concatenate(cells.samples)},
)
atlas.write_h5ad(folder / "atlas.h5ad")
del atlas
backed = ad.read_h5ad(folder / "atlas.h5ad", backed="r")
print(backed)
print(f"{8 * backed.n_obs * backed.n_vars / 1e9:.1f} GB dense")

# %% [markdown]
# `backed="r"` leaves `X` on disk. `fit`, `evaluate` and `simulate` take such an AnnData as it is. Name the representation, `use_rep="X_pca"`;
# a fit to all genes would be refused with the memory that it needs.
#
# ## What does size cost?
#
# Two things take time. **Pairing** cells between days is done once, by optimal transport in random blocks, so its cost grows in proportion to the
# number of cells. **Training** costs the same for each step, whatever the number of cells: a step sees a batch.

# %%
STEPS = 100
training = di.Training(max_steps=STEPS, batch_size=512, validation_fraction=0.0, patience=None)


def drift_error(model):
    """Mean squared error of the drift over its mean square, at cells of day 1."""
    x = system.sample(1.0, 4000, seed=5)
    drift, true = model.process_.drift(1.0, x), system.drift(torch.tensor(1.0), x)
    return float((drift - true).square().sum() / true.square().sum())


rows = []
for n in (1_000, 3_000, 10_000):
    # Random rows of every day.
    rng = np.random.default_rng(0)
    row_numbers = [k * n_each + rng.choice(n_each, n, replace=False) for k in range(len(days))]
    part = backed[np.sort(np.concatenate(row_numbers))]
    began = time.process_time()
    model = di.ActionMatching(sigma=1.0, training=training)
    model.fit(part, time_key="day", use_rep="X_pca", progress=False)
    total = time.process_time() - began
    rows.append({"cells": len(days) * n, "CPU-s": total, "error": drift_error(model)})
cost = pd.DataFrame(rows)
print(cost.round(3).to_string(index=False))
ratio = cost.iloc[-1] / cost.iloc[0]
print(
    f"{ratio['cells']:.0f} times the cells: {ratio['CPU-s']:.1f} times the cost, {ratio['error']:.2f} times the error"
)

fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
axes[0].plot(cost["cells"], cost["CPU-s"], "o-", color=blue)
axes[0].set(xlabel="cells", ylabel=f"CPU-seconds for {STEPS} steps", ylim=(0, None))
axes[1].plot(cost["cells"], cost["error"], "o-", color=orange)
axes[1].set(xlabel="cells", ylabel="relative squared error of the drift", ylim=(0, None))
for ax in axes:
    ax.set(xscale="log")
    ax.set_xticks(cost["cells"], [f"{n:,}" for n in cost["cells"]])
    ax.minorticks_off()

# %% [markdown]
# The cost has a part that stays and one that grows with the cells. Ten times as many cells cost about four times as much here, and lower the error by less
# than half. Three days, straight lines between them and few steps leave an error that cells do not remove. So **begin with a random tenth**. Use all cells once
# a smaller sample has shown which method and which settings are worth it.
#
# ## CPU or GPU
#
# Methods that train networks find a GPU and use it. Jump processes and linear fractional models run on the CPU. `dyninfer info` says what is there.

# %%
device = "cuda" if torch.cuda.is_available() else "cpu"
print("training would run on", device)
large = di.Training(device="auto", batch_size=8192, precision="float32")
print(large)

# %% [markdown]
# A GPU sits idle if a step gives it little to do. Make steps larger: a batch of several thousand cells, a network of several hundred units (`width=512`). On a CPU the
# opposite is right: one thread for a small network, which is the default, and several fits side by side.
#
# ## Runs that are interrupted
#
# Queues have time limits. With `checkpoint=` the state of a training run is on disk every `checkpoint_every` steps; with `resume=True` the same call goes
# on from there. On one device the result is the same to the last bit. A finished run is taken up at once:

# %%
small = di.Snapshots(times=cells.times, samples=[sample[:1000] for sample in cells.samples])
run = {"max_steps": 100, "checkpoint": folder / "run.pt", "progress": False, "seed": 1}
first = di.ActionMatching(sigma=1.0).fit(small, **run)
again = di.ActionMatching(sigma=1.0).fit(small, **run, resume=True)
x = torch.as_tensor(small.samples[1][:100])
same = torch.equal(first.process_.drift(1.0, x), again.process_.drift(1.0, x))
print("the same drift to the last bit:", same)
assert same
try:
    di.ActionMatching(sigma=0.5).fit(small, **run, resume=True)
except ValueError as error:
    print(error)

# %% [markdown]
# The last lines show the guard: a checkpoint of other settings is refused. A job of a queue is then one line, submitted as often as it needs:
#
# ```bash
# #!/bin/bash
# #SBATCH --gres=gpu:1 --time=4:00:00 --requeue
# dyninfer fit atlas.h5ad --time-key day --use-rep X_pca --checkpoint run.pt --resume --out model.safetensors
# ```
#
# Several GPUs share one fit under `torchrun --nproc-per-node=4 fit.py`, where `fit.py` is an ordinary script. Batches are divided among the
# processes, and two processes end with the weights of one (tested to 10⁻⁵).
#
# ## Many fits at once
#
# Comparisons, folds and seeds are fits that do not know of each other. `tl.compare` takes any executor of `concurrent.futures`: processes of
# this machine here, `client.get_executor()` of a Dask cluster there. The numbers do not depend on it. With `checkpoint="scores"`, a comparison that was interrupted
# computes only what is missing. Thirty steps are far too few to judge a method; here they show that both ways give the same table.

# %%
few = di.Snapshots(times=cells.times, samples=[sample[:150] for sample in cells.samples])
methods = {"plain": di.ActionMatching(), "noise": di.ActionMatching(sigma=1.0)}
settings = {"hold_out": 1.0, "max_steps": 30, "baselines": ("ot",), "progress": False}
alone = di.tl.compare(few, methods, **settings)
with get_reusable_executor(2) as workers:
    together = di.tl.compare(few, methods, **settings, executor=workers)
printed = ["method", "time", "w1", "energy"]
print(together[printed].round(4).to_string(index=False))
print("the same to the last bit:", np.array_equal(alone["w1"], together["w1"]))

# %% [markdown]
# ## Many paths
#
# `simulate` keeps the times that were asked for and nothing else. 10,000 paths at three times are a few megabytes, whatever the solver's step. Paths are computed in chunks that fit into memory.
# The noise of a path depends on the seed and the path's number alone, so a chunk changes nothing but rounding.

# %%
start = system.sample(0.0, 10_000, seed=7)
paths = model.simulate(start, [0.0, 1.0, 2.0], seed=0)
pieces = model.simulate(start, [0.0, 1.0, 2.0], seed=0, chunk_size=3_000)
print(paths)
largest = float((paths.states - pieces.states).abs().max())
print(f"largest difference between chunk sizes: {largest:.1e}")
assert largest < 1e-3

# %% [markdown]
# ## What to distrust
#
# * **More cells of the same days.** They do not replace a day in between. Look at the error above, and at a day that is held out.
# * **Floors shrink with the sample.** A distance of 10,000 cells is smaller than one of 300 for a perfect model too; compare scores with the `floor` of their own size.
# * **Rare cells** may have no partner in a block of two thousand. Look at them on their own, or weigh them (`weight_key`).
# * **Speed measured once.** Machines are shared. Compare two settings in turns, in CPU-seconds.
#
# ## Next
#
# * [Files](../guide/files.md), [the command line](../guide/command-line.md), [evaluating](../guide/evaluate.md) with executors.

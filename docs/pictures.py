"""Draw the pictures of the README and the front page: `python docs/pictures.py` (about 20 seconds)."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import dyninfer as di

adata = di.datasets.mesc_retinoic_acid()
model = di.ActionMatching().fit(
    adata, time_key="time", use_rep="X_pca", hold_out=24, progress=False
)
traj = model.simulate(adata, times=np.arange(0, 97, 2))

fig, axes = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained", width_ratios=(1, 1.1))
di.pl.trajectories(adata, traj, time_unit="hours", ax=axes[0])
di.pl.evaluation(model.evaluate(adata, metrics=["w1"]), time_unit="hours", ax=axes[1])
fig.savefig(Path(__file__).parent / "_static" / "mesc.png", dpi=110)

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
# # Which method, and can I believe it?
#
# *Which method suits my cells, and is its prediction worth more than no model at all?* A fitted model always draws smooth paths, right or wrong. The test is a
# time that it has not seen. This tutorial leaves out two times of a real experiment, and asks:
#
# 1. is a method better than predictions without a model, and how far is it from the best possible score? (`tl.compare`)
# 2. what follows from that? (`tl.recommend`)
# 3. do other settings help, and how do you choose them without fooling yourself? (`tl.tune`)
#
# It takes about a minute of one CPU core and needs no network.

# %%
import matplotlib.pyplot as plt
import pandas as pd

import dyninfer as di

HELD_OUT = [24, 72]

# %% [markdown]
# ## Leave a time out, and predict it
#
# Mouse embryonic stem cells under retinoic acid, nine times between 0 and 96 hours. `compare` removes the cells of 24 h, fits every method to the rest, and predicts
# the 24 h cells from those of 12 h. Then it does the same with 72 h. 300 steps per fit keep this page short. With your own
# data, omit `hold_out` and `max_steps`: then every inner time is left out in turn.

# %%
adata = di.datasets.mesc_retinoic_acid()
methods = {
    "Action Matching": di.ActionMatching(),
    "interpolant": di.StochasticInterpolant(),
}
table = di.tl.compare(
    adata,
    methods,
    time_key="time",
    hold_out=HELD_OUT,
    metrics=["w1", "energy"],
    max_steps=300,
    seed=0,
    progress=False,
)
scores = table.pivot(index="method", columns="time", values=["w1", "energy"])
scores = scores.loc[table["method"].unique()]
scores.round(3)

# %% [markdown]
# `w1` and `energy` are distances between predicted and observed cells; smaller is better. The table also has five rows without a model:
#
# * **`floor`**: a second sample of the *observed* population. Finite samples differ, so a perfect model scores about this.
# * **`still`**: the cells of the time before, unmoved. A method that scores worse would do better to predict no change.
# * **`next`**: the cells of the time after.
# * **`ot`**: cells before and after are paired at the least total distance. The prediction lies on the line between the two, midway if the held-out time is.
# * **`growth_first`**: the same after cells were reweighted, so that a type may become more or less frequent.
#
# Like the methods, the last three know the time *after*, but they need no fit.

# %%
fig, axes = plt.subplots(2, 2, figsize=(11, 6), layout="constrained")
for row, metric in zip(axes, ("w1", "energy"), strict=True):
    for ax, time in zip(row, HELD_OUT, strict=True):
        di.pl.comparison(table[table["time"] == time], metric, ax=ax)
        ax.set_title(f"{time} h", loc="right")

# %% [markdown]
# ## How much of the change is explained?
#
# A distance alone says nothing. Put it between the two ends: 0 % is `still`, and 100 % is `floor`. Below 0 %, a prediction is worse than none.

# %%
ends = scores.loc["still"] - scores.loc["floor"]
explained = (scores.loc["still"] - scores) / ends
explained = explained.drop(index=["still", "floor"])
print(explained.map("{:.0%}".format).to_string())
change = scores.loc["still"] / scores.loc["floor"]
print(
    f"unmoved cells, W1 over its floor: {change['w1', 24]:.2f} at 24 h, {change['w1', 72]:.2f} at 72 h"
)
assert change["w1", 24] > 1.5
assert change["w1", 72] < 1.05

# %% [markdown]
# The two times teach different things.
#
# * **At 24 h there is something to predict, and both methods predict a good part of it.** The score of unmoved cells is more than one and a half times the
#   floor. By energy the interpolant does as well as `ot`. By W1 it does not.
# * **At 72 h no method helps.** Cells of 60 h are within 5 % of the floor. Hardly anything changes until 72 h, and much changes afterwards. A method that saw
#   60 h and 96 h moves the cells too early, and so does `ot`. Only a sample at 72 h would help; no setting does.
#
# Why two distances? In many dimensions W1 favours predictions that are smoother than cells are, and predictions of more points. `ot` has the points of two times,
# a method those of one. The energy distance is not misled by smoothness, and only a little by numbers. Believe a gain that both of them show.
#
# ## What to do, in words
#
# `recommend` reads the same table. It names the lowest score and compares it with all others. It also says whether chance may
# explain a difference, by the spread over held-out times.

# %%
advice = di.tl.recommend(table)
print(advice)
print("worth it:", advice.is_worthwhile)

# %% [markdown]
# The sentences are blunt on purpose. Two times, one of which nobody can predict, do not show that a model is better than lines between paired cells. A model may still
# be useful: it moves any cell to any time, and gives velocities and fates. But its *positions* at unseen times
# deserve no more trust than the lines do.
#
# `advice.fit(adata, time_key="time")` fits the winner to all times.
#
# ## Which settings?
#
# If you try ten settings at 24 h and report the best, its score is too good: some of the ten were lucky there. `tune` never looks at the times in `hold_out`.
# It leaves out *inner* times instead, one after the other. Here one change is tried: pairs of cells after reweighting by growth.
# Subsamples of 120 cells and 100 steps keep it short.

# %%
tuned = di.tl.tune(
    adata,
    di.StochasticInterpolant(),
    time_key="time",
    hold_out=HELD_OUT,
    search_space={"coupling": [{"coupling": "growth_first"}]},
    n_subsamples=1,
    max_cells=120,
    max_steps=100,
    seed=0,
    progress=False,
)
print(tuned)
inner = tuned.table.pivot(index="candidate", columns="time", values="w1")
assert tuned.settings_scored == 2
assert not set(HELD_OUT) & set(inner.columns)
inner.round(3)

# %% [markdown]
# **Settings scored** is the number of candidates behind the choice: here two, the given settings and the change. Report it. Luck hardly matters in the best of two, but it does in the best of
# fifty. One subsample is not much; by default three are drawn. With three inner times or more, the simplest setting within one standard error of the best is chosen.
# Here growth changes W1 by less than that, so the settings stay.
#
# The scores of `tune` lie above those of `compare`. They come from fewer cells, and a distance between small samples is larger. Never compare scores of different sample sizes.
#
# ## What to report
#
# The held-out times are used once, at the end. Report their scores with the floor and the best prediction without a model, and how many settings were tried.

# %%
free = ["still", "next", "ot", "growth_first"]
rows = []
for time in HELD_OUT:
    for metric in ("w1", "energy"):
        column = scores[metric, time]
        best = column[free].idxmin()
        rows.append(
            {
                "time": time,
                "metric": metric,
                "floor": column["floor"],
                "interpolant": column["interpolant"],
                "best without a model": f"{column[best]:.3f} ({best})",
            }
        )
report = pd.DataFrame(rows)
report["settings scored"] = tuned.settings_scored
report.round(3)

# %% [markdown]
# ## What to distrust
#
# * **A score without its floor and `still`.** A distance of 1.2 is neither small nor large.
# * **Components that were computed with the held-out cells.** So it is here: the ten components come with the data. The leak is the same for all rows of the
#   table. For a strict test compute them without those cells.
# * **Few held-out times, one seed.** `n_repeats=` adds seeds. Only more sampling times add times.
# * **A gap twice as long.** Leaving a time out doubles the gap, so a method may do better in use than in the test.
# * **Positions alone.** No distance between populations says which cell becomes which. For fates look at clones, or at a marker that you know.
# * **A second look.** If you change something after you saw the score at 24 h, that score is no longer a test.
#
# ## Next
#
# * The user guide: [evaluating](../guide/evaluate.md), [tuning](../guide/tune.md), [which estimator](../guide/choose-an-estimator.md).
# * [Growth](04_growth.py): whether growth helps to predict, and why it is no map of division.

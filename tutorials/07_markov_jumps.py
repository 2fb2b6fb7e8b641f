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
# # Jumps between states: channels, cell types and clones
#
# An ion channel opens and shuts, a stem cell commits to a fate, a patient gets worse. Each is in one of a few
# **states**, and jumps from state $i$ to state $j$ at a rate $Q_{ij}$. The observations are sparse and sometimes wrong:
# a noisy current, the label of a classifier, one visit a year. `MarkovJumpInference` estimates the rates by exact
# likelihood, with intervals, however irregular the gaps between observations. [The page of the
# method](../methods/markov_jump.md) has the mathematics.

# %%
import time

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import dyninfer as di
from dyninfer.jumps import LabelNoise, observe

blue, orange, green, grey = "#0072b2", "#d55e00", "#009e73", "0.6"

# %% [markdown]
# ## An ion channel behind a noisy current
#
# The channel has three states (closed, half open and open), and we know its rates. The current is measured every 2 ms,
# in forty stretches of 0.2 s.

# %%
channel = di.simulators.IonChannel(noise=0.2)
current = channel.paths(0.002 * np.arange(100), 40, seed=0)
model = di.MarkovJumpInference(observation=di.Gaussian(3)).fit(current, progress=False)

true = channel.process().generator.numpy()
rates = model.confidence_intervals()
rates["true"] = [
    true[int(i), int(j)] for i, j in zip(rates["source"], rates["target"], strict=True)
]
print(rates.round(1).to_string(index=False))
print(
    f"\nlevels {model.emission_.mean[:, 0].numpy().round(3)}, noise {model.emission_.std[:, 0].numpy().round(3)}"
)

# %% [markdown]
# Rates are per second, intervals cover 90 %. `flat` would mark a rate about which the data say nothing. For every
# measurement there is also the most probable state of the channel, given all of the recording before and after.

# %%
states = model.posterior_states(current)
one = states[states["path"] == "3"]
level = model.emission_.mean[:, 0].numpy()[one["viterbi"].astype(int)]
fig, axes = plt.subplots(1, 2, figsize=(12.5, 3.6), layout="constrained", width_ratios=[2, 1])
axes[0].plot(one["time"], current.states[3][:, 0], ".-", color=grey, lw=0.7, label="measured")
axes[0].step(one["time"], level, where="mid", color=orange, label="likeliest path")
axes[0].set(xlabel="time (s)", ylabel="current", title="one stretch of the recording")
axes[0].legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)
place = np.arange(len(rates))
half = np.abs(rates[["low", "high"]].to_numpy().T - rates["rate"].to_numpy())
axes[1].errorbar(place, rates["rate"], half, fmt="o", color=blue, capsize=3, label="found, 90 %")
axes[1].plot(place, rates["true"], "_", color="black", ms=14, label="true")
axes[1].set_xticks(
    place, [f"{i}→{j}" for i, j in zip(rates["source"], rates["target"], strict=True)]
)
axes[1].set(yscale="log", ylabel="per second", title="rates")
axes[1].set_yticks([2, 5, 10, 20, 40], ["2", "5", "10", "20", "40"])
axes[1].minorticks_off()
_ = axes[1].legend()

# %% [markdown]
# ### What a rule costs
#
# Often a signal is cut into labels first, and only the labels are kept. Then it matters what you assume about them.
# Here k-means labels the same current, and four models are fitted. The first believes every label. The second assumes
# that all labels are equally likely to be wrong. The third learns which label is mistaken for which (a confusion
# matrix). The last is the one above, fitted to the current itself.

# %%
off = ~np.eye(3, dtype=bool)
fits = {"gaussian": model}
for observation in ("exact", "label noise", "confusion"):
    fits[observation] = di.MarkovJumpInference(
        observation=observation, states=di.KMeansStates(n_states=3)
    )
    fits[observation].fit(current, progress=False)
for name, fit in fits.items():
    factor = np.exp(np.sqrt(np.mean(np.log(fit.generator_[off] / true[off]) ** 2)))
    print(
        f"{name:12} rates off by a factor of {factor:5.2f}, slowest relaxation {1e3 * fit.process_.relaxation_times()[0]:5.1f} ms"
    )
print(f"{'truth':40} slowest relaxation {1e3 * channel.process().relaxation_times()[0]:5.1f} ms")
print(
    "\nconfusion matrix, rows are true states:\n",
    fits["confusion"].emission_.confusion.numpy().round(3),
)
print("\nwhat the rule found:\n", fits["confusion"].states_.round(3).to_string(index=False))

# %% [markdown]
# A wrong label that lasts for one measurement looks like two jumps. If such flickers are believed, the rates are off by
# a factor of nearly thirty. A single rate of wrong labels hardly helps: it assumes that closed is mistaken for open as
# easily as for half open. That never happens, so most flickers must still be explained by jumps. The confusion matrix
# finds what k-means has done: its middle centre sits at 0.61 instead of 0.5, cuts a fifth off the open level and loses
# a fifth of the half-open one. The rates are then as good as those from the current itself.
#
# ### What follows from the rates
#
# `derived()` gives the stationary probabilities, holding times, slowest relaxation time and entropy production, with
# intervals. It also takes any function of a process: here, the mean time until a closed channel opens for the first
# time.


# %%
def opening_time(process):
    """Mean first-passage time from closed to open, in seconds."""
    return process.mean_first_passage([2])[..., 0]


table = pd.concat([model.derived(), model.derived(opening_time)])
truth = channel.process()
table["true"] = [
    *truth.stationary().tolist(),
    *truth.holding_times().tolist(),
    float(truth.relaxation_times()[0]),
    float(truth.entropy_production()),
    float(opening_time(truth)),
]
print(table.round(3).to_string(index=False))

# %% [markdown]
# The entropy production is poorly determined. It cannot be negative, so errors in six rates push it up, as the upper
# end of its interval shows. If you know that the gate is in equilibrium, say so: `jumps="reversible"`.
#
# ## Cells under a microscope
#
# Blood stem cells first become committed, and then red or white. In this example, 150 cells are followed for four days.
# A classifier names their state every six hours and is wrong in 5 % of cases; now and then a cell is out of focus. The
# data come as an AnnData, one row per cell and time, in any order. Commitment cannot be undone, so we say which jumps
# can happen.

# %%
names = ["stem", "committed", "red", "white"]
q = [[-0.4, 0.4, 0, 0], [0, -1.0, 0.6, 0.4], [0, 0, 0, 0], [0, 0, 0, 0]]
blood = di.MarkovJump(q, initial=[0.8, 0.2, 0.0, 0.0], state_names=names)
film = di.simulate(blood, None, np.arange(0, 4.01, 0.25), n_paths=150, seed=1)
looks = observe(film, LabelNoise.uniform(4, 0.05), missing=0.1, seed=2)

rows = pd.DataFrame(
    {"cell": np.repeat(looks.names, looks.lengths), "day": np.concatenate(looks.times)}
)
labels = np.array([*names, None], dtype=object)[np.concatenate(looks.states)]
rows["type"] = pd.Categorical(labels, categories=names)
rows["truth"] = np.array(names)[film.states.numpy().ravel()]
rows.index = rows.index.astype(str)
microscope = ad.AnnData(np.zeros((len(rows), 1)), obs=rows.sample(frac=1, random_state=0))

jumps = ["stem>committed", "committed>red", "committed>white"]
cells = di.MarkovJumpInference(jumps=di.Only(jumps))
cells.fit(microscope, path_key="cell", time_key="day", state_key="type", progress=False)
print(cells.confidence_intervals().round(2).to_string(index=False))
print(f"wrong labels: {cells.noise_:.3f} (true 0.05)")
cells.annotate(microscope)
is_labelled = microscope.obs["type"].notna()
for column in ("type", "dyninfer_state"):
    right = microscope.obs[column].astype(str) == microscope.obs["truth"]
    print(f"{column:15} right for {right[is_labelled].mean():.1%} of the labelled rows")

# %% [markdown]
# The whole path of a cell corrects most of the wrong labels, and gives a state to rows without a label too.
#
# ## At first sight
#
# A likelihood must be maximised anew for every data set. But with experience of many jump processes, the rates can be
# guessed from a table of counted transitions. The package includes a small network that was trained on some hundred
# thousand simulated processes. They had 2 to 10 states, few paths or thousands, wrong labels, and gaps of all sizes.
# The network reads how often, and after what time, label $j$ followed label $i$. It answers with a *belief*: for every
# jump, the probability that it exists and a distribution of its rate. `refine=False` takes the belief as it is. With
# the default, `refine=True`, the network reads only some of the paths. Its belief is then the prior, and the exact
# likelihood of the other paths is added.
#
# The example is a flashing ratchet: a particle on three sites in a sawtooth potential that is switched on and off.
# There are 100 paths, and 1 % of the labels are wrong.

# %%
ratchet = di.simulators.FlashingRatchet(potential=1.0).process()
film = di.simulate(ratchet, None, np.linspace(0, 2.5, 100), n_paths=100, seed=0)
looks = observe(film, LabelNoise.uniform(6, 0.01), seed=1)
di.MarkovJumpInference(refine=False).fit(looks, progress=False)  # loads the network
answers = {}
for name, refine in (("at first sight", False), ("refined", True)):
    began = time.process_time()
    fit = di.MarkovJumpInference(refine=refine).fit(looks, progress=False)
    seconds = time.process_time() - began
    rows = fit.confidence_intervals()
    rows["true"] = ratchet.generator.numpy()[~np.eye(6, dtype=bool)]
    error = np.sqrt(np.mean((rows["rate"] - rows["true"]) ** 2))
    inside = rows["true"].between(rows["low"], rows["high"]).mean()
    print(
        f"{name:14} {seconds:5.2f} CPU-s, RMSE of the rates {error:.3f}, wrong labels {fit.noise_:.3f}, "
        f"{inside:.0%} of the rates inside their 90 % intervals ({fit.posterior_.kind})"
    )
    answers[name] = rows.sort_values("true", ignore_index=True)

# %%
fig, axes = plt.subplots(1, 2, figsize=(12.5, 3.6), layout="constrained", sharey=True)
for ax, (name, rows) in zip(axes, answers.items(), strict=True):
    half = np.abs(rows[["low", "high"]].to_numpy().T - rows["rate"].to_numpy())
    ax.errorbar(
        rows.index, rows["rate"], half, fmt="o", ms=3, color=blue, capsize=2, label="found, 90 %"
    )
    ax.plot(rows.index, rows["true"], "_", color="black", ms=9, label="true")
    ax.set(title=name, xlabel="jump, in the order of its true rate", ylabel="rate")
_ = axes[0].legend()

# %% [markdown]
# Twelve of the thirty jumps do not exist: their true rate is zero. The network was not trained on ratchets. It warns
# when data are unlike those that it was trained on: more than ten states, for example, or observations that are too far
# apart.
#
# ## Clones: sisters instead of films
#
# Sequencing kills the cell. A barcode in every founder shows instead what became of its **descendants**, some sampled
# on day 2 and some on day 4. No cell is seen twice. Here every path is one cell with one observation, and
# `condition_key` (or `Paths(conditions=...)`) names its clone; `Clones(ancestor_time=...)` says when the barcodes were
# given. The likelihood of a clone sums over the unknown state of the founder, and assumes that its cells develop
# independently from there:
#
# $$L = \sum_a p_a \prod_{\text{cells}} \big[e^{Q (t - t_0)}\big]_{a\, x} .$$
#
# To see what clones contribute, the same cells are also read one by one, as if each had a founder of its own.


# %%
def sampled(n_clones, seed):
    """Cells of clones founded at day 0: three sampled on day 2 and three others on day 4."""
    founders = di.simulate(blood, None, [0.0], n_paths=n_clones, seed=seed).states[:, 0]
    run = di.simulate(blood, founders.repeat_interleave(6), [0.0, 2.0, 4.0], seed=seed + 1).states
    when = np.tile([1, 1, 1, 2, 2, 2], n_clones)
    return {
        "times": list(np.array([0.0, 2.0, 4.0])[when][:, None]),
        "states": list(run.numpy()[np.arange(len(run)), when][:, None]),
        "state_names": names,
    }, np.repeat(np.arange(n_clones), 6)


library, clone = sampled(200, seed=0)
test, test_clone = sampled(200, seed=10)
settings = {"observation": "exact", "jumps": di.Only(jumps), "clones": di.Clones(0.0)}
readings = {
    "clones": di.Paths(**library, conditions=clone),
    "one by one": di.Paths(**library, conditions=np.arange(len(clone))),
}
true_rates = [0.4, 0.6, 0.4]
fig, axes = plt.subplots(1, 2, figsize=(12.5, 3.6), layout="constrained")
for k, (name, data) in enumerate(readings.items()):
    model = di.MarkovJumpInference(**settings).fit(data, progress=False)
    of_test = di.Paths(
        **test, conditions=test_clone if name == "clones" else np.arange(len(test_clone))
    )
    score = model.evaluate(of_test)["log_likelihood"].sum() / 200
    table = model.confidence_intervals()
    print(
        f"{name:10} rates {table['rate'].round(2).tolist()} (true {true_rates}), founders {model.initial_.round(2)}, "
        f"log-likelihood of a new clone {score:.3f}"
    )
    half = np.abs(table[["low", "high"]].to_numpy().T - table["rate"].to_numpy())
    axes[0].errorbar(
        np.arange(3) + 0.2 * k - 0.1,
        table["rate"],
        half,
        fmt="o",
        color=(blue, orange)[k],
        capsize=3,
        label=name,
    )
    if name == "clones":
        future = model.simulate(["stem"], np.linspace(0, 8, 81), n_paths=5000)
axes[0].plot(np.arange(3), true_rates, "_", color="black", ms=18, label="true")
axes[0].set_xticks(np.arange(3), jumps)
axes[0].set(ylabel="per day", title="rates from cells that were seen once")
axes[0].legend()
for s, color in enumerate((grey, green, orange, blue)):
    share = (future.states == s).double().mean(0)
    axes[1].plot(future.times, share, color=color, label=names[s])
    truth = blood.transition(torch.as_tensor(future.times))[:, 0, s]
    axes[1].plot(future.times, truth, color=color, lw=0.8, ls="--")
axes[1].set(xlabel="days", ylabel="share", title="descendants of a stem cell (dashed: true)")
_ = axes[1].legend()

# %% [markdown]
# The founders' distribution and the rates are the same in both readings, so both are right on average. But a single red
# cell does not say whether its founder was red already or became red later. In this library, reading the cells one by
# one makes a fifth of the founders red, and two of the three true rates lie outside its 90 % intervals. That is bad
# luck: in twenty libraries drawn like this one, either reading has 95 % of the true rates inside. Sisters distinguish
# what was inherited from what happened later. Read as clones, the same cells give 1 % of red founders and recover all
# three rates, with narrower intervals; a new clone is predicted better by 0.21 nats.
#
# ## Which settings
#
# * `observation=Labels()`, the default, if a classifier may be wrong; `ExactLabels()` only if labels cannot be wrong;
#   `Confusion()` if neighbouring states are mixed up. For a signal, `Gaussian(n_states)` is better than any rule.
# * `jumps=Only([...])`, `Reversible()` or `BirthDeath()` if biology forbids jumps. The data alone never rule a jump
#   out.
# * `flat` in `confidence_intervals()` marks the rates that come from the prior and not from the data;
#   `prior_width=None` gives plain maximum likelihood.
# * Cells that divide at different rates change their shares without any jump, and clones cannot tell the two apart: see
#   [when to trust it](../methods/markov_jump.md#when-to-trust-it-and-when-not).
# * Rates that depend on covariates are fitted in the [tutorial on patients](08_patients_panel.py).

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
# # What did the recording miss?
#
# A patch clamp shows one channel open and shut. From its open and shut times you want the rates of the gate: how fast
# does it close, and how often does it reopen before the transmitter unbinds? But the amplifier is filtered, and
# anything shorter than some **dead time** never shows. If half of the shuttings are too short to be seen, two openings
# look like one long opening, and every rate is wrong. This tutorial estimates how much a recording has missed, and
# corrects the rates for it.
#
# The channel is simulated, so that we know the answer.

# %%
import warnings

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import dyninfer as di

blue, orange, green, grey = "#0072b2", "#d55e00", "#009e73", "0.6"

# %% [markdown]
# ## The recording
#
# A channel opens in bursts: it is open for a millisecond or so, flickers shut for a tenth of one, opens again, and
# after some openings stays shut for a long time. We record four seconds at 50 kHz.

# %%
channel = di.simulators.BurstingChannel()
true = channel.process()
current = channel.paths(0.02 * np.arange(200_000), 1, seed=0)
time, trace = current.times[0], current.states[0][:, 0]

fig, axes = plt.subplots(2, 1, figsize=(11, 4.5), layout="constrained")
for axis, (begin, end) in zip(axes, ((0, 60), (40, 48)), strict=True):
    inside = (time >= begin) & (time < end)
    axis.plot(time[inside], trace[inside], color=grey, lw=0.6)
    axis.axhline(channel.level / 2, color=orange, lw=1)
    axis.set(ylabel="current (pA)", xlim=(begin, end))
_ = axes[1].set(xlabel="time (ms)")

# %% [markdown]
# ## From a current to dwell times
#
# A threshold at half the open level decides: above it the channel is open, below it shut. Now and then noise crosses
# the threshold for a sample or two, which is not an opening. So a **dead time** is imposed: any shorter visit is merged
# with what surrounds it. Noise that crosses for three samples is rare. A visit that fills three samples has lasted
# between two and four sampling intervals, three on average; one that fills two has lasted between one and three. So the
# line between the two is drawn at two and a half samples, 0.05 ms.

# %%
record = di.DwellTimes.from_signal(current, threshold=channel.level / 2, dead_time=0.05)
print(record)
waits = true.holding_times().numpy()
share = 1 - np.exp(-0.05 / waits[1])
print(
    f"\ntrue mean open time {waits[0]:.2f} ms; {share:.0%} of the short shuttings are below the dead time"
)

# %% [markdown]
# The mean open time of the record is far above that of the channel: it is the time until the first shutting that is *long enough to be seen*.
#
# ## Rates, with and without what was missed
#
# `fit_dwell_times` maximises the exact likelihood of the record. If you tell it that nothing was missed (a dead time of
# 0), it takes the dwell times at face value.

# %%
names, jumps = true.state_names, di.Only(channel.jumps)


def fit(record):
    """Rates of the scheme shut for long, shut for short, open."""
    return di.tl.fit_dwell_times(record, names, channel.open_states, jumps)


believing = di.DwellTimes(record.durations, record.first_open, 0.0, record.last_complete)
corrected, naive = fit(record), fit(believing)
table = corrected.confidence_intervals().drop(columns="flat")
table.insert(2, "true", channel.rates)
table.insert(3, "believing the record", naive.confidence_intervals()["rate"])
print(table.round(2).to_string(index=False))

# %% [markdown]
# Rates are per millisecond, and the intervals cover 90 %. If the record is believed, the channel seems to close and
# reopen at a fraction of the true rates.
#
# The fit also predicts what such a record should look like. If the scheme is wrong, this picture shows it.

# %%
fig, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
for axis, kind, times in zip(
    axes, ("open", "shut"), (record.open_times, record.shut_times), strict=True
):
    edges = np.geomspace(0.05, times.max(), 40)
    counts, _ = np.histogram(times, edges)
    density = counts / len(times) / np.diff(edges)
    middle = np.sqrt(edges[1:] * edges[:-1])
    axis.stairs(middle * density, edges, color=grey, fill=True, alpha=0.5, label="record")
    axis.plot(middle, middle * corrected.apparent.density(middle, kind), color=blue, label="fit")
    axis.set(xscale="log", xlabel=f"{kind} time (ms)", ylabel="density of the logarithm")
_ = axes[0].legend()

# %% [markdown]
# ## Does the answer depend on the dead time?
#
# It must not. When longer dead times are imposed on the same recording, the uncorrected rates drift away. The corrected
# rates stay, and their intervals widen because less is resolved.

# %%
rows = []
for dead_time in (0.05, 0.07, 0.09):
    coarse = di.DwellTimes.from_signal(current, channel.level / 2, dead_time)
    believing = di.DwellTimes(coarse.durations, coarse.first_open, 0.0, coarse.last_complete)
    closing = fit(coarse).confidence_intervals().iloc[0]
    rows.append(
        {
            "dead time (ms)": dead_time,
            "dwell times": coarse.n_dwells,
            "closing rate": closing["rate"],
            "low": closing["low"],
            "high": closing["high"],
            "believing the record": fit(believing).confidence_intervals()["rate"][0],
        }
    )
print(pd.DataFrame(rows).round(2).to_string(index=False))
print(f"true closing rate {channel.rates[0]}")

# %% [markdown]
# ## When the baseline drifts
#
# A threshold needs constant levels. Over minutes the seal of the patch leaks, and the baseline wanders. A hidden Markov
# model of the current finds the levels by itself, and then checks the residuals of the signal.

# %%
piece = slice(0, 200_000, 20)
drifting = trace[piece] + 1.0 * np.sin(time[piece] / 600)
paths = di.Paths(times=[time[piece]], states=[drifting])
model = di.MarkovJumpInference(observation=di.Gaussian(2))
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    model.fit(paths, progress=False)
for warning in caught:
    print("warning:", warning.message, "\n")
flat = di.tl.remove_baseline(model, paths)
again = di.MarkovJumpInference(observation=di.Gaussian(2)).fit(flat, progress=False)
for name, fitted in (("drifting", model), ("without baseline", again)):
    levels = fitted.emission_.mean[:, 0].numpy().round(2)
    noise = fitted.emission_.std[:, 0].numpy().round(2)
    print(f"{name:17} levels {levels}, noise {noise} (true: 5 apart, 0.8)")

fig, axis = plt.subplots(figsize=(11, 2.8), layout="constrained")
axis.plot(paths.times[0], paths.states[0][:, 0], color=grey, lw=0.3, label="recorded")
axis.plot(
    paths.times[0], paths.states[0][:, 0] - flat.states[0][:, 0], color=orange, label="baseline"
)
axis.set(xlabel="time (ms)", ylabel="current (pA)")
_ = axis.legend(loc="upper right")

# %% [markdown]
# ## More than one channel in the patch
#
# Then the levels stand for 0, 1, 2 ... open channels. If the channels are alike and independent, there are only two
# rates, whatever the number of channels: with two open, one of them shuts at twice the rate. `IdenticalChannels()` says
# so.

# %%
opening, closing = 0.5, 1.5
two = di.MarkovJump(
    [
        [-2 * opening, 2 * opening, 0],
        [closing, -closing - opening, opening],
        [0, 2 * closing, -2 * closing],
    ]
)
run = di.simulate(two, None, 0.05 * np.arange(8000), n_paths=1, seed=0)
noise = 0.8 * np.random.default_rng(0).normal(size=8000)
patch = di.Paths(times=[np.asarray(run.times)], states=[5.0 * run.states[0].numpy() + noise])
both = di.MarkovJumpInference(observation=di.Gaussian(3), jumps=di.IdenticalChannels())
print(both.fit(patch, progress=False).confidence_intervals().round(2).to_string(index=False))
print(f"true: opening {opening} and closing {closing} for each channel")

# %% [markdown]
# ## What to remember
#
# * Impose a dead time that the recording surely resolves, and pass it to the fit. If the rates change with it, the
#   scheme is wrong or the dead time is too short.
# * With one open and one shut state, a second solution with two much faster rates explains the record nearly as well:
#   compare `log_likelihood` from another `start`.
# * Open and shut times determine at most twice as many rates as the product of the numbers of open and shut states;
#   `flat` marks rates that the record does not determine.
# * Dwell times that are not sums of exponentials, such as those of a cell cycle, can be built from
#   [phases](../methods/markov_jump.md#dwell-times-that-are-not-exponential).
# * [The page of the method](../methods/markov_jump.md#dwell-times-with-missed-events) has the mathematics.

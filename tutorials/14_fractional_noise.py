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
# # Memory: proteins in a nucleus and a river
#
# A protein in a crowded nucleus is pushed back to where it came from; a dry year of a river is often followed by
# another. The noise behind such paths is not white: its increments have memory. **Fractional Brownian motion**
# describes this memory by one number, the Hurst index $H$. At $H = ½$ increments are independent; below it they tend to
# reverse, above it to persist. `FractionalSDE` learns $H$ together with drift, amplitude and measurement noise, with
# intervals. [The page of the method](../methods/fractional_sde.md) has the mathematics.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import dyninfer as di
from dyninfer.fractional import FractionalBrownianMotion, msd_exponent

blue, orange, green, grey = "#0072b2", "#d55e00", "#009e73", "0.6"
times = np.linspace(0, 1, 501)
fig, axes = plt.subplots(1, 3, figsize=(12.5, 3), layout="constrained", sharex=True)
for ax, hurst in zip(axes, (0.2, 0.5, 0.8), strict=True):
    ax.plot(times, FractionalBrownianMotion(hurst).sample(times, 4, seed=1).T, lw=0.9)
    ax.set(title=f"H = {hurst}", xlabel="time")

# %% [markdown]
# ## Single proteins
#
# Fluorescent proteins in the nuclei of living cells were located in every frame of a film, 7.48 ms apart, and linked
# into tracks. In the AnnData, a row is one detection; `obs["track"]` names the particle and `obs["time"]` gives the
# time.

# %%
tracks = di.datasets.single_particle_tracks(min_length=20)
print(tracks)
model = di.FractionalSDE(noise=di.FractionalNoise(n_nodes=6), drift="none").fit(
    tracks, time_key="time", path_key="track", use_rep="position", progress=False
)
low, high = model.hurst_interval(0.95)
print(f"H = {model.hurst_:.2f}, 95 % interval {low:.2f} to {high:.2f}")
print(f"localisation error {1000 * model.observation_noise_.mean():.0f} nm")

# %% [markdown]
# Biophysicists look at the **mean squared displacement**: for fractional motion it grows like $\tau^{2H}$, so they fit
# a line on logarithmic axes, and its slope is the *anomalous exponent* $\alpha = 2H$. But an error of localisation adds
# a constant at every lag. At short lags this constant is most of the signal, and it flattens the line: particles then
# look *subdiffusive* when they are not. The likelihood separates the two effects; the line cannot.

# %%
frame = 0.00748
every = np.unique(tracks.obs["track"])
paths = di.Paths.from_anndata(tracks, time_key="time", path_key="track", use_rep="position")
line = msd_exponent(paths, 10, dt=frame, pooled=True)
bent = msd_exponent(paths, 10, dt=frame, pooled=True, localisation_noise=True)
table = pd.DataFrame(
    {
        "exponent": [line.exponent[0], bent.exponent[0], 2 * model.hurst_],
        "localisation error, nm": [
            0.0,
            1000 * bent.noise_variance[0] ** 0.5,
            1000 * model.observation_noise_.mean(),
        ],
    },
    index=["line through log MSD", "line and a constant", "likelihood"],
)
print(table.round(2).to_string())

fig, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for particle in every[:12]:
    p = tracks.obsm["position"][tracks.obs["track"] == particle]
    axes[0].plot(*(p - p[0]).T, lw=0.8)
axes[0].set(xlabel="µm", ylabel="µm", title="twelve tracks, from their first point", aspect="equal")
axes[1].loglog(line.lags, line.msd[0], "o", color="black", ms=4, label="data")
for fit, colour, name in ((line, blue, "line"), (bent, orange, "line and a constant")):
    curve = fit.coefficient[0] * line.lags ** fit.exponent[0] + 4 * fit.noise_variance[0]
    axes[1].loglog(line.lags, curve, color=colour, label=f"{name}, α = {fit.exponent[0]:.2f}")
axes[1].set_xticks([0.01, 0.02, 0.05], ["0.01", "0.02", "0.05"])
axes[1].set_yticks([0.05, 0.1, 0.2, 0.4], ["0.05", "0.1", "0.2", "0.4"])
axes[1].minorticks_off()
axes[1].set(xlabel="lag (s)", ylabel="mean squared displacement (µm²)", title="all tracks together")
_ = axes[1].legend()

# %% [markdown]
# ### Where was the particle?
#
# The posterior removes the error of localisation and fills gaps, using everything that was seen before and after.
# Beyond the last detection it is a forecast.

# %%
longest = tracks.obs["track"].value_counts().index[0]
one = tracks[tracks.obs["track"] == longest]
detections = one.obs["time"].to_numpy()
ahead = detections[-1] + frame * np.arange(1, 41)
draws = model.posterior(one).draw(np.concatenate([detections, ahead]), n_samples=400, seed=0)
y0 = one.obsm["position"][0, 0]
x = 1000 * (draws.states[..., 0].double().numpy() - y0)
fig, ax = plt.subplots(figsize=(9, 3.4), layout="constrained")
t = draws.times.numpy()
ax.fill_between(
    t, *np.quantile(x, [0.05, 0.95], axis=0), color=blue, alpha=0.25, label="90 % of the draws"
)
ax.plot(t, np.median(x, axis=0), color=blue, lw=1, label="median")
ax.plot(
    detections, 1000 * (one.obsm["position"][:, 0] - y0), ".", color="black", ms=4, label="detected"
)
ax.axvline(detections[-1], color=grey, ls=":")
ax.set(
    xlabel="time (s)", ylabel="y (nm)", title="a track, what lies behind it, and what may follow"
)
_ = ax.legend()

# %% [markdown]
# ## The river in which memory was found
#
# Harold Hurst studied how large a reservoir the Nile needs, and found that dry years come together far more often than by chance. The yearly minima of the
# level at Roda go back to the year 622. They are *increments*: their running sum is the fractional motion, with a drift
# that is their mean. The file is downloaded; without a network, the hundred yearly flows of 1871 to 1970 that come with
# statsmodels are used instead.

# %%
try:
    nile = di.datasets.nile_minima()
    year, level = nile.obs["year"].to_numpy(), nile.X[:, 0].astype(float)
    name = "minimum at Roda"
except ConnectionError as error:
    import statsmodels.datasets.nile

    print(f"{error}\n")
    flow = statsmodels.datasets.nile.load_pandas().data
    year, level = flow["year"].to_numpy(), flow["volume"].to_numpy()
    name = "flow at Aswan"

total = np.concatenate([[0.0], np.cumsum(level - level.mean())])
river = di.Paths(times=[np.arange(len(total))], states=[total[:, None]])
memory = di.FractionalSDE(drift="constant", observation_noise=0.05 * level.std()).fit(
    river, progress=False
)
low, high = memory.hurst_interval(0.95)
print(f"{len(level)} years, {name}: H = {memory.hurst_:.3f}, 95 % interval {low:.2f} to {high:.2f}")

# %% [markdown]
# The exact likelihood of the minima has its maximum at 0.837, with a standard error of 0.025. The series of the hundred
# later years has a *step* in it: from 1899 on the flows are lower. A step looks like long memory to every estimator of
# $H$. Plot a series before you believe its index.
#
# Memory changes the forecast: the sum of the next $h$ years spreads like $h^{H}$ and not like $\sqrt h$.

# %%
horizon = np.arange(1, 31)
future = memory.forecast(river, len(level) + horizon, n_samples=2000, seed=0).states[..., 0].numpy()
without = di.FractionalSDE(
    noise=di.FractionalNoise(hurst=0.5), drift="constant", observation_noise=0.05 * level.std()
)
plain = without.fit(river, progress=False).forecast(
    river, len(level) + horizon, n_samples=2000, seed=0
)
fig, axes = plt.subplots(1, 2, figsize=(12, 3.4), layout="constrained", width_ratios=[2, 1])
axes[0].plot(year, level, color=blue, lw=0.7)
axes[0].set(xlabel="year", title=name)
axes[1].plot(horizon, future.std(0), color=orange, label=f"H = {memory.hurst_:.2f}")
axes[1].plot(horizon, plain.states[..., 0].numpy().std(0), color=grey, label="no memory, H = ½")
axes[1].set(
    xlabel="years ahead", ylabel="standard deviation", title="uncertainty of the coming total"
)
_ = axes[1].legend()

# %% [markdown]
# ## Memory in a landscape
#
# So far the drift was linear or absent and everything was Gaussian, so the exact likelihood was maximised. If the drift
# is unknown, a network learns it by maximising the evidence lower bound. Here a particle moves between two wells and is
# pushed by persistent noise, $H = 0.7$. It is observed every 0.1 units of time, with an error.

# %%
from dyninfer.fractional import MarkovApproximation

wells = di.FractionalDiffusion(
    lambda t, x: 2 * (x - x**3),
    MarkovApproximation(10, horizon=8.0, dt=0.02),
    hurst=0.7,
    diffusion=0.8,
)
generator = torch.Generator().manual_seed(0)
when = np.linspace(0, 8, 81)
start = torch.randn(48, 1, generator=generator)
run = di.simulate(wells, start, when, solver=di.solvers.FractionalEuler(dt=0.02), seed=1)
noisy = run.states + 0.1 * torch.randn(run.states.shape, generator=generator)
particles = di.Paths(times=[when] * 48, states=list(noisy.double().numpy()))

noise = di.FractionalNoise(n_nodes=7)
nonlinear = di.FractionalSDE(
    noise=noise, drift="network", inference=di.Variational(control=None, width=32)
)
nonlinear = nonlinear.fit(particles, seed=0, max_steps=250, progress=False)
linear = di.FractionalSDE(noise=noise).fit(particles, progress=False)
print(
    f"true H 0.7; found {nonlinear.hurst_:.2f} with a network, {linear.hurst_:.2f} with a linear drift"
)

# %% [markdown]
# Drift and memory can both explain slow turns: check in `history_["hurst"]` whether the index has converged. More nodes
# approximate the memory better; with four instead of seven, this index comes out 0.03 lower. A linear drift cannot have
# two wells, so it puts their effect into the noise. Compare models by `elbo` or `log_likelihoods` on paths that were
# held out (`fit(..., hold_out=[...])`).

# %%
x = torch.linspace(-1.6, 1.6, 81, dtype=torch.float64)[:, None]
with torch.no_grad():
    curved, straight = (m.process_.drift(0.0, x)[:, 0] for m in (nonlinear, linear))
fresh = nonlinear.simulate(particles, when, seed=3).states[..., 0].numpy()
fig, axes = plt.subplots(1, 3, figsize=(12.5, 3.4), layout="constrained")
axes[0].plot(when, noisy[:6, :, 0].T, lw=0.8)
axes[0].set(xlabel="time", title="six of the particles")
axes[1].plot(x, 2 * (x - x**3), color="black", label="true")
axes[1].plot(x, curved, color=orange, label="network")
axes[1].plot(x, straight, color=grey, label="linear")
axes[1].set(xlabel="x", ylabel="drift", title="what pushes them", ylim=(-4, 4))
axes[1].legend()
bins = np.linspace(-2, 2, 41)
axes[2].hist(
    noisy[:, 40:, 0].flatten().numpy(), bins, density=True, color=blue, alpha=0.4, label="data"
)
axes[2].hist(
    fresh[:, 40:].flatten(), bins, density=True, histtype="step", color=orange, label="simulated"
)
axes[2].set(xlabel="x", title="where they are after time 4")
_ = axes[2].legend()

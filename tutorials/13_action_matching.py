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
# # Action Matching: plain, entropic, unbalanced
#
# Snapshots show where a population is, not how its members move. Many velocity fields carry the same densities through
# time; **Action Matching** picks the one with the least kinetic energy. It is always the gradient of a potential,
# $v = \nabla s$. Two settings widen the family:
#
# | setting | dynamics of a cell | use it when |
# |---|---|---|
# | `ActionMatching()` | $dx = \nabla s\,dt$ | cells move, noise is not of interest |
# | `ActionMatching(sigma=σ)` | $dX = \nabla s\,dt + \sigma\,dW$ | noise of a known size is part of the motion |
# | `ActionMatching(growth_penalty=λ)` | $dx = \nabla s\,dt$, $d\log w = \lambda s\,dt$ | cells also divide and die |
#
# Each is tried first on a system whose answer is known, because only there can one see what the method recovers and
# what it makes up. Real cells follow. [The Action Matching page](../methods/action_matching.md) has the mathematics.

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

import dyninfer as di


def relative_error(field, true):
    """Mean squared error of a field over its mean square."""
    return float((field - true).square().sum() / true.square().sum())


# %% [markdown]
# ## Plain: the velocity of a wave packet
#
# A quantum particle in a harmonic well has a Gaussian density $|\psi(t, x)|^2$ that swings and breathes. Its Bohmian
# velocity is a gradient, so it is exactly what Action Matching looks for. Nothing has to be interpolated: the density can be sampled
# at any time, and a `DensityCurve` hands the sampler to `fit`.

# %%
packet = di.simulators.HarmonicWavePacket(width=0.4)


def draw(t, n):
    """One sample of the packet for each of the times t."""
    center, _ = packet.center(t)
    variance, _ = packet.spread(t)
    return center[:, None] + variance.sqrt()[:, None] * torch.randn(n, 2)


curve = di.DensityCurve(draw, times=(0.0, 3.0))
plain = di.ActionMatching().fit(curve, max_steps=800, progress=False)

for t in (0.5, 1.5, 2.5):
    x = packet.sample(t, 2000, seed=1)
    error = relative_error(plain.process_.drift(t, x), packet.velocity(t, x))
    print(f"t = {t}: relative squared error of the velocity {error:.4f}")

# %%
fig, axes = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained", sharex=True, sharey=True)
for ax, t in zip(axes, (0.5, 1.5, 2.5), strict=True):
    x = packet.sample(t, 60, seed=2)
    arrows = {"angles": "xy", "scale_units": "xy", "scale": 4}
    ax.quiver(*x.T, *packet.velocity(t, x).T, color="0.75", width=0.016, label="true", **arrows)
    ax.quiver(
        *x.T, *plain.process_.drift(t, x).T, color="#0072b2", width=0.006, label="learned", **arrows
    )
    ax.set(title=f"t = {t}", xlabel="$x_1$", aspect="equal")
axes[0].set_ylabel("$x_2$")
_ = axes[0].legend(loc="upper left")

# %% [markdown]
# A learned drift is not the only thing to check: the particles that follow it must end where the packet ends. They start from
# exact samples at $t = 0$.

# %%
run = plain.simulate(packet.sample(0.0, 2000, seed=3), times=np.linspace(0, 3, 7))
for t, mean, std in zip(run.times, run.mean()[:, 0], run.std()[:, 0], strict=True):
    print(
        f"t = {t:.1f}: mean {mean:+.3f} (true {packet.mean(float(t)):+.3f}), std {std:.3f} (true {packet.std(float(t)):.3f})"
    )

# %% [markdown]
# ## Entropic: the same densities, another drift
#
# An Ornstein-Uhlenbeck process relaxes with drift $-\theta (x - \mu)$ under noise $\sigma$. Its densities alone cannot tell how much of
# the motion is drift and how much is noise, so **σ is an assumption that you bring**:
#
# * with `sigma=0` the answer is the *probability flow*, a deterministic motion with the same densities;
# * with the true σ the answer is the true drift.

# %%
ou = di.simulators.OrnsteinUhlenbeck(rate=1.0, sigma=1.0, initial_mean=2.0, initial_std=0.5)


def draw(t, n):
    """One sample of the process for each of the times t."""
    return ou.marginal_mean(t) + ou.marginal_variance(t).sqrt()[:, None] * torch.randn(n, 2)


curve = di.DensityCurve(draw, times=(0.0, 2.0))
fits = {
    sigma: di.ActionMatching(sigma=sigma).fit(curve, max_steps=500, progress=False)
    for sigma in (0.0, 1.0)
}

times = (0.5, 1.0, 1.5)
cells = {t: ou.sample(t, 2000, seed=1) for t in times}
for sigma, model in fits.items():
    drift, flow = (
        np.mean(
            [
                relative_error(model.process_.drift(t, cells[t]), true(torch.tensor(t), cells[t]))
                for t in times
            ]
        )
        for true in (ou.drift, ou.probability_flow)
    )
    print(
        f"sigma = {sigma}: error against the true drift {drift:.4f}, against the probability flow {flow:.4f}"
    )

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained", sharey=True)
line = torch.zeros(61, 2)
line[:, 0] = torch.linspace(-1.5, 3, 61)
references = ((1.0, ou.drift, "drift"), (0.0, ou.probability_flow, "probability flow"))
for ax, (sigma, true, name) in zip(axes, references, strict=True):
    for t, color in zip(times, ("#440154", "#21918c", "#9fda3a"), strict=True):
        ax.plot(line[:, 0], true(torch.tensor(t), line)[:, 0], color=color, lw=4, alpha=0.3)
        ax.plot(
            line[:, 0],
            fits[sigma].process_.drift(t, line)[:, 0],
            color=color,
            lw=1.3,
            label=f"t = {t}",
        )
    ax.set(title=f"sigma = {sigma}, true {name} broad", xlabel="$x_1$ at $x_2 = 0$")
axes[0].set_ylabel("velocity in $x_1$")
_ = axes[0].legend()

# %% [markdown]
# The two models describe the same populations but different cells. Simulated from the same start, their densities agree
# and their paths differ. Questions about populations (how many cells of a kind are there at a time?) have one answer.
# Questions about individual cells (how long does one stay?) depend on σ.

# %%
fig, axes = plt.subplots(1, 2, figsize=(10, 3.4), layout="constrained", sharey=True)
for ax, (sigma, model) in zip(axes, fits.items(), strict=True):
    run = model.simulate(ou.sample(0.0, 1000, seed=4), np.linspace(0, 2, 81), seed=0)
    ax.plot(run.times, run.states[:25, :, 0].T, color="#0072b2", lw=0.7, alpha=0.7)
    ax.set(
        title=f"sigma = {sigma}: final mean {run.mean()[-1, 0]:.2f}, std {run.std()[-1, 0]:.2f}",
        xlabel="time",
    )
axes[0].set_ylabel("$x_1$")
print(
    f"true final mean {ou.marginal_mean(2.0)[0]:.2f}, std {float(ou.marginal_variance(2.0)) ** 0.5:.2f}"
)

# %% [markdown]
# ### The interpolation is part of the model
#
# Real data have a few snapshots and no sampler. Between them dyninfer draws straight lines (or smooth curves, with
# `interpolation="cubic"`) between paired cells, and Action Matching learns that density curve. Where the true densities
# take another course, the drift is wrong, however long you train. The next cell shows how much that matters here.

# %%
for n_times in (2, 3, 5):
    snapshots = ou.snapshots(np.linspace(0, 2, n_times), 1000, seed=2)
    model = di.ActionMatching(sigma=1.0).fit(snapshots, max_steps=300, progress=False)
    error = np.mean(
        [relative_error(model.process_.drift(t, cells[t]), ou.drift(t, cells[t])) for t in times]
    )
    print(f"{n_times} snapshots: relative squared error of the drift {error:.3f}")

# %% [markdown]
# ## Couplings: who becomes whom
#
# Pairs are chosen by a **coupling**. Optimal transport (the default) pairs cells so that the total squared
# distance is least; an independent coupling pairs at random, so that lines cross and the population first contracts. Both
# reproduce the snapshots. From $N(0, I)$ to $N((2, 0), I/4)$ the kinetic energy of both curves is known: 2.25 for
# optimal transport and 2.4646 for independent pairs. The `action` of the history is minus that energy, in the units of the data.

# %%
generator = torch.Generator().manual_seed(0)
first = torch.randn(2000, 2, generator=generator)
second = torch.tensor([2.0, 0.0]) + 0.5 * torch.randn(2000, 2, generator=generator)
pair = di.Snapshots(times=[0, 1], samples=[first, second])

fig, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained", sharey=True)
for ax, (coupling, exact) in zip(axes, (("ot", 2.25), ("independent", 2.4646)), strict=True):
    model = di.ActionMatching(coupling=coupling).fit(pair, max_steps=500, progress=False)
    energy = -model.history_["action"].tail(5).mean()
    run = model.simulate(first, np.linspace(0, 1, 21))
    ax.plot(run.times, run.std()[:, 0])
    ax.set(title=f"{coupling}: energy {energy:.3f} (known {exact})", xlabel="time")
_ = axes[0].set_ylabel("standard deviation in $x_1$")

# %% [markdown]
# ## Unbalanced: cells that divide and die
#
# Two groups of cells sit still, and the share of the right one rises from 0.2 to 0.8. A method that conserves mass must
# carry cells across the empty gap. With `growth_penalty=λ` cells may instead grow and die at rate $\lambda s$, and the
# cheapest explanation has no motion at all. With share $p(t)$, the right group grows at rate $p'/p$ and the left one at
# $-p'/(1-p)$.

# %%


def share(t):
    """Share of the right group."""
    return 0.2 + 0.6 * t


def draw(t, n):
    """Cells of two groups at x1 = -2 and x1 = 2."""
    side = torch.where(torch.rand(n) < share(t), 2.0, -2.0)
    return torch.stack([side, torch.zeros(n)], dim=1) + 0.3 * torch.randn(n, 2)


groups = di.DensityCurve(draw, times=(0.0, 1.0))
unbalanced = di.ActionMatching(growth_penalty=1.0).fit(groups, max_steps=600, progress=False)

centers = torch.tensor([[2.0, 0.0], [-2.0, 0.0]])
for t in (0.2, 0.5, 0.8):
    right, left = unbalanced.process_.growth(t, centers)
    print(
        f"t = {t}: right {right:+.2f} (known {0.6 / share(t):+.2f}), left {left:+.2f} (known {-0.6 / (1 - share(t)):+.2f})"
    )

# %% [markdown]
# A simulation with growth gives every path a log-weight. Averages over the population use the weights; `ess`, the effective
# sample size, says how many equally weighted paths they are worth. When it becomes small, start more paths or
# let `simulate(..., resample=0.5)` replace light paths by copies of heavy ones on the way.

# %%
start = draw(torch.zeros(2000), 2000)
for resample in (None, 0.5):
    run = unbalanced.simulate(start, [0.0, 0.5, 1.0], seed=0, resample=resample)
    right = (run.weights * (run.states[..., 0] > 0)).sum(0)
    print(
        f"resample={resample}: share on the right {np.round(right.numpy(), 2)} (known [0.2 0.5 0.8]), ess {run.ess.int().tolist()}"
    )

# %% [markdown]
# ### A population with a true growth rate
#
# Now a case closer to biology. Simulated progenitors commit to one of two fates; they move, fluctuate, divide and die,
# and drift and growth are unrelated. We know how many cells there were at each time: the snapshots carry `masses`.
# (With an AnnData: `fit(..., mass_key="n_cells")`.)

# %%
branching = di.simulators.BranchingPopulation()
snapshots = branching.snapshots(np.linspace(0, 4, 9), 300, seed=0)
model = di.ActionMatching(sigma=branching.sigma, growth_penalty=0.3).fit(
    snapshots, max_steps=500, progress=False
)

t = 3.0
x = torch.as_tensor(snapshots.at(t))
growth, true = model.process_.growth(t, x), branching.growth(t, x)
print(f"mean growth at t = {t}: learned {growth.mean():.2f}, true {true.mean():.2f}")
print(f"standard deviation:    learned {growth.std():.2f}, true {true.std():.2f}")
print(f"correlation over cells: {np.corrcoef(growth, true)[0, 1]:.2f}")

# %%
fig, axes = plt.subplots(1, 3, figsize=(12.5, 3.6), layout="constrained")
for ax, value, name in ((axes[0], true, "true"), (axes[1], growth, "learned")):
    dots = ax.scatter(*x.T, c=value, s=5, cmap="RdBu_r", vmin=-0.9, vmax=0.9)
    ax.set(title=f"{name} growth at t = 3", xlabel="$x_1$", ylabel="$x_2$")
fig.colorbar(dots, ax=axes[1], label="per time unit")
run = model.simulate(snapshots, np.linspace(0, 4, 41), seed=0)
_ = di.pl.mass(run, snapshots, ax=axes[2])

# %% [markdown]
# What is recovered, and what is not:
#
# * **The mean growth** follows the masses: the simulated mass follows the counts (right). The counts of these cultures
#   of 300 founders scatter around their expectation, and so does their slope at any one time.
# * **The sign of the differences** is right where the fates have separated: the upper one, which divides faster, grows faster.
# * **The size of the differences** is not. Snapshots cannot separate "more cells arrived" from "more cells were born";
#   Action Matching takes the cheapest mixture of the two, and λ sets the price. With a small λ growth is expensive and
#   its differences are too small; with a large λ they are too large. λ is an assumption, as σ is. It has the unit of
#   one over a squared distance. A reasonable start is a value at which motion by a typical distance costs as much as a
#   change of mass.
#
# Without masses even the mean growth is unknown: growth is then relative to the mean of the population.
#
# ## Real cells
#
# The same three models on mouse embryonic stem cells, in five principal components, with 24 h held out. σ is in
# units of the representation per √hour: 0.1 makes a cell wander by about 0.5 in a day.

# %%
adata = di.datasets.mesc_retinoic_acid()
adata.obsm["X_pca5"] = adata.obsm["X_pca"][:, :5]

models = {
    "plain": di.ActionMatching(),
    "entropic": di.ActionMatching(sigma=0.1),
    "unbalanced": di.ActionMatching(growth_penalty=0.05),
}
for name, model in models.items():
    model.fit(adata, time_key="time", use_rep="X_pca5", hold_out=24, max_steps=600, progress=False)
    row = model.evaluate(adata, times=24, metrics=("w1",)).iloc[0]
    print(
        f"{name:10}  W1 at 24 h: {row.w1:.3f}   (floor {row.w1_floor:.3f}, cells that stand still {row.w1_still:.3f})"
    )

# %% [markdown]
# The three differ by less than the floor resolves. On these data, one held-out time of 291 cells cannot choose between
# them: choose by what you know about the biology. The next picture shows the growth that the unbalanced model finds.

# %%
_ = di.pl.growth(models["unbalanced"], adata, basis="X_umap", time_unit="hour")

# %% [markdown]
# No masses were given, so the growth says which cells become more frequent in the population *beyond what motion explains*. In these
# data, with no count of living cells, it could equally be a change in which cells were captured.
#
# ## Which settings
#
# * Start with `ActionMatching()` and look at held-out times. Add σ or growth when you have a reason, not to lower a number.
# * `coupling="auto"` is optimal transport, or its unbalanced form where growth is allowed; with more cells than one or
#   two thousand, both work on random blocks of that size.
# * `interpolation="cubic"` gives a velocity that is continuous in time; it pays when snapshots are evenly spaced and
#   the motion is smooth. `interpolation="none"` is for dozens of snapshots, dense in time.
# * `scale="feature"` measures distances in standard deviations of each feature; the default keeps their proportions.

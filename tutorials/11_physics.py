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
# # Physics: a wave packet, a vortex and a motor
#
# *What moves this density, is the force a gradient, and does the motion run on energy?* Three systems whose answers are known:
#
# 1. a **wave packet**, photographed a few times: which velocity carries it?
# 2. a **vortex**: what does a method find that can only learn gradients?
# 3. a **molecular motor** that is seen in one of six states: is detailed balance broken?
#
# Flows between populations of *images* are such motions too; they have [a tutorial of their own](15_images.py).

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import dyninfer as di

blue, orange, green, grey = "#0072b2", "#d55e00", "#009e73", "0.6"


def relative_error(field, true):
    """Mean squared error of a field over its mean square."""
    return float((field - true).square().sum() / true.square().sum())


# %% [markdown]
# ## A wave packet
#
# The density $|\psi|^2$ of a particle in a harmonic well swings and breathes. Its Bohmian velocity $\nabla S/m$ is a gradient. Action Matching
# looks for the gradient field that carries the density with the least kinetic energy, and that is this one. Unlike the particles of a classical gas, nobody can follow one here: each
# photograph is a new draw from the density.

# %%
packet = di.simulators.HarmonicWavePacket(width=0.4)
fits, errors = {}, {}
for n_photographs in (3, 5, 9):
    photographs = packet.snapshots(np.linspace(0, 3, n_photographs), 600, seed=0)
    model = di.ActionMatching().fit(photographs, max_steps=400, progress=False)
    of_times = []
    for k, t in enumerate(np.linspace(0.2, 2.8, 6)):
        x = packet.sample(t, 1000, seed=100 + k)
        of_times.append(relative_error(model.process_.drift(t, x), packet.velocity(t, x)))
    fits[n_photographs], errors[n_photographs] = model, np.mean(of_times)
for n_photographs, error in errors.items():
    print(f"{n_photographs} photographs: relative squared error of the velocity {error:.3f}")

# %%
run = fits[9].simulate(packet.sample(0.0, 1000, seed=3), np.linspace(0, 3, 61))
fig, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
true_mean = [packet.mean(float(t)) for t in run.times]
true_std = [packet.std(float(t)) for t in run.times]
for ax, true, simulated, name in (
    (axes[0], true_mean, run.mean()[:, 0], "centre"),
    (axes[1], true_std, run.std()[:, 0], "width"),
):
    ax.plot(run.times, true, color=grey, lw=4, alpha=0.7, label="true")
    ax.plot(run.times, simulated, color=blue, label="simulated")
    for t in photographs.times:
        ax.axvline(t, color="0.9", lw=0.8, zorder=0)
    ax.set(xlabel="time (lines: photographs)", ylabel=name)
_ = axes[0].legend()
print(f"largest error of the centre {np.abs(run.mean()[:, 0].numpy() - true_mean).max():.2f}")
print(f"largest error of the width {np.abs(run.std()[:, 0].numpy() - true_std).max():.2f}")

# %% [markdown]
# Between photographs the particles of the model move straight, while the real packet turns and breathes. So the error falls with the number of
# photographs, and training cannot make up for photographs that were not taken. With nine, the simulated centre stays
# close to the true one, and the width falls a little short where the packet is widest: particles that go straight between photographs do not breathe enough.
#
# ## A vortex
#
# A small cloud is carried around a vortex for half a turn, and photographed six times. This velocity is no gradient: it has curl everywhere. Action Matching is asked all the
# same, and so is a stochastic interpolant, which learns a velocity of any kind.

# %%
TURN = np.pi


def turned(x, t):
    """Points after the time t of a rotation by half a turn in one unit of time."""
    cos, sin = np.cos(TURN * t), np.sin(TURN * t)
    return np.stack([cos * x[:, 0] - sin * x[:, 1], sin * x[:, 0] + cos * x[:, 1]], axis=1)


def cloud(n, seed):
    """Particles at the start."""
    return [1.5, 0.0] + 0.3 * np.random.default_rng(seed).standard_normal((n, 2))


shots = np.linspace(0, 1, 6)
vortex = di.Snapshots(times=shots, samples=[turned(cloud(500, k), t) for k, t in enumerate(shots)])
flows = {
    "Action Matching": di.ActionMatching(),
    "interpolant": di.StochasticInterpolant(interpolant="spline", gamma="none"),
}
end = turned(cloud(1000, 50), 1.0)
rows = []
for name, flow in flows.items():
    flow.fit(vortex, max_steps=400, progress=False)
    x = turned(cloud(1000, 60), 0.5)
    true = TURN * np.stack([-x[:, 1], x[:, 0]], axis=1)
    drift = flow.process_.drift(0.5, torch.as_tensor(x).float())
    arrived = flow.simulate(cloud(1000, 70), [0, 1]).states[:, -1].numpy()
    # Half of the curl is the angular velocity; centred differences of the field tell it.
    step = 0.05
    right, left = (
        flow.process_.drift(0.5, torch.as_tensor(x + s).float()) for s in ([step, 0], [-step, 0])
    )
    up, down = (
        flow.process_.drift(0.5, torch.as_tensor(x + s).float()) for s in ([0, step], [0, -step])
    )
    curl = (right[:, 1] - left[:, 1] - up[:, 0] + down[:, 0]) / (2 * step)
    rows.append(
        {
            "method": name,
            "error of the velocity": relative_error(drift, torch.as_tensor(true).float()),
            "curl": float(curl.mean()),
            "W1 at the end": di.metrics.wasserstein(arrived, end, p=1),
        }
    )
floor = di.metrics.wasserstein(turned(cloud(1000, 80), 1.0), end, p=1)
print(pd.DataFrame(rows).round(3).to_string(index=False))
print(f"true curl {2 * TURN:.3f}; W1 of another sample of the truth {floor:.3f}")

# %% [markdown]
# Both carry the *population* to its place. The cloud moves as a whole, and a shift is a gradient. The curl is another matter. Action Matching finds none, as a
# gradient has none. The interpolant could learn any curl, and finds hardly any. Photographs of different particles do not show how they turn about each
# other, so **the curl is not in the data**. Pairs of least distance assume that they do not.
#
# ## A motor
#
# A flashing ratchet is a particle on a ring of three sites, with a sawtooth potential that is switched on and off. The switching costs energy. Without
# the potential the particle only diffuses. A hundred of each kind are seen a hundred times, in one of six states: a site, and the potential on or off.
#
# At equilibrium every jump is as frequent as its reverse: **detailed balance**. The question is whether the data refute it.

# %%
ratchets = {
    "with potential": di.simulators.FlashingRatchet(potential=2.0),
    "without": di.simulators.FlashingRatchet(potential=0.0),
}


def entropy_production(process):
    """Entropy produced per unit of time, in units of Boltzmann's constant."""
    return process.entropy_production()


def clockwise(process):
    """Net turns per unit of time: the flux from site 0 to 1, with the potential on or off."""
    flux = process.fluxes()
    return (flux - flux.transpose(-1, -2))[..., [0, 3], [1, 4]].sum(-1)


rows = []
for name, ratchet in ratchets.items():
    true = ratchet.process()
    source, target = (true.generator > 0).nonzero().T.tolist()
    jumps = [
        f"{true.state_names[i]}>{true.state_names[j]}" for i, j in zip(source, target, strict=True)
    ]
    watched = di.simulate(true, None, np.linspace(0, 5, 100), n_paths=100, seed=0)
    paths = di.Paths(
        times=[watched.times] * 100,
        states=list(watched.states.numpy()),
        state_names=true.state_names,
    )
    settings = {"observation": "exact", "prior_width": None}
    balanced = di.MarkovJumpInference(jumps=di.Reversible(jumps), **settings)
    free = di.MarkovJumpInference(jumps=di.Only(jumps), **settings)
    for model in (balanced, free):
        model.fit(paths, progress=False)
    test = di.tl.likelihood_ratio(balanced, free).iloc[0]
    for quantity in (entropy_production, clockwise):
        row = free.derived(quantity).iloc[0]
        rows.append(
            {
                "ratchet": name,
                "quantity": row["quantity"],
                "value": row["value"],
                "low": row["low"],
                "high": row["high"],
                "true": float(quantity(true)),
                "p of balance": test["p_value"],
            }
        )
table = pd.DataFrame(rows)
print(table.round(4).to_string(index=False))
p_value = table.groupby("ratchet")["p of balance"].first()
assert p_value["with potential"] < 1e-6 < 0.01 < p_value["without"]
driven = table[table["ratchet"] == "with potential"]
assert driven["true"].between(driven["low"], driven["high"]).all()
resting = table[(table["ratchet"] == "without") & (table["quantity"] == "entropy_production")]
assert resting["low"].item() > 0
turns = table[table["quantity"] == "clockwise"]
assert (turns["low"] < 0).all()
assert (turns["high"] > 0).all()

# %% [markdown]
# With the potential, detailed balance is refuted beyond doubt, and both quantities are inside their 90 % intervals. Without it the test finds nothing, as it should.
#
# Look at the entropy production of the ratchet without potential: its estimate is above zero, and so is its whole interval. It cannot be negative, so errors in the rates only push it up.
# **A positive entropy production proves nothing; the test does.**
#
# The net turns have no such bias. They cannot be told from zero in either ratchet: with these rates the motor spends energy and goes nowhere. Not seeing a current
# does not prove equilibrium.

# %%
fig, ax = plt.subplots(figsize=(6.5, 1.9), layout="constrained")
half = np.abs(turns[["low", "high"]].to_numpy().T - turns["value"].to_numpy())
ax.errorbar(turns["value"], [1, 0], xerr=half, fmt="o", color=blue, capsize=4, label="90 %")
ax.plot(turns["true"], [1, 0], "|", color="black", ms=16, label="true")
ax.axvline(0, color=grey, lw=1, zorder=0)
ax.set_yticks([1, 0], turns["ratchet"])
ax.set(xlabel="net turns per unit of time", ylim=(-0.6, 1.6))
_ = ax.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)

# %% [markdown]
# ## What to distrust
#
# * **A field is one of many.** Whatever has no effect on the density is not in photographs: rotations within it, noise that its drift undoes. Each method chooses, by least energy or by its pairs.
# * **Few photographs.** Between them a field is interpolated. Leave one out and compare.
# * **States that lump others** hide currents: a motor may look balanced if its power stroke is within one state.
# * **Wrong labels** look like jumps and make balance look better than it is; see [the page of the method](../methods/markov_jump.md#when-to-trust-it-and-when-not).
#
# ## Next
#
# * [Prior knowledge as a Lagrangian](05_lagrangians.py): forces that are known.
# * [One fit, any noise](06_interpolants.py): a faster vortex, photographed eleven times.
# * [Action Matching](13_action_matching.py): densities that can be sampled at any time.

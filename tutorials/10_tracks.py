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
# # Tracks: memory, blur and change points
#
# *Is this molecule held back, free or driven, and when did that change?* A microscope gives tracks: positions, frame by frame. The usual
# answer is the slope of the mean squared displacement (MSD) in logarithms, the exponent $\alpha$. It is 1 for free diffusion, below 1 for a
# molecule that is held back, and above 1 for one that is driven.
#
# A camera bends that slope in two ways. The **error** of a position makes short displacements longer; the **blur** of an exposure makes them
# shorter. Both are of the size of the motion itself. This tutorial measures how wrong the slope is, gets the exponent by
# likelihood instead, and then finds where a track changes its motion.
#
# The tracks are simulated, so every answer can be compared with the truth. [Another tutorial](14_fractional_noise.py) has real tracks.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch

import dyninfer as di
from dyninfer.fractional import FractionalBrownianMotion, msd_exponent

blue, orange, green, grey = "#0072b2", "#d55e00", "#009e73", "0.6"

# %% [markdown]
# ## A microscope
#
# A frame takes 20 ms, and the shutter is open for all of it. A position has an error of 30 nm. One frame in ten has no spot, because the
# dye blinks. The molecule moves on a grid twenty times as fine, and the camera averages over it.

# %%
FRAME, ERROR, FINE = 0.02, 0.03, 20  # seconds, micrometres, steps a frame


def motion(alpha, coefficient, n, n_frames, seed):
    """Fractional motion with a mean squared displacement of 4 K t^α in the plane, finely."""
    times = FRAME / FINE * np.arange(n_frames * FINE + 1)
    noise = FractionalBrownianMotion(alpha / 2)
    unit = noise.sample(times, n, n_features=2, seed=seed, dtype=torch.float64).numpy()
    return np.sqrt(2 * coefficient) * unit


def film(positions, exposure, seed, blinking=0.1):
    """Table of detections of a moving molecule: a row is a spot in a frame."""
    n = len(positions)
    fine = positions[:, :-1].reshape(n, -1, FINE, 2)
    is_open = slice(0, max(1, round(exposure * FINE)))
    rng = np.random.default_rng(seed)
    spots = fine[:, :, is_open].mean(2)
    spots += ERROR * rng.normal(size=spots.shape)
    track, frame = np.nonzero(rng.random(spots.shape[:2]) >= blinking)
    x, y = spots[track, frame].T
    return pd.DataFrame({"track": track, "time": FRAME * frame, "x": x, "y": y})


def as_paths(table):
    """Tracks of a table in seconds and micrometres."""
    return di.Paths.from_dataframe(
        table, time_key="time", path_key="track", feature_keys=["x", "y"]
    )


truths = {"held back": (0.5, 0.05), "free, slow": (1.0, 0.03), "driven": (1.5, 0.3)}
tables = {
    name: film(motion(alpha, coefficient, 24, 50, seed=1), exposure=1.0, seed=2)
    for name, (alpha, coefficient) in truths.items()
}
tracks = {name: as_paths(table) for name, table in tables.items()}
print(tables["free, slow"].head(4).round(4).to_string(index=False))
tracks["free, slow"]

# %% [markdown]
# `from_dataframe` reads tables as trackers write them. Convert frames to seconds and pixels to micrometres first, or to whatever units you want the results in.
# For a missing frame there is simply no row.
#
# ## What the slope says
#
# `msd_exponent` pools the displacements of all tracks at every lag. A line through the logarithms is the usual slope. With
# `localisation_noise=True` it fits a line and a constant, which stands for the error.

# %%
lines = {name: msd_exponent(paths, pooled=True) for name, paths in tracks.items()}
bent = {
    name: msd_exponent(paths, pooled=True, localisation_noise=True)
    for name, paths in tracks.items()
}
fig, axes = plt.subplots(1, 3, figsize=(12, 3.6), layout="constrained", sharey=True)
for ax, (name, (alpha, coefficient)) in zip(axes, truths.items(), strict=True):
    line = lines[name]
    lags = line.lags
    ax.errorbar(lags, line.msd[0], line.msd_error[0], fmt="o", color="black", ms=4, label="tracks")
    ax.plot(lags, line.coefficient * lags**line.exponent, color=orange, label="line")
    ax.plot(lags, 4 * coefficient * lags**alpha, color=grey, ls="--", label="true motion")
    ax.set(title=f"{name}: α = {alpha}, the line has {line.exponent[0]:.2f}", xlabel="lag (s)")
    ax.set(xscale="log", yscale="log")
    ax.set_xticks([0.02, 0.05, 0.1, 0.2], ["0.02", "0.05", "0.1", "0.2"])
    ax.set_yticks([0.003, 0.01, 0.03, 0.1], ["0.003", "0.01", "0.03", "0.1"])
    ax.minorticks_off()
axes[0].set_ylabel("mean squared displacement (µm²)")
_ = axes[0].legend()

# %% [markdown]
# The slope gets all three wrong. The slow free molecule looks held back, because at short lags the error is most of what is seen. So does the driven
# one look less driven. The molecule that is held back looks nearly free: here blur outweighs the error.
#
# ## What the likelihood says
#
# `FractionalSDE(drift="none")` is fractional motion, and `Localisation` says how the camera sees it. The covariance of blurred positions has a closed
# form, so the likelihood is exact, with gaps and all. The error is learned. We fit twice: as if every position was taken at one moment, and with
# the exposure.


# %%
def exponent(paths, exposure):
    """Exponent with its 95 % interval, and the mean error of a position in nm."""
    camera = di.Localisation(exposure=exposure)
    model = di.FractionalSDE(drift="none", observation_noise=camera).fit(paths, progress=False)
    low, high = model.hurst_interval(0.95)
    return 2 * model.hurst_, 2 * low, 2 * high, 1000 * model.observation_noise_.mean()


rows = []
for name, paths in tracks.items():
    sharp = exponent(paths, 0.0)
    blurred = exponent(paths, 1.0)
    rows.append(
        {
            "molecule": name,
            "true": truths[name][0],
            "line": lines[name].exponent[0],
            "line and constant": bent[name].exponent[0],
            "no blur": sharp[0],
            "blur": blurred[0],
            "low": blurred[1],
            "high": blurred[2],
            "error, nm": blurred[3],
        }
    )
table = pd.DataFrame(rows).set_index("molecule")
print(table.round(2).to_string())
assert table["true"].between(table["low"], table["high"]).all()
assert ((table["line"] - table["true"]).abs() > 0.1).all()
assert (table["error, nm"] - 30).abs().max() < 5
assert table.loc["held back", "no blur"] > table.loc["held back", "high"]

# %%
fig, ax = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
place = np.arange(len(table))
half = np.abs(table[["low", "high"]].to_numpy().T - table["blur"].to_numpy())
ax.errorbar(place, table["blur"], half, fmt="o", color=blue, capsize=4, label="likelihood, 95 %")
ax.plot(place - 0.12, table["line"], "s", color=orange, label="line")
ax.plot(place + 0.12, table["no blur"], "^", color=green, label="likelihood without blur")
ax.hlines(table["true"], place - 0.25, place + 0.25, color="black", lw=1, label="true")
ax.set_xticks(place, table.index)
ax.set(ylabel="exponent α", xlim=(-0.5, 2.5), ylim=(0, 1.8))
_ = ax.legend(loc="lower right", fontsize=8)

# %% [markdown]
# With error and blur in the model all three true exponents are inside their intervals, and the error is within 5 nm of 30. A line with a constant
# takes care of the error, and so does the likelihood without blur. Both are wrong for the molecule that is held back. Much of its motion goes back and
# forth within one exposure, where the camera averages it away. For the other two, blur matters little.
#
# ## When did it change?
#
# A molecule diffuses, binds, and is carried away. One exponent for the whole track then describes nothing. `tl.segment_tracks` divides each track
# where exponent or diffusion coefficient change, and chooses how often. Give it the error and the exposure.
#
# Eight tracks change at frames 70 and 130. Eight others diffuse all the time: a method that finds changes in those would be worthless.

# %%
LENGTH, CHANGES = 200, (70, 130)
parts = {"free": (1.0, 0.1, 70), "bound": (0.5, 0.004, 60), "carried": (1.6, 0.4, 70)}


def joined(n, seed):
    """Tracks of three parts, each of which begins where the one before it ended."""
    pieces, end = [], np.zeros((n, 1, 2))
    for k, (alpha, coefficient, n_frames) in enumerate(parts.values()):
        piece = end + motion(alpha, coefficient, n, n_frames, seed=seed + k)
        pieces.append(piece[:, :-1])
        end = piece[:, -1:]
    return np.concatenate([*pieces, end], axis=1)


camera = {"error": ERROR, "exposure": 0.5}
films = {
    "changing": film(joined(8, seed=5), 0.5, seed=6, blinking=0.0),
    "steady": film(motion(1.0, 0.1, 8, LENGTH, seed=8), 0.5, seed=9, blinking=0.0),
}
segments = {name: di.tl.segment_tracks(as_paths(table), **camera) for name, table in films.items()}
printed = ["segment", "start", "end", "alpha", "alpha_low", "alpha_high", "K", "K_low", "K_high"]
print(segments["changing"].query("path == '1'")[printed].round(3).to_string(index=False))

# %%
one = films["changing"].query("track == 1")
own = segments["changing"].query("path == '1'")
fig, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for row, color in zip(own.itertuples(), (blue, orange, green), strict=False):
    inside = one[one["time"].between(row.start, row.end)]
    axes[0].plot(inside["x"], inside["y"], ".-", color=color, lw=0.8, ms=3)
    axes[1].fill_between(
        [row.start, row.end], row.alpha_low, row.alpha_high, color=color, alpha=0.25
    )
    axes[1].plot([row.start, row.end], [row.alpha] * 2, color=color, label=f"K = {row.K:.3f}")
bounds = FRAME * np.array([0, *CHANGES, LENGTH])
for (alpha, _, _), begin, end in zip(parts.values(), bounds[:-1], bounds[1:], strict=True):
    axes[1].plot([begin, end], [alpha] * 2, color="black", ls="--", lw=1)
axes[0].set(xlabel="x (µm)", ylabel="y (µm)", title="a track, coloured by segment", aspect="equal")
axes[1].set(xlabel="time (s)", ylabel="exponent α", ylim=(0, 2), title="found, 95 % (dashed: true)")
_ = axes[1].legend(loc="lower right")

# %% [markdown]
# One track proves little. Over all of them: how many changes are found within ten frames of a true one, how far they are off, and how many are found where there is none?


# %%
def found_changes(table):
    """Frames at which segments begin, for every track; the first begins at 0."""
    frames = (table["start"] / FRAME).round().astype(int)
    return [list(f[f > 0]) for _, f in frames.groupby(table["path"])]


distances, n_extra = [], 0
for frames in found_changes(segments["changing"]):
    nearest = [min((abs(f - c) for f in frames), default=LENGTH) for c in CHANGES]
    distances += nearest
    n_extra += max(len(frames) - len(CHANGES), 0)
distances = np.array(distances)
is_found = distances <= 10
n_false = sum(map(len, found_changes(segments["steady"])))
print(
    f"{is_found.sum()} of {len(distances)} changes found within 10 frames, "
    f"{np.median(distances[is_found]):.0f} frames off in the middle; {n_extra} too many"
)
print(f"{n_false} changes found in {len(films['steady'].groupby('track'))} steady tracks")
assert is_found.mean() >= 0.75
assert n_false <= 1
whole = segments["changing"].groupby("path").filter(lambda rows: len(rows) == len(parts))
alphas = np.resize([alpha for alpha, _, _ in parts.values()], len(whole))
covered = (whole["alpha_low"] < alphas) & (alphas < whole["alpha_high"])
width = (whole["alpha_high"] - whole["alpha_low"]).groupby(whole["segment"]).median()
print(f"{covered.sum()} of {len(whole)} intervals hold the true exponent")
print("median width:", dict(zip(parts, width.round(2), strict=True)))
assert covered.mean() > 0.85

# %% [markdown]
# The moments of change are found to a few frames. The exponents of single segments are known far less well, least of all that of a bound molecule: its
# steps are no larger than the error. That it *is* bound shows in the diffusion coefficient, which is far smaller. *How* it moves there does
# not show.
#
# ## What to distrust
#
# * **An exponent is not a mechanism.** Crowding, confinement and binding all give $\alpha < 1$. Confined motion bends towards a plateau at long lags; look
#   at the MSD there, and fit `drift="linear"` for a molecule in a trap.
# * **The error of a position.** An error that is given too small is read as a low exponent, in segments above all. Learn it from many
#   tracks as above, or from beads that do not move.
# * **Different molecules in one fit.** All molecules shared one exponent here. If some are free and some are held back, the common exponent describes neither.
# * **Drift of the stage** looks driven. Subtract it, or fit `drift="constant"`.
# * **Short tracks.** From one track of 50 frames, the exponent is known to about ±0.3. Pool tracks, or read the intervals.
# * **Neighbours of a change.** A segment needs ten frames at least, and its interval takes the moment of change as known.
#
# ## Next
#
# * [The guide to tracks](../guide/tracks.md): units, gaps, frames, and scores on the Anomalous Diffusion challenge.
# * [Memory: proteins in a nucleus and a river](14_fractional_noise.py): real tracks, forecasts, memory in a landscape.

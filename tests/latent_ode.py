"""A latent neural ODE on irregular paths: a path method outside the package.

After Rubanova, Chen, Duvenaud. Latent ODEs for irregularly-sampled time series. NeurIPS 2019.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dyninfer.data.paths.observed import past_of
from dyninfer.diffusions import Diffusion
from dyninfer.estimators import PathEstimator
from dyninfer.learning.objective import Objective
from dyninfer.learning.training import Training


class LatentFlow(Diffusion):
    """A flow of latent states, what reads them off observations, and what decodes them."""

    def __init__(self, scaling, latent_dim, width):
        super().__init__()
        d, self.scaling = scaling.n_features, scaling
        self.reader = nn.GRU(2 * d + 1, width, batch_first=True)
        self.to_latent = nn.Linear(width, latent_dim)
        self.field = nn.Sequential(
            nn.Linear(latent_dim, width), nn.Tanh(), nn.Linear(width, latent_dim)
        )
        self.decoder = nn.Sequential(nn.Linear(latent_dim, width), nn.Tanh(), nn.Linear(width, d))

    def drift(self, t, x):
        return self.scaling.user_rates(self.field(x.to(self.to_latent.weight)).to(x))

    def encode(self, series):
        """Latent states ``(path, time, latent_dim)`` at every observation, from those until then."""
        gaps = series.time.diff(dim=1, prepend=series.time[:, :1])
        inputs = torch.cat([series.value, series.mask, gaps[..., None]], dim=2)
        return self.to_latent(self.reader(inputs)[0])

    def decode(self, z):
        return self.scaling.user_states(self.decoder(z.to(self.to_latent.weight)))


class Series(NamedTuple):
    """Paths in scaled units, and the observation up to which each is read."""

    time: Tensor  # (path, time)
    value: Tensor  # (path, time, feature), 0 where nothing was observed
    mask: Tensor  # (path, time, feature), 1 where something was
    cut: Tensor  # (path,)


def series_of(paths, scaling, dtype=torch.float32):
    time, value, mask = paths.padded()
    mask = mask.to(dtype)
    value = scaling.states(value.to(dtype)) * mask
    cut = torch.as_tensor(paths.lengths) - 1
    return Series(scaling.times(time).to(dtype), value, mask, cut)


@dataclass(kw_only=True, repr=False, eq=False)
class LatentODE(PathEstimator):
    r"""Latent states that flow, read from the past of a path and decoded into its future.

    .. math:: \dot z = f(z), \qquad z(t_k) = g(o_1, \ldots, o_k), \qquad o_j \approx h(z(t_j))

    Parameters
    ----------
    latent_dim : int
        Number of latent states.
    width : int
        Units of the reader and of the hidden layers.
    training : Training, optional
        Settings of the training loop.
    """

    citation = "@inproceedings{rubanova2019latent, title={Latent {ODEs}}}"
    latent_dim: int = 4
    width: int = 32
    training: Training | None = None

    def build(self, data, scaling):
        return LatentFlow(scaling, self.latent_dim, self.width)

    def make_objective(self, process, data, scaling, seed):
        return ForecastError(series_of(data, scaling))

    def states_at(self, paths, time, seed=0, n_draws=1):
        past = past_of(paths, time)
        with torch.no_grad():
            states = self.process_.encode(series_of(past, self.scaling_))
        last = torch.as_tensor(past.lengths) - 1
        return states[torch.arange(len(past)), last].repeat_interleave(n_draws, dim=0)

    def decode(self, states):
        with torch.no_grad():
            return self.process_.decode(states)


class ForecastError(Objective):
    """Squared error of what comes after a random observation, from what came until then."""

    def __init__(self, series):
        self.series = series

    def batch(self, n, generator):
        rows = torch.randint(len(self.series.time), (n,), generator=generator)
        part = Series(*(column[rows] for column in self.series))
        # Up to the last observation but one, so that there is one to forecast.
        cut = torch.rand(n, generator=generator) * part.cut.clamp(min=1)
        return part._replace(cut=cut.long())

    def loss(self, process, batch):
        rows = torch.arange(len(batch.time))
        z = process.encode(batch)[rows, batch.cut]
        begin = batch.time[rows, batch.cut]
        error = torch.zeros_like(begin)
        for k in range(batch.time.shape[1]):
            # Until its cut a path stands still, for the gaps that lie before it are empty.
            end = torch.maximum(batch.time[:, k], begin)
            z = runge_kutta(process.field, z, (end - begin)[:, None])
            begin = end
            misfit = (process.decoder(z) - batch.value[:, k]).square() * batch.mask[:, k]
            error = error + misfit.sum(1) * (k >= batch.cut)
        return {"loss": error / batch.mask.sum((1, 2))}


def runge_kutta(field, z, h):
    """One step of the classical method, each row with its own length ``(n, 1)``."""
    k1 = field(z)
    k2 = field(z + h / 2 * k1)
    k3 = field(z + h / 2 * k2)
    k4 = field(z + h * k3)
    return z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)

"""A density given by a sampler instead of by snapshots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor

from dyninfer.data.arrays import as_list
from dyninfer.data.snapshots import Snapshots
from dyninfer.data.time_reading import as_requested
from dyninfer.learning.functions import check_dense, takes_two
from dyninfer.learning.random import borrowed_generator
from dyninfer.learning.scaling import Scaling
from dyninfer.learning.settings import brief
from dyninfer.transport.couplings.folds import Folds
from dyninfer.transport.curves.base import Curve, DensityBatch


@dataclass(frozen=True, eq=False)
class DensityCurve:
    """A density that can be sampled at any time; fit it in place of snapshots.

    Parameters
    ----------
    sampler : callable ``(t, n) -> (n, d)``
        Takes a tensor of times ``(n,)`` and returns one sample for each.
    times : pair of floats
        First and last time.
    features : sequence of str, optional
        Names of the features.

    Examples
    --------
    >>> import torch
    >>> from dyninfer import DensityCurve
    >>> curve = DensityCurve(lambda t, n: t[:, None] + torch.randn(n, 2), times=(0.0, 1.0))
    >>> curve.pilot(seed=0).n_features
    2
    """

    sampler: Callable[[Tensor, int], Tensor]
    times: tuple[float, float]
    features: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not takes_two(self.sampler):
            raise TypeError(f"sampler must be a function (t, n) -> x, found {brief(self.sampler)}")
        times = as_requested(self.times)
        # NaN is not before any time, and infinity is none.
        is_pair = len(times) == 2 and times[0] < times[1]
        if not is_pair or not np.isfinite(times).all():
            raise ValueError(
                f"times must be (first, last) with first < last, found {brief(self.times)}"
            )
        first, last = times.tolist()
        object.__setattr__(self, "times", (first, last))
        names = as_list(self.features, "features", "names of features")
        object.__setattr__(self, "features", tuple(names))

    def sample(self, t: Tensor) -> Tensor:
        """Samples ``(n, d)`` at times ``(n,)``; a ValueError reports an invalid sampler."""
        x = self.sampler(t, len(t))
        if isinstance(x, Tensor):
            check_dense(x, "the sampler")
        if not isinstance(x, Tensor) or x.ndim != 2 or len(x) != len(t):
            answer = type(x).__name__
            if hasattr(x, "shape"):
                answer = f"shape {tuple(x.shape)}"
            raise ValueError(
                f"the sampler must return a tensor of shape ({len(t)}, features) for {len(t)} "
                f"times; it returned {answer}"
            )
        return x

    def digest(self) -> str:
        """Fingerprint of the times; the samples themselves have none."""
        return repr(tuple(map(float, self.times)))

    def pilot(self, seed: int = 0, n_times: int = 17, n: int = 512) -> Snapshots:
        """Snapshots of the curve, from which scaling and summaries are computed."""
        first, last = self.times
        times = torch.linspace(first, last, n_times, dtype=torch.float64)
        samples = []
        with borrowed_generator(seed, "pilot"):
            for t in times:
                x = self.sample(t.expand(n).float())
                samples.append(x.detach().cpu().numpy())
        snapshots = Snapshots(
            times=times.numpy(),
            samples=tuple(samples),
            features=tuple(self.features),
        )
        return snapshots.check_finite()


class SampledCurve(Curve):
    """Samples drawn from a :class:`DensityCurve` at the times that are asked for."""

    def __init__(
        self, curve: DensityCurve, scaling: Scaling, device: torch.device, dtype: torch.dtype
    ):
        self.curve = curve
        self.scaling = scaling
        self.like = torch.empty(0, device=device, dtype=dtype)

    def draw(self, t: Tensor, density: Tensor, generator: Generator) -> DensityBatch:
        """See :meth:`Curve.draw`."""
        start = torch.zeros_like(t)
        end = torch.ones_like(t)
        # The sampler is the user's and draws from torch's global generator: seeded from ours.
        seed = int(torch.randint(2**31, (), generator=generator, device=generator.device))
        with borrowed_generator(seed, "sampler", device=t.device):
            state = self._states(t)
            start_state = self._states(start)
            end_state = self._states(end)
        return DensityBatch(
            time=t,
            state=state,
            density=density,
            start_time=start,
            start_state=start_state,
            end_time=end,
            end_state=end_state,
            gap=end,
        )

    def folds(self, fraction: float, seed: int) -> Folds[Curve]:
        """See :meth:`Curve.folds`: nothing is held out, for fresh draws validate."""
        parts: list[tuple[Curve, Curve]] = []
        if fraction:
            parts.append((self, self))
        return Folds(self, parts, share=0.0)

    def _states(self, t: Tensor) -> Tensor:
        user_times = self.scaling.user_times(t)
        x = self.curve.sample(user_times).detach()
        return self.scaling.states(x.to(self.like))

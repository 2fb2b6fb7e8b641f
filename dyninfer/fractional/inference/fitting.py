"""Training of a nonlinear model: batches of paths or of windows of them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.inference.beginning import begin
from dyninfer.fractional.inference.neural import NeuralModel
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.series import Series
from dyninfer.fractional.settings import Variational
from dyninfer.learning.objective import Objective
from dyninfer.learning.parallel import pick_device, rank
from dyninfer.learning.random import stream, subseed
from dyninfer.learning.run import Run
from dyninfer.learning.training import Result, Training, train

# Pace of index, scale, rate and noise: the bound is flat where they make up for each other.
_PRIOR_PACE = 5.0


class Batch(NamedTuple):
    """Paths of one step, and where their windows begin."""

    rows: Tensor
    start: Tensor


class BoundObjective(Objective):
    """Minus the evidence lower bound per observed value.

    Parameters
    ----------
    prior : LinearPrior
        Kept within its bounds.
    series : Series
        Standardised.
    settings : Variational
        Its ``n_samples``, ``window``, ``grow``, ``anneal`` and ``path_weight`` count here.
    validation_set : Series, optional
    seed : int
        Of the noise of every step, and of every validation.
    """

    def __init__(
        self,
        prior: LinearPrior,
        series: Series,
        settings: Variational,
        validation_set: Series | None = None,
        seed: int = 0,
    ):
        self.prior = prior
        self.series = series
        self.settings = settings
        self.validation_set = validation_set
        self.seed = seed
        self.step = 0
        self.longest = series.times.shape[1]
        self.shortest = self.longest
        if settings.window is not None:
            self.shortest = min(settings.window, self.longest)
        # The number of the last observed time is the length of a path.
        device = series.times.device
        numbers = torch.arange(1, self.longest + 1, device=device)
        observed_numbers = series.is_observed * numbers
        self.lengths = observed_numbers.amax(1)

    def n_drawn(self, n: int) -> int:
        """At most every path once."""
        return min(n, len(self.series))

    def batch(self, n: int, generator: torch.Generator) -> Batch:
        """Draw paths without replacement, and a window of each."""
        device = self.series.times.device
        draw: Any = {"generator": generator, "device": device}
        order = torch.randperm(len(self.series), **draw)
        rows = order[:n]
        n_rows = len(rows)
        lengths = self.lengths[rows]
        last_start = lengths - self._length()
        n_starts = (last_start + 1).clamp_min(1)
        share = torch.rand(n_rows, dtype=torch.float64, **draw)
        start = share * n_starts
        return Batch(rows=rows, start=start.long())

    def loss(self, process: Any, batch: Batch) -> dict[str, Tensor]:
        """The loss, with the fit and the divergence it is made of, per observed value."""
        length = self._length()
        if length < self.longest:
            series = self.series.window(batch.rows, batch.start, length)
        else:
            series = self.series[batch.rows]
        # Not drawn with the batch: the host would wait for it. Each process has noise of its own.
        seed = subseed(self.seed, "step", self.step, rank())
        n_samples = self.settings.n_samples
        guided, _ = process.guided(series, n_samples, seed)
        # Per observed value, so that a learning rate means the same for any number of them.
        count = series.full_mask.sum()
        of_paths = guided.fits.mean(0)
        fit = of_paths.sum() / count
        log_ratio = guided.path_weights.mean(0).sum()
        divergence = -log_ratio / count
        return {
            "loss": self._annealed() * divergence - fit,
            "fit": fit,
            "divergence": divergence,
            "hurst": process.prior.hurst.mean(),
        }

    def observe(self, batch: Batch, terms: dict[str, Tensor]) -> None:
        """Count the step, and keep the prior's parameters where they may be."""
        self.step += 1
        self.prior.clamp()

    def validation(self, process: Any) -> float | None:
        """Minus the bound of the validation set per observed value, with the same noise always."""
        if self.validation_set is None:
            return None
        # The same noise in every validation: differences are then those of the model.
        n_samples = self.settings.n_samples
        weights = process.log_weights(self.validation_set, n_samples, self.seed)
        bounds = weights.mean(0)
        total = float(bounds.sum())
        return -total / self.validation_set.count

    def state(self) -> dict[str, Tensor]:
        """The number of steps."""
        return {"step": torch.tensor(self.step)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.step = int(state["step"])

    def _length(self) -> int:
        """Times of a window in this step."""
        if not self.settings.grow:
            return self.shortest
        share = min(1.0, self.step / self.settings.grow)
        whole_growth = self.longest - self.shortest
        growth = round(share * whole_growth)
        return self.shortest + growth

    def _annealed(self) -> float:
        """Weight of the divergence in this step."""
        whole = self.settings.path_weight
        if not self.settings.anneal:
            return whole
        share = (self.step + 1) / self.settings.anneal
        return whole * min(1.0, share)


def fit_by_bound(
    model: NeuralModel, series: Series, settings: Variational, training: Training, run: Run
) -> Result:
    """Train a model in place, on the device of the training, where it stays."""
    device = pick_device(training.device)
    fraction = training.validation_fraction
    series, validation_set = _split(series, fraction, run.seed)
    begin(model, series)
    model.to(device)
    if validation_set is not None:
        validation_set = validation_set.to(device)
    objective = BoundObjective(
        prior=model.prior,
        series=series.to(device),
        settings=settings,
        validation_set=validation_set,
        seed=run.seed,
    )
    paces = {"prior.": _PRIOR_PACE}
    if model.latent:
        # The readout makes up for scale and noise, so their pace gains nothing.
        paces = {}
    return train(
        model,
        objective,
        training,
        seed=run.seed,
        checkpoint=run.checkpoint,
        resume=run.resume,
        progress=run.progress,
        identity=run.identity,
        paces=paces,
    )


def _split(series: Series, fraction: float, seed: int) -> tuple[Series, Series | None]:
    """Paths to learn from, and to validate on; of a single path nothing is set aside."""
    n_paths = len(series)
    n_validation = math.ceil(fraction * n_paths)
    if n_validation == 0 or n_paths == 1:
        return series, None
    generator = stream(seed, "validation paths")
    order = torch.randperm(n_paths, generator=generator)
    validation_rows = order[:n_validation]
    training_rows = order[n_validation:]
    return series[training_rows], series[validation_rows]

"""Training of a nonlinear model: batches of paths or of windows of them, and where the networks begin."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dyninfer.fractional.inference.likelihood import maximise
from dyninfer.fractional.inference.neural import NeuralModel
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.series import Series
from dyninfer.learning.objective import Objective
from dyninfer.learning.parallel import pick_device
from dyninfer.learning.training import Result, Training, train

_BEGIN_PATHS, _BEGIN_STEPS, _BEGIN_NUMBERS = 16, 15, 20_000
_PACE = 5.0  # of index, scale, rate and noise: the bound is flat where they make up for each other
_AXES_NUMBERS = 4_000_000  # of which principal axes take a second


def default_training() -> Training:
    """Settings of the training loop that suit a few dozen paths."""
    return Training(
        max_steps=500,
        batch_size=16,
        learning_rate=1e-2,
        warmup_steps=20,
        ema_decay=0.99,
        validation_fraction=0.0,
        log_every=10,
    )


class Batch(NamedTuple):
    """Paths of one step, where their windows begin, and the seed of their noise."""

    rows: Tensor
    start: Tensor
    seed: Tensor


class BoundObjective(Objective):
    """Minus the evidence lower bound per observed number, for :func:`dyninfer.learning.training.train`.

    Parameters
    ----------
    prior : LinearPrior
        Kept within its bounds.
    series, held_out : Series
        Standardised; ``held_out`` may be None.
    n_samples : int
        Draws of every path.
    window : int, optional
        Times of the random windows that are taken from the paths; None takes whole paths.
    grow : int
        Steps over which windows grow to whole paths; 0 keeps them.
    anneal : int
        Steps over which the divergence from the prior comes to count fully.
    """

    def __init__(
        self,
        prior: LinearPrior,
        series: Series,
        held_out: Series | None,
        n_samples: int,
        window: int | None,
        grow: int,
        anneal: int,
        seed: int,
    ):
        self.series, self.held_out, self.n_samples, self.seed = series, held_out, n_samples, seed
        self.whole = series.times.shape[1]
        self.window = self.whole if window is None else min(window, self.whole)
        self.prior, self.grow, self.anneal, self.step = prior, grow, anneal, 0
        seen = series.mask.expand_as(series.values).any(-1)
        self.lengths = (seen * torch.arange(1, seen.shape[1] + 1, device=seen.device)).amax(1)

    def batch(self, n: int, generator: torch.Generator) -> Batch:
        """Draw paths without replacement, and a window of each."""
        device = self.series.times.device
        rows = torch.randperm(len(self.series), generator=generator, device=device)[:n]
        share = torch.rand(len(rows), generator=generator, device=device, dtype=torch.float64)
        room = (self.lengths[rows] - self._length() + 1).clamp_min(1)
        seed = torch.randint(2**62, (len(rows),), generator=generator, device=device)
        return Batch(rows, (share * room).long(), seed)

    def _length(self) -> int:
        """Times of a window in this step."""
        done = min(1.0, self.step / self.grow) if self.grow else 0.0
        return self.window + round(done * (self.whole - self.window))

    def loss(self, model: Any, batch: Batch) -> dict[str, Tensor]:
        """The loss, with the fit and the divergence it is made of, per observed number."""
        part, length = self.series[batch.rows], self._length()
        if length < self.whole:
            part = self.series.window(batch.rows, batch.start, length)
        guided, _ = model.guided(part, self.n_samples, int(batch.seed[0]))
        count = part.mask.expand_as(part.values).sum()
        fit, divergence = (
            guided.fits.mean(0).sum() / count,
            -guided.path_weights.mean(0).sum() / count,
        )
        share = 1.0 if not self.anneal else min(1.0, (self.step + 1) / self.anneal)
        return {
            "loss": share * divergence - fit,
            "fit": fit,
            "divergence": divergence,
            "hurst": model.prior.hurst.mean(),
        }

    @torch.no_grad()
    def observe(self, batch: Batch, terms: dict[str, Tensor]) -> None:
        """Count the step, and keep the prior's parameters where they may be."""
        self.step += 1
        for name, (low, high) in self.prior.bounds().items():
            parameter = getattr(self.prior, name, None)
            if parameter is not None and parameter.requires_grad:
                parameter.clamp_(low, high)

    @torch.no_grad()
    def validation(self, model: Any) -> float | None:
        """Minus the bound of held-out paths per observed number, with the same noise every time."""
        if self.held_out is None:
            return None
        weights = model.log_weights(self.held_out, self.n_samples, self.seed)
        return -float(
            weights.mean(0).sum() / self.held_out.mask.expand_as(self.held_out.values).sum()
        )

    def state(self) -> dict[str, Tensor]:
        """The number of steps."""
        return {"step": torch.tensor(self.step)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Undo :meth:`state`."""
        self.step = int(state["step"])


def fit_by_bound(
    model: NeuralModel,
    series: Series,
    settings: Training,
    *,
    n_samples: int,
    window: int | None,
    grow: int,
    anneal: int,
    seed: int,
    checkpoint: str | Path | None,
    resume: bool,
    progress: bool,
    identity: dict[str, str],
) -> Result:
    """Train a model in place, on the device of the settings; it ends on the CPU. See :func:`dyninfer.learning.training.train`."""
    device = pick_device(settings.device)
    order = torch.randperm(len(series), generator=torch.Generator().manual_seed(seed))
    n_held = math.ceil(settings.validation_fraction * len(series)) if len(series) > 1 else 0
    learned, held_out = (
        series[order[n_held:]],
        series[order[:n_held]].to(device) if n_held else None,
    )
    begin(model, learned)
    objective = BoundObjective(
        model.to(device).prior, learned.to(device), held_out, n_samples, window, grow, anneal, seed
    )
    result = train(
        model,
        objective,
        settings,
        seed=seed,
        checkpoint=checkpoint,
        resume=resume,
        progress=progress,
        identity=identity,
        paces={} if model.latent else {"prior.": _PACE},
    )
    model.cpu()
    return result


def begin(model: NeuralModel, series: Series) -> None:
    """Start a model at the linear one: of a few paths by exact likelihood, of latent states by principal axes."""
    if model.latent:
        _begin_latent(model, series)
    else:
        few = series[torch.arange(min(len(series), _BEGIN_PATHS))]
        if few.values.numel() <= _BEGIN_NUMBERS:
            maximise(model.prior, few, _BEGIN_STEPS)


def _begin_latent(model: NeuralModel, series: Series) -> None:
    """Principal axes scaled to unit variance; amplitude and noise from their scores' moves and from what is left."""
    few = max(_BEGIN_PATHS, _AXES_NUMBERS // (series.times.shape[1] * series.values.shape[-1]))
    series = series[torch.arange(min(few, len(series)))]
    seen = series.mask.expand_as(series.values)
    rows = series.values[seen.any(-1)]
    centre, d = rows.mean(0), model.prior.n_states
    _, singular, axes = torch.linalg.svd(rows - centre, full_matrices=False)
    d_found = min(d, len(singular))
    deviation = (singular[:d_found] / len(rows) ** 0.5).clamp_min(1e-3)
    loading = rows.new_zeros(rows.shape[1], d)
    loading[:, :d_found] = axes[:d_found].T * deviation
    scores = (series.values - centre) @ torch.linalg.pinv(loading).T
    both = (seen.any(-1)[:, 1:] & seen.any(-1)[:, :-1]).unsqueeze(-1)
    moves = (scores.diff(dim=1).square() * both).sum((0, 1)) / both.sum().clamp_min(1)
    rest = (rows - centre - ((rows - centre) @ torch.linalg.pinv(loading).T) @ loading.T).std(0)
    with torch.no_grad():
        if model.prior.log_amplitude.requires_grad:
            model.prior.log_amplitude.copy_(0.5 * moves.clamp(1e-4, 1.0).log())
        if model.prior.log_noise.requires_grad:
            # A posterior that has seen the beginning alone leaves much to the noise at first.
            least = 0.1 if model.read_first is None else 0.7
            model.prior.log_noise.copy_(rest.clamp(least, 1.0).log())
    model.begin(loading, centre)

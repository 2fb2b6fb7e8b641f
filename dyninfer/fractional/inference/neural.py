"""A model with networks: its drift, amplitude, decoder, encoder and control, and the bound of what is seen."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dyninfer.fractional.inference.bound import Guided, guided_paths, normal_fit
from dyninfer.fractional.inference.encoder import Encoding, RecurrentEncoder
from dyninfer.fractional.inference.finite import check_finite, setting_of, traced
from dyninfer.fractional.inference.guide import PseudoObservations
from dyninfer.fractional.inference.modules import (
    CoordinateAmplitude,
    Decoder,
    ResidualControl,
    StateDrift,
    call,
    shaped,
)
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.series import Series
from dyninfer.learning.random import mix64

_NUMBERS = 2_000_000  # normals drawn at once outside training


class Parts(NamedTuple):
    """Which networks a model has: a name of ours, a module or function of the user's, or None where there is none.

    See :class:`dyninfer.FractionalSDE` for their inputs and outputs.
    """

    drift: Any = None
    amplitude: Any = None
    encoder: Any = None
    decoder: Any = None
    control: Any = "network"


class NeuralModel(nn.Module):
    """``dX = [a − θ X + f(t, X)] dt + σ g(t, X) ∘ dB̂``, decoded and encoded by networks; all standardised.

    Parameters
    ----------
    prior : LinearPrior
        The linear part, with the noise of what is seen.
    n_features : int
    parts : Parts
    latent : bool
        Whether what is seen is decoded from the state, and the guide led by an encoder's pseudo-observations.
    content_dim, width, depth, n_steps : int
    read_first : int, optional
        How many observations of a path encoder and guide may see.
    span : (float, float)
        First time, and the horizon.
    units : (Tensor, Tensor)
        Shift and scale of the state in the user's units, in which the user's own fields are asked; 0 and 1 if latent.
    """

    shift: Tensor
    scale: Tensor

    def __init__(
        self,
        prior: LinearPrior,
        n_features: int,
        parts: Parts,
        *,
        latent: bool,
        content_dim: int,
        width: int,
        depth: int,
        n_steps: int,
        read_first: int | None,
        span: tuple[float, float],
        units: tuple[Tensor, Tensor],
    ):
        super().__init__()
        self.prior, self.latent, self.n_steps = prior, latent, n_steps
        self.read_first, self.content_dim = read_first, content_dim
        self.begins, self.n_features = span[0], n_features
        self.begun = torch.tensor(
            0
        )  # steps of training; a number would be compiled anew in every step
        self.suspected: str | None = None  # when, while modules are searched for what is not finite
        self.register_buffer("shift", units[0])
        self.register_buffer("scale", units[1])
        d, memory = prior.n_states, int((prior.noise.nodes > 0).sum())
        self.own = {name for name, part in parts._asdict().items() if callable(part)}
        reads = latent or parts.control is not None
        unit = (prior.tau * span[1]) ** 0.5  # of time: between the typical gap and the horizon
        made: dict[str, Any] = {
            "drift": lambda: StateDrift(d, width, depth, unit),
            "amplitude": lambda: CoordinateAmplitude(d, width),
            "encoder": lambda: RecurrentEncoder(
                n_features, d if latent else 0, content_dim, width, prior.tau
            ),
            "decoder": lambda: Decoder(
                d, n_features, content_dim, width, depth, parts.decoder == "linear"
            ),
        }
        for name, build in made.items():
            part = getattr(parts, name)
            wanted = (
                part is not None and (name != "encoder" or reads) and (name != "decoder" or latent)
            )
            self._keep(name, part, build if wanted else None)
        context = getattr(self.encoder, "n_context", None) if reads else None
        if parts.control == "network" and context is None:
            raise ValueError(
                "encoder must say the length of its context: give it an attribute n_context, or set control=None"
            )
        self._keep(
            "control",
            parts.control,
            None
            if parts.control is None
            else lambda: ResidualControl(d, memory, context or 0, width, depth, span[1], unit),
        )

    def _keep(self, name: str, part: Any, build: Any) -> None:
        """Own a copy of the user's module, or a network in its place, or nothing."""
        if build is None:
            setattr(self, name, None)
        elif name in self.own:
            setattr(self, name, copy.deepcopy(part) if isinstance(part, nn.Module) else part)
        else:
            setattr(self, name, build())

    def in_precision(self, dtype: torch.dtype) -> NeuralModel:
        """Our own networks in another number format; the linear part stays in float64, the user's modules as they are."""
        for name, module in self.named_children():
            if name != "prior" and name not in self.own:
                module.to(dtype)
        return self

    def begin(self, axes: Tensor, centre: Tensor) -> None:
        """Start encoder and decoder from a linear readout: ``axes`` ``(F, d)`` and ``centre`` ``(F,)``."""
        if isinstance(self.encoder, RecurrentEncoder):
            self.encoder.begin(axes, (2 * self.prior.log_noise.detach()).exp())
        if isinstance(self.decoder, Decoder):
            self.decoder.begin(axes, centre)

    def field(self, name: str, t: Tensor, x: Tensor) -> Tensor:
        """A standardised field of the name ``drift`` (beside the linear one) or ``amplitude``."""
        if name not in self.own:
            return self._ask(name, t, x)
        found = shaped(setting_of(name), self._ask(name, t, self.shift + self.scale * x), x.shape)
        return found / self.scale if name == "drift" else found

    def _ask(self, name: str, *arguments: Tensor | None) -> Any:
        """What a module returns."""
        found = call(getattr(self, name), *arguments)
        if self.suspected is not None and name in self.own:
            check_finite(setting_of(name), found, arguments, self.suspected)
        return found

    def whole_drift(self, t: Tensor, x: Tensor) -> Tensor:
        """``a − θ x + f(t, x)``."""
        line = self.prior.drift(t, x)
        return line if self.drift is None else line + self.field("drift", t, x)

    def whole_amplitude(self, t: Tensor, x: Tensor) -> Tensor:
        """``σ g(t, x)``."""
        scale = self.prior.scale.expand_as(x)
        return scale if self.amplitude is None else scale * self.field("amplitude", t, x)

    def decode(self, x: Tensor, content: Tensor | None = None) -> Tensor:
        """Means of what is seen of states ``(..., P, L, d)``, of paths with content ``(P, c)``: ``(..., P, L, F)``."""
        if not self.latent:
            return x
        lead = x.shape[:-1]
        rows = None
        if content is not None:
            rows = content.unsqueeze(1).expand(*lead, content.shape[-1]).flatten(0, -2)
        x = x.flatten(0, -2)
        return shaped(
            "decoder", self._ask("decoder", x, rows), (len(x), self.n_features)
        ).unflatten(0, lead)

    def encode(self, series: Series) -> Encoding | None:
        """What the encoder reads of the observations themselves, without further times."""
        if self.encoder is None:
            return None
        readable = self._readable(series)
        rows = series.placed.unsqueeze(-1).expand(-1, -1, series.values.shape[-1])
        values, mask = (readable.values.gather(1, rows), self._masks(readable).gather(1, rows))
        times = series.times.gather(1, series.placed)
        if "encoder" not in self.own:
            return self._ask("encoder", values, mask.double(), times - self.begins)
        found = Encoding(*self._ask("encoder", values, mask.double(), times))
        if self.latent:
            wanted = (*times.shape, self.prior.n_states)
            shaped("the encoder's mean", found.mean, wanted)
            shaped("the encoder's log_variance", found.log_variance, wanted)
        if "control" not in self.own and self.control is not None:
            size: Any = getattr(self.encoder, "n_context", None)
            shaped("the encoder's context", found.context, (*times.shape, size))
        if self.content_dim:
            shaped("the encoder's content", found.content, (len(times), self.content_dim))
        return found

    def steer(self, t: Tensor, x: Tensor, *others: Tensor) -> Tensor:
        """Residual control; our own counts times from the first of the data, which single precision may not tell apart."""
        if "control" not in self.own:
            return self._ask("control", t - self.begins, x, *others)
        return shaped("control", self._ask("control", t, x, *others), x.shape)

    def guided(self, series: Series, n_samples: int, seed: int) -> tuple[Guided, Tensor | None]:
        """Draws near the posterior with their weights, and the content of the paths.

        Raises
        ------
        ValueError
            If what a module of the user's own returns is not finite, or parameters are no longer.
        """
        if self.training and torch.is_grad_enabled():
            self.begun = self.begun + 1
        return traced(
            self,
            lambda: self._guided(series, n_samples, seed),
            lambda found: found[0].log_weights,
            lambda: (
                f"in step {int(self.begun)} of this run of training"
                if self.training
                else "in draws of the posterior"
            ),
        )

    def _guided(self, series: Series, n_samples: int, seed: int) -> tuple[Guided, Tensor | None]:
        read, readable = self.encode(series), self._readable(series)
        context = (
            None if read is None or self.control is None else self._spread(series, read.context)
        )
        content = None if read is None else read.content

        def likelihood(x: Tensor) -> Tensor:
            return normal_fit(self.prior, series, self.decode(x, content))

        guided = guided_paths(
            self.prior,
            series,
            n_samples,
            extra_drift=None if self.drift is None else lambda t, x: self.field("drift", t, x),
            amplitude=None
            if self.amplitude is None
            else lambda t, x: self.field("amplitude", t, x),
            residual=None if self.control is None else self.steer,
            pseudo=self._pseudo(readable, read),
            likelihood=likelihood,
            context=context,
            rests=None if self.read_first is not None else _last_seen(series),
            n_steps=self.n_steps,
            seed=seed,
        )
        return guided, content

    def pieces(self, series: Series, n_samples: int) -> list[Tensor]:
        """Numbers of paths that are drawn together outside training."""
        widest = max(
            self.n_steps * self.prior.n_states * 8, series.values.shape[-1]
        )  # of a draw, at a time
        size = n_samples * series.times.shape[1] * widest
        return list(torch.arange(len(series)).split(max(1, _NUMBERS // size)))

    @torch.no_grad()
    def draw(self, series: Series, n_samples: int, seed: int) -> tuple[Tensor, Tensor]:
        """Posterior states ``(n_samples, P, L, d)`` and what would be seen of them ``(n_samples, P, L, F)``."""
        states, means = [], []
        for k, rows in enumerate(self.pieces(series, n_samples)):
            found, content = self.guided(series[rows], n_samples, _seed(seed, k))
            states.append(found.states)
            means.append(self.decode(found.states, content))
        return torch.cat(states, dim=1), torch.cat(means, dim=1)

    @torch.no_grad()
    def log_weights(self, series: Series, n_samples: int, seed: int) -> Tensor:
        """``log p(o, path) − log q(path)`` of draws, ``(n_samples, P)``."""
        pieces = self.pieces(series, n_samples)
        return torch.cat(
            [
                self.guided(series[rows], n_samples, _seed(seed, k))[0].log_weights
                for k, rows in enumerate(pieces)
            ],
            dim=1,
        )

    def _masks(self, series: Series) -> Tensor:
        return series.mask.expand_as(series.values)

    def _readable(self, series: Series) -> Series:
        """The series with what encoder and guide may see of it."""
        if self.read_first is None:
            return series
        limit = series.placed[:, min(self.read_first, series.placed.shape[1]) - 1]
        at = torch.arange(series.times.shape[1], device=limit.device)
        early = (at <= limit.unsqueeze(1)).unsqueeze(-1)
        mask = series.mask & (early[:1] if bool((limit == limit[0]).all()) else early)
        return replace(series, values=series.values * mask, mask=mask)

    def _pseudo(self, readable: Series, read: Encoding | None) -> PseudoObservations:
        if not self.latent or read is None:
            return PseudoObservations.of(self.prior, readable)
        seen = self._masks(readable).any(-1, keepdim=True)
        rows = readable.placed.unsqueeze(-1).expand(-1, -1, read.mean.shape[-1])
        blank = read.mean.new_zeros(*readable.times.shape, read.mean.shape[-1])
        values = blank.scatter(1, rows, read.mean)
        precision = blank.scatter(1, rows, (-read.log_variance).clamp(max=20).exp())
        return PseudoObservations(values * seen, precision * seen)

    def _spread(self, series: Series, context: Tensor) -> Tensor:
        """Context at all times of a series: that of the observation before, at further ones."""
        at = (
            torch.arange(series.times.shape[1], device=context.device)
            .expand(len(series), -1)
            .contiguous()
        )
        before = torch.searchsorted(series.placed.contiguous(), at, right=True) - 1
        return context.gather(
            1, before.clamp_min(0).unsqueeze(-1).expand(-1, -1, context.shape[-1])
        )


def _last_seen(series: Series) -> Tensor:
    seen = series.mask.any(-1).expand(len(series), -1)
    return torch.where(seen, series.times, -torch.inf).amax(1)


def _seed(seed: int, piece: int) -> int:
    return mix64(seed, piece) >> 1

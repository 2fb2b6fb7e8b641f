"""A model with networks: its drift, amplitude, decoder, encoder and control, and its bound."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from dyninfer.fractional.inference.bound import Guided, Readout, guided_paths, observed_fit
from dyninfer.fractional.inference.encoder import Encoding, RecurrentEncoder
from dyninfer.fractional.inference.equation import Control, Equation
from dyninfer.fractional.inference.finite import check_finite, setting_of, traced
from dyninfer.fractional.inference.guide import PseudoObservations
from dyninfer.fractional.inference.layout import Layout, Parts, unit_scaling
from dyninfer.fractional.inference.modules import (
    CoordinateAmplitude,
    Decoder,
    ResidualControl,
    StateDrift,
    call,
    part_of,
    perceptron,
    shaped,
)
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.inference.series import Series, at_all_times, last_observed, rows_at
from dyninfer.fractional.inference.stacked import OwnNetworks
from dyninfer.fractional.inference.whole_walk import MOST_COORDINATES
from dyninfer.learning.random import subseed

# Normals that are drawn at once outside training: 16 MB, and some copies.
_NUMBERS = 2_000_000
# A pseudo-observation that is surer than this would make the filter singular.
_LARGEST_LOG_PRECISION = 20


class NeuralModel(nn.Module):
    """``dX = [a − θ X + f(t, X)] dt + σ g(t, X) ∘ dB̂``, with networks; all standardised.

    Parameters
    ----------
    prior : LinearPrior
        The linear part, with the noise of the observations.
    parts : Parts
    layout : Layout
    """

    needs_steps = True
    n_updates: Tensor

    def __init__(self, prior: LinearPrior, parts: Parts, layout: Layout):
        super().__init__()
        self.prior = prior
        self.layout = layout
        self.latent = layout.latent
        self.content_dim = layout.content_dim
        # A tensor: torch.compile would compile a number anew in every step. It is with the others
        # where these are, and no part of what is learned.
        self.register_buffer("n_updates", torch.tensor(0), persistent=False)
        # When, while modules are searched for what is not finite.
        self.suspected: str | None = None
        self.scaling = layout.scaling or unit_scaling(prior.n_states)
        self.own = {name for name, part in parts._asdict().items() if callable(part)}
        self._add_parts(parts)

    def _add_parts(self, parts: Parts) -> None:
        layout = self.layout
        d = self.prior.n_states
        size = {"width": layout.width, "depth": layout.depth}
        # A unit of time between the typical gap and the horizon suits drifts of either scale.
        square = self.prior.tau * layout.horizon
        unit = square**0.5
        new_drift = partial(StateDrift, d, unit=unit, **size)
        new_amplitude = partial(CoordinateAmplitude, d, layout.width)
        self.drift = part_of(parts.drift, new_drift)
        self.amplitude = part_of(parts.amplitude, new_amplitude)
        self.encoder = None
        if layout.latent or parts.control is not None:
            self.encoder = part_of(parts.encoder, self._new_encoder)
        self.decoder = None
        if layout.latent:
            is_linear = parts.decoder == "linear"
            new_decoder = partial(self._new_decoder, is_linear)
            self.decoder = part_of(parts.decoder, new_decoder)
        n_context = getattr(self.encoder, "n_context", None)
        if parts.control == "network" and n_context is None:
            raise ValueError(
                "encoder must say the length of its context: give it an attribute n_context, "
                "or set control=None"
            )
        new_control = partial(
            ResidualControl,
            n_states=d,
            n_memory=self.prior.n_memory,
            n_context=n_context or 0,
            horizon=layout.horizon,
            unit=unit,
            **size,
        )
        self.control = part_of(parts.control, new_control)

    def _new_encoder(self) -> RecurrentEncoder:
        layout = self.layout
        n_states = 0
        if layout.latent:
            n_states = self.prior.n_states
        return RecurrentEncoder(
            n_features=layout.n_features,
            n_states=n_states,
            content_dim=layout.content_dim,
            width=layout.width,
            tau=self.prior.tau,
        )

    def _new_decoder(self, is_linear: bool) -> Decoder:
        layout = self.layout
        n_inputs = self.prior.n_states + layout.content_dim
        line = nn.Linear(n_inputs, layout.n_features)
        if is_linear:
            return Decoder(line, visibility=layout.visibility)
        bend = perceptron(n_inputs, layout.n_features, layout.width, layout.depth)
        return Decoder(line, bend)

    def in_precision(self, dtype: torch.dtype) -> NeuralModel:
        """Our own networks in another number format.

        The linear part stays in float64, the user's modules as they are.
        """
        for name, module in self.named_children():
            if name != "prior" and name not in self.own:
                module.to(dtype)
        return self

    def begin(self, axes: Tensor, centre: Tensor) -> None:
        """Start encoder and decoder from a linear readout: ``axes (F, d)`` and ``centre (F,)``."""
        if isinstance(self.encoder, RecurrentEncoder):
            log_deviation = self.prior.log_noise.detach()
            variance = (2 * log_deviation).exp()
            self.encoder.begin(axes, variance)
        if isinstance(self.decoder, Decoder):
            self.decoder.begin(axes, centre)

    @property
    def equation(self) -> Equation:
        """The equation with the fields that stand beside its linear part."""
        drift = None
        if self.drift is not None:
            drift = partial(self.field, "drift")
        amplitude = None
        if self.amplitude is not None:
            amplitude = partial(self.field, "amplitude")
        return Equation(self.prior, drift, amplitude, self._own_networks())

    def _own_networks(self) -> OwnNetworks | None:
        """Drift and control, where all that moves the state are networks of ours and small."""
        is_own = self.own.isdisjoint({"drift", "control"}) and self.amplitude is None
        is_any = self.drift is not None or self.control is not None
        if is_own and is_any and self.prior.n_states <= MOST_COORDINATES:
            return OwnNetworks(self.drift, self.control, self.layout.begin)
        return None

    def field(self, name: str, t: Tensor, x: Tensor) -> Tensor:
        """A standardised field: "drift", beside the linear one, or "amplitude"."""
        if name not in self.own:
            return self._evaluate(name, t, x)
        states = self.scaling.user_states(x)
        value = self._evaluate(name, t, states)
        value = shaped(setting_of(name), value, x.shape)
        if name == "amplitude":
            # A factor, which has no unit.
            return value
        return self.scaling.velocities(value)

    def whole_drift(self, t: Tensor, x: Tensor) -> Tensor:
        """``a − θ x + f(t, x)``."""
        linear = self.prior.drift(t, x)
        if self.drift is None:
            return linear
        return linear + self.field("drift", t, x)

    def whole_amplitude(self, t: Tensor, x: Tensor) -> Tensor:
        """``σ g(t, x)``."""
        scale = self.prior.scale.expand_as(x)
        if self.amplitude is None:
            return scale
        return scale * self.field("amplitude", t, x)

    def decode(self, x: Tensor, content: Tensor | None = None) -> Tensor:
        """Means of the observations ``(..., P, L, F)`` at states ``(..., P, L, d)``.

        ``content`` ``(P, c)`` is that of the paths.
        """
        return self.layout.families.means(self.readout(x, content))

    def readout(self, x: Tensor, content: Tensor | None = None) -> Tensor:
        """Means, or log-rates of counts, at states ``(..., P, L, d)``: ``(..., P, L, F)``."""
        if not self.latent:
            return x
        shape = x.shape[:-1]
        rows = x.flatten(0, -2)
        content_rows = None
        if content is not None:
            at_all_times = content.unsqueeze(1).expand(*shape, -1)
            content_rows = at_all_times.flatten(0, -2)
        means = self._evaluate("decoder", rows, content_rows)
        shape_of_means = len(rows), self.layout.n_features
        means = shaped("decoder", means, shape_of_means)
        return means.unflatten(0, shape)

    def encode(self, series: Series) -> Encoding | None:
        """What the encoder reads of the observations themselves, without further times."""
        if self.encoder is None:
            return None
        readable = self._readable(series)
        own_values = rows_at(readable.values, series.placed)
        values = self.layout.families.read(own_values)
        mask = rows_at(readable.full_mask, series.placed).double()
        times = series.times.gather(1, series.placed)
        if "encoder" not in self.own:
            elapsed = times - self.layout.begin
            return self._evaluate("encoder", values, mask, elapsed)
        output = self._evaluate("encoder", values, mask, times)
        encoding = Encoding(*output)
        self._check_encoding(encoding, times.shape)
        return encoding

    def content(self, series: Series) -> Tensor | None:
        """What stays the same along the paths, ``(P, content_dim)``."""
        encoding = self.encode(series)
        if encoding is None:
            return None
        return encoding.content

    def steer(self, t: Tensor, x: Tensor, *others: Tensor) -> Tensor:
        """Residual control."""
        if "control" in self.own:
            u = self._evaluate("control", t, x, *others)
            return shaped("control", u, x.shape)
        # Counted from the first of the data: single precision may not tell times apart.
        elapsed = t - self.layout.begin
        return self._evaluate("control", elapsed, x, *others)

    def guided(self, series: Series, n_samples: int, seed: int) -> tuple[Guided, Tensor | None]:
        """Draws near the posterior with their weights, and the content of the paths.

        Raises
        ------
        ValueError
            If what a module of the user's own returns is not finite, or parameters are no longer.
        """
        if self.training and torch.is_grad_enabled():
            self.n_updates = self.n_updates + 1
        return traced(
            self,
            lambda: self._guided(series, n_samples, seed),
            lambda result: result[0].log_weights,
            self._moment,
        )

    @torch.no_grad()
    def draw(self, series: Series, n_samples: int, seed: int) -> tuple[Tensor, Tensor]:
        """Posterior states ``(n_samples, P, L, d)``, and their readout ``(n_samples, P, L, F)``."""
        states = []
        means = []
        pieces = self.pieces(series, n_samples)
        for k, rows in enumerate(pieces):
            piece = series[rows]
            piece_seed = subseed(seed, "piece", k)
            guided, content = self.guided(piece, n_samples, piece_seed)
            mean = self.decode(guided.states, content)
            states.append(guided.states)
            means.append(mean)
        return torch.cat(states, dim=1), torch.cat(means, dim=1)

    @torch.no_grad()
    def log_weights(self, series: Series, n_samples: int, seed: int) -> Tensor:
        """``log p(o | path) + w (log p(path) − log q(path))`` of draws, ``(n_samples, P)``."""
        weights = []
        for k, rows in enumerate(self.pieces(series, n_samples)):
            piece = series[rows]
            piece_seed = subseed(seed, "piece", k)
            guided, _ = self.guided(piece, n_samples, piece_seed)
            weights.append(guided.tempered(self.layout.path_weight))
        return torch.cat(weights, dim=1)

    def pieces(self, series: Series, n_samples: int) -> list[Tensor]:
        """Numbers of the paths that are drawn together outside training."""
        n_times, n_features = series.values.shape[1:]
        # What a draw needs at a time: normals of its steps, about eight a coordinate, or what is
        # decoded.
        n_states = self.prior.n_states
        n_normals = 8 * self.layout.n_steps * n_states
        per_time = max(n_normals, n_features)
        per_path = n_samples * n_times * per_time
        n_together = max(1, _NUMBERS // per_path)
        rows = torch.arange(len(series))
        return list(rows.split(n_together))

    def _guided(self, series: Series, n_samples: int, seed: int) -> tuple[Guided, Tensor | None]:
        encoding = self.encode(series)
        content = None
        if encoding is not None:
            content = encoding.content
        pseudo = self._pseudo_observations(series, encoding)

        def likelihood(x: Tensor) -> Tensor:
            readout = self.readout(x, content)
            return observed_fit(self.prior, series, readout, self.layout.families)

        guided = guided_paths(
            self.equation,
            series,
            n_samples,
            control=self._steering(series, encoding),
            readout=Readout(pseudo, likelihood),
            n_steps=self.layout.n_steps,
            seed=seed,
        )
        return guided, content

    def _steering(self, series: Series, encoding: Encoding | None) -> Control | None:
        if self.control is None:
            return None
        context = None
        if encoding is not None:
            context = at_all_times(series, encoding.context)
        rests = None
        if self.layout.read_first is None:
            # After the last observation the prior goes on alone; but where only the first are read,
            # the control carries the posterior on.
            rests = last_observed(series)
        return Control(self.steer, context, rests)

    def _evaluate(self, name: str, *arguments: Tensor | None) -> Any:
        """What a module returns."""
        module = getattr(self, name)
        output = call(module, *arguments)
        if self.suspected is not None and name in self.own:
            setting = setting_of(name)
            check_finite(setting, output, arguments, self.suspected)
        return output

    def _moment(self) -> str:
        if self.training:
            return f"in step {int(self.n_updates)} of this run of training"
        return "in draws of the posterior"

    def _check_encoding(self, encoding: Encoding, shape: torch.Size) -> None:
        if self.latent:
            states = *shape, self.prior.n_states
            shaped("the encoder's mean", encoding.mean, states)
            shaped("the encoder's log_variance", encoding.log_variance, states)
        if isinstance(self.control, ResidualControl):
            n_context: Any = getattr(self.encoder, "n_context", None)
            contexts = *shape, n_context
            shaped("the encoder's context", encoding.context, contexts)
        if self.content_dim:
            contents = shape[0], self.content_dim
            shaped("the encoder's content", encoding.content, contents)

    def _readable(self, series: Series) -> Series:
        """The series with what encoder and guide may read of it."""
        if self.layout.read_first is None:
            return series
        n_times = series.times.shape[1]
        n_own_times = series.placed.shape[1]
        n_read = min(self.layout.read_first, n_own_times)
        last_read = n_read - 1
        last_position = series.placed[:, last_read]
        position = torch.arange(n_times, device=last_position.device)
        is_early = position <= last_position.unsqueeze(1)
        is_same = last_position == last_position[0]
        if bool(is_same.all()):
            # One row for all, so that paths with one mask keep one.
            is_early = is_early[:1]
        mask = series.mask & is_early.unsqueeze(-1)
        values = series.values * mask
        return replace(series, values=values, mask=mask)

    def _pseudo_observations(self, series: Series, encoding: Encoding | None) -> PseudoObservations:
        readable = self._readable(series)
        may_end_early = self.layout.read_first is not None or series.has_further_times
        if not self.latent or encoding is None:
            pseudo = PseudoObservations.of(self.prior, readable).tempered(self.layout.path_weight)
            return pseudo._replace(may_end_early=may_end_early)
        n_states = encoding.mean.shape[-1]
        placed = readable.placed.unsqueeze(-1)
        rows = placed.expand(-1, -1, n_states)
        shape = readable.times.shape
        blank = encoding.mean.new_zeros(*shape, n_states)
        log_precision = -encoding.log_variance
        precision = log_precision.clamp(max=_LARGEST_LOG_PRECISION).exp()
        values_at_all_times = blank.scatter(1, rows, encoding.mean)
        precision_at_all_times = blank.scatter(1, rows, precision)
        # An encoder says something of every time, but without observations it does not count.
        is_observed = readable.is_observed.unsqueeze(-1)
        return PseudoObservations(
            values=values_at_all_times * is_observed,
            precision=precision_at_all_times * is_observed,
            may_end_early=may_end_early,
        )

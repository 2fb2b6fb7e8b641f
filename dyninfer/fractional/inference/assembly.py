"""A model made from its settings, and from what is known about the data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from dyninfer.fractional.index_settings import is_linear
from dyninfer.fractional.inference.changing import ChangingPrior
from dyninfer.fractional.inference.exact import ExactModel
from dyninfer.fractional.inference.layout import Layout, Parts
from dyninfer.fractional.inference.neural import NeuralModel
from dyninfer.fractional.inference.prior import LinearPrior
from dyninfer.fractional.noise.changing_index import OwnIndex, PiecewiseIndex
from dyninfer.fractional.noise.markov import MarkovApproximation
from dyninfer.fractional.settings import (
    LINEAR_DRIFTS,
    EquationSettings,
    Exact,
    FractionalNoise,
    Latent,
    Variational,
)
from dyninfer.fractional.views import visibility
from dyninfer.learning.scaling import Scaling

# Deviation of a start that is not learned, in that of the data: wide beside them.
_START_WIDTH = 3.0


def build_model(
    settings: EquationSettings, facts: dict[str, Any], scaling: Scaling
) -> ExactModel | NeuralModel:
    """The untrained model, standardised; ``facts`` are those of :func:`facts_of`."""
    prior = _prior(settings, facts, scaling)
    inference = settings.chosen_inference
    if isinstance(inference, Exact):
        return ExactModel(prior)
    layout = _layout(settings, inference, facts, scaling)
    model = NeuralModel(prior, _parts(settings, inference), layout)
    training = settings.training()
    if training is not None:
        model = model.in_precision(training.dtype)
    return model


def _prior(settings: EquationSettings, facts: dict[str, Any], scaling: Scaling) -> LinearPrior:
    noise = settings.noise
    n_features = scaling.n_features
    approximation = MarkovApproximation(
        noise.n_nodes,
        horizon=facts["horizon"],
        dt=min(facts["tau"], facts["horizon"]),
        kind=noise.kind,
    )
    deviation = None
    error = settings.error
    if error is not None:
        deviation = torch.full((n_features,), error, dtype=torch.float64)
        deviation = scaling.displacements(deviation)
    elif "errors" in facts:
        typical = torch.tensor(facts["errors"], dtype=torch.float64)
        deviation = scaling.displacements(typical)
    exposure = None
    shift = 0.0
    start_width = _START_WIDTH
    if settings.localisation is not None:
        exposure = settings.localisation.time_of(facts["least_gap"])
        shift = settings.localisation.shift * exposure
        # Displacements are the unit of tracks, and what the positions of a few say nothing of.
        start_width = _START_WIDTH * facts["reach"]
    n_states = n_features
    latent = False
    pattern = None
    if isinstance(settings.state, Latent):
        n_states = settings.state.dim
        if settings.state.views is not None:
            pattern = visibility(settings.state.views, n_states)
        # Where an encoder leads the guide, the prior knows nothing of the readout.
        latent = isinstance(settings.chosen_inference, Exact)
    drift: Any = settings.drift
    if drift not in LINEAR_DRIFTS:
        # A network or a module stands beside a linear drift.
        drift = "linear"
    common: dict[str, Any] = {
        "drift": drift,
        "tau": facts["tau"],
        "observation_noise": deviation,
        "latent": latent,
        "free_start": facts["free_start"],
        "exposure": exposure,
        "shift": shift,
        "start_width": start_width,
        "visibility": pattern,
    }
    if noise.changes:
        index = _index(noise, facts)
        return ChangingPrior(approximation, n_states, n_features, index=index, **common)
    hurst: Any = noise.hurst
    shared = not noise.per_dimension
    return LinearPrior(approximation, n_states, n_features, hurst=hurst, shared=shared, **common)


def _index(noise: FractionalNoise, facts: dict[str, Any]) -> PiecewiseIndex | OwnIndex:
    """The index as a function of the data's times."""
    hurst: Any = noise.hurst
    ends = facts["begin"], facts["end"]
    if callable(hurst):
        return OwnIndex(hurst, *ends)
    knots = ends if is_linear(hurst) else hurst
    return PiecewiseIndex(torch.tensor(list(knots), dtype=torch.float64))


def _parts(settings: EquationSettings, inference: Variational) -> Parts:
    encoder: Any = "network"
    decoder = None
    if isinstance(settings.state, Latent):
        encoder = settings.state.encoder or "network"
        decoder = settings.state.decoder
    return Parts(
        drift=None if settings.drift in LINEAR_DRIFTS else settings.drift,
        amplitude=None if settings.diffusion == "constant" else settings.diffusion,
        encoder=encoder,
        decoder=decoder,
        control=inference.control,
    )


def _layout(
    settings: EquationSettings,
    inference: Variational,
    facts: dict[str, Any],
    scaling: Scaling,
) -> Layout:
    layout = Layout(
        n_features=scaling.n_features,
        width=inference.width,
        depth=inference.depth,
        n_steps=inference.n_steps,
        read_first=inference.read_first,
        path_weight=inference.path_weight,
        begin=facts["begin"],
        horizon=facts["horizon"],
        scaling=scaling,
    )
    if isinstance(settings.state, Latent):
        # Latent coordinates have no units of their own.
        state = settings.state
        pattern = None
        if state.views is not None:
            pattern = visibility(state.views, state.dim)
        return replace(
            layout,
            latent=True,
            content_dim=state.content_dim,
            scaling=None,
            families=state.families,
            visibility=pattern,
        )
    return layout

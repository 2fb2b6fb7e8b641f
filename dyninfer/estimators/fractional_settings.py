"""Checks of the settings of :class:`dyninfer.FractionalSDE`."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any, Literal, get_args

State = Literal["observed", "latent"]
NoiseKind = Literal["I", "II"]
LINEAR_DRIFTS = "linear", "none", "constant"
NAMES = {
    "drift": (*LINEAR_DRIFTS, "network"),
    "diffusion": ("constant", "network"),
    "decoder": ("linear", "network"),
    "encoder": ("network",),
    "control": ("network",),
}
_OF_NETWORKS = (
    "control",
    "window",
    "grow",
    "width",
    "depth",
    "n_samples",
    "n_steps",
    "anneal",
    "training",
)


def is_linear(model: Any) -> bool:
    """Whether the likelihood of a model with these settings is exact, so that no network is trained."""
    return (
        model.drift in LINEAR_DRIFTS
        and model.diffusion == "constant"
        and model.decoder == "linear"
        and not (model.encoder or model.content_dim or model.read_first)
    )


def check_settings(model: Any) -> None:
    """Raise a ValueError or TypeError that names a setting which cannot be, or would do nothing."""
    _check_names(model)
    _check_numbers(model)
    _check_coordinates(model)
    if is_linear(model):
        _check_idle(model)
    elif model.kind == "II" and model.window is not None:
        raise ValueError(
            "kind='II' is noise that starts with the path, so no window can stand for a path; leave out one of the two"
        )


def _check_names(model: Any) -> None:
    for name, known in NAMES.items():
        value = getattr(model, name)
        if isinstance(value, type):
            raise TypeError(
                f"{name} is the class {value.__name__}; give a module of it: {name}={value.__name__}(...)"
            )
        absent = value is None and name in ("encoder", "control")
        if not callable(value) and value not in known and not absent:
            raise ValueError(
                f"{name} must be one of {', '.join(known)}, or a module; found {value!r}"
            )
    for name, kinds in (("state", State), ("kind", NoiseKind)):
        if getattr(model, name) not in get_args(kinds):
            raise ValueError(
                f"{name} must be one of {', '.join(get_args(kinds))}, found {getattr(model, name)!r}"
            )


def _check_numbers(model: Any) -> None:
    if model.hurst is not None and not 0 < model.hurst < 1:
        raise ValueError(
            f"hurst must lie between 0 and 1, or be None to be learned; found {model.hurst}"
        )
    if model.hurst is not None and model.per_dimension:
        raise ValueError("per_dimension says how hurst is learned; leave one of the two out")
    for name in ("n_nodes", "width", "depth", "n_samples", "n_steps"):
        if getattr(model, name) < 1:
            raise ValueError(f"{name} must be at least 1, found {getattr(model, name)}")
    for name, least in (("read_first", 1), ("window", 2)):
        value = getattr(model, name)
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, or None, found {value}")
    for name in ("content_dim", "anneal", "grow"):
        if getattr(model, name) < 0:
            raise ValueError(f"{name} must not be negative, found {getattr(model, name)}")
    if model.grow and model.window is None:
        raise ValueError(
            "grow says how fast windows come to be whole paths, and window is None; give window"
        )
    noise = model.observation_noise
    if noise is not None and not 0 < noise < math.inf:
        raise ValueError(
            f"observation_noise must be positive, or None to be learned; found {noise}"
        )


def _check_coordinates(model: Any) -> None:
    if model.state == "observed" and (
        model.decoder != "linear" or model.encoder or model.content_dim
    ):
        raise ValueError("decoder, encoder and content_dim need state='latent', with latent_dim")
    if (model.latent_dim is not None) != (model.state == "latent"):
        raise ValueError("latent_dim is needed with state='latent', and with it alone")
    if model.latent_dim is not None and model.latent_dim < 1:
        raise ValueError(f"latent_dim must be at least 1, found {model.latent_dim}")


def _check_idle(model: Any) -> None:
    """Refuse what a linear model would ignore; None asks for nothing."""
    usual = {field.name: field.default for field in fields(model)}
    given = {name: getattr(model, name) for name in _OF_NETWORKS}
    idle = [name for name, value in given.items() if value is not None and value != usual[name]]
    if idle:
        are, them = ("is", "it") if len(idle) == 1 else ("are", "them")
        raise ValueError(
            f"{', '.join(idle)} {are} of models with networks, and this one is linear, fitted by its exact likelihood; "
            f"leave {them} out, or give drift='network'"
        )

"""Which network a snapshot method trains: ours, or one of the user's own."""

from __future__ import annotations

from typing import Any, Protocol

from torch import nn

from dyninfer.learning.network_checks import check_module
from dyninfer.learning.networks import PotentialNetwork, VectorNetwork
from dyninfer.learning.own_networks import (
    OwnPotential,
    OwnVectorNetwork,
    own_potential,
    own_vector_network,
)
from dyninfer.learning.settings import brief


class Method(Protocol):
    """Settings by which a method says what network it trains."""

    network: nn.Module | None
    width: int
    depth: int
    activation: str


def check_potential(method: Method) -> None:
    """Raise an error where the network cannot be, or settings of ours are given beside it."""
    if method.network is None:
        return
    check_module(method.network)
    for name in ("width", "depth", "activation"):
        value = getattr(method, name)
        if value != getattr(type(method), name):
            raise ValueError(
                f"{name}={brief(value)} sets the network that network= replaces, and would "
                "change nothing; leave one of the two out"
            )


def potential_network(
    method: Method, n_features: int, n_conditions: int
) -> PotentialNetwork | OwnPotential:
    """Untrained network of a potential."""
    if method.network is not None:
        return own_potential(method.network, n_features, n_conditions)
    return PotentialNetwork(n_features, method.width, method.depth, method.activation, n_conditions)


def vector_network(
    method: Any, n_features: int, n_conditions: int, grows: bool = False
) -> VectorNetwork | OwnVectorNetwork:
    """Untrained network of a field, with the growth rate as one more output where mass grows."""

    def ours(n_outputs: int) -> VectorNetwork:
        return VectorNetwork(
            n_features, n_outputs, method.width, method.depth, method.activation, n_conditions
        )

    if method.network is None:
        return ours(n_features + grows)
    growth = ours(1) if grows else None
    return own_vector_network(method.network, n_features, n_conditions, growth)
